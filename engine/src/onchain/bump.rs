//! Owns the successors of a transaction that offers too little: the replacement that spends the same coins (RBF) and the
//! child that spends its change (CPFP). Does not own when one is wanted, nor what it may cost (`payments`).
//!
//! A replacement keeps to BIP 125 as Bitcoin Core applies it (versions up to 31; where they differ, to the strictest):
//! every transaction built here signals (rule 1); coins that it adds are confirmed (rule 2); it pays more than what it
//! takes the place of (rule 3), and for its own relay on top (rule 4); it takes the place of one transaction only (rule 5), as
//! one whose change another transaction of ours spends is never replaced; and its feerate is higher (Core's rule 6).
//! It keeps every coin of its predecessor, so each version conflicts with every other and exactly one can confirm.

use super::Onchain;
use super::build::{BuildRefused, Built, fee_of};
use super::draws::Draws;
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::Entropy;
use bdk_wallet::miniscript::psbt::PsbtExt;
use bdk_wallet::{KeychainKind, LocalOutput};
use bitcoin::{Amount, OutPoint, Psbt, ScriptBuf, Sequence, TxIn, TxOut, Txid};
use std::collections::BTreeSet;

/// What a replacement pays for its own relay, satoshi per 1,000 weight units: Bitcoin Core's default up to version 29;
/// later ones ask for a tenth.
const INCREMENTAL_SAT_PER_KWU: u64 = 250;

/// How much lighter than its bound a signature can turn out, in weight units (ECDSA with a low R: one byte).
const SLACK_WU_PER_INPUT: u64 = 4;

/// The most coins that a replacement adds: each makes it dearer.
const MOST_ADDED: usize = 3;

/// A transaction with its unconfirmed ancestors of ours: what a miner gets for all, and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Together.
    pub fee_sat: u64,
    /// Together, at most.
    pub weight_wu: u64,
}

impl Package {
    /// Whether it pays less than this feerate (satoshi per 1,000 weight units).
    pub fn is_below(&self, sat_per_kwu: u64) -> bool {
        self.lack(sat_per_kwu) > 0
    }

    /// What it pays less than this feerate asks, in satoshi.
    pub fn lack(&self, sat_per_kwu: u64) -> u64 {
        fee_at(sat_per_kwu, self.weight_wu).saturating_sub(self.fee_sat)
    }

    fn plus(self, other: Package) -> Package {
        Package {
            fee_sat: self.fee_sat.saturating_add(other.fee_sat),
            weight_wu: self.weight_wu.saturating_add(other.weight_wu),
        }
    }
}

/// What a successor shall pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BumpOrder {
    /// Of which transaction.
    pub txid: Txid,
    /// What it shall offer with its unconfirmed ancestors, satoshi per 1,000 weight units.
    pub feerate_sat_per_kwu: u64,
    /// The most that the successor's own fee may be.
    pub max_fee_sat: Sat,
    /// Base of the draws.
    pub entropy: Entropy,
}

/// Why there is no successor. The wallet is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BumpRefused {
    /// Nothing of that id stands.
    #[error("transaction {txid} is not one that was built here and still stands")]
    NotBuiltHere {
        /// Which.
        txid: Txid,
    },
    /// Nothing is to be bumped any more.
    #[error("transaction {txid} is confirmed")]
    Confirmed {
        /// Which.
        txid: Txid,
    },
    /// Several people have signed it, each of them once; they are not asked again for a dearer one.
    #[error("transaction {txid} was signed by several people, and is not bumped")]
    Cosigned {
        /// Which.
        txid: Txid,
    },
    /// Replacing it would take the ground from another payment of ours.
    #[error("transaction {by} of ours spends an output of {txid}")]
    Spent {
        /// Which.
        txid: Txid,
        /// By which.
        by: Txid,
    },
    /// It has no change that a child could spend, or people will not have it spent.
    #[error("transaction {txid} has no change to be spent")]
    NoChange {
        /// Which.
        txid: Txid,
    },
    /// The fee would be above the order's limit.
    #[error("the fee would be {fee_sat}, the limit is {max_fee_sat}")]
    OverBudget {
        /// What it would be.
        fee_sat: Sat,
        /// The limit.
        max_fee_sat: Sat,
    },
    /// There is no money for the higher fee.
    #[error("no confirmed coins are left for a fee of {fee_sat}")]
    NoCoins {
        /// The fee.
        fee_sat: Sat,
    },
    /// bdk's finding.
    #[error("{0}")]
    Unbuildable(#[from] BuildRefused),
}

