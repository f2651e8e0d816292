//! The on-chain wallet: a BIP 84 `bdk_wallet` that is fed with blocks and told about the mempool.
//!
//! Owns coins, addresses, coin selection, signing and their storage (`wallet/...` on the disk). Builds transactions the way
//! `ldk-node` 0.7.1 does. Does not broadcast and does not know channels: the anchor reserve is handed in.

use std::sync::{Arc, Mutex, MutexGuard};

use bdk_wallet::chain::local_chain::LocalChain;
use bdk_wallet::chain::{BlockId, ChainPosition, Merge};
use bdk_wallet::template::Bip84;
use bdk_wallet::{ChangeSet, KeychainKind, SignOptions, Update, Wallet as BdkWallet, serde_json};
use bitcoin::absolute::LockTime;
use bitcoin::bip32::Xpriv;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use bitcoin::key::rand::SeedableRng as _;
use bitcoin::key::rand::rngs::StdRng;
use bitcoin::{Address, Amount, Block, Psbt, ScriptBuf, Transaction, Txid, WPubkeyHash};
use lightning::chain::BestBlock;
use lightning::events::bump_transaction::Utxo;
use lightning::events::bump_transaction::sync::WalletSourceSync;

use crate::config::NodeConfig;
use crate::disk::{DiskError, Store};
use crate::fees::FeeSource;

/// Changes that are kept one by one on the disk before they are written as one; bounds the reading at a restart.
const CHANGES_PER_SNAPSHOT: u64 = 64;

const KEY_PREFIX: &str = "wallet/";

/// Why the wallet refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// The spendable balance does not cover amount, fee and reserve.
    #[error("insufficient funds: {required_sat} sat required, {spendable_sat} sat spendable")]
    InsufficientFunds {
        /// What the operation needs, in satoshi.
        required_sat: u64,
        /// What the wallet may spend, in satoshi.
        spendable_sat: u64,
    },
    /// No transaction could be built or signed.
    #[error("cannot build the transaction: {cause}")]
    CannotBuild {
        /// The reason in bdk's words.
        cause: String,
    },
    /// The address is of another network.
    #[error("the address belongs to another network")]
    WrongNetwork,
    /// What the disk holds is no wallet of this seed and network.
    #[error("stored wallet cannot be loaded: {cause}")]
    CannotLoad {
        /// The reason in bdk's words.
        cause: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The wallet's money, in satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletBalance {
    /// Everything, immature coinbases and unconfirmed coins included.
    pub total_sat: u64,
    /// Confirmed and mature.
    pub confirmed_sat: u64,
    /// Confirmed coins and own unconfirmed change, less the anchor reserve; never below zero.
    pub spendable_sat: u64,
    /// What is kept back for closing anchor channels, at most `total_sat`.
    pub anchor_reserve_sat: u64,
}

/// See the module.
pub(crate) struct Wallet {
    state: Mutex<State>,
    store: Arc<Store>,
    fees: Arc<FeeSource>,
}

struct State {
    bdk: BdkWallet,
    /// The sum of all changes so far, written out now and then so that the log stays short.
    all: ChangeSet,
    next_change: u64,
    /// Orders outputs and breaks ties of coin selection.
    rng: StdRng,
}

impl Wallet {
    /// Loads the wallet from the disk, or makes a new one that begins at `config.tip`.
    pub(crate) fn open(
        config: &NodeConfig,
        master: &Xpriv,
        store: Arc<Store>,
        fees: Arc<FeeSource>,
    ) -> Result<Wallet, WalletError> {
        let keys = store.keys(KEY_PREFIX)?;
        let mut all = ChangeSet::default();
        for key in &keys {
            let bytes = store.get(key)?.unwrap_or_default();
            all.merge(serde_json::from_slice(&bytes).map_err(cannot_load)?);
        }
        let next_change = match keys.last() {
            Some(key) => {
                1 + key[KEY_PREFIX.len()..]
                    .parse::<u64>()
                    .map_err(cannot_load)?
            }
            None => 0,
        };
        let (external, internal) = (
            Bip84(*master, KeychainKind::External),
            Bip84(*master, KeychainKind::Internal),
        );
        let fresh = all.is_empty();
        let bdk = if fresh {
            BdkWallet::create(external, internal)
                .network(config.network)
                .create_wallet_no_persist()
                .map_err(cannot_load)?
        } else {
            BdkWallet::load()
                .descriptor(KeychainKind::External, Some(external))
                .descriptor(KeychainKind::Internal, Some(internal))
                .extract_keys()
                .check_network(config.network)
                .load_wallet_no_persist(all.clone())
                .map_err(cannot_load)?
                .ok_or_else(|| cannot_load("nothing stored"))?
        };
        let state = State {
            bdk,
            all,
            next_change,
            rng: seeded_rng(config),
        };
        let wallet = Wallet {
            state: Mutex::new(state),
            store,
            fees,
        };
        if fresh {
            wallet.begin_at(config.tip.1, config.tip.0)?;
        }
        Ok(wallet)
    }

