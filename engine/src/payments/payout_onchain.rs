//! Owns one payout on chain: its hold, where its money is booked, its deadline. Does not own the transactions that pay it
//! (`batch`, which may pay several) nor when they are made (`till`).
//!
//! Whatever version of its transaction is seen, its money is booked by that one: amount and share of the fee.

use super::desk::{Desk, in_msat, party_btc, wallet_account};
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{BatchId, PartyId, PaymentId, WalletId};
use crate::ledger::{Account, Hold, HoldOrder};
use crate::money::{Asset, Msat, Quantity, Rail, Sat};
use crate::planted::Bug;
use crate::policy::{Bumping, Policy};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::ScriptBuf;
use serde::Serialize;

/// A payout on chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnchainPayout {
    /// Its id.
    pub id: PaymentId,
    /// Whose money.
    pub party: PartyId,
    /// Which of our wallets pays.
    pub wallet: WalletId,
    /// The payee's.
    pub script: ScriptBuf,
    /// What the payee gets.
    pub amount: Sat,
    /// The most for the miner; reserved with the amount.
    pub max_fee: Sat,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// Until then it waits for others that could share its transaction.
    pub(super) ripe_at: Timestamp,
    /// A transaction that paid it with others was refused: it gets one of its own.
    pub(super) alone: bool,
    /// Signings and broadcasts under its name so far: each has a key of its own.
    pub(super) used: Used,
    /// That time came after the transaction was handed out.
    overdue: bool,
    /// Where its money is booked.
    booking: Booking,
    /// Where it stands.
    pub state: OnchainPayoutState,
}

/// Where a payout on chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnchainPayoutState {
    /// No transaction yet: it waits for coins, for a feerate, or for others.
    Reserved,
    /// Built; the signer is asked.
    Signing {
        /// In which batch.
        batch: BatchId,
    },
    /// Handed to the network.
    Sent {
        /// In which batch.
        batch: BatchId,
        /// Deep enough at the last look.
        settled: bool,
    },
    /// Final: not paid.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// How many keys were used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Used {
    pub(super) signings: u32,
    pub(super) broadcasts: u32,
}

/// Where the money of a payout is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Booking {
    /// Still the party's, held.
    Held,
    /// Gone from the wallet, with this fee.
    Posted { fee: Sat },
    /// Back in the wallet after a reorganisation or eviction; it may leave again.
    Returned { fee: Sat },
}

use OnchainPayoutState as State;

/// The hold of a payout: its amount and the most that its fee may be.
pub(super) fn hold(policy: &Policy, order: &Payout, amount: Msat, due_at: Timestamp) -> HoldOrder {
    let units = amount
        .0
        .saturating_add(in_msat(policy.onchain_fee_bound()).0);
    let hold = Hold {
        party: order.party.clone(),
        asset: Asset::Btc,
        units,
        expires_at: Some(due_at),
    };
    HoldOrder {
        payment: order.payment.clone(),
        hold,
    }
}

impl OnchainPayout {
    pub(super) fn create(
        desk: &mut Desk<'_>,
        order: &Payout,
        wallet: WalletId,
        (script, amount): (ScriptBuf, Msat),
    ) -> OnchainPayout {
        let due_at = desk.now.plus(order.deadline);
        let hold = hold(desk.policy, order, amount, due_at);
        let reserved = Quantity {
            asset: Asset::Btc,
            units: hold.hold.units,
        };
        desk.place_hold(hold);
        desk.emit(Event::PayoutReserved {
            payment: order.payment.clone(),
            party: order.party.clone(),
            rail: Rail::Onchain,
            quantity: order.quantity,
            reserved,
        });
        desk.wake(&order.payment, "deadline", due_at);
        let window = desk.policy.paying.batching.window;
        let ripe_at = desk.now.plus(window);
        if window.0 > 0 {
            desk.wake(&order.payment, "ripe", ripe_at);
        }
        OnchainPayout {
            id: order.payment.clone(),
            party: order.party.clone(),
            wallet,
            script,
            amount: amount.to_sat_floor(),
            max_fee: desk.policy.onchain_fee_bound(),
            due_at,
            ripe_at,
            alone: window.0 == 0,
            used: Used::default(),
            overdue: false,
            booking: Booking::Held,
            state: State::Reserved,
        }
    }

    /// Books the payout by what a look has shown: `Some(fee)` if its transaction is there and costs it so much.
    pub(super) fn book(&mut self, desk: &mut Desk<'_>, seen: Option<Sat>) {
        match (self.booking, seen) {
            (Booking::Held, Some(fee)) => self.post_first(desk, fee),
            (Booking::Posted { fee: before }, Some(fee)) if before != fee => {
                sometimes(Rare::AnotherVersionSeen);
                let more = self.all(fee).saturating_sub(self.all(before));
                let lines = vec![
                    (wallet_account(&self.wallet), more.saturating_neg()),
                    (party_btc(&self.party), more),
                ];
                desk.post(&self.id, "another fee on chain", lines);
                self.fit_hold(desk, fee);
                self.booking = Booking::Posted { fee };
            }
            (Booking::Posted { fee }, None) => {
                sometimes(Rare::PayoutLeftChain);
                let all = self.all(fee);
                let lines = vec![
                    (wallet_account(&self.wallet), all),
                    (self.while_away(desk), all.saturating_neg()),
                ];
                desk.post(&self.id, "payout left the chain", lines);
                self.booking = Booking::Returned { fee };
            }
            (Booking::Returned { fee: before }, Some(fee)) => {
                sometimes(Rare::PayoutCameBack);
                let (all, kept) = (self.all(fee), self.all(before));
                let lines = vec![
                    (wallet_account(&self.wallet), all.saturating_neg()),
                    (self.while_away(desk), kept),
                    (party_btc(&self.party), all.saturating_sub(kept)),
                ];
                let lines = lines.into_iter().filter(|(_, amount)| *amount != 0);
                desk.post(&self.id, "payout on chain again", lines.collect());
                self.fit_hold(desk, fee);
                self.booking = Booking::Posted { fee };
            }
            (Booking::Posted { .. }, Some(_))
            | (Booking::Held | Booking::Returned { .. }, None) => {}
        }
    }