/// Fee for a weight at a feerate, rounded up.
fn fee_at(sat_per_kwu: u64, weight_wu: u64) -> u64 {
    sat_per_kwu.saturating_mul(weight_wu).div_ceil(1_000)
}

/// A replacement as far as it is thought out.
struct Draft {
    psbt: Psbt,
    change: Option<usize>,
    fee_sat: u64,
    /// Whether the change script is a fresh one.
    fresh_change: Option<u32>,
}

impl Onchain {
    /// What a standing transaction offers now, with its unconfirmed ancestors of ours.
    pub fn package(&self, txid: Txid) -> Option<Package> {
        let mut seen = BTreeSet::new();
        self.package_of(txid, &mut seen)
    }

    fn package_of(&self, txid: Txid, seen: &mut BTreeSet<Txid>) -> Option<Package> {
        let built = self.built.get(&txid)?;
        if !seen.insert(txid) {
            return Some(Package::default());
        }
        let own = Package {
            fee_sat: built.fee_sat.0,
            weight_wu: built.weight_wu,
        };
        let parents: Vec<Txid> = built.inputs().map(|input| input.txid).collect();
        let unconfirmed = parents
            .into_iter()
            .filter(|parent| self.confirmations(*parent).unwrap_or(0) == 0);
        let above: Vec<Package> = unconfirmed
            .filter_map(|parent| self.package_of(parent, seen))
            .collect();
        Some(above.into_iter().fold(own, Package::plus))
    }

    /// Another transaction of ours that spends an output of this one and is not dead.
    fn spender(&self, txid: Txid) -> Option<Txid> {
        let mut all = self.built.iter();
        all.find(|(_, other)| other.inputs().any(|input| input.txid == txid))
            .map(|(spender, _)| *spender)
    }

    /// Builds the transaction that takes the place of one that stands.
    pub fn replace(&mut self, order: &BumpOrder) -> Result<Built, BumpRefused> {
        let txid = order.txid;
        let old = self
            .built
            .get(&txid)
            .ok_or(BumpRefused::NotBuiltHere { txid })?;
        if self.confirmations(txid).is_some_and(|depth| depth > 0)
            && self.planted != Some(Bug::BumpConfirmed)
        {
            return Err(BumpRefused::Confirmed { txid });
        }
        if let Some(by) = self.spender(txid) {
            return Err(BumpRefused::Spent { txid, by });
        }
        let alone = Package {
            fee_sat: old.fee_sat.0,
            weight_wu: old.weight_wu,
        };
        let all = self.package(txid).unwrap_or(alone);
        let ancestors = Package {
            fee_sat: all.fee_sat.saturating_sub(alone.fee_sat),
            weight_wu: all.weight_wu.saturating_sub(alone.weight_wu),
        };
        let (old_psbt, old_change) = (old.psbt.clone(), old.change);
        let draft = self.draft(order, (old_psbt, old_change), alone, ancestors)?;
        let fee_sat = Sat(draft.fee_sat);
        if fee_sat > order.max_fee_sat && self.planted != Some(Bug::BumpAboveBudget) {
            return Err(BumpRefused::OverBudget {
                fee_sat,
                max_fee_sat: order.max_fee_sat,
            });
        }
        if let Some(index) = draft.fresh_change {
            self.reveal_change(index);
        }
        Ok(self.keep(draft.psbt, fee_sat, draft.change, Some(txid)))
    }

    /// Takes the higher fee from the change; if that does not suffice, adds the largest confirmed coins one by one.
    fn draft(
        &self,
        order: &BumpOrder,
        (mut psbt, mut change): (Psbt, Option<usize>),
        old: Package,
        ancestors: Package,
    ) -> Result<Draft, BumpRefused> {
        let mut paid = old.fee_sat;
        let mut coins = self.addable();
        let mut fresh_change = None;
        for _ in 0..=MOST_ADDED {
            let fee_sat = needed(order, old, ancestors, self.weight_of(&psbt), &psbt);
            let more = fee_sat.saturating_sub(paid);
            if let Some(draft) = take_from_change(&psbt, change, more, fee_sat) {
                return Ok(Draft {
                    fresh_change,
                    ..draft
                });
            }
            let Some(coin) = coins.pop() else {
                return Err(BumpRefused::NoCoins {
                    fee_sat: Sat(fee_sat),
                });
            };
            let value = coin.txout.value;
            self.add_coin(&mut psbt, coin)?;
            match change {
                Some(index) => {
                    let output = &mut psbt.unsigned_tx.output[index];
                    output.value = output.value.checked_add(value).unwrap_or(output.value);
                }
                None => {
                    let (index, script_pubkey) = self.next_change();
                    fresh_change = Some(index);
                    change = Some(psbt.unsigned_tx.output.len());
                    self.add_change(&mut psbt, index, script_pubkey, value)?;
                }
            }
            // All that was added lies in the change: what the miner gets is as before.
            paid = old.fee_sat;
        }
        Err(BumpRefused::NoCoins {
            fee_sat: order.max_fee_sat,
        })
    }

