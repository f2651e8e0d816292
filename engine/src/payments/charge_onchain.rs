//! Owns the states of a charge on chain: what lies on its address is compared with what is booked after every look at
//! the chain, and the difference is posted. Does not own confirmations (`onchain`).
//!
//! Each output on the address is booked in one of three places: `Incoming` while it is not deep enough, the party once
//! it is credited, suspense if it is deep but came too late, twice or short. A reorganisation moves it back; only by
//! that can a party's balance become negative, if it spent the credit before.

use super::desk::{Desk, in_msat, msat, party_btc, wallet_account};
use super::order::Charge;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{PartyId, PaymentId, WalletId};
use crate::ledger::Account;
use crate::money::{Msat, Quantity, Rail, Sat};
use crate::onchain::Received;
use crate::onchain::bip21::PaymentUri;
use crate::planted::Bug;
use crate::rail::Effect;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::{OutPoint, ScriptBuf};
use serde::Serialize;

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
    /// Not seen in full by then, it fails.
    pub expires_at: Timestamp,
    /// Whether that time is over.
    expired: bool,
    /// Settled at some time: if a reorganisation undid that, its money may still come back.
    was_settled: bool,
    /// All that lay on the address at the last look.
    pub seen: Sat,
    /// What is booked for it.
    booked: Booked,
    /// Where it stands.
    pub state: OnchainChargeState,
}

/// Where a charge on chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnchainChargeState {
    /// Waiting for money, or for it to become deep.
    Open,
    /// Paid. A reorganisation opens it again.
    Settled {
        /// The outputs that were credited.
        credited: Vec<OutPoint>,
        /// Their sum.
        amount: Sat,
    },
    /// Final: not paid in time.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

use OnchainChargeState as State;

/// Where the money on the address is booked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Booked {
    incoming: Sat,
    credited: Sat,
    suspense: Sat,
}

impl OnchainCharge {
    pub(super) fn create(desk: &mut Desk<'_>, order: &Charge, wallet: WalletId) -> OnchainCharge {
        let (address, script) = desk.onchain.reveal_address(&wallet);
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
        OnchainCharge {
            id: order.payment.clone(),
            party: order.party.clone(),
            amount: order.amount_msat.to_sat_floor(),
            wallet,
            address,
            script,
            expires_at,
            expired: false,
            was_settled: false,
            seen: Sat(0),
            booked: Booked::default(),
            state: State::Open,
        }
    }

    /// What the payer can be shown (BIP 21): the address and the amount.
    pub fn payment_uri(&self) -> String {
        let uri = PaymentUri {
            address: self.address.clone(),
            amount: Some(self.amount),
            label: Some(self.party.to_string()),
            ..PaymentUri::default()
        };
        uri.to_string()
    }

    /// The chain was looked at: events first tell what happened to the charge, then its money is booked accordingly.
    pub(super) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let received = desk.onchain.received_on(&self.wallet, &self.script);
        self.undo_if_lost(desk, &received);
        self.note_seen(desk, received.at_depth(0));
        let depth = self.depth(desk);
        let deep = received.at_depth(depth);
        let settles = self.may_settle() && deep >= self.amount && !desk.has_bug(Bug::NeverSettle);
        if settles {
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
            self.state = State::Settled {
                credited,
                amount: deep,
            };
        } else if self.expired && self.unpaid() {
            self.fail(desk);
        }
        self.book(desk, &received, depth);
        if settles {
            let quantity = Quantity::btc(in_msat(deep));
            desk.emit(Event::PaymentSettled {
                payment: self.id.clone(),
                quantity,
                fee_msat: Msat(0),
            });
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
        let State::Settled { credited, .. } = &self.state else {
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
        let target = self.target(received, depth);
        let rise =
            |after: Sat, before: Sat| msat(in_msat(after)).saturating_sub(msat(in_msat(before)));
        let incoming = rise(target.incoming, self.booked.incoming);
        let credited = rise(target.credited, self.booked.credited);
        let suspense = rise(target.suspense, self.booked.suspense);
        if suspense > 0 {
            sometimes(Rare::LateCoins);
        }
        self.booked = target;
        let lines = vec![
            (
                wallet_account(&self.wallet),
                incoming.saturating_add(credited).saturating_add(suspense),
            ),
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
        ];
        desk.post(&self.id, "charge on chain", lines);
    }

    fn target(&self, received: &Received, depth: u32) -> Booked {
        let mut target = Booked::default();
        for output in &received.outputs {
            let deep = output.confirmations >= depth;
            let place = match &self.state {
                State::Settled { credited, .. } if credited.contains(&output.outpoint) => {
                    &mut target.credited
                }
                State::Settled { .. } | State::Failed { .. } if deep => &mut target.suspense,
                State::Open | State::Settled { .. } | State::Failed { .. } => &mut target.incoming,
            };
            *place = place
                .checked_add(output.value_sat)
                .expect("amounts on chain are below 21 million bitcoin");
        }
        if let State::Settled { amount, .. } = &self.state {
            // Equal, unless a test planted the bug that keeps a lost credit.
            target.credited = *amount;
        }
        target
    }

    pub(super) fn on_expiry(&mut self, desk: &mut Desk<'_>) {
        self.expired = true;
        if self.unpaid() {
            self.fail(desk);
            let received = desk.onchain.received_on(&self.wallet, &self.script);
            self.book(desk, &received, self.depth(desk));
        } else if self.state == State::Open {
            sometimes(Rare::ExpiryWhileSeen);
        }
    }

    /// Whether it fails when its time is over.
    fn unpaid(&self) -> bool {
        self.state == State::Open && self.seen < self.amount
    }

    /// A charge that was settled, undone and then expired settles again if its money comes back: that is the same credit,
    /// not a late payment.
    fn may_settle(&self) -> bool {
        match self.state {
            State::Open => true,
            State::Failed { .. } => self.was_settled,
            State::Settled { .. } => false,
        }
    }

    fn fail(&mut self, desk: &mut Desk<'_>) {
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
            State::Settled { .. } => Status::Settled,
            State::Failed { .. } => Status::Failed,
        }
    }
}
