//! What one can ask the node.
//!
//! Owns read-only views. Nothing here changes the chain.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::{Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};

use super::activate::ChainUpdate;
use super::coins::{Coin, is_unspendable};
use super::policy::subsidy_sat;
use super::pool::PoolEntry;
use super::transaction_rules::output_sat;
use super::{Chain, Place};

/// The end of the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// Time in its header, Unix seconds.
    pub time: u32,
    /// Median time past, Unix seconds: what lock times are compared with.
    pub median_time: u32,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxStatus {
    /// In the mempool.
    Unconfirmed {
        /// When it entered, Unix seconds.
        since: u32,
    },
    /// In the best chain.
    Confirmed {
        /// The block.
        block: BlockHash,
        /// Its height.
        height: u32,
        /// Index in the block.
        index: u32,
        /// One for the tip.
        confirmations: u32,
    },
}

/// A known transaction with what it spends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionView {
    /// The transaction.
    pub tx: Transaction,
    /// Where it is.
    pub status: TxStatus,
    /// The outputs it spends, in the order of its inputs; none for a coinbase.
    pub spent: Vec<TxOut>,
    /// What it pays to the miner; zero for a coinbase.
    pub fee_sat: u64,
}

/// One line of a script's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryItem {
    /// The transaction that pays or spends the script.
    pub txid: Txid,
    /// Height of its block; `None` in the mempool.
    pub height: Option<u32>,
}

/// Where all satoshi are: `issued = unspent + burned`, the conservation check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Subsidies claimed by the best chain's miners (a miner who claims less destroys the rest for ever).
    pub issued_sat: u64,
    /// Sum of the unspent outputs.
    pub unspent_sat: u64,
    /// Sum of the outputs that can never be spent; they are not in the set of coins.
    pub burned_sat: u64,
}

impl Chain {
    /// The end of the best chain.
    #[must_use]
    pub fn tip(&self) -> Tip {
        let (hash, record) = (self.tree.tip_hash(), self.tree.tip());
        let median_time = self.tree.median_time_past(hash);
        Tip {
            hash,
            height: record.height,
            time: record.block.header.time,
            median_time,
        }
    }

