//! Owns the simulated world: chain, Lightning nodes, gateway and engine as tasks of one madsim runtime, joined by links.
//! Everything is in virtual time, which skips idle spans. Does not own the runtime (`scheduler`) nor the scenario.

pub mod backend;
pub mod chain;
mod gateway_process;
pub mod journal_disk;
pub mod node_process;
mod ports;
mod rest;
mod routes;
mod stream;
mod truth;

use super::gateway::{Gateway, GatewayConfig};
use super::service::{OpenStore, Service, ServiceParts, Spawn, Switch};
use super::{
    ChannelPlan, ChannelState, HtlcState, LinkTrouble, OfferedHtlc, Reorg, Route, SharedGateway,
    TruthSource, World, WorldError, WorldKind,
};
use crate::faults::Faults;
use crate::links::{LinkPolicy, Network};
use crate::prng::RootSeed;
use crate::trace::SharedTrace;
use crate::vtime::Epoch;
use crate::worlds::no_node::NoNode;
use backend::{Backend, EngineChain};
use bitcoin::{Address, Block, OutPoint, ScriptBuf, Transaction, Txid};
use chain::Chain;
use futures_util::future::BoxFuture;
use gateway_process::GatewayProcess;
pub(crate) use gateway_process::webhook_request;
use lockstep_engine::api::EngineConfig;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::BlockId;
use lockstep_engine::time::Timestamp;
use lockstep_host::adapters::software_signer::SoftwareSigner;
use lockstep_host::ports::{LightningNode, Observer, Ports, Store};
use lockstep_host::store::JournalStore;
use lockstep_lightning::{
    ForwardingPolicy, HtlcDirection, InvoiceRequest, NodeEvent, OpenChannel, PayAlong, PayInvoice,
    PaymentId,
};
use madsim::runtime::NodeHandle;
use madsim::time::sleep;
use node_process::{Directory, NodeProcess, Surroundings};
use ports::{LinkHttp, OperatorNode, SeededEntropy, VirtualClock};
use rest::SETTLE_LIMIT;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use truth::SimulatedTruth;

/// The name of the engine's endpoint.
pub const ENGINE: &str = "engine";

/// Gossip of a few hundred channels takes some virtual minutes.
const GOSSIP_LIMIT: Duration = Duration::from_secs(1_800);

/// An outsider's invoice is good for an hour, as `ldk-node`'s default.
const INVOICE_EXPIRY_SECS: u32 = 3_600;

/// As long as `ldk-node` tries a payment again.
const PAYMENT_RETRY_SECS: u64 = 10;

/// Virtual time since the Unix epoch. madsim begins somewhere in 2022, depending on the seed.
pub fn virtual_unix_time() -> Duration {
    let now = madsim::time::TimeHandle::current().now_time();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// The same in the engine's words.
pub fn virtual_now() -> Timestamp {
    Timestamp(virtual_unix_time().as_millis() as u64)
}

/// What a simulated world is made from.
pub struct Blueprint {
    /// Root of all draws.
    pub seed: RootSeed,
    /// Lightning nodes.
    pub nodes: Vec<String>,
    /// The one that the engine operates.
    pub operator: Option<String>,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// Bearer token that the engine shows to the gateway.
    pub gateway_token: String,
    /// The engine.
    pub engine: EngineConfig,
    /// Its wallet's keys.
    pub signer: SoftwareSigner,
    /// Watches the engine.
    pub observer: Arc<dyn Observer>,
    /// Opens the journal's store; called for every life of the engine's process.
    pub open_store: OpenStore,
    /// Trace.
    pub trace: SharedTrace,
    /// Faults.
    pub faults: Arc<Mutex<Faults>>,
    /// Whether to write down every HTLC that is offered.
    pub watch_htlcs: bool,
    /// A bug planted in the engine.
    pub planted: Option<Bug>,
}

/// The simulated world.
pub struct SimulatedWorld {
    blueprint: Blueprint,
    epoch: Epoch,
    network: Network,
    backend: Backend,
    gateway: GatewayProcess,
    nodes: Vec<NodeProcess>,
    engine_host: NodeHandle,
    service: Arc<Mutex<Option<Service>>>,
    running: Option<Service>,
    switch: Arc<Switch>,
    channels: Vec<(ChannelPlan, OutPoint)>,
}

struct MadsimSpawn(NodeHandle);

impl Spawn for MadsimSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}

