//! Owns the one chain backend of a simulated world: the chain behind a lock, who is told of its changes, and the
//! engine's view of it (`ChainSource`). Does not own consensus or the mempool (`chain`).
//!
//! Fault model: notifications and answers travel over the network's links to `chain`, so they are late, and held back
//! by a partition. The backend itself neither stops nor lies yet.

use super::chain::{Chain, FeeFrom, FeeSchedule, FeeStep, MineRequest, TxStatus};
use crate::links::Network;
use crate::trace::{SharedTrace, Subsystem};
use crate::worlds::Reorg;
use async_channel::{Receiver, Sender};
use bitcoin::{Block, BlockHash, ScriptBuf, Transaction, Txid};
use futures_util::future::BoxFuture;
use lockstep_engine::rail::{BlockId, ChainPosition, ChainView, SeenTransaction};
use lockstep_host::ports::{BroadcastError, ChainSource, ChainUnavailable};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// The name of the backend's endpoint.
pub const ENDPOINT: &str = "chain";

/// A view reaches back this far at least, so that an asker who missed a short fork still connects.
const VIEW_BLOCKS: u32 = 12;

struct State {
    chain: Chain,
    version: u64,
    listeners: Vec<Sender<()>>,
}

/// The chain backend.
#[derive(Clone)]
pub struct Backend {
    state: Arc<Mutex<State>>,
    trace: SharedTrace,
}

/// Now in Unix seconds of virtual time, as block times are.
pub fn unix_now() -> u32 {
    super::virtual_unix_time().as_secs() as u32
}

