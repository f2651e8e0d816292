//! Owns how somebody outside pays a charge: over Lightning, on chain, or in place of an earlier payment. Does not own the
//! other steps (`steps`).

use super::steps::ENGINE;
use super::{Runner, Stop};
use crate::scenario::{Action, Pay, Payer, Request};
use crate::worlds::{self, World, WorldError};
use bitcoin::{Address, Amount, TxOut};
use lockstep_engine::time::Span;
use std::str::FromStr;

/// Feerate of an outsider's payment when the fee market asks for nothing: 2 sat/vB, in satoshi per 1,000 weight units.
const USUAL_FEERATE: u64 = 500;

/// A request of the engine is made within this time: one answer of its own Lightning node.
const REQUEST_LIMIT: Span = Span::secs(30);

/// The invoice in a payment URI (BIP 21), as a payer's wallet finds it.
fn invoice_in(uri: String) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let mut parameters = query.split('&').filter_map(|one| one.split_once('='));
    let found = parameters.find(|(key, _)| *key == "lightning");
    found.map(|(_, invoice)| invoice.to_owned())
}

impl<W: World> Runner<W> {
    /// The request (invoice or address) of a charge, as soon as it has one.
    /// Of a charge on chain that has an invoice as well, a node is shown that.
    async fn request(&mut self, charge: &str, by_invoice: bool) -> Result<String, Stop> {
        let mut limit = self.world.now().plus(REQUEST_LIMIT);
        loop {
            if !self.world.service().is_at_work() {
                limit = self.world.now().plus(REQUEST_LIMIT);
            }
            let told = self.run.recorder.told(charge);
            let shown = told.and_then(|told| match by_invoice && self.has_both(charge) {
                true => invoice_in(told.uri?),
                false => told.request,
            });
            if let Some(request) = shown {
                return Ok(request);
            }
            if self.world.now() >= limit {
                let refusal = (1..=self.commands)
                    .rev()
                    .find_map(|n| self.run.recorder.refusal(&format!("command-{n}")));
                let why = refusal.map_or_else(String::new, |reason| {
                    format!("; the last refusal was: {reason}")
                });
                return Err(Stop::NoRequest(format!(
                    "charge {charge} was not issued{why}"
                )));
            }
            self.pass_a_little(limit).await?;
        }
    }

    pub(super) async fn pay(&mut self, pay: &Pay) -> Result<(), Stop> {
        if let Some(charge) = &pay.opens {
            self.charge(charge).await?;
        }
        let charge = pay.charge.as_str();
        let by_invoice = matches!(pay.payer, Payer::Node { .. });
        let request = self.request(charge, by_invoice).await?;
        match &pay.payer {
            Payer::Node {
                node,
                amount,
                route: None,
            } => {
                let msat = amount.map(|amount| amount.get());
                Ok(self.world.node_pays(node.as_str(), &request, msat).await?)
            }
            Payer::Node {
                node,
                amount: None,
                route: Some(route),
            } => {
                let via = route.via.iter().map(ToString::to_string).collect();
                let route = worlds::Route {
                    via,
                    final_cltv: route.final_cltv.get() as u32,
                };
                Ok(self
                    .world
                    .node_pays_along(node.as_str(), &request, &route)
                    .await?)
            }
            Payer::Node {
                node,
                amount: Some(_),
                route: Some(_),
            } => {
                let reason = "over a prescribed route it pays what is asked; leave `amount` out";
                Err(WorldError::refused(node.as_str(), "pay another amount", reason).into())
            }
            Payer::Wallet {
                wallet,
                amount,
                feerate,
                instead_of,
            } => {
                let amount = match amount {
                    Some(amount) => amount.get(),
                    None => self.charge_sat(charge)?,
                };
                if let Some(first) = instead_of {
                    let feerate = feerate.map(|feerate| feerate.get());
                    let new = (charge, request.as_str(), amount, feerate);
                    return self.pay_instead(wallet.as_str(), first.as_str(), new).await;
                }
                let feerate = feerate
                    .map_or(self.fee_floor_sat_per_kwu.max(USUAL_FEERATE), |feerate| {
                        feerate.get()
                    });
                self.pay_address(wallet.as_str(), charge, &request, (amount, feerate))
                    .await
            }
        }
    }

    /// Whether it goes on chain and has an invoice as well.
    fn has_both(&self, charge: &str) -> bool {
        let steps = self.run.scenario.steps.iter();
        let made = steps.filter_map(|step| match &step.action {
            Action::Charge(made) if made.id.as_str() == charge => Some(&made.request),
            _ => None,
        });
        let both = |request: &Request| matches!(request, Request::Onchain { invoice: true, .. });
        made.clone().any(both)
    }

    fn charge_sat(&self, charge: &str) -> Result<u64, Stop> {
        let asked = |action: &Action| match action {
            Action::Charge(made) if made.id.as_str() == charge => Some(made.request.clone()),
            Action::Pay(Pay {
                opens: Some(made), ..
            }) if made.id.as_str() == charge => Some(made.request.clone()),
            _ => None,
        };
        match self
            .run
            .scenario
            .steps
            .iter()
            .find_map(|step| asked(&step.action))
        {
            Some(Request::Onchain { amount, .. }) => Ok(amount.get()),
            _ => Err(
                WorldError::harness("pay a charge on chain", format!("{charge} is none")).into(),
            ),
        }
    }

    async fn pay_address(
        &mut self,
        wallet: &str,
        charge: &str,
        address: &str,
        (sat, feerate): (u64, u64),
    ) -> Result<(), Stop> {
        let output = self.output_to(charge, address, sat)?;
        self.book.refresh(&mut self.world).await?;
        let transaction = self.purses[wallet]
            .pay(&self.book, &[output], feerate)
            .map_err(|error| WorldError::refused(wallet, "pay", error))?;
        self.world.broadcast(&transaction).await?;
        Ok(())
    }

    /// The wallet replaces its unconfirmed payment of `first` by one of `charge` (BIP 125), which spends the same coins.
    async fn pay_instead(
        &mut self,
        wallet: &str,
        first: &str,
        (charge, address, sat, feerate): (&str, &str, u64, Option<u64>),
    ) -> Result<(), Stop> {
        let unconfirmed = self.unconfirmed_of(first).await?;
        let refused =
            |reason: &dyn std::fmt::Display| WorldError::refused(wallet, "pay instead", reason);
        let output = self.output_to(charge, address, sat)?;
        let replacement = unconfirmed.iter().find_map(|rival| {
            let paid = self.purses[wallet].pay_instead(&self.book, rival, &output, feerate)?;
            Some(paid.map_err(|error| refused(&error)))
        });
        let no_rival = "it has no unconfirmed payment of that charge";
        let replacement = replacement.ok_or_else(|| refused(&no_rival))??;
        self.world.broadcast(&replacement).await?;
        Ok(())
    }

    /// An output to a charge's address, which names the transactions that pay it.
    fn output_to(&mut self, charge: &str, address: &str, sat: u64) -> Result<TxOut, Stop> {
        let bad = |error: &dyn std::fmt::Display| {
            WorldError::refused(ENGINE, "give a usable address", error)
        };
        let script_pubkey = Address::from_str(address)
            .map_err(|error| bad(&error))?
            .assume_checked()
            .script_pubkey();
        self.owners
            .name_payments_to(script_pubkey.clone(), format!("pay:{charge}"));
        Ok(TxOut {
            value: Amount::from_sat(sat),
            script_pubkey,
        })
    }
}
