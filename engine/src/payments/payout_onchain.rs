//! Owns one payout on chain: its hold, where its money is booked, its deadline, and what a refund is whose coins are gone.
//! Does not own the transactions that pay it (`batch`, which may pay several) nor when they are made (`till`).
//!
//! Whatever version of its transaction is seen, its money is booked by that one: amount and share of the fee.

use super::desk::{Desk, in_msat, party_btc, wallet_account};
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{BatchId, BindingId, PartyId, PaymentId, WalletId};
use crate::ledger::{Account, Hold, HoldOrder};
use crate::money::{Asset, Msat, Quantity, Rail, Sat};
use crate::onchain::feerate::Feerate;
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
    /// The binding by which it is the payee's, where the policy asks for one.
    pub binding: Option<BindingId>,
    /// What the payee gets; of a payout of all that its party had, at least so much until its transaction is built.
    pub amount: Sat,
    /// The most for the miner; reserved with the amount.
    pub max_fee: Sat,
    /// All that its party had, if that is what goes: the fee comes out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) whole: Option<Sat>,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// Until then it waits for others that could share its transaction.
    pub(super) ripe_at: Timestamp,
    /// It shares its transaction with no other.
    pub(super) alone: bool,
    /// Its transaction may have successors, for which what is left of its hold is kept.
    may_be_bumped: bool,
    /// Signings and broadcasts under its name so far: each has a key of its own.
    pub(super) used: Used,
    /// That time came after the transaction was handed out.
    overdue: bool,
    /// What it gives back, if it is a refund.
    pub(super) refund: Option<Refund>,
    /// Its transaction is gone, and coins that it spends are gone, too: there is nothing that could be sent.
    moot: bool,
    /// Where its money is booked.
    booking: Booking,
    /// Where it stands.
    pub state: OnchainPayoutState,
}

/// What a payout has of its own that gives back the money of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refund {
    /// Whose money goes back.
    pub(super) charge: PaymentId,
    /// By this feerate its fee was taken from what goes back; it is built by no other.
    pub(super) feerate: Feerate,
}

/// What a look shows of the coins of a transaction that is not there itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coins {
    /// All of them.
    There,
    /// Not all.
    Missing,
    /// One has been missing for as many blocks as finality takes, and nothing of ours can bring it back.
    Lost,
}

/// Whom a payout pays, and from where.
pub(super) struct Payee {
    pub(super) wallet: WalletId,
    pub(super) script: ScriptBuf,
    /// By which binding the script is his.
    pub(super) binding: Option<BindingId>,
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

/// The hold of a payout: its amount and the most that its fee may be; these are all that a party has, if that goes.
pub(super) fn hold(policy: &Policy, order: &Payout, amount: Msat, due_at: Timestamp) -> HoldOrder {
    hold_with(order, amount, policy.onchain_fee_bound(), due_at)
}

fn hold_with(order: &Payout, amount: Msat, max_fee: Sat, due_at: Timestamp) -> HoldOrder {
    let hold = Hold {
        party: order.party.clone(),
        asset: Asset::Btc,
        units: amount.0.saturating_add(in_msat(max_fee).0),
        expires_at: Some(due_at),
    };
    HoldOrder {
        payment: order.payment.clone(),
        hold,
    }
}

impl OnchainPayout {
    /// One that an order asks for. It waits for others that could share its transaction, unless people sign for its wallet:
    /// each of them is asked about one payment, and who refuses it takes no other along.
    pub(super) fn create(desk: &mut Desk<'_>, order: &Payout, payee: Payee) -> OnchainPayout {
        let (window, bumping) = (
            desk.policy.paying.batching.window,
            desk.policy.paying.bumping,
        );
        let spec = desk.onchain.spec(&payee.wallet);
        let is_cosigned = spec.is_some_and(|spec| spec.cosigners().is_some());
        let max_fee = desk.policy.onchain_fee_bound();
        let amount = Msat(order.quantity.units);
        let mut payout = OnchainPayout::reserve(desk, order, payee, (amount, max_fee));
        payout.alone = window.0 == 0 || is_cosigned;
        payout.may_be_bumped = bumping != Bumping::Off && !is_cosigned;
        if !payout.alone {
            payout.ripe_at = desk.now.plus(window);
            desk.wake(&order.payment, "ripe", payout.ripe_at);
        }
        payout
    }

    /// One of all that its party can spend, which is what the order names here. It goes alone, at once and unbumped, as a
    /// refund does: its fee comes out of what goes, and only its transaction tells how much that is.
    pub(super) fn create_whole(desk: &mut Desk<'_>, order: &Payout, payee: Payee) -> OnchainPayout {
        let max_fee = desk.policy.onchain_fee_bound();
        let whole = Msat(order.quantity.units).to_sat_floor();
        let least = in_msat(Sat(whole.0.saturating_sub(max_fee.0)));
        let mut payout = OnchainPayout::reserve(desk, order, payee, (least, max_fee));
        payout.whole = Some(whole);
        payout
    }

