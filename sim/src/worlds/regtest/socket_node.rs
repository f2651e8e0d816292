//! Owns a node of ours (`lockstep-lightning`, the one of the simulated world) among real ones: its bytes go over TCP, its blocks
//! come from bitcoind, its time is the machine's. So what is proved with it holds for the same assembly that is simulated.
//! Does not own the node, nor what a test asks of it.
//!
//! It has no life of its own: it works while somebody waits for it or for something beside it. It follows the best chain
//! forwards only, and its disk is memory.

use super::nodes::listens_at;
use super::{RegtestWorld, machine_time};
use crate::prng::RootSeed;
use crate::worlds::keys::NETWORK;
use crate::worlds::{World, WorldError};
use bitcoin::Transaction;
use bitcoin::secp256k1::PublicKey;
use lockstep_lightning::{Effect, LinkId, MemoryDisk, Node, NodeConfig, NodeEvent};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until, timeout};

/// How often the node does its chores.
const TICK: Duration = Duration::from_secs(1);

/// Pieces that wait to be read or written; a reader waits for room, a link whose writer has none is closed.
const MAX_PIECES: usize = 1_024;

/// A read takes no more at a time: one message of BOLT 1 at its largest, with its frame (BOLT 8).
const READ_BYTES: usize = 65_535 + 34;

/// What a link brings: bytes, or nothing any more.
type Arrived = (LinkId, Option<Vec<u8>>);

/// One of our nodes on real sockets.
pub struct SocketNode {
    node: Node,
    name: String,
    arrived: (Sender<Arrived>, Receiver<Arrived>),
    writers: BTreeMap<LinkId, Sender<Vec<u8>>>,
    to_broadcast: Vec<Transaction>,
    events: Vec<NodeEvent>,
    next_link: u64,
    next_tick: Instant,
}

fn now() -> Duration {
    Duration::from_millis(machine_time().0)
}

impl RegtestWorld {
    /// The public key of a running node, and where it listens.
    pub fn peer(&self, name: &str) -> Result<(PublicKey, SocketAddr), WorldError> {
        let process = self.process(name)?;
        let address = listens_at(process);
        let address = address.ok_or_else(|| WorldError::refused(name, "listen", "it is down"))?;
        Ok((process.node()?.node_id(), address))
    }
}

impl SocketNode {
    /// A fresh node at the world's tip, without links.
    pub async fn start(
        name: &str,
        seed: RootSeed,
        world: &mut RegtestWorld,
    ) -> Result<SocketNode, WorldError> {
        let tip = world.tip().await?;
        let config = NodeConfig {
            alias: name.to_owned(),
            key_seed: seed.bytes(&format!("node/{name}")),
            restart_count: 0,
            now: now(),
            network: NETWORK,
            tip: (tip.hash, tip.height),
            deferred_stores: false,
            forwards_to_private: false,
        };
        let node = Node::start(config, Arc::new(MemoryDisk::default()));
        let node = node.map_err(|error| WorldError::harness(format!("start {name}"), error))?;
        Ok(SocketNode {
            node,
            name: name.to_owned(),
            arrived: channel(MAX_PIECES),
            writers: BTreeMap::new(),
            to_broadcast: Vec::new(),
            events: Vec::new(),
            next_link: 0,
            next_tick: Instant::now(),
        })
    }

    /// The node itself. What is asked of it takes effect when it works next.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Everything that it has told.
    pub fn events(&self) -> &[NodeEvent] {
        &self.events
    }

    /// Opens a connection to a node that listens.
    pub async fn connect(
        &mut self,
        peer: PublicKey,
        address: SocketAddr,
    ) -> Result<(), WorldError> {
        let failed = |error: &dyn std::fmt::Display| {
            WorldError::harness(format!("connect {} to {address}", self.name), error)
        };
        let stream = TcpStream::connect(address);
        let (read, write) = stream.await.map_err(|error| failed(&error))?.into_split();
        let link = LinkId(self.next_link);
        let first = self.node.connect_outbound(link, peer);
        let first = first.map_err(|error| failed(&error))?;
        self.next_link += 1;
        let (writer, pieces) = channel(MAX_PIECES);
        tokio::spawn(read_link(link, read, self.arrived.0.clone()));
        tokio::spawn(write_link(write, pieces));
        self.writers.insert(link, writer);
        self.say(link, first);
        Ok(())
    }

