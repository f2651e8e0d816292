//! Owns the states of a charge on chain: what lies on its address is compared with what is booked after every look at
//! the chain, and the difference is posted. Does not own confirmations (`onchain`), what is made of money that is not as
//! asked (`stray`), nor who bears what was spent and taken back (`shortfall`).
//!
//! Each output on the address is booked in one place: `Incoming` while it is not deep enough, the party once it is credited,
//! otherwise where the policy wants it if it is deep but came too late, twice, short or in excess. A reorganisation moves it
//! back; only by that can a party's balance become negative, if it spent the credit before.

mod by_invoice;
mod escrow;
mod stray;

use super::desk::{Desk, in_msat, msat, party_btc, wallet_account};
use super::order::Charge;
use super::record::Status;
use crate::escrow::EscrowTerms;
use crate::event::{Event, FailureReason, Finding};
use crate::id::{PartyId, PaymentId, WalletId};
use crate::identity::Purpose;
use crate::ledger::Account;
use crate::money::{Rail, Sat};
use crate::onchain::Received;
use crate::planted::Bug;
use crate::policy::{BindingAsked, Policy};
use crate::rail::Effect;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::{OutPoint, ScriptBuf};
pub use by_invoice::InvoiceToo;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use stray::{Booked, sum};

/// A charge on chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnchainCharge {
    /// Its id.
    pub id: PaymentId,
    /// Who is credited.
    pub party: PartyId,
    /// What is asked.
    pub amount: Sat,
    /// Which of our wallets is paid.
    pub wallet: WalletId,
    /// Its address, used for nothing else.
    pub address: String,
    /// The address as a script.
    pub script: ScriptBuf,
    /// Where money goes back to that does not pay it.
    pub refund_to: Option<String>,
    /// Who decides about its money.
    pub escrow: Option<EscrowTerms>,
    /// What an escrow's decision sends back of what paid it.
    goes_back: Sat,
    /// Not seen in full by then, it fails.
    pub expires_at: Timestamp,
    /// Whether that time is over.
    expired: bool,
    /// Settled at some time: if a reorganisation undid that, its money may still come back.
    was_settled: bool,
    /// Where the policy asks for it: whether each output that was ever seen came from wallets bound to the party, judged
    /// when it was first seen.
    bound: BTreeMap<OutPoint, bool>,
    /// All that lay on the address at the last look.
    pub seen: Sat,
    /// What lay on the address at the last look.
    outputs: BTreeMap<OutPoint, Sat>,
    /// What lay there when it failed.
    in_time: BTreeSet<OutPoint>,
    /// How its money is not as asked, as far as it was told.
    found: BTreeMap<Finding, Sat>,
    /// What was given to refunds, for good: none of it is refunded or credited again.
    refunded: Sat,
    /// What of it is not sent because its coins are gone.
    moot: Sat,
    /// How many refunds were made.
    refunds: u32,
    /// What is booked for it.
    booked: Booked,
    /// The most that was credited at one time.
    most_credited: Sat,
    /// The invoice by which it can be paid as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_invoice: Option<InvoiceToo>,
    /// Where it stands.
    pub state: OnchainChargeState,
}

/// Where a charge on chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnchainChargeState {
    /// Waiting for money, or for it to become deep.
    Open,
    /// Deep enough, and in escrow: it waits for a decision. A reorganisation opens it again.
    Held {
        /// The outputs that paid it.
        credited: Vec<OutPoint>,
        /// What of their sum waits.
        amount: Sat,
    },
    /// Paid. A reorganisation opens it again.
    Settled {
        /// The outputs that paid it; none if its invoice was paid.
        credited: Vec<OutPoint>,
        /// What of their sum was credited.
        amount: Sat,
    },
    /// Final: not paid in time.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

use OnchainChargeState as State;

impl OnchainCharge {
    pub(super) fn create(desk: &mut Desk<'_>, order: &Charge, wallet: WalletId) -> OnchainCharge {
        let (address, script) = match desk.planted {
            Some(Bug::IgnoreWalletOfCharge) => desk.onchain.reveal_address(&WalletId::hot()),
            Some(_) | None => desk.onchain.reveal_address(&wallet),
        };
        let expires_at = desk.now.plus(order.expires_in);
        let payment = order.payment.clone();
        desk.emit(Event::ChargeCreated {
            payment: payment.clone(),
            party: order.party.clone(),
            rail: Rail::Onchain,
            amount_msat: order.amount_msat,
        });
        desk.instruct(
            &payment,
            "watch",
            Effect::WatchScript {
                script: script.clone(),
            },
        );
        desk.wake(&payment, "expiry", expires_at);
        desk.emit(Event::ChargeIssued {
            payment,
            request: address.clone(),
        });
        let by_invoice = by_invoice::ask(desk, order);
        OnchainCharge {
            id: order.payment.clone(),
            party: order.party.clone(),
            amount: order.amount_msat.to_sat_floor(),
            wallet,
            address,
            script,
            refund_to: order.refund_to.clone(),
            escrow: order.escrow.clone(),
            goes_back: Sat(0),
            expires_at,
            expired: false,
            was_settled: false,
            bound: BTreeMap::new(),
            seen: Sat(0),
            outputs: BTreeMap::new(),
            in_time: BTreeSet::new(),
            found: BTreeMap::new(),
            refunded: Sat(0),
            moot: Sat(0),
            refunds: 0,
            booked: Booked::default(),
            most_credited: Sat(0),
            by_invoice,
            state: State::Open,
        }
    }

