//! Owns the one chain backend of a simulated world: the chain behind a lock, who is told of its changes, and what
//! a look shows. Does not own consensus or the mempool (`chain`), nor the engine's connection to it (`engine_chain`).
//!
//! Fault model: what the chain and the backend do wrong is in `chain_faults`. Block times come from the miners' clock
//! (`clocks`) as far as others believe it: never two hours ahead, nor before the median time past.

use super::chain::{Chain, FeeFrom, FeeSchedule, FeeStep, MineRequest, TxStatus};
use super::chain_faults::{ChainFaults, Lens};
use super::clocks::Clocks;
use crate::faults::{FaultId, Faults};
use crate::prng::Stream;
use crate::scenario::ChainFaultKind;
use crate::trace::{SharedTrace, Subsystem};
use crate::worlds::Reorg;
use async_channel::{Receiver, Sender};
use bitcoin::{Block, BlockHash, ScriptBuf, Transaction, Txid};
use futures_util::FutureExt;
use futures_util::select_biased;
use lockstep_engine::rail::{
    BlockId, ChainPosition, ChainView, FeeBin, FeeEstimate, FeesSeen, SeenTransaction,
};
use madsim::time::sleep;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The name of the backend's endpoint.
pub const ENDPOINT: &str = "chain";

/// Targets for which estimates are told, in blocks: those of the engine's Electrum client.
const ESTIMATE_TARGETS: [u32; 6] = [2, 3, 6, 12, 36, 144];

/// A view reaches back this far at least, so that an asker who missed a short fork still connects.
const VIEW_BLOCKS: u32 = 12;

/// As long as the engine's Electrum client waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How far ahead of true time a block's time is at most: consensus allows two hours, a margin of ten minutes leaves room
/// for blocks that must be later than the median of those before.
const BELIEVED_AHEAD_SECS: u32 = 6_600;

/// Of a million questions to a backend that has stopped, so many are refused at once; the rest get no answer.
const REFUSED_PER_MILLION: u32 = 500_000;

struct State {
    chain: Chain,
    version: u64,
    listeners: Vec<Sender<()>>,
    troubles: ChainFaults,
    draws: Stream,
    /// Closed and renewed when a fault ends.
    gate: (Sender<()>, Receiver<()>),
}

/// The chain backend.
#[derive(Clone)]
pub struct Backend {
    state: Arc<Mutex<State>>,
    trace: SharedTrace,
    clocks: Clocks,
    faults: Arc<Mutex<Faults>>,
}

/// What a backend is made from beside its chain.
pub struct BackendParts {
    /// Trace.
    pub trace: SharedTrace,
    /// Clocks.
    pub clocks: Clocks,
    /// Where effects are counted.
    pub faults: Arc<Mutex<Faults>>,
    /// How a backend that has stopped shows it.
    pub draws: Stream,
}

/// Now in Unix seconds of true virtual time.
pub fn unix_now() -> u32 {
    super::virtual_unix_time().as_secs() as u32
}

impl Backend {
    /// A backend at regtest's genesis.
    pub fn new(chain: Chain, parts: BackendParts) -> Backend {
        Backend {
            state: Arc::new(Mutex::new(State {
                chain,
                version: 0,
                listeners: Vec::new(),
                troubles: ChainFaults::default(),
                draws: parts.draws,
                gate: async_channel::bounded(1),
            })),
            trace: parts.trace,
            clocks: parts.clocks,
            faults: parts.faults,
        }
    }

