//! Rules of blocks, and connecting one to the coins.
//!
//! Owns validation of a block in its place and the change it makes to the coins, all or nothing. Does not own which
//! branch is best (`chain` state in `mod.rs`) nor what the mempool does about it.

use bitcoin::hashes::Hash;
use bitcoin::{Block, CompactTarget, Transaction, Txid};

use super::coins::{Coin, Coins};
use super::locks::{is_bip68_final, is_final};
use super::policy::{MAX_BLOCK_SIGOP_COST, MAX_BLOCK_WEIGHT, MAX_FUTURE_SECONDS, subsidy_sat};
use super::reject::{BlockReject, TxReject};
use super::script::ScriptVerifier;
use super::transaction_rules::{check_form, check_inputs, output_sat, sigop_cost};
use super::tree::{Tree, Undo};

/// The target of every regtest block: regtest never retargets.
pub(super) const REGTEST_BITS: u32 = 0x207f_ffff;
const WITNESS_COMMITMENT_HEADER: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Header rules, given the parent, which the tree must know.
pub(super) fn check_header(block: &Block, tree: &Tree, now: u32) -> Result<(), BlockReject> {
    let header = &block.header;
    if header.bits != CompactTarget::from_consensus(REGTEST_BITS) {
        return Err(BlockReject::BadBits);
    }
    if header.validate_pow(header.target()).is_err() {
        return Err(BlockReject::HighHash);
    }
    let median = tree.median_time_past(header.prev_blockhash);
    if header.time <= median {
        return Err(BlockReject::TimeTooOld { median });
    }
    if header.time > now.saturating_add(MAX_FUTURE_SECONDS) {
        return Err(BlockReject::TimeTooNew);
    }
    let version = header.version.to_consensus();
    if version < 4 {
        return Err(BlockReject::BadVersion { version });
    }
    Ok(())
}

/// Rules of the body that need no coins.
pub(super) fn check_body(block: &Block, tree: &Tree) -> Result<(), BlockReject> {
    check_merkle(block)?;
    let stripped: usize = block.txdata.iter().map(Transaction::base_size).sum();
    if block.txdata.is_empty() || (stripped as u64).saturating_mul(4) > MAX_BLOCK_WEIGHT {
        return Err(BlockReject::Length);
    }
    if !block.txdata[0].is_coinbase() {
        return Err(BlockReject::NoCoinbase);
    }
    if block.txdata[1..].iter().any(Transaction::is_coinbase) {
        return Err(BlockReject::ManyCoinbases);
    }
    for tx in &block.txdata {
        check_form(tx).map_err(|cause| BlockReject::Transaction {
            txid: tx.compute_txid(),
            cause,
        })?;
    }
    check_in_place(block, tree)
}

fn check_merkle(block: &Block) -> Result<(), BlockReject> {
    // Checked before the rest, as Core does, because a mutated block says nothing about the header it hides behind.
    if !block.txdata.is_empty() && !block.check_merkle_root() {
        return Err(BlockReject::MerkleRoot);
    }
    let mut level: Vec<[u8; 32]> = block
        .txdata
        .iter()
        .map(|t| t.compute_txid().to_byte_array())
        .collect();
    while level.len() > 1 {
        // CVE-2012-2459: equal neighbours give the same root as a list where the last was doubled.
        if level.chunks_exact(2).any(|pair| pair[0] == pair[1]) {
            return Err(BlockReject::DuplicateTransactions);
        }
        level = level.chunks(2).map(hash_pair).collect();
    }
    Ok(())
}

fn hash_pair(pair: &[[u8; 32]]) -> [u8; 32] {
    let (left, right) = (pair[0], pair[pair.len() - 1]);
    bitcoin::hashes::sha256d::Hash::hash(&[left, right].concat()).to_byte_array()
}

fn check_in_place(block: &Block, tree: &Tree) -> Result<(), BlockReject> {
    let parent = block.header.prev_blockhash;
    let height = tree.get(&parent).map_or(0, |r| r.height) + 1;
    let median = tree.median_time_past(parent);
    for tx in &block.txdata {
        if !is_final(tx, height, median) {
            return Err(BlockReject::NonFinal {
                txid: tx.compute_txid(),
            });
        }
    }
    let script = &block.txdata[0].input[0].script_sig;
    if !script
        .as_bytes()
        .starts_with(height_script(height).as_bytes())
    {
        return Err(BlockReject::CoinbaseHeight);
    }
    check_witness(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err(BlockReject::Weight);
    }
    Ok(())
}

/// The first bytes of a coinbase script (BIP 34).
pub(super) fn height_script(height: u32) -> bitcoin::ScriptBuf {
    bitcoin::script::Builder::new()
        .push_int(i64::from(height))
        .into_script()
}

