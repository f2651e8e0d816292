//! Owns the states of a move of funds between two wallets of ours: build, have signed, broadcast, see confirmed; and what
//! happens when its transaction leaves the chain. Does not own coin selection (`onchain`) nor whose money it is: no party
//! pays, the miner's fee is the operator's.
//!
//! Exactly one transaction is ever built for a move, so no repetition can move twice.

use super::desk::{Desk, in_msat, msat, wallet_account};
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{PaymentId, WalletId};
use crate::ledger::Account;
use crate::money::{Quantity, Rail, Sat};
use crate::onchain::feerate::FeeSource;
use crate::onchain::{BuildOrder, Recipient};
use crate::rail::Effect;
use crate::time::Span;
use bitcoin::{ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

/// So long a move may take as far as its feerate goes: nobody outside waits for it.
const PATIENCE: Span = Span::secs(86_400);

/// An order to move coins from one of our wallets to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveOrder {
    /// New; moves and payments share their ids.
    pub payment: PaymentId,
    /// Whose coins.
    pub from: WalletId,
    /// Where to; never `from`, and of the same owner.
    pub to: WalletId,
    /// What arrives there.
    pub amount_sat: Sat,
}

/// A move of funds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FundsMove {
    /// As ordered.
    pub order: MoveOrder,
    /// A fresh address of the wallet that receives.
    pub address: String,
    /// The same as a script.
    pub script: ScriptBuf,
    /// Where it stands.
    pub state: FundsMoveState,
}

/// Where a move stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FundsMoveState {
    /// Built; the signer is asked.
    Signing {
        /// Its id.
        txid: Txid,
        /// Its fee.
        fee: Sat,
    },
    /// Handed to the network.
    Sent(Box<SentMove>),
    /// Final: nothing moved.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// A transaction in the network's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentMove {
    /// Signed.
    pub transaction: Transaction,
    /// Its id.
    pub txid: Txid,
    /// Its fee.
    pub fee: Sat,
    /// Some node took it, or may have: a refusal frees nothing any more.
    accepted: bool,
    /// A broadcast is on its way.
    in_flight: bool,
    broadcasts: u32,
    /// The tip when it was last handed out.
    broadcast_at_height: u32,
    /// Its money is booked where it went.
    booked: bool,
    /// Deep enough at the last look.
    pub settled: bool,
}

use FundsMoveState as State;

impl FundsMove {
    /// Builds the transaction at once: a move that the coins do not suffice for fails.
    pub(super) fn create(desk: &mut Desk<'_>, order: &MoveOrder) -> FundsMove {
        let (address, script) = desk.onchain.reveal_address(&order.to);
        let id = order.payment.clone();
        desk.emit(Event::MoveStarted {
            payment: id.clone(),
            from: order.from.clone(),
            to: order.to.clone(),
            amount_sat: order.amount_sat,
            address: address.clone(),
        });
        let feerate = desk.feerate_at_once(desk.now.plus(PATIENCE));
        let recipient = Recipient {
            script: script.clone(),
            amount_sat: order.amount_sat,
        };
        let build = BuildOrder {
            recipients: vec![recipient],
            feerate_sat_per_kwu: feerate.sat_per_kwu,
            max_fee_sat: desk.policy.onchain_fee_bound(),
            fee_included: false,
            confirmed_first: feerate.source != FeeSource::Fixed,
            entropy: desk.entropy_for(&id),
        };
        let state = match desk.onchain.build(&order.from, build) {
            Ok(built) => {
                desk.emit(Event::TransactionBuilt {
                    payment: id.clone(),
                    txid: built.txid,
                    fee_sat: built.fee_sat,
                });
                let psbt = built.psbt_base64;
                desk.instruct(&id, "sign", Effect::SignPsbt { psbt });
                State::Signing {
                    txid: built.txid,
                    fee: built.fee_sat,
                }
            }
            Err(refused) => failed(desk, &id, FailureReason::NotBuildable(refused.to_string())),
        };
        FundsMove {
            order: order.clone(),
            address,
            script,
            state,
        }
    }

