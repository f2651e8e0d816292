//! Owns the life of one real Lightning node (`ldk-node`): its configuration, start, crash, kill, restart, and what it told.
//! Does not own what the engine asks of the operator's node (`operator`).
//!
//! ldk-node runs inside this process, so a crash is its orderly stop: unlike a killed process it has sent what it had to
//! send and stored what it had to store. A kill is as near to the real thing as that allows: its connections are cut, then
//! its store keeps nothing any more (`store`), and only then it stops; what it did in between nobody ever hears of.
//! It announces an address that nobody listens at: whoever connects to it dials through a link (`proxy`).

use super::store::{Freeze, MortalStore};
use super::waits::Waits;
use crate::worlds::keys::NETWORK;
use crate::worlds::{Blueprint, ForwardingFees, WorldError};
use bitcoin::OutPoint;
use ldk_node::config::{AsyncPaymentsRole, ChannelConfig, Config, ElectrumSyncConfig};
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::routing::gossip::NodeAlias;
use ldk_node::logger::LogLevel;
use ldk_node::{Builder, Event, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr as TcpAddress, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often a free port is looked for: between finding and using it, somebody else may take it.
const PORT_ATTEMPTS: u32 = 5;

/// The port multiplexer's (RFC 1078), which no machine of today has: nobody listens there.
const NOBODYS_PORT: u16 = 1;

/// What a node has told since the world began.
#[derive(Default)]
pub(super) struct Told {
    /// Fees earned by forwarding.
    pub(super) forwarded_msat: u64,
    /// Payment hashes that are being claimed here and not told as received.
    pub(super) claiming: BTreeSet<[u8; 32]>,
    /// Payment hashes that wait here for a decision.
    pub(super) held: BTreeSet<[u8; 32]>,
    /// Funded channels, by this node's own id of them.
    pub(super) funded: BTreeMap<u128, OutPoint>,
    /// Channels that were closed or never came about, and why.
    pub(super) closed: BTreeMap<u128, String>,
}

/// A Lightning node of the world.
pub(super) struct NodeProcess {
    /// Its name in the scenario.
    pub(super) name: String,
    seed: [u8; 64],
    forwards_to_private: bool,
    dir: PathBuf,
    electrum_url: String,
    waits: Waits,
    node: watch::Sender<Option<Arc<Node>>>,
    told: Mutex<Told>,
    freeze: Mutex<Freeze>,
    pump: Mutex<Option<JoinHandle<()>>>,
}

impl NodeProcess {
    /// A node that does not run yet, with its data below `dir`.
    pub(super) fn new(
        name: &str,
        blueprint: &Blueprint,
        dir: PathBuf,
        electrum_url: &str,
        waits: &Waits,
    ) -> NodeProcess {
        let seed = blueprint.seed;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&seed.bytes(&format!("node/{name}")));
        bytes[32..].copy_from_slice(&seed.bytes(&format!("node/{name}/second half")));
        NodeProcess {
            name: name.to_owned(),
            seed: bytes,
            forwards_to_private: blueprint.with_private_channels.contains(name),
            dir,
            electrum_url: electrum_url.to_owned(),
            waits: waits.clone(),
            node: watch::Sender::new(None),
            told: Mutex::default(),
            freeze: Mutex::default(),
            pump: Mutex::default(),
        }
    }

    /// What it told.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told
            .lock()
            .expect("no holder of what a node told panics")
    }

    /// The running node, if it runs.
    pub(super) fn running(&self) -> Option<Arc<Node>> {
        self.node.borrow().clone()
    }

    /// The running node.
    pub(super) fn node(&self) -> Result<Arc<Node>, WorldError> {
        self.running()
            .ok_or_else(|| WorldError::refused(self.name.clone(), "answer", "it is down"))
    }

    /// Tells of every start and stop.
    pub(super) fn lives(&self) -> watch::Receiver<Option<Arc<Node>>> {
        self.node.subscribe()
    }

    /// Starts it, from its directory if it ran before.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(), WorldError> {
        if self.running().is_some() {
            return Err(WorldError::refused(
                self.name.clone(),
                "start",
                "it runs already",
            ));
        }
        let start = Instant::now();
        let this = self.clone();
        let started = beside(move || this.start_now()).await?;
        self.waits.add("nodes to start", start);
        let node = started.map_err(|reason| {
            let log = super::servers::with_log(&reason, &self.dir.join("ldk_node.log"));
            WorldError::harness(format!("start node {}", self.name), log)
        })?;
        self.node.send_replace(Some(node));
        Ok(())
    }

    fn start_now(&self) -> Result<Arc<Node>, String> {
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr());
            let port = free
                .map_err(|error| format!("no free port: {error}"))?
                .port();
            let node = self.build(port)?;
            match node.start() {
                Ok(()) => return Ok(Arc::new(node)),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    fn build(&self, port: u16) -> Result<Node, String> {
        let mut alias = [0; 32];
        let name = &self.name.as_bytes()[..self.name.len().min(32)];
        alias[..name.len()].copy_from_slice(name);
        let config = Config {
            storage_dir_path: self.dir.display().to_string(),
            network: NETWORK,
            listening_addresses: Some(vec![SocketAddress::TcpIpV4 {
                addr: [127, 0, 0, 1],
                port,
            }]),
            announcement_addresses: Some(vec![SocketAddress::TcpIpV4 {
                addr: [127, 0, 0, 1],
                port: NOBODYS_PORT,
            }]),
            node_alias: Some(NodeAlias(alias)),
            ..Config::default()
        };
        let mut builder = Builder::from_config(config);
        builder.set_entropy_seed_bytes(self.seed);
        builder.set_filesystem_logger(None, Some(LogLevel::Error));
        // The world syncs when there is something to see.
        let sync = ElectrumSyncConfig {
            background_sync_config: None,
        };
        builder.set_chain_source_electrum(self.electrum_url.clone(), Some(sync));
        if self.forwards_to_private {
            // Of the two roles that make ldk-node do so it is the one that asks for nothing more.
            builder
                .set_async_payments_role(Some(AsyncPaymentsRole::Server))
                .map_err(|error| error.to_string())?;
        }
        let freeze = Freeze::default();
        *self.freeze.lock().expect("no holder panics") = freeze.clone();
        let failed = |error: &dyn std::fmt::Display| format!("its store: {error}");
        std::fs::create_dir_all(&self.dir).map_err(|error| failed(&error))?;
        let store = MortalStore::open(&self.dir, freeze).map_err(|error| failed(&error))?;
        builder
            .build_with_store(Arc::new(store))
            .map_err(|error| error.to_string())
    }

    /// Acknowledges its events as they come, and keeps what they tell.
    pub(super) fn pump_events(self: &Arc<Self>) {
        let (this, mut lives) = (self.clone(), self.lives());
        let task = tokio::spawn(async move {
            loop {
                let live = lives.borrow_and_update().clone();
                let Some(node) = live else {
                    if lives.changed().await.is_err() {
                        return;
                    }
                    continue;
                };
                tokio::select! {
                    biased;
                    changed = lives.changed() => if changed.is_err() { return },
                    event = node.next_event_async() => this.take(&node, &event),
                }
            }
        });
        if let Some(before) = self.pump.lock().expect("no holder panics").replace(task) {
            before.abort();
        }
    }

    /// Leaves the node's events to somebody else from now on.
    pub(super) fn stop_pumping(&self) {
        if let Some(pump) = self.pump.lock().expect("no holder panics").take() {
            pump.abort();
        }
    }

    /// Keeps what an event tells and acknowledges it, without a pause in between that could count it twice.
    pub(super) fn take(&self, node: &Node, event: &Event) {
        self.keep(event);
        // A node that cannot store the acknowledgement tells the event again after its restart.
        let _ = node.event_handled();
    }

    /// Keeps what an event tells.
    pub(super) fn keep(&self, event: &Event) {
        let mut told = self.told();
        match event {
            Event::PaymentForwarded {
                total_fee_earned_msat,
                ..
            } => {
                told.forwarded_msat += total_fee_earned_msat.unwrap_or(0);
            }
            Event::PaymentClaimable { payment_hash, .. } => {
                told.held.insert(payment_hash.0);
            }
            Event::PaymentReceived { payment_hash, .. } => {
                told.held.remove(&payment_hash.0);
                told.claiming.remove(&payment_hash.0);
            }
            Event::ChannelPending {
                user_channel_id,
                funding_txo,
                ..
            } => {
                told.funded.insert(user_channel_id.0, *funding_txo);
            }
            Event::ChannelClosed {
                user_channel_id,
                reason,
                ..
            } => {
                let reason = reason
                    .as_ref()
                    .map_or_else(|| "no reason was given".to_owned(), ToString::to_string);
                told.closed.insert(user_channel_id.0, reason);
            }
            Event::PaymentSuccessful { .. }
            | Event::PaymentFailed { .. }
            | Event::ChannelReady { .. }
            | Event::SplicePending { .. }
            | Event::SpliceFailed { .. } => {}
        }
    }

    /// Stops it; false if it was not running.
    pub(super) async fn stop(&self) -> Result<bool, WorldError> {
        let Some(node) = self.node.send_replace(None) else {
            return Ok(false);
        };
        let start = Instant::now();
        let stopped = beside(move || node.stop()).await?;
        self.waits.add("nodes to stop", start);
        stopped.map_err(|error| WorldError::harness(format!("stop node {}", self.name), error))?;
        Ok(true)
    }

    /// Kills it; false if it was not running. `cut_off` cuts its connections.
    pub(super) async fn kill(&self, cut_off: impl Future<Output = ()>) -> Result<bool, WorldError> {
        let Some(node) = self.node.send_replace(None) else {
            return Ok(false);
        };
        // The connections first: nobody may hear of what is not kept.
        cut_off.await;
        self.freeze.lock().expect("no holder panics").freeze();
        let start = Instant::now();
        let stopped = beside(move || node.stop()).await?;
        self.waits.add("nodes to stop", start);
        stopped.map_err(|error| WorldError::harness(format!("kill node {}", self.name), error))?;
        Ok(true)
    }

    /// Stops it from where nothing can be awaited.
    pub(super) fn stop_now(&self) {
        self.stop_pumping();
        if let Some(node) = self.node.send_replace(None) {
            // There is nobody left to tell.
            let _ = node.stop();
        }
    }
}

/// Runs what blocks beside the tasks.
pub(super) async fn beside<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorldError> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| WorldError::harness("run a blocking call", error))
}

/// What a node charges, in ldk-node's words.
pub(super) fn channel_config(fees: ForwardingFees) -> ChannelConfig {
    ChannelConfig {
        forwarding_fee_base_msat: fees.base_msat,
        forwarding_fee_proportional_millionths: fees.proportional_millionths,
        cltv_expiry_delta: fees.cltv_expiry_delta,
        ..ChannelConfig::default()
    }
}

/// Where a node listens, if it runs.
pub(super) fn listens_at(process: &NodeProcess) -> Option<TcpAddress> {
    let addresses = process.running()?.listening_addresses()?;
    addresses.iter().find_map(|address| match address {
        SocketAddress::TcpIpV4 { addr, port } => Some(TcpAddress::from((*addr, *port))),
        _ => None,
    })
}
