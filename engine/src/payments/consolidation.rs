//! Owns when many coins of a wallet are made fewer: they are many, it is cheap, and nobody waits for them. The operator bears
//! the fee. Does not own which coins are taken (`onchain`).

use super::batch::Batch;
use super::payout_onchain::{OnchainPayoutState, Used};
use super::record::Payment;
use super::till::{Till, version};
use crate::event::Event;
use crate::id::WalletId;
use crate::money::Sat;
use crate::onchain::{ConsolidationOrder, Owner, WalletSpec};
use crate::rare::{Rare, sometimes};
use crate::time::Span;
use std::collections::BTreeMap;

/// The most coins in one transaction: 30 P2WPKH inputs weigh about 8,200 of the 10,000 units that we pay for.
const MOST_COINS: usize = 30;

impl Till<'_, '_> {
    /// Makes the coins of the operator's wallets fewer, where that is due.
    pub(super) fn consolidate(&mut self) {
        let Some(policy) = self.desk.policy.paying.consolidation else {
            return;
        };
        let least = usize::try_from(policy.from_coins).unwrap_or(usize::MAX);
        // Nobody is asked for a signature to save a fee.
        let fits = |spec: &WalletSpec| spec.owner == Owner::Operator && spec.cosigners().is_none();
        let wallets: Vec<WalletId> = self
            .desk
            .onchain
            .iter()
            .filter(|(spec, onchain)| fits(spec) && onchain.coins() >= least)
            .map(|(spec, _)| spec.name.clone())
            .collect();
        for wallet in wallets
            .into_iter()
            .filter(|wallet| self.is_idle(wallet))
            .collect::<Vec<_>>()
        {
            // Nobody waits for it: the cheapest feerate will do.
            let patient = self.desk.now.plus(Span(u64::MAX));
            let Some(feerate) = self.desk.feerate(patient) else {
                return;
            };
            if feerate.sat_per_kwu > policy.up_to_sat_per_kwu {
                return;
            }
            let order = ConsolidationOrder {
                least,
                most: MOST_COINS,
                feerate_sat_per_kwu: feerate.sat_per_kwu,
                entropy: self.desk.entropy_of(&format!("consolidation/{wallet}")),
            };
            let Some(built) = self.desk.onchain.consolidate(&wallet, &order) else {
                continue;
            };
            sometimes(Rare::Consolidated);
            let id = self.batches.next_id(&wallet);
            self.batches.insert(Batch {
                id: id.clone(),
                wallet: wallet.clone(),
                members: Vec::new(),
                due_at: patient,
                budget: built.fee_sat,
                versions: vec![version(&built, None)],
                children: Vec::new(),
                signing: None,
                round: None,
                under_way: BTreeMap::new(),
                used: Used::default(),
                settled: None,
                was_settled: false,
                bumped_at: None,
                borne: Sat(0),
                coin_gone_at: None,
            });
            self.desk.emit(Event::CoinsConsolidated {
                wallet,
                batch: id.clone(),
                txid: built.txid,
                fee_sat: built.fee_sat,
            });
            self.sign(&id, &built);
        }
    }

    /// Whether no payout waits for coins of a wallet, and no consolidation of it is under way.
    fn is_idle(&self, wallet: &WalletId) -> bool {
        let waits = |payment: &Payment| {
            matches!(payment, Payment::OnchainPayout(payout)
                if payout.wallet == *wallet && payout.state == OnchainPayoutState::Reserved)
        };
        let under_way = |batch: &Batch| {
            batch.wallet == *wallet && batch.members.is_empty() && batch.settled.is_none()
        };
        !self.payments.values().any(waits) && !self.batches.by_id.values().any(under_way)
    }
}