    pub(super) fn on_signed(&mut self, desk: &mut Desk<'_>, result: &Result<String, String>) {
        let State::Signing { txid, fee } = self.state else {
            return;
        };
        let finalised = result.as_ref().map_err(Clone::clone).and_then(|psbt| {
            let finalised = desk.onchain.finalise(psbt);
            finalised.map_err(|refused| refused.to_string())
        });
        match finalised {
            Ok(transaction) if transaction.compute_txid() == txid => {
                self.state = State::Sent(Box::new(SentMove {
                    transaction,
                    txid,
                    fee,
                    accepted: false,
                    in_flight: false,
                    broadcasts: 0,
                    broadcast_at_height: 0,
                    booked: false,
                    settled: false,
                }));
                self.broadcast(desk);
                desk.emit(Event::PayoutDispatched {
                    payment: self.order.payment.clone(),
                });
            }
            Ok(other) => {
                let cause = format!("the signer gave back transaction {}", other.compute_txid());
                self.give_up(desk, txid, FailureReason::SigningRefused(cause));
            }
            Err(cause) => self.give_up(desk, txid, FailureReason::SigningRefused(cause)),
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
            Err(word) if !sent.accepted && !sent.booked => {
                let txid = sent.txid;
                self.give_up(desk, txid, FailureReason::BroadcastRefused(word.clone()));
            }
            Err(_) => {}
        }
    }

    /// An effect was not performed to its end as far as the host knows: the transaction may be out all the same.
    pub(super) fn on_unavailable(&mut self, what: &str) {
        if let (State::Sent(sent), true) = (&mut self.state, what.starts_with("broadcast")) {
            sent.accepted = true;
        }
    }

    /// The chain was looked at.
    pub(super) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        let depth = desk.onchain.confirmations(sent.txid);
        let payment = self.order.payment.clone();
        let deep = depth.is_some_and(|depth| depth >= desk.policy.payout_depth);
        let lost = depth.is_none_or(|depth| depth == 0);
        let fee_msat = in_msat(sent.fee);
        let quantity = Quantity::btc(in_msat(self.order.amount_sat));
        sent.accepted |= depth.is_some();
        let undone = sent.settled && lost;
        let settles = deep && !sent.settled;
        sent.settled = settles || (sent.settled && !lost);
        if undone {
            desk.emit(Event::PaymentUndone {
                payment: payment.clone(),
            });
        }
        self.book(desk, depth.is_some());
        if settles {
            desk.emit(Event::PaymentSettled {
                payment,
                quantity,
                fee_msat,
            });
        }
        self.repeat(desk, depth.is_none());
    }

    /// The money is where the view shows it: gone from one wallet and come to the other, or neither.
    fn book(&mut self, desk: &mut Desk<'_>, there: bool) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        let was_there = std::mem::replace(&mut sent.booked, there);
        if was_there == there {
            return;
        }
        let (amount, fee) = (
            msat(in_msat(self.order.amount_sat)),
            msat(in_msat(sent.fee)),
        );
        let all = amount.saturating_add(fee);
        let sign = |units: i128| if there { units } else { units.saturating_neg() };
        let rail = Rail::Onchain;
        let lines = vec![
            (wallet_account(&self.order.from), sign(all).saturating_neg()),
            (wallet_account(&self.order.to), sign(amount)),
            (Account::Fees { rail }, sign(fee)),
        ];
        let memo = if there {
            "move of funds"
        } else {
            "move of funds left the chain"
        };
        desk.post(&self.order.payment, memo, lines);
    }

    /// What has vanished is handed out again, once for each new tip and without end: it can still confirm.
    fn repeat(&mut self, desk: &mut Desk<'_>, absent: bool) {
        let State::Sent(sent) = &self.state else {
            return;
        };
        let new_tip = desk.onchain.tip().height != sent.broadcast_at_height;
        if absent && sent.accepted && new_tip && !sent.in_flight {
            self.broadcast(desk);
        }
    }

    fn broadcast(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        sent.broadcasts = sent.broadcasts.saturating_add(1);
        sent.in_flight = true;
        sent.broadcast_at_height = desk.onchain.tip().height;
        let what = match sent.broadcasts {
            1 => "broadcast".to_owned(),
            more => format!("broadcast-{more}"),
        };
        let transaction = sent.transaction.clone();
        desk.instruct(
            &self.order.payment,
            &what,
            Effect::Broadcast { transaction },
        );
    }

    /// Frees the coins of a transaction that never left. If the network knows it all the same, nothing is freed.
    fn give_up(&mut self, desk: &mut Desk<'_>, txid: Txid, reason: FailureReason) {
        if desk.onchain.abandon(txid).is_err() {
            desk.emit(Event::OutcomeUnknown {
                payment: self.order.payment.clone(),
            });
            return;
        }
        self.state = failed(desk, &self.order.payment, reason);
    }

    /// Where it stands, in one word.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Signing { .. } => Status::Reserved,
            State::Sent(sent) if sent.settled => Status::Settled,
            State::Sent(_) => Status::Dispatched,
            State::Failed { .. } => Status::Failed,
        }
    }
}

fn failed(desk: &mut Desk<'_>, payment: &PaymentId, reason: FailureReason) -> FundsMoveState {
    desk.emit(Event::PaymentFailed {
        payment: payment.clone(),
        reason: reason.clone(),
    });
    State::Failed { reason }
}
