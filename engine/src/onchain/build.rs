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
const MAIN_BRANCH: usize = 0;

/// The one that recovers coins (`custody`).
const RECOVERY_BRANCH: usize = 1;

/// bdk's words for which alternatives of a descriptor are used.
type Path = BTreeMap<String, Vec<usize>>;

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOrder {
    /// Whom to pay.
    pub script: ScriptBuf,
    /// What they get, in satoshi.
    pub amount_sat: Sat,
    /// Satoshi per 1,000 weight units (BIP 141); 250 is 1 sat/vB.
    pub feerate_sat_per_kwu: u64,
    /// The most that the fee may be, in satoshi (a changeless transaction may cost more than its feerate).
    pub max_fee_sat: Sat,
    /// Base of the draws (coin selection, order of inputs and outputs).
    pub entropy: Entropy,
}

/// A transaction to be signed. Its inputs are locked until [`Onchain::abandon`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// BIP 174, base64, with all that a signer needs.
    pub psbt_base64: String,
    /// Its id. Signing cannot change it: every input is segwit.
    pub txid: Txid,
    /// What the miner gets, in satoshi.
    pub fee_sat: Sat,
    /// What the first output pays of a sweep, or what was ordered, in satoshi.
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
    psbt: Psbt,
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
        let change_index = self.wallet.next_derivation_index(KeychainKind::Internal);
        let change = self
            .wallet
            .peek_address(KeychainKind::Internal, change_index)
            .script_pubkey();
        let psbt = self.select(&order, change.clone())?;
        let fee_sat = fee_of(&psbt)?;
        if fee_sat > order.max_fee_sat {
            return Err(BuildRefused::FeeTooHigh {
                fee_sat,
                max_fee_sat: order.max_fee_sat,
            });
        }
        let txid = psbt.unsigned_tx.compute_txid();
        if psbt
            .unsigned_tx
            .output
            .iter()
            .any(|output| output.script_pubkey == change)
        {
            // The addresses revealed are of no interest here; the wallet has recorded them.
            let _revealed = self
                .wallet
                .reveal_addresses_to(KeychainKind::Internal, change_index);
        }
        let psbt_base64 = psbt.to_string();
        self.built.insert(txid, BuiltTransaction { psbt });
        Ok(Built {
            psbt_base64,
            txid,
            fee_sat,
            pays_sat: order.amount_sat,
        })
    }

    /// What the order's transaction would cost; nothing changes.
    pub fn fee_of(&mut self, order: &BuildOrder) -> Result<Sat, BuildRefused> {
        let change_index = self.wallet.next_derivation_index(KeychainKind::Internal);
        let change = self
            .wallet
            .peek_address(KeychainKind::Internal, change_index);
        fee_of(&self.select(order, change.script_pubkey())?)
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

    fn select(&mut self, order: &BuildOrder, change: ScriptBuf) -> Result<Psbt, BuildRefused> {
        let unspendable = self.unspendable().into_iter().collect();
        let contested = self
            .contested()
            .map_err(|txid| BuildRefused::MustWait { txid })?;
        let paths = self.paths(MAIN_BRANCH)?;
        // Falls back on the largest coins, not on a draw: which coins pay for an order follows from the coins alone.
        let selection = BranchAndBoundCoinSelection::<LargestFirstCoinSelection>::default();
        let mut builder = self.wallet.build_tx().coin_selection(selection);
        builder
            .add_recipient(order.script.clone(), Amount::from_sat(order.amount_sat.0))
            .drain_to(change)
            .fee_rate(FeeRate::from_sat_per_kwu(order.feerate_sat_per_kwu))
            .unspendable(unspendable);
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
        let (txid, psbt_base64) = (psbt.unsigned_tx.compute_txid(), psbt.to_string());
        let fee_sat = fee_of(&psbt)?;
        let outputs = psbt.unsigned_tx.output.iter();
        let pays_sat = Sat(outputs.map(|output| output.value.to_sat()).sum());
        self.built.insert(txid, BuiltTransaction { psbt });
        Ok(Built {
            psbt_base64,
            txid,
            fee_sat,
            pays_sat,
        })
    }

    /// The way through each descriptor that has alternatives with conditions of their own: the one numbered `branch`.
    fn paths(&self, branch: usize) -> Result<Vec<(KeychainKind, Path)>, BuildRefused> {
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

    /// What was built and still stands.
    pub(super) fn built_psbt(&self, txid: Txid) -> Option<&Psbt> {
        self.built.get(&txid).map(|built| &built.psbt)
    }

    /// Locked coins, and unconfirmed money of others: whoever sent it can still take it back.
    fn unspendable(&self) -> BTreeSet<OutPoint> {
        let locked = self.built.values().flat_map(BuiltTransaction::inputs);
        let foreign = self.wallet.list_unspent().filter(|output| {
            self.planted != Some(Bug::SpendUnconfirmed)
                && !output.chain_position.is_confirmed()
                && !self.built.contains_key(&output.outpoint.txid)
        });
        locked
            .chain(self.frozen.iter().copied())
            .chain(foreign.map(|output| output.outpoint))
            .collect()
    }
}

fn as_base64<S: Serializer>(psbt: &Psbt, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(psbt)
}

fn fee_of(psbt: &Psbt) -> Result<Sat, BuildRefused> {
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
fn refused(order: &BuildOrder, error: CreateTxError) -> BuildRefused {
    match error {
        CreateTxError::OutputBelowDustLimit(_) => BuildRefused::Dust {
            amount_sat: order.amount_sat,
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
