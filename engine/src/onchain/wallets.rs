//! Owns the set of our wallets behind one door: each is a bdk wallet of its own, and one view of the chain is the history
//! of all of them, taken by all or by none. Does not own what a single wallet does with its part (`Onchain`).
//!
//! A transaction may concern several of them: it is then part of the history of each.

use super::view::{self, Look};
use super::{
    AbandonRefused, BuildOrder, BuildRefused, Built, BumpOrder, BumpRefused, ConsolidationOrder,
    DescriptorsRefused, FinaliseRefused, Onchain, Package, Received, Snapshot, ViewRefused,
    WalletSpec,
};
use crate::id::{PartyId, WalletId};
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::{BlockId, ChainView};
use bdk_wallet::KeychainKind;
use bitcoin::{Network, Script, ScriptBuf, Transaction, Txid};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why a wallet is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// There is one of that name.
    #[error("wallet `{wallet}` is open already")]
    Exists {
        /// Which.
        wallet: WalletId,
    },
    /// Its addresses would be another wallet's.
    #[error("the descriptors of `{wallet}` are in use by wallet `{other}`")]
    DescriptorsInUse {
        /// The new one.
        wallet: WalletId,
        /// The other.
        other: WalletId,
    },
    /// Nobody of that name has accounts.
    #[error("wallet `{wallet}` would serve party `{party}`, who is not known")]
    UnknownOwner {
        /// The new one.
        wallet: WalletId,
        /// Who.
        party: PartyId,
    },
    /// They make no wallet.
    #[error("{cause}")]
    Descriptors {
        /// Why not.
        cause: String,
    },
}

/// All our wallets; at least one.
#[derive(Debug)]
pub struct Wallets {
    network: Network,
    set: BTreeMap<WalletId, Kept>,
    planted: Option<Bug>,
}

#[derive(Debug)]
struct Kept {
    spec: WalletSpec,
    onchain: Onchain,
    /// No view was taken since it was opened.
    unseen: bool,
}

/// The state in a canonical order, for the engine's digest.
#[derive(Debug, Serialize)]
pub struct WalletSnapshot<'a> {
    spec: &'a WalletSpec,
    onchain: Snapshot<'a>,
    unseen: bool,
}

impl Wallets {
    /// Begins with one wallet, which knows nothing but the network's genesis block.
    pub fn new(first: WalletSpec, network: Network) -> Result<Wallets, DescriptorsRefused> {
        let onchain = Onchain::new(&first.descriptors, network)?;
        let name = first.name.clone();
        let kept = Kept {
            spec: first,
            onchain,
            unseen: false,
        };
        Ok(Wallets {
            network,
            set: BTreeMap::from([(name, kept)]),
            planted: None,
        })
    }

