//! Owns the life of one simulated Lightning node: its process (tasks of one madsim node, so that a crash ends them at any
//! await), its links, its disk, and what it told. Blocks are in `blocks`, what goes wrong with it in `trouble`. Does not own
//! the node itself (`lockstep-lightning`).
//!
//! Fault model: a crash ends every task between two polls and loses what is not on the disk; the disk keeps each write
//! that was answered. A restart begins from the disk with fresh randomness. The opener of a channel reconnects. A process
//! In a large world it works off what came in within some milliseconds at once. A process
//! whose disk fails, or whose LDK panics over what it was started from, ends by itself.

mod blocks;
mod caught;
mod life;
mod revoked;
mod trouble;

use super::backend::Backend;
use super::clocks::Clocks;
use super::told::{self, HtlcBook};
use crate::faults::Faults;
use crate::links::{End, Network};
use crate::prng::RootSeed;
use crate::trace::{SharedTrace, Subsystem};
use crate::vtime::simulated_instant;
use crate::worlds::keys::NETWORK;
use crate::worlds::{NodeDisks, OfferedHtlc, WorldError};
use async_channel::{Receiver, Sender};
use bitcoin::secp256k1::PublicKey;
use caught::caught;
use life::Life;
use lockstep_engine::rail::NodeView;
use lockstep_lightning::{ChannelView, LinkId, MemoryDisk, Node, NodeConfig, NodeEvent, Notice};
use madsim::runtime::NodeHandle;
use madsim::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use trouble::Troubled;

/// How often a node does its chores; LDK's own intervals are multiples of it.
const TICK: Duration = Duration::from_secs(1);

/// A process that has so much to read loses the link that brings more; `links` limits each connection to fewer.
const MAX_INCOMING: usize = 1 << 20;

/// Worlds of more nodes than this are large.
const SMALL_WORLD_NODES: usize = 32;

/// In a large world: gossip crosses each link in some tens of chunks instead of thousands, and each of them costs the nodes
/// and the record as much as a message of a payment. Shorter than most links take.
const REACTION: Duration = Duration::from_millis(20);

/// For how long each of so many nodes collects what comes in.
pub fn reaction(nodes: usize) -> Option<Duration> {
    (nodes > SMALL_WORLD_NODES).then_some(REACTION)
}

/// What reaches a node's process.
enum Incoming {
    /// Somebody connected.
    Connected(End),
    /// Bytes of a link.
    Bytes(LinkId, Vec<u8>),
    /// A link has ended.
    Closed(LinkId),
    /// The chain or the mempool changed.
    ChainChanged,
    /// The owner has called the node: look what is to be done.
    Poke,
}

/// What a node's owner sees of it, running or not.
#[derive(Default)]
struct State {
    node: Option<Node>,
    /// Its public key, once it has run.
    id: Option<PublicKey>,
    host: Option<NodeHandle>,
    inbox: Option<Sender<Incoming>>,
    restarts: u32,
    peers: BTreeMap<PublicKey, String>,
    events: Vec<Notice>,
    forwarded_msat: u64,
    offered: BTreeMap<(u128, [u8; 32], u64), OfferedHtlc>,
    failure: Option<String>,
    htlcs: HtlcBook,
    /// As they were when the process was killed: they hold the same money while it is down.
    last_channels: Vec<ChannelView>,
    troubled: Troubled,
    /// What the engine could last see of it.
    shown: Option<((NodeView, bool), Instant)>,
}

/// A Lightning node of the world.
#[derive(Clone)]
pub struct NodeProcess {
    /// Its name in the scenario.
    pub name: String,
    /// Whether the engine deals with its events; if not, they are acknowledged at once.
    operated: bool,
    world: Surroundings,
    disk: Arc<MemoryDisk>,
    state: Arc<Mutex<State>>,
    told: (Sender<()>, Receiver<()>),
    /// Holds a message when what the engine may see of it has changed.
    changed: (Sender<()>, Receiver<()>),
    /// Holds a message when a process that stands still may go on.
    resumed: (Sender<()>, Receiver<()>),
}

