//! Owns the engine's on-chain wallets, one bdk wallet each (`Onchain`), all behind one door (`Wallets`): fresh addresses,
//! what the best chain and the mempool pay to them, and the building of transactions. Does not own keys (a signer elsewhere has them), bookkeeping, nor the choice of depth and
//! feerate (`policy`, `payments`).
//!
//! A [`ChainView`] is complete by definition, so the transactions of the latest accepted view *are* the wallet's
//! history: one that is absent from it has left the chain and the mempool. bdk orders observations by time; here its
//! clock is the number of views applied, so that nothing depends on when a view was taken.

pub mod bip21;
mod build;
mod bump;
mod cosign;
mod custody;
mod draws;
pub mod feerate;
mod label;
mod payer;
mod recovery;
mod spec;
mod view;
mod wallets;
mod whole;

pub use crate::policy::Purpose;
pub use build::{
    AbandonRefused, BuildOrder, BuildRefused, Built, ConsolidationOrder, FinaliseRefused,
    Recipient, SweepOrder,
};
pub use bump::{BumpOrder, BumpRefused, Package};
pub use cosign::{AnswerWrong, Signatures};
pub use custody::{Cosigner, Cosigners, CosignersRefused, MOST_COSIGNERS, RecoveryKey};
pub use label::{Label, LabelKind, LabelRefused, MAX_CHARS};
pub use recovery::{Recovery, RecoveryRefused};
pub use spec::{Custody, Owner, WalletSpec};
pub use view::ViewRefused;
pub use wallets::{OpenRefused, WalletSnapshot, Wallets};

use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::{BlockId, ChainView};
use bdk_wallet::descriptor::DescriptorError;
use bdk_wallet::miniscript::{Descriptor, DescriptorPublicKey, ForEachKey};
use bdk_wallet::{ChangeSet, KeychainKind, Wallet};
use bitcoin::{Address, Network, OutPoint, Script, ScriptBuf, Transaction, Txid};
use build::BuiltTransaction;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use view::Look;

/// The usual gap limit (BIP 44). So many scripts beyond the last revealed one are watched too, per keychain.
pub const LOOKAHEAD_SCRIPTS: u32 = 20;

/// The wallet's public output descriptors (BIP 380), each ranged (`/*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Addresses given to payers.
    pub external: String,
    /// Change.
    pub internal: String,
}

/// Why descriptors make no wallet.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorsRefused {
    /// Not a public descriptor (private keys are refused here too).
    #[error("the {which} descriptor cannot be read as a public one: {cause}")]
    Unreadable {
        /// `external` or `internal`.
        which: &'static str,
        /// The parser's words.
        cause: String,
    },
    /// Every address would be the same.
    #[error("the {which} descriptor has no wildcard, so its address would be used again and again")]
    NotRanged {
        /// `external` or `internal`.
        which: &'static str,
    },
    /// Signing would change the transaction's id.
    #[error(
        "the {which} descriptor is not segwit, so a transaction's id would depend on its signatures"
    )]
    NotSegwit {
        /// `external` or `internal`.
        which: &'static str,
    },
    /// Wrong network, hardened derivation, the same descriptor twice and the like.
    #[error("the descriptors do not make a wallet: {cause}")]
    Unusable {
        /// bdk's finding.
        #[from]
        cause: DescriptorError,
    },
}

/// One of our outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReceivedOutput {
    /// Which.
    pub outpoint: OutPoint,
    /// How much, in satoshi.
    pub value_sat: Sat,
    /// 0: in the mempool; 1: in the tip.
    pub confirmations: u32,
}

/// An output of ours with what a label needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoricOutput {
    /// Which.
    pub outpoint: OutPoint,
    /// Where it lies.
    pub address: String,
    /// Whether it may be spent; `None` if it is spent.
    pub spendable: Option<bool>,
}

/// What the latest view pays to one script, spent or not, by outpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Ordered by outpoint.
    pub outputs: Vec<ReceivedOutput>,
}

impl Received {
    /// The sum of the outputs with at least `depth` confirmations (0: all).
    pub fn at_depth(&self, depth: u32) -> Sat {
        Sat(self
            .outputs
            .iter()
            .filter(|o| o.confirmations >= depth)
            .map(|o| o.value_sat.0)
            .sum())
    }
}

/// One wallet.
#[derive(Debug)]
pub struct Onchain {
    wallet: Wallet,
    /// Views applied; bdk's time (see the header).
    views_applied: u64,
    /// Height in the best chain (`None`: mempool) of every transaction of the latest view.
    positions: BTreeMap<Txid, Option<u32>>,
    /// Outputs of the latest view by script.
    received: BTreeMap<ScriptBuf, BTreeMap<OutPoint, Sat>>,
    /// Unspent outputs of ours in the latest view.
    total_sat: Sat,
    /// Transactions built here; their inputs stay locked until abandoned or buried.
    built: BTreeMap<Txid, BuiltTransaction>,
    /// External addresses that may be given out in a row without one being paid.
    gap_limit: u32,
    /// Coins that people will not have spent.
    frozen: BTreeSet<OutPoint>,
    /// Transactions that were given up after cosigners had seen them, and could still confirm.
    given_up: BTreeMap<Txid, BuiltTransaction>,
    planted: Option<Bug>,
}

