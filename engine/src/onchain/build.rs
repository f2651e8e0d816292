//! Owns the building of payouts: coin selection, change, locks on the coins of what was built, and the check of what a
//! signer gives back. Does not own signing or broadcasting.
//!
//! bdk marks a change script as used before it knows whether the coins suffice, and does not lock coins at all. So the
//! change script is named here and revealed only once the build has succeeded, and the inputs of everything built stay
//! locked here until the transaction is abandoned or buried.

use super::Onchain;
use super::draws::Draws;
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::Entropy;
use crate::rare::{Rare, sometimes};
use bdk_wallet::KeychainKind;
use bdk_wallet::coin_selection::{BranchAndBoundCoinSelection, LargestFirstCoinSelection};
use bdk_wallet::descriptor::Policy;
use bdk_wallet::error::CreateTxError;
use bdk_wallet::miniscript::psbt::PsbtExt;
use bitcoin::{Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Transaction, Txid};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// A built transaction this deep is forgotten. Coinbase maturity (consensus) is the depth to which nobody plans for a
/// reorganisation.
pub(super) const BURIED_CONFIRMATIONS: u32 = 100;

/// Of a descriptor with alternatives, the one that is used day by day.
pub(super) const MAIN_BRANCH: usize = 0;

/// The one that recovers coins (`custody`).
const RECOVERY_BRANCH: usize = 1;

/// bdk's words for which alternatives of a descriptor are used.
pub(super) type Path = BTreeMap<String, Vec<usize>>;
/// Somebody to be paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// Where.
    pub script: ScriptBuf,
    /// What he gets, in satoshi.
    pub amount_sat: Sat,
}

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOrder {
    /// Whom to pay.
    pub recipients: Vec<Recipient>,
    /// Satoshi per 1,000 weight units (BIP 141); 250 is 1 sat/vB.
    pub feerate_sat_per_kwu: u64,
    /// The most that the fee may be, in satoshi (a changeless transaction may cost more than its feerate).
    pub max_fee_sat: Sat,
    /// Unconfirmed coins of ours are spent only if confirmed ones do not suffice, and what their transactions lack of the
    /// feerate is paid on top. Otherwise they are coins like any other.
    pub confirmed_first: bool,
    /// The fee comes out of the amount of the one recipient: he gets so much less, and the wallet spends that amount exactly.
    pub fee_included: bool,
    /// Base of the draws (coin selection, order of inputs and outputs).
    pub entropy: Entropy,
}

/// Coins to be made fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsolidationOrder {
    /// Nothing is built for fewer.
    pub least: usize,
    /// No more in one transaction.
    pub most: usize,
    /// Satoshi per 1,000 weight units.
    pub feerate_sat_per_kwu: u64,
    /// Base of the draws.
    pub entropy: Entropy,
}

/// What spending a P2WPKH output weighs (BIP 141): 41 bytes of four units, and a witness of 108; P2TR is lighter.
const INPUT_WU: u64 = 272;

/// A transaction to be signed. Its inputs are locked until [`Onchain::abandon`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// BIP 174, base64, with all that a signer needs.
    pub psbt_base64: String,
    /// Its id. Signing cannot change it: every input is segwit.
    pub txid: Txid,
    /// What the miner gets, in satoshi.
    pub fee_sat: Sat,
    /// What all outputs but the change pay, in satoshi.
    pub pays_sat: Sat,
}

/// All coins that the second branch of the descriptors can spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepOrder {
    /// Where to.
    pub script: ScriptBuf,
    /// Satoshi per 1,000 weight units.
    pub feerate_sat_per_kwu: u64,
    /// Confirmations that a coin needs (BIP 68).
    pub after_blocks: u16,
    /// Base of the draws.
    pub entropy: Entropy,
}