    /// Makes the wallets wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
        for kept in self.set.values_mut() {
            kept.onchain.plant(bug);
        }
    }

    /// Whether the wallet could be opened.
    pub fn check_open(&self, spec: &WalletSpec) -> Result<(), OpenRefused> {
        self.made(spec).map(|_| ())
    }

    /// Opens a wallet. It knows the chain that the others know, and nothing of its own history until the next view.
    pub fn open(&mut self, spec: &WalletSpec) -> Result<(), OpenRefused> {
        let mut onchain = self.made(spec)?;
        view::adopt_chain(&mut onchain, self.any());
        if let Some(bug) = self.planted {
            onchain.plant(bug);
        }
        let kept = Kept {
            spec: spec.clone(),
            onchain,
            unseen: true,
        };
        self.set.insert(spec.name.clone(), kept);
        Ok(())
    }

    fn made(&self, spec: &WalletSpec) -> Result<Onchain, OpenRefused> {
        if self.set.contains_key(&spec.name) {
            return Err(OpenRefused::Exists {
                wallet: spec.name.clone(),
            });
        }
        let fresh = Onchain::new(&spec.descriptors, self.network).map_err(|refused| {
            OpenRefused::Descriptors {
                cause: refused.to_string(),
            }
        })?;
        for keychain in [KeychainKind::External, KeychainKind::Internal] {
            let first = fresh.wallet.peek_address(keychain, 0).script_pubkey();
            if let Some(other) = self.owner_of(&first) {
                return Err(OpenRefused::DescriptorsInUse {
                    wallet: spec.name.clone(),
                    other: other.clone(),
                });
            }
        }
        Ok(fresh)
    }

    /// A wallet.
    pub fn get(&self, wallet: &WalletId) -> Option<&Onchain> {
        self.set.get(wallet).map(|kept| &kept.onchain)
    }

    /// What a wallet is.
    pub fn spec(&self, wallet: &WalletId) -> Option<&WalletSpec> {
        self.set.get(wallet).map(|kept| &kept.spec)
    }

    /// All wallets, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&WalletSpec, &Onchain)> {
        self.set.values().map(|kept| (&kept.spec, &kept.onchain))
    }

    /// The wallet whose script this is.
    pub fn owner_of(&self, script: &ScriptBuf) -> Option<&WalletId> {
        let mut set = self.set.iter();
        set.find(|(_, kept)| kept.onchain.is_ours(script))
            .map(|(name, _)| name)
    }

    /// The next address of a wallet that was never given out, with its script.
    pub fn reveal_address(&mut self, wallet: &WalletId) -> (String, ScriptBuf) {
        self.named_mut(wallet).reveal_address()
    }

    /// What the latest view pays to a wallet's script; empty if nothing does.
    pub fn received_on(&self, wallet: &WalletId, script: &Script) -> Received {
        self.named(wallet).received_on(script)
    }

    /// All unspent outputs of a wallet in the latest view: confirmed, unconfirmed and immature together.
    pub fn total(&self, wallet: &WalletId) -> Sat {
        self.named(wallet).total()
    }

    /// The same of every wallet.
    pub fn totals(&self) -> BTreeMap<WalletId, Sat> {
        let set = self.set.iter();
        set.map(|(name, kept)| (name.clone(), kept.onchain.total()))
            .collect()
    }

    /// Confirmations of a transaction that touches any wallet: `None` if the latest view lacks it, 0 in the mempool.
    pub fn confirmations(&self, txid: Txid) -> Option<u32> {
        let mut set = self.set.values();
        set.find_map(|kept| kept.onchain.confirmations(txid))
    }

    /// The best block known.
    pub fn tip(&self) -> BlockId {
        self.any().tip()
    }

    /// The blocks known to be in the best chain, ascending from genesis to the tip, with gaps.
    pub fn blocks(&self) -> Vec<BlockId> {
        self.any().blocks()
    }

    /// Every script of every wallet that a view must cover.
    pub fn watched_scripts(&self) -> Vec<ScriptBuf> {
        let set = self.set.values();
        set.flat_map(|kept| kept.onchain.watched_scripts())
            .collect()
    }

    /// Whether `apply_view` would accept this view.
    pub fn check_view(&self, view: &ChainView) -> Result<(), ViewRefused> {
        let look = Look::at(view);
        let blocks = view::check_shape(self.any(), &look)?;
        let mut set = self.set.values();
        set.try_for_each(|kept| {
            view::check_completeness(&kept.onchain, &look.part_of(&kept.onchain), &blocks)
        })
    }

    /// Makes `view` the history of all wallets. If it is refused, nothing has changed.
    pub fn apply_view(&mut self, view: &ChainView) -> Result<(), ViewRefused> {
        let look = Look::at(view);
        let blocks = view::check_shape(self.any(), &look)?;
        let set = self.set.values();
        let parts: Vec<Look<'_>> = set.map(|kept| look.part_of(&kept.onchain)).collect();
        for (kept, part) in self.set.values().zip(&parts) {
            view::check_completeness(&kept.onchain, part, &blocks)?;
        }
        for (kept, part) in self.set.values_mut().zip(&parts) {
            view::apply(&mut kept.onchain, part, &blocks);
        }
        Ok(())
    }

    /// The wallets that the latest view is the first to show.
    pub fn take_unseen(&mut self) -> Vec<WalletId> {
        let unseen = self.set.iter_mut().filter(|(_, kept)| kept.unseen);
        unseen
            .map(|(name, kept)| {
                kept.unseen = false;
                name.clone()
            })
            .collect()
    }

    /// Builds a transaction from the coins of one wallet; its change goes back there. If it is refused, nothing has changed.
    pub fn build(&mut self, wallet: &WalletId, order: BuildOrder) -> Result<Built, BuildRefused> {
        self.named_mut(wallet).build(order)
    }

    /// As [`Onchain::finalise`], by the wallet that built the transaction.
    pub fn finalise(
        &self,
        wallet: &WalletId,
        psbt_base64: &str,
    ) -> Result<Transaction, FinaliseRefused> {
        self.named(wallet).finalise(psbt_base64)
    }

    /// As [`Onchain::abandon`], by the wallet that built the transaction.
    pub fn abandon(&mut self, wallet: &WalletId, txid: Txid) -> Result<(), AbandonRefused> {
        self.named_mut(wallet).abandon(txid)
    }

    /// As [`Onchain::package`], by the wallet that built the transaction.
    pub fn package(&self, wallet: &WalletId, txid: Txid) -> Option<Package> {
        self.named(wallet).package(txid)
    }

    /// As [`Onchain::replace`], by the wallet that built the transaction.
    pub fn replace(&mut self, wallet: &WalletId, order: &BumpOrder) -> Result<Built, BumpRefused> {
        self.named_mut(wallet).replace(order)
    }

    /// As [`Onchain::consolidate`], of one wallet.
    pub fn consolidate(&mut self, wallet: &WalletId, order: &ConsolidationOrder) -> Option<Built> {
        self.named_mut(wallet).consolidate(order)
    }

    /// As [`Onchain::child`], by the wallet that built the transaction.
    pub fn child(&mut self, wallet: &WalletId, order: &BumpOrder) -> Result<Built, BumpRefused> {
        self.named_mut(wallet).child(order)
    }

    /// The whole state, ordered.
    pub fn snapshot(&self) -> Vec<WalletSnapshot<'_>> {
        let set = self.set.values();
        set.map(|kept| WalletSnapshot {
            spec: &kept.spec,
            onchain: kept.onchain.snapshot(),
            unseen: kept.unseen,
        })
        .collect()
    }

    /// All of them know the same chain.
    fn any(&self) -> &Onchain {
        let first = self.set.values().next();
        &first.expect("there is at least one wallet").onchain
    }

    fn named(&self, wallet: &WalletId) -> &Onchain {
        self.get(wallet)
            .expect("payments name wallets that are open")
    }

    fn named_mut(&mut self, wallet: &WalletId) -> &mut Onchain {
        let kept = self.set.get_mut(wallet);
        &mut kept.expect("payments name wallets that are open").onchain
    }
}