    /// Height of the tip.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.tree.tip().height
    }

    /// Hash of the best chain's block at a height.
    #[must_use]
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.tree.at(height).map(|r| r.block.block_hash())
    }

    /// Best chain's block at a height.
    #[must_use]
    pub fn block_at(&self, height: u32) -> Option<Arc<Block>> {
        self.tree.at(height).map(|r| Arc::clone(&r.block))
    }

    /// Any known block, side branches included.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<Arc<Block>> {
        self.tree.get(hash).map(|r| Arc::clone(&r.block))
    }

    /// Any known header, side branches included.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.tree.get(hash).map(|r| r.block.header)
    }

    /// Height of any known block, side branches included.
    #[must_use]
    pub fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.tree.get(hash).map(|r| r.height)
    }

    /// Whether a block is in the best chain.
    #[must_use]
    pub fn is_in_best_chain(&self, hash: &BlockHash) -> bool {
        self.tree.is_best(hash)
    }

    /// A confirmed unspent output, whether or not the mempool spends it.
    #[must_use]
    pub fn utxo(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// Number of confirmed unspent outputs.
    #[must_use]
    pub fn utxo_count(&self) -> usize {
        self.coins.len()
    }

    /// Who spends an output: in the best chain, else in the mempool.
    #[must_use]
    pub fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spenders
            .get(outpoint)
            .copied()
            .or_else(|| self.pool.spender(outpoint))
    }

    /// A transaction of the best chain or the mempool.
    #[must_use]
    pub fn transaction(&self, txid: &Txid) -> Option<TransactionView> {
        match self.places.get(txid) {
            Some(place) => self.confirmed(*place),
            None => self.pool.entry(txid).map(|e| self.unconfirmed(e)),
        }
    }

    fn confirmed(&self, place: Place) -> Option<TransactionView> {
        let (height, index) = place;
        let record = self.tree.at(height)?;
        let tx = record.block.txdata.get(index as usize)?.clone();
        let status = TxStatus::Confirmed {
            block: record.block.block_hash(),
            height,
            index,
            confirmations: self.height() - height + 1,
        };
        let spent: Vec<TxOut> = self.spent_at(place).iter().map(|c| c.out.clone()).collect();
        let in_sat: u64 = spent.iter().map(|o| o.value.to_sat()).sum();
        let fee_sat = if tx.is_coinbase() {
            0
        } else {
            in_sat - output_sat(&tx)
        };
        Some(TransactionView {
            tx,
            status,
            spent,
            fee_sat,
        })
    }

    fn unconfirmed(&self, entry: &PoolEntry) -> TransactionView {
        let status = TxStatus::Unconfirmed { since: entry.time };
        let spent = entry
            .tx
            .input
            .iter()
            .filter_map(|i| self.output(&i.previous_output))
            .collect();
        TransactionView {
            tx: Transaction::clone(&entry.tx),
            status,
            spent,
            fee_sat: entry.fee_sat,
        }
    }

    /// An unspent confirmed output or any output in the mempool.
    fn output(&self, outpoint: &OutPoint) -> Option<TxOut> {
        let pooled = || {
            self.pool
                .entry(&outpoint.txid)?
                .tx
                .output
                .get(outpoint.vout as usize)
                .cloned()
        };
        self.coins
            .get(outpoint)
            .map(|c| c.out.clone())
            .or_else(pooled)
    }

    /// What the transaction at a place of the best chain spent; nothing for a coinbase.
    pub(super) fn spent_at(&self, place: Place) -> &[Coin] {
        let (height, index) = place;
        let undo = self.tree.at(height).and_then(|r| r.undo.as_ref());
        let at = (index as usize).checked_sub(1);
        undo.zip(at)
            .and_then(|(u, i)| u.get(i))
            .map_or(&[], Vec::as_slice)
    }

    /// One entry of the mempool.
    #[must_use]
    pub fn mempool_entry(&self, txid: &Txid) -> Option<&PoolEntry> {
        self.pool.entry(txid)
    }

    /// The mempool, sorted by transaction id.
    pub fn mempool(&self) -> impl Iterator<Item = &PoolEntry> {
        self.pool.entries()
    }

    /// Virtual bytes in the mempool.
    #[must_use]
    pub fn mempool_vsize(&self) -> u64 {
        self.pool.vsize()
    }

    /// All transactions that pay or spend a script: confirmed ones in the order of the chain, then the mempool's by id.
    #[must_use]
    pub fn history(&self, script: &Script) -> Vec<HistoryItem> {
        let confirmed = self.histories.get(script).into_iter().flatten();
        let mut items: Vec<HistoryItem> = confirmed
            .map(|((height, _), txid)| HistoryItem {
                txid: *txid,
                height: Some(*height),
            })
            .collect();
        let touches = |e: &&PoolEntry| {
            let spends = || {
                e.tx.input
                    .iter()
                    .filter_map(|i| self.output(&i.previous_output))
            };
            e.tx.output.iter().any(|o| *o.script_pubkey == *script)
                || spends().any(|o| *o.script_pubkey == *script)
        };
        let waiting = self.pool.entries().filter(touches);
        items.extend(waiting.map(|e| HistoryItem {
            txid: e.txid,
            height: None,
        }));
        items
    }

    /// Confirmed unspent outputs that pay a script, sorted by outpoint.
    #[must_use]
    pub fn unspent(&self, script: &Script) -> Vec<(OutPoint, Coin)> {
        let mut found = Vec::new();
        for (_, txid) in self.histories.get(script).into_iter().flatten() {
            let outputs = self
                .transaction(txid)
                .map_or(0, |view| view.tx.output.len());
            let outpoints = (0_u32..)
                .take(outputs)
                .map(|vout| OutPoint { txid: *txid, vout });
            let coins = outpoints.filter_map(|o| self.coins.get(&o).map(|c| (o, c.clone())));
            found.extend(coins.filter(|(_, c)| *c.out.script_pubkey == *script));
        }
        found.sort_by_key(|(outpoint, _)| *outpoint);
        found
    }

    /// How to get from a block that a listener knows to the tip; `None` if the block is unknown.
    #[must_use]
    pub fn changes_since(&self, known: BlockHash) -> Option<ChainUpdate> {
        self.tree.get(&known)?;
        let (fork, lost) = self.tree.branch(known);
        let gained: Vec<BlockHash> = (fork + 1..=self.height())
            .filter_map(|h| self.hash_at(h))
            .collect();
        Some(ChainUpdate {
            disconnected: self.place_all(&lost, true),
            connected: self.place_all(&gained, false),
        })
    }

    /// Counts all satoshi of the best chain, from its blocks.
    #[must_use]
    pub fn supply(&self) -> Supply {
        let (mut issued_sat, mut burned_sat) = (0, 0);
        for record in (1..=self.height()).filter_map(|h| self.tree.at(h)) {
            let undo = record.undo.iter().flatten().flatten();
            let in_sat: u64 = undo.map(|c| c.out.value.to_sat()).sum();
            let out_sat: u64 = record.block.txdata.iter().map(output_sat).sum();
            issued_sat += out_sat - in_sat.min(out_sat);
            debug_assert!(
                out_sat <= in_sat + subsidy_sat(record.height),
                "checked when it was connected"
            );
            let outputs = record.block.txdata.iter().flat_map(|t| &t.output);
            burned_sat += outputs
                .filter(|o| is_unspendable(o))
                .map(|o| o.value.to_sat())
                .sum::<u64>();
        }
        Supply {
            issued_sat,
            unspent_sat: self.coins.total_sat(),
            burned_sat,
        }
    }
}