    /// Confirmed coins that nothing locks, the largest last. Coinbases are left alone: they may be immature.
    pub(super) fn addable(&self) -> Vec<LocalOutput> {
        let locked = self.unspendable();
        let is_coinbase = |txid: Txid| {
            let graph = self.wallet.tx_graph();
            graph.get_tx(txid).is_none_or(|tx| tx.is_coinbase())
        };
        let mut coins: Vec<LocalOutput> = self
            .wallet
            .list_unspent()
            .filter(|coin| coin.chain_position.is_confirmed() && !locked.contains(&coin.outpoint))
            .filter(|coin| !is_coinbase(coin.outpoint.txid))
            .collect();
        coins.sort_by_key(|coin| (coin.txout.value, coin.outpoint));
        coins
    }

    fn add_coin(&self, psbt: &mut Psbt, coin: LocalOutput) -> Result<(), BumpRefused> {
        let outpoint = coin.outpoint;
        let input = self.wallet.get_psbt_input(coin, None, false);
        let input = input.map_err(|error| BuildRefused::Unbuildable {
            cause: error.to_string(),
        })?;
        psbt.inputs.push(input);
        psbt.unsigned_tx.input.push(TxIn {
            previous_output: outpoint,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            ..TxIn::default()
        });
        Ok(())
    }

    fn add_change(
        &self,
        psbt: &mut Psbt,
        index: u32,
        script_pubkey: ScriptBuf,
        value: Amount,
    ) -> Result<(), BumpRefused> {
        let place = psbt.unsigned_tx.output.len();
        psbt.unsigned_tx.output.push(TxOut {
            value,
            script_pubkey,
        });
        psbt.outputs.push(bitcoin::psbt::Output::default());
        let unbuildable = |cause: String| BuildRefused::Unbuildable { cause };
        let descriptor = self.wallet.public_descriptor(KeychainKind::Internal);
        let derived = descriptor
            .at_derivation_index(index)
            .map_err(|error| unbuildable(error.to_string()))?;
        psbt.update_output_with_descriptor(place, &derived)
            .map_err(|error| unbuildable(error.to_string()))?;
        Ok(())
    }

    /// Builds a transaction that spends the change of one that stands and pays for both.
    pub fn child(&mut self, order: &BumpOrder) -> Result<Built, BumpRefused> {
        let txid = order.txid;
        let parent = self
            .built
            .get(&txid)
            .ok_or(BumpRefused::NotBuiltHere { txid })?;
        if self.confirmations(txid).is_some_and(|depth| depth > 0) {
            return Err(BumpRefused::Confirmed { txid });
        }
        if let Some(by) = self.spender(txid) {
            return Err(BumpRefused::Spent { txid, by });
        }
        let vout = parent.change.and_then(|index| u32::try_from(index).ok());
        let coin = vout.map(|vout| OutPoint { txid, vout });
        let is_free =
            |coin: &OutPoint| self.wallet.get_utxo(*coin).is_some() && !self.frozen.contains(coin);
        let coin = coin.filter(is_free);
        let coin = coin.ok_or(BumpRefused::NoChange { txid })?;
        let package = self
            .package(txid)
            .ok_or(BumpRefused::NotBuiltHere { txid })?;
        let (index, script) = self.next_change();
        // The first one is only weighed.
        let weighed = self.spend_one(coin, script.clone(), 0, order.entropy)?;
        let weight_wu = self.weight_of(&weighed);
        let both = weight_wu.saturating_add(package.weight_wu);
        let fee_sat = fee_at(order.feerate_sat_per_kwu, both)
            .saturating_sub(package.fee_sat)
            // By itself it is at least relayed.
            .max(fee_at(INCREMENTAL_SAT_PER_KWU, weight_wu));
        let max_fee_sat = order.max_fee_sat;
        if Sat(fee_sat) > max_fee_sat && self.planted != Some(Bug::BumpAboveBudget) {
            return Err(BumpRefused::OverBudget {
                fee_sat: Sat(fee_sat),
                max_fee_sat,
            });
        }
        let psbt = self.spend_one(coin, script, fee_sat, order.entropy)?;
        let fee_sat = fee_of(&psbt)?;
        self.reveal_change(index);
        Ok(self.keep(psbt, fee_sat, Some(0), None))
    }

