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
    /// It ends below the known tip, and the policy refuses to go back. A view has no proof of work to weigh; on one network, between two changes of the
    /// difficulty, the longer chain has more of it.
    #[error(
        "the view replaces blocks and ends at height {height}, below the known tip at {known_tip}"
    )]
    Shorter {
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

/// A view with what is asked of it more than once, or the part of one that concerns a wallet.
pub(super) struct Look<'a> {
    blocks: &'a [BlockId],
    transactions: Vec<(Txid, &'a SeenTransaction)>,
}

impl<'a> Look<'a> {
    /// The whole view.
    pub(super) fn at(view: &'a ChainView) -> Look<'a> {
        let transactions = view.transactions.iter();
        Look {
            blocks: &view.blocks,
            transactions: transactions
                .map(|seen| (seen.transaction.compute_txid(), seen))
                .collect(),
        }
    }

    /// What of it pays this wallet, or spends from it.
    pub(super) fn part_of(&self, known: &Onchain) -> Look<'a> {
        let index = known.wallet.spk_index();
        let mut ours = BTreeSet::new();
        for (txid, seen) in &self.transactions {
            for (vout, output) in (0u32..).zip(&seen.transaction.output) {
                if index.index_of_spk(output.script_pubkey.clone()).is_some() {
                    ours.insert(OutPoint { txid: *txid, vout });
                }
            }
        }
        let concerns = |(txid, seen): &&(Txid, &SeenTransaction)| {
            let first = OutPoint {
                txid: *txid,
                vout: 0,
            };
            let mut received = ours.range(first..);
            let pays = received
                .next()
                .is_some_and(|outpoint| outpoint.txid == *txid);
            let spent = || {
                let mut inputs = seen.transaction.input.iter().map(|i| i.previous_output);
                inputs.any(|spent| ours.contains(&spent) || index.txout(spent).is_some())
            };
            pays || spent()
        };
        Look {
            blocks: self.blocks,
            transactions: self.transactions.iter().filter(concerns).copied().collect(),
        }
    }
}

/// Checks all of a look but whether it lacks something, and gives the complete chain that results: height to hash, from
/// genesis to the look's tip.
pub(super) fn check_shape(
    known: &Onchain,
    look: &Look<'_>,
) -> Result<BTreeMap<u32, BlockHash>, ViewRefused> {
    let mut blocks = connect(known, look.blocks)?;
    check_transactions(look)?;
    let tip = look.blocks.last().ok_or(ViewRefused::NoBlocks)?;
    for (txid, seen) in &look.transactions {
        if let ChainPosition::Confirmed { block, .. } = seen.position {
            if block.height > tip.height {
                return Err(ViewRefused::AboveTip {
                    txid: *txid,
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

fn check_transactions(look: &Look<'_>) -> Result<(), ViewRefused> {
    let mut txids = BTreeSet::new();
    let mut spent = BTreeSet::new();
    for (txid, seen) in &look.transactions {
        if !txids.insert(*txid) {
            return Err(ViewRefused::Duplicate { txid: *txid });
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
pub(super) fn check_completeness(
    known: &Onchain,
    look: &Look<'_>,
    blocks: &BTreeMap<u32, BlockHash>,
) -> Result<(), ViewRefused> {
    let placed: BTreeMap<Txid, Option<BlockId>> = look
        .transactions
        .iter()
        .map(|(txid, seen)| (*txid, block_of(seen)))
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
    for input in look
        .transactions
        .iter()
        .flat_map(|(_, seen)| &seen.transaction.input)
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

/// Makes a look that passed the checks, with the chain that they gave, the history.
pub(super) fn apply(known: &mut Onchain, look: &Look<'_>, blocks: &BTreeMap<u32, BlockHash>) {
    let at = known.views_applied.saturating_add(1);
    let update = Update {
        tx_update: transactions_update(known, look, at),
        chain: checkpoints(blocks),
        ..Update::default()
    };
    let connected = known.wallet.apply_update(update);
    assert!(
        connected.is_ok(),
        "a view that passed the checks contains every known block it does not replace"
    );
    known.views_applied = at;
    record(known, look);
}

/// Makes the chain that `other` knows known to a wallet that was made just now.
pub(super) fn adopt_chain(fresh: &mut Onchain, other: &Onchain) {
    let update = Update {
        chain: Some(other.wallet.latest_checkpoint()),
        ..Update::default()
    };
    let connected = fresh.wallet.apply_update(update);
    assert!(
        connected.is_ok(),
        "both begin with the network's genesis block"
    );
    fresh.views_applied = other.views_applied;
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
    look: &Look<'_>,
    at: u64,
) -> TxUpdate<ConfirmationBlockTime> {
    let mut update = TxUpdate::default();
    let mut present = BTreeSet::new();
    for (txid, seen) in &look.transactions {
        let txid = *txid;
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
fn record(known: &mut Onchain, look: &Look<'_>) {
    known.positions.clear();
    if known.planted != Some(Bug::CountReplacedTwice) {
        known.received.clear();
    }
    for (txid, seen) in &look.transactions {
        let txid = *txid;
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
    let deep = |txid: &Txid| known.confirmations(*txid) >= Some(BURIED_CONFIRMATIONS);
    let spent = look.transactions.iter().filter(|(txid, _)| deep(txid));
    let spent = spent.flat_map(|(_, seen)| &seen.transaction.input);
    let spent = spent.map(|input| input.previous_output).collect();
    known.forget_given_up(&spent);
}
