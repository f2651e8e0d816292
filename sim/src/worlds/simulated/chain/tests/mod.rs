//! Tests of the simulated chain: each rule with the case it refuses and its legal neighbour, and random traffic.
//!
//! Owns the test bench: a chain with spendable coins and a clock that only the test moves.

mod blocks;
mod mempool;
mod random;
mod wallet;

use bitcoin::{Amount, Block, OutPoint, Sequence, Transaction, TxOut, Txid, absolute};

use self::wallet::Key;
use super::{Chain, MAX_BLOCK_WEIGHT, MineRequest, Policy};

/// Some time after regtest's genesis block.
const START: u32 = 1_700_000_000;

struct Bench {
    chain: Chain,
    now: u32,
    key: Key,
}

impl Bench {
    /// A chain of `blocks` empty blocks that pay the key, ten minutes apart.
    fn new(blocks: u32, policy: Policy) -> Self {
        let mut bench = Self {
            chain: Chain::new(policy),
            now: START,
            key: Key::new(1),
        };
        for _ in 0..blocks {
            bench.mine();
        }
        bench
    }

    /// Ten spendable coinbases.
    fn funded() -> Self {
        Self::new(110, Policy::default())
    }

    fn request(&self, salt: u64) -> MineRequest {
        MineRequest {
            time: self.now,
            payout_script: self.key.script(),
            max_weight: MAX_BLOCK_WEIGHT,
            salt,
        }
    }

    fn mine(&mut self) -> Block {
        self.now += 600;
        self.chain.mine(&self.request(0)).expect("a valid block")
    }

    /// The coinbase output of a height.
    fn coin(&self, height: u32) -> (OutPoint, TxOut) {
        let coinbase = self.chain.block_at(height).expect("mined").txdata[0].clone();
        first_output(&coinbase)
    }

    /// One input, one output back to the key.
    fn pay(&self, coin: (OutPoint, TxOut), fee_sat: u64) -> Transaction {
        self.pay_with(coin, fee_sat, Sequence::ENABLE_RBF_NO_LOCKTIME, 0)
    }

    fn pay_with(
        &self,
        coin: (OutPoint, TxOut),
        fee_sat: u64,
        sequence: Sequence,
        lock: u32,
    ) -> Transaction {
        let out = TxOut {
            value: coin.1.value - Amount::from_sat(fee_sat),
            script_pubkey: self.key.script(),
        };
        let mut tx = wallet::unsigned(&[coin.0], vec![out]);
        tx.lock_time = absolute::LockTime::from_consensus(lock);
        tx.input[0].sequence = sequence;
        self.key.sign(&mut tx, &[coin.1]);
        tx
    }

    /// One input, `count` equal outputs back to the key.
    fn fan_out(&self, coin: (OutPoint, TxOut), count: u64, fee_sat: u64) -> Transaction {
        let value = Amount::from_sat((coin.1.value.to_sat() - fee_sat) / count);
        let outs = (0..count)
            .map(|_| TxOut {
                value,
                script_pubkey: self.key.script(),
            })
            .collect();
        let mut tx = wallet::unsigned(&[coin.0], outs);
        self.key.sign(&mut tx, &[coin.1]);
        tx
    }

    fn submit(&mut self, tx: &Transaction) -> Result<Vec<Txid>, String> {
        let accepted = self.chain.submit_transaction(tx, self.now);
        accepted.map(|a| a.replaced).map_err(|e| e.to_string())
    }
}

fn output(tx: &Transaction, vout: u32) -> (OutPoint, TxOut) {
    (
        OutPoint {
            txid: tx.compute_txid(),
            vout,
        },
        tx.output[vout as usize].clone(),
    )
}

fn first_output(tx: &Transaction) -> (OutPoint, TxOut) {
    output(tx, 0)
}
