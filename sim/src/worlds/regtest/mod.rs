//! Owns the regtest world: real bitcoind, electrs, `ldk-node` nodes and HTTP on loopback around the engine with its production
//! adapters, in lock step with a virtual clock that the world moves. Does not own when it is at rest (`rest`) nor the scenario (`run`).
//!
//! Fault model: links between nodes are held, delayed and cut by proxies (`proxy`), nodes are stopped or killed as far as
//! parts of this process can be (`nodes`), bitcoind and electrs are paused and killed (`bitcoind_process`, `electrs_process`),
//! the engine's host is killed at any await and held (`engine_process`), the gateway's door is shut, or nobody answers behind
//! it (`door`), it loses responses and webhooks as its model says, reorgs and fee floors are bitcoind's own. What else the simulated world can do, this one
//! refuses (`faults`). ldk-node takes its time from the machine, not from the virtual clock.
//!
//! Everything is gone from the machine after `shut_down`, an error, a panic or Ctrl-C: the world's `Drop` ends engine,
//! nodes and servers and removes the run's one directory. See `servers` for what a SIGKILL leaves behind.

mod balances;
mod bitcoind_process;
mod chain;
mod channels;
mod clock;
mod door;
mod electrs_process;
mod electrs_questions;
mod engine_process;
mod entropy;
mod faults;
mod fee_market;
mod http_server;
mod journal_file;
mod lightning;
mod nodes;
mod operator;
mod process_faults;
mod proxy;
mod rest;
mod runtime;
mod server_process;
mod servers;
mod socket_node;
mod store;
mod waits;

pub use waits::{Cancel, Waits};

use super::Blueprint;
use super::gateway::Gateway;
use super::http_system::SharedLayer0;
use super::layer0::Layer0;
use super::no_layer0::NoLayer0;
use super::no_node::NoNode;
use super::service::{OpenStore, Service, ServiceParts, Switch};
use super::{
    ChannelPlan, ChannelSight, ChannelState, CloseOrder, HashTruth, OfferedHtlc, Reorg,
    SharedGateway, TruthSource, World, WorldError, WorldKind,
};
use crate::faults::FaultId;
use crate::scenario::Trouble;
use crate::vtime::{Epoch, Offset};
use balances::OpenChannel;
use bitcoin::{Address, Block, OutPoint, ScriptBuf, Transaction, Txid};
use clock::{LockStepClock, machine_time};
use door::WatchedWay;
use engine_process::EngineProcess;
use entropy::SeededEntropy;
use faults::Troubles;
use fee_market::FeeMarket;
use http_server::{CurrentService, HttpServer, Outside};
use lockstep_engine::rail::BlockId;
use lockstep_engine::time::Timestamp;
use lockstep_host::adapters::electrs::ElectrsChain;
use lockstep_host::adapters::http_client::HttpClient;
use lockstep_host::ports::{ChainSource, HttpTransport, LightningNode, Ports, Store};
use lockstep_host::store::JournalStore;
use nodes::NodeProcess;
use operator::OperatorNode;
use proxy::Links;
use servers::{Executables, Servers};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
pub use {runtime::runtime, socket_node::SocketNode};

/// The engine is told of every change by the world, so its own look-out only has to be there.
const CHAIN_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long the engine has to end in an orderly shutdown.
const ENGINE_END_LIMIT: Duration = Duration::from_secs(10);

/// The regtest world.
pub struct RegtestWorld {
    blueprint: Blueprint,
    epoch: Epoch,
    clock: LockStepClock,
    cancel: Cancel,
    waits: Waits,
    seen: rest::Seen,
    gateway: SharedGateway,
    service: CurrentService,
    running: Option<Service>,
    operator: Option<OperatorNode>,
    switch: Arc<Switch>,
    channels: Vec<OpenChannel>,
    /// Sweeps that their nodes have not broadcast yet.
    sweeps: channels::Sweeps,
    fee_floor: u64,
    market: FeeMarket,
    troubles: Troubles,
    engine: Arc<EngineProcess>,
    nodes: Vec<Arc<NodeProcess>>,
    links: Links,
    // In the order of their end.
    gateway_server: HttpServer,
    /// Layer 0 and its model, if the scenario uses it.
    layer0: Option<(HttpServer, SharedLayer0)>,
    servers: Servers,
    dir: TempDir,
}

