//! All blocks ever accepted, side branches included, and which of them form the best chain.
//!
//! Owns headers, heights, work, median time past and undo data. Does not own validation or the coins.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::{Block, BlockHash, Network, Work, constants::genesis_block};

use super::coins::Coin;

/// Blocks whose median is the median time past (BIP 113).
const MEDIAN_SPAN: usize = 11;

/// What a block spent: for each transaction after the coinbase, the coins of its inputs in order.
pub(super) type Undo = Vec<Vec<Coin>>;

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) block: Arc<Block>,
    pub(super) height: u32,
    pub(super) work: Work,
    /// Present once the block was connected.
    pub(super) undo: Option<Undo>,
    pub(super) invalid: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    records: BTreeMap<BlockHash, Record>,
    /// Hash by height.
    best: Vec<BlockHash>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let block = genesis_block(Network::Regtest);
        let hash = block.block_hash();
        let work = block.header.work();
        let record = Record {
            block: Arc::new(block),
            height: 0,
            work,
            undo: Some(Vec::new()),
            invalid: false,
        };
        Self {
            records: BTreeMap::from([(hash, record)]),
            best: vec![hash],
        }
    }

    pub(super) fn get(&self, hash: &BlockHash) -> Option<&Record> {
        self.records.get(hash)
    }

    pub(super) fn at(&self, height: u32) -> Option<&Record> {
        self.records.get(self.best.get(height as usize)?)
    }

    pub(super) fn tip_hash(&self) -> BlockHash {
        *self.best.last().expect("genesis is never disconnected")
    }

    pub(super) fn tip(&self) -> &Record {
        &self.records[&self.tip_hash()]
    }

    pub(super) fn is_best(&self, hash: &BlockHash) -> bool {
        self.get(hash)
            .is_some_and(|r| self.best.get(r.height as usize) == Some(hash))
    }

    /// Adds a block whose parent is known.
    pub(super) fn insert(&mut self, block: Block) -> BlockHash {
        let hash = block.block_hash();
        let parent = &self.records[&block.header.prev_blockhash];
        let (height, work) = (parent.height + 1, parent.work + block.header.work());
        self.records.insert(
            hash,
            Record {
                block: Arc::new(block),
                height,
                work,
                undo: None,
                invalid: false,
            },
        );
        hash
    }

    pub(super) fn set_undo(&mut self, hash: &BlockHash, undo: Undo) {
        self.records.get_mut(hash).expect("a known block").undo = Some(undo);
    }

    /// Marks a block and everything built on it invalid.
    pub(super) fn mark_invalid(&mut self, hash: BlockHash) {
        let mut bad = vec![hash];
        while let Some(next) = bad.pop() {
            self.records.get_mut(&next).expect("a known block").invalid = true;
            let children = self
                .records
                .iter()
                .filter(|(_, r)| r.block.header.prev_blockhash == next && !r.invalid);
            bad.extend(children.map(|(h, _)| *h));
        }
    }

    pub(super) fn push_best(&mut self, hash: BlockHash) {
        assert_eq!(
            self.records[&hash].block.header.prev_blockhash,
            self.tip_hash(),
            "blocks connect to the tip"
        );
        self.best.push(hash);
    }

    pub(super) fn pop_best(&mut self) {
        assert!(self.best.len() > 1, "genesis is never disconnected");
        self.best.pop();
    }

    /// The blocks from `hash` back to (not including) the best chain, oldest first, and the height where they branch.
    pub(super) fn branch(&self, hash: BlockHash) -> (u32, Vec<BlockHash>) {
        let mut path = Vec::new();
        let mut at = hash;
        while !self.is_best(&at) {
            path.push(at);
            at = self.records[&at].block.header.prev_blockhash;
        }
        path.reverse();
        (self.records[&at].height, path)
    }

    /// Median time past: of the block and the ten before it on its own branch.
    pub(super) fn median_time_past(&self, hash: BlockHash) -> u32 {
        let mut times = Vec::with_capacity(MEDIAN_SPAN);
        let mut at = Some(hash);
        while let Some(record) = at.and_then(|h| self.records.get(&h)) {
            times.push(record.block.header.time);
            if times.len() == MEDIAN_SPAN {
                break;
            }
            at = Some(record.block.header.prev_blockhash);
        }
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Median time past of the best chain at `height`.
    pub(super) fn median_at(&self, height: u32) -> u32 {
        self.median_time_past(self.best[height as usize])
    }
}