/// What every node process needs of its world.
#[derive(Clone)]
pub struct Surroundings {
    /// Root of keys.
    pub seed: RootSeed,
    /// Links.
    pub network: Network,
    /// Clocks.
    pub clocks: Clocks,
    /// Chain.
    pub backend: Backend,
    /// Trace.
    pub trace: SharedTrace,
    /// All nodes, to connect to.
    pub directory: Directory,
    /// Numbers links.
    pub next_link: Arc<AtomicU64>,
    /// Whether to write down every HTLC that is offered.
    pub watch_htlcs: bool,
    /// Whether the engine manages the channels of its node.
    pub watch_own_channels: bool,
    /// What is special about whose disk.
    pub disks: NodeDisks,
    /// Who has an unannounced channel.
    pub with_private_channels: BTreeSet<String>,
    /// For how long a node collects what comes in before it does anything about it; `None` in small worlds: not at all.
    pub reaction: Option<Duration>,
    /// Where effects of faults are counted.
    pub faults: Arc<Mutex<Faults>>,
}

/// Finds nodes by name.
#[derive(Clone, Default)]
pub struct Directory(Arc<Mutex<BTreeMap<String, NodeProcess>>>);

impl Directory {
    /// Adds a node.
    pub fn add(&self, process: NodeProcess) {
        self.0
            .lock()
            .expect("no holder panics")
            .insert(process.name.clone(), process);
    }

    /// All nodes, by name.
    pub fn all(&self) -> Vec<NodeProcess> {
        let nodes = self.0.lock().expect("no holder panics");
        nodes.values().cloned().collect()
    }

    /// The node of that name.
    pub fn get(&self, name: &str) -> Option<NodeProcess> {
        self.0.lock().expect("no holder panics").get(name).cloned()
    }
}

