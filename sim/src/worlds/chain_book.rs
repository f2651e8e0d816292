//! Owns the harness's own view of the chain: every transaction of the best chain and the mempool, kept up to date
//! through the `World` trait, so that balances and names need no trust in the wallets under test.
//! Does not own coins' keys (`purse`).

use super::{World, WorldError};
use bitcoin::{Block, BlockHash, OutPoint, Script, Transaction, TxOut, Txid};
use std::collections::{BTreeMap, BTreeSet};

/// What changed between two settled points.
#[derive(Clone, Debug, Default)]
pub struct ChainChange {
    /// Heights whose blocks were given up, descending.
    pub disconnected: Vec<u32>,
    /// New blocks of the best chain, ascending, with their height.
    pub connected: Vec<(u32, Block)>,
    /// Transactions that entered the mempool and are still there.
    pub entered: Vec<Transaction>,
    /// Transactions that left the mempool without being mined.
    pub left: Vec<Txid>,
}

/// The best chain and the mempool as last seen.
#[derive(Default)]
pub struct ChainBook {
    blocks: BTreeMap<u32, Block>,
    mempool: BTreeMap<Txid, Transaction>,
    known: BTreeMap<Txid, Transaction>,
    told_blocks: BTreeMap<u32, BlockHash>,
    told_mempool: BTreeSet<Txid>,
}

impl ChainBook {
    /// Looks again.
    pub async fn refresh(&mut self, world: &mut impl World) -> Result<(), WorldError> {
        let tip = world.tip().await?;
        let mut fork = self.tip_height().unwrap_or(0).min(tip.height);
        while fork > 0 && self.hash(fork) != Some(world.block(fork).await?.block_hash()) {
            fork -= 1;
        }
        self.blocks.split_off(&(fork + 1));
        for height in fork + 1..=tip.height {
            let block = world.block(height).await?;
            self.learn(&block.txdata);
            self.blocks.insert(height, block);
        }
        let mempool = world.mempool().await?;
        self.learn(&mempool);
        self.mempool = mempool
            .into_iter()
            .map(|transaction| (transaction.compute_txid(), transaction))
            .collect();
        Ok(())
    }

    fn learn(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.known
                .insert(transaction.compute_txid(), transaction.clone());
        }
    }

    /// What has changed since this was last asked, whatever was looked at in between.
    pub fn take_change(&mut self) -> ChainChange {
        let now: BTreeMap<u32, BlockHash> = self
            .blocks
            .iter()
            .map(|(height, block)| (*height, block.block_hash()))
            .collect();
        let given_up = |(height, hash): &(&u32, &BlockHash)| now.get(*height) != Some(*hash);
        let disconnected = self.told_blocks.iter().rev().filter(given_up);
        let is_new =
            |height: &u32, block: &Block| self.told_blocks.get(height) != Some(&block.block_hash());
        let connected: Vec<(u32, Block)> = self
            .blocks
            .iter()
            .filter(|(height, block)| is_new(height, block))
            .map(|(height, block)| (*height, block.clone()))
            .collect();
        let mined: BTreeSet<Txid> = connected
            .iter()
            .flat_map(|(_, block)| block.txdata.iter().map(Transaction::compute_txid))
            .collect();
        let left = self
            .told_mempool
            .iter()
            .filter(|txid| !self.mempool.contains_key(*txid) && !mined.contains(*txid));
        let entered = self
            .mempool
            .iter()
            .filter(|(txid, _)| !self.told_mempool.contains(*txid));
        let change = ChainChange {
            disconnected: disconnected.map(|(height, _)| *height).collect(),
            left: left.copied().collect(),
            entered: entered
                .map(|(_, transaction)| transaction.clone())
                .collect(),
            connected,
        };
        self.told_blocks = now;
        self.told_mempool = self.mempool.keys().copied().collect();
        change
    }

    fn hash(&self, height: u32) -> Option<BlockHash> {
        self.blocks.get(&height).map(Block::block_hash)
    }

    /// Height of the best chain, if anything was seen.
    pub fn tip_height(&self) -> Option<u32> {
        self.blocks.keys().next_back().copied()
    }

    /// The output behind an outpoint, from any transaction ever seen.
    pub fn output(&self, outpoint: &OutPoint) -> Option<&TxOut> {
        self.known
            .get(&outpoint.txid)?
            .output
            .get(outpoint.vout as usize)
    }

    /// Every transaction of the best chain and the mempool, chain first.
    pub fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.blocks
            .values()
            .flat_map(|block| &block.txdata)
            .chain(self.mempool.values())
    }

    /// Unspent outputs (mempool included) of scripts that `ours` accepts, with the height of those confirmed.
    pub fn unspent(
        &self,
        ours: impl Fn(&Script) -> bool,
    ) -> BTreeMap<OutPoint, (TxOut, Option<u32>)> {
        let mut unspent = BTreeMap::new();
        let confirmed = self
            .blocks
            .iter()
            .flat_map(|(height, block)| block.txdata.iter().map(|tx| (Some(*height), tx)));
        let all: Vec<_> = confirmed
            .chain(self.mempool.values().map(|tx| (None, tx)))
            .collect();
        for (height, transaction) in &all {
            let txid = transaction.compute_txid();
            for (vout, output) in transaction.output.iter().enumerate() {
                if ours(&output.script_pubkey) {
                    unspent.insert(OutPoint::new(txid, vout as u32), (output.clone(), *height));
                }
            }
        }
        for (_, transaction) in &all {
            for input in &transaction.input {
                unspent.remove(&input.previous_output);
            }
        }
        unspent
    }

    /// Depth of the deepest transaction that `wanted` accepts: 0 in the mempool, 1 in the tip.
    pub fn confirmations(&self, wanted: impl Fn(&Txid) -> bool) -> Option<u32> {
        let tip = self.tip_height()?;
        let wanted = &wanted;
        let holds = |block: &Block| {
            block
                .txdata
                .iter()
                .any(|transaction| wanted(&transaction.compute_txid()))
        };
        let confirmed = self
            .blocks
            .iter()
            .find(|(_, block)| holds(block))
            .map(|(height, _)| tip - height + 1);
        confirmed.or_else(|| self.mempool.keys().any(wanted).then_some(0))
    }

    /// All that blocks of the best chain have paid to a script, spent or not.
    pub fn confirmed_sat(&self, script: &Script) -> u64 {
        let transactions = self.blocks.values().flat_map(|block| &block.txdata);
        let outputs = transactions.flat_map(|transaction| &transaction.output);
        let to_it = outputs.filter(|output| output.script_pubkey.as_script() == script);
        to_it.map(|output| output.value.to_sat()).sum()
    }

    /// Fee of a transaction; `None` for a coinbase or unknown inputs.
    pub fn fee_sat(&self, transaction: &Transaction) -> Option<u64> {
        let spent: Option<u64> = transaction
            .input
            .iter()
            .map(|input| {
                self.output(&input.previous_output)
                    .map(|o| o.value.to_sat())
            })
            .sum();
        let paid: u64 = transaction
            .output
            .iter()
            .map(|output| output.value.to_sat())
            .sum();
        spent?.checked_sub(paid)
    }
}
