//! Taking blocks in, choosing the best branch, and what that does to the mempool.
//!
//! Owns connecting and disconnecting with the indexes, and reorganisations. The branch with most work wins; of two
//! equal ones the first seen. Fidelity: Core keeps at most a few hundred disconnected transactions in memory and may drop
//! older ones; here all return. A returned transaction that breaks a chain limit is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use bitcoin::{Block, BlockHash, ScriptBuf, Transaction, Txid};

use super::accept::Mode;
use super::block_rules::{Connection, check_body, check_header, connect, disconnect};
use super::miner::MineRequest;
use super::policy::MAX_BLOCK_WEIGHT;
use super::reject::{BlockReject, MineError};
use super::{Chain, Place};

/// A block and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedBlock {
    /// The block.
    pub block: Arc<Block>,
    /// Its height.
    pub height: u32,
}

/// How the best chain moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainUpdate {
    /// Blocks that left it, highest first.
    pub disconnected: Vec<PlacedBlock>,
    /// Blocks that joined it, lowest first.
    pub connected: Vec<PlacedBlock>,
}

/// What became of a valid block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockOutcome {
    /// It was known.
    Duplicate,
    /// It waits on a branch with no more work than the best chain; its transactions are not checked yet.
    SideBranch,
    /// The best chain moved to it.
    Connected(ChainUpdate),
}

/// A reorganisation to be played by another miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReorgRequest {
    /// How many blocks are taken back.
    pub depth: u32,
    /// How many empty blocks replace them, at least one more than `depth` for the branch to win.
    pub length: u32,
    /// Time, payout and salt of the new blocks; the weight does not matter.
    pub mine: MineRequest,
    /// Seconds between the times of the new blocks.
    pub spacing_seconds: u32,
}

impl Chain {
    /// Takes a block from any miner at `now` (Unix seconds).
    ///
    /// # Errors
    /// The first rule it breaks. If it broke one only when connected, the best chain is again what it was.
    pub fn submit_block(&mut self, block: Block, now: u32) -> Result<BlockOutcome, BlockReject> {
        let hash = block.block_hash();
        if let Some(record) = self.tree.get(&hash) {
            return if record.invalid {
                Err(BlockReject::DuplicateInvalid)
            } else {
                Ok(BlockOutcome::Duplicate)
            };
        }
        let parent = block.header.prev_blockhash;
        match self.tree.get(&parent) {
            None => return Err(BlockReject::UnknownParent { parent }),
            Some(record) if record.invalid => return Err(BlockReject::InvalidParent),
            Some(_) => {}
        }
        check_header(&block, &self.tree, now)?;
        check_body(&block, &self.tree)?;
        self.tree.insert(block);
        let new_work = self.tree.get(&hash).map(|r| r.work);
        if new_work <= Some(self.tree.tip().work) {
            return Ok(BlockOutcome::SideBranch);
        }
        self.activate(hash, now).map(BlockOutcome::Connected)
    }

    /// Replaces the last `depth` blocks by a longer branch of empty blocks, as a rival miner would.
    ///
    /// # Errors
    /// [`MineError::TooDeep`] if the chain is shorter, [`MineError::Refused`] if a new block breaks a rule.
    pub fn reorg(&mut self, request: &ReorgRequest, now: u32) -> Result<ChainUpdate, MineError> {
        let (height, depth) = (self.height(), request.depth);
        let fork = height
            .checked_sub(depth)
            .ok_or(MineError::TooDeep { depth, height })?;
        let before = self.tree.tip_hash();
        let mut parent = self
            .tree
            .at(fork)
            .expect("below the tip")
            .block
            .block_hash();
        let mut mine = MineRequest {
            max_weight: MAX_BLOCK_WEIGHT,
            ..request.mine.clone()
        };
        for _ in 0..request.length {
            let block = self.draft(parent, &mine).expect("just inserted").seal();
            parent = block.block_hash();
            mine.time = block.header.time.saturating_add(request.spacing_seconds);
            self.submit_block(block, now.max(mine.time))?;
        }
        Ok(self.changes_since(before).expect("the old tip is kept"))
    }

    /// Moves the best chain to `hash`, which has more work.
    fn activate(&mut self, hash: BlockHash, now: u32) -> Result<ChainUpdate, BlockReject> {
        let (fork, path) = self.tree.branch(hash);
        let old: Vec<BlockHash> = (fork + 1..=self.height())
            .filter_map(|h| self.hash_at(h))
            .collect();
        for _ in &old {
            self.disconnect_tip();
        }
        for (done, next) in path.iter().enumerate() {
            if let Err(reject) = self.connect_next(*next) {
                self.tree.mark_invalid(*next);
                (0..done).for_each(|_| self.disconnect_tip());
                for back in &old {
                    self.connect_next(*back).expect("it was connected before");
                }
                return Err(reject);
            }
        }
        let update = ChainUpdate {
            disconnected: self.place_all(&old, true),
            connected: self.place_all(&path, false),
        };
        self.refresh_pool(&update, now);
        Ok(update)
    }

