//! Replacing unconfirmed transactions (BIP 125 as Bitcoin Core applies it).
//!
//! Owns the rules. Rule 1 (signalling) is policy and in `accept`. Differences of Core 31, which compares the mempool's
//! feerate diagrams: it has no rule 2, its rule 5 counts clusters and not transactions, and instead of the feerate rule
//! (`insufficient fee`) it says `replacement-failed` when the diagram does not improve.

use std::collections::BTreeSet;

use bitcoin::Txid;

use super::policy::{MAX_REPLACED, Policy, fee_at};
use super::pool::{Pool, PoolEntry, Total};
use super::reject::TxReject;

/// Checks a transaction that conflicts with `conflicts`; returns all that it evicts, empty without a conflict.
pub(super) fn check_replacement(
    entry: &PoolEntry,
    conflicts: &BTreeSet<Txid>,
    pool: &Pool,
    policy: &Policy,
) -> Result<BTreeSet<Txid>, TxReject> {
    if conflicts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let parents: BTreeSet<Txid> = entry
        .tx
        .input
        .iter()
        .map(|i| i.previous_output.txid)
        .collect();
    let ancestors = pool.ancestors_of(&parents);
    if let Some(txid) = ancestors.intersection(conflicts).next() {
        return Err(TxReject::SpendsConflict { txid: *txid });
    }
    check_feerate(entry, conflicts, pool)?;
    let evicted: BTreeSet<Txid> = conflicts
        .iter()
        .flat_map(|t| pool.descendants_with(t))
        .collect();
    // BIP 125 rule 5: bounds the work of one replacement.
    if evicted.len() > MAX_REPLACED {
        return Err(TxReject::TooManyReplacements {
            count: evicted.len(),
        });
    }
    check_no_new_unconfirmed(&parents, conflicts, pool)?;
    check_fees(entry, pool.total(&evicted).fee_sat, policy)?;
    Ok(evicted)
}

/// Core's rule 6: a higher feerate than each transaction it conflicts with directly.
fn check_feerate(
    entry: &PoolEntry,
    conflicts: &BTreeSet<Txid>,
    pool: &Pool,
) -> Result<(), TxReject> {
    let new = Total {
        fee_sat: entry.fee_sat,
        vsize: entry.vsize,
    };
    for old in conflicts.iter().filter_map(|t| pool.entry(t)) {
        let old = Total {
            fee_sat: old.fee_sat,
            vsize: old.vsize,
        };
        if !old.is_below(new) {
            let needed_sat = old.fee_sat * new.vsize / old.vsize + 1;
            return Err(TxReject::InsufficientFee {
                fee_sat: new.fee_sat,
                needed_sat,
            });
        }
    }
    Ok(())
}

/// BIP 125 rule 2: every unconfirmed parent was already a parent of what is replaced.
fn check_no_new_unconfirmed(
    parents: &BTreeSet<Txid>,
    conflicts: &BTreeSet<Txid>,
    pool: &Pool,
) -> Result<(), TxReject> {
    let old: BTreeSet<Txid> = conflicts
        .iter()
        .filter_map(|t| pool.entry(t))
        .flat_map(|e| e.parents.iter().copied())
        .collect();
    match parents
        .iter()
        .find(|p| pool.entry(p).is_some() && !old.contains(*p))
    {
        Some(txid) => Err(TxReject::AddsUnconfirmed { txid: *txid }),
        None => Ok(()),
    }
}

fn check_fees(entry: &PoolEntry, old_sat: u64, policy: &Policy) -> Result<(), TxReject> {
    let fee_sat = entry.fee_sat;
    // BIP 125 rule 3: at least the fees of all that is evicted.
    // BIP 125 rule 4: and for its own relay on top, at the incremental feerate.
    let needed_sat = old_sat + fee_at(policy.incremental_sat_per_kvb, entry.vsize);
    if fee_sat < needed_sat {
        Err(TxReject::InsufficientFee {
            fee_sat,
            needed_sat,
        })
    } else {
        Ok(())
    }
}