impl NodeProcess {
    /// A node that is not running, with an empty disk.
    pub fn new(name: &str, operated: bool, world: Surroundings) -> NodeProcess {
        let disk = if world.disks.with_history.contains(name) {
            MemoryDisk::with_history(Arc::new(super::virtual_unix_time))
        } else {
            MemoryDisk::default()
        };
        NodeProcess {
            name: name.to_owned(),
            operated,
            world,
            disk: Arc::new(disk),
            state: Arc::new(Mutex::new(State::default())),
            told: async_channel::bounded(1),
            changed: async_channel::bounded(1),
            resumed: async_channel::bounded(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of a node's state panics")
    }

    fn config(&self, restart_count: u32) -> NodeConfig {
        let tip = self.world.backend.tip();
        NodeConfig {
            alias: self.name.clone(),
            key_seed: self.world.seed.bytes(&format!("node/{}", self.name)),
            restart_count,
            now: self.time(),
            network: NETWORK,
            tip: (tip.hash, tip.height),
            deferred_stores: self.world.disks.deferred.contains(&self.name),
            forwards_to_private: self.world.with_private_channels.contains(&self.name),
        }
    }

    /// Starts the process, from the disk if it ran before. A fault may keep it from starting.
    pub fn start(&self) -> Result<(), WorldError> {
        if !self.may_start() {
            return Ok(());
        }
        let restarts = self.state().restarts;
        self.state().restarts += 1;
        self.disk.revive();
        let config = self.config(restarts);
        let started = match caught(|| Node::start(config, self.disk.clone())) {
            Ok(started) => started.map_err(|cause| cause.to_string()),
            Err(panic) => Err(panic),
        };
        let node = match started {
            Ok(node) => node,
            Err(cause) => return self.did_not_start(&cause),
        };
        node.withhold_htlcs(self.withholds());
        // A bounded channel would take the memory for all that it could hold.
        let (inbox, incoming) = async_channel::unbounded();
        let host = madsim::runtime::Handle::current()
            .create_node()
            .name(self.name.as_str())
            .build();
        self.world.network.bring_up(&self.name);
        let last = {
            let mut state = self.state();
            state.node = Some(node.clone());
            state.id = Some(node.node_id());
            state.inbox = Some(inbox.clone());
            state.host.replace(host.clone())
        };
        if let Some(last) = last {
            // Its process ended by itself; what it had under way ends now.
            madsim::runtime::Handle::current().kill(last.id());
        }
        let life = Life {
            process: self.clone(),
            node,
            host: host.clone(),
            inbox: inbox.clone(),
            links: BTreeMap::new(),
            peer_links: BTreeMap::new(),
            told_mempool: BTreeSet::new(),
            unsaid: Vec::new(),
            stores_begun: 0,
            storing: VecDeque::new(),
        };
        host.spawn(blocks::follow_chain(
            self.world.clone(),
            self.name.clone(),
            inbox,
        ));
        host.spawn(life.run(incoming));
        self.call_peers();
        Ok(())
    }

    /// What it takes for the time.
    fn time(&self) -> Duration {
        self.world.clocks.now(&self.name)
    }

    /// Has those who keep a connection to this node connect at once.
    fn call_peers(&self) {
        for other in self.world.directory.all() {
            let wanted = other.state().peers.values().any(|peer| *peer == self.name);
            if wanted && other.name != self.name {
                other.poke();
            }
        }
    }

    /// Kills the process; false if it was not running.
    pub fn kill(&self) -> bool {
        self.keep_last_channels();
        let (host, was_running) = {
            let mut state = self.state();
            state.inbox = None;
            (state.host.take(), state.node.take().is_some())
        };
        self.world.network.take_down(&self.name);
        if let Some(host) = host {
            madsim::runtime::Handle::current().kill(host.id());
        }
        was_running
    }

    fn keep_last_channels(&self) {
        if let Some(node) = self.running() {
            let channels = node.channels();
            self.state().last_channels = channels;
        }
    }

    /// Its channels; those of a dead process as they were.
    pub fn channels(&self) -> Vec<ChannelView> {
        match self.running() {
            Some(node) => node.channels(),
            None => self.state().last_channels.clone(),
        }
    }

    /// The running node.
    pub fn node(&self) -> Result<Node, WorldError> {
        self.running()
            .filter(|_| !self.stands_still())
            .ok_or_else(|| {
                let why = if self.stands_still() {
                    "it stands still"
                } else {
                    "it is down"
                };
                WorldError::refused(self.name.clone(), "answer", why)
            })
    }

    /// The running node, if it runs.
    pub fn running(&self) -> Option<Node> {
        self.state().node.clone()
    }

    /// Has the process look what is to be done after a call of the node.
    pub fn poke(&self) {
        self.deliver(Incoming::Poke);
    }

    fn deliver(&self, incoming: Incoming) {
        let inbox = self.state().inbox.clone();
        if let Some(inbox) = inbox {
            // A process that has just been killed takes nothing any more.
            let _ = inbox.try_send(incoming);
        }
    }

    /// Keeps a connection to `peer` from now on.
    pub fn keep_connected_to(&self, peer: PublicKey, name: &str) {
        self.state().peers.insert(peer, name.to_owned());
        self.poke();
    }

    /// The same, with a node that is known by its key alone; false if nobody has it.
    pub fn keep_connected_to_node(&self, peer: PublicKey) -> bool {
        let all = self.world.directory.all();
        let found = all.iter().find(|other| other.state().id == Some(peer));
        if let Some(other) = found {
            self.keep_connected_to(peer, &other.name);
        }
        found.is_some()
    }

    /// Events that nobody acknowledged, oldest first.
    pub fn unacknowledged(&self) -> Vec<Notice> {
        self.state().events.clone()
    }

    /// Whether the process has nothing to read.
    pub fn has_read_all(&self) -> bool {
        self.state().inbox.as_ref().is_none_or(Sender::is_empty)
    }

    /// Forgets events up to `seq`, here and in the node.
    pub fn acknowledge(&self, seq: u64) {
        let node = {
            let mut state = self.state();
            state.events.retain(|notice| notice.seq > seq);
            state.node.clone()
        };
        if let Some(node) = node {
            node.acknowledge(seq);
            self.poke();
        }
    }

    /// Completes when the node has told something since the last time.
    pub fn told(&self) -> Receiver<()> {
        self.told.1.clone()
    }

    /// Holds a message when the engine's view of the node may have changed.
    pub fn changes(&self) -> Receiver<()> {
        self.changed.1.clone()
    }

    /// Since when the engine would see what it sees now.
    pub fn unchanged_for(&self) -> Duration {
        let state = self.state();
        let since = state.shown.as_ref().map(|(_, since)| *since);
        since.map_or(Duration::ZERO, |since| simulated_instant() - since)
    }

    /// Has the engine look at the node if what it may see has changed.
    fn tell_changes(&self, node: &Node) {
        if !self.operated || !self.world.watch_own_channels {
            return;
        }
        let shown = super::own_channels::shown(node);
        let mut state = self.state();
        if state.shown.as_ref().map(|(last, _)| last) != Some(&shown) {
            state.shown = Some((shown, simulated_instant()));
            // A full channel holds the message already.
            let _ = self.changed.0.try_send(());
        }
    }

    /// Fees earned by forwarding.
    pub fn forwarded_msat(&self) -> u64 {
        self.state().forwarded_msat
    }

    /// Every HTLC that this node offered over a channel of its own numbering, if they are watched.
    pub fn offered_over(&self, user_channel_id: u128) -> Vec<OfferedHtlc> {
        self.state()
            .offered
            .iter()
            .filter(|((id, ..), _)| *id == user_channel_id)
            .map(|(_, htlc)| *htlc)
            .collect()
    }

    /// Why the process ended by itself, if it did.
    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    fn tell(&self, notice: Notice) {
        self.world
            .trace
            .lock()
            .record(Subsystem::Lightning, &self.name, told::notice(&notice));
        let mut state = self.state();
        if state.events.iter().any(|known| known.seq == notice.seq) {
            return;
        }
        if let NodeEvent::PaymentForwarded { fee_msat, .. } = &notice.event {
            state.forwarded_msat += fee_msat.unwrap_or(0);
        }
        let of_payment = !matches!(
            notice.event,
            NodeEvent::ChannelPending { .. }
                | NodeEvent::ChannelReady { .. }
                | NodeEvent::ChannelClosed { .. }
        );
        let seq = notice.seq;
        if self.operated || !of_payment {
            state.events.push(notice);
        }
        let node = state.node.clone().filter(|_| !self.operated);
        drop(state);
        if let Some(node) = node {
            node.acknowledge(seq);
        }
        // A full channel holds the message already.
        let _ = self.told.0.try_send(());
    }

    /// Records what has come and gone. An HTLC changes only while messages are exchanged, so the caller asks only then.
    fn record_htlcs(&self, node: &Node) {
        let changes = self.state().htlcs.changes(&node.channels());
        let mut trace = self.world.trace.lock();
        for change in changes {
            trace.record(Subsystem::Lightning, &self.name, change);
        }
    }

    fn watch_htlcs(&self, node: &Node) {
        if !self.world.watch_htlcs {
            return;
        }
        let tip = self.world.backend.tip().height;
        let mut state = self.state();
        for channel in node.channels() {
            for htlc in channel
                .htlcs
                .iter()
                .filter(|h| h.direction == lockstep_lightning::HtlcDirection::Outgoing)
            {
                let offered = OfferedHtlc {
                    amount_msat: htlc.amount_msat,
                    cltv_delta: htlc.cltv_expiry.saturating_sub(tip),
                };
                let key = (
                    channel.user_channel_id,
                    htlc.payment_hash.0,
                    htlc.amount_msat,
                );
                state.offered.entry(key).or_insert(offered);
            }
        }
    }
}