    pub(super) fn place_all(&self, hashes: &[BlockHash], reverse: bool) -> Vec<PlacedBlock> {
        let place = |h: &BlockHash| {
            let record = self.tree.get(h).expect("a known block");
            PlacedBlock {
                block: Arc::clone(&record.block),
                height: record.height,
            }
        };
        if reverse {
            hashes.iter().rev().map(place).collect()
        } else {
            hashes.iter().map(place).collect()
        }
    }

    fn connect_next(&mut self, hash: BlockHash) -> Result<(), BlockReject> {
        let record = self.tree.get(&hash).expect("a known block");
        let (block, height, seen) = (
            Arc::clone(&record.block),
            record.height,
            record.undo.is_some(),
        );
        let pool = &self.pool;
        // The id with witness fixes the scripts and, through the ids of the spent outputs, what they are checked against.
        let is_verified = |tx: &Transaction| {
            seen || pool
                .entry(&tx.compute_txid())
                .is_some_and(|e| e.wtxid == tx.compute_wtxid())
        };
        let on = Connection {
            height,
            tree: &self.tree,
            scripts: &self.scripts,
            is_verified: &is_verified,
        };
        let undo = connect(&block, &mut self.coins, &on)?;
        self.tree.set_undo(&hash, undo);
        self.tree.push_best(hash);
        self.index(&block, height);
        Ok(())
    }

    fn disconnect_tip(&mut self) {
        let record = self.tree.tip();
        let (block, height) = (Arc::clone(&record.block), record.height);
        let undo = record.undo.clone().expect("the best chain is connected");
        self.unindex(&block, height);
        disconnect(&block, &mut self.coins, undo);
        self.tree.pop_best();
    }

    fn index(&mut self, block: &Block, height: u32) {
        for (at, tx) in (0_u32..).zip(&block.txdata) {
            let (txid, place): (Txid, Place) = (tx.compute_txid(), (height, at));
            self.places.insert(txid, place);
            if !tx.is_coinbase() {
                self.spenders
                    .extend(tx.input.iter().map(|i| (i.previous_output, txid)));
            }
            for script in self.touched_scripts(tx, place) {
                self.histories
                    .entry(script)
                    .or_default()
                    .insert((place, txid));
            }
        }
    }

    fn unindex(&mut self, block: &Block, height: u32) {
        for (at, tx) in (0_u32..).zip(&block.txdata) {
            let (txid, place): (Txid, Place) = (tx.compute_txid(), (height, at));
            for script in self.touched_scripts(tx, place) {
                if let Some(history) = self.histories.get_mut(&script) {
                    history.remove(&(place, txid));
                    if history.is_empty() {
                        self.histories.remove(&script);
                    }
                }
            }
            for input in &tx.input {
                self.spenders.remove(&input.previous_output);
            }
            self.places.remove(&txid);
        }
    }

    fn touched_scripts(&self, tx: &Transaction, place: Place) -> BTreeSet<ScriptBuf> {
        let paid = tx.output.iter().map(|o| o.script_pubkey.clone());
        let spent = self
            .spent_at(place)
            .iter()
            .map(|c| c.out.script_pubkey.clone());
        paid.chain(spent).collect()
    }

    /// The mempool after the best chain moved.
    fn refresh_pool(&mut self, update: &ChainUpdate, now: u32) {
        if update.disconnected.is_empty() {
            update
                .connected
                .iter()
                .for_each(|p| self.drop_confirmed(&p.block));
        } else {
            self.rebuild_pool(update);
        }
        self.pool.on_block(&self.policy, now);
        self.limit_pool(now);
    }

    fn drop_confirmed(&mut self, block: &Block) {
        for tx in &block.txdata {
            self.pool.remove_one(&tx.compute_txid());
            for input in &tx.input {
                if let Some(rival) = self.pool.spender(&input.previous_output) {
                    self.pool.remove_with_descendants(&rival);
                }
            }
        }
    }

    /// Offers everything anew: first what the lost blocks held, oldest first, then what waited before.
    fn rebuild_pool(&mut self, update: &ChainUpdate) {
        let waiting = self.pool.take_all();
        let lost = update
            .disconnected
            .iter()
            .rev()
            .flat_map(|p| p.block.txdata[1..].iter());
        let from_blocks: Vec<Transaction> = lost.cloned().collect();
        let entered = update.connected.last().map_or(0, |p| p.block.header.time);
        let again = from_blocks
            .iter()
            .map(|t| (t, entered))
            .chain(waiting.iter().map(|e| (&*e.tx, e.time)));
        for (tx, time) in again {
            if self.places.contains_key(&tx.compute_txid()) {
                continue;
            }
            // Scripts were verified when it entered the mempool or its block, under the same flags.
            if let Ok(candidate) = self.evaluate(tx, time, Mode::Reorg) {
                self.admit(candidate);
            }
        }
    }
}