    fn had_effect(&self, fault: FaultId) {
        self.faults
            .lock()
            .expect("no holder panics")
            .had_effect(fault);
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

    /// Asks for a block from the mempool; it may be found later.
    pub fn mine(&self, payout: ScriptBuf) -> Result<(), String> {
        let late = self.state().troubles.late();
        if let Some(fault) = late {
            self.had_effect(fault);
            self.state().troubles.withheld.push(payout);
            return Ok(());
        }
        self.find_block(payout)
    }

    fn find_block(&self, payout: ScriptBuf) -> Result<(), String> {
        let request = self.request(payout, 0);
        let (empty, spike, usual) = {
            let state = self.state();
            let usual = state.troubles.usual_floor_sat_per_kvb;
            let usual = usual.max(state.chain.policy().block_min_sat_per_kvb);
            (state.troubles.empty(), state.troubles.spike(), usual)
        };
        let found = self.change(|chain| {
            let usually = chain.selection(&request, usual).len();
            let block = match empty {
                Some(_) => chain.mine_empty(&request),
                None => chain.mine(&request),
            }?;
            Ok::<_, super::chain::MineError>((block, usually))
        });
        let (block, usually) = found.map_err(|error| error.to_string())?;
        let held = block.txdata.len().saturating_sub(1);
        if let Some(fault) = empty
            .or(spike.map(|(fault, _)| fault))
            .filter(|_| held < usually)
        {
            self.had_effect(fault);
        }
        self.note_time_of(&block);
        self.record_tip();
        Ok(())
    }

    /// What a miner is asked for: its clock as far as others believe it.
    fn request(&self, payout_script: ScriptBuf, salt: u64) -> MineRequest {
        let claimed = u32::try_from(self.clocks.peek(ENDPOINT).as_secs()).unwrap_or(u32::MAX);
        MineRequest {
            time: claimed.min(unix_now().saturating_add(BELIEVED_AHEAD_SECS)),
            payout_script,
            max_weight: super::chain::MAX_BLOCK_WEIGHT,
            salt,
        }
    }

    /// The miners' clock has an effect only if the block's time is another than a right clock would have given it.
    fn note_time_of(&self, block: &Block) {
        let parent = block.header.prev_blockhash;
        let earliest = self.read(|chain| chain.median_time_past(parent)) + 1;
        if block.header.time != unix_now().max(earliest) {
            self.clocks.now(ENDPOINT);
        }
    }

    /// Drops an unconfirmed transaction, and what spends it, from the mempool; false if it is not there.
    pub fn evict(&self, txid: &Txid) -> bool {
        let evicted = self.change(|chain| chain.evict(txid));
        let words: Vec<String> = evicted.iter().map(ToString::to_string).collect();
        let event = json!({ "event": "evicted", "txids": words });
        self.trace.lock().record(Subsystem::Chain, ENDPOINT, event);
        !evicted.is_empty()
    }

    /// Begins a fault that lasts.
    pub fn begin_fault(&self, kind: &ChainFaultKind, fault: FaultId) {
        {
            let mut state = self.state();
            let height = state.chain.height();
            state.troubles.begin(kind.clone(), fault, height);
        }
        if matches!(kind, ChainFaultKind::FeeSpike { .. }) {
            self.apply_floor();
        }
    }

    /// Ends it: blocks that were kept back are found, and everybody looks again.
    pub fn end_fault(&self, fault: FaultId) -> Result<(), String> {
        let (was_active, due) = {
            let mut state = self.state();
            let was_active = state.troubles.end(fault);
            let is_over = was_active && state.troubles.late().is_none();
            let due = if is_over {
                std::mem::take(&mut state.troubles.withheld)
            } else {
                Vec::new()
            };
            (was_active, due)
        };
        if !was_active {
            return Ok(());
        }
        self.apply_floor();
        due.into_iter()
            .try_for_each(|payout| self.find_block(payout))?;
        let fresh = async_channel::bounded(1);
        let old = std::mem::replace(&mut self.state().gate, fresh);
        old.0.close();
        self.change(|_| ());
        Ok(())
    }

    /// Whether the backend answers nobody now.
    pub fn is_stopped(&self) -> bool {
        self.state().troubles.stopped().is_some()
    }

    /// The highest block that is shown.
    pub fn shown_height(&self) -> u32 {
        let state = self.state();
        state.troubles.lens(state.chain.height()).tip_height
    }

    /// The same for a look: an effect if it is behind.
    pub fn look_height(&self) -> u32 {
        let (lens, height) = {
            let state = self.state();
            let height = state.chain.height();
            (state.troubles.lens(height), height)
        };
        self.count_lag(lens, height);
        lens.tip_height
    }

    fn count_lag(&self, lens: Lens, height: u32) {
        if let Some(fault) = lens.behind.filter(|_| lens.tip_height < height) {
            self.had_effect(fault);
        }
    }

    /// Waits until the backend answers again.
    pub async fn wait_while_stopped(&self) {
        let mut counted = None;
        loop {
            let (stopped, gate) = {
                let state = self.state();
                (state.troubles.stopped(), state.gate.1.clone())
            };
            let Some(fault) = stopped else {
                return;
            };
            if counted != Some(fault) {
                counted = Some(fault);
                self.had_effect(fault);
            }
            // The gate is closed, never used: the error is the news that some fault has ended.
            let _ = gate.recv().await;
        }
    }

    /// Whether a question is answered; if not, why, after as long as it takes to know.
    pub(super) async fn answers(&self) -> Result<(), String> {
        let (fault, refused, gate) = {
            let mut state = self.state();
            let Some(fault) = state.troubles.stopped() else {
                return Ok(());
            };
            let refused = state.draws.chance(REFUSED_PER_MILLION);
            (fault, refused, state.gate.1.clone())
        };
        self.had_effect(fault);
        if refused {
            return Err("the backend refuses connections".to_owned());
        }
        select_biased! {
            _ = gate.recv().fuse() => {}
            () = sleep(ANSWER_LIMIT).fuse() => {}
        }
        Err("the backend did not answer".to_owned())
    }

    /// Replaces the last blocks by a branch of another miner.
    pub fn reorg(&self, reorg: &Reorg, payout: &ScriptBuf) -> Result<(), String> {
        let first = self.request(payout.clone(), 1);
        let made = self.change(|chain| {
            let fork = chain
                .height()
                .checked_sub(reorg.depth)
                .ok_or("the chain is not that long")?;
            let mut parent = chain.hash_at(fork).ok_or("the chain is not that long")?;
            let mut made = Vec::new();
            for block in 0..reorg.blocks {
                let mut draft = chain.draft(parent, &first).ok_or("the parent is unknown")?;
                if block == 0 {
                    draft.transactions.clone_from(&reorg.include);
                }
                let block = draft.seal();
                parent = block.block_hash();
                chain
                    .submit_block(block.clone(), unix_now())
                    .map_err(|reject| reject.to_string())?;
                made.push(block);
            }
            Ok::<_, String>(made)
        })?;
        made.iter().for_each(|block| self.note_time_of(block));
        self.record_tip();
        Ok(())
    }

    /// From now on a transaction below this feerate is not mined, as if others paid more.
    pub fn set_fee_floor(&self, sat_per_kwu: u64) {
        self.state().troubles.usual_floor_sat_per_kvb = sat_per_kwu * 4;
        self.apply_floor();
    }

    fn apply_floor(&self) {
        let sat_per_kvb = self.state().troubles.floor_sat_per_kvb();
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

    /// What is in the mempool by id, and the transactions that are not among `known`, parents first.
    pub(super) fn mempool_beside(
        &self,
        known: &BTreeSet<Txid>,
    ) -> (BTreeSet<Txid>, Vec<Transaction>) {
        self.read(|chain| {
            let now = chain.mempool().map(|entry| entry.txid).collect();
            let fresh = chain.mempool().filter(|entry| !known.contains(&entry.txid));
            let fresh = fresh.map(|entry| (*entry.tx).clone()).collect();
            (now, parents_first(fresh))
        })
    }

    /// What the node says about fees: estimates only of a market that moves, as a node that has seen nothing has none.
    pub(super) fn fees(&self) -> FeesSeen {
        let now = unix_now();
        self.read(|chain| {
            let floor = chain.block_floor(now) > chain.policy().block_min_sat_per_kvb;
            let targets = ESTIMATE_TARGETS.iter().filter(|_| floor);
            let estimates = targets.map(|blocks| FeeEstimate {
                blocks: *blocks,
                sat_per_kwu: chain.estimate_feerate(*blocks, now).div_ceil(4),
            });
            let bins = chain.mempool().map(|entry| FeeBin {
                sat_per_kwu: (entry.fee_sat * 250).div_ceil(entry.vsize.max(1)),
                weight_wu: entry.vsize * 4,
            });
            FeesSeen {
                estimates: estimates.collect(),
                mempool: bins.collect(),
                minimum_sat_per_kwu: chain.min_feerate(now).div_ceil(4),
            }
        })
    }

    /// What a look shows, as far as the backend tells the truth.
    pub(super) fn view(&self, scripts: &[ScriptBuf], known: &[BlockId]) -> ChainView {
        let (view, lens, height, denied) = {
            let state = self.state();
            let chain = &state.chain;
            let lens = state.troubles.lens(chain.height());
            let txids: BTreeSet<Txid> = scripts
                .iter()
                .flat_map(|script| chain.history(script))
                .map(|item| item.txid)
                .collect();
            let shown = txids.iter().filter(|txid| !is_denied(chain, txid, lens));
            let transactions: Vec<_> = shown
                .filter_map(|txid| seen(chain, txid, lens.tip_height))
                .collect();
            let denied = txids.len() > transactions.len();
            let view = ChainView {
                blocks: blocks(chain, known, lens.tip_height),
                transactions,
                tip_time_secs: chain.block_at(lens.tip_height).map(|tip| tip.header.time),
            };
            (view, lens, chain.height(), denied)
        };
        self.count_lag(lens, height);
        if let Some((fault, _)) = lens.denied.filter(|_| denied) {
            self.had_effect(fault);
        }
        view
    }
}

/// The best chain from where the asker forks off, and some blocks before, up to `tip`.
fn blocks(chain: &Chain, known: &[BlockId], tip: u32) -> Vec<BlockId> {
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
    (from..=tip).filter_map(block_at).collect()
}

/// Whether a lie hides this transaction.
fn is_denied(chain: &Chain, txid: &Txid, lens: Lens) -> bool {
    let Some((_, above)) = lens.denied else {
        return false;
    };
    match chain.transaction(txid).map(|view| view.status) {
        Some(TxStatus::Confirmed { height, .. }) => height > above,
        Some(TxStatus::Unconfirmed { .. }) | None => true,
    }
}

/// A transaction as it is shown by who knows no block above `tip`.
fn seen(chain: &Chain, txid: &Txid, tip: u32) -> Option<SeenTransaction> {
    let view = chain.transaction(txid)?;
    let position = match view.status {
        TxStatus::Confirmed { height, .. } if height <= tip => {
            let hash = chain.hash_at(height)?;
            let time_secs = chain.header(&hash)?.time;
            ChainPosition::Confirmed {
                block: BlockId { height, hash },
                time_secs,
            }
        }
        TxStatus::Confirmed { .. } | TxStatus::Unconfirmed { .. } => ChainPosition::Mempool,
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
