//! The simulated Bitcoin chain: one regtest node's blocks, coins and mempool as plain, synchronous data.
//!
//! Owns what a Bitcoin Core node would answer and decide. It has no clock, no randomness and no tasks: time comes in with
//! each call, and the same calls give the same bytes. Does not own the network between nodes, keys, wallets, or faults:
//! a lagging, lying or restarting backend is made by the caller who holds answers back or asks an older state.
//!
//! Fidelity: blocks are full blocks (proof of work, BIP 34 height, witness commitment, every script by Core's own
//! interpreter), and a real `bitcoind` accepts each of them (`tests/tests/conformance.rs`). What Core does and this
//! does not, or does otherwise:
//! - no orphans, no peers, no headers-first sync, no pruning, no retargeting (regtest has none), no assumevalid;
//! - scripts are checked with consensus flags; Core's extra policy flags are not (see `script`);
//! - the mempool is limited in virtual bytes, not in memory, and its rolling minimum decays without floating point;
//! - mempool limits and replacement are those of Core up to 30 plus the cluster limits of 31 (see `accept`, `replace`);
//! - TRUC (version 3) is relayed like version 2; ephemeral dust is refused; packages are one parent and one child;
//! - fee estimates come from a plan (see `market`), not from observation.

mod accept;
mod activate;
mod block_rules;
mod coins;
mod locks;
mod market;
mod miner;
mod policy;
mod pool;
mod query;
mod reject;
mod replace;
mod script;
mod standard;
#[cfg(test)]
mod tests;
mod transaction_rules;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid};

pub use self::accept::{Accepted, PackageReject};
pub use self::activate::{BlockOutcome, ChainUpdate, PlacedBlock, ReorgRequest};
pub use self::coins::Coin;
pub use self::market::{FeeFrom, FeeSchedule, FeeStep};
pub use self::miner::{BlockDraft, MineRequest};
pub use self::policy::{
    COINBASE_MATURITY, HALVING_INTERVAL, MAX_BLOCK_WEIGHT, Policy, fee_at, subsidy_sat,
};
pub use self::pool::PoolEntry;
pub use self::query::{HistoryItem, Supply, Tip, TransactionView, TxStatus};
pub use self::reject::{BlockReject, ChainLimit, MineError, TxReject};

use self::coins::Coins;
use self::pool::Pool;
use self::script::ScriptVerifier;
use self::tree::Tree;

/// Where a confirmed transaction is: height and index in the block.
type Place = (u32, u32);

/// A regtest node's chain and mempool.
#[derive(Debug, Clone)]
pub struct Chain {
    tree: Tree,
    coins: Coins,
    pool: Pool,
    policy: Policy,
    market: FeeSchedule,
    scripts: ScriptVerifier,
    /// Best chain only.
    places: BTreeMap<Txid, Place>,
    /// Best chain only: who spent what.
    spenders: BTreeMap<OutPoint, Txid>,
    /// Best chain only: transactions that pay or spend a script.
    histories: BTreeMap<ScriptBuf, BTreeSet<(Place, Txid)>>,
}

