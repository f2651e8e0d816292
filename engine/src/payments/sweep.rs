//! Owns the states of a recovery: coins of a wallet whose cosigners are lost are moved to the wallet `hot` with the
//! recovery key alone, once they are old enough. Does not own how such a transaction is built (`onchain`).
//!
//! No party pays: the money stays ours and the miner's fee is the operator's. Exactly one transaction is built for a
//! recovery. It has no deadline: whoever holds the key may need days to fetch it.

use super::desk::{Desk, in_msat, key, msat, wallet_account};
use crate::event::Event;
use crate::id::{PaymentId, WalletId};
use crate::ledger::Account;
use crate::money::{Rail, Sat};
use crate::onchain::{Built, RecoveryKey, SweepOrder};
use crate::rail::Effect;
use crate::time::Span;
use bitcoin::{Transaction, Txid};
use serde::Serialize;

/// A recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sweep {
    id: PaymentId,
    wallet: WalletId,
    state: State,
}

/// Where a recovery stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The holder of the recovery key is asked.
    Asked(Pair),
    /// Handed to the network.
    Sent(Box<Sent>),
    /// Final: nothing moved.
    Failed,
}

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Pair {
    txid: Txid,
    /// What arrives.
    amount: Sat,
    fee: Sat,
}

/// A transaction in the network's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Sent {
    what: Pair,
    transaction: Transaction,
    /// Some node took it, or may have.
    accepted: bool,
    in_flight: bool,
    broadcasts: u32,
    /// The tip when it was last handed out.
    at_height: u32,
    /// Its money is booked where it went.
    booked: bool,
    settled: bool,
}

/// So long a recovery may take as far as its feerate goes: its holder may need days to fetch the key.
const PATIENCE: Span = Span::secs(86_400);

/// What the key of the question ends with.
const RECOVER: &str = "recover";

impl Sweep {
    /// Builds it from all coins that are old enough; without any it fails at once.
    pub(super) fn create(desk: &mut Desk<'_>, id: &PaymentId, wallet: &WalletId) -> Sweep {
        let state = match Self::build(desk, id, wallet) {
            Ok((built, recovery)) => {
                let what = Pair {
                    txid: built.txid,
                    amount: built.pays_sat,
                    fee: built.fee_sat,
                };
                desk.emit(Event::SweepBuilt {
                    sweep: id.clone(),
                    wallet: wallet.clone(),
                    txid: what.txid,
                    amount_sat: what.amount,
                    fee_sat: what.fee,
                });
                let (cosigner, psbt) = (recovery.by.name, built.psbt_base64);
                desk.instruct(id, RECOVER, Effect::Cosign { cosigner, psbt });
                State::Asked(what)
            }
            Err(reason) => failed(desk, id, reason),
        };
        Sweep {
            id: id.clone(),
            wallet: wallet.clone(),
            state,
        }
    }

    fn build(
        desk: &mut Desk<'_>,
        id: &PaymentId,
        wallet: &WalletId,
    ) -> Result<(Built, RecoveryKey), String> {
        let recovery = recovery_of(desk, wallet).ok_or("the wallet has no recovery key")?;
        let (_, script) = desk.onchain.reveal_address(&WalletId::hot());
        let order = SweepOrder {
            script,
            feerate_sat_per_kwu: desk.feerate_at_once(desk.now.plus(PATIENCE)).sat_per_kwu,
            after_blocks: recovery.after_blocks,
            entropy: desk.entropy_for(id),
        };
        let built = desk.onchain.build_sweep(wallet, order);
        let built = built.map_err(|refused| refused.to_string())?;
        Ok((built, recovery))
    }

    pub(super) fn on_cosigned(&mut self, desk: &mut Desk<'_>, result: &Result<String, String>) {
        let State::Asked(what) = self.state else {
            return;
        };
        let signed = result.clone().and_then(|psbt| {
            let transaction = self.completed(desk, what.txid, &psbt);
            transaction.map_err(|reason| format!("the answer does not count: {reason}"))
        });
        match signed {
            Ok(transaction) => {
                self.state = State::Sent(Box::new(Sent {
                    what,
                    transaction,
                    accepted: false,
                    in_flight: false,
                    broadcasts: 0,
                    at_height: 0,
                    booked: false,
                    settled: false,
                }));
                desk.emit(Event::SweepSent {
                    sweep: self.id.clone(),
                });
                self.broadcast(desk);
            }
            Err(reason) => self.give_up(desk, what.txid, reason),
        }
    }

