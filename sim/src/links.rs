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

/// The quality of a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkPolicy {
    /// Lowest one-way latency, microseconds.
    pub latency_us_min: u64,
    /// Highest one-way latency, microseconds.
    pub latency_us_max: u64,
    /// Chunks in a million whose loss resets the connection.
    pub loss_per_million: u32,
}

impl Default for LinkPolicy {
    /// 5 to 50 ms one way, no loss.
    fn default() -> Self {
        LinkPolicy {
            latency_us_min: 5_000,
            latency_us_max: 50_000,
            loss_per_million: 0,
        }
    }
}

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

struct Connection {
    ends: [String; 2],
    closers: [Sender<Vec<u8>>; 2],
}

struct State {
    seed: RootSeed,
    draws: BTreeMap<String, Stream>,
    policies: BTreeMap<(String, String), LinkPolicy>,
    default_policy: LinkPolicy,
    down: BTreeSet<String>,
    partitions: BTreeMap<(String, String), FaultId>,
    delays: BTreeMap<(String, String), (FaultId, Duration)>,
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
    outgoing: Sender<(Instant, Vec<u8>)>,
    incoming: Receiver<Vec<u8>>,
    path: (String, String),
    network: Network,
    connection: u64,
}

/// The sending half of an [`End`], for parts that write from elsewhere.
#[derive(Clone)]
pub struct Outgoing {
    outgoing: Sender<(Instant, Vec<u8>)>,
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
            policies: BTreeMap::new(),
            default_policy: LinkPolicy::default(),
            down: BTreeSet::new(),
            partitions: BTreeMap::new(),
            delays: BTreeMap::new(),
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

    /// Sets the quality of the link between two endpoints.
    pub fn set_policy(&self, a: &str, b: &str, policy: LinkPolicy) {
        self.state().policies.insert(pair(a, b), policy);
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
    ) -> (
        Sender<(Instant, Vec<u8>)>,
        (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    ) {
        let (sender, on_the_way) =
            async_channel::bounded::<(Instant, Vec<u8>)>(MAX_CHUNKS_ON_THE_WAY);
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
        let policy = *state
            .policies
            .get(&pair(from, to))
            .unwrap_or(&state.default_policy);
        let name = format!("link/{from}>{to}");
        let seed = state.seed;
        let draws = state
            .draws
            .entry(name.clone())
            .or_insert_with(|| seed.stream(&name));
        let latency = draws.between(policy.latency_us_min, policy.latency_us_max);
        let lost = policy.loss_per_million > 0 && draws.chance(policy.loss_per_million);
        let mut latency = Duration::from_micros(latency);
        if let Some((fault, by)) = state.delays.get(&pair(from, to)).copied() {
            latency += by;
            state
                .faults
                .lock()
                .expect("no holder panics")
                .had_effect(fault);
        }
        (!lost).then(|| simulated_instant() + latency)
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

    /// Ends what this fault did to the link, if no later fault has taken its place.
    pub fn heal(&self, a: &str, b: &str, fault: FaultId) {
        let mut state = self.state();
        let link = pair(a, b);
        if state.partitions.get(&link) == Some(&fault) {
            state.partitions.remove(&link);
        }
        if state.delays.get(&link).is_some_and(|(of, _)| *of == fault) {
            state.delays.remove(&link);
        }
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
    pub fn reset(&self, a: &str, b: &str) -> usize {
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
    async fn run(self, on_the_way: Receiver<(Instant, Vec<u8>)>, sink: Sender<Vec<u8>>) {
        while let Ok((at, chunk)) = on_the_way.recv().await {
            sleep_until(at).await;
            if !self.pass_partition().await {
                self.network.state().on_the_way -= 1;
                break;
            }
            self.record(&chunk);
            self.network.state().on_the_way -= 1;
            if sink.try_send(chunk).is_err() {
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

    fn record(&self, chunk: &[u8]) {
        let hash = sha256::Hash::hash(chunk).to_string();
        let event = serde_json::json!({ "to": self.path.1, "bytes": chunk.len(), "sha256": hash });
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
            Some(at) => {
                self.network.state().on_the_way += 1;
                if self.outgoing.try_send((at, chunk)).is_err() {
                    self.network.state().on_the_way -= 1;
                    self.network.close(self.connection);
                }
            }
            None => self.network.close(self.connection),
        }
    }

    /// Ends the connection after what was sent.
    pub fn close(&self) {
        self.outgoing.close();
    }
}
