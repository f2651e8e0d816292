//! Owns the questions to bitcoind: blocks, mempool, mining, reorgs. While it is away what it showed last is shown, and
//! everything else is refused (`bitcoind_process`). Does not own the servers' processes (`servers`), the questions to electrs
//! (`electrs_questions`) nor waiting (`rest`).

use super::servers::Servers;
use crate::worlds::keys::NETWORK;
use crate::worlds::{Reorg, WorldError};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Address, Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use lockstep_engine::rail::BlockId;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// How often a reorg's first block is tried with another time, if it turns out equal to one that was given up.
const REORG_ATTEMPTS: u64 = 5;

/// What the world waits for everybody to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// The tip.
    pub(super) tip: BlockId,
    /// Everything unconfirmed.
    pub(super) mempool: BTreeSet<Txid>,
}

/// A transaction in bitcoind's mempool.
struct Waiting {
    fee_sat: u64,
    weight: u64,
    ancestors: u64,
    depends: Vec<Txid>,
}

impl Servers {
    fn call(&self, method: &str, params: &[Value]) -> Result<Value, String> {
        if self.bitcoind_is_away() {
            return Err("bitcoind is paused or dead".to_owned());
        }
        self.bitcoind
            .client
            .call::<Value>(method, params)
            .map_err(|error| error.to_string())
    }

    /// Asks bitcoind.
    pub(super) fn ask(&self, method: &str, params: &[Value]) -> Result<Value, WorldError> {
        self.call(method, params)
            .map_err(|error| self.bitcoind_failed(method, error))
    }

    /// The time that bitcoind has, or will have when it is back.
    pub(super) fn time_secs(&self) -> u64 {
        self.time_secs.load(Ordering::SeqCst)
    }

    /// Sets bitcoind's clock, now or when it is back.
    pub(super) fn set_time(&self, secs: u64) -> Result<(), WorldError> {
        self.time_secs.store(secs, Ordering::SeqCst);
        if self.bitcoind_is_away() {
            return Ok(());
        }
        self.ask("setmocktime", &[json!(secs)]).map(drop)
    }

    /// bitcoind's tip.
    pub(super) fn tip(&self) -> Result<BlockId, WorldError> {
        if let Some(frozen) = &self.frozen {
            return Ok(frozen.sight.tip);
        }
        let info = self.ask("getblockchaininfo", &[])?;
        let height = read(&info["blocks"], |value| {
            value.as_u64().and_then(|height| u32::try_from(height).ok())
        })?;
        let hash = read(&info["bestblockhash"], |value| value.as_str()?.parse().ok())?;
        Ok(BlockId { height, hash })
    }

    /// Hash of the best chain's block at a height.
    pub(super) fn hash_at(&self, height: u32) -> Result<BlockHash, WorldError> {
        let answer = self.ask("getblockhash", &[json!(height)])?;
        read(&answer, |value| value.as_str()?.parse().ok())
    }

    /// The best chain's block at a height.
    pub(super) fn block(&self, height: u32) -> Result<Block, WorldError> {
        let kept = self.frozen.as_ref();
        if let Some(block) = kept.and_then(|frozen| frozen.blocks.get(height as usize)) {
            return Ok(block.clone());
        }
        let hash = self.hash_at(height)?;
        let answer = self.ask("getblock", &[json!(hash.to_string()), json!(0)])?;
        read(&answer, |value| deserialize_hex(value.as_str()?).ok())
    }

    fn waiting(&self) -> Result<BTreeMap<Txid, Waiting>, WorldError> {
        let answer = self.ask("getrawmempool", &[json!(true)])?;
        let entries = read(&answer, |value| value.as_object().cloned())?;
        let entry = |(txid, entry): (&String, &Value)| {
            let depends = entry["depends"]
                .as_array()?
                .iter()
                .filter_map(|parent| parent.as_str()?.parse().ok())
                .collect();
            let fee = bitcoin::Amount::from_btc(entry["fees"]["base"].as_f64()?).ok()?;
            let (weight, ancestors) = (entry["weight"].as_u64()?, entry["ancestorcount"].as_u64()?);
            Some((
                txid.parse().ok()?,
                Waiting {
                    fee_sat: fee.to_sat(),
                    weight,
                    ancestors,
                    depends,
                },
            ))
        };
        let parsed: Option<BTreeMap<Txid, Waiting>> = entries.iter().map(entry).collect();
        parsed.ok_or_else(|| {
            WorldError::harness(
                "read bitcoind's mempool",
                "an entry has another shape than expected",
            )
        })
    }

