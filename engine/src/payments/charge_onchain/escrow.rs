//! Owns what an escrow does to a charge on chain: deep money waits, nobody's yet, and a decision credits it, sends it back by
//! refund, or does both. Does not own whether the decision counts (`escrow`) nor the refund's transaction (`refunds`).

use super::{OnchainCharge, State};
use crate::event::{Event, FailureReason};
use crate::money::{Msat, Quantity, Sat};
use crate::onchain::Received;
use crate::payments::desk::{Desk, in_msat};
use crate::payments::escrow::Parting;
use crate::planted::Bug;
use bitcoin::OutPoint;

impl OnchainCharge {
    /// The state of a charge whose money is deep.
    pub(super) fn paid_state(&self, credited: Vec<OutPoint>, amount: Sat) -> State {
        match self.escrow {
            Some(_) => State::Held { credited, amount },
            None => State::Settled { credited, amount },
        }
    }

    pub(super) fn paid_event(&self, amount: Sat) -> Event {
        let (payment, amount_msat) = (self.id.clone(), in_msat(amount));
        match self.escrow {
            Some(_) => Event::PaymentHeld {
                payment,
                amount_msat,
            },
            None => Event::PaymentSettled {
                payment,
                quantity: Quantity::btc(amount_msat),
                fee_msat: Msat(0),
            },
        }
    }

    /// A decision about money that waits; if a reorganisation brings it back to waiting, the same one comes again.
    pub(in crate::payments) fn part(&mut self, desk: &mut Desk<'_>, parting: &Parting) {
        let State::Held { credited, amount } = &self.state else {
            return;
        };
        let (credited, amount) = (credited.clone(), *amount);
        let back = match parting {
            Parting::Payee => Sat(0),
            Parting::Payer => amount,
            Parting::Both(share) => share.payer_msat.to_sat_floor().min(amount),
        };
        let kept = Sat(amount.0.saturating_sub(back.0));
        self.goes_back = back;
        let payment = self.id.clone();
        let told = if kept == Sat(0) {
            let reason = FailureReason::Refused;
            self.state = State::Failed {
                reason: reason.clone(),
            };
            Event::PaymentFailed { payment, reason }
        } else {
            self.state = State::Settled {
                credited,
                amount: kept,
            };
            Event::PaymentSettled {
                payment,
                quantity: Quantity::btc(in_msat(kept)),
                fee_msat: Msat(0),
            }
        };
        let received = desk.onchain.received_on(&self.wallet, &self.script);
        let depth = self.depth(desk);
        self.book(desk, &received, depth);
        desk.emit(told);
        let counts = self.that_counts(&received);
        self.tell_findings(desk, &counts, depth, Sat(0));
    }

    /// Whether all that comes to its address goes back.
    pub(super) fn is_refused(&self) -> bool {
        let refused = State::Failed {
            reason: FailureReason::Refused,
        };
        self.escrow.is_some() && self.state == refused
    }

    /// What of deep money may pay the charge. What the agent has sent back of it was part of its payment.
    pub(super) fn that_pays(&self, deep: Sat) -> Sat {
        let gone = match self.escrow {
            Some(_) => Sat(self.sent_back().0.saturating_sub(self.goes_back.0)),
            None => self.sent_back(),
        };
        Sat(deep.0.saturating_sub(gone.0))
    }

    /// What of the outputs that paid it goes back to the payer.
    pub(super) fn payers_part(&self, received: &Received) -> Sat {
        let State::Settled { credited, .. } = &self.state else {
            return Sat(0);
        };
        let outputs = received.outputs.iter();
        let there = outputs.filter(|output| credited.contains(&output.outpoint));
        self.goes_back
            .min(super::sum(there.map(|output| output.value_sat)))
    }

    /// What is booked as the party's although it waits, if that bug is planted.
    pub(super) fn spent_early(&self, desk: &Desk<'_>) -> Option<Sat> {
        match self.state {
            State::Held { amount, .. } if desk.has_bug(Bug::SpendHeldEscrow) => Some(amount),
            State::Open | State::Held { .. } | State::Settled { .. } | State::Failed { .. } => None,
        }
    }
}
