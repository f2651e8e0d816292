//! Owns what a charge on chain makes of money that is not as asked: short, too much, late, twice, gone again; where each of
//! it is booked, and what is told of it. Does not own when a charge settles or fails, nor how a refund is paid (`refunds`).
//!
//! All amounts follow from the latest look, so a reorganisation undoes each of them. But for one: what was given to refunds
//! has left. It is remembered as an amount, not as outputs, so that money which goes and comes again, be it in another
//! transaction, is refunded once.

use super::{OnchainCharge, State};
use crate::event::{Event, Finding};
use crate::money::{Msat, Quantity, Sat};
use crate::onchain::{Received, ReceivedOutput};
use crate::payments::desk::{Desk, in_msat};
use crate::planted::Bug;
use crate::policy::{BindingAsked, Disposal, Policy};
use crate::rare::{Rare, sometimes};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where the money on the address is booked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Booked {
    /// Waits for depth.
    pub(super) incoming: Sat,
    /// The party's.
    pub(super) credited: Sat,
    /// Set apart.
    pub(super) suspense: Sat,
    /// The payers', to be sent back.
    pub(super) refund: Sat,
}

pub(super) fn sum(amounts: impl Iterator<Item = Sat>) -> Sat {
    amounts.fold(Sat(0), |all, one| Sat(all.0.saturating_add(one.0)))
}

fn less(amount: Sat, by: Sat) -> Sat {
    Sat(amount.0.saturating_sub(by.0))
}

impl Booked {
    fn put(&mut self, disposal: Disposal, amount: Sat) {
        let place = match disposal {
            Disposal::Suspense => &mut self.suspense,
            Disposal::Credit => &mut self.credited,
            Disposal::Refund => &mut self.refund,
        };
        *place = Sat(place.0.saturating_add(amount.0));
    }

    /// What was given to refunds stays there, whatever became of the charge since.
    fn keep_refunded(&mut self, refunded: Sat) {
        let mut missing = less(refunded, self.refund);
        for place in [&mut self.suspense, &mut self.incoming, &mut self.credited] {
            let taken = missing.min(*place);
            *place = less(*place, taken);
            missing = less(missing, taken);
            self.refund = Sat(self.refund.0.saturating_add(taken.0));
        }
    }
}

impl OnchainCharge {
    /// Where each output belongs now.
    pub(super) fn target(&self, policy: &Policy, received: &Received, depth: u32) -> Booked {
        let counts = self.that_counts(received);
        let mut target = self.target_of_what_counts(policy, &counts, depth);
        for output in received
            .outputs
            .iter()
            .filter(|output| self.is_unbound(&output.outpoint))
        {
            let place = if output.confirmations >= depth {
                &mut target.suspense
            } else {
                &mut target.incoming
            };
            *place = Sat(place.0.saturating_add(output.value_sat.0));
        }
        target
    }

    fn target_of_what_counts(&self, policy: &Policy, received: &Received, depth: u32) -> Booked {
        let mut target = Booked::default();
        if let State::Settled { amount, .. } = &self.state {
            target.credited = *amount;
        }
        for (finding, amount) in self.strays(policy, received, depth) {
            target.put(self.disposal(policy, finding), amount);
        }
        let payers = self.payers_part(received);
        target.refund = Sat(target.refund.0.saturating_add(payers.0));
        let placed = sum([target.credited, target.suspense, target.refund].into_iter());
        target.incoming = less(received.at_depth(0), placed);
        target.keep_refunded(self.sent_back().min(received.at_depth(depth)));
        target
    }

    /// What is deep and does not pay the charge.
    fn strays(&self, policy: &Policy, received: &Received, depth: u32) -> BTreeMap<Finding, Sat> {
        let depth = self.stray_depth(policy, received, depth);
        let deep = |output: &&ReceivedOutput| output.confirmations >= depth;
        let mut strays = BTreeMap::<Finding, Sat>::new();
        let mut add = |finding, amount: Sat| {
            let of_kind = strays.entry(finding).or_default();
            *of_kind = Sat(of_kind.0.saturating_add(amount.0));
        };
        match &self.state {
            State::Open | State::Held { .. } => {}
            State::Settled { credited, amount } => {
                let pays = |output: &&ReceivedOutput| credited.contains(&output.outpoint);
                let (paid, more): (Vec<_>, Vec<_>) = received.outputs.iter().partition(pays);
                if paid.iter().all(deep) {
                    let all = sum(paid.iter().map(|output| output.value_sat));
                    add(
                        Finding::Over,
                        less(less(all, *amount), self.payers_part(received)),
                    );
                }
                for output in more.into_iter().filter(deep) {
                    add(Finding::Double, output.value_sat);
                }
            }
            State::Failed { .. } => {
                for output in received.outputs.iter().filter(deep) {
                    let in_time = self.in_time.contains(&output.outpoint);
                    let finding = if in_time {
                        Finding::Partial
                    } else {
                        Finding::Late
                    };
                    add(finding, output.value_sat);
                }
            }
        }
        strays
    }