/// The whole state in a canonical order, for the engine's digest.
#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    views_applied: u64,
    positions: &'a BTreeMap<Txid, Option<u32>>,
    built: &'a BTreeMap<Txid, BuiltTransaction>,
    frozen: &'a BTreeSet<OutPoint>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    given_up: &'a BTreeMap<Txid, BuiltTransaction>,
    wallet: Option<&'a ChangeSet>,
}

impl Onchain {
    /// A wallet that knows nothing but the network's genesis block.
    pub fn new(descriptors: &Descriptors, network: Network) -> Result<Self, DescriptorsRefused> {
        Self::with_gap_limit(descriptors, network, LOOKAHEAD_SCRIPTS)
    }

    /// The same with another gap limit than the usual one.
    pub fn with_gap_limit(
        descriptors: &Descriptors,
        network: Network,
        gap_limit: u32,
    ) -> Result<Self, DescriptorsRefused> {
        let external = ranged("external", &descriptors.external)?;
        let internal = ranged("internal", &descriptors.internal)?;
        let wallet = Wallet::create(external, internal)
            .network(network)
            .lookahead(gap_limit)
            .create_wallet_no_persist()?;
        Ok(Self {
            wallet,
            views_applied: 0,
            positions: BTreeMap::new(),
            received: BTreeMap::new(),
            total_sat: Sat(0),
            built: BTreeMap::new(),
            gap_limit,
            frozen: BTreeSet::new(),
            given_up: BTreeMap::new(),
            planted: None,
        })
    }

    /// Makes the wallet wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
    }

    /// The next address that was never given out, with its script.
    pub fn reveal_address(&mut self) -> (String, ScriptBuf) {
        let next = if self.planted == Some(Bug::ReuseAddress) {
            self.wallet.next_unused_address(KeychainKind::External)
        } else {
            self.wallet.reveal_next_address(KeychainKind::External)
        };
        (next.address.to_string(), next.address.script_pubkey())
    }

    /// Addresses given out in a row since the last one that was ever paid.
    pub fn unused_addresses(&self) -> u32 {
        let index = self.wallet.spk_index();
        let used = index.last_used_index(KeychainKind::External);
        let next = self.wallet.next_derivation_index(KeychainKind::External);
        next.saturating_sub(used.map_or(0, |last| last.saturating_add(1)))
    }

    /// How many of them there may be.
    pub const fn gap_limit(&self) -> u32 {
        self.gap_limit
    }

    /// What the latest view pays to `script`; empty if nothing does.
    pub fn received_on(&self, script: &Script) -> Received {
        let outputs = self.received.get(script).into_iter().flatten();
        let outputs = outputs.map(|(outpoint, value)| ReceivedOutput {
            outpoint: *outpoint,
            value_sat: *value,
            confirmations: self.confirmations(outpoint.txid).unwrap_or(0),
        });
        Received {
            outputs: outputs.collect(),
        }
    }

    /// How many confirmed outputs of ours nothing spends, built or seen.
    pub fn coins(&self) -> usize {
        self.addable().len()
    }

    /// All unspent outputs of ours in the latest view: confirmed, unconfirmed and immature together.
    pub const fn total(&self) -> Sat {
        self.total_sat
    }

    /// Confirmations of a transaction that touches the wallet: `None` if the latest view lacks it, 0 in the mempool.
    pub fn confirmations(&self, txid: Txid) -> Option<u32> {
        let height = self.positions.get(&txid)?;
        Some(height.map_or(0, |height| {
            self.tip().height.saturating_sub(height).saturating_add(1)
        }))
    }

    /// A transaction of the latest view that touches the wallet.
    pub(super) fn transaction(&self, txid: Txid) -> Option<Arc<Transaction>> {
        self.wallet.get_tx(txid).map(|seen| seen.tx_node.tx)
    }

    /// The best block known.
    pub fn tip(&self) -> BlockId {
        own_block(self.wallet.latest_checkpoint().block_id())
    }

    /// The blocks known to be in the best chain, ascending from genesis to the tip, with gaps.
    pub fn blocks(&self) -> Vec<BlockId> {
        let mut blocks: Vec<_> = self
            .wallet
            .checkpoints()
            .map(|at| own_block(at.block_id()))
            .collect();
        blocks.reverse();
        blocks
    }

    /// Every script to watch: all revealed ones and the lookahead, change included.
    pub fn watched_scripts(&self) -> Vec<ScriptBuf> {
        self.wallet
            .spk_index()
            .inner()
            .all_spks()
            .values()
            .cloned()
            .collect()
    }

    /// Whether the script is one that the wallet recognises as its own.
    pub(crate) fn is_ours(&self, script: &ScriptBuf) -> bool {
        self.wallet.is_mine(script.clone())
    }

    /// Whether `apply_view` would accept this view.
    pub fn check_view(&self, view: &ChainView) -> Result<(), ViewRefused> {
        let look = Look::at(view);
        let blocks = view::check_shape(self, &look)?;
        view::check_completeness(self, &look, &blocks)
    }

    /// Makes `view` the wallet's history. If it is refused, nothing has changed.
    pub fn apply_view(&mut self, view: &ChainView) -> Result<(), ViewRefused> {
        let look = Look::at(view);
        let blocks = view::check_shape(self, &look)?;
        view::check_completeness(self, &look, &blocks)?;
        view::apply(self, &look, &blocks);
        Ok(())
    }

    /// Every transaction of the latest view that touches the wallet, by id.
    pub fn transactions(&self) -> impl Iterator<Item = Txid> {
        self.positions.keys().copied()
    }

    /// Every output of ours in the latest view, spent or not, by script and outpoint.
    pub fn history(&self) -> impl Iterator<Item = HistoricOutput> {
        let network = self.wallet.network();
        let unspent: BTreeSet<OutPoint> = self.wallet.list_unspent().map(|o| o.outpoint).collect();
        let each = self
            .received
            .iter()
            .flat_map(|(script, outputs)| outputs.keys().map(move |outpoint| (script, *outpoint)));
        each.map(move |(script, outpoint)| HistoricOutput {
            outpoint,
            address: Address::from_script(script, network)
                .map_or_else(|_| script.to_hex_string(), |address| address.to_string()),
            spendable: unspent
                .contains(&outpoint)
                .then(|| !self.frozen.contains(&outpoint)),
        })
    }

    /// The descriptor of the wallet's addresses with the origin of each key in its place, as BIP 329 has it.
    pub fn origin(&self) -> String {
        let descriptor = self.wallet.public_descriptor(KeychainKind::External);
        let text = descriptor.to_string();
        let mut origin = text.split('#').next().unwrap_or_default().to_owned();
        let mut keys = Vec::new();
        descriptor.for_each_key(|key| {
            keys.push(key.clone());
            true
        });
        for key in keys {
            let path = match &key {
                DescriptorPublicKey::XPub(key) => key.origin.as_ref().map(|(_, path)| path.clone()),
                DescriptorPublicKey::Single(_) | DescriptorPublicKey::MultiXPub(_) => None,
            };
            let path = path.filter(|path| !path.is_empty());
            let path = path.map_or_else(String::new, |path| format!("/{path}"));
            let named = format!("[{}{path}]", key.master_fingerprint());
            origin = origin.replace(&key.to_string(), &named);
        }
        origin
    }

    /// Whether a coin may be spent from now on.
    pub fn set_spendable(&mut self, outpoint: OutPoint, spendable: bool) {
        if spendable {
            self.frozen.remove(&outpoint);
        } else {
            self.frozen.insert(outpoint);
        }
    }

    /// The whole state, ordered.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            views_applied: self.views_applied,
            positions: &self.positions,
            built: &self.built,
            frozen: &self.frozen,
            given_up: &self.given_up,
            wallet: self.wallet.staged(),
        }
    }
}