impl RegtestWorld {
    /// Starts the servers and the Lightning nodes; the engine does not run yet. Must be called within [`runtime`].
    pub async fn build(blueprint: Blueprint, cancel: Cancel) -> Result<RegtestWorld, WorldError> {
        let executables = Executables::find()?;
        let waits = Waits::default();
        let failed = |error: std::io::Error| WorldError::harness("make the run's directory", error);
        let dir = tempfile::Builder::new()
            .prefix("lockstep-regtest-")
            .tempdir()
            .map_err(failed)?;
        let clock = LockStepClock::at(machine_time());
        let (start, now_secs) = (Instant::now(), clock.time().0 / 1_000);
        let bitcoind = servers::start_bitcoind(&executables, dir.path(), now_secs)?;
        waits.add("bitcoind to start", start);
        cancel.check()?;
        let start = Instant::now();
        let electrs = servers::start_electrs(&executables, dir.path(), &bitcoind)?;
        waits.add("electrs to start", start);
        let gateway = SharedGateway::counting(
            Gateway::new(blueprint.gateway.clone()),
            blueprint.faults.clone(),
        );
        let service = CurrentService::default();
        let outside = Outside {
            clock: clock.clone(),
            trace: blueprint.trace.clone(),
            service: service.clone(),
            faults: blueprint.faults.clone(),
        };
        let gateway_server = HttpServer::start(Arc::new(gateway.clone()), &outside).await?;
        let layer0 = match &blueprint.layer0 {
            Some(plan) => {
                let model = Layer0::new(plan.config.clone());
                let model = SharedLayer0::counting(model, blueprint.faults.clone());
                let server = HttpServer::start(Arc::new(model.clone()), &outside).await?;
                Some((server, model))
            }
            None => None,
        };
        let engine = EngineProcess::new(Handle::current(), blueprint.trace.clone());
        let engine = Arc::new(engine);
        let mut world = RegtestWorld {
            blueprint,
            epoch: Epoch(clock.time()),
            clock,
            cancel,
            waits,
            seen: rest::Seen::default(),
            gateway,
            service,
            running: None,
            operator: None,
            switch: Arc::new(Switch::default()),
            channels: Vec::new(),
            sweeps: channels::Sweeps::new(),
            fee_floor: 0,
            market: FeeMarket::default(),
            troubles: Troubles::default(),
            engine,
            nodes: Vec::new(),
            links: Links::default(),
            gateway_server,
            layer0,
            servers: Servers::new(bitcoind, electrs, dir.path(), now_secs),
            dir,
        };
        world.start_nodes().await?;
        Ok(world)
    }

    fn electrum_url(&self) -> String {
        format!(
            "tcp://{}",
            self.servers
                .electrs
                .electrum_url
                .replace("0.0.0.0", "127.0.0.1")
        )
    }

    /// Where real time went; stays readable after the world's end.
    pub fn waits(&self) -> Waits {
        self.waits.clone()
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal.redb")
    }

    /// Opens a copy of the journal's file for an audit. Call it at rest.
    pub fn open_audit(&self) -> OpenStore {
        journal_file::open_copy(self.journal(), self.dir.path().join("journal-audit.redb"))
    }

    fn ports(&mut self) -> Ports {
        let operated = self
            .blueprint
            .operator
            .as_ref()
            .and_then(|name| self.process(name).ok())
            .cloned();
        let lightning: Arc<dyn LightningNode> = match operated {
            Some(process) => {
                process.stop_pumping();
                let operator = OperatorNode::new(process);
                self.operator = Some(operator.clone());
                Arc::new(operator)
            }
            None => Arc::new(NoNode),
        };
        let layer0: Arc<dyn HttpTransport> = match (&self.layer0, &self.blueprint.layer0) {
            (Some((server, _)), Some(plan)) => Arc::new(self.way_to(server, &plan.token)),
            _ => Arc::new(NoLayer0),
        };
        Ports {
            clock: Arc::new(self.clock.clone()),
            chain: Arc::new(self.bidden_chain()),
            lightning,
            http: Arc::new(self.way_to(&self.gateway_server, &self.blueprint.gateway_token)),
            layer0,
            signer: Arc::new(self.blueprint.signer.clone()),
            cosigners: Arc::new(self.blueprint.cosigners.clone()),
            entropy: Arc::new(SeededEntropy(Mutex::new(
                self.blueprint.seed.stream("engine entropy"),
            ))),
            observer: self.blueprint.observer.clone(),
            interruption: self.switch.clone(),
        }
    }

    /// The engine's way to a system.
    fn way_to(&self, server: &HttpServer, token: &str) -> WatchedWay {
        let client = HttpClient::new(server.address.to_string(), token.to_owned());
        WatchedWay::new(client, server.door.clone(), self.clock.clone())
    }

    /// The gateway's server, and that of Layer 0 if there is one.
    fn http_servers(&self) -> impl Iterator<Item = &HttpServer> {
        let layer0 = self.layer0.iter().map(|(server, _)| server);
        std::iter::once(&self.gateway_server).chain(layer0)
    }