    /// One that gives the money of a charge back, less this fee. It goes alone, at once and unbumped: its fee is another
    /// one's loss, so nobody else's may be mixed with it, and nothing is set aside that could raise it.
    pub(super) fn create_refund(
        desk: &mut Desk<'_>,
        order: &Payout,
        payee: Payee,
        (refund, fee): (Refund, Sat),
    ) -> OnchainPayout {
        let amount = Msat(order.quantity.units);
        let mut payout = OnchainPayout::reserve(desk, order, payee, (amount, fee));
        payout.refund = Some(refund);
        payout
    }

    fn reserve(
        desk: &mut Desk<'_>,
        order: &Payout,
        payee: Payee,
        (amount, max_fee): (Msat, Sat),
    ) -> OnchainPayout {
        let due_at = desk.now.plus(order.deadline);
        let hold = hold_with(order, amount, max_fee, due_at);
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
        OnchainPayout {
            id: order.payment.clone(),
            party: order.party.clone(),
            wallet: payee.wallet,
            script: payee.script,
            binding: payee.binding,
            amount: amount.to_sat_floor(),
            max_fee,
            whole: None,
            due_at,
            ripe_at: desk.now,
            alone: true,
            may_be_bumped: false,
            used: Used::default(),
            overdue: false,
            refund: None,
            moot: false,
            booking: Booking::Held,
            state: State::Reserved,
        }
    }

    /// Books the payout by what a look has shown: `Some(fee)` if its transaction is there and costs it so much.
    pub(super) fn book(&mut self, desk: &mut Desk<'_>, seen: Option<Sat>) {
        if seen.is_some() {
            self.take_up(desk);
        }
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
        let is_held = desk.ledger.hold(&self.id).is_some();
        if is_held && !self.may_be_bumped {
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

    /// Its transaction is not there: are the coins that it spends? What has left the chain together with them has nothing
    /// to send: it has failed, until they come again. Its transaction spends them and nothing else can, so it cannot be
    /// paid twice. Of a refund that is true at once, as nobody waits for it who would pay in another way; of any other
    /// payout when its time is over and the loss is as final as a payment.
    pub(super) fn weigh(&mut self, desk: &mut Desk<'_>, coins: Coins) {
        let is_over = match coins {
            Coins::There => return self.take_up(desk),
            Coins::Missing if desk.has_bug(Bug::FailMissingCoins) => true,
            Coins::Missing => {
                self.refund.is_some() && matches!(self.booking, Booking::Returned { .. })
            }
            Coins::Lost => self.refund.is_some() || self.overdue,
        };
        if !is_over || self.moot {
            return;
        }
        sometimes(match self.refund {
            Some(_) => Rare::RefundWithoutCoins,
            None => Rare::PayoutWithoutCoins,
        });
        self.moot = true;
        self.move_returned(desk, "payout without its coins", 1);
        if desk.ledger.hold(&self.id).is_some() {
            desk.void_hold(&self.id);
        }
        desk.emit(Event::PaymentFailed {
            payment: self.id.clone(),
            reason: FailureReason::CoinsLost,
        });
    }

    /// What it spends is there again.
    fn take_up(&mut self, desk: &mut Desk<'_>) {
        if !std::mem::take(&mut self.moot) {
            return;
        }
        self.move_returned(desk, "payout with its coins again", -1);
        desk.emit(Event::PayoutDispatched {
            payment: self.id.clone(),
        });
    }

    /// Moves what has come back from the payout to its party, or (-1) from there.
    fn move_returned(&self, desk: &mut Desk<'_>, memo: &'static str, sign: i128) {
        let Booking::Returned { fee } = self.booking else {
            return;
        };
        let moved = self.all(fee).saturating_mul(sign);
        let lines = vec![
            (self.while_away(desk), moved),
            (party_btc(&self.party), moved.saturating_neg()),
        ];
        desk.post(&self.id, memo, lines);
    }

    pub(super) const fn is_moot(&self) -> bool {
        self.moot
    }

    /// What of its charge's money a refund does not send any more.
    pub(super) fn moot(&self) -> Option<(&PaymentId, Sat)> {
        let whole = Sat(self.amount.0.saturating_add(self.max_fee.0));
        let moot = self.refund.as_ref().filter(|_| self.moot);
        moot.map(|refund| (&refund.charge, whole))
    }

    /// The charge whose money goes back, if it is a refund.
    pub fn refund_of(&self) -> Option<&PaymentId> {
        self.refund.as_ref().map(|refund| &refund.charge)
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
        if !self.moot && !matches!(self.state, State::Sent { settled: true, .. }) {
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
            State::Sent { .. } if self.moot => Status::Failed,
            State::Sent { settled: true, .. } => Status::Settled,
            State::Sent { .. } if self.overdue => Status::Unknown,
            State::Sent { .. } => Status::Dispatched,
            State::Failed { .. } => Status::Failed,
        }
    }
}
