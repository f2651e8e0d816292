//! Owns the acceptance of a look at the chain: which views are believed, and how one becomes the wallet's history
//! (confirmations, reorganisations, evictions, replacements). Does not own where views come from.

use super::build::BURIED_CONFIRMATIONS;
use super::{Onchain, own_block};
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::{BlockId, ChainPosition, ChainView, SeenTransaction};
use crate::rare::{Rare, sometimes};
use bdk_wallet::Update;
use bdk_wallet::chain::{self, CheckPoint, ConfirmationBlockTime, TxUpdate};
use bitcoin::{BlockHash, OutPoint, Txid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Why a view is not believed. The wallet is unchanged; the next view may be fine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewRefused {
    /// It has no blocks.
    #[error("the view has no blocks")]
    NoBlocks,
    /// Heights must rise.
    #[error("the view's blocks do not ascend at height {height}")]
    NotAscending {
        /// Where.
        height: u32,
    },
    /// No block of it is known, or a gap leaves open where it forks off.
    #[error("the view does not connect to the known chain (best known block: height {known_tip})")]
    NotConnected {
        /// Our tip.
        known_tip: u32,
    },
    /// Its tip is an ancestor of a block that is known: it is older than what is known.
    #[error(
        "the view ends at height {height}, below the known tip at {known_tip}, and replaces nothing"
    )]
    Stale {
        /// Of the view.
        height: u32,
        /// Ours.
        known_tip: u32,
    },
    /// Two different blocks at one height of one chain.
    #[error("the view contradicts itself on the block at height {height}")]
    TwoBlocks {
        /// Where.
        height: u32,
    },
    /// A transaction above the tip.
    #[error("transaction {txid} is said to be confirmed at height {height}, above the tip")]
    AboveTip {
        /// Which.
        txid: Txid,
        /// Where.
        height: u32,
    },
    /// A transaction is listed twice.
    #[error("the view lists transaction {txid} twice")]
    Duplicate {
        /// Which.
        txid: Txid,
    },
    /// Two transactions spend the same output.
    #[error("two transactions of the view spend {outpoint}")]
    DoubleSpend {
        /// Which output.
        outpoint: OutPoint,
    },
    /// A transaction is absent, unconfirmed or elsewhere although the block that confirmed it is in the chain.
    #[error("the view keeps the block at height {height}, but not transaction {txid} in it")]
    HistoryMissing {
        /// Which.
        txid: Txid,
        /// Its block.
        height: u32,
    },
    /// A transaction of ours is absent although another that spends it is there.
    #[error("the view lacks transaction {txid}, which another transaction of it spends")]
    ParentMissing {
        /// The absent one.
        txid: Txid,
    },
}

/// Checks `view` and gives the complete chain that results: height to hash, from genesis to the view's tip.
pub(super) fn check(
    known: &Onchain,
    view: &ChainView,
) -> Result<BTreeMap<u32, BlockHash>, ViewRefused> {
    let mut blocks = connect(known, &view.blocks)?;
    check_transactions(&view.transactions)?;
    let tip = view.blocks.last().ok_or(ViewRefused::NoBlocks)?;
    for seen in &view.transactions {
        if let ChainPosition::Confirmed { block, .. } = seen.position {
            if block.height > tip.height {
                return Err(ViewRefused::AboveTip {
                    txid: seen.transaction.compute_txid(),
                    height: block.height,
                });
            }
            if *blocks.entry(block.height).or_insert(block.hash) != block.hash {
                return Err(ViewRefused::TwoBlocks {
                    height: block.height,
                });
            }
        }
    }
    check_completeness(known, view, &blocks)?;
    Ok(blocks)
}

/// Joins the view's blocks to the known ones. The highest common block is where they fork; every known block above it
/// is replaced, and the view must show by what.
fn connect(known: &Onchain, view: &[BlockId]) -> Result<BTreeMap<u32, BlockHash>, ViewRefused> {
    let view_tip = view.last().ok_or(ViewRefused::NoBlocks)?;
    if let Some(pair) = view
        .windows(2)
        .find(|pair| pair[0].height >= pair[1].height)
    {
        return Err(ViewRefused::NotAscending {
            height: pair[1].height,
        });
    }
    let mut chain: BTreeMap<u32, BlockHash> =
        known.blocks().iter().map(|b| (b.height, b.hash)).collect();
    let known_tip = known.tip().height;
    let fork = view
        .iter()
        .rev()
        .find(|block| chain.get(&block.height) == Some(&block.hash));
    let not_connected = || {
        sometimes(Rare::ViewNotConnected);
        ViewRefused::NotConnected { known_tip }
    };
    let fork = fork.ok_or_else(not_connected)?.height;
    let replaced = chain.split_off(&fork.saturating_add(1));
    if let Some(lowest) = replaced.keys().next() {
        if view_tip.height == fork {
            sometimes(Rare::ViewStale);
            return Err(ViewRefused::Stale {
                height: fork,
                known_tip,
            });
        }
        if !view.iter().any(|block| block.height == *lowest) {
            return Err(not_connected());
        }
    }
    for block in view {
        if *chain.entry(block.height).or_insert(block.hash) != block.hash {
            return Err(ViewRefused::TwoBlocks {
                height: block.height,
            });
        }
    }
    Ok(chain)
}