/// Why nothing was built. The wallet is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildRefused {
    /// Nodes would not relay such a small output.
    #[error("{amount_sat} is below the dust limit of that script")]
    Dust {
        /// What was asked for.
        amount_sat: Sat,
    },
    /// Spendable coins do not cover amount and fee. Unconfirmed money of others and locked coins do not count.
    #[error("{needed_sat} are needed and {available_sat} can be spent")]
    InsufficientFunds {
        /// Amount and fee.
        needed_sat: Sat,
        /// Spendable now.
        available_sat: Sat,
    },
    /// The fee is above the order's limit.
    #[error("the fee would be {fee_sat}, the limit is {max_fee_sat}")]
    FeeTooHigh {
        /// What it would be.
        fee_sat: Sat,
        /// The limit.
        max_fee_sat: Sat,
    },
    /// What takes the place of a transaction that was given up is not seen yet; until then nothing else may leave.
    #[error("transaction {txid} was given up, and what takes its place is not seen yet")]
    MustWait {
        /// The one that was given up.
        txid: Txid,
    },
    /// Anything else that bdk finds (for instance a descriptor that needs a spending path).
    #[error("it cannot be built: {cause}")]
    Unbuildable {
        /// Its words.
        cause: String,
    },
}

/// Why a signer's PSBT is not the transaction that was built, complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinaliseRefused {
    /// Not a PSBT.
    #[error("that is not a PSBT: {cause}")]
    Unreadable {
        /// The parser's words.
        cause: String,
    },
    /// Its transaction was not built here, or was abandoned.
    #[error("transaction {txid} is not one that was built here and still stands")]
    NotBuiltHere {
        /// Which.
        txid: Txid,
    },
    /// Signatures are absent or wrong.
    #[error("the signatures do not satisfy the inputs: {cause}")]
    Unsatisfied {
        /// Miniscript's words.
        cause: String,
    },
}

/// Why a built transaction cannot be abandoned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbandonRefused {
    /// Nothing of that id stands.
    #[error("transaction {txid} is not one that was built here and still stands")]
    NotBuiltHere {
        /// Which.
        txid: Txid,
    },
    /// It is in the mempool or the chain.
    #[error("transaction {txid} is known to the network")]
    Seen {
        /// Which.
        txid: Txid,
    },
}

/// A transaction that stands: not abandoned, not buried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BuiltTransaction {
    /// Unsigned, with the wallet's own knowledge of the inputs.
    #[serde(serialize_with = "as_base64")]
    pub(super) psbt: Psbt,
    /// What the miner gets.
    pub(super) fee_sat: Sat,
    /// At most, once it is signed.
    pub(super) weight_wu: u64,
    /// Which output is change.
    pub(super) change: Option<usize>,
    /// The transaction that it takes the place of; both spend the same coins.
    pub(super) replaces: Option<Txid>,
}

impl BuiltTransaction {
    pub(super) fn inputs(&self) -> impl Iterator<Item = OutPoint> {
        self.psbt
            .unsigned_tx
            .input
            .iter()
            .map(|input| input.previous_output)
    }
}

impl Onchain {
    /// Builds a transaction that signals replaceability (BIP 125). If it is refused, nothing has changed.
    pub fn build(&mut self, order: BuildOrder) -> Result<Built, BuildRefused> {
        let (change_index, change) = self.next_change();
        let psbt = self.choose(&order, &change)?;
        let fee_sat = fee_of(&psbt)?;
        if fee_sat > order.max_fee_sat {
            return Err(BuildRefused::FeeTooHigh {
                fee_sat,
                max_fee_sat: order.max_fee_sat,
            });
        }
        let outputs = &psbt.unsigned_tx.output;
        let change = outputs.iter().position(|o| o.script_pubkey == change);
        if change.is_some() {
            self.reveal_change(change_index);
        }
        Ok(self.keep(psbt, fee_sat, change, None))
    }

    /// Builds a transaction that makes one coin of the smallest confirmed ones; `None` if there are fewer than `least` that
    /// are worth their own spending.
    pub fn consolidate(&mut self, order: &ConsolidationOrder) -> Option<Built> {
        let (index, change) = self.next_change();
        let coins = self.addable();
        // A coin that costs more to spend than it holds makes nothing better.
        let input_wu = INPUT_WU;
        let cost = order
            .feerate_sat_per_kwu
            .saturating_mul(input_wu)
            .div_ceil(1_000);
        let worth: Vec<OutPoint> = coins
            .iter()
            .filter(|coin| coin.txout.value.to_sat() > cost)
            .map(|coin| coin.outpoint)
            .collect();
        if worth.len() < order.least {
            return None;
        }
        let mut builder = self.wallet.build_tx();
        for coin in worth.into_iter().take(order.most) {
            builder.add_utxo(coin).ok()?;
        }
        builder
            .manually_selected_only()
            .drain_to(change)
            .fee_rate(FeeRate::from_sat_per_kwu(order.feerate_sat_per_kwu));
        let psbt = builder
            .finish_with_aux_rand(&mut Draws::new(order.entropy))
            .ok()?;
        let fee_sat = fee_of(&psbt).ok()?;
        self.reveal_change(index);
        Some(self.keep(psbt, fee_sat, Some(0), None))
    }