    /// Takes the blocks up to the world's tip, works, and hands out what it has to broadcast.
    pub async fn follow(&mut self, world: &mut RegtestWorld) -> Result<(), WorldError> {
        let tip = world.tip().await?.height;
        let known = self.node.best_blocks().into_iter();
        let from = known.map(|(_, height)| height).min().unwrap_or(tip);
        for height in from + 1..=tip {
            let block = world.block(height).await?;
            self.node.block_connected(&block, height);
        }
        self.work()?;
        for transaction in std::mem::take(&mut self.to_broadcast) {
            world.broadcast(&transaction).await?;
        }
        Ok(())
    }

    /// Works while something else goes on.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> Result<T, WorldError> {
        let mut other = pin!(other);
        loop {
            self.work()?;
            tokio::select! {
                biased;
                done = &mut other => return Ok(done),
                arrived = self.next() => self.take(arrived),
            }
        }
    }

    /// Works until what is asked for is there.
    pub async fn until(
        &mut self,
        limit: Duration,
        what: &str,
        is_there: impl Fn(&SocketNode) -> bool,
    ) -> Result<(), WorldError> {
        let end = Instant::now() + limit;
        loop {
            self.work()?;
            if is_there(self) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            match timeout(left, self.next()).await {
                Ok(arrived) => self.take(arrived),
                Err(_) => {
                    let told = format!("{what}, for {limit:?}; it has told {:?}", self.events);
                    return Err(WorldError::harness(
                        format!("wait with {} for", self.name),
                        told,
                    ));
                }
            }
        }
    }

    /// What arrives next, or nothing if the node has something to do.
    async fn next(&mut self) -> Option<Arrived> {
        tokio::select! {
            biased;
            arrived = self.arrived.1.recv() => arrived,
            () = self.node.wake() => None,
            () = sleep_until(self.next_tick) => None,
        }
    }

    fn take(&mut self, arrived: Option<Arrived>) {
        match arrived {
            Some((link, Some(bytes)))
                if self.writers.contains_key(&link)
                    && self.node.bytes_in(link, &bytes).is_err() =>
            {
                self.writers.remove(&link);
            }
            Some((link, None)) if self.writers.remove(&link).is_some() => {
                self.node.link_closed(link);
            }
            _ => {}
        }
        if self.next_tick <= Instant::now() {
            self.next_tick += TICK;
            self.node.tick(now());
        }
    }

    fn work(&mut self) -> Result<(), WorldError> {
        loop {
            let effects = self.node.process(now());
            let effects = effects
                .map_err(|error| WorldError::harness(format!("run {}", self.name), error))?;
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                match effect {
                    Effect::Send { link, bytes } => self.say(link, bytes),
                    Effect::CloseLink { link } => drop(self.writers.remove(&link)),
                    Effect::Broadcast(transactions) => self.to_broadcast.extend(transactions),
                    Effect::Event(notice) => {
                        self.node.acknowledge(notice.seq);
                        self.events.push(notice.event);
                    }
                }
            }
        }
    }

    fn say(&mut self, link: LinkId, bytes: Vec<u8>) {
        let writer = self.writers.get(&link);
        if writer.is_some_and(|writer| writer.try_send(bytes).is_err()) {
            self.writers.remove(&link);
            self.node.link_closed(link);
        }
    }
}

/// Until the other side ends, or nobody listens any more.
async fn read_link(link: LinkId, mut read: OwnedReadHalf, arrived: Sender<Arrived>) {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let piece = match read.read(&mut bytes).await {
            Ok(0) | Err(_) => None,
            Ok(count) => Some(bytes[..count].to_vec()),
        };
        let is_last = piece.is_none();
        if arrived.send((link, piece)).await.is_err() || is_last {
            return;
        }
    }
}

/// Until the node lets go of the link; dropping the half closes the connection.
async fn write_link(mut write: OwnedWriteHalf, mut pieces: Receiver<Vec<u8>>) {
    while let Some(piece) = pieces.recv().await {
        if write.write_all(&piece).await.is_err() {
            return;
        }
    }
}