impl Chain {
    /// A node that knows regtest's genesis block and nothing else.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            tree: Tree::new(),
            coins: Coins::default(),
            pool: Pool::default(),
            policy,
            market: FeeSchedule::default(),
            scripts: ScriptVerifier::default(),
            places: BTreeMap::new(),
            spenders: BTreeMap::new(),
            histories: BTreeMap::new(),
        }
    }

    /// The relay policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Changes the relay policy for what comes; what waits is only touched by a lower size limit or age.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Replaces the plan of the fee market.
    pub fn set_fee_schedule(&mut self, market: FeeSchedule) {
        self.market = market;
    }

    /// Lets time pass: drops expired transactions and returns them.
    pub fn expire(&mut self, now: u32) -> Vec<Txid> {
        self.limit_pool(now)
    }

    /// Feerate for confirmation within `target_blocks`, satoshi per 1000 virtual bytes; at least what is relayed.
    #[must_use]
    pub fn estimate_feerate(&self, target_blocks: u32, now: u32) -> u64 {
        let planned = self.market.estimate(now, self.height() + 1, target_blocks);
        planned.max(self.min_feerate(now))
    }

    /// Least package feerate with room in the next block at `time`, satoshi per 1000 virtual bytes.
    #[must_use]
    pub fn block_floor(&self, time: u32) -> u64 {
        self.market
            .floor(time, self.height() + 1)
            .max(self.policy.block_min_sat_per_kvb)
    }

    /// Least feerate that enters the mempool at `now`, satoshi per 1000 virtual bytes.
    #[must_use]
    pub fn min_feerate(&self, now: u32) -> u64 {
        let rolling = self.pool.rolling_minimum(&self.policy, now);
        rolling.max(self.policy.min_relay_sat_per_kvb)
    }

    /// Mines the best-paying transactions of the mempool.
    ///
    /// # Errors
    /// [`MineError::Refused`] if the block breaks a rule, which only an unfit request can cause.
    pub fn mine(&mut self, request: &MineRequest) -> Result<Block, MineError> {
        let chosen = self.selection(request, self.block_floor(request.time));
        self.mine_list(request, &chosen)
    }

    /// What a miner would take from the mempool at this floor (satoshi per 1000 virtual bytes), parents first.
    #[must_use]
    pub fn selection(&self, request: &MineRequest, floor_sat_per_kvb: u64) -> Vec<Txid> {
        let limits = miner::Limits {
            max_weight: request.max_weight.min(MAX_BLOCK_WEIGHT),
            floor_sat_per_kvb,
        };
        miner::select(&self.pool, &limits)
    }

    /// Drops a transaction and what spends it from the mempool; returns what was there, sorted.
    pub fn evict(&mut self, txid: &Txid) -> Vec<Txid> {
        self.pool.remove_with_descendants(txid)
    }

    /// Median time past of a block (BIP 113), Unix seconds: the next block must be later.
    #[must_use]
    pub fn median_time_past(&self, block: BlockHash) -> u32 {
        self.tree.median_time_past(block)
    }

    /// Mines a block without any transaction of the mempool.
    ///
    /// # Errors
    /// As [`Chain::mine`].
    pub fn mine_empty(&mut self, request: &MineRequest) -> Result<Block, MineError> {
        self.mine_list(request, &[])
    }

    /// Mines exactly these transactions of the mempool, whatever they pay.
    ///
    /// # Errors
    /// [`MineError::UnknownTransaction`] if one is not in the mempool, [`MineError::Refused`] if one spends an unconfirmed
    /// transaction that is not among them or if they do not fit.
    pub fn mine_only(&mut self, request: &MineRequest, txids: &[Txid]) -> Result<Block, MineError> {
        if let Some(txid) = txids.iter().find(|t| self.pool.entry(t).is_none()) {
            return Err(MineError::UnknownTransaction { txid: *txid });
        }
        let order = self.pool.parents_first(&txids.iter().copied().collect());
        self.mine_list(request, &order)
    }

    fn mine_list(&mut self, request: &MineRequest, txids: &[Txid]) -> Result<Block, MineError> {
        let entries: Vec<&PoolEntry> = txids.iter().filter_map(|t| self.pool.entry(t)).collect();
        let fees_sat: u64 = entries.iter().map(|e| e.fee_sat).sum();
        let transactions = entries.iter().map(|e| Transaction::clone(&e.tx)).collect();
        let mut draft = self
            .draft(self.tree.tip_hash(), request)
            .expect("the tip is known");
        draft.transactions = transactions;
        draft.coinbase_sat += fees_sat;
        let block = draft.seal();
        // A miner whose clock is behind takes its own block all the same.
        let now = request.time.max(block.header.time);
        self.submit_block(block.clone(), now)?;
        Ok(block)
    }

    /// An empty block on top of any known block, to be filled and sealed by the caller; `None` if the parent is unknown.
    ///
    /// This is how a scenario plays another miner: `submit_block(draft.seal(), now)`.
    #[must_use]
    pub fn draft(&self, parent: BlockHash, request: &MineRequest) -> Option<BlockDraft> {
        let height = self.tree.get(&parent)?.height + 1;
        Some(BlockDraft {
            parent,
            height,
            time: request.time.max(self.tree.median_time_past(parent) + 1),
            payout_script: request.payout_script.clone(),
            coinbase_sat: subsidy_sat(height),
            salt: request.salt,
            transactions: Vec::new(),
        })
    }
}