    /// The change script that is used next, with its index.
    pub(super) fn next_change(&self) -> (u32, ScriptBuf) {
        let index = self.wallet.next_derivation_index(KeychainKind::Internal);
        let change = self.wallet.peek_address(KeychainKind::Internal, index);
        (index, change.script_pubkey())
    }

    /// Uses a change script up.
    pub(super) fn reveal_change(&mut self, index: u32) {
        // The addresses revealed are of no interest here; the wallet has recorded them.
        let _revealed = self
            .wallet
            .reveal_addresses_to(KeychainKind::Internal, index);
    }

    /// Locks what was built.
    pub(super) fn keep(
        &mut self,
        psbt: Psbt,
        fee_sat: Sat,
        change: Option<usize>,
        replaces: Option<Txid>,
    ) -> Built {
        let (txid, psbt_base64) = (psbt.unsigned_tx.compute_txid(), psbt.to_string());
        let weight_wu = self.weight_of(&psbt);
        let outputs = psbt.unsigned_tx.output.iter().enumerate();
        let paid = outputs.filter(|(at, _)| Some(*at) != change);
        let pays_sat = Sat(paid.map(|(_, output)| output.value.to_sat()).sum());
        self.built.insert(
            txid,
            BuiltTransaction {
                psbt,
                fee_sat,
                weight_wu,
                change,
                replaces,
            },
        );
        Built {
            psbt_base64,
            txid,
            fee_sat,
            pays_sat,
        }
    }

    /// What the order's transaction would cost; nothing changes.
    pub fn fee_of(&mut self, order: &BuildOrder) -> Result<Sat, BuildRefused> {
        let (_, change) = self.next_change();
        fee_of(&self.choose(order, &change)?)
    }

    fn choose(&mut self, order: &BuildOrder, change: &ScriptBuf) -> Result<Psbt, BuildRefused> {
        if order.confirmed_first {
            self.select_carefully(order, change)
        } else {
            self.select(order, change, self.unspendable())
        }
    }

    /// The signed transaction, if the signer's PSBT is one that was built here and every signature in it holds.
    ///
    /// Only signatures are taken from the signer; what the inputs are worth is what the wallet said when building.
    pub fn finalise(&self, psbt_base64: &str) -> Result<Transaction, FinaliseRefused> {
        let unreadable = |cause: String| FinaliseRefused::Unreadable { cause };
        let signed: Psbt = psbt_base64
            .parse()
            .map_err(|e: bitcoin::psbt::PsbtParseError| unreadable(e.to_string()))?;
        let txid = signed.unsigned_tx.compute_txid();
        let built = self
            .built
            .get(&txid)
            .ok_or(FinaliseRefused::NotBuiltHere { txid })?;
        let mut psbt = built.psbt.clone();
        for (ours, theirs) in psbt.inputs.iter_mut().zip(signed.inputs) {
            ours.partial_sigs = theirs.partial_sigs;
            ours.tap_key_sig = theirs.tap_key_sig;
            ours.tap_script_sigs = theirs.tap_script_sigs;
            ours.final_script_sig = theirs.final_script_sig;
            ours.final_script_witness = theirs.final_script_witness;
        }
        let secp = self.wallet.secp_ctx();
        psbt.finalize_mut(secp).map_err(|errors| {
            let causes: Vec<String> = errors.iter().map(ToString::to_string).collect();
            FinaliseRefused::Unsatisfied {
                cause: causes.join("; "),
            }
        })?;
        psbt.extract(secp)
            .map_err(|error| FinaliseRefused::Unsatisfied {
                cause: error.to_string(),
            })
    }

    /// Unlocks the coins of a transaction that will never be broadcast. The caller answers for that: a signed copy that
    /// got out can still confirm. Its change address is not used again.
    pub fn abandon(&mut self, txid: Txid) -> Result<(), AbandonRefused> {
        if !self.built.contains_key(&txid) {
            return Err(AbandonRefused::NotBuiltHere { txid });
        }
        if self.positions.contains_key(&txid) {
            return Err(AbandonRefused::Seen { txid });
        }
        self.built.remove(&txid);
        Ok(())
    }

