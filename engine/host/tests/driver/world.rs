//! Owns a small outside for the driver's tests: ports in memory, all under the test's control, and a log of what
//! happened in which order. Does not own any test.
//!
//! Fault model: the store can be full or slow; chain and Lightning node can be down; the gateway can lose its answer after it
//! has acted; the driver can be killed at any point. Nothing here loses what it has taken.

use async_channel::{Receiver, Sender};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use lockstep_engine::api::{Engine, EngineConfig, Event, Input, Output, Refusal};
use lockstep_engine::journal::Journal;
use lockstep_engine::money::Msat;
use lockstep_engine::onchain::Descriptors;
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{
    BlockId, ChainPosition, ChainView, Entropy, FeesSeen, HttpFailure, Method, NodeView,
    SeenTransaction,
};
use lockstep_engine::time::Timestamp;
use lockstep_host::Ports;
use lockstep_host::ports::{
    BroadcastError, ChainSource, ChainUnavailable, ClaimOrder, ClaimTaken, Clock,
    CloseChannelOrder, EntropySource, FailOrder, Flow, GatewayCall, HttpResponse, HttpTransport,
    Interruption, InvoiceOrder, LightningBalance, LightningError, LightningEvent, LightningNode,
    LightningUnavailable, NoCosigners, Observer, OpenChannelOrder, PayError, PayOrder, PayTaken,
    Point, Signer, SignerUnavailable, StatementOrder, Store, StoreError,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) const SECRET: &str = "webhook secret";

/// Everything outside, and what it remembers across restarts of the driver.
#[derive(Default)]
pub(crate) struct Outside {
    pub(crate) log: Vec<String>,
    pub(crate) now: u64,
    sleepers: Vec<(u64, Sender<()>)>,
    pub(crate) draws: u64,
    pub(crate) disk: Disk,
    pub(crate) chain: Chain,
    pub(crate) lightning: Lightning,
    pub(crate) gateway: Gateway,
    /// Kill at the nth time that this point is passed.
    pub(crate) kill: Option<(Point, usize)>,
    /// Of the engine after each accepted input.
    pub(crate) digests: Vec<[u8; 32]>,
    pub(crate) refusals: usize,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) synced: Vec<Vec<u8>>,
    appended: Vec<Vec<u8>>,
    pub(crate) full: bool,
    /// While there is a receiver, a sync is over only when it gets a message.
    pub(crate) slow: Option<Receiver<()>>,
}

#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<BlockId>,
    transactions: Vec<SeenTransaction>,
    pub(crate) down: bool,
    pub(crate) looks: usize,
    waiting: Vec<Sender<()>>,
}

#[derive(Default)]
pub(crate) struct Lightning {
    pub(crate) down: bool,
    pub(crate) balance_reads: usize,
    pub(crate) events: VecDeque<LightningEvent>,
}

#[derive(Default)]
pub(crate) struct Gateway {
    /// By key: the body and its one answer.
    pub(crate) executed: BTreeMap<String, (String, HttpResponse)>,
    /// Answers to lose after acting.
    pub(crate) lose: usize,
    /// Nobody can connect.
    pub(crate) unreachable: bool,
    pub(crate) calls: usize,
}

/// The world as ports; a clone is the same world.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Outside>>);

impl World {
    pub(crate) fn new() -> World {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
        let mut outside = Outside {
            now: 1_700_000_000_000,
            ..Outside::default()
        };
        outside.chain.blocks.push(BlockId {
            height: 0,
            hash: genesis,
        });
        World(Arc::new(Mutex::new(outside)))
    }

    pub(crate) fn outside(&self) -> MutexGuard<'_, Outside> {
        self.0.lock().expect("world")
    }

    pub(crate) fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports {
            clock: this.clone(),
            chain: this.clone(),
            lightning: this.clone(),
            http: this.clone(),
            layer0: this.clone(),
            signer: this.clone(),
            cosigners: Arc::new(NoCosigners),
            entropy: this.clone(),
            observer: this.clone(),
            interruption: this,
        }
    }

    pub(crate) fn store(&self) -> Box<dyn Store> {
        self.outside().disk.appended.clear();
        Box::new(self.clone())
    }

    pub(crate) fn note(&self, line: impl Into<String>) {
        self.outside().log.push(line.into());
    }

    /// Where in the log a line is; it must be there once.
    pub(crate) fn place_of(&self, line: &str) -> usize {
        let outside = self.outside();
        let places: Vec<usize> = (0..outside.log.len())
            .filter(|at| outside.log[*at] == line)
            .collect();
        assert_eq!(places.len(), 1, "`{line}` in {:#?}", outside.log);
        places[0]
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, milliseconds: u64) {
        let mut outside = self.outside();
        outside.now += milliseconds;
        let now = outside.now;
        outside
            .sleepers
            .retain(|(until, wake)| *until > now || wake.try_send(()).is_err());
    }

    /// Mines a block; if `script` is given, with a transaction that pays it. The same script is paid once.
    pub(crate) fn mine(&self, pay: Option<(ScriptBuf, u64)>) {
        let mut outside = self.outside();
        let chain = &mut outside.chain;
        let tip = *chain.blocks.last().expect("genesis");
        let hash = BlockHash::from_byte_array(
            sha256::Hash::hash(tip.hash.as_byte_array()).to_byte_array(),
        );
        let block = BlockId {
            height: tip.height + 1,
            hash,
        };
        if let Some((script, sat)) = pay {
            if chain
                .transactions
                .iter()
                .any(|seen| pays(&seen.transaction, &script))
            {
                return;
            }
            let position = ChainPosition::Confirmed {
                block,
                time_secs: 1_700_000_000,
            };
            chain.transactions.push(SeenTransaction {
                transaction: payment(script, sat),
                position,
            });
        }
        chain.blocks.push(block);
        for waiting in chain.waiting.drain(..) {
            // Nobody may listen any more.
            let _ = waiting.try_send(());
        }
    }
}