impl Backend {
    /// A backend at regtest's genesis.
    pub fn new(chain: Chain, trace: SharedTrace) -> Backend {
        Backend {
            state: Arc::new(Mutex::new(State {
                chain,
                version: 0,
                listeners: Vec::new(),
            })),
            trace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the chain panics")
    }

    /// Reads the chain.
    pub fn read<T>(&self, read: impl FnOnce(&Chain) -> T) -> T {
        read(&self.state().chain)
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// A channel that holds a message whenever something has changed since it was last emptied.
    pub fn subscribe(&self) -> Receiver<()> {
        let (sender, receiver) = async_channel::bounded(1);
        self.state().listeners.push(sender);
        receiver
    }

    fn change<T>(&self, change: impl FnOnce(&mut Chain) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state.chain);
        state.version += 1;
        state.listeners.retain(|listener| !listener.is_closed());
        for listener in &state.listeners {
            // A full channel holds the message already.
            let _ = listener.try_send(());
        }
        result
    }

    /// Offers a transaction; the error is Bitcoin Core's reject word.
    pub fn submit(&self, transaction: &Transaction) -> Result<Txid, String> {
        let txid = transaction.compute_txid();
        let known = self.read(|chain| chain.transaction(&txid).is_some());
        if known {
            return Ok(txid);
        }
        let result = self.change(|chain| chain.submit_transaction(transaction, unix_now()));
        let word = result
            .as_ref()
            .map_or_else(ToString::to_string, |_| "accepted".to_owned());
        let event = json!({ "event": "offered", "txid": txid.to_string(), "answer": word });
        self.trace.lock().record(Subsystem::Chain, ENDPOINT, event);
        result
            .map(|accepted| accepted.txid)
            .map_err(|reject| reject.to_string())
    }

    /// Offers a parent and its child together (a commitment transaction and its anchor spend, for instance).
    pub fn submit_package(&self, transactions: &[Transaction]) {
        if let [parent, child] = transactions {
            let outcome = self.change(|chain| chain.submit_package(parent, child, unix_now()));
            let word = outcome.map_or_else(|reject| reject.to_string(), |_| "accepted".to_owned());
            let txids = [
                parent.compute_txid().to_string(),
                child.compute_txid().to_string(),
            ];
            self.trace.lock().record(
                Subsystem::Chain,
                ENDPOINT,
                json!({ "event": "offered", "package": txids, "answer": word }),
            );
            return;
        }
        for transaction in transactions {
            // The answer is in the trace; LDK offers again when it matters.
            let _ = self.submit(transaction);
        }
    }

    /// Mines one block from the mempool.
    pub fn mine(&self, payout: ScriptBuf) -> Result<Block, String> {
        let block = self
            .change(|chain| chain.mine(&request(payout, 0)))
            .map_err(|error| error.to_string())?;
        self.record_tip();
        Ok(block)
    }

    /// Replaces the last blocks by a branch of another miner.
    pub fn reorg(&self, reorg: &Reorg, payout: &ScriptBuf) -> Result<(), String> {
        self.change(|chain| {
            let fork = chain
                .height()
                .checked_sub(reorg.depth)
                .ok_or("the chain is not that long")?;
            let mut parent = chain.hash_at(fork).ok_or("the chain is not that long")?;
            for block in 0..reorg.blocks {
                let mut draft = chain
                    .draft(parent, &request(payout.clone(), 1))
                    .ok_or("the parent is unknown")?;
                if block == 0 {
                    draft.transactions.clone_from(&reorg.include);
                }
                let block = draft.seal();
                parent = block.block_hash();
                chain
                    .submit_block(block, unix_now())
                    .map_err(|reject| reject.to_string())?;
            }
            Ok::<(), String>(())
        })?;
        self.record_tip();
        Ok(())
    }

    /// From now on a transaction below this feerate is not mined, as if others paid more.
    pub fn set_fee_floor(&self, sat_per_kwu: u64) {
        let sat_per_kvb = sat_per_kwu * 4;
        let step = FeeStep {
            from: FeeFrom::Height(0),
            floor_sat_per_kvb: sat_per_kvb,
            next_block_sat_per_kvb: sat_per_kvb,
        };
        self.change(|chain| chain.set_fee_schedule(FeeSchedule { steps: vec![step] }));
    }

    fn record_tip(&self) {
        let tip = self.read(Chain::tip);
        let event = json!({ "event": "tip", "height": tip.height, "hash": tip.hash.to_string() });
        self.trace.lock().record(Subsystem::Chain, ENDPOINT, event);
    }

    /// The tip.
    pub fn tip(&self) -> BlockId {
        let tip = self.read(Chain::tip);
        BlockId {
            height: tip.height,
            hash: tip.hash,
        }
    }

    /// Everything unconfirmed, parents first.
    pub fn mempool(&self) -> Vec<Transaction> {
        self.read(|chain| parents_first(chain.mempool().map(|entry| (*entry.tx).clone()).collect()))
    }

    fn view(
        &self,
        scripts: &[ScriptBuf],
        known: &[BlockId],
    ) -> Result<ChainView, ChainUnavailable> {
        self.read(|chain| {
            let tip = chain.height();
            let fork = known
                .iter()
                .rev()
                .find(|block| chain.hash_at(block.height) == Some(block.hash));
            let from = fork
                .map_or(0, |block| block.height)
                .min(tip.saturating_sub(VIEW_BLOCKS));
            let block_at = |height| {
                chain
                    .hash_at(height)
                    .map(|hash: BlockHash| BlockId { height, hash })
            };
            let blocks = (from..=tip).filter_map(block_at).collect();
            let txids: BTreeSet<Txid> = scripts
                .iter()
                .flat_map(|script| chain.history(script))
                .map(|item| item.txid)
                .collect();
            let transactions = txids.iter().filter_map(|txid| seen(chain, txid)).collect();
            Ok(ChainView {
                blocks,
                transactions,
            })
        })
    }
}

fn request(payout_script: ScriptBuf, salt: u64) -> MineRequest {
    MineRequest {
        time: unix_now(),
        payout_script,
        max_weight: super::chain::MAX_BLOCK_WEIGHT,
        salt,
    }
}

fn seen(chain: &Chain, txid: &Txid) -> Option<SeenTransaction> {
    let view = chain.transaction(txid)?;
    let position = match view.status {
        TxStatus::Confirmed { height, .. } => {
            let hash = chain.hash_at(height)?;
            let time_secs = chain.header(&hash)?.time;
            ChainPosition::Confirmed {
                block: BlockId { height, hash },
                time_secs,
            }
        }
        TxStatus::Unconfirmed { .. } => ChainPosition::Mempool,
    };
    Some(SeenTransaction {
        transaction: view.tx,
        position,
    })
}

/// Orders transactions so that each comes after those that it spends.
fn parents_first(mut transactions: Vec<Transaction>) -> Vec<Transaction> {
    let mut ordered: Vec<Transaction> = Vec::with_capacity(transactions.len());
    while !transactions.is_empty() {
        let pending: BTreeSet<Txid> = transactions.iter().map(Transaction::compute_txid).collect();
        let free = |tx: &Transaction| {
            tx.input
                .iter()
                .all(|input| !pending.contains(&input.previous_output.txid))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = transactions.into_iter().partition(free);
        assert!(
            !ready.is_empty(),
            "transactions cannot spend each other in a circle"
        );
        ordered.extend(ready);
        transactions = rest;
    }
    ordered
}

/// The engine's connection to the backend.
pub struct EngineChain {
    backend: Backend,
    network: Network,
    changes: Receiver<()>,
}

impl EngineChain {
    /// Connects the endpoint `engine`.
    pub fn new(backend: Backend, network: Network) -> EngineChain {
        let changes = backend.subscribe();
        EngineChain {
            backend,
            network,
            changes,
        }
    }
}

impl ChainSource for EngineChain {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        Box::pin(async move {
            network.travel("engine", ENDPOINT).await;
            let view = backend.view(&scripts, &known);
            network.travel(ENDPOINT, "engine").await;
            view
        })
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        let (backend, network) = (self.backend.clone(), self.network.clone());
        Box::pin(async move {
            network.travel("engine", ENDPOINT).await;
            let answer = backend
                .submit(&transaction)
                .map_err(|word| BroadcastError::Refused { word });
            network.travel(ENDPOINT, "engine").await;
            answer
        })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let (changes, network) = (self.changes.clone(), self.network.clone());
        Box::pin(async move {
            if changes.recv().await.is_err() {
                std::future::pending::<()>().await;
            }
            network.travel(ENDPOINT, "engine").await;
        })
    }
}
