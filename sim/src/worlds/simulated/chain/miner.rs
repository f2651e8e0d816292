//! Making blocks: what goes in, the coinbase, the proof of work.
//!
//! Owns selection by ancestor feerate (Bitcoin Core up to version 30; 31 picks chunks of a linearised cluster, which
//! can order large clusters better) and the search for a nonce. Does not own the rules that the block is checked by.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, absolute, transaction,
};

use super::block_rules::{REGTEST_BITS, height_script};
use super::policy::{MAX_BLOCK_SIGOP_COST, RESERVED_WEIGHT, fee_at};
use super::pool::Pool;

/// Signature operations kept free for the coinbase, as Core does.
const RESERVED_SIGOPS: usize = 400;
const TOP_BITS_VERSION: i32 = 0x2000_0000;

/// What the miner is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MineRequest {
    /// The miner's clock, Unix seconds. The block's time is this, or one past the median time past if that is later.
    pub time: u32,
    /// Where subsidy and fees go.
    pub payout_script: ScriptBuf,
    /// Most weight units of the whole block.
    pub max_weight: u64,
    /// Told apart by this, two blocks of equal content at the same height differ.
    pub salt: u64,
}

/// A block without proof of work.
#[derive(Debug, Clone)]
pub struct BlockDraft {
    /// The block it extends.
    pub parent: BlockHash,
    /// Its height.
    pub height: u32,
    /// Its time, Unix seconds.
    pub time: u32,
    /// Where the coinbase pays.
    pub payout_script: ScriptBuf,
    /// What the coinbase pays, in satoshi.
    pub coinbase_sat: u64,
    /// Told apart by this, two blocks of equal content differ.
    pub salt: u64,
    /// All transactions after the coinbase, parents first.
    pub transactions: Vec<Transaction>,
}

impl BlockDraft {
    /// Adds coinbase, commitments and proof of work. The rules are not checked: an invalid draft gives an invalid block.
    #[must_use]
    pub fn seal(self) -> Block {
        let mut txdata = vec![self.coinbase()];
        txdata.extend(self.transactions);
        let header = Header {
            version: Version::from_consensus(TOP_BITS_VERSION),
            prev_blockhash: self.parent,
            merkle_root: TxMerkleNode::all_zeros(),
            time: self.time,
            bits: CompactTarget::from_consensus(REGTEST_BITS),
            nonce: 0,
        };
        let mut block = Block { header, txdata };
        commit_to_witnesses(&mut block);
        reseal(&mut block);
        block
    }

    fn coinbase(&self) -> Transaction {
        // The salt makes the script at least two bytes long also at heights up to 16.
        let mut script = height_script(self.height);
        script.push_slice(self.salt.to_le_bytes());
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: script,
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0_u8; 32]]),
        };
        let payout = TxOut {
            value: Amount::from_sat(self.coinbase_sat),
            script_pubkey: self.payout_script.clone(),
        };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![input],
            output: vec![payout],
        }
    }
}

/// Appends the witness commitment to the coinbase (BIP 141).
fn commit_to_witnesses(block: &mut Block) {
    let root = block.witness_root().expect("there is a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut bytes = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    bytes.extend_from_slice(commitment.as_byte_array());
    block.txdata[0].output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(bytes),
    });
}

/// Computes the merkle root anew and searches a nonce from zero; on regtest every second nonce will do.
pub(super) fn reseal(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    block.header.nonce = 0;
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
}

/// A feerate that orders exactly, without division.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Score {
    fee_sat: u64,
    vsize: u64,
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.fee_sat, other.fee_sat);
        let by_rate = (u128::from(a) * u128::from(other.vsize))
            .cmp(&(u128::from(b) * u128::from(self.vsize)));
        // Equal rates: smaller packages first. The last two keys only make the order total.
        by_rate.then(other.vsize.cmp(&self.vsize)).then(a.cmp(&b))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Limits of one selection.
pub(super) struct Limits {
    /// Most weight of the whole block.
    pub(super) max_weight: u64,
    /// Least feerate of a package.
    pub(super) floor_sat_per_kvb: u64,
}

/// Picks transactions by the feerate of each with its unconfirmed ancestors, parents first.
pub(super) fn select(pool: &Pool, limits: &Limits) -> Vec<Txid> {
    let mut selection = Selection::new(pool);
    let mut weight = RESERVED_WEIGHT;
    let mut sigops = RESERVED_SIGOPS;
    while let Some((score, txid)) = selection.queue.pop_last() {
        if score.fee_sat < fee_at(limits.floor_sat_per_kvb, score.vsize) {
            break;
        }
        let package = selection.packages[&txid].clone();
        let entries = || {
            package
                .iter()
                .map(|t| pool.entry(t).expect("ancestors are in the pool"))
        };
        let (more, more_sigops) = (
            entries().map(|e| e.weight).sum::<u64>(),
            entries().map(|e| e.sigops).sum::<usize>(),
        );
        if weight + more <= limits.max_weight && sigops + more_sigops <= MAX_BLOCK_SIGOP_COST {
            weight += more;
            sigops += more_sigops;
            selection.take(&package);
        }
    }
    selection.chosen
}

struct Selection<'a> {
    pool: &'a Pool,
    queue: BTreeSet<(Score, Txid)>,
    /// For each transaction not chosen: itself and its ancestors not chosen.
    packages: BTreeMap<Txid, BTreeSet<Txid>>,
    chosen: Vec<Txid>,
}

impl<'a> Selection<'a> {
    fn new(pool: &'a Pool) -> Self {
        let packages: BTreeMap<Txid, BTreeSet<Txid>> =
            pool.txids().map(|t| (t, pool.ancestors_with(&t))).collect();
        let queue = packages.iter().map(|(t, p)| (score(pool, p), *t)).collect();
        Self {
            pool,
            queue,
            packages,
            chosen: Vec::new(),
        }
    }

    fn take(&mut self, package: &BTreeSet<Txid>) {
        self.chosen.extend(self.pool.parents_first(package));
        let touched: BTreeSet<Txid> = package
            .iter()
            .flat_map(|t| self.pool.descendants_with(t))
            .collect();
        for txid in &touched {
            let Some(old) = self.packages.remove(txid) else {
                continue;
            };
            let was_queued = self.queue.remove(&(score(self.pool, &old), *txid));
            if package.contains(txid) {
                continue;
            }
            let left: BTreeSet<Txid> = old.difference(package).copied().collect();
            // A package that did not fit may fit now that part of it is in.
            let changed = left.len() != old.len();
            if was_queued || changed {
                self.queue.insert((score(self.pool, &left), *txid));
            }
            self.packages.insert(*txid, left);
        }
    }
}

fn score(pool: &Pool, package: &BTreeSet<Txid>) -> Score {
    let entries = package.iter().filter_map(|t| pool.entry(t));
    entries.fold(
        Score {
            fee_sat: 0,
            vsize: 0,
        },
        |sum, e| Score {
            fee_sat: sum.fee_sat + e.fee_sat,
            vsize: sum.vsize + e.vsize,
        },
    )
}
