//! Owns the simulated network: connections between named endpoints, their latency, loss, partitions, and the bytes on
//! them. Does not own what the bytes mean (BOLT 8 or HTTP).
//!
//! Fault model, as of a TCP connection over a bad network: bytes of one connection arrive complete and in order or the
//! connection is reset; latency is drawn per chunk, so chunks of different connections overtake each other. A
//! partition holds bytes back (retransmission) and resets a connection that was held longer than
//! `RESET_AFTER_HELD`; nobody can connect across it. Loss shows as a reset. An endpoint that is down resets all its
//! connections. There is no back pressure: a connection with more than `MAX_CHUNKS_ON_THE_WAY` is reset.

use crate::faults::{FaultId, Faults};
use crate::prng::{RootSeed, Stream};
use crate::trace::{SharedTrace, Subsystem};
use crate::vtime::simulated_instant;
use async_channel::{Receiver, Sender};
use bitcoin::hashes::{Hash, sha256};
use madsim::runtime::NodeHandle;
use madsim::time::{Instant, sleep, sleep_until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// More chunks than LDK or HTTP put on one connection before they wait for an answer, by two orders of magnitude.
const MAX_CHUNKS_ON_THE_WAY: usize = 65_536;

/// Linux gives up on unacknowledged data after some minutes; a shorter time shows resets in shorter runs.
const RESET_AFTER_HELD: Duration = Duration::from_secs(60);

/// How often a held connection looks whether the partition has healed.
const HEAL_POLL: Duration = Duration::from_millis(50);

/// One-way latency, microseconds: of a bad home line within a continent.
const LATENCY_US: (u64, u64) = (5_000, 50_000);

/// Chunks in a million that a lossy link loses.
const LOSS_PER_MILLION: u32 = 500_000;

/// Why no connection came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The other side is down.
    #[error("`{to}` is down")]
    Down {
        /// Who.
        to: String,
    },
    /// The two are partitioned.
    #[error("`{from}` and `{to}` are partitioned")]
    Partitioned {
        /// One side.
        from: String,
        /// The other.
        to: String,
    },
}

/// Bytes on their way.
struct Chunk {
    sent: Instant,
    due: Instant,
    bytes: Vec<u8>,
}

struct Connection {
    ends: [String; 2],
    closers: [Sender<Vec<u8>>; 2],
}

struct State {
    seed: RootSeed,
    draws: BTreeMap<String, Stream>,
    down: BTreeSet<String>,
    partitions: BTreeMap<(String, String), FaultId>,
    delays: BTreeMap<(String, String), (FaultId, Duration)>,
    losses: BTreeMap<(String, String), FaultId>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    on_the_way: u64,
    faults: Arc<Mutex<Faults>>,
}

/// The network of one simulated world.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    carrier: NodeHandle,
    trace: SharedTrace,
}

/// One end of a connection. Dropping it closes the connection.
pub struct End {
    outgoing: Sender<Chunk>,
    incoming: Receiver<Vec<u8>>,
    path: (String, String),
    network: Network,
    connection: u64,
}

/// The sending half of an [`End`], for parts that write from elsewhere.
#[derive(Clone)]
pub struct Outgoing {
    outgoing: Sender<Chunk>,
    path: (String, String),
    network: Network,
    connection: u64,
}

fn pair(a: &str, b: &str) -> (String, String) {
    if a <= b {
        (a.to_owned(), b.to_owned())
    } else {
        (b.to_owned(), a.to_owned())
    }
}