    /// Virtual time moves on to `at`, for the engine, the gateway and bitcoind.
    fn advance(&self, at: Timestamp) -> Result<(), WorldError> {
        self.clock.advance(at);
        self.servers.set_time(at.0 / 1_000)
    }

    /// When somebody next acts by himself.
    fn next_due(&self) -> Result<Option<Timestamp>, WorldError> {
        let engine = match &self.running {
            Some(service) if !service.is_kept() => {
                service.status()?.and_then(|status| status.next_wake)
            }
            _ => None,
        };
        let systems = self.http_servers().filter_map(HttpServer::next_due);
        Ok(engine.into_iter().chain(systems).min())
    }

    fn stop_engine(&mut self) {
        if let Some(handle) = self
            .running
            .take()
            .and_then(|service| service.handle().ok())
        {
            handle.stop();
        }
        *self.service.lock().expect("no holder panics") = None;
        if let Some(operator) = self.operator.take() {
            operator.release();
        }
    }
}

impl Drop for RegtestWorld {
    fn drop(&mut self) {
        self.stop_engine();
        self.engine.abort();
        for process in &self.nodes {
            process.stop_now();
        }
    }
}

impl World for RegtestWorld {
    fn kind(&self) -> WorldKind {
        WorldKind::Regtest
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn begin(&mut self) {
        self.epoch = Epoch(self.clock.time());
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.time();
        self.blueprint
            .trace
            .lock()
            .set_now(Offset(now.0.saturating_sub(self.epoch.0.0)));
        now
    }

    fn service(&self) -> &Service {
        self.running
            .as_ref()
            .expect("the runner starts the engine during warm-up")
    }

    async fn start_engine(&mut self) -> Result<(), WorldError> {
        let journal = self.journal();
        let open_store: OpenStore = Arc::new(move || {
            JournalStore::open_file(&journal).map(|store| Box::new(store) as Box<dyn Store>)
        });
        let (config, planted) = (self.blueprint.engine.clone(), self.blueprint.planted);
        let parts = ServiceParts {
            config,
            ports: self.ports(),
            open_store,
            planted,
        };
        let service = Service::start(parts, self.engine.clone())?;
        *self.service.lock().expect("no holder panics") = Some(service.clone());
        self.running = Some(service);
        Ok(())
    }

    fn chain_source(&self) -> Arc<dyn ChainSource> {
        Arc::new(ElectrsChain::new(self.electrum_url(), CHAIN_INTERVAL))
    }

    fn audit_store(&self) -> OpenStore {
        self.open_audit()
    }

    fn lose_journal(&self) -> Result<Box<dyn Store>, WorldError> {
        journal_file::lose(&self.journal())
    }

    fn gateway(&self) -> &SharedGateway {
        &self.gateway
    }

    fn layer0(&self) -> Option<&SharedLayer0> {
        self.layer0.as_ref().map(|(_, model)| model)
    }

    fn truth_source(&self) -> Option<Arc<dyn TruthSource>> {
        None
    }

    async fn pass_until(&mut self, at: Timestamp) -> Result<(), WorldError> {
        loop {
            self.cancel.check()?;
            match self.next_due()?.filter(|due| *due <= at) {
                Some(due) => {
                    self.advance(due.max(self.clock.time()))?;
                    self.come_to_rest().await?;
                }
                None => return self.advance(at.max(self.clock.time())),
            }
        }
    }

    async fn pass_a_little(&mut self, at: Timestamp) -> Result<(), WorldError> {
        let before = self.motion();
        self.come_to_rest().await?;
        if self.has_moved_since(&before) {
            return Ok(());
        }
        let next = self.next_due()?.map_or(at, |due| due.min(at));
        self.pass_until(next).await
    }

    async fn settle(&mut self) -> Result<(), WorldError> {
        self.come_to_rest().await?;
        self.await_processes().await
    }

    async fn tip(&mut self) -> Result<BlockId, WorldError> {
        self.servers.tip()
    }

    async fn block(&mut self, height: u32) -> Result<Block, WorldError> {
        self.servers.block(height)
    }

    async fn mempool(&mut self) -> Result<Vec<Transaction>, WorldError> {
        self.servers.mempool()
    }

    async fn mine(&mut self, blocks: u32, payout: ScriptBuf) -> Result<(), WorldError> {
        self.mine_blocks(blocks, payout)
    }

    async fn set_fee_floor(&mut self, sat_per_kwu: u64) -> Result<(), WorldError> {
        self.fee_floor = sat_per_kwu;
        self.tell_market();
        Ok(())
    }

    async fn begin_trouble(&mut self, trouble: &Trouble, fault: FaultId) -> Result<(), WorldError> {
        self.begin_fault(trouble, fault).await
    }

    async fn end_trouble(&mut self, fault: FaultId) -> Result<(), WorldError> {
        self.end_fault(fault).await
    }

    async fn evict(&mut self, txid: Txid) -> Result<bool, WorldError> {
        let reason = "bitcoind drops no transaction when told to";
        Err(WorldError::refused(
            "bitcoind",
            format!("evict {txid}"),
            reason,
        ))
    }

    async fn reorg(&mut self, reorg: Reorg, payout: ScriptBuf) -> Result<(), WorldError> {
        self.servers
            .reorg(&reorg, &payout, self.clock.time().0 / 1_000)
    }

    async fn broadcast(&mut self, transaction: &Transaction) -> Result<Txid, WorldError> {
        self.servers.broadcast(transaction)
    }

    async fn node_address(&mut self, node: &str) -> Result<Address, WorldError> {
        let address = self.process(node)?.node()?.onchain_payment().new_address();
        address.map_err(|error| WorldError::refused(node, "give an address", error))
    }

    async fn node_wallet_sat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self
            .process(node)?
            .node()?
            .list_balances()
            .total_onchain_balance_sats)
    }

    async fn open_channel(&mut self, plan: &ChannelPlan) -> Result<OutPoint, WorldError> {
        self.fund_channel(plan).await
    }

    async fn node_contact(&mut self, node: &str, for_whom: &str) -> Result<String, WorldError> {
        self.contact(node, for_whom)
    }

    async fn adopt_channel(
        &mut self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<(), WorldError> {
        self.adopt(plan, funding)
    }

    async fn before_close(&mut self, order: &CloseOrder) -> Result<bool, WorldError> {
        self.part_for(order).await
    }

    async fn after_close(&mut self, order: &CloseOrder, parted: bool) -> Result<(), WorldError> {
        self.await_close(order, parted).await
    }

    async fn close_channel(&mut self, order: &CloseOrder) -> Result<(), WorldError> {
        self.begin_close(order).await
    }

    async fn channel_sight(&mut self, channel: &str) -> Result<ChannelSight, WorldError> {
        self.sight_of(channel)
    }

    async fn await_channel(&mut self, channel: &str) -> Result<(), WorldError> {
        self.spread_news_of(channel).await
    }

    async fn await_gossip(&mut self, channels: usize) -> Result<(), WorldError> {
        self.spread_gossip(channels).await
    }

    async fn node_invoice(&mut self, node: &str, msat: Option<u64>) -> Result<String, WorldError> {
        self.make_invoice(node, msat)
    }

    async fn node_pays(
        &mut self,
        node: &str,
        invoice: &str,
        amount_msat: Option<u64>,
    ) -> Result<(), WorldError> {
        self.pay_invoice(node, invoice, amount_msat)
    }

    async fn node_pays_along(
        &mut self,
        node: &str,
        _: &str,
        _: &super::Route,
    ) -> Result<(), WorldError> {
        Err(WorldError::refused(
            node,
            "take a prescribed route",
            "only the simulated world can",
        ))
    }

    async fn crash(&mut self, node: &str) -> Result<(), WorldError> {
        let process = self.process(node)?.clone();
        if self.blueprint.operator.as_deref() == Some(node)
            && let Some(operator) = &self.operator
        {
            operator.release();
        }
        if process.stop().await? {
            Ok(())
        } else {
            Err(WorldError::refused(node, "crash", "it is down already"))
        }
    }

    async fn restart(&mut self, node: &str) -> Result<(), WorldError> {
        self.restart_node(node).await
    }

    async fn forwarded_msat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self.process(node)?.told().forwarded_msat)
    }

    async fn offered_htlcs(&mut self, _: &str) -> Result<Vec<OfferedHtlc>, WorldError> {
        Err(WorldError::refused(
            "the regtest world",
            "show HTLCs",
            "only the simulated world can",
        ))
    }

    fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    fn hash_truth(&self, payment_hash: [u8; 32]) -> Result<HashTruth, WorldError> {
        Ok(self.truth_of_hash(payment_hash))
    }

    async fn channels(&mut self) -> Result<Vec<ChannelState>, WorldError> {
        self.channel_states()
    }

    async fn shut_down(mut self) -> Result<(), WorldError> {
        let start = Instant::now();
        self.stop_engine();
        self.engine.resume();
        for task in self.engine.take_tasks() {
            // One that does not end by itself is aborted by the drop of the runtime at the latest.
            let _ = timeout(ENGINE_END_LIMIT, task).await;
        }
        for process in &self.nodes {
            process.stop_pumping();
            process.stop().await?;
        }
        let waits = self.waits.clone();
        drop(self);
        waits.add("everything to end", start);
        Ok(())
    }
}