    fn begin_at(&self, height: u32, hash: bitcoin::BlockHash) -> Result<(), WalletError> {
        let mut state = self.lock();
        if height > 0 {
            let chain = state
                .bdk
                .latest_checkpoint()
                .insert(BlockId { height, hash });
            let update = Update {
                chain: Some(chain),
                ..Default::default()
            };
            state.bdk.apply_update(update).map_err(cannot_load)?;
        }
        self.persist(&mut state)
    }

    /// An address that was never handed out before.
    pub(crate) fn new_address(&self) -> Result<Address, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .reveal_next_address(KeychainKind::External)
            .address;
        self.persist(&mut state)?;
        Ok(address)
    }

    /// Where change goes.
    pub(crate) fn change_script(&self) -> Result<ScriptBuf, WalletError> {
        let mut state = self.lock();
        let address = state
            .bdk
            .next_unused_address(KeychainKind::Internal)
            .address;
        self.persist(&mut state)?;
        Ok(address.script_pubkey())
    }

    /// The signed funding transaction of a channel. Its coins count as spent from now on, unless [`Wallet::evicted`].
    pub(crate) fn fund_channel(
        &self,
        script: ScriptBuf,
        amount: Amount,
        height: u32,
        now_secs: u64,
    ) -> Result<Transaction, WalletError> {
        let locktime = LockTime::from_height(height).unwrap_or(LockTime::ZERO);
        let mut state = self.lock();
        let psbt = self.build(&mut state, script, amount, Some(locktime))?;
        self.finish(&mut state, psbt, now_secs)
    }

    /// The signed transaction that pays `amount_sat` and leaves at least `reserve_sat` in the wallet.
    pub(crate) fn pay(
        &self,
        address: &Address,
        amount_sat: u64,
        reserve_sat: u64,
        now_secs: u64,
    ) -> Result<Transaction, WalletError> {
        let mut state = self.lock();
        let network = state.bdk.network();
        if !address.as_unchecked().is_valid_for_network(network) {
            return Err(WalletError::WrongNetwork);
        }
        let psbt = self.build(
            &mut state,
            address.script_pubkey(),
            Amount::from_sat(amount_sat),
            None,
        )?;
        let fee_sat = state
            .bdk
            .calculate_fee(&psbt.unsigned_tx)
            .map_err(cannot_build)?
            .to_sat();
        let spendable_sat = spendable(&state.bdk, reserve_sat);
        let required_sat = amount_sat.saturating_add(fee_sat);
        if spendable_sat < required_sat {
            return Err(WalletError::InsufficientFunds {
                required_sat,
                spendable_sat,
            });
        }
        self.finish(&mut state, psbt, now_secs)
    }

    fn build(
        &self,
        state: &mut State,
        script: ScriptBuf,
        amount: Amount,
        locktime: Option<LockTime>,
    ) -> Result<Psbt, WalletError> {
        let mut builder = state.bdk.build_tx();
        builder
            .add_recipient(script, amount)
            .fee_rate(self.fees.wallet_feerate());
        if let Some(locktime) = locktime {
            builder.nlocktime(locktime);
        }
        builder
            .finish_with_aux_rand(&mut state.rng)
            .map_err(cannot_build)
    }

    fn finish(
        &self,
        state: &mut State,
        mut psbt: Psbt,
        now_secs: u64,
    ) -> Result<Transaction, WalletError> {
        if !state
            .bdk
            .sign(&mut psbt, SignOptions::default())
            .map_err(cannot_build)?
        {
            return Err(cannot_build("not all inputs could be signed"));
        }
        let tx = psbt.extract_tx().map_err(cannot_build)?;
        state.bdk.apply_unconfirmed_txs([(tx.clone(), now_secs)]);
        self.persist(state)?;
        Ok(tx)
    }

    /// Total, confirmed and spendable, given what anchor channels need kept back.
    pub(crate) fn balance(&self, reserve_sat: u64) -> WalletBalance {
        let state = self.lock();
        let balance = state.bdk.balance();
        let total_sat = balance.total().to_sat();
        WalletBalance {
            total_sat,
            confirmed_sat: balance.confirmed.to_sat(),
            spendable_sat: spendable(&state.bdk, reserve_sat),
            anchor_reserve_sat: reserve_sat.min(total_sat),
        }
    }

    /// Takes up transactions seen in the mempool; those that do not concern the wallet are ignored.
    pub(crate) fn mempool(
        &self,
        transactions: &[Transaction],
        now_secs: u64,
    ) -> Result<(), WalletError> {
        let mut state = self.lock();
        state
            .bdk
            .apply_unconfirmed_txs(transactions.iter().map(|tx| (tx.clone(), now_secs)));
        self.persist(&mut state)
    }

    /// Forgets unconfirmed transactions that left the mempool without a block.
    pub(crate) fn evicted(&self, txids: &[Txid], now_secs: u64) -> Result<(), WalletError> {
        let mut state = self.lock();
        state
            .bdk
            .apply_evicted_txs(txids.iter().map(|txid| (*txid, now_secs)));
        self.persist(&mut state)
    }

    /// Connects a block unless it is known already; a block on another branch replaces what was above its parent.
    pub(crate) fn block_connected(&self, block: &Block, height: u32) -> Result<(), WalletError> {
        let mut state = self.lock();
        let known = state
            .bdk
            .local_chain()
            .get(height)
            .is_some_and(|known| known.hash() == block.block_hash());
        if known {
            return Ok(());
        }
        let connected_to = connection_point(state.bdk.local_chain(), block, height);
        state
            .bdk
            .apply_block_connected_to(block, height, connected_to)
            .map_err(cannot_load)?;
        self.persist(&mut state)
    }

    /// The last block this wallet was given.
    pub(crate) fn best_block(&self) -> BestBlock {
        let tip = self.lock().bdk.latest_checkpoint();
        BestBlock::new(tip.hash(), tip.height())
    }

    fn persist(&self, state: &mut State) -> Result<(), WalletError> {
        let Some(change) = state.bdk.take_staged() else {
            return Ok(());
        };
        state.all.merge(change.clone());
        let snapshot =
            state.next_change > 0 && state.next_change.is_multiple_of(CHANGES_PER_SNAPSHOT);
        let older = if snapshot {
            self.store.keys(KEY_PREFIX)?
        } else {
            Vec::new()
        };
        let bytes =
            serde_json::to_vec(if snapshot { &state.all } else { &change }).map_err(cannot_load)?;
        self.store
            .put(&format!("{KEY_PREFIX}{:010}", state.next_change), &bytes)?;
        state.next_change += 1;
        // A stop in between leaves older changes beside the snapshot, which merging them again does not alter.
        for key in &older {
            self.store.forget(key)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no user of this lock panics")
    }
}

