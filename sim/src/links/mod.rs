//! Owns the simulated network: connections between named endpoints, their latency, the faults that hit them, and the
//! bytes on them; `travel` owns messages without a connection. Does not own what the bytes mean (BOLT 8 or HTTP).
//!
//! Fault model, as of a TCP connection over a bad network: bytes of one connection arrive complete and in order or the
//! connection is reset; latency is drawn per chunk, so chunks of different connections overtake each other.
//! - *partition* holds bytes back (retransmission) and resets a connection that was held longer than `RESET_AFTER_HELD`;
//!   nobody can connect across it. *one-way* does so from the first end to the second; acknowledgements are not modelled,
//!   so what goes the other way arrives, but nobody can connect either.
//! - *clog* holds bytes back without a limit; at its end all of them arrive at once.
//! - *half-open*: the first end's connections end for it at once. What is sent on them goes nowhere, and the second end is
//!   told only when the fault ends. If there is none yet, the next one is hit as soon as it has carried a chunk.
//! - *disconnect* and *loss* show as a reset; *delay* and *spikes* make chunks late, later ones of a connection behind them.
//! - *reorder* and *duplicate* concern messages only: TCP numbers its bytes.
//!
//! An endpoint that is down resets all its connections. There is no back pressure: a connection with more than
//! `MAX_CHUNKS_ON_THE_WAY` is reset.

mod carrying;
mod faults;
#[cfg(test)]
mod tests;
mod travel;

pub use travel::Arrival;

use crate::faults::{FaultId, Faults};
use crate::prng::{RootSeed, Stream};
use crate::scenario::LinkFaultKind;
use crate::trace::{SharedTrace, Subsystem};
use crate::vtime::simulated_instant;
use async_channel::{Receiver, Sender};
use carrying::Carrying;
use faults::{Cargo, LinkFaults};
use madsim::runtime::NodeHandle;
use madsim::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// More chunks than LDK or HTTP put on one connection before they wait for an answer, by two orders of magnitude.
const MAX_CHUNKS_ON_THE_WAY: usize = 65_536;

/// Linux gives up on unacknowledged data after some minutes; a shorter time shows resets in shorter runs.
const RESET_AFTER_HELD: Duration = Duration::from_secs(60);

/// One-way latency, microseconds: of a bad home line within a continent.
const LATENCY_US: (u64, u64) = (5_000, 50_000);

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
    /// Each closes what the other end of `ends` reads: first the second's, then the first's.
    closers: [Sender<Vec<u8>>; 2],
    /// Set once the first end of this fault has lost it and the second does not know.
    half_open: Option<FaultId>,
}

struct State {
    seed: RootSeed,
    draws: BTreeMap<String, Stream>,
    down: BTreeSet<String>,
    active: LinkFaults,
    /// Closed and renewed when a fault ends, so that whatever is held looks again.
    gate: (Sender<()>, Receiver<()>),
    messages: BTreeMap<u64, travel::Message>,
    next_message: u64,
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
            active: LinkFaults::default(),
            gate: async_channel::bounded(1),
            messages: BTreeMap::new(),
            next_message: 0,
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
        if let Some(fault) = state.active.refusing(from, to) {
            state
                .faults
                .lock()
                .expect("no holder panics")
                .had_effect(fault);
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
                half_open: None,
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

    /// One direction of a connection: what is put into the first channel comes out of the second one later. Both have a
    /// limit that is looked at when something is put in: a bounded channel takes the memory for all that it could hold.
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
        let (sender, on_the_way) = async_channel::unbounded::<Chunk>();
        let (sink, arrived) = async_channel::unbounded();
        let carrying = Carrying {
            network: self.clone(),
            connection,
            path: (from.to_owned(), to.to_owned()),
        };
        self.carrier.spawn(carrying.run(on_the_way, sink.clone()));
        (sender, (sink, arrived))
    }

    /// Draws when cargo sent now arrives (`None`: never), and which fault lets later messages overtake it.
    fn departure(
        &self,
        (from, to): (&str, &str),
        cargo: Cargo,
    ) -> (Option<Instant>, Option<FaultId>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let name = format!("link/{from}>{to}");
        let seed = state.seed;
        let draws = state
            .draws
            .entry(name.clone())
            .or_insert_with(|| seed.stream(&name));
        let latency = Duration::from_micros(draws.between(LATENCY_US.0, LATENCY_US.1));
        let departure = state.active.depart((from, to), cargo, draws);
        let mut faults = state.faults.lock().expect("no holder panics");
        if let Some(fault) = departure.lost {
            faults.had_effect(fault);
            return (None, None);
        }
        departure
            .delayed
            .into_iter()
            .for_each(|fault| faults.had_effect(fault));
        let at = simulated_instant() + latency + departure.delay;
        (Some(at), departure.held_for_reorder)
    }