/// Why a text is not an address that can be paid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Not an address.
    #[error("`{text}` is not a Bitcoin address: {cause}")]
    Unreadable {
        /// As given.
        text: String,
        /// The parser's words.
        cause: String,
    },
    /// An address of another network.
    #[error("`{text}` is not an address of {network}")]
    WrongNetwork {
        /// As given.
        text: String,
        /// Ours.
        network: Network,
    },
}

/// The script of an address as typed, if it belongs to `network`.
pub fn check_address(text: &str, network: Network) -> Result<ScriptBuf, AddressRefused> {
    let address: Address<_> =
        text.trim()
            .parse()
            .map_err(
                |cause: bitcoin::address::ParseError| AddressRefused::Unreadable {
                    text: text.to_owned(),
                    cause: cause.to_string(),
                },
            )?;
    match address.require_network(network) {
        Ok(address) => Ok(address.script_pubkey()),
        Err(_) => Err(AddressRefused::WrongNetwork {
            text: text.to_owned(),
            network,
        }),
    }
}

fn ranged(
    which: &'static str,
    text: &str,
) -> Result<Descriptor<DescriptorPublicKey>, DescriptorsRefused> {
    let descriptor: Descriptor<DescriptorPublicKey> =
        text.parse()
            .map_err(
                |cause: bdk_wallet::miniscript::Error| DescriptorsRefused::Unreadable {
                    which,
                    cause: cause.to_string(),
                },
            )?;
    if !descriptor.has_wildcard() {
        return Err(DescriptorsRefused::NotRanged { which });
    }
    if descriptor.desc_type().segwit_version().is_none() {
        return Err(DescriptorsRefused::NotSegwit { which });
    }
    Ok(descriptor)
}

const fn own_block(block: bdk_wallet::chain::BlockId) -> BlockId {
    BlockId {
        height: block.height,
        hash: block.hash,
    }
}

#[cfg(test)]
mod tests;
