//! Owns the states of a payout on chain: reserve, build, have signed, broadcast, see confirmed; and what happens when
//! its transaction leaves the chain. Does not own coin selection (`onchain`) nor keys (a signer elsewhere).
//!
//! Exactly one transaction is ever built for a payout, so no repetition can pay twice: signing and broadcasting it again
//! under any key is the same payment.

use super::desk::{Desk, in_msat, party_btc, wallet_account};
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{PartyId, PaymentId, WalletId};
use crate::ledger::{Account, Hold, HoldOrder};
use crate::money::{Asset, Msat, Quantity, Rail, Sat};
use crate::onchain::feerate::FeeSource;
use crate::onchain::{BuildOrder, BuildRefused, Recipient};
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
    /// What the payee gets.
    pub amount: Sat,
    /// The most for the miner; reserved with the amount.
    pub max_fee: Sat,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// That time came after the transaction was handed out.
    overdue: bool,
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
        let mut payout = OnchainPayout {
            id: order.payment.clone(),
            party: order.party.clone(),
            wallet,
            script,
            amount: amount.to_sat_floor(),
            max_fee: desk.policy.onchain_fee_bound(),
            due_at,
            overdue: false,
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
        let Some(feerate) = desk.feerate(self.due_at) else {
            return;
        };
        let order = BuildOrder {
            recipients: vec![Recipient {
                script: self.script.clone(),
                amount_sat: self.amount,
            }],
            feerate_sat_per_kwu: feerate.sat_per_kwu,
            max_fee_sat: self.max_fee,
            confirmed_first: feerate.source != FeeSource::Fixed,
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
                if feerate.source != FeeSource::Fixed {
                    desk.emit(Event::FeerateChosen {
                        payment: payment.clone(),
                        feerate,
                    });
                }
                desk.emit(Event::TransactionBuilt {
                    payment,
                    txid: built.txid,
                    fee_sat: built.fee_sat,
                });
                desk.instruct(
                    &self.id,
                    "sign",
                    Effect::SignPsbt {
                        psbt: built.psbt_base64,
                    },
                );
            }
            Err(BuildRefused::InsufficientFunds { .. }) => {}
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

    pub(super) fn on_signed(&mut self, desk: &mut Desk<'_>, result: &Result<String, String>) {
        let State::Signing { txid, fee } = self.state else {
            return;
        };
        let finalised = result.as_ref().map_err(Clone::clone);
        let finalised = finalised.and_then(|psbt| {
            desk.onchain
                .finalise(&self.wallet, psbt)
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
    pub(super) fn on_unavailable(&mut self, what: &str) {
        if let (State::Sent(sent), true) = (&mut self.state, what.starts_with("broadcast")) {
            sent.accepted = true;
        }
    }

    /// The chain was looked at.
    pub(super) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &self.state else {
            return;
        };
        match desk.onchain.confirmations(sent.txid) {
            Some(confirmations) => self.on_seen(desk, confirmations),
            None => self.on_absent(desk),
        }
    }

    fn on_seen(&mut self, desk: &mut Desk<'_>, confirmations: u32) {
        let keeper = self.while_away(desk);
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        let before = std::mem::replace(&mut sent.booking, Booking::Posted);
        sent.accepted = true;
        let all = in_msat(self.amount).0.saturating_add(in_msat(sent.fee).0);
        let wallet = wallet_account(&self.wallet);
        let lines = |debtor| {
            vec![
                (wallet.clone(), i128::from(all).saturating_neg()),
                (debtor, i128::from(all)),
            ]
        };
        let mut first = lines(party_btc(&self.party));
        if desk.has_bug(Bug::FeeToOperator) {
            let fee = i128::from(in_msat(sent.fee).0);
            let rail = Rail::Onchain;
            first.push((Account::Fees { rail }, fee));
            first.push((party_btc(&self.party), fee.saturating_neg()));
        }
        match before {
            Booking::Held => desk.post_hold(&self.id, all, "payout on chain", first),
            Booking::Returned => {
                sometimes(Rare::PayoutCameBack);
                let lines = lines(keeper);
                desk.post(&self.id, "payout on chain again", lines);
            }
            Booking::Posted => {}
        }
        let deep = confirmations >= desk.policy.payout_depth && !desk.has_bug(Bug::NeverSettle);
        let (payment, quantity) = (self.id.clone(), Quantity::btc(in_msat(self.amount)));
        if deep && !sent.settled {
            sent.settled = true;
            desk.emit(Event::PaymentSettled {
                payment,
                quantity,
                fee_msat: in_msat(sent.fee),
            });
        } else if sent.settled && confirmations == 0 {
            sometimes(Rare::PayoutUndone);
            sent.settled = false;
            desk.emit(Event::PaymentUndone { payment });
        }
    }

    /// The transaction is not (or no longer) known. It is handed out again, once per new tip and without end: it can
    /// still confirm, so its money is not given back.
    fn on_absent(&mut self, desk: &mut Desk<'_>) {
        let keeper = self.while_away(desk);
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        if sent.booking == Booking::Posted {
            sometimes(Rare::PayoutLeftChain);
            sent.booking = Booking::Returned;
            let all = i128::from(in_msat(self.amount).0.saturating_add(in_msat(sent.fee).0));
            let wallet = wallet_account(&self.wallet);
            let lines = vec![(wallet, all), (keeper, all.saturating_neg())];
            let settled = std::mem::replace(&mut sent.settled, false);
            if settled {
                desk.emit(Event::PaymentUndone {
                    payment: self.id.clone(),
                });
            }
            desk.post(&self.id, "payout left the chain", lines);
        }
        let new_tip = desk.onchain.tip().height != sent.broadcast_at_height;
        let may = !desk.has_bug(Bug::NeverRebroadcast);
        if sent.accepted && new_tip && !sent.in_flight && may {
            sometimes(Rare::Rebroadcast);
            self.broadcast(desk);
        }
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
                desk.answered(&self.id, "sign");
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

    /// Frees coins and hold of a transaction that never left. If the network knows it all the same (the signer handed it
    /// out), nothing is freed: its fate is unknown.
    fn give_up(&mut self, desk: &mut Desk<'_>, txid: Txid, reason: FailureReason) {
        if desk.onchain.abandon(&self.wallet, txid).is_err() {
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
            State::Sent(sent) if sent.settled => Status::Settled,
            State::Sent(_) if self.overdue => Status::Unknown,
            State::Sent(_) => Status::Dispatched,
            State::Failed { .. } => Status::Failed,
        }
    }
}