    /// Whether an endpoint is down.
    fn is_down(&self, name: &str) -> bool {
        self.state().down.contains(name)
    }

    fn had_effect(&self, fault: FaultId) {
        let state = self.state();
        let mut faults = state.faults.lock().expect("no holder panics");
        faults.had_effect(fault);
    }

    /// Begins a fault between two endpoints; it goes on until [`Network::end_fault`].
    pub fn begin_fault(&self, between: (&str, &str), kind: LinkFaultKind, fault: FaultId) {
        if kind == LinkFaultKind::Disconnect {
            if self.reset(between.0, between.1) > 0 {
                self.had_effect(fault);
            }
            return;
        }
        self.state().active.begin(between, kind, fault);
        if matches!(kind, LinkFaultKind::HalfOpen { .. }) {
            let ends = pair(between.0, between.1);
            let concerned =
                |connection: &Connection| pair(&connection.ends[0], &connection.ends[1]) == ends;
            self.half_open(fault, concerned);
        }
    }

    /// Ends what this fault does; other faults of the same link go on. What it held arrives at once, what it kept
    /// half open is reset.
    pub fn end_fault(&self, fault: FaultId) {
        let was_active = self.state().active.end(fault);
        if !was_active {
            return;
        }
        self.reset_where(|connection| connection.half_open == Some(fault));
        let fresh = async_channel::bounded(1);
        let old = std::mem::replace(&mut self.state().gate, fresh);
        old.0.close();
    }

    /// The first end of the fault loses these connections; the second does not notice.
    fn half_open(&self, fault: FaultId, concerns: impl Fn(&Connection) -> bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(first) = state.active.first_end(fault).map(str::to_owned) else {
            return;
        };
        let concerned = state
            .connections
            .values_mut()
            .filter(|connection| connection.half_open.is_none() && concerns(connection));
        let mut hit = 0;
        for connection in concerned {
            let reads = usize::from(connection.ends[0] == first);
            connection.closers[reads].close();
            connection.half_open = Some(fault);
            hit += 1;
        }
        if hit > 0 {
            let between = state.active.ends(fault);
            if let Some((a, b)) = between {
                state.active.take_armed(&a, &b);
            }
            let mut faults = state.faults.lock().expect("no holder panics");
            (0..hit).for_each(|_| faults.had_effect(fault));
        }
    }

    /// A chunk has arrived: a half-open fault that found no connection takes this one.
    fn after_delivery(&self, connection: u64, path: &(String, String)) {
        let armed = self.state().active.take_armed(&path.0, &path.1);
        if let Some(fault) = armed {
            let this = self
                .state()
                .connections
                .get(&connection)
                .map(|found| found.ends.clone());
            self.half_open(fault, |candidate| Some(&candidate.ends) == this.as_ref());
        }
    }

    /// The half-open fault that this connection is under.
    fn lost_by(&self, connection: u64) -> Option<FaultId> {
        self.state().connections.get(&connection)?.half_open
    }

    /// Whether a sender that has gone is the one who lost the connection: then the other end is not told.
    fn is_kept_open_without(&self, connection: u64, sender: &str) -> bool {
        let state = self.state();
        let fault = state.connections.get(&connection).and_then(|c| c.half_open);
        fault.is_some_and(|fault| state.active.first_end(fault) == Some(sender))
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

    /// Resets every connection between the two, without a fault.
    pub fn disconnect(&self, a: &str, b: &str) {
        self.reset(a, b);
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
            && state.messages.is_empty()
            && state
                .connections
                .values()
                .all(|connection| connection.closers.iter().all(Sender::is_empty))
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
        let (due, _) = self
            .network
            .departure((&self.path.0, &self.path.1), Cargo::Chunk);
        match due {
            Some(due) => {
                self.network.state().on_the_way += 1;
                let (sent, bytes) = (simulated_instant(), chunk);
                let is_full = self.outgoing.len() >= MAX_CHUNKS_ON_THE_WAY;
                let chunk = Chunk { sent, due, bytes };
                if is_full || self.outgoing.try_send(chunk).is_err() {
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
