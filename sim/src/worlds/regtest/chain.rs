//! Owns the questions to bitcoind and electrs: blocks, mempool, mining, reorgs, and whether electrs has seen it all.
//! Does not own the servers' processes (`servers`) nor waiting (`rest`).

use super::servers::Servers;
use crate::worlds::keys::NETWORK;
use crate::worlds::{Reorg, WorldError};
use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Address, Block, BlockHash, ScriptBuf, Transaction, Txid};
use electrsd::electrum_client::ElectrumApi;
use lockstep_engine::rail::BlockId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

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

/// Why electrs told nothing.
enum NoAnswer {
    /// It did not answer within its client's patience.
    Slow,
    /// It cannot be asked.
    Failed(WorldError),
}

impl From<WorldError> for NoAnswer {
    fn from(error: WorldError) -> NoAnswer {
        NoAnswer::Failed(error)
    }
}

impl Servers {
    fn call(&self, method: &str, params: &[Value]) -> Result<Value, String> {
        self.bitcoind
            .client
            .call::<Value>(method, params)
            .map_err(|error| error.to_string())
    }

    fn ask(&self, method: &str, params: &[Value]) -> Result<Value, WorldError> {
        self.call(method, params)
            .map_err(|error| self.bitcoind_failed(method, error))
    }

    /// Sets bitcoind's clock.
    pub(super) fn set_time(&self, secs: u64) -> Result<(), WorldError> {
        self.ask("setmocktime", &[json!(secs)]).map(drop)
    }

    /// bitcoind's tip.
    pub(super) fn tip(&self) -> Result<BlockId, WorldError> {
        let info = self.ask("getblockchaininfo", &[])?;
        let height = read(&info["blocks"], |value| {
            value.as_u64().and_then(|height| u32::try_from(height).ok())
        })?;
        let hash = read(&info["bestblockhash"], |value| value.as_str()?.parse().ok())?;
        Ok(BlockId { height, hash })
    }

    fn hash_at(&self, height: u32) -> Result<BlockHash, WorldError> {
        let answer = self.ask("getblockhash", &[json!(height)])?;
        read(&answer, |value| value.as_str()?.parse().ok())
    }

    /// The best chain's block at a height.
    pub(super) fn block(&self, height: u32) -> Result<Block, WorldError> {
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

    fn transaction(&self, txid: &Txid) -> Result<Transaction, WorldError> {
        let answer = self.ask("getrawtransaction", &[json!(txid.to_string())])?;
        read(&answer, |value| deserialize_hex(value.as_str()?).ok())
    }

    /// Unconfirmed transactions, parents first.
    pub(super) fn mempool(&self) -> Result<Vec<Transaction>, WorldError> {
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

    /// Gives blocks up and mines others in their place.
    pub(super) fn reorg(
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

    /// What electrs does not show yet of what bitcoind has; asks it to look. One that is slow to answer is asked again.
    pub(super) fn electrs_lacks(
        &self,
        sight: &Sight,
        known: &mut BTreeSet<Txid>,
    ) -> Result<Vec<String>, WorldError> {
        match self.electrs_shows(sight, known) {
            Ok(lacks) => Ok(lacks),
            Err(NoAnswer::Slow) => Ok(vec!["electrs to answer".to_owned()]),
            Err(NoAnswer::Failed(error)) => Err(error),
        }
    }

    fn no_answer(&self, error: electrsd::electrum_client::Error) -> NoAnswer {
        match &error {
            electrsd::electrum_client::Error::IOError(cause)
                if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                NoAnswer::Slow
            }
            _ => NoAnswer::Failed(self.electrs_failed(error)),
        }
    }

    fn electrs_shows(
        &self,
        sight: &Sight,
        known: &mut BTreeSet<Txid>,
    ) -> Result<Vec<String>, NoAnswer> {
        let failed = |error| self.no_answer(error);
        let client = &self.electrs.client;
        while client.block_headers_pop().map_err(failed)?.is_some() {}
        let tip = client.block_headers_subscribe().map_err(failed)?;
        let mut lacks = Vec::new();
        if tip.height as u64 != u64::from(sight.tip.height)
            || tip.header.block_hash() != sight.tip.hash
        {
            lacks.push(format!("electrs to see block {}", sight.tip.height));
        } else if !self.same_mempool(sight, known)? {
            lacks.push("electrs to see the mempool".to_owned());
        }
        if !lacks.is_empty() {
            self.wake_electrs()?;
        }
        Ok(lacks)
    }

    /// The same total size, and every transaction in the history of one of its outputs.
    fn same_mempool(&self, sight: &Sight, known: &mut BTreeSet<Txid>) -> Result<bool, NoAnswer> {
        let failed = |error| self.no_answer(error);
        let info = self.ask("getmempoolinfo", &[])?;
        let histogram = self
            .electrs
            .client
            .raw_call("mempool.get_fee_histogram", [])
            .map_err(failed)?;
        let sizes = histogram
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|bin| bin[1].as_u64());
        if info["bytes"].as_u64() != Some(sizes.sum()) {
            return Ok(false);
        }
        known.retain(|txid| sight.mempool.contains(txid));
        for txid in &sight.mempool {
            if known.contains(txid) {
                continue;
            }
            let transaction = self.transaction(txid)?;
            let spendable = transaction
                .output
                .iter()
                .find(|output| !output.script_pubkey.is_op_return());
            if let Some(output) = spendable {
                let history = self
                    .electrs
                    .client
                    .script_get_history(&output.script_pubkey)
                    .map_err(failed)?;
                if !history.iter().any(|item| item.tx_hash == *txid) {
                    return Ok(false);
                }
            }
            known.insert(*txid);
        }
        Ok(true)
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