impl Network {
    /// A network without connections. Bytes are carried by tasks of `carrier`, which is never killed.
    pub fn new(
        seed: RootSeed,
        carrier: NodeHandle,
        trace: SharedTrace,
        faults: Arc<Mutex<Faults>>,
    ) -> Network {
        let state = State {
            seed,
            draws: BTreeMap::new(),
            down: BTreeSet::new(),
            partitions: BTreeMap::new(),
            delays: BTreeMap::new(),
            losses: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
            on_the_way: 0,
            faults,
        };
        Network {
            state: Arc::new(Mutex::new(state)),
            carrier,
            trace,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of the network's state panics")
    }

    /// Connects `from` to `to`; both ends are returned, the caller hands the second one to the other side.
    pub fn connect(&self, from: &str, to: &str) -> Result<(End, End), ConnectError> {
        let mut state = self.state();
        if let Some(fault) = state.partitions.get(&pair(from, to)) {
            state
                .faults
                .lock()
                .expect("no holder panics")
                .had_effect(*fault);
            return Err(ConnectError::Partitioned {
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
        if let Some(down) = [from, to]
            .into_iter()
            .find(|name| state.down.contains(*name))
        {
            return Err(ConnectError::Down {
                to: down.to_owned(),
            });
        }
        let connection = state.next_connection;
        state.next_connection += 1;
        let (there, there_sink) = self.direction(connection, from, to);
        let (back, back_sink) = self.direction(connection, to, from);
        let ends = [from.to_owned(), to.to_owned()];
        state.connections.insert(
            connection,
            Connection {
                ends,
                closers: [there_sink.0, back_sink.0],
            },
        );
        let end = |outgoing, incoming, from: &str, to: &str| End {
            outgoing,
            incoming,
            path: (from.to_owned(), to.to_owned()),
            network: self.clone(),
            connection,
        };
        Ok((
            end(there, back_sink.1, from, to),
            end(back, there_sink.1, to, from),
        ))
    }

    /// One direction of a connection: what is put into the first channel comes out of the second one later.
    #[allow(
        clippy::type_complexity,
        reason = "two channels, named at the only two call sites"
    )]
    fn direction(
        &self,
        connection: u64,
        from: &str,
        to: &str,
    ) -> (Sender<Chunk>, (Sender<Vec<u8>>, Receiver<Vec<u8>>)) {
        let (sender, on_the_way) = async_channel::bounded::<Chunk>(MAX_CHUNKS_ON_THE_WAY);
        let (sink, arrived) = async_channel::bounded(MAX_CHUNKS_ON_THE_WAY);
        let carrying = Carrying {
            network: self.clone(),
            connection,
            path: (from.to_owned(), to.to_owned()),
        };
        self.carrier.spawn(carrying.run(on_the_way, sink.clone()));
        (sender, (sink, arrived))
    }

    /// Draws when a chunk sent now arrives; `None` if it is lost.
    fn arrival(&self, from: &str, to: &str) -> Option<Instant> {
        let mut state = self.state();
        let name = format!("link/{from}>{to}");
        let seed = state.seed;
        let (losing, delay) = (
            state.losses.get(&pair(from, to)).copied(),
            state.delays.get(&pair(from, to)).copied(),
        );
        let draws = state
            .draws
            .entry(name.clone())
            .or_insert_with(|| seed.stream(&name));
        let latency = Duration::from_micros(draws.between(LATENCY_US.0, LATENCY_US.1));
        let lost = losing.filter(|_| draws.chance(LOSS_PER_MILLION));
        let mut faults = state.faults.lock().expect("no holder panics");
        if let Some(fault) = lost {
            faults.had_effect(fault);
            return None;
        }
        let Some((fault, by)) = delay else {
            return Some(simulated_instant() + latency);
        };
        faults.had_effect(fault);
        Some(simulated_instant() + latency + by)
    }

    /// One-way latency between two endpoints that exchange no byte stream (a local backend's notifications).
    pub async fn travel(&self, from: &str, to: &str) {
        if let Some(at) = self.arrival(from, to) {
            sleep_until(at).await;
        }
        while self.is_partitioned(from, to) {
            sleep(HEAL_POLL).await;
        }
    }

    fn is_partitioned(&self, from: &str, to: &str) -> bool {
        let state = self.state();
        let Some(fault) = state.partitions.get(&pair(from, to)) else {
            return false;
        };
        state
            .faults
            .lock()
            .expect("no holder panics")
            .had_effect(*fault);
        true
    }

    /// Nothing passes between the two until `heal`.
    pub fn partition(&self, a: &str, b: &str, fault: FaultId) {
        self.state().partitions.insert(pair(a, b), fault);
    }

    /// Ends what this fault did, if no later fault has taken its place.
    pub fn heal(&self, fault: FaultId) {
        let mut state = self.state();
        state.partitions.retain(|_, of| *of != fault);
        state.losses.retain(|_, of| *of != fault);
        state.delays.retain(|_, (of, _)| *of != fault);
    }

    /// Resets every connection between the two.
    pub fn disconnect(&self, a: &str, b: &str, fault: FaultId) {
        if self.reset(a, b) > 0 {
            let state = self.state();
            let mut faults = state.faults.lock().expect("no holder panics");
            faults.had_effect(fault);
        }
    }

    /// Chunks between the two are lost by halves, until `heal`.
    pub fn lose(&self, a: &str, b: &str, fault: FaultId) {
        self.state().losses.insert(pair(a, b), fault);
    }

    /// Bytes between the two take this much longer, until `heal`.
    pub fn delay(&self, a: &str, b: &str, fault: FaultId, by: Duration) {
        self.state().delays.insert(pair(a, b), (fault, by));
    }

    /// Takes an endpoint down: its connections are reset and nobody can connect to it.
    pub fn take_down(&self, name: &str) {
        self.state().down.insert(name.to_owned());
        self.reset_where(|connection| connection.ends.iter().any(|end| end == name));
    }

    /// Lets an endpoint connect and be connected again.
    pub fn bring_up(&self, name: &str) {
        self.state().down.remove(name);
    }

    /// Resets every connection between the two; returns how many there were.
    fn reset(&self, a: &str, b: &str) -> usize {
        let ends = pair(a, b);
        self.reset_where(|connection| pair(&connection.ends[0], &connection.ends[1]) == ends)
    }

    fn reset_where(&self, concerns: impl Fn(&Connection) -> bool) -> usize {
        let mut state = self.state();
        let ids: Vec<u64> = state
            .connections
            .iter()
            .filter(|(_, c)| concerns(c))
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            if let Some(connection) = state.connections.remove(id) {
                connection.closers.iter().for_each(|closer| {
                    closer.close();
                });
            }
        }
        ids.len()
    }

    fn close(&self, connection: u64) {
        if let Some(connection) = self.state().connections.remove(&connection) {
            connection.closers.iter().for_each(|closer| {
                closer.close();
            });
        }
    }

    /// Whether any byte is on its way between any two endpoints.
    pub fn is_quiet(&self) -> bool {
        let state = self.state();
        state.on_the_way == 0
            && state
                .connections
                .values()
                .all(|connection| connection.closers.iter().all(Sender::is_empty))
    }
}

struct Carrying {
    network: Network,
    connection: u64,
    path: (String, String),
}

impl Carrying {
    /// Carries chunks in order, each not before its time, until either side closes.
    async fn run(self, on_the_way: Receiver<Chunk>, sink: Sender<Vec<u8>>) {
        while let Ok(chunk) = on_the_way.recv().await {
            sleep_until(chunk.due).await;
            if !self.pass_partition().await {
                self.network.state().on_the_way -= 1;
                break;
            }
            self.record(&chunk);
            self.network.state().on_the_way -= 1;
            if sink.try_send(chunk.bytes).is_err() {
                break;
            }
        }
        sink.close();
        on_the_way.close();
        while on_the_way.try_recv().is_ok() {
            self.network.state().on_the_way -= 1;
        }
        self.network.close(self.connection);
    }