fn pays(transaction: &Transaction, script: &ScriptBuf) -> bool {
    transaction
        .output
        .iter()
        .any(|output| output.script_pubkey == *script)
}

fn payment(script: ScriptBuf, sat: u64) -> Transaction {
    let previous_output = OutPoint {
        txid: Txid::from_byte_array([7; 32]),
        vout: 0,
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output,
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: script,
        }],
    }
}

pub(crate) fn config() -> EngineConfig {
    // Public keys of a test seed.
    const KEY: &str = "tpubDDnGNapGEY6AZAdQbfRJgMg9fvz8pUBrLwvyvUqEgcUfgzM6zc2eVK4vY9x9L5FJWdX8WumXuLEDV5zDZnTfbn87vLe9XceCFwTu9so9Kks";
    EngineConfig {
        network: Network::Regtest,
        descriptors: Descriptors {
            external: format!("wpkh({KEY}/0/*)"),
            internal: format!("wpkh({KEY}/1/*)"),
        },
        policy: Policy::regtest_default(),
        webhook_secrets: vec![SECRET.to_owned()],
        layer0_secrets: Vec::new(),
        planted: None,
    }
}

/// An engine that nobody but this function has driven through the journal on disk, and all its events.
pub(crate) fn folded(world: &World) -> (Engine, Vec<Event>) {
    let stored = world.outside().disk.synced.clone();
    let (_, records) = Journal::from_records::<Input>(&stored, None).expect("hash chain");
    let mut engine = Engine::new(config()).expect("engine");
    let mut events = Vec::new();
    for record in records {
        events.extend(
            engine
                .step(record.at, &record.input)
                .expect("was accepted")
                .events,
        );
    }
    (engine, events)
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.outside().now)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let (wake, woken) = async_channel::bounded(1);
        let mut outside = self.outside();
        if at.0 <= outside.now {
            return ready(()).boxed();
        }
        outside.sleepers.push((at.0, wake));
        async move { woken.recv().await.expect("the world keeps its sleepers") }.boxed()
    }
}

impl ChainSource for World {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        _known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        let mut outside = self.outside();
        outside.chain.looks += 1;
        if outside.chain.down {
            return ready(Err(ChainUnavailable {
                reason: "down".to_owned(),
            }))
            .boxed();
        }
        let seen = outside.chain.transactions.iter();
        let transactions = seen
            .filter(|seen| scripts.iter().any(|script| pays(&seen.transaction, script)))
            .cloned()
            .collect();
        ready(Ok(ChainView {
            blocks: outside.chain.blocks.clone(),
            transactions,
            tip_time_secs: None,
        }))
        .boxed()
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        ready(Ok(transaction.compute_txid())).boxed()
    }

    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>> {
        ready(Ok(FeesSeen::default())).boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let (changed, change): (Sender<()>, Receiver<()>) = async_channel::bounded(1);
        self.outside().chain.waiting.push(changed);
        async move { change.recv().await.expect("the world keeps its listeners") }.boxed()
    }
}