fn host(name: &str) -> NodeHandle {
    madsim::runtime::Handle::current()
        .create_node()
        .name(name)
        .build()
}

impl SimulatedWorld {
    /// Builds the world inside a running simulation; Lightning nodes run, the engine does not yet.
    pub fn build(blueprint: Blueprint) -> Result<SimulatedWorld, WorldError> {
        let trace = blueprint.trace.clone();
        let network = Network::new(
            blueprint.seed,
            host("network"),
            trace.clone(),
            blueprint.faults.clone(),
        );
        let backend = Backend::new(Chain::new(chain::Policy::default()), trace.clone());
        let gateway = GatewayProcess {
            gateway: SharedGateway::new(Gateway::new(blueprint.gateway.clone())),
            network: network.clone(),
            trace: trace.clone(),
            host: host(gateway_process::ENDPOINT),
            called: async_channel::bounded(1),
        };
        let surroundings = Surroundings {
            seed: blueprint.seed,
            network: network.clone(),
            backend: backend.clone(),
            trace,
            directory: Directory::default(),
            next_link: Arc::new(AtomicU64::new(0)),
            watch_htlcs: blueprint.watch_htlcs,
        };
        let mut nodes = Vec::new();
        for name in &blueprint.nodes {
            let operated = blueprint.operator.as_ref() == Some(name);
            let process = NodeProcess::new(name, operated, surroundings.clone());
            surroundings.directory.add(process.clone());
            process.start()?;
            nodes.push(process);
        }
        Ok(SimulatedWorld {
            blueprint,
            epoch: Epoch(virtual_now()),
            network,
            backend,
            gateway,
            nodes,
            engine_host: host(ENGINE),
            service: Arc::new(Mutex::new(None)),
            running: None,
            switch: Arc::new(Switch::default()),
            channels: Vec::new(),
        })
    }

    /// The links, for faults on them.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The chain's backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// A node's process.
    pub fn process(&self, name: &str) -> Result<&NodeProcess, WorldError> {
        self.nodes
            .iter()
            .find(|process| process.name == name)
            .ok_or_else(|| {
                WorldError::harness("find a node", format!("there is none called {name}"))
            })
    }

    fn ports(&self) -> Ports {
        let operator = self
            .blueprint
            .operator
            .as_ref()
            .and_then(|name| self.process(name).ok());
        let lightning: Arc<dyn LightningNode> = match operator {
            Some(process) => Arc::new(OperatorNode(process.clone())),
            None => Arc::new(NoNode),
        };
        Ports {
            clock: Arc::new(VirtualClock),
            chain: Arc::new(EngineChain::new(self.backend.clone(), self.network.clone())),
            lightning,
            http: Arc::new(LinkHttp {
                network: self.network.clone(),
                gateway: self.gateway.clone(),
                token: self.blueprint.gateway_token.clone(),
            }),
            signer: Arc::new(self.blueprint.signer.clone()),
            entropy: Arc::new(SeededEntropy(Mutex::new(
                self.blueprint.seed.stream("engine entropy"),
            ))),
            observer: self.blueprint.observer.clone(),
            interruption: self.switch.clone(),
        }
    }