    /// Money that does not pay the charge may be much more than was asked for: then it needs more confirmations.
    fn stray_depth(&self, policy: &Policy, received: &Received, depth: u32) -> u32 {
        match policy.stray {
            None => depth,
            Some(_) => depth.max(policy.depth_for(received.at_depth(0))),
        }
    }

    fn disposal(&self, policy: &Policy, finding: Finding) -> Disposal {
        if self.is_refused() {
            return Disposal::Refund;
        }
        let Some(stray) = policy.stray else {
            return Disposal::Suspense;
        };
        let disposal = match finding {
            Finding::Partial => stray.partial,
            Finding::Over => stray.over,
            Finding::Late => stray.late,
            Finding::Double => stray.double,
            Finding::Replaced => Disposal::Suspense,
        };
        // Nothing leaves for a wallet that nobody has bound, where the policy asks for that.
        let may_refund = policy.binding.asked == BindingAsked::Off && self.refund_to.is_some();
        if disposal == Disposal::Refund && !may_refund {
            sometimes(Rare::NowhereToRefund);
            return Disposal::Suspense;
        }
        disposal
    }

    /// Says how its money is not as asked, as far as that has changed. Without a policy for such money nothing is said.
    pub(super) fn tell_findings(
        &mut self,
        desk: &mut Desk<'_>,
        received: &Received,
        depth: u32,
        gone: Sat,
    ) {
        if desk.policy.stray.is_none() {
            return;
        }
        // What an agent has refused goes back as it came: nothing about it is not as asked.
        let mut found = match self.is_refused() {
            true => BTreeMap::new(),
            false => self.strays(desk.policy, received, depth),
        };
        if self.state == State::Open {
            found.insert(Finding::Partial, received.at_depth(depth));
        }
        for finding in [
            Finding::Partial,
            Finding::Over,
            Finding::Late,
            Finding::Double,
        ] {
            let amount = found.get(&finding).copied().unwrap_or_default();
            let before = self.found.insert(finding, amount).unwrap_or_default();
            if before == amount {
                continue;
            }
            self.tell(desk, finding, amount);
            if finding == Finding::Double && desk.has_bug(Bug::SettleTwiceOnDouble) {
                desk.emit(Event::PaymentSettled {
                    payment: self.id.clone(),
                    quantity: Quantity::btc(in_msat(amount)),
                    fee_msat: Msat(0),
                });
            }
        }
        if gone > Sat(0) {
            sometimes(Rare::PayerTookBack);
            self.tell(desk, Finding::Replaced, gone);
        }
    }

    fn tell(&self, desk: &mut Desk<'_>, finding: Finding, amount_sat: Sat) {
        let payment = self.id.clone();
        desk.emit(Event::ChargeFound {
            payment,
            finding,
            amount_sat,
        });
    }

    /// What is to be sent back and was not given to refunds yet.
    pub(in crate::payments) fn refund_due(&self) -> Sat {
        less(self.booked.refund, self.sent_back())
    }

    /// What refunds have sent, or are about to.
    pub(super) fn sent_back(&self) -> Sat {
        less(self.refunded, self.moot)
    }

    /// So much of what was given to refunds is not sent, as its coins are gone.
    pub(in crate::payments) fn take_back(&mut self, moot: Sat) {
        self.moot = moot;
    }

    /// What is due now is given to refunds; the number of that refund, from 1.
    pub(in crate::payments) fn take_refund(&mut self) -> u32 {
        let due = self.refund_due();
        self.refunded = Sat(self.refunded.0.saturating_add(due.0));
        self.refunds = self.refunds.saturating_add(1);
        self.refunds
    }

    /// What was credited once and is not any more.
    pub(in crate::payments) fn taken_back(&self) -> Sat {
        less(self.most_credited, self.booked.credited)
    }
}