    /// With confirmed coins; else with unconfirmed ones of ours, paying for their transactions, too.
    fn select_carefully(
        &mut self,
        order: &BuildOrder,
        change: &ScriptBuf,
    ) -> Result<Psbt, BuildRefused> {
        let unspendable = self.unspendable();
        let unconfirmed = self.wallet.list_unspent();
        let unconfirmed = unconfirmed.filter(|coin| !coin.chain_position.is_confirmed());
        let mut avoided = unspendable.clone();
        avoided.extend(unconfirmed.map(|coin| coin.outpoint));
        let first = self.select(order, change, avoided);
        if !matches!(first, Err(BuildRefused::InsufficientFunds { .. })) {
            return first;
        }
        let chained = self.select(order, change, unspendable.clone())?;
        let (own, rate) = (self.weight_of(&chained), order.feerate_sat_per_kwu);
        let lack = self.lack_of_parents(&chained, rate);
        if lack == 0 {
            return Ok(chained);
        }
        sometimes(Rare::PaidForParents);
        let more = lack.saturating_mul(1_000).div_ceil(own.max(1));
        let dearer = BuildOrder {
            feerate_sat_per_kwu: rate.saturating_add(more),
            ..order.clone()
        };
        self.select(&dearer, change, unspendable)
    }

    /// What the unconfirmed parents of ours pay less than this feerate asks for them, in satoshi.
    fn lack_of_parents(&self, psbt: &Psbt, sat_per_kwu: u64) -> u64 {
        let inputs = psbt.unsigned_tx.input.iter();
        let parents: BTreeSet<Txid> = inputs.map(|input| input.previous_output.txid).collect();
        let unconfirmed = parents
            .into_iter()
            .filter(|parent| self.confirmations(*parent).unwrap_or(0) == 0);
        let packages = unconfirmed.filter_map(|parent| self.package(parent));
        packages.map(|package| package.lack(sat_per_kwu)).sum()
    }

    fn select(
        &mut self,
        order: &BuildOrder,
        change: &ScriptBuf,
        unspendable: BTreeSet<OutPoint>,
    ) -> Result<Psbt, BuildRefused> {
        if order.fee_included {
            return self.select_whole(order, change, &unspendable);
        }
        let contested = self
            .contested()
            .map_err(|txid| BuildRefused::MustWait { txid })?;
        let paths = self.paths(MAIN_BRANCH)?;
        // Falls back on the largest coins, not on a draw: which coins pay for an order follows from the coins alone.
        let selection = BranchAndBoundCoinSelection::<LargestFirstCoinSelection>::default();
        let mut builder = self.wallet.build_tx().coin_selection(selection);
        for recipient in &order.recipients {
            let amount = Amount::from_sat(recipient.amount_sat.0);
            builder.add_recipient(recipient.script.clone(), amount);
        }
        builder
            .drain_to(change.clone())
            .fee_rate(FeeRate::from_sat_per_kwu(order.feerate_sat_per_kwu))
            .unspendable(unspendable.into_iter().collect());
        for (keychain, path) in paths {
            builder.policy_path(path, keychain);
        }
        let added = builder.add_utxos(&contested).map(|_| ());
        added.map_err(|error| BuildRefused::Unbuildable {
            cause: error.to_string(),
        })?;
        builder
            .finish_with_aux_rand(&mut Draws::new(order.entropy))
            .map_err(|error| refused(order, error))
    }

    /// Builds a transaction of all coins that are old enough for the recovery branch, and of nothing else.
    pub fn build_sweep(&mut self, order: SweepOrder) -> Result<Built, BuildRefused> {
        let unbuildable = |cause: String| BuildRefused::Unbuildable { cause };
        let mut unspendable = self.unspendable();
        let age = |coin: &OutPoint| self.confirmations(coin.txid).unwrap_or(0);
        let coins = self.wallet.list_unspent().map(|coin| coin.outpoint);
        let (old, young): (Vec<OutPoint>, Vec<OutPoint>) =
            coins.partition(|coin| age(coin) >= u32::from(order.after_blocks));
        unspendable.extend(young);
        if old.iter().all(|coin| unspendable.contains(coin)) {
            let after = order.after_blocks;
            return Err(unbuildable(format!("no free coin is {after} blocks deep")));
        }
        let paths = self.paths(RECOVERY_BRANCH)?;
        let mut builder = self.wallet.build_tx();
        builder
            .drain_wallet()
            .drain_to(order.script)
            .fee_rate(FeeRate::from_sat_per_kwu(order.feerate_sat_per_kwu))
            .unspendable(unspendable.into_iter().collect());
        for (keychain, path) in paths {
            builder.policy_path(path, keychain);
        }
        let psbt = builder
            .finish_with_aux_rand(&mut Draws::new(order.entropy))
            .map_err(|error| unbuildable(error.to_string()))?;
        let fee_sat = fee_of(&psbt)?;
        Ok(self.keep(psbt, fee_sat, None, None))
    }

