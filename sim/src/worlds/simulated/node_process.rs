//! Owns the life of one simulated Lightning node: its process (tasks of one madsim node, so that a crash ends them at any
//! await), its links, its blocks, its disk, and what it told. Does not own the node itself (`lockstep-lightning`).
//!
//! Fault model: a crash ends every task between two polls and loses what is not on the disk; the disk keeps each write
//! that was answered. A restart begins from the disk with fresh randomness. The opener of a channel reconnects.

use super::backend::{self, Backend};
use super::clocks::Clocks;
use super::told::{self, HtlcBook};
use crate::links::{End, Network, Outgoing};
use crate::prng::RootSeed;
use crate::trace::{SharedTrace, Subsystem};
use crate::vtime::simulated_instant;
use crate::worlds::keys::NETWORK;
use crate::worlds::{OfferedHtlc, WorldError};
use async_channel::{Receiver, Sender};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{BlockHash, Transaction, Txid};
use futures_util::{FutureExt, select_biased};
use lockstep_lightning::{
    ChannelView, Effect, LinkId, MemoryDisk, Node, NodeConfig, NodeEvent, Notice,
};
use madsim::runtime::NodeHandle;
use madsim::time::sleep_until;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often a node does its chores; LDK's own intervals are multiples of it.
const TICK: Duration = Duration::from_secs(1);

/// More than all chunks that all peers can have under way (`links` limits each connection).
const MAX_INCOMING: usize = 1 << 20;

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

    /// The node of that name.
    pub fn get(&self, name: &str) -> Option<NodeProcess> {
        self.0.lock().expect("no holder panics").get(name).cloned()
    }
}

