//! Owns prescribed routes: the hops from an outsider to the operator with what each forwarding node asks. Does not own
//! finding routes (LDK does).

use super::SimulatedWorld;
use crate::worlds::{ForwardingFees, Route, WorldError};
use lockstep_lightning::Hop;

impl SimulatedWorld {
    /// The hops of a prescribed route to the operator, with what each forwarding node asks (BOLT 7: the policy of the
    /// channel by which the payment leaves it).
    pub(super) fn hops(
        &self,
        payer: &str,
        route: &Route,
        invoice: &str,
    ) -> Result<Vec<Hop>, WorldError> {
        let unusable = |reason: String| WorldError::refused(payer, "take a route", reason);
        let payee = self
            .blueprint
            .operator
            .clone()
            .ok_or_else(|| unusable("there is no operator's node".to_owned()))?;
        let parsed: lightning_invoice::Bolt11Invoice = invoice
            .parse()
            .map_err(|error| unusable(format!("{error:?}")))?;
        let mut amount = parsed
            .amount_milli_satoshis()
            .ok_or_else(|| unusable("the invoice has no amount".to_owned()))?;
        let mut path: Vec<&str> = vec![payer];
        path.extend(route.via.iter().map(String::as_str));
        path.push(&payee);
        let mut hops = Vec::new();
        let mut asked: Option<ForwardingFees> = None;
        for pair in path.windows(2).rev() {
            let (plan, funding) = self
                .channels
                .iter()
                .find(|(plan, _)| {
                    [&plan.from, &plan.to]
                        .iter()
                        .all(|end| pair.contains(&end.as_str()))
                })
                .ok_or_else(|| unusable(format!("{} and {} have no channel", pair[0], pair[1])))?;
            let views = self.process(pair[0])?.node()?.channels();
            let view = views
                .into_iter()
                .find(|view| view.funding == Some(*funding));
            let short_channel_id = view
                .and_then(|view| view.short_channel_id)
                .ok_or_else(|| unusable(format!("channel {} is not confirmed", plan.name)))?;
            // What the node at this hop's end keeps and asks for forwarding over the next hop.
            let (fee_msat, cltv_expiry_delta) = match asked {
                None => (0, route.final_cltv),
                Some(fees) => {
                    let proportional = amount * u64::from(fees.proportional_millionths) / 1_000_000;
                    let fee = u64::from(fees.base_msat) + proportional;
                    amount += fee;
                    (fee, u32::from(fees.cltv_expiry_delta))
                }
            };
            let node_id = self.process(pair[1])?.node()?.node_id();
            hops.push(Hop {
                node_id,
                short_channel_id,
                fee_msat,
                cltv_expiry_delta,
            });
            asked = Some(if plan.from == pair[0] {
                plan.fees_from
            } else {
                plan.fees_to
            });
        }
        hops.reverse();
        Ok(hops)
    }
}