/// What LDK's fee bumping needs: confirmed coins, change, signatures.
impl WalletSourceSync for Wallet {
    fn list_confirmed_utxos(&self) -> Result<Vec<Utxo>, ()> {
        let state = self.lock();
        state
            .bdk
            .list_unspent()
            .filter(|coin| matches!(coin.chain_position, ChainPosition::Confirmed { .. }))
            .map(|coin| {
                // A P2WPKH script is OP_0, a push of 20, and the hash of the key (BIP 141).
                let script = coin.txout.script_pubkey.as_bytes();
                let key_hash = script
                    .get(2..)
                    .and_then(|hash| WPubkeyHash::from_slice(hash).ok())
                    .ok_or(())?;
                Ok(Utxo::new_v0_p2wpkh(
                    coin.outpoint,
                    coin.txout.value,
                    &key_hash,
                ))
            })
            .collect()
    }

    fn get_change_script(&self) -> Result<ScriptBuf, ()> {
        self.change_script().map_err(|_| ())
    }

    fn sign_psbt(&self, mut psbt: Psbt) -> Result<Transaction, ()> {
        // LDK fills in `witness_utxo` only. Inputs that are LDK's own stay unsigned, so "finalised" says nothing here.
        let options = SignOptions {
            trust_witness_utxo: true,
            ..SignOptions::default()
        };
        self.lock().bdk.sign(&mut psbt, options).map_err(|_| ())?;
        psbt.extract_tx().map_err(|_| ())
    }
}

/// Where a block joins what the wallet knows of the chain: its parent. A wallet that was made at a block which was replaced
/// since knows nothing below that but the chain's first block, and joins there.
fn connection_point(chain: &LocalChain, block: &Block, height: u32) -> BlockId {
    let parent = BlockId {
        height: height.saturating_sub(1),
        hash: block.header.prev_blockhash,
    };
    let below = chain.range(..height).next();
    below
        .filter(|below| below.height() == 0)
        .map_or(parent, |first| first.block_id())
}

fn spendable(bdk: &BdkWallet, reserve_sat: u64) -> u64 {
    bdk.balance()
        .trusted_spendable()
        .to_sat()
        .saturating_sub(reserve_sat)
}

fn seeded_rng(config: &NodeConfig) -> StdRng {
    let mut engine = sha256::Hash::engine();
    engine.input(b"wallet randomness");
    engine.input(&config.key_seed);
    engine.input(&config.restart_count.to_be_bytes());
    StdRng::from_seed(sha256::Hash::from_engine(engine).to_byte_array())
}

fn cannot_build(cause: impl ToString) -> WalletError {
    WalletError::CannotBuild {
        cause: cause.to_string(),
    }
}

fn cannot_load(cause: impl ToString) -> WalletError {
    WalletError::CannotLoad {
        cause: cause.to_string(),
    }
}