impl NodeProcess {
    /// A node that is not running, with an empty disk.
    pub fn new(name: &str, operated: bool, world: Surroundings) -> NodeProcess {
        NodeProcess {
            name: name.to_owned(),
            operated,
            world,
            disk: Arc::new(MemoryDisk::default()),
            state: Arc::new(Mutex::new(State::default())),
            told: async_channel::bounded(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of a node's state panics")
    }

    /// Starts the process, from the disk if it ran before.
    pub fn start(&self) -> Result<(), WorldError> {
        let restarts = self.state().restarts;
        let tip = self.world.backend.tip();
        let config = NodeConfig {
            alias: self.name.clone(),
            key_seed: self.world.seed.bytes(&format!("node/{}", self.name)),
            restart_count: restarts,
            now: self.world.clocks.now(&self.name),
            network: NETWORK,
            tip: (tip.hash, tip.height),
        };
        let node = Node::start(config, self.disk.clone())
            .map_err(|cause| WorldError::harness(format!("start node {}", self.name), cause))?;
        let (inbox, incoming) = async_channel::bounded(MAX_INCOMING);
        let host = madsim::runtime::Handle::current()
            .create_node()
            .name(self.name.as_str())
            .build();
        self.world.network.bring_up(&self.name);
        {
            let mut state = self.state();
            state.node = Some(node.clone());
            state.inbox = Some(inbox.clone());
            state.host = Some(host.clone());
            state.restarts += 1;
        }
        let life = Life {
            process: self.clone(),
            node,
            host: host.clone(),
            inbox: inbox.clone(),
            links: BTreeMap::new(),
            peer_links: BTreeMap::new(),
            told_mempool: BTreeSet::new(),
        };
        host.spawn(follow_chain(self.world.clone(), self.name.clone(), inbox));
        host.spawn(life.run(incoming));
        Ok(())
    }

    /// What it takes for the time.
    fn time(&self) -> Duration {
        self.world.clocks.now(&self.name)
    }

    /// Kills the process; false if it was not running.
    pub fn kill(&self) -> bool {
        let (host, was_running) = {
            let mut state = self.state();
            state.inbox = None;
            if let Some(node) = &state.node {
                state.last_channels = node.channels();
            }
            (state.host.take(), state.node.take().is_some())
        };
        self.world.network.take_down(&self.name);
        if let Some(host) = host {
            madsim::runtime::Handle::current().kill(host.id());
        }
        was_running
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
        self.state()
            .node
            .clone()
            .ok_or_else(|| WorldError::refused(self.name.clone(), "answer", "it is down"))
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

/// Tells the process of chain changes after the link's latency.
async fn follow_chain(world: Surroundings, name: String, inbox: Sender<Incoming>) {
    let changes = world.backend.subscribe();
    loop {
        if inbox.send(Incoming::ChainChanged).await.is_err() || changes.recv().await.is_err() {
            return;
        }
        world.backend.wait_while_stopped().await;
        let copies = world.network.travel_surely(backend::ENDPOINT, &name).await;
        for _ in 1..copies {
            if inbox.send(Incoming::ChainChanged).await.is_err() {
                return;
            }
        }
    }
}

/// Carries what arrives on one link into the process.
async fn read_link(link: LinkId, end: End, inbox: Sender<Incoming>) {
    while let Some(chunk) = end.receive().await {
        if inbox.send(Incoming::Bytes(link, chunk)).await.is_err() {
            return;
        }
    }
    // The process may be gone.
    let _ = inbox.send(Incoming::Closed(link)).await;
}

/// One life of a process, from start to kill.
struct Life {
    process: NodeProcess,
    node: Node,
    host: NodeHandle,
    inbox: Sender<Incoming>,
    links: BTreeMap<LinkId, Outgoing>,
    peer_links: BTreeMap<PublicKey, LinkId>,
    told_mempool: BTreeSet<Txid>,
}

impl Life {
    async fn run(mut self, incoming: Receiver<Incoming>) {
        let mut next_tick = simulated_instant();
        loop {
            if let Err(error) = self.work() {
                self.process.state().failure = Some(error);
                return;
            }
            let wake = self.node.wake();
            select_biased! {
                message = incoming.recv().fuse() => match message {
                    Ok(message) => self.take(message),
                    Err(_) => return,
                },
                () = wake.fuse() => {}
                () = sleep_until(next_tick).fuse() => {
                    next_tick += TICK;
                    self.node.tick(self.process.time());
                    self.reconnect();
                }
            }
        }
    }

    /// Does all that the node has to do now, and carries it out.
    fn work(&mut self) -> Result<(), String> {
        let effects = self
            .node
            .process(self.process.time())
            .map_err(|error| error.to_string())?;
        let quiet = effects.is_empty();
        for effect in effects {
            match effect {
                Effect::Send { link, bytes } => {
                    if let Some(outgoing) = self.links.get(&link) {
                        outgoing.send(bytes);
                    }
                }
                Effect::CloseLink { link } => self.drop_link(link),
                Effect::Broadcast(transactions) => self.broadcast(transactions),
                Effect::Event(notice) => self.process.tell(notice),
            }
        }
        if !quiet {
            self.process.record_htlcs(&self.node);
        }
        self.process.watch_htlcs(&self.node);
        Ok(())
    }

    fn broadcast(&self, transactions: Vec<Transaction>) {
        let (world, name) = (self.process.world.clone(), self.process.name.clone());
        self.host.spawn(async move {
            let copies = world.network.travel_surely(&name, backend::ENDPOINT).await;
            world.backend.wait_while_stopped().await;
            for _ in 0..copies {
                world.backend.submit_package(&transactions);
            }
        });
    }

    fn take(&mut self, message: Incoming) {
        match message {
            Incoming::Connected(end) => self.accept(end),
            Incoming::Bytes(link, bytes) => {
                if self.links.contains_key(&link) && self.node.bytes_in(link, &bytes).is_err() {
                    self.drop_link(link);
                }
            }
            Incoming::Closed(link) => {
                if self.links.contains_key(&link) {
                    self.drop_link(link);
                    self.node.link_closed(link);
                }
            }
            Incoming::ChainChanged => self.follow(),
            Incoming::Poke => self.reconnect(),
        }
    }

    fn drop_link(&mut self, link: LinkId) {
        if let Some(outgoing) = self.links.remove(&link) {
            outgoing.close();
        }
        self.peer_links.retain(|_, of_peer| *of_peer != link);
    }

    fn adopt(&mut self, end: End) -> LinkId {
        let link = LinkId(self.process.world.next_link.fetch_add(1, Ordering::Relaxed));
        self.links.insert(link, end.outgoing());
        self.host.spawn(read_link(link, end, self.inbox.clone()));
        link
    }

    fn accept(&mut self, end: End) {
        let link = self.adopt(end);
        if self.node.connect_inbound(link).is_err() {
            self.drop_link(link);
        }
    }

    /// Connects to every wanted peer without a link.
    fn reconnect(&mut self) {
        let wanted: Vec<(PublicKey, String)> = self
            .process
            .state()
            .peers
            .iter()
            .map(|(peer, name)| (*peer, name.clone()))
            .collect();
        for (peer, name) in wanted {
            if !self.peer_links.contains_key(&peer) {
                self.connect(peer, &name);
            }
        }
    }

    fn connect(&mut self, peer: PublicKey, name: &str) {
        let Some(other) = self.process.world.directory.get(name) else {
            return;
        };
        let Ok((mine, theirs)) = self.process.world.network.connect(&self.process.name, name)
        else {
            return;
        };
        let link = self.adopt(mine);
        match self.node.connect_outbound(link, peer) {
            Ok(first) => {
                self.peer_links.insert(peer, link);
                if let Some(outgoing) = self.links.get(&link) {
                    outgoing.send(first);
                }
                other.deliver(Incoming::Connected(theirs));
            }
            Err(_) => self.drop_link(link),
        }
    }

    /// Brings the node to the chain's tip and shows it the mempool.
    fn follow(&mut self) {
        let best: Vec<(BlockHash, u32)> = self.node.best_blocks();
        let shown = self.process.world.backend.look_height();
        let (fork, blocks) = self.process.world.backend.read(|chain| {
            let on_chain =
                |(hash, height): &(BlockHash, u32)| chain.hash_at(*height) == Some(*hash);
            let stale: Vec<&(BlockHash, u32)> =
                best.iter().filter(|block| !on_chain(block)).collect();
            let fork = stale
                .iter()
                .filter_map(|(hash, _)| fork_of(chain, *hash))
                .min_by_key(|(_, height)| *height);
            let from = fork.map_or(u32::MAX, |(_, height)| height);
            let from = best
                .iter()
                .map(|(_, height)| *height)
                .min()
                .unwrap_or(0)
                .min(from);
            let blocks: Vec<_> = (from + 1..=shown)
                .filter_map(|height| Some((chain.block_at(height)?, height)))
                .collect();
            (fork, blocks)
        });
        if let Some(fork) = fork {
            self.node.blocks_disconnected(fork);
        }
        for (block, height) in blocks {
            self.node.block_connected(&block, height);
        }
        self.show_mempool();
    }

    fn show_mempool(&mut self) {
        let transactions = self.process.world.backend.mempool();
        let now: BTreeSet<Txid> = transactions.iter().map(Transaction::compute_txid).collect();
        let left: Vec<Txid> = self
            .told_mempool
            .difference(&now)
            .copied()
            .filter(|txid| {
                self.process
                    .world
                    .backend
                    .read(|chain| chain.transaction(txid).is_none())
            })
            .collect();
        let shown = self
            .node
            .mempool(&transactions)
            .and_then(|()| self.node.evicted(&left));
        if let Err(error) = shown {
            self.process.state().failure = Some(error.to_string());
        }
        self.told_mempool = now;
    }
}

/// The last block of the best chain from which the branch of `hash` grew.
fn fork_of(chain: &super::chain::Chain, mut hash: BlockHash) -> Option<(BlockHash, u32)> {
    while !chain.is_in_best_chain(&hash) {
        hash = chain.header(&hash)?.prev_blockhash;
    }
    Some((hash, chain.height_of(&hash)?))
}
