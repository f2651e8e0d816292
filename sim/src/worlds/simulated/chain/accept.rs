//! Letting a transaction into the mempool: every check, in Bitcoin Core's order, then the change.
//!
//! Owns single transactions and the package of one parent and one child. Replacement rules are in `replace`.
//! Not here: packages of more than two, package replacement (a package member that conflicts with the mempool is judged
//! alone), ephemeral dust, orphans.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::{OutPoint, Transaction, Txid, Wtxid};
use thiserror::Error;

use super::Chain;
use super::coins::Coin;
use super::locks::{is_bip68_final, is_final};
use super::policy::{MAX_STANDARD_SIGOP_COST, fee_at};
use super::pool::{PoolEntry, Total};
use super::reject::{ChainLimit, TxReject};
use super::replace::check_replacement;
use super::standard::{check_inputs_standard, check_standard};
use super::transaction_rules::{check_form, check_inputs, sigop_cost};

/// Virtual bytes that one unit of signature operation cost counts for (`-bytespersigop`).
const BYTES_PER_SIGOP: usize = 20;

/// A transaction that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub txid: Txid,
    /// Its id with witness.
    pub wtxid: Wtxid,
    /// What it pays, in satoshi.
    pub fee_sat: u64,
    /// Its virtual bytes.
    pub vsize: u64,
    /// What it replaced (BIP 125), descendants included, sorted.
    pub replaced: Vec<Txid>,
    /// What fell out to make room or had expired.
    pub evicted: Vec<Txid>,
}

/// Why a package is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageReject {
    /// The second transaction does not spend the first.
    #[error("package-not-child-with-parents")]
    NotParentAndChild,
    /// The parent fails a rule that no child can mend.
    #[error("{cause}")]
    Parent {
        /// The rule.
        #[source]
        cause: TxReject,
    },
    /// The child fails. Where the parent stands alone, it stays in the mempool, as in Core.
    #[error("{cause}")]
    Child {
        /// The rule.
        #[source]
        cause: TxReject,
    },
    /// Both together pay too little.
    #[error("{cause}")]
    Fee {
        /// The rule.
        #[source]
        cause: TxReject,
    },
}

/// How strictly fees are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A transaction from outside.
    Single,
    /// A member of a package: the package's feerate counts instead, replacement is refused.
    Package,
    /// Back from a disconnected block or from the mempool before it: fees do not count, scripts were verified before.
    Reorg,
}

/// A transaction that passed every check, and what it pushes out.
pub(super) struct Candidate {
    entry: PoolEntry,
    replaced: BTreeSet<Txid>,
}

impl Chain {
    /// Whether [`Chain::submit_transaction`] would let it in, apart from room (`testmempoolaccept`).
    ///
    /// # Errors
    /// The first rule it breaks, in Core's order.
    pub fn test_transaction(&self, tx: &Transaction, now: u32) -> Result<Accepted, TxReject> {
        let candidate = self.evaluate(tx, now, Mode::Single)?;
        Ok(accepted(
            &candidate.entry,
            candidate.replaced.into_iter().collect(),
            Vec::new(),
        ))
    }

    /// Offers a transaction to the mempool at `now` (Unix seconds).
    ///
    /// # Errors
    /// The first rule it breaks, in Core's order; the mempool then keeps what it had, save for expired transactions.
    pub fn submit_transaction(&mut self, tx: &Transaction, now: u32) -> Result<Accepted, TxReject> {
        let candidate = self.evaluate(tx, now, Mode::Single)?;
        let (entry, replaced) = (candidate.entry.clone(), self.admit(candidate));
        let evicted = self.limit_pool(now);
        if self.pool.entry(&entry.txid).is_none() {
            return Err(TxReject::MempoolFull);
        }
        Ok(accepted(&entry, replaced, evicted))
    }

    /// Offers a parent together with the child that pays for it (`submitpackage` of two).
    ///
    /// # Errors
    /// Which of the two breaks which rule; neither is in the mempool then, unless the parent is good by itself.
    pub fn submit_package(
        &mut self,
        parent: &Transaction,
        child: &Transaction,
        now: u32,
    ) -> Result<Vec<Accepted>, PackageReject> {
        let parent_txid = parent.compute_txid();
        if !child
            .input
            .iter()
            .any(|i| i.previous_output.txid == parent_txid)
        {
            return Err(PackageReject::NotParentAndChild);
        }
        let mut done = Vec::new();
        match self.submit_transaction(parent, now) {
            Ok(accepted) => done.push(accepted),
            Err(TxReject::AlreadyInMempool | TxReject::SameInMempool) => {}
            Err(cause) if cause.is_fee_related() => return self.submit_both(parent, child, now),
            Err(cause) => return Err(PackageReject::Parent { cause }),
        }
        done.push(
            self.submit_transaction(child, now)
                .map_err(|cause| PackageReject::Child { cause })?,
        );
        Ok(done)
    }