    /// The way through each descriptor that has alternatives with conditions of their own: the one numbered `branch`.
    pub(super) fn paths(&self, branch: usize) -> Result<Vec<(KeychainKind, Path)>, BuildRefused> {
        let mut paths = Vec::new();
        for keychain in [KeychainKind::External, KeychainKind::Internal] {
            let policy = self.wallet.policies(keychain);
            let policy = policy.map_err(|error| BuildRefused::Unbuildable {
                cause: error.to_string(),
            })?;
            if let Some(policy) = policy.filter(Policy::requires_path) {
                paths.push((keychain, Path::from([(policy.id, vec![branch])])));
            }
        }
        Ok(paths)
    }

    /// What a transaction spends that was built here and still stands.
    pub fn inputs_of(&self, txid: Txid) -> Option<Vec<OutPoint>> {
        self.built.get(&txid).map(|built| built.inputs().collect())
    }

    /// What was built and still stands.
    pub(super) fn built_psbt(&self, txid: Txid) -> Option<&Psbt> {
        self.built.get(&txid).map(|built| &built.psbt)
    }

    /// Locked coins, unconfirmed money of others (whoever sent it can still take it back), and unconfirmed money of ours
    /// whose transaction may give way to another version of itself.
    pub(super) fn unspendable(&self) -> BTreeSet<OutPoint> {
        let locked = self.built.values().flat_map(BuiltTransaction::inputs);
        let locked = locked.filter(|_| self.planted != Some(Bug::SpendLockedCoins));
        let loose = self.wallet.list_unspent().filter(|output| {
            self.planted != Some(Bug::SpendUnconfirmed)
                && !output.chain_position.is_confirmed()
                && !self.is_sure(output.outpoint.txid)
        });
        locked
            .chain(self.frozen.iter().copied())
            .chain(loose.map(|output| output.outpoint))
            .collect()
    }

    /// Whether an unconfirmed transaction of ours is the only version of itself, as are those of ours that it spends.
    fn is_sure(&self, txid: Txid) -> bool {
        let Some(built) = self.built.get(&txid) else {
            return false;
        };
        let has_rival = built.replaces.is_some()
            || self
                .built
                .values()
                .any(|other| other.replaces == Some(txid));
        let parents = built.inputs().map(|input| input.txid);
        let mut unconfirmed =
            parents.filter(|parent| self.confirmations(*parent).unwrap_or(0) == 0);
        !has_rival && unconfirmed.all(|parent| self.is_sure(parent))
    }
}

fn as_base64<S: Serializer>(psbt: &Psbt, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(psbt)
}

pub(super) fn fee_of(psbt: &Psbt) -> Result<Sat, BuildRefused> {
    match psbt.fee() {
        Ok(fee) => Ok(Sat(fee.to_sat())),
        Err(error) => Err(BuildRefused::Unbuildable {
            cause: error.to_string(),
        }),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "another crate's enum: the rest is told in its own words"
)]
pub(super) fn refused(order: &BuildOrder, error: CreateTxError) -> BuildRefused {
    match error {
        CreateTxError::OutputBelowDustLimit(index) => BuildRefused::Dust {
            amount_sat: order
                .recipients
                .get(index)
                .map_or(Sat(0), |recipient| recipient.amount_sat),
        },
        CreateTxError::CoinSelection(short) => BuildRefused::InsufficientFunds {
            needed_sat: Sat(short.needed.to_sat()),
            available_sat: Sat(short.available.to_sat()),
        },
        // bdk's enum grows with its features; whatever else it finds is told in its own words.
        other => BuildRefused::Unbuildable {
            cause: other.to_string(),
        },
    }
}
