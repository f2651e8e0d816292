//! Owns the set of our wallets behind one door: each is a bdk wallet of its own, and one view of the chain is the history
//! of all of them, taken by all or by none. Does not own what a single wallet does with its part (`Onchain`).
//!
//! A transaction may concern several of them: it is then part of the history of each.

use super::payer::payer_scripts;
use super::view::{self, Look};
use super::{
    AbandonRefused, AnswerWrong, BuildOrder, BuildRefused, Built, BumpOrder, BumpRefused,
    ConsolidationOrder, Cosigner, CosignersRefused, DescriptorsRefused, FinaliseRefused, Onchain,
    Package, Received, Signatures, Snapshot, SweepOrder, ViewRefused, WalletSpec,
};
use crate::id::{PartyId, WalletId};
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::{BlockId, ChainView};
use bdk_wallet::KeychainKind;
use bitcoin::{Network, OutPoint, Script, ScriptBuf, Transaction, Txid};
use serde::Serialize;
use std::collections::BTreeMap;

/// The largest gap limit: each script of it is asked of the backend at every look.
const MOST_GAP: u32 = 1_000;

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
    /// Zero, or so large that every look at the chain would be slow.
    #[error("a gap limit of {gap_limit} is not between 1 and {MOST_GAP}")]
    GapLimit {
        /// Asked.
        gap_limit: u32,
    },
    /// Those who should sign for it make no wallet.
    #[error("{cause}")]
    Cosigners {
        /// Why not.
        #[from]
        cause: CosignersRefused,
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
    /// Of the latest view's tip, seconds since 1970.
    tip_time_secs: Option<u32>,
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
        let onchain = Onchain::with_gap_limit(&first.descriptors, network, first.gap_limit)?;
        let name = first.name.clone();
        let kept = Kept {
            spec: first,
            onchain,
            unseen: false,
        };
        Ok(Wallets {
            network,
            set: BTreeMap::from([(name, kept)]),
            tip_time_secs: None,
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
        if !(1..=MOST_GAP).contains(&spec.gap_limit) {
            return Err(OpenRefused::GapLimit {
                gap_limit: spec.gap_limit,
            });
        }
        if let Some(cosigners) = spec.cosigners() {
            cosigners.check(&spec.descriptors)?;
        }
        let fresh = Onchain::with_gap_limit(&spec.descriptors, self.network, spec.gap_limit);
        let fresh = fresh.map_err(|refused| OpenRefused::Descriptors {
            cause: refused.to_string(),
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

    /// The scripts that a transaction which touches any wallet spends from; `None` if it is not known or does not tell.
    pub fn payer_scripts(&self, txid: Txid) -> Option<Vec<ScriptBuf>> {
        let seen = |txid: Txid| {
            let mut set = self.set.values();
            set.find_map(|kept| kept.onchain.transaction(txid))
        };
        let known = |outpoint: &OutPoint| {
            let previous = seen(outpoint.txid)?;
            let index = usize::try_from(outpoint.vout).ok()?;
            let output = previous.output.get(index)?;
            Some(output.script_pubkey.clone())
        };
        let transaction = seen(txid)?;
        payer_scripts(&transaction, known)
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

    /// Time of the best block known, seconds since 1970, if the backend told it.
    pub const fn tip_time_secs(&self) -> Option<u32> {
        self.tip_time_secs
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
        self.tip_time_secs = view.tip_time_secs;
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

    /// What that wallet's transaction for the order would cost; nothing changes.
    pub fn fee_of(&mut self, wallet: &WalletId, order: &BuildOrder) -> Result<Sat, BuildRefused> {
        self.named_mut(wallet).fee_of(order)
    }

    /// Builds a transaction from the coins of one wallet; its change goes back there. If it is refused, nothing has changed.
    pub fn build(&mut self, wallet: &WalletId, order: BuildOrder) -> Result<Built, BuildRefused> {
        let built = self.named_mut(wallet).build(order.clone());
        if built.is_err() && self.planted == Some(Bug::MixPurposes) {
            let mut others = self.set.values_mut();
            let other = others.find_map(|kept| kept.onchain.build(order.clone()).ok());
            return other.map_or(built, Ok);
        }
        built
    }

    /// As [`Onchain::finalise`], by the wallet that built the transaction.
    pub fn finalise(&self, psbt_base64: &str) -> Result<Transaction, FinaliseRefused> {
        let mut tried = self
            .set
            .values()
            .map(|kept| kept.onchain.finalise(psbt_base64));
        let by_builder =
            |result: &Result<_, _>| !matches!(result, Err(FinaliseRefused::NotBuiltHere { .. }));
        tried
            .find(by_builder)
            .unwrap_or_else(|| self.any().finalise(psbt_base64))
    }

    /// What a transaction spends that one of these wallets has built and that is neither abandoned nor buried.
    pub fn inputs_of(&self, txid: Txid) -> Option<Vec<OutPoint>> {
        let mut set = self.set.values();
        set.find_map(|kept| kept.onchain.inputs_of(txid))
    }

    /// As [`Onchain::abandon`], by the wallet that built the transaction.
    pub fn abandon(&mut self, txid: Txid) -> Result<(), AbandonRefused> {
        let mut set = self.set.values_mut();
        let of_builder = set.find_map(|kept| {
            let result = kept.onchain.abandon(txid);
            let is_its = !matches!(result, Err(AbandonRefused::NotBuiltHere { .. }));
            is_its.then_some(result)
        });
        of_builder.unwrap_or(Err(AbandonRefused::NotBuiltHere { txid }))
    }

    /// Loses a wallet again; only for [`Bug::ForgetWalletsOnRestart`].
    pub(crate) fn forget(&mut self, wallet: &WalletId) {
        self.set.remove(wallet);
    }

    /// Whether a coin may be spent from now on, whichever wallet it is in.
    pub fn set_spendable(&mut self, outpoint: OutPoint, spendable: bool) {
        for kept in self.set.values_mut() {
            kept.onchain.set_spendable(outpoint, spendable);
        }
    }

    /// As [`Onchain::build_sweep`], of one wallet.
    pub fn build_sweep(
        &mut self,
        wallet: &WalletId,
        order: SweepOrder,
    ) -> Result<Built, BuildRefused> {
        self.named_mut(wallet).build_sweep(order)
    }

    /// As [`Onchain::abandon_shown`], by the wallet that built the transaction.
    pub fn abandon_shown(&mut self, wallet: &WalletId, txid: Txid) -> Result<(), AbandonRefused> {
        self.named_mut(wallet).abandon_shown(txid)
    }

    /// As [`Onchain::check_cosigned`], by the wallet that built the transaction.
    pub fn check_cosigned(
        &self,
        wallet: &WalletId,
        txid: Txid,
        (cosigner, answer): (&Cosigner, &str),
    ) -> Option<Result<Signatures, AnswerWrong>> {
        self.named(wallet).check_cosigned(txid, cosigner, answer)
    }

    /// As [`Onchain::combine`], by the wallet that built the transaction.
    pub fn combine<'a>(
        &self,
        wallet: &WalletId,
        txid: Txid,
        given: impl IntoIterator<Item = &'a Signatures>,
    ) -> Option<String> {
        self.named(wallet).combine(txid, given)
    }

    /// As [`Onchain::package`], by the wallet that built the transaction.
    pub fn package(&self, wallet: &WalletId, txid: Txid) -> Option<Package> {
        self.named(wallet).package(txid)
    }

    /// As [`Onchain::replace`], by the wallet that built the transaction.
    ///
    /// # Errors
    /// Always for a wallet whose transactions several people sign: nobody asks them twice for one payment.
    pub fn replace(&mut self, wallet: &WalletId, order: &BumpOrder) -> Result<Built, BumpRefused> {
        self.check_no_cosigners(wallet, order.txid)?;
        self.named_mut(wallet).replace(order)
    }

    /// As [`Onchain::consolidate`], of one wallet.
    pub fn consolidate(&mut self, wallet: &WalletId, order: &ConsolidationOrder) -> Option<Built> {
        self.named_mut(wallet).consolidate(order)
    }

    /// As [`Onchain::child`], by the wallet that built the transaction.
    ///
    /// # Errors
    /// As for [`Wallets::replace`].
    pub fn child(&mut self, wallet: &WalletId, order: &BumpOrder) -> Result<Built, BumpRefused> {
        self.check_no_cosigners(wallet, order.txid)?;
        self.named_mut(wallet).child(order)
    }

    fn check_no_cosigners(&self, wallet: &WalletId, txid: Txid) -> Result<(), BumpRefused> {
        match self.spec(wallet).and_then(WalletSpec::cosigners) {
            Some(_) => Err(BumpRefused::Cosigned { txid }),
            None => Ok(()),
        }
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