    fn spend_one(
        &mut self,
        coin: OutPoint,
        to: ScriptBuf,
        fee_sat: u64,
        entropy: Entropy,
    ) -> Result<Psbt, BumpRefused> {
        let unbuildable = |cause: String| BuildRefused::Unbuildable { cause };
        let mut builder = self.wallet.build_tx();
        builder
            .add_utxo(coin)
            .map_err(|error| unbuildable(error.to_string()))?;
        builder
            .manually_selected_only()
            .drain_to(to)
            .fee_absolute(Amount::from_sat(fee_sat));
        let psbt = builder.finish_with_aux_rand(&mut Draws::new(entropy));
        Ok(psbt.map_err(|error| unbuildable(error.to_string()))?)
    }

    /// What a PSBT weighs at most once it is signed: the longest satisfaction of each input of ours.
    pub(super) fn weight_of(&self, psbt: &Psbt) -> u64 {
        let satisfaction = |input: &bitcoin::psbt::Input| {
            let script = input.witness_utxo.as_ref().map(|o| o.script_pubkey.clone());
            let known = script.and_then(|script| self.wallet.derivation_of_spk(script));
            let keychain = known.map_or(KeychainKind::External, |(keychain, _)| keychain);
            let descriptor = self.wallet.public_descriptor(keychain);
            descriptor
                .max_weight_to_satisfy()
                .map_or(0, |weight| weight.to_wu())
        };
        let witnesses: u64 = psbt.inputs.iter().map(satisfaction).sum();
        let plain = psbt.unsigned_tx.weight().to_wu();
        // Marker and flag of BIP 144, and a count of witness items for each input.
        let frame = u64::try_from(psbt.inputs.len())
            .unwrap_or(u64::MAX)
            .saturating_add(2);
        plain.saturating_add(witnesses).saturating_add(frame)
    }
}

/// The least fee that reaches the feerate and satisfies rules 3, 4 and 6.
fn needed(order: &BumpOrder, old: Package, ancestors: Package, weight_wu: u64, psbt: &Psbt) -> u64 {
    let all = weight_wu.saturating_add(ancestors.weight_wu);
    let by_feerate = fee_at(order.feerate_sat_per_kwu, all).saturating_sub(ancestors.fee_sat);
    let by_relay = old
        .fee_sat
        .saturating_add(fee_at(INCREMENTAL_SAT_PER_KWU, weight_wu));
    let inputs = u64::try_from(psbt.inputs.len()).unwrap_or(u64::MAX);
    let slack = SLACK_WU_PER_INPUT.saturating_mul(inputs);
    let least_weight = old.weight_wu.saturating_sub(slack).max(1);
    let by_rate = old
        .fee_sat
        .saturating_mul(weight_wu)
        .checked_div(least_weight)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let by_rules = by_relay.max(by_rate);
    // What the budget does not reach is at least approached.
    by_rules.max(by_feerate.min(order.max_fee_sat.0))
}

/// The transaction with a smaller change, or with none if what is left would be dust.
fn take_from_change(psbt: &Psbt, change: Option<usize>, more: u64, fee_sat: u64) -> Option<Draft> {
    let index = change?;
    let output = psbt.unsigned_tx.output.get(index)?;
    let left = output.value.to_sat().checked_sub(more)?;
    let mut psbt = psbt.clone();
    let is_last = psbt.unsigned_tx.output.len() == 1;
    if left >= output.script_pubkey.minimal_non_dust().to_sat() {
        psbt.unsigned_tx.output[index].value = Amount::from_sat(left);
        return Some(Draft {
            psbt,
            change,
            fee_sat,
            fresh_change: None,
        });
    }
    if is_last {
        return None;
    }
    psbt.unsigned_tx.output.remove(index);
    psbt.outputs.remove(index);
    Some(Draft {
        psbt,
        change: None,
        fee_sat: fee_sat.saturating_add(left),
        fresh_change: None,
    })
}