    /// Tip and mempool.
    pub(super) fn sight(&self) -> Result<Sight, WorldError> {
        if let Some(frozen) = &self.frozen {
            return Ok(frozen.sight.clone());
        }
        let answer = self.ask("getrawmempool", &[])?;
        let mempool = read(&answer, |value| {
            value
                .as_array()?
                .iter()
                .map(|txid| txid.as_str()?.parse().ok())
                .collect::<Option<BTreeSet<Txid>>>()
        })?;
        Ok(Sight {
            tip: self.tip()?,
            mempool,
        })
    }

    /// Whether something spends an output, in a block or in the mempool.
    pub(super) fn is_spent(&self, output: &OutPoint) -> Result<bool, WorldError> {
        let of = [
            json!(output.txid.to_string()),
            json!(output.vout),
            json!(true),
        ];
        Ok(self.ask("gettxout", &of)?.is_null())
    }

    /// An unconfirmed transaction.
    pub(super) fn transaction(&self, txid: &Txid) -> Result<Transaction, WorldError> {
        let answer = self.ask("getrawtransaction", &[json!(txid.to_string())])?;
        read(&answer, |value| deserialize_hex(value.as_str()?).ok())
    }

    /// Unconfirmed transactions, parents first.
    pub(super) fn mempool(&self) -> Result<Vec<Transaction>, WorldError> {
        if let Some(frozen) = &self.frozen {
            return Ok(frozen.mempool.clone());
        }
        let waiting = self.waiting()?;
        let mut order: Vec<(u64, Txid)> = waiting
            .iter()
            .map(|(txid, entry)| (entry.ancestors, *txid))
            .collect();
        order.sort();
        order
            .iter()
            .map(|(_, txid)| self.transaction(txid))
            .collect()
    }

    /// Mines blocks from the mempool; with a fee floor (satoshi per 1,000 weight units) only what pays it.
    pub(super) fn mine(
        &self,
        blocks: u32,
        payout: &ScriptBuf,
        floor: u64,
    ) -> Result<(), WorldError> {
        let address = payout_address(payout)?;
        if floor == 0 {
            return self
                .ask("generatetoaddress", &[json!(blocks), json!(address)])
                .map(drop);
        }
        for _ in 0..blocks {
            let chosen: Vec<String> = choose(&self.waiting()?, floor)
                .iter()
                .map(ToString::to_string)
                .collect();
            self.ask("generateblock", &[json!(address), json!(chosen)])?;
        }
        Ok(())
    }

    /// How many unconfirmed transactions a fee floor leaves to be mined.
    pub(super) fn payable(&self, floor: u64) -> Result<usize, WorldError> {
        Ok(choose(&self.waiting()?, floor).len())
    }

    /// Mines blocks that hold nothing but their coinbase.
    pub(super) fn mine_empty(&self, blocks: u32, payout: &ScriptBuf) -> Result<(), WorldError> {
        let address = payout_address(payout)?;
        for _ in 0..blocks {
            self.ask("generateblock", &[json!(address), json!([])])?;
        }
        Ok(())
    }

    /// Gives blocks up and mines others in their place. electrs stands still meanwhile: what bitcoind has in between is
    /// nothing that a network of nodes ever shows.
    pub(super) fn reorg(
        &self,
        reorg: &Reorg,
        payout: &ScriptBuf,
        now_secs: u64,
    ) -> Result<(), WorldError> {
        let is_there = !self.electrs_is_away();
        if is_there {
            self.electrs_process.signal(Signal::SIGSTOP)?;
        }
        let replaced = self.replace_blocks(reorg, payout, now_secs);
        if is_there {
            self.electrs_process.signal(Signal::SIGCONT)?;
        }
        replaced
    }

    fn replace_blocks(
        &self,
        reorg: &Reorg,
        payout: &ScriptBuf,
        now_secs: u64,
    ) -> Result<(), WorldError> {
        let refused = |reason: String| WorldError::refused("the chain", "reorganise", reason);
        let tip = self.tip()?.height;
        let first = (tip + 1)
            .checked_sub(reorg.depth)
            .filter(|height| *height > 0);
        let first = first.ok_or_else(|| refused("the chain is not that long".to_owned()))?;
        let given_up = self.hash_at(first)?;
        let mut waiting_again = Vec::new();
        for height in first..=tip {
            waiting_again.extend(self.block(height)?.txdata.into_iter().skip(1));
        }
        self.call("invalidateblock", &[json!(given_up.to_string())])
            .map_err(refused)?;
        let address = payout_address(payout)?;
        let include: Vec<String> = reorg.include.iter().map(serialize_hex).collect();
        // Another time makes another block, even if all else is equal.
        let mut attempt = 1;
        let mut result = Ok(Value::Null);
        while attempt <= REORG_ATTEMPTS {
            self.set_time(now_secs + attempt)?;
            result = self.call("generateblock", &[json!(address), json!(include)]);
            attempt += if result.is_ok() { REORG_ATTEMPTS } else { 1 };
        }
        result.map_err(refused)?;
        for _ in 1..reorg.blocks {
            self.call("generateblock", &[json!(address), json!([])])
                .map_err(refused)?;
        }
        // `invalidateblock` drops from the mempool what is locked to a height above the fork. A node that changes branches
        // looks at lock times once, at the end. What is in the new blocks, or conflicts with them, is refused.
        for transaction in &waiting_again {
            let _ = self.call("sendrawtransaction", &[json!(serialize_hex(transaction))]);
        }
        self.set_time(now_secs)
    }