    fn channel_state(
        &self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<ChannelState, WorldError> {
        for (end, name) in [&plan.from, &plan.to].into_iter().enumerate() {
            let Some(node) = self.process(name)?.running() else {
                continue;
            };
            let Some(view) = node
                .channels()
                .into_iter()
                .find(|view| view.funding == Some(funding))
            else {
                continue;
            };
            let other = 1 - end;
            let (mut balance_msat, mut in_flight_msat) = ([0; 2], [0; 2]);
            (balance_msat[end], balance_msat[other]) =
                (view.local_balance_msat, view.remote_balance_msat);
            let ends = [plan.from.clone(), plan.to.clone()];
            let mut htlcs = Vec::new();
            for htlc in &view.htlcs {
                let offerer = if htlc.direction == HtlcDirection::Outgoing {
                    end
                } else {
                    other
                };
                in_flight_msat[offerer] += htlc.amount_msat;
                let (amount_msat, cltv_expiry) = (htlc.amount_msat, htlc.cltv_expiry);
                htlcs.push(HtlcState {
                    offered_by: ends[offerer].clone(),
                    amount_msat,
                    cltv_expiry,
                });
            }
            let (name, capacity_sat) = (plan.name.clone(), plan.capacity_sat);
            return Ok(ChannelState {
                name,
                ends,
                capacity_sat,
                balance_msat,
                in_flight_msat,
                funding,
                htlcs: Some(htlcs),
            });
        }
        Err(WorldError::harness(
            format!("read channel {}", plan.name),
            "both ends are down or have closed it",
        ))
    }
}

fn policy(fees: super::ForwardingFees) -> ForwardingPolicy {
    ForwardingPolicy {
        fee_base_msat: fees.base_msat,
        fee_proportional_millionths: fees.proportional_millionths,
        cltv_expiry_delta: fees.cltv_expiry_delta,
    }
}

impl World for SimulatedWorld {
    fn kind(&self) -> WorldKind {
        WorldKind::Simulated
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn begin(&mut self) {
        let epoch = Epoch(virtual_now());
        self.epoch = epoch;
        self.blueprint
            .trace
            .lock()
            .use_clock(Box::new(move || epoch.offset(virtual_now())));
    }

    fn now(&self) -> Timestamp {
        virtual_now()
    }

    fn service(&self) -> &Service {
        self.running
            .as_ref()
            .expect("the runner starts the engine during warm-up")
    }

    async fn start_engine(&mut self) -> Result<(), WorldError> {
        let parts = ServiceParts {
            config: self.blueprint.engine.clone(),
            ports: self.ports(),
            open_store: self.blueprint.open_store.clone(),
            planted: self.blueprint.planted,
        };
        let service = Service::start(parts, Arc::new(MadsimSpawn(self.engine_host.clone())))?;
        *self.service.lock().expect("no holder panics") = Some(service.clone());
        self.running = Some(service);
        let shared = self.service.clone();
        let current = Arc::new(move || shared.lock().expect("no holder panics").clone());
        self.gateway
            .host
            .spawn(self.gateway.clone().deliver_webhooks(current));
        Ok(())
    }

    fn gateway(&self) -> &SharedGateway {
        &self.gateway.gateway
    }

    fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    fn truth_source(&self) -> Option<Arc<dyn TruthSource>> {
        let operator = self
            .blueprint
            .operator
            .as_ref()
            .and_then(|name| self.process(name).ok())
            .cloned();
        let scripts = super::keys::wallet_scripts(&self.blueprint.engine.descriptors);
        let gateway = self.gateway.gateway.clone();
        Some(Arc::new(SimulatedTruth::new(
            self.backend.clone(),
            operator,
            gateway,
            scripts,
        )))
    }

    async fn pass_until(&mut self, at: Timestamp) -> Result<(), WorldError> {
        sleep(Duration::from_millis(at.0.saturating_sub(virtual_now().0))).await;
        Ok(())
    }

    async fn pass_a_little(&mut self, at: Timestamp) -> Result<(), WorldError> {
        let left = at.0.saturating_sub(virtual_now().0);
        sleep(Duration::from_millis(left).min(Duration::from_millis(100))).await;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), WorldError> {
        self.come_to_rest().await
    }

    async fn tip(&mut self) -> Result<BlockId, WorldError> {
        Ok(self.backend.tip())
    }

    async fn block(&mut self, height: u32) -> Result<Block, WorldError> {
        let block = self.backend.read(|chain| chain.block_at(height));
        block
            .map(|block| (*block).clone())
            .ok_or_else(|| WorldError::harness("read a block", format!("none at height {height}")))
    }

    async fn mempool(&mut self) -> Result<Vec<Transaction>, WorldError> {
        Ok(self.backend.mempool())
    }

    async fn mine(&mut self, blocks: u32, payout: ScriptBuf) -> Result<(), WorldError> {
        for _ in 0..blocks {
            self.backend
                .mine(payout.clone())
                .map_err(|reason| WorldError::refused("the chain", "mine", reason))?;
        }
        Ok(())
    }

    async fn set_fee_floor(&mut self, sat_per_kwu: u64) -> Result<(), WorldError> {
        self.backend.set_fee_floor(sat_per_kwu);
        Ok(())
    }

    async fn link_fault(&mut self, trouble: LinkTrouble) -> Result<(), WorldError> {
        let faults = self.blueprint.faults.clone();
        let effect = |fault| faults.lock().expect("no holder panics").had_effect(fault);
        match trouble {
            LinkTrouble::Partition {
                between: [a, b],
                fault,
            } => self.network.partition(&a, &b, fault),
            LinkTrouble::Heal { between: [a, b] } => {
                self.network.heal(&a, &b);
                self.network.set_policy(&a, &b, LinkPolicy::default());
            }
            LinkTrouble::Disconnect {
                between: [a, b],
                fault,
            } => {
                if self.network.reset(&a, &b) > 0 {
                    effect(fault);
                }
            }
            LinkTrouble::Delay {
                between: [a, b],
                by_ms,
                fault,
            } => {
                let usual = LinkPolicy::default();
                let policy = LinkPolicy {
                    latency_us_min: usual.latency_us_min + by_ms * 1_000,
                    latency_us_max: usual.latency_us_max + by_ms * 1_000,
                    ..usual
                };
                self.network.set_policy(&a, &b, policy);
                effect(fault);
            }
        }
        Ok(())
    }

    async fn reorg(&mut self, reorg: Reorg, payout: ScriptBuf) -> Result<(), WorldError> {
        self.backend
            .reorg(&reorg, &payout)
            .map_err(|reason| WorldError::refused("the chain", "reorganise", reason))
    }

    async fn broadcast(&mut self, transaction: &Transaction) -> Result<Txid, WorldError> {
        self.backend
            .submit(transaction)
            .map_err(|word| WorldError::refused("the chain", "take a transaction", word))
    }

    async fn node_address(&mut self, node: &str) -> Result<Address, WorldError> {
        let process = self.process(node)?;
        let address = process
            .node()?
            .new_address()
            .map_err(|error| WorldError::refused(node, "give an address", error))?;
        process.poke();
        Ok(address)
    }

    async fn node_wallet_sat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self.process(node)?.node()?.wallet_balance().total_sat)
    }