    fn submit_both(
        &mut self,
        parent: &Transaction,
        child: &Transaction,
        now: u32,
    ) -> Result<Vec<Accepted>, PackageReject> {
        let before = self.pool.clone();
        let result = self.try_both(parent, child, now);
        if result.is_err() {
            self.pool = before;
        }
        result
    }

    fn try_both(
        &mut self,
        parent: &Transaction,
        child: &Transaction,
        now: u32,
    ) -> Result<Vec<Accepted>, PackageReject> {
        let first = self
            .evaluate(parent, now, Mode::Package)
            .map_err(|cause| PackageReject::Parent { cause })?;
        let first_entry = first.entry.clone();
        self.admit(first);
        let second = self
            .evaluate(child, now, Mode::Package)
            .map_err(|cause| PackageReject::Child { cause })?;
        let second_entry = second.entry.clone();
        self.admit(second);
        let both = Total {
            fee_sat: first_entry.fee_sat + second_entry.fee_sat,
            vsize: first_entry.vsize + second_entry.vsize,
        };
        self.check_fee_rate(both, now)
            .map_err(|cause| PackageReject::Fee { cause })?;
        let evicted = self.limit_pool(now);
        if self.pool.entry(&second_entry.txid).is_none() {
            return Err(PackageReject::Fee {
                cause: TxReject::MempoolFull,
            });
        }
        Ok(vec![
            accepted(&first_entry, Vec::new(), Vec::new()),
            accepted(&second_entry, Vec::new(), evicted),
        ])
    }

    /// All checks, without any change.
    pub(super) fn evaluate(
        &self,
        tx: &Transaction,
        now: u32,
        mode: Mode,
    ) -> Result<Candidate, TxReject> {
        check_form(tx)?;
        if tx.is_coinbase() {
            return Err(TxReject::Coinbase);
        }
        check_standard(tx, &self.policy)?;
        let height = self.height() + 1;
        if !is_final(tx, height, self.tree.median_at(height - 1)) {
            return Err(TxReject::NonFinal);
        }
        self.check_not_known(tx)?;
        let conflicts = self.direct_conflicts(tx)?;
        let spent = self.look_up_with_pool(tx)?;
        if !is_bip68_final(tx, &spent, height, &|h| self.tree.median_at(h)) {
            return Err(TxReject::NonBip68Final);
        }
        let fee_sat = check_inputs(tx, &spent, height)?;
        check_inputs_standard(tx, &spent)?;
        let cost = sigop_cost(tx, &spent);
        if cost > MAX_STANDARD_SIGOP_COST {
            return Err(TxReject::TooManySigops { cost });
        }
        let entry = new_entry(tx, fee_sat, cost, now);
        if mode == Mode::Single {
            self.check_fee_rate(
                Total {
                    fee_sat,
                    vsize: entry.vsize,
                },
                now,
            )?;
        }
        let replaced = match mode {
            Mode::Single => check_replacement(&entry, &conflicts, &self.pool, &self.policy)?,
            Mode::Package | Mode::Reorg => refuse_conflicts(&conflicts)?,
        };
        self.check_chain_limits(&entry, &replaced)?;
        if mode != Mode::Reorg {
            self.scripts
                .verify(tx, &spent)
                .map_err(|input| TxReject::Script { input })?;
        }
        Ok(Candidate { entry, replaced })
    }

    /// Makes the change that [`Chain::evaluate`] allowed; returns what was replaced.
    pub(super) fn admit(&mut self, candidate: Candidate) -> Vec<Txid> {
        for txid in &candidate.replaced {
            self.pool.remove_one(txid);
        }
        self.pool.insert(candidate.entry);
        candidate.replaced.into_iter().collect()
    }

    /// Drops what is too old, then what does not fit.
    pub(super) fn limit_pool(&mut self, now: u32) -> Vec<Txid> {
        let mut evicted = self.pool.expire(&self.policy, now);
        evicted.extend(self.pool.trim(&self.policy));
        evicted
    }

    fn check_not_known(&self, tx: &Transaction) -> Result<(), TxReject> {
        match self.pool.entry(&tx.compute_txid()) {
            Some(entry) if entry.wtxid == tx.compute_wtxid() => Err(TxReject::AlreadyInMempool),
            Some(_) => Err(TxReject::SameInMempool),
            None => Ok(()),
        }
    }

    fn direct_conflicts(&self, tx: &Transaction) -> Result<BTreeSet<Txid>, TxReject> {
        let conflicts: BTreeSet<Txid> = tx
            .input
            .iter()
            .filter_map(|i| self.pool.spender(&i.previous_output))
            .collect();
        let stubborn = conflicts
            .iter()
            .find(|t| !self.policy.full_rbf && !self.signals_replacement(t));
        stubborn.map_or(Ok(()), |txid| {
            Err(TxReject::MempoolConflict { txid: *txid })
        })?;
        Ok(conflicts)
    }