    /// Hands a transaction to bitcoind. One that it knows already is a success.
    pub(super) fn broadcast(&self, transaction: &Transaction) -> Result<Txid, WorldError> {
        let txid = transaction.compute_txid();
        match self.call("sendrawtransaction", &[json!(serialize_hex(transaction))]) {
            Ok(_) => Ok(txid),
            Err(_) if self.sight()?.mempool.contains(&txid) => Ok(txid),
            Err(word) => Err(WorldError::refused("the chain", "take a transaction", word)),
        }
    }

    /// Size of the mempool in virtual bytes.
    pub(super) fn mempool_bytes(&self) -> Result<Option<u64>, WorldError> {
        Ok(self.ask("getmempoolinfo", &[])?["bytes"].as_u64())
    }
}

fn read<T>(value: &Value, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, WorldError> {
    read(value).ok_or_else(|| {
        WorldError::harness(
            "read bitcoind's answer",
            format!("it has another shape than expected: {value}"),
        )
    })
}

fn payout_address(payout: &ScriptBuf) -> Result<String, WorldError> {
    let address = Address::from_script(payout, NETWORK)
        .map_err(|error| WorldError::harness("name the miner's address", error))?;
    Ok(address.to_string())
}

/// What pays the floor together with its unconfirmed ancestors, parents first.
fn choose(waiting: &BTreeMap<Txid, Waiting>, floor_sat_per_kwu: u64) -> Vec<Txid> {
    let mut chosen: BTreeSet<Txid> = BTreeSet::new();
    for txid in waiting.keys() {
        let family = family(waiting, *txid);
        let sum = |of: fn(&Waiting) -> u64| {
            family
                .iter()
                .filter_map(|member| waiting.get(member))
                .map(of)
                .sum::<u64>()
        };
        if sum(|entry| entry.fee_sat) * 1_000 >= floor_sat_per_kwu * sum(|entry| entry.weight) {
            chosen.extend(family);
        }
    }
    let mut order: Vec<(u64, Txid)> = chosen
        .into_iter()
        .filter_map(|txid| Some((waiting.get(&txid)?.ancestors, txid)))
        .collect();
    order.sort();
    order.into_iter().map(|(_, txid)| txid).collect()
}

/// A transaction and its unconfirmed ancestors.
fn family(waiting: &BTreeMap<Txid, Waiting>, txid: Txid) -> BTreeSet<Txid> {
    let (mut family, mut open) = (BTreeSet::new(), vec![txid]);
    while let Some(next) = open.pop() {
        if family.insert(next) {
            open.extend(
                waiting
                    .get(&next)
                    .into_iter()
                    .flat_map(|entry| entry.depends.iter().copied()),
            );
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;

    fn txid(byte: u8) -> Txid {
        Txid::from_byte_array([byte; 32])
    }

    fn entry(fee_sat: u64, parents: &[u8]) -> Waiting {
        let depends = parents.iter().map(|parent| txid(*parent)).collect();
        Waiting {
            fee_sat,
            weight: 400,
            ancestors: 1 + parents.len() as u64,
            depends,
        }
    }

    #[test]
    fn a_child_pays_for_its_parent_and_comes_after_it() {
        // 400 weight units at 1,000 sat per 1,000: 400 sat each.
        let waiting = BTreeMap::from([
            (txid(9), entry(100, &[])),
            (txid(1), entry(700, &[9])),
            (txid(3), entry(399, &[])),
        ]);
        assert_eq!(choose(&waiting, 1_000), [txid(9), txid(1)]);
        assert_eq!(choose(&waiting, 1_001), []);
        assert_eq!(choose(&waiting, 1), [txid(3), txid(9), txid(1)]);
    }
}