    /// The chain was looked at: events first tell what happened to the charge, then its money is booked accordingly.
    pub(super) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let received = desk.onchain.received_on(&self.wallet, &self.script);
        self.judge_payers(desk, &received);
        let counts = self.that_counts(&received);
        self.undo_if_lost(desk, &counts);
        let gone = self.take_notice(&counts);
        self.note_seen(desk, counts.at_depth(0));
        let depth = self.depth(desk);
        if desk.has_bug(Bug::RefundAgain) {
            self.refunded = self.refunded.min(counts.at_depth(depth));
        }
        let paid = self.pays(desk, counts.at_depth(depth));
        if let Some(amount) = paid {
            self.settle(&counts, depth, amount);
        } else if self.expired && self.unpaid(desk) {
            self.fail(desk);
        }
        self.book(desk, &received, depth);
        if let Some(amount) = paid {
            desk.emit(self.paid_event(amount));
        }
        self.tell_findings(desk, &counts, depth, gone);
    }

    /// What is credited if so much that is deep settles the charge now. What went to refunds is not there any more.
    fn pays(&self, desk: &Desk<'_>, deep: Sat) -> Option<Sat> {
        if !self.may_settle() || desk.has_bug(Bug::NeverSettle) || desk.tip_is_stale() {
            return None;
        }
        let left = self.that_pays(deep);
        let enough = match desk.planted {
            Some(Bug::CreditShortPayment) => Sat(1),
            Some(_) | None => self.required(desk.policy),
        };
        let credited = match desk.policy.stray {
            None => left,
            Some(_) => left.min(self.amount),
        };
        (left >= enough).then_some(credited)
    }

    /// As much counts as paid.
    pub fn required(&self, policy: &Policy) -> Sat {
        let least = self.amount.0.saturating_sub(policy.charge_tolerance.0);
        Sat(least.max(1))
    }

    fn settle(&mut self, received: &Received, depth: u32, amount: Sat) {
        let credited = received
            .outputs
            .iter()
            .filter(|o| o.confirmations >= depth)
            .map(|o| o.outpoint)
            .collect();
        if matches!(self.state, State::Failed { .. }) {
            sometimes(Rare::ExpiredChargeCameBack);
        }
        self.was_settled = true;
        self.state = self.paid_state(credited, amount);
    }

    /// Remembers what lies on the address; how much of what lay there is gone.
    fn take_notice(&mut self, received: &Received) -> Sat {
        let now = received.outputs.iter().map(|o| (o.outpoint, o.value_sat));
        let before = std::mem::replace(&mut self.outputs, now.collect());
        let gone = before
            .iter()
            .filter(|(outpoint, _)| !self.outputs.contains_key(outpoint));
        sum(gone.map(|(_, value)| *value))
    }

    /// Judges outputs that were not seen before, where the policy asks for bound payers: every input must have spent from a
    /// script in a wallet that is bound to the party for charges. The verdict stays: a binding that ends later takes no
    /// credit back, and one that comes later gives none.
    fn judge_payers(&mut self, desk: &mut Desk<'_>, received: &Received) {
        if desk.policy.binding.asked != BindingAsked::Both {
            return;
        }
        for output in &received.outputs {
            if self.bound.contains_key(&output.outpoint) {
                continue;
            }
            let scripts = desk.onchain.payer_scripts(output.outpoint.txid);
            let owned = |script: &ScriptBuf| {
                let found = desk.bindings.owner(&self.party, script, Purpose::Charges);
                found.is_some()
            };
            let bound = scripts.is_some_and(|scripts| scripts.iter().all(owned));
            self.bound.insert(output.outpoint, bound);
            if !bound {
                sometimes(Rare::PayerNotBound);
                desk.emit(Event::PayerNotBound {
                    payment: self.id.clone(),
                    amount_sat: output.value_sat,
                });
            }
        }
    }

    fn is_unbound(&self, outpoint: &OutPoint) -> bool {
        self.bound.get(outpoint) == Some(&false)
    }

    /// What may be credited: all but money from wallets that are not bound.
    fn that_counts(&self, received: &Received) -> Received {
        let outputs = received.outputs.iter();
        let counts = outputs.filter(|output| !self.is_unbound(&output.outpoint));
        Received {
            outputs: counts.copied().collect(),
        }
    }

    /// Confirmations that its money needs.
    fn depth(&self, desk: &Desk<'_>) -> u32 {
        let depth = desk.policy.depth_for(self.amount);
        match desk.planted {
            Some(Bug::CreditAtSeen) => 0,
            Some(Bug::SettleOneBlockEarly) => depth.saturating_sub(1).max(1),
            Some(_) | None => depth,
        }
    }

    /// A credit stands as long as each of its outputs has a confirmation.
    fn undo_if_lost(&mut self, desk: &mut Desk<'_>, received: &Received) {
        let (State::Settled { credited, .. } | State::Held { credited, .. }) = &self.state else {
            return;
        };
        let least = u32::from(!desk.has_bug(Bug::CreditAtSeen));
        let confirmed = |outpoint: &OutPoint| {
            received
                .outputs
                .iter()
                .any(|o| o.outpoint == *outpoint && o.confirmations >= least)
        };
        if credited.iter().all(confirmed) || desk.has_bug(Bug::IgnoreReorg) {
            return;
        }
        sometimes(Rare::ChargeUndone);
        self.state = State::Open;
        desk.emit(Event::PaymentUndone {
            payment: self.id.clone(),
        });
    }

    fn note_seen(&mut self, desk: &mut Desk<'_>, total: Sat) {
        let before = std::mem::replace(&mut self.seen, total);
        if self.state != State::Open || before == total {
            return;
        }
        let payment = self.id.clone();
        desk.emit(if total == Sat(0) {
            sometimes(Rare::ChargeMoneyVanished);
            Event::PaymentVanished { payment }
        } else {
            Event::PaymentSeen {
                payment,
                amount_sat: total,
            }
        });
    }

    /// Posts the difference between where the money should be booked and where it is.
    fn book(&mut self, desk: &mut Desk<'_>, received: &Received, depth: u32) {
        let mut target = self.target(desk.policy, received, depth);
        if let Some(early) = self.spent_early(desk) {
            target.credited = early;
            target.incoming = Sat(target.incoming.0.saturating_sub(early.0));
        }
        let rise =
            |after: Sat, before: Sat| msat(in_msat(after)).saturating_sub(msat(in_msat(before)));
        let incoming = rise(target.incoming, self.booked.incoming);
        let credited = rise(target.credited, self.booked.credited);
        let suspense = rise(target.suspense, self.booked.suspense);
        let refund = rise(target.refund, self.booked.refund);
        if suspense > 0 {
            sometimes(Rare::LateCoins);
        }
        self.booked = target;
        self.most_credited = self.most_credited.max(target.credited);
        let all = incoming.saturating_add(credited).saturating_add(suspense);
        let lines = vec![
            (wallet_account(&self.wallet), all.saturating_add(refund)),
            (
                Account::Incoming {
                    payment: self.id.clone(),
                },
                incoming.saturating_neg(),
            ),
            (party_btc(&self.party), credited.saturating_neg()),
            (
                Account::Suspense {
                    rail: Rail::Onchain,
                },
                suspense.saturating_neg(),
            ),
            (
                party_btc(&super::refunds::payers()),
                refund.saturating_neg(),
            ),
        ];
        desk.post(&self.id, "charge on chain", lines);
    }

    pub(super) fn on_expiry(&mut self, desk: &mut Desk<'_>) {
        if self.outlived(desk) {
            return;
        }
        self.expired = true;
        if self.unpaid(desk) {
            self.fail(desk);
            let received = desk.onchain.received_on(&self.wallet, &self.script);
            let depth = self.depth(desk);
            self.book(desk, &received, depth);
            let counts = self.that_counts(&received);
            self.tell_findings(desk, &counts, depth, Sat(0));
        } else if self.state == State::Open {
            sometimes(Rare::ExpiryWhileSeen);
        }
    }

    /// Whether it fails when its time is over.
    fn unpaid(&self, desk: &Desk<'_>) -> bool {
        let lacks = self.state == State::Open && self.seen < self.required(desk.policy);
        lacks && !desk.tip_is_stale()
    }

    /// A charge that was settled, undone and then expired settles again if its money comes back: that is the same credit,
    /// not a late payment.
    fn may_settle(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Failed { .. } => self.was_settled && !self.is_refused(),
            State::Held { .. } | State::Settled { .. } => false,
        }
    }

    fn fail(&mut self, desk: &mut Desk<'_>) {
        self.in_time = self.outputs.keys().copied().collect();
        self.state = State::Failed {
            reason: FailureReason::Expired,
        };
        desk.emit(Event::PaymentFailed {
            payment: self.id.clone(),
            reason: FailureReason::Expired,
        });
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            State::Open if self.seen == Sat(0) => Status::Issued,
            State::Open => Status::Seen,
            State::Held { .. } => Status::Held,
            State::Settled { .. } => Status::Settled,
            State::Failed { .. } => Status::Failed,
        }
    }
}
