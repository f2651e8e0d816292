//! Owns what a `reorg` step does: which transactions the new blocks hold, and which are conflicted away. Does not own how the chain
//! reorganises (the worlds).

use super::{Runner, Stop};
use crate::scenario::{Family, Reorg};
use crate::worlds::{self, World, WorldError};
use bitcoin::absolute::LockTime;
use bitcoin::{Transaction, Txid};
use std::collections::{BTreeMap, BTreeSet};

impl<W: World> Runner<W> {
    pub(super) async fn reorg(&mut self, reorg: &Reorg) -> Result<(), Stop> {
        self.book.refresh(&mut self.world).await?;
        let tip = self.book.tip_height().unwrap_or(0);
        let depth = reorg.depth.get() as u32;
        let mut given_up: Vec<Transaction> = Vec::new();
        for height in (tip + 1).saturating_sub(depth)..=tip {
            let block = self.world.block(height).await?;
            given_up.extend(block.txdata.into_iter().filter(|tx| !tx.is_coinbase()));
        }
        let height = (tip + 1).saturating_sub(depth);
        let include = self.mined_again(reorg, &given_up, height)?;
        let fault = self.plan_fault(Family::Chain, "reorg", "chain");
        let order = worlds::Reorg {
            depth,
            blocks: reorg.then.get() as u32,
            include,
        };
        self.world.reorg(order, self.miner.script()).await?;
        self.faults().had_effect(fault);
        Ok(())
    }

    /// What the first new block holds of the given-up transactions, in their order: for each dropped payment the payer's
    /// conflicting one, with what that spends; the others if they are kept. What spends a dropped payment vanishes with it. What
    /// is locked until after `height` waits in the mempool.
    fn mined_again(
        &mut self,
        reorg: &Reorg,
        given_up: &[Transaction],
        height: u32,
    ) -> Result<Vec<Transaction>, Stop> {
        let dropped: Vec<String> = reorg.drop.iter().map(|id| format!("pay:{id}")).collect();
        let (mut gone, mut waits) = (BTreeSet::new(), BTreeSet::new());
        let mut rivals: BTreeMap<Txid, Transaction> = BTreeMap::new();
        for transaction in given_up {
            let txid = transaction.compute_txid();
            let spends = |from: &BTreeSet<Txid>| {
                let mut inputs = transaction.input.iter();
                inputs.any(|input| from.contains(&input.previous_output.txid))
            };
            if spends(&gone) {
                gone.insert(txid);
                continue;
            }
            if is_locked_at(transaction, height) || spends(&waits) {
                waits.insert(txid);
                continue;
            }
            let name = self
                .owners
                .name(transaction, &self.book, &mut self.run.trace.lock().names);
            if dropped.contains(&name) {
                let mut purses = self.purses.values();
                let rival = purses.find_map(|purse| purse.conflict(&self.book, transaction));
                let reason = format!("{name} was not paid by one wallet of the scenario");
                let rival =
                    rival.ok_or_else(|| WorldError::harness("conflict a payment away", reason))?;
                gone.insert(txid);
                rivals.insert(txid, rival);
            }
        }
        let mut needed: BTreeSet<Txid> = BTreeSet::new();
        for transaction in given_up.iter().rev() {
            let txid = transaction.compute_txid();
            if rivals.contains_key(&txid) || needed.contains(&txid) {
                needed.extend(
                    transaction
                        .input
                        .iter()
                        .map(|input| input.previous_output.txid),
                );
            }
        }
        let again = given_up.iter().filter_map(|transaction| {
            let txid = transaction.compute_txid();
            let stays = !gone.contains(&txid) && !waits.contains(&txid);
            let again = stays && (reorg.keep || needed.contains(&txid));
            rivals.get(&txid).or(again.then_some(transaction)).cloned()
        });
        Ok(again.collect())
    }
}

/// Whether the transaction may not be in a block of this height yet (nLockTime).
fn is_locked_at(transaction: &Transaction, height: u32) -> bool {
    let before = height.saturating_sub(1);
    match transaction.lock_time {
        LockTime::Blocks(until) => {
            transaction.is_lock_time_enabled() && until.to_consensus_u32() > before
        }
        LockTime::Seconds(_) => false,
    }
}