fn check_witness(block: &Block) -> Result<(), BlockReject> {
    let committed = block.txdata[0].output.iter().any(|o| {
        let bytes = o.script_pubkey.as_bytes();
        bytes.len() >= 38 && bytes.starts_with(&WITNESS_COMMITMENT_HEADER)
    });
    if !committed {
        let has_witness = block
            .txdata
            .iter()
            .any(|t| t.input.iter().any(|i| !i.witness.is_empty()));
        return if has_witness {
            Err(BlockReject::UnexpectedWitness)
        } else {
            Ok(())
        };
    }
    let witness = &block.txdata[0].input[0].witness;
    if witness.len() != 1 || witness.nth(0).is_none_or(|nonce| nonce.len() != 32) {
        return Err(BlockReject::WitnessNonce);
    }
    if block.check_witness_commitment() {
        Ok(())
    } else {
        Err(BlockReject::WitnessCommitment)
    }
}

/// Where and with which knowledge a block is connected.
pub(super) struct Connection<'a> {
    /// Height of the block.
    pub(super) height: u32,
    /// The tree, whose best chain ends in the parent.
    pub(super) tree: &'a Tree,
    pub(super) scripts: &'a ScriptVerifier,
    /// Whether the scripts of exactly this transaction, witness included, were verified before.
    pub(super) is_verified: &'a dyn Fn(&Transaction) -> bool,
}

/// Connects a block to the coins of its parent, or leaves the coins as they were.
pub(super) fn connect(
    block: &Block,
    coins: &mut Coins,
    on: &Connection<'_>,
) -> Result<Undo, BlockReject> {
    let mut undo = Undo::new();
    let result = connect_transactions(block, coins, on, &mut undo);
    match result {
        Ok(()) => Ok(undo),
        Err(reject) => {
            let done = undo.len();
            disconnect_prefix(block, coins, undo, done);
            Err(reject)
        }
    }
}

fn connect_transactions(
    block: &Block,
    coins: &mut Coins,
    on: &Connection<'_>,
    undo: &mut Undo,
) -> Result<(), BlockReject> {
    let mut sigops = sigop_cost(&block.txdata[0], &[]);
    let mut fees_sat = 0;
    for tx in &block.txdata[1..] {
        let txid = tx.compute_txid();
        let spent = look_up(tx, coins).map_err(|cause| BlockReject::Transaction { txid, cause })?;
        fees_sat += check_inputs(tx, &spent, on.height)
            .map_err(|cause| BlockReject::Transaction { txid, cause })?;
        if !is_bip68_final(tx, &spent, on.height, &|h| on.tree.median_at(h)) {
            return Err(BlockReject::NonFinal { txid });
        }
        sigops += sigop_cost(tx, &spent);
        if sigops > MAX_BLOCK_SIGOP_COST {
            return Err(BlockReject::Sigops);
        }
        if !(on.is_verified)(tx) {
            on.scripts
                .verify(tx, &spent)
                .map_err(|input| BlockReject::Script { txid, input })?;
        }
        spend_inputs(tx, txid, coins, on.height);
        undo.push(spent);
    }
    let paid_sat = output_sat(&block.txdata[0]);
    let limit_sat = subsidy_sat(on.height) + fees_sat;
    if paid_sat > limit_sat {
        return Err(BlockReject::CoinbaseAmount {
            paid_sat,
            limit_sat,
        });
    }
    coins.add_outputs(&block.txdata[0], block.txdata[0].compute_txid(), on.height);
    Ok(())
}

fn look_up(tx: &Transaction, coins: &Coins) -> Result<Vec<Coin>, TxReject> {
    let coin = |outpoint| {
        coins.get(outpoint).cloned().ok_or(TxReject::MissingInputs {
            outpoint: *outpoint,
        })
    };
    tx.input.iter().map(|i| coin(&i.previous_output)).collect()
}

fn spend_inputs(tx: &Transaction, txid: Txid, coins: &mut Coins, height: u32) {
    for input in &tx.input {
        let coin = coins.spend(&input.previous_output);
        assert!(coin.is_some(), "looked up just before; inputs are distinct");
    }
    coins.add_outputs(tx, txid, height);
}

/// Takes a whole connected block back.
pub(super) fn disconnect(block: &Block, coins: &mut Coins, undo: Undo) {
    coins.remove_outputs(&block.txdata[0], block.txdata[0].compute_txid());
    let all = undo.len();
    disconnect_prefix(block, coins, undo, all);
}

/// Takes the first `count` transactions after the coinbase back, last first.
fn disconnect_prefix(block: &Block, coins: &mut Coins, undo: Undo, count: usize) {
    for (tx, spent) in block.txdata[1..=count].iter().zip(undo).rev() {
        coins.remove_outputs(tx, tx.compute_txid());
        for (input, coin) in tx.input.iter().zip(spent) {
            coins.restore(input.previous_output, coin);
        }
    }
}