fn check_transactions(transactions: &[SeenTransaction]) -> Result<(), ViewRefused> {
    let mut txids = BTreeSet::new();
    let mut spent = BTreeSet::new();
    for seen in transactions {
        let txid = seen.transaction.compute_txid();
        if !txids.insert(txid) {
            return Err(ViewRefused::Duplicate { txid });
        }
        for input in &seen.transaction.input {
            if !seen.transaction.is_coinbase() && !spent.insert(input.previous_output) {
                return Err(ViewRefused::DoubleSpend {
                    outpoint: input.previous_output,
                });
            }
        }
    }
    Ok(())
}

/// What was confirmed in a block that stays must stay in it (also if that block was away for a while), and what spends
/// a transaction of ours cannot be there without it.
fn check_completeness(
    known: &Onchain,
    view: &ChainView,
    blocks: &BTreeMap<u32, BlockHash>,
) -> Result<(), ViewRefused> {
    let placed: BTreeMap<Txid, Option<BlockId>> = view
        .transactions
        .iter()
        .map(|seen| (seen.transaction.compute_txid(), block_of(seen)))
        .collect();
    let anchors = known.wallet.tx_graph().all_anchors();
    let anchors = anchors
        .iter()
        .flat_map(|(txid, anchors)| anchors.iter().map(|at| (*txid, own_block(at.block_id))));
    let lost = anchors
        .filter(|(_, block)| blocks.get(&block.height) == Some(&block.hash))
        .filter(|(txid, block)| placed.get(txid) != Some(&Some(*block)));
    // The least one, as bdk keeps anchors in no order.
    if let Some((txid, block)) = lost.min() {
        sometimes(Rare::ViewIncomplete);
        return Err(ViewRefused::HistoryMissing {
            txid,
            height: block.height,
        });
    }
    for input in view
        .transactions
        .iter()
        .flat_map(|seen| &seen.transaction.input)
    {
        let parent = input.previous_output.txid;
        if known.positions.contains_key(&parent) && !placed.contains_key(&parent) {
            sometimes(Rare::ViewIncomplete);
            return Err(ViewRefused::ParentMissing { txid: parent });
        }
    }
    Ok(())
}

const fn block_of(seen: &SeenTransaction) -> Option<BlockId> {
    match seen.position {
        ChainPosition::Mempool => None,
        ChainPosition::Confirmed { block, .. } => Some(block),
    }
}

/// Checks, then makes the view the history.
pub(super) fn apply(known: &mut Onchain, view: &ChainView) -> Result<(), ViewRefused> {
    let blocks = check(known, view)?;
    let at = known.views_applied.saturating_add(1);
    let update = Update {
        tx_update: transactions_update(known, view, at),
        chain: checkpoints(&blocks),
        ..Update::default()
    };
    let connected = known.wallet.apply_update(update);
    assert!(
        connected.is_ok(),
        "a view that passed the checks contains every known block it does not replace"
    );
    known.views_applied = at;
    record(known, view);
    Ok(())
}

fn checkpoints(blocks: &BTreeMap<u32, BlockHash>) -> Option<CheckPoint> {
    let blocks = blocks.iter().map(|(height, hash)| chain::BlockId {
        height: *height,
        hash: *hash,
    });
    CheckPoint::from_block_ids(blocks).ok()
}

/// Everything absent is evicted now; everything unconfirmed is seen now; the rest is anchored.
fn transactions_update(
    known: &Onchain,
    view: &ChainView,
    at: u64,
) -> TxUpdate<ConfirmationBlockTime> {
    let mut update = TxUpdate::default();
    let mut present = BTreeSet::new();
    for seen in &view.transactions {
        let txid = seen.transaction.compute_txid();
        present.insert(txid);
        if known.wallet.tx_graph().get_tx(txid).is_none() {
            update.txs.push(Arc::new(seen.transaction.clone()));
        }
        match seen.position {
            ChainPosition::Mempool => {
                update.seen_ats.insert((txid, at));
            }
            ChainPosition::Confirmed { block, time_secs } => {
                let block_id = chain::BlockId {
                    height: block.height,
                    hash: block.hash,
                };
                let confirmation_time = u64::from(time_secs);
                update.anchors.insert((
                    ConfirmationBlockTime {
                        block_id,
                        confirmation_time,
                    },
                    txid,
                ));
            }
        }
    }
    let gone = known
        .positions
        .keys()
        .filter(|txid| !present.contains(*txid));
    update.evicted_ats.extend(gone.map(|txid| (*txid, at)));
    update
}

/// Rebuilds what is derived from the view, and forgets built transactions that are buried.
fn record(known: &mut Onchain, view: &ChainView) {
    known.positions.clear();
    if known.planted != Some(Bug::CountReplacedTwice) {
        known.received.clear();
    }
    for seen in &view.transactions {
        let txid = seen.transaction.compute_txid();
        known
            .positions
            .insert(txid, block_of(seen).map(|block| block.height));
        for (vout, output) in (0u32..).zip(&seen.transaction.output) {
            if known.wallet.is_mine(output.script_pubkey.clone()) {
                let outputs = known
                    .received
                    .entry(output.script_pubkey.clone())
                    .or_default();
                outputs.insert(OutPoint { txid, vout }, Sat(output.value.to_sat()));
            }
        }
    }
    known.total_sat = Sat(known.wallet.balance().total().to_sat());
    let buried = |txid: &Txid| {
        known
            .confirmations(*txid)
            .is_some_and(|depth| depth >= BURIED_CONFIRMATIONS)
    };
    let buried: Vec<Txid> = known.built.keys().copied().filter(buried).collect();
    for txid in buried {
        known.built.remove(&txid);
    }
}