    /// Waits while the path is partitioned; false when it was held for too long.
    async fn pass_partition(&self) -> bool {
        let since = simulated_instant();
        while self.network.is_partitioned(&self.path.0, &self.path.1) {
            if simulated_instant() - since >= RESET_AFTER_HELD {
                return false;
            }
            sleep(HEAL_POLL).await;
        }
        true
    }

    fn record(&self, chunk: &Chunk) {
        let hash = sha256::Hash::hash(&chunk.bytes).to_string();
        let took_us = (simulated_instant() - chunk.sent).as_micros() as u64;
        let event = serde_json::json!({ "to": self.path.1, "bytes": chunk.bytes.len(), "sha256": hash,
            "took_us": took_us });
        self.network
            .trace
            .lock()
            .record(Subsystem::Links, &self.path.0, event);
    }
}

impl End {
    /// Sends a chunk; on a closed connection it goes nowhere.
    pub fn send(&self, chunk: Vec<u8>) {
        self.outgoing().send(chunk);
    }

    /// The sending half.
    pub fn outgoing(&self) -> Outgoing {
        Outgoing {
            outgoing: self.outgoing.clone(),
            path: self.path.clone(),
            network: self.network.clone(),
            connection: self.connection,
        }
    }

    /// The next chunk, or `None` when the connection has ended.
    pub async fn receive(&self) -> Option<Vec<u8>> {
        self.incoming.recv().await.ok()
    }

    /// The receiving half, as a stream.
    pub fn incoming(&self) -> Receiver<Vec<u8>> {
        self.incoming.clone()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.close();
    }
}

impl Outgoing {
    /// Sends a chunk; on a closed connection it goes nowhere; a lost one resets the connection.
    pub fn send(&self, chunk: Vec<u8>) {
        match self.network.arrival(&self.path.0, &self.path.1) {
            Some(due) => {
                self.network.state().on_the_way += 1;
                let (sent, bytes) = (simulated_instant(), chunk);
                if self.outgoing.try_send(Chunk { sent, due, bytes }).is_err() {
                    self.network.state().on_the_way -= 1;
                    self.network.close(self.connection);
                }
            }
            None => {
                let event =
                    serde_json::json!({ "to": self.path.1, "bytes": chunk.len(), "lost": true });
                let mut trace = self.network.trace.lock();
                trace.record(Subsystem::Links, &self.path.0, event);
                drop(trace);
                self.network.close(self.connection);
            }
        }
    }

    /// Ends the connection after what was sent.
    pub fn close(&self) {
        self.outgoing.close();
    }
}
