//! Owns I13: coins of different wallets, and so of different purposes and owners, are never spent in one transaction, and what
//! a payout, a move or a recovery spends is its own wallet's. What spends what is read off the chain itself.
//! Does not own the sums of each wallet (`ground_truth`).

use super::{Invariant, Settled, Stepped};
use bitcoin::Txid;
use lockstep_engine::api::Event;
use lockstep_engine::id::{PaymentId, WalletId};
use lockstep_engine::payments::Payment;
use std::collections::{BTreeMap, BTreeSet};

/// I13.
#[derive(Default)]
pub(super) struct WalletsApart {
    /// Payouts and moves by each version of the transactions that pay them.
    built: BTreeMap<Txid, BTreeSet<PaymentId>>,
    /// Recoveries and consolidations.
    swept: BTreeMap<Txid, WalletId>,
}

impl Invariant for WalletsApart {
    fn name(&self) -> &'static str {
        "wallets-apart"
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        for event in &stepped.output.events {
            if let Event::TransactionBuilt { payment, txid, .. }
            | Event::TransactionReplaced { payment, txid, .. }
            | Event::ChildBuilt { payment, txid, .. } = event
            {
                self.built.entry(*txid).or_default().insert(payment.clone());
            }
            if let Event::SweepBuilt { wallet, txid, .. }
            | Event::CoinsConsolidated { wallet, txid, .. } = event
            {
                self.swept.insert(*txid, wallet.clone());
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        for (txid, wallets) in settled.spent_from {
            let mut wallets = wallets.iter();
            let Some(wallet) = wallets.next() else {
                continue;
            };
            if let Some(other) = wallets.next() {
                return Err(format!(
                    "transaction {txid} spends from `{wallet}` and `{other}`"
                ));
            }
            if let Some(meant) = self.swept.get(txid) {
                if meant.as_str() != wallet {
                    return Err(format!("a sweep of `{meant}` spends from `{wallet}`"));
                }
                continue;
            }
            let Some(paid) = self.built.get(txid) else {
                return Err(format!(
                    "nobody built transaction {txid}, which spends from `{wallet}`"
                ));
            };
            for payment in paid {
                is_its_own(settled, payment, wallet)?;
            }
        }
        Ok(())
    }
}

/// Whether what is spent for a payout or a move is its own wallet's.
fn is_its_own(settled: &Settled<'_>, payment: &PaymentId, wallet: &str) -> Result<(), String> {
    let payments = settled.engine.payments();
    let mut moves = payments.moves();
    let moved = moves.find(|(id, _)| *id == payment);
    let meant = match (payments.get(payment), moved) {
        (Some(Payment::OnchainPayout(payout)), _) => &payout.wallet,
        (None, Some((_, moved))) => &moved.order.from,
        _ => return Ok(()),
    };
    if meant.as_str() == wallet {
        return Ok(());
    }
    Err(format!(
        "{payment} is to be paid from `{meant}` and spends from `{wallet}`"
    ))
}
