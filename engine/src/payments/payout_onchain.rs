//! Owns the states of a payout on chain: reserve, build, have signed, broadcast, see confirmed; and what happens when
//! its transaction leaves the chain. Does not own coin selection (`onchain`), keys (a signer elsewhere), nor what a look at
//! the chain means (`seen`).
//!
//! Exactly one transaction is ever built for a payout, so no repetition can pay twice: signing and broadcasting it again
//! under any key is the same payment.

mod seen;

use super::cosigning::{Progress, Question, Round};
use super::desk::{Desk, in_msat};
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{BindingId, PartyId, PaymentId, WalletId};
use crate::ledger::{Hold, HoldOrder};
use crate::money::{Asset, Msat, Quantity, Rail, Sat};
use crate::onchain::{BuildOrder, BuildRefused, Built};
use crate::planted::Bug;
use crate::policy::Policy;
use crate::rail::Effect;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::{ScriptBuf, Transaction, Txid};
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
    /// What the payee gets.
    pub amount: Sat,
    /// The most for the miner; reserved with the amount.
    pub max_fee: Sat,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// That time came after the transaction was handed out.
    overdue: bool,
    /// The charge whose money goes back, if it is a refund.
    pub refund_of: Option<PaymentId>,
    /// A refund's transaction is gone, and the coins that it spends are gone, too: nothing is owed that could be sent.
    moot: bool,
    /// The signatures of several cosigners that its transaction waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<Box<Round>>,
    /// Where it stands.
    pub state: OnchainPayoutState,
}

/// Where a payout on chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnchainPayoutState {
    /// The wallet's coins do not suffice yet.
    Reserved,
    /// Built; the signer is asked.
    Signing {
        /// Its id.
        txid: Txid,
        /// Its fee.
        fee: Sat,
    },
    /// Handed to the network.
    Sent(Box<Sent>),
    /// Final: not paid.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// A transaction in the network's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Signed.
    pub transaction: Transaction,
    /// Its id.
    pub txid: Txid,
    /// Its fee.
    pub fee: Sat,
    /// Some node took it, or may have: a refusal frees nothing any more.
    accepted: bool,
    /// A broadcast is on its way; the host repeats it until it is answered.
    in_flight: bool,
    /// How often it was handed out.
    broadcasts: u32,
    /// The tip when it was last handed out.
    broadcast_at_height: u32,
    /// Where its money is booked.
    booking: Booking,
    /// Deep enough at the last look.
    pub settled: bool,
}

/// Where a sent transaction's money is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Booking {
    /// Still the party's, held.
    Held,
    /// Gone from the wallet.
    Posted,
    /// Back in the wallet after a reorganisation or eviction; it may leave again.
    Returned,
}

use OnchainPayoutState as State;

