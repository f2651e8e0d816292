//! The unconfirmed transactions and how they depend on each other.
//!
//! Owns storage, the graph and the limits in size and age. Does not own the decision whom to let in (`accept`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::{OutPoint, Transaction, Txid, Wtxid};

use super::policy::{Policy, ROLLING_HALF_LIFE_SECONDS};

/// One unconfirmed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEntry {
    /// The transaction.
    pub tx: Arc<Transaction>,
    /// Its id.
    pub txid: Txid,
    /// Its id with witness.
    pub wtxid: Wtxid,
    /// What it pays to the miner.
    pub fee_sat: u64,
    /// Virtual bytes, raised for many signature operations.
    pub vsize: u64,
    /// Weight units.
    pub weight: u64,
    /// Cost of its signature operations.
    pub sigops: usize,
    /// When it entered, Unix seconds.
    pub time: u32,
    /// Unconfirmed transactions it spends.
    pub parents: BTreeSet<Txid>,
    /// Unconfirmed transactions that spend it.
    pub children: BTreeSet<Txid>,
}

/// Fee and size of a set of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) fee_sat: u64,
    pub(super) vsize: u64,
}

impl Total {
    /// Whether this feerate is below the other.
    pub(super) fn is_below(self, other: Self) -> bool {
        u128::from(self.fee_sat) * u128::from(other.vsize)
            < u128::from(other.fee_sat) * u128::from(self.vsize)
    }
}

/// The minimum feerate after an eviction. Core halves it in floating point whenever it is asked; here whole half-lives
/// since the last block halve exactly and the time between is interpolated in a line, so that asking changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct RollingMinimum {
    sat_per_kvb: u64,
    updated: u32,
    block_since_bump: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    entries: BTreeMap<Txid, PoolEntry>,
    spenders: BTreeMap<OutPoint, Txid>,
    vsize: u64,
    rolling: RollingMinimum,
}

impl Pool {
    pub(super) fn entry(&self, txid: &Txid) -> Option<&PoolEntry> {
        self.entries.get(txid)
    }

    pub(super) fn txids(&self) -> impl Iterator<Item = Txid> {
        self.entries.keys().copied()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &PoolEntry> {
        self.entries.values()
    }

    pub(super) fn vsize(&self) -> u64 {
        self.vsize
    }

    pub(super) fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spenders.get(outpoint).copied()
    }

    /// Adds a transaction; whatever it conflicts with must be gone.
    pub(super) fn insert(&mut self, mut entry: PoolEntry) {
        for input in &entry.tx.input {
            let outpoint = input.previous_output;
            let old = self.spenders.insert(outpoint, entry.txid);
            assert!(old.is_none(), "conflicts are removed before");
            if let Some(parent) = self.entries.get_mut(&outpoint.txid) {
                parent.children.insert(entry.txid);
                entry.parents.insert(outpoint.txid);
            }
        }
        self.vsize += entry.vsize;
        self.entries.insert(entry.txid, entry);
    }

    /// Removes one transaction; its children stay and count as spending confirmed outputs.
    pub(super) fn remove_one(&mut self, txid: &Txid) -> Option<PoolEntry> {
        let entry = self.entries.remove(txid)?;
        for input in &entry.tx.input {
            self.spenders.remove(&input.previous_output);
        }
        for parent in &entry.parents {
            if let Some(parent) = self.entries.get_mut(parent) {
                parent.children.remove(txid);
            }
        }
        for child in &entry.children {
            if let Some(child) = self.entries.get_mut(child) {
                child.parents.remove(txid);
            }
        }
        self.vsize -= entry.vsize;
        Some(entry)
    }

    /// Removes a transaction and all that depends on it; returns their ids in order.
    pub(super) fn remove_with_descendants(&mut self, txid: &Txid) -> Vec<Txid> {
        let all = self.descendants_with(txid);
        all.iter()
            .filter(|t| self.remove_one(t).is_some())
            .copied()
            .collect()
    }

