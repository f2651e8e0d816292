//! Owns what an escrow's decision does to a held Lightning payment. Does not own whether the decision counts (`escrow`).

use super::{LightningCharge, State};
use crate::event::FailureReason;
use crate::money::Msat;
use crate::payments::desk::Desk;
use crate::payments::escrow::{Parting, Rest};

impl LightningCharge {
    /// An HTLC is claimed or failed whole: of a split the whole is claimed, and a rest goes back when it is here.
    pub(in crate::payments) fn part(&mut self, desk: &mut Desk<'_>, parting: &Parting) {
        if !matches!(self.state, State::Held { .. }) {
            return;
        }
        match parting {
            Parting::Payee => self.on_release(desk),
            Parting::Payer => self.on_refuse(desk, FailureReason::Refused),
            Parting::Both(share) => {
                self.rest = share.pay_to.clone().map(|invoice| Rest {
                    amount: share.payer_msat,
                    invoice,
                    ordered: false,
                });
                self.on_release(desk);
            }
        }
    }

    /// What of a receipt is the payer's.
    pub(super) fn rest_of(&self, received: Msat) -> Msat {
        let rest = self.rest.as_ref().map_or(Msat(0), |rest| rest.amount);
        Msat(rest.0.min(received.0))
    }

    /// The rest, once, when the whole was claimed.
    pub(in crate::payments) fn take_rest(&mut self) -> Option<Rest> {
        let claimed = matches!(self.state, State::Settled { .. });
        let rest = self.rest.as_mut().filter(|rest| claimed && !rest.ordered)?;
        rest.ordered = true;
        Some(rest.clone())
    }
}