    /// BIP 125 rule 1: the original or one of its unconfirmed ancestors signals.
    fn signals_replacement(&self, txid: &Txid) -> bool {
        let all = self.pool.ancestors_with(txid);
        all.iter()
            .filter_map(|t| self.pool.entry(t))
            .any(|e| e.tx.is_explicitly_rbf())
    }

    fn look_up_with_pool(&self, tx: &Transaction) -> Result<Vec<Coin>, TxReject> {
        let coin = |outpoint: &OutPoint| {
            self.coins
                .get(outpoint)
                .cloned()
                .or_else(|| self.pool_coin(outpoint))
        };
        let mut spent = Vec::with_capacity(tx.input.len());
        for input in &tx.input {
            let outpoint = input.previous_output;
            spent.push(match coin(&outpoint) {
                Some(coin) => coin,
                None if self.coins.has_outputs_of(tx.compute_txid()) => {
                    return Err(TxReject::AlreadyKnown);
                }
                None => return Err(TxReject::MissingInputs { outpoint }),
            });
        }
        Ok(spent)
    }

    fn pool_coin(&self, outpoint: &OutPoint) -> Option<Coin> {
        let entry = self.pool.entry(&outpoint.txid)?;
        let out = entry.tx.output.get(outpoint.vout as usize)?.clone();
        Some(Coin {
            out,
            height: self.height() + 1,
            coinbase: false,
        })
    }

    fn check_fee_rate(&self, total: Total, now: u32) -> Result<(), TxReject> {
        let fee_sat = total.fee_sat;
        let needed_sat = fee_at(self.pool.rolling_minimum(&self.policy, now), total.vsize);
        if fee_sat < needed_sat {
            return Err(TxReject::MempoolMinFee {
                fee_sat,
                needed_sat,
            });
        }
        let needed_sat = fee_at(self.policy.min_relay_sat_per_kvb, total.vsize);
        if fee_sat < needed_sat {
            return Err(TxReject::MinRelayFee {
                fee_sat,
                needed_sat,
            });
        }
        Ok(())
    }

    /// Core up to version 30 limits ancestors and descendants, 31 only clusters; here both hold, each by its own number.
    fn check_chain_limits(
        &self,
        entry: &PoolEntry,
        replaced: &BTreeSet<Txid>,
    ) -> Result<(), TxReject> {
        let parents: BTreeSet<Txid> = entry
            .tx
            .input
            .iter()
            .map(|i| i.previous_output.txid)
            .collect();
        let ancestors: BTreeSet<Txid> = self.pool.ancestors_of(&parents);
        let policy = &self.policy;
        let too_long = |txid, limit| Err(TxReject::TooLongChain { txid, limit });
        if ancestors.len() + 1 > policy.ancestors_max {
            return too_long(entry.txid, ChainLimit::AncestorCount);
        }
        if self.pool.total(&ancestors).vsize + entry.vsize > policy.ancestor_vsize_max {
            return too_long(entry.txid, ChainLimit::AncestorVsize);
        }
        for ancestor in &ancestors {
            let below: BTreeSet<Txid> = self
                .pool
                .descendants_with(ancestor)
                .difference(replaced)
                .copied()
                .collect();
            if below.len() + 1 > policy.descendants_max {
                return too_long(*ancestor, ChainLimit::DescendantCount);
            }
            if self.pool.total(&below).vsize + entry.vsize > policy.descendant_vsize_max {
                return too_long(*ancestor, ChainLimit::DescendantVsize);
            }
        }
        let cluster: BTreeSet<Txid> = self
            .pool
            .cluster_of(&ancestors)
            .difference(replaced)
            .copied()
            .collect();
        let vsize = self.pool.total(&cluster).vsize + entry.vsize;
        if cluster.len() + 1 > policy.cluster_max || vsize > policy.cluster_vsize_max {
            return Err(TxReject::TooLargeCluster);
        }
        Ok(())
    }
}

fn refuse_conflicts(conflicts: &BTreeSet<Txid>) -> Result<BTreeSet<Txid>, TxReject> {
    conflicts.first().map_or(Ok(BTreeSet::new()), |txid| {
        Err(TxReject::MempoolConflict { txid: *txid })
    })
}

fn new_entry(tx: &Transaction, fee_sat: u64, sigops: usize, now: u32) -> PoolEntry {
    let weight = tx.weight().to_wu();
    let vsize = weight.max((sigops * BYTES_PER_SIGOP) as u64).div_ceil(4);
    PoolEntry {
        txid: tx.compute_txid(),
        wtxid: tx.compute_wtxid(),
        tx: Arc::new(tx.clone()),
        fee_sat,
        vsize,
        weight,
        sigops,
        time: now,
        parents: BTreeSet::new(),
        children: BTreeSet::new(),
    }
}

fn accepted(entry: &PoolEntry, replaced: Vec<Txid>, evicted: Vec<Txid>) -> Accepted {
    let PoolEntry {
        txid,
        wtxid,
        fee_sat,
        vsize,
        ..
    } = *entry;
    Accepted {
        txid,
        wtxid,
        fee_sat,
        vsize,
        replaced,
        evicted,
    }
}