    fn completed(&self, desk: &Desk<'_>, txid: Txid, psbt: &str) -> Result<Transaction, String> {
        let gone = "the transaction does not stand any more";
        let recovery = recovery_of(desk, &self.wallet).ok_or(gone)?;
        let checked = desk
            .onchain
            .check_cosigned(&self.wallet, txid, (&recovery.by, psbt));
        let given = checked.ok_or(gone)?.map_err(|wrong| wrong.to_string())?;
        let combined = desk.onchain.combine(&self.wallet, txid, [&given]);
        let finalised = desk.onchain.finalise(&combined.ok_or(gone)?);
        finalised.map_err(|refused| refused.to_string())
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
                let (txid, word) = (sent.what.txid, word.clone());
                self.give_up(desk, txid, word);
            }
            Err(_) => {}
        }
    }

    /// The host does not know how a broadcast ended.
    pub(super) fn on_unavailable(&mut self, what: &str) {
        if let (State::Sent(sent), true) = (&mut self.state, what.starts_with("broadcast")) {
            sent.accepted = true;
        }
    }

    /// The chain was looked at: the money is where the view shows it.
    pub(super) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        let depth = desk.onchain.confirmations(sent.what.txid);
        sent.accepted |= depth.is_some();
        let deep = depth.is_some_and(|depth| depth >= desk.policy.payout_depth);
        let lost = depth.is_none_or(|depth| depth == 0);
        let settled = deep || (sent.settled && !lost);
        let was_settled = std::mem::replace(&mut sent.settled, settled);
        let was_booked = std::mem::replace(&mut sent.booked, depth.is_some());
        let (what, booked) = (sent.what, sent.booked);
        let new_tip = desk.onchain.tip().height != sent.at_height;
        let again = depth.is_none() && sent.accepted && new_tip && !sent.in_flight;
        let sweep = self.id.clone();
        match (was_settled, settled) {
            (false, true) => desk.emit(Event::SweepSettled { sweep }),
            (true, false) => desk.emit(Event::SweepUndone { sweep }),
            (true, true) | (false, false) => {}
        }
        if was_booked != booked {
            self.book(desk, what, booked);
        }
        if again {
            self.broadcast(desk);
        }
    }

    fn book(&self, desk: &mut Desk<'_>, what: Pair, there: bool) {
        let (amount, fee) = (msat(in_msat(what.amount)), msat(in_msat(what.fee)));
        let all = amount.saturating_add(fee);
        let sign = |units: i128| if there { units } else { units.saturating_neg() };
        let rail = Rail::Onchain;
        let lines = vec![
            (wallet_account(&self.wallet), sign(all).saturating_neg()),
            (wallet_account(&WalletId::hot()), sign(amount)),
            (Account::Fees { rail }, sign(fee)),
        ];
        let memo = match there {
            true => "recovery",
            false => "recovery left the chain",
        };
        desk.post(&self.id, memo, lines);
    }

    fn broadcast(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        sent.broadcasts = sent.broadcasts.saturating_add(1);
        sent.in_flight = true;
        sent.at_height = desk.onchain.tip().height;
        let what = format!("broadcast-{}", sent.broadcasts);
        let transaction = sent.transaction.clone();
        desk.instruct(&self.id, &what, Effect::Broadcast { transaction });
    }

    /// Its coins are free again. If the network knows the transaction all the same, its fate is unknown and they are not.
    fn give_up(&mut self, desk: &mut Desk<'_>, txid: Txid, reason: String) {
        if desk.onchain.abandon_shown(&self.wallet, txid).is_ok() {
            desk.out.answered.push(key(&self.id, RECOVER));
            self.state = failed(desk, &self.id, reason);
        }
    }
}

fn recovery_of(desk: &Desk<'_>, wallet: &WalletId) -> Option<RecoveryKey> {
    desk.onchain.spec(wallet)?.cosigners()?.recovery.clone()
}

fn failed(desk: &mut Desk<'_>, id: &PaymentId, reason: String) -> State {
    desk.emit(Event::SweepFailed {
        sweep: id.clone(),
        reason,
    });
    State::Failed
}