    fn walk(
        &self,
        start: impl IntoIterator<Item = Txid>,
        next: fn(&PoolEntry) -> Vec<Txid>,
    ) -> BTreeSet<Txid> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<Txid> = start.into_iter().collect();
        while let Some(txid) = open.pop() {
            if let Some(entry) = self.entries.get(&txid)
                && seen.insert(txid)
            {
                open.extend(next(entry));
            }
        }
        seen
    }

    /// The given transactions and all they depend on.
    pub(super) fn ancestors_of(&self, start: &BTreeSet<Txid>) -> BTreeSet<Txid> {
        self.walk(start.iter().copied(), |e| {
            e.parents.iter().copied().collect()
        })
    }

    pub(super) fn ancestors_with(&self, txid: &Txid) -> BTreeSet<Txid> {
        self.walk([*txid], |e| e.parents.iter().copied().collect())
    }

    pub(super) fn descendants_with(&self, txid: &Txid) -> BTreeSet<Txid> {
        self.walk([*txid], |e| e.children.iter().copied().collect())
    }

    /// Everything connected to the given transactions through spending.
    pub(super) fn cluster_of(&self, start: &BTreeSet<Txid>) -> BTreeSet<Txid> {
        self.walk(start.iter().copied(), |e| {
            e.parents.union(&e.children).copied().collect()
        })
    }

    pub(super) fn total(&self, txids: &BTreeSet<Txid>) -> Total {
        let entries = txids.iter().filter_map(|t| self.entries.get(t));
        entries.fold(
            Total {
                fee_sat: 0,
                vsize: 0,
            },
            |sum, e| Total {
                fee_sat: sum.fee_sat + e.fee_sat,
                vsize: sum.vsize + e.vsize,
            },
        )
    }

    /// Orders a set so that parents come before children: by number of ancestors, then by id.
    pub(super) fn parents_first(&self, txids: &BTreeSet<Txid>) -> Vec<Txid> {
        let mut order: Vec<(usize, Txid)> = txids
            .iter()
            .map(|t| (self.ancestors_with(t).len(), *t))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, txid)| txid).collect()
    }

    /// Notes that a block was connected: the rolling minimum may fall again.
    pub(super) fn on_block(&mut self, policy: &Policy, now: u32) {
        self.rolling.sat_per_kvb = self.rolling_minimum(policy, now);
        self.rolling.block_since_bump = true;
        self.rolling.updated = now;
    }

    /// Removes what entered more than the allowed time ago, with its descendants.
    pub(super) fn expire(&mut self, policy: &Policy, now: u32) -> Vec<Txid> {
        let is_old = |e: &&PoolEntry| e.time.saturating_add(policy.expiry_seconds) < now;
        let old: Vec<Txid> = self
            .entries
            .values()
            .filter(is_old)
            .map(|e| e.txid)
            .collect();
        old.iter()
            .flat_map(|t| self.remove_with_descendants(t))
            .collect()
    }

    /// Evicts the worst packages until the size limit holds, and raises the rolling minimum above each.
    ///
    /// Worst is the lowest of max(own feerate, feerate with descendants), as in Core up to version 30; 31 evicts the
    /// worst chunk of a linearised cluster, the same for single transactions and simple chains.
    pub(super) fn trim(&mut self, policy: &Policy) -> Vec<Txid> {
        let mut evicted = Vec::new();
        while self.vsize > policy.pool_vsize_max {
            let (txid, total) = self.worst().expect("a pool above its limit is not empty");
            evicted.extend(self.remove_with_descendants(&txid));
            let removed = total.fee_sat.saturating_mul(1_000).div_ceil(total.vsize)
                + policy.incremental_sat_per_kvb;
            if removed > self.rolling.sat_per_kvb {
                self.rolling.sat_per_kvb = removed;
                self.rolling.block_since_bump = false;
            }
        }
        evicted
    }

    fn worst(&self) -> Option<(Txid, Total)> {
        let mut worst: Option<(Txid, Total, Total)> = None;
        for entry in self.entries.values() {
            let own = Total {
                fee_sat: entry.fee_sat,
                vsize: entry.vsize,
            };
            let with = self.total(&self.descendants_with(&entry.txid));
            let key = if own.is_below(with) { with } else { own };
            if worst.as_ref().is_none_or(|(_, _, k)| key.is_below(*k)) {
                worst = Some((entry.txid, with, key));
            }
        }
        worst.map(|(txid, with, _)| (txid, with))
    }

    /// The rolling minimum feerate at `now`; zero when nothing was evicted lately.
    pub(super) fn rolling_minimum(&self, policy: &Policy, now: u32) -> u64 {
        let RollingMinimum {
            sat_per_kvb,
            updated,
            block_since_bump,
        } = self.rolling;
        if !block_since_bump || sat_per_kvb == 0 {
            return sat_per_kvb;
        }
        let left = decayed(
            sat_per_kvb,
            now.saturating_sub(updated),
            self.half_life(policy),
        );
        // Half a step is too little to keep anyone out, so the minimum is lifted.
        if left < policy.incremental_sat_per_kvb / 2 {
            0
        } else {
            left.max(policy.incremental_sat_per_kvb)
        }
    }

    fn half_life(&self, policy: &Policy) -> u32 {
        if self.vsize < policy.pool_vsize_max / 4 {
            ROLLING_HALF_LIFE_SECONDS / 4
        } else if self.vsize < policy.pool_vsize_max / 2 {
            ROLLING_HALF_LIFE_SECONDS / 2
        } else {
            ROLLING_HALF_LIFE_SECONDS
        }
    }

    /// Empties the pool but keeps the rolling minimum; returns what was in it, parents first.
    pub(super) fn take_all(&mut self) -> Vec<PoolEntry> {
        let order = self.parents_first(&self.entries.keys().copied().collect());
        order.iter().filter_map(|t| self.remove_one(t)).collect()
    }
}

fn decayed(sat_per_kvb: u64, elapsed: u32, life: u32) -> u64 {
    let halved = sat_per_kvb.checked_shr(elapsed / life).unwrap_or(0);
    let rest = u64::from(elapsed % life);
    halved - halved * rest / (2 * u64::from(life))
}