/// The hold of a payout: its amount and the most that its fee may be.
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
    pub(super) fn create(
        desk: &mut Desk<'_>,
        order: &Payout,
        wallet: WalletId,
        (script, binding): (ScriptBuf, Option<BindingId>),
    ) -> OnchainPayout {
        let max_fee = desk.policy.onchain_fee_bound();
        OnchainPayout::create_within(desk, order, (wallet, script, binding), max_fee)
    }

    /// As `create`, with a fee of at most `max_fee`, which is held beside the amount.
    pub(super) fn create_within(
        desk: &mut Desk<'_>,
        order: &Payout,
        (wallet, script, binding): (WalletId, ScriptBuf, Option<BindingId>),
        max_fee: Sat,
    ) -> OnchainPayout {
        let amount = Msat(order.quantity.units);
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
        let mut payout = OnchainPayout {
            id: order.payment.clone(),
            party: order.party.clone(),
            wallet,
            script,
            binding,
            amount: amount.to_sat_floor(),
            max_fee,
            due_at,
            overdue: false,
            refund_of: None,
            moot: false,
            round: None,
            state: State::Reserved,
        };
        payout.try_build(desk);
        payout
    }

    /// The chain was looked at: there may be coins now.
    pub(super) fn on_coins(&mut self, desk: &mut Desk<'_>) {
        let waited = self.state == State::Reserved;
        self.try_build(desk);
        if waited && matches!(self.state, State::Signing { .. }) {
            sometimes(Rare::CoinsForWaitingPayout);
        }
    }

    /// Builds the transaction if the coins suffice; otherwise it is tried again after the next look at the chain, until
    /// the deadline.
    fn try_build(&mut self, desk: &mut Desk<'_>) {
        if self.state != State::Reserved {
            return;
        }
        let order = BuildOrder {
            script: self.script.clone(),
            amount_sat: self.amount,
            feerate_sat_per_kwu: desk.policy.onchain_feerate_sat_per_kwu,
            max_fee_sat: self.max_fee,
            entropy: desk.entropy_for(&self.id),
        };
        match desk.onchain.build(&self.wallet, order) {
            Ok(built) => {
                desk.ledger.keep_hold(&self.id);
                self.state = State::Signing {
                    txid: built.txid,
                    fee: built.fee_sat,
                };
                let payment = self.id.clone();
                desk.emit(Event::TransactionBuilt {
                    payment,
                    txid: built.txid,
                    fee_sat: built.fee_sat,
                });
                self.have_signed(desk, built);
            }
            Err(BuildRefused::InsufficientFunds { .. } | BuildRefused::MustWait { .. }) => {}
            Err(
                refused @ (BuildRefused::Dust { .. }
                | BuildRefused::FeeTooHigh { .. }
                | BuildRefused::Unbuildable { .. }),
            ) => {
                sometimes(Rare::NotBuildable);
                desk.void_hold(&self.id);
                self.fail(desk, FailureReason::NotBuildable(refused.to_string()));
            }
        }
    }

    /// By the cosigners, if the wallet has any; otherwise by the signer.
    fn have_signed(&mut self, desk: &mut Desk<'_>, built: Built) {
        let question = Question {
            payment: self.id.clone(),
            wallet: self.wallet.clone(),
            txid: built.txid,
            psbt: built.psbt_base64.clone(),
        };
        self.round = Round::begin(desk, question).map(Box::new);
        if self.round.is_none() {
            let psbt = built.psbt_base64;
            desk.instruct(&self.id, "sign", Effect::SignPsbt { psbt });
        }
    }

    pub(super) fn on_cosigned(
        &mut self,
        desk: &mut Desk<'_>,
        what: &str,
        result: &Result<String, String>,
    ) {
        let (Some(mut round), State::Signing { txid, .. }) = (self.round.take(), &self.state)
        else {
            return;
        };
        let txid = *txid;
        match round.on_answer(desk, what, result) {
            Progress::Waiting => self.round = Some(round),
            Progress::Complete(psbt) => self.on_signed(desk, &Ok(psbt)),
            Progress::Hopeless { signed, threshold } => {
                sometimes(Rare::TooFewCosigners);
                let reason = FailureReason::NotCosigned { signed, threshold };
                self.give_up(desk, txid, reason);
            }
        }
    }

    pub(super) fn on_patience(&mut self, desk: &mut Desk<'_>, what: &str) {
        if let Some(round) = &mut self.round {
            round.on_patience(desk, what);
        }
    }

    /// Forgets whoever has signed, as a planted bug does.
    pub(super) fn forget_signatures(&mut self) {
        if let Some(round) = &mut self.round {
            round.forget();
        }
    }

    pub(super) fn on_signed(&mut self, desk: &mut Desk<'_>, result: &Result<String, String>) {
        let State::Signing { txid, fee } = self.state else {
            return;
        };
        let finalised = result.as_ref().map_err(Clone::clone);
        let finalised = finalised.and_then(|psbt| {
            desk.onchain
                .finalise(psbt)
                .map_err(|refused| refused.to_string())
        });
        match finalised {
            Ok(transaction) if transaction.compute_txid() == txid => {
                self.state = State::Sent(Box::new(Sent {
                    transaction,
                    txid,
                    fee,
                    accepted: false,
                    in_flight: false,
                    broadcasts: 0,
                    broadcast_at_height: 0,
                    booking: Booking::Held,
                    settled: false,
                }));
                self.broadcast(desk);
                desk.emit(Event::PayoutDispatched {
                    payment: self.id.clone(),
                });
            }
            Ok(other) => {
                sometimes(Rare::SigningRefused);
                let cause = format!("the signer gave back transaction {}", other.compute_txid());
                self.give_up(desk, txid, FailureReason::SigningRefused(cause));
            }
            Err(cause) => {
                sometimes(Rare::SigningRefused);
                self.give_up(desk, txid, FailureReason::SigningRefused(cause));
            }
        }
    }

    /// A refusal counts only for a transaction that nobody ever had.
    pub(super) fn on_broadcast(&mut self, desk: &mut Desk<'_>, result: &Result<Txid, String>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        sent.in_flight = false;
        match result {
            Ok(_) => sent.accepted = true,
            Err(word) if !sent.accepted && sent.booking == Booking::Held => {
                sometimes(Rare::BroadcastRefused);
                let txid = sent.txid;
                self.give_up(desk, txid, FailureReason::BroadcastRefused(word.clone()));
            }
            Err(_) => sometimes(Rare::LateRefusalIgnored),
        }
    }

    /// An effect was not performed to its end as far as the host knows: the transaction may be out all the same.
    pub(super) fn on_unavailable(&mut self, desk: &mut Desk<'_>, what: &str) {
        if let Some(round) = &mut self.round {
            round.on_unavailable(desk, what);
        }
        if let (State::Sent(sent), true) = (&mut self.state, what.starts_with("broadcast")) {
            sent.accepted = true;
        }
    }

    fn broadcast(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        sent.broadcasts = sent.broadcasts.saturating_add(1);
        sent.in_flight = true;
        sent.broadcast_at_height = desk.onchain.tip().height;
        let what = if sent.broadcasts == 1 {
            "broadcast".to_owned()
        } else {
            format!("broadcast-{}", sent.broadcasts)
        };
        desk.instruct(
            &self.id,
            &what,
            Effect::Broadcast {
                transaction: sent.transaction.clone(),
            },
        );
    }

    /// Before the transaction left, the deadline ends the payout; after, its fate is watched on.
    pub(super) fn on_deadline(&mut self, desk: &mut Desk<'_>) {
        match &self.state {
            State::Reserved => {
                sometimes(Rare::DeadlineWithoutCoins);
                let expired = desk.ledger.expire_hold(&self.id, desk.now);
                match expired {
                    Some(event) => desk.emit(Event::Hold(event)),
                    None => desk.void_hold(&self.id),
                }
                self.fail(desk, FailureReason::Expired);
            }
            State::Signing { txid, .. } => {
                sometimes(Rare::DeadlineWhileSigning);
                let txid = *txid;
                match self.round.take() {
                    Some(round) => round.end(desk),
                    None => desk.answered(&self.id, "sign"),
                }
                self.give_up(desk, txid, FailureReason::Expired);
            }
            State::Sent(sent) => {
                self.overdue = true;
                if !sent.settled {
                    sometimes(Rare::DeadlineAfterBroadcast);
                    desk.emit(Event::OutcomeUnknown {
                        payment: self.id.clone(),
                    });
                }
            }
            State::Failed { .. } => {}
        }
    }

    /// The binding of the wallet that is paid has ended. What has not left fails, and its money is free again; what has
    /// left completes, and that is told (F69).
    pub(super) fn on_binding_ended(&mut self, desk: &mut Desk<'_>, ended: &BindingId) {
        if self.binding.as_ref() != Some(ended) || desk.has_bug(Bug::PayAfterRevocation) {
            return;
        }
        match &self.state {
            State::Reserved => {
                sometimes(Rare::UnboundBeforeSigning);
                desk.answered(&self.id, "deadline");
                desk.void_hold(&self.id);
                self.fail(desk, FailureReason::BindingEnded);
            }
            State::Signing { txid, .. } => {
                sometimes(Rare::UnboundBeforeSigning);
                let txid = *txid;
                desk.answered(&self.id, "sign");
                self.give_up(desk, txid, FailureReason::BindingEnded);
            }
            State::Sent(sent) if !sent.settled => {
                sometimes(Rare::UnboundAfterBroadcast);
                desk.emit(Event::BindingEndedTooLate {
                    payment: self.id.clone(),
                    binding: ended.clone(),
                });
            }
            State::Sent(_) | State::Failed { .. } => {}
        }
    }

    /// Frees coins and hold of a transaction that never left. If the network knows it all the same (the signer handed it
    /// out), nothing is freed: its fate is unknown.
    fn give_up(&mut self, desk: &mut Desk<'_>, txid: Txid, reason: FailureReason) {
        let was_shown = desk
            .onchain
            .spec(&self.wallet)
            .is_some_and(|spec| spec.cosigners().is_some());
        let abandoned = match was_shown && !desk.has_bug(Bug::ForgetShownTransaction) {
            true => desk.onchain.abandon_shown(&self.wallet, txid),
            false => desk.onchain.abandon(txid),
        };
        if abandoned.is_err() {
            sometimes(Rare::GivenUpButOut);
            desk.emit(Event::OutcomeUnknown {
                payment: self.id.clone(),
            });
            return;
        }
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
            State::Sent(_) if self.moot => Status::Failed,
            State::Sent(sent) if sent.settled => Status::Settled,
            State::Sent(_) if self.overdue => Status::Unknown,
            State::Sent(_) => Status::Dispatched,
            State::Failed { .. } => Status::Failed,
        }
    }
}
