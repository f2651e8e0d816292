//! The set of unspent outputs and its total.
//!
//! Owns adding and removing coins with undo data. Does not own any rule on who may spend them.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Transaction, TxOut, Txid};

/// Scripts above this size can never be satisfied, so their outputs are not coins.
const MAX_SCRIPT_BYTES: usize = 10_000;

/// One unspent output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coin {
    /// Value and script.
    pub out: TxOut,
    /// Height of the block that created it; for an unconfirmed output, of the next block.
    pub height: u32,
    /// Whether a coinbase created it.
    pub coinbase: bool,
}

/// All unspent outputs of the best chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coins {
    map: BTreeMap<OutPoint, Coin>,
    total_sat: u64,
}

/// Whether an output can never be spent, so that it leaves the supply for good.
pub(super) fn is_unspendable(out: &TxOut) -> bool {
    out.script_pubkey.is_op_return() || out.script_pubkey.len() > MAX_SCRIPT_BYTES
}

impl Coins {
    pub(super) fn get(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.map.get(outpoint)
    }

    pub(super) fn total_sat(&self) -> u64 {
        self.total_sat
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether any output of `txid` is unspent.
    pub(super) fn has_outputs_of(&self, txid: Txid) -> bool {
        let range = OutPoint { txid, vout: 0 }..=OutPoint {
            txid,
            vout: u32::MAX,
        };
        self.map.range(range).next().is_some()
    }

    /// Removes a coin and returns it.
    pub(super) fn spend(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        let coin = self.map.remove(outpoint)?;
        self.total_sat -= coin.out.value.to_sat();
        Some(coin)
    }

    /// Puts a spent coin back.
    pub(super) fn restore(&mut self, outpoint: OutPoint, coin: Coin) {
        self.total_sat += coin.out.value.to_sat();
        let old = self.map.insert(outpoint, coin);
        assert!(old.is_none(), "a coin is restored only once");
    }

    /// Adds the outputs of a transaction that confirms at `height`.
    pub(super) fn add_outputs(&mut self, tx: &Transaction, txid: Txid, height: u32) {
        let coinbase = tx.is_coinbase();
        for (vout, out) in (0_u32..).zip(&tx.output) {
            if !is_unspendable(out) {
                self.restore(
                    OutPoint { txid, vout },
                    Coin {
                        out: out.clone(),
                        height,
                        coinbase,
                    },
                );
            }
        }
    }

    /// Takes the outputs of a disconnected transaction away again.
    pub(super) fn remove_outputs(&mut self, tx: &Transaction, txid: Txid) {
        for (vout, out) in (0_u32..).zip(&tx.output) {
            if !is_unspendable(out) {
                let coin = self.spend(&OutPoint { txid, vout });
                assert!(coin.is_some(), "blocks are disconnected from the tip only");
            }
        }
    }
}