    async fn open_channel(&mut self, plan: &ChannelPlan) -> Result<OutPoint, WorldError> {
        let (opener, acceptor) = (
            self.process(&plan.from)?.clone(),
            self.process(&plan.to)?.clone(),
        );
        let peer = acceptor.node()?.node_id();
        opener.keep_connected_to(peer, &plan.to);
        let node = opener.node()?;
        let connected = |_: &Self| {
            let missing = format!("{} to connect to {}", plan.from, plan.to);
            Ok(if node.connected_peers().contains(&peer) {
                Vec::new()
            } else {
                vec![missing]
            })
        };
        self.wait_for(SETTLE_LIMIT, connected).await?;
        let user_channel_id = self.channels.len() as u128 + 1;
        let open = OpenChannel {
            peer,
            capacity_sat: plan.capacity_sat,
            push_msat: plan.push_msat,
            announce: plan.announced,
            forwarding: policy(plan.fees_from),
            user_channel_id,
        };
        let refused = |reason: String| {
            WorldError::refused(
                plan.from.clone(),
                format!("open channel {}", plan.name),
                reason,
            )
        };
        node.open_channel(open)
            .map_err(|error| refused(error.to_string()))?;
        opener.poke();
        let outcome = |_: &Self| {
            opener
                .unacknowledged()
                .into_iter()
                .find_map(|notice| channel_outcome(&notice.event, user_channel_id))
        };
        let missing = format!("channel {} to be funded", plan.name);
        self.wait_for(SETTLE_LIMIT, |world| {
            Ok(if outcome(world).is_some() {
                Vec::new()
            } else {
                vec![missing.clone()]
            })
        })
        .await?;
        let funding = outcome(self).expect("just waited for").map_err(refused)?;
        let in_mempool = |world: &Self| {
            let seen = world
                .backend
                .read(|chain| chain.transaction(&funding.txid).is_some());
            Ok(if seen {
                Vec::new()
            } else {
                vec![format!("the funding transaction of {}", plan.name)]
            })
        };
        self.wait_for(SETTLE_LIMIT, in_mempool).await?;
        let far = acceptor.node()?;
        if let Some(view) = far
            .channels()
            .into_iter()
            .find(|view| view.funding == Some(funding))
        {
            far.set_forwarding(view.user_channel_id, policy(plan.fees_to))
                .map_err(|error| refused(error.to_string()))?;
            acceptor.poke();
        }
        self.channels.push((plan.clone(), funding));
        Ok(funding)
    }