impl LightningNode for World {
    fn create_invoice(
        &self,
        _: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>> {
        ready(Err(LightningError::Refused {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn pay(&self, _: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>> {
        ready(Err(PayError::Unavailable {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn claim_held(
        &self,
        _: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>> {
        ready(Err(LightningUnavailable {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn fail_held(&self, _: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        ready(Ok(())).boxed()
    }

    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>> {
        let mut outside = self.outside();
        outside.lightning.balance_reads += 1;
        if outside.lightning.down {
            return ready(Err(LightningUnavailable {
                reason: "down".to_owned(),
            }))
            .boxed();
        }
        ready(Ok(LightningBalance {
            local_msat: Msat(0),
            outgoing_htlcs_msat: Msat(0),
        }))
        .boxed()
    }

    fn open_channel(&self, _: OpenChannelOrder) -> BoxFuture<'static, Result<(), LightningError>> {
        ready(Err(LightningError::Refused {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn close_channel(
        &self,
        _: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        ready(Err(LightningError::Refused {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>> {
        ready(Err(LightningUnavailable {
            reason: "no channels".to_owned(),
        }))
        .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    fn next_event(&self) -> BoxFuture<'static, LightningEvent> {
        match self.outside().lightning.events.front() {
            Some(event) => ready(event.clone()).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let this = self.clone();
        async move {
            let mut outside = this.outside();
            outside.lightning.events.pop_front();
            outside.log.push("event handled".to_owned());
            Ok(())
        }
        .boxed()
    }
}

impl HttpTransport for World {
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let this = self.clone();
        async move {
            let mut outside = this.outside();
            outside.log.push(format!("call {}", call.key));
            outside.gateway.calls += 1;
            if outside.gateway.unreachable {
                return Err(HttpFailure::NotConnected);
            }
            if call.request.method == Method::Get {
                return Ok(HttpResponse {
                    status: 404,
                    body: "{}".to_owned(),
                });
            }
            let answer = outside.gateway.execute(&call);
            if outside.gateway.lose > 0 {
                outside.gateway.lose -= 1;
                return Err(HttpFailure::ConnectionLost);
            }
            Ok(answer)
        }
        .boxed()
    }
}

impl Gateway {
    fn execute(&mut self, call: &GatewayCall) -> HttpResponse {
        let number = self.executed.len() + 1;
        let reference = call.key.0.split('/').next().expect("one part at least");
        let body = transfer(&format!("tr_{number}"), reference, "accepted", 1);
        let first = (
            call.request.body.clone(),
            HttpResponse { status: 201, body },
        );
        let (body, answer) = self.executed.entry(call.key.0.clone()).or_insert(first);
        assert_eq!(*body, call.request.body, "another body under the same key");
        answer.clone()
    }
}

/// A transfer of 12.50 EUR as the gateway writes it.
pub(crate) fn transfer(id: &str, reference: &str, status: &str, version: u32) -> String {
    format!(
        r#"{{"id":"{id}","reference":"{reference}","amount":1250,"currency":"EUR","status":"{status}","version":{version},"return_reason":null}}"#
    )
}

impl Signer for World {
    fn sign(
        &self,
        _: String,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>> {
        ready(Ok(Err("no keys".to_owned()))).boxed()
    }

    fn sign_statement(
        &self,
        _: StatementOrder,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>> {
        ready(Ok(Err("no keys".to_owned()))).boxed()
    }
}

impl EntropySource for World {
    fn draw(&self) -> Entropy {
        let mut outside = self.outside();
        outside.draws += 1;
        Entropy(sha256::Hash::hash(&outside.draws.to_le_bytes()).to_byte_array())
    }
}

impl Observer for World {
    fn on_accepted(&self, _: Timestamp, input: &Input, _: &Output, engine: &Engine) {
        let digest = engine.digest();
        let mut outside = self.outside();
        outside.digests.push(digest);
        if let Input::Command { id, .. } = input {
            outside.log.push(format!("accepted {id}"));
        }
    }

    fn on_refused(&self, _: Timestamp, _: &Input, _: &Refusal) {
        self.outside().refusals += 1;
    }

    fn on_exchange(&self, _: Timestamp, _: &GatewayCall, _: &Result<HttpResponse, HttpFailure>) {}
}

impl Interruption for World {
    fn at(&self, point: Point, _: &Input) -> Flow {
        let mut outside = self.outside();
        match &mut outside.kill {
            Some((at, left)) if *at == point => {
                *left -= 1;
                if *left > 0 {
                    return Flow::Continue;
                }
                outside.kill = None;
                Flow::Stop
            }
            _ => Flow::Continue,
        }
    }
}

impl Store for World {
    fn append(&mut self, _: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.outside().disk.appended.push(bytes.to_vec());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut outside = self.outside();
        if outside.disk.full {
            return Err(StoreError::NoSpace {
                during: "writing the journal",
            });
        }
        let appended = std::mem::take(&mut outside.disk.appended);
        outside.disk.synced.extend(appended);
        let line = format!("synced {}", outside.disk.synced.len());
        outside.log.push(line);
        Ok(())
    }

    fn flushing(&mut self) -> Option<BoxFuture<'static, ()>> {
        let over = self.outside().disk.slow.clone()?;
        let waiting = async move {
            // A sender that has gone away lets nobody through.
            if over.recv().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        Some(waiting.boxed())
    }

    fn read_all(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.outside().disk.synced.clone())
    }
}