    /// The hold pays; what is left of it is given back, or kept for a dearer successor.
    fn post_first(&mut self, desk: &mut Desk<'_>, fee: Sat) {
        let all = self.all(fee);
        let mut lines = vec![
            (wallet_account(&self.wallet), all.saturating_neg()),
            (party_btc(&self.party), all),
        ];
        if desk.has_bug(Bug::FeeToOperator) {
            let fee = i128::from(in_msat(fee).0);
            let rail = Rail::Onchain;
            lines.push((Account::Fees { rail }, fee));
            lines.push((party_btc(&self.party), fee.saturating_neg()));
        }
        self.booking = Booking::Posted { fee };
        if desk.policy.paying.bumping == Bumping::Off {
            let units = in_msat(self.amount).0.saturating_add(in_msat(fee).0);
            desk.post_hold(&self.id, units, "payout on chain", lines);
        } else {
            desk.post(&self.id, "payout on chain", lines);
            self.fit_hold(desk, fee);
        }
    }

    /// What stays set aside beside what is booked, until the payout settles.
    fn fit_hold(&self, desk: &mut Desk<'_>, fee: Sat) {
        let left = self.max_fee.0.saturating_sub(fee.0);
        desk.fit_hold(&self.id, in_msat(Sat(left)).0);
    }

    fn all(&self, fee: Sat) -> i128 {
        i128::from(in_msat(self.amount).0).saturating_add(i128::from(in_msat(fee).0))
    }

    /// Where its money is booked while its transaction is neither in the chain nor in the mempool.
    fn while_away(&self, desk: &Desk<'_>) -> Account {
        if desk.has_bug(Bug::ForgetHoldOnReorg) {
            return party_btc(&self.party);
        }
        Account::Outgoing {
            payment: self.id.clone(),
        }
    }

    /// What it bears of the fee of the transaction that is there; nothing if none is.
    pub fn booked_fee(&self) -> Sat {
        match self.booking {
            Booking::Posted { fee } => fee,
            Booking::Held | Booking::Returned { .. } => Sat(0),
        }
    }

    /// Whether nothing of it was ever seen outside.
    pub(super) fn is_held(&self) -> bool {
        self.booking == Booking::Held
    }

    /// Its transaction is deep enough.
    pub(super) fn settle(&mut self, desk: &mut Desk<'_>, fee: Sat) {
        if let State::Sent { settled, .. } = &mut self.state {
            *settled = true;
        }
        desk.emit(Event::PaymentSettled {
            payment: self.id.clone(),
            quantity: Quantity::btc(in_msat(self.amount)),
            fee_msat: in_msat(fee),
        });
        if desk.ledger.hold(&self.id).is_some() {
            desk.void_hold(&self.id);
        }
    }

    /// It was settled, and its transaction has lost its confirmations.
    pub(super) fn undo(&mut self, desk: &mut Desk<'_>) {
        if let State::Sent { settled, .. } = &mut self.state {
            *settled = false;
        }
        desk.emit(Event::PaymentUndone {
            payment: self.id.clone(),
        });
    }

    /// Its time is over and it has no transaction.
    pub(super) fn expire(&mut self, desk: &mut Desk<'_>) {
        match desk.ledger.expire_hold(&self.id, desk.now) {
            Some(event) => desk.emit(Event::Hold(event)),
            None => desk.void_hold(&self.id),
        }
        self.fail(desk, FailureReason::Expired);
    }

    /// Its time is over and its transaction is out: its fate is watched on.
    pub(super) fn become_overdue(&mut self, desk: &mut Desk<'_>) {
        self.overdue = true;
        if !matches!(self.state, State::Sent { settled: true, .. }) {
            sometimes(Rare::DeadlineAfterBroadcast);
            desk.emit(Event::OutcomeUnknown {
                payment: self.id.clone(),
            });
        }
    }

    pub(super) fn give_up(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        desk.void_hold(&self.id);
        self.fail(desk, reason);
    }

    fn fail(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        self.state = State::Failed {
            reason: reason.clone(),
        };
        desk.emit(Event::PaymentFailed {
            payment: self.id.clone(),
            reason,
        });
    }

    pub(super) fn status(&self) -> Status {
        match &self.state {
            State::Reserved | State::Signing { .. } => Status::Reserved,
            State::Sent { settled: true, .. } => Status::Settled,
            State::Sent { .. } if self.overdue => Status::Unknown,
            State::Sent { .. } => Status::Dispatched,
            State::Failed { .. } => Status::Failed,
        }
    }
}