    async fn await_gossip(&mut self, channels: usize) -> Result<(), WorldError> {
        let missing = |world: &Self| {
            let mut missing = Vec::new();
            for process in &world.nodes {
                let Some(node) = process.running() else {
                    continue;
                };
                let known = node.graph().channels_both_directions;
                if known < channels {
                    missing.push(format!(
                        "node {} to know {channels} channels (it knows {known})",
                        process.name
                    ));
                }
                if node.channels().iter().any(|channel| !channel.usable) {
                    missing.push(format!(
                        "the channels of node {} to be usable",
                        process.name
                    ));
                }
            }
            Ok(missing)
        };
        self.wait_for(GOSSIP_LIMIT, missing).await
    }

    async fn node_invoice(&mut self, node: &str, amount_msat: u64) -> Result<String, WorldError> {
        let request = InvoiceRequest {
            amount_msat: Some(amount_msat),
            description: String::new(),
            expiry_secs: INVOICE_EXPIRY_SECS,
            min_final_cltv: None,
        };
        let process = self.process(node)?;
        let invoice = process.node()?.create_invoice(request);
        process.poke();
        invoice.map_err(|error| WorldError::refused(node, "make an invoice", error))
    }

    async fn node_pays(&mut self, node: &str, invoice: &str) -> Result<(), WorldError> {
        let process = self.process(node)?;
        let parsed: lightning_invoice::Bolt11Invoice = invoice
            .parse()
            .map_err(|error| WorldError::refused(node, "read an invoice", format!("{error:?}")))?;
        let pay = PayInvoice {
            invoice,
            payment_id: PaymentId(*parsed.payment_hash().as_ref()),
            max_total_fee_msat: None,
            retry_timeout_secs: PAYMENT_RETRY_SECS,
        };
        let taken = process.node()?.pay_invoice(pay);
        process.poke();
        taken
            .map(|_| ())
            .map_err(|error| WorldError::refused(node, "pay", error))
    }

    async fn node_pays_along(
        &mut self,
        node: &str,
        invoice: &str,
        route: &Route,
    ) -> Result<(), WorldError> {
        let hops = self.hops(node, route, invoice)?;
        let parsed: lightning_invoice::Bolt11Invoice = invoice
            .parse()
            .map_err(|error| WorldError::refused(node, "read an invoice", format!("{error:?}")))?;
        let payment_id = PaymentId(*parsed.payment_hash().as_ref());
        let process = self.process(node)?;
        let taken = process.node()?.pay_along(PayAlong {
            invoice,
            payment_id,
            hops: &hops,
        });
        process.poke();
        taken
            .map(|_| ())
            .map_err(|error| WorldError::refused(node, "pay", error))
    }

    async fn crash(&mut self, node: &str) -> Result<(), WorldError> {
        if self.process(node)?.kill() {
            return Ok(());
        }
        Err(WorldError::refused(node, "crash", "it is down already"))
    }

    async fn restart(&mut self, node: &str) -> Result<(), WorldError> {
        let process = self.process(node)?.clone();
        process.start()?;
        for (plan, _) in self.channels.iter().filter(|(plan, _)| plan.from == node) {
            if let Some(peer) = self.process(&plan.to)?.running() {
                process.keep_connected_to(peer.node_id(), &plan.to);
            }
        }
        let usable = |world: &Self| {
            let up = |name: &str| {
                world
                    .process(name)
                    .is_ok_and(|process| process.running().is_some())
            };
            let expected = world.channels.iter().filter(|(plan, _)| {
                (plan.from == node && up(&plan.to)) || (plan.to == node && up(&plan.from))
            });
            let usable = process.running().map_or(0, |running| {
                running.channels().iter().filter(|c| c.usable).count()
            });
            let missing = usable < expected.count();
            Ok(if missing {
                vec![format!("node {node} to re-establish its channels")]
            } else {
                Vec::new()
            })
        };
        self.wait_for(SETTLE_LIMIT, usable).await
    }

    async fn forwarded_msat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self.process(node)?.forwarded_msat())
    }

    async fn offered_htlcs(&mut self, channel: &str) -> Result<Vec<OfferedHtlc>, WorldError> {
        let mut offered = Vec::new();
        for (plan, funding) in self
            .channels
            .iter()
            .filter(|(plan, _)| plan.name == channel)
        {
            for name in [&plan.from, &plan.to] {
                let process = self.process(name)?;
                let Some(node) = process.running() else {
                    continue;
                };
                let view = node
                    .channels()
                    .into_iter()
                    .find(|view| view.funding == Some(*funding));
                offered.extend(
                    view.map(|view| process.offered_over(view.user_channel_id))
                        .unwrap_or_default(),
                );
            }
        }
        Ok(offered)
    }

    async fn channels(&mut self) -> Result<Vec<ChannelState>, WorldError> {
        self.channels
            .iter()
            .map(|(plan, funding)| self.channel_state(plan, *funding))
            .collect()
    }

    async fn shut_down(self) -> Result<(), WorldError> {
        if let Some(service) = &self.running
            && let Ok(handle) = service.handle()
        {
            handle.stop();
        }
        Ok(())
    }
}

/// Whether this event ends the opening of a channel, and how.
fn channel_outcome(event: &NodeEvent, id: u128) -> Option<Result<OutPoint, String>> {
    match event {
        NodeEvent::ChannelPending {
            user_channel_id,
            funding,
            ..
        } if *user_channel_id == id => Some(Ok(*funding)),
        NodeEvent::ChannelClosed {
            user_channel_id,
            reason,
            ..
        } if *user_channel_id == id => Some(Err(reason.clone())),
        _ => None,
    }
}

/// Opens the journal on a disk in memory that outlives the engine's process.
pub fn open_memory_store(disk: journal_disk::JournalDisk) -> OpenStore {
    Arc::new(move || {
        disk.lose_unsynced();
        JournalStore::open(disk.clone()).map(|store| Box::new(store) as Box<dyn Store>)
    })
}
