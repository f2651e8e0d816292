//! Owns the record of a run: JSON lines with virtual time, actor and event, SHA-256 chained per subsystem and as a
//! whole, and beside it the canonical form (`canonical`) with its symbolic names (`names`). Does not own what is
//! worth recording (the worlds and the runner say so) nor files (`report`).

pub mod canonical;
pub mod names;

use crate::vtime::Offset;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use canonical::Canonical;
use names::Names;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which part of the system a record is about; each has a hash chain of its own, so that two runs that differ can be
/// told apart by where they differ first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subsystem {
    /// What the scenario asked for.
    Stimulus,
    /// Events of the engine, refusals included.
    Engine,
    /// Postings and holds.
    Ledger,
    /// Exchanges with the fiat gateway, both ways.
    Http,
    /// Blocks and transactions.
    Chain,
    /// Events of Lightning nodes.
    Lightning,
    /// Bytes on links (their lengths and hashes).
    Links,
    /// Faults and their effects.
    Faults,
    /// Balances at settled points.
    Balances,
    /// Invariants that were found broken.
    Invariants,
}

/// One line of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Position in the whole trace, from 0.
    pub n: u64,
    /// Virtual time in ms since the scenario's start (0 during warm-up).
    pub at_ms: u64,
    /// Which part.
    pub subsystem: Subsystem,
    /// Who: a node, a wallet, `engine`, `gateway`, `chain`, `scenario`.
    pub actor: String,
    /// What.
    pub event: Value,
}

/// A running SHA-256 over records: each hash covers the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashChain([u8; 32]);

impl HashChain {
    const START: HashChain = HashChain([0; 32]);

    fn extend(&mut self, line: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.0);
        engine.input(line);
        self.0 = sha256::Hash::from_engine(engine).to_byte_array();
    }

    /// That of lines which were recorded before.
    pub fn of_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> HashChain {
        let mut chain = HashChain::START;
        for line in lines {
            chain.extend(line.as_bytes());
        }
        chain
    }

    /// Hexadecimal.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Tells the time since the scenario's start.
pub type Clock = Box<dyn Fn() -> Offset + Send>;

/// The growing record of one run.
pub struct Trace {
    is_silent: bool,
    keep_lines: bool,
    lines: Vec<String>,
    count: u64,
    now: Offset,
    clock: Option<Clock>,
    whole: HashChain,
    chains: BTreeMap<Subsystem, HashChain>,
    /// What hashes, ids and addresses are called.
    pub names: Names,
    /// The form that must be equal in both worlds.
    pub canonical: Canonical,
}

impl Trace {
    /// An empty trace; with `keep_lines` its lines can be written to a file afterwards.
    pub fn new(keep_lines: bool) -> Trace {
        Trace {
            is_silent: false,
            keep_lines,
            lines: Vec::new(),
            count: 0,
            now: Offset(0),
            clock: None,
            whole: HashChain::START,
            chains: BTreeMap::new(),
            names: Names::default(),
            canonical: Canonical::default(),
        }
    }

    /// A trace that records nothing, to tell what recording costs.
    pub fn silent() -> Trace {
        Trace {
            is_silent: true,
            ..Trace::new(false)
        }
    }

    /// The time that the next records carry.
    pub fn set_now(&mut self, now: Offset) {
        self.now = now;
    }

    /// From now on each record carries the time that `clock` tells when it is made.
    pub fn use_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// The time that a record made now carries.
    pub fn time(&mut self) -> Offset {
        if let Some(clock) = &self.clock {
            self.now = clock();
        }
        self.now
    }

    /// Adds a record.
    pub fn record(&mut self, subsystem: Subsystem, actor: &str, event: Value) {
        if self.is_silent {
            return;
        }
        self.time();
        let record = Record {
            n: self.count,
            at_ms: self.now.0,
            subsystem,
            actor: actor.to_owned(),
            event,
        };
        let line = serde_json::to_string(&record).expect("a record has only string keys");
        self.count += 1;
        self.whole.extend(line.as_bytes());
        self.chains
            .entry(subsystem)
            .or_insert(HashChain::START)
            .extend(line.as_bytes());
        if self.keep_lines {
            self.lines.push(line);
        }
    }

    /// Adds a record, and the same to the canonical form under `subject`, with symbolic names.
    pub fn record_canonical(&mut self, subsystem: Subsystem, subject: &str, event: Value) {
        if self.is_silent {
            return;
        }
        let mut symbolic = event.clone();
        self.names.make_symbolic(&mut symbolic);
        let subject = self.names.of(subject).unwrap_or(subject).to_owned();
        self.canonical.add(subsystem, &subject, symbolic);
        self.record(subsystem, &subject, event);
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The hash of everything, hexadecimal.
    pub fn hash(&self) -> String {
        self.whole.to_hex()
    }

    /// The hash of each subsystem that has records.
    pub fn hashes(&self) -> BTreeMap<Subsystem, String> {
        self.chains
            .iter()
            .map(|(subsystem, chain)| (*subsystem, chain.to_hex()))
            .collect()
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// A trace that several parts of a world write to.
#[derive(Clone)]
pub struct SharedTrace(Arc<Mutex<Trace>>);

impl SharedTrace {
    /// Shares `trace`.
    pub fn new(trace: Trace) -> SharedTrace {
        SharedTrace(Arc::new(Mutex::new(trace)))
    }

    /// Exclusive access; never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Trace> {
        self.0.lock().expect("no holder of the trace panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn traced(events: &[&str]) -> Trace {
        let mut trace = Trace::new(true);
        for event in events {
            trace.record(Subsystem::Engine, "engine", json!({ "event": event }));
        }
        trace
    }

    #[test]
    fn the_hash_covers_content_order_and_length() {
        let hash = |events: &[&str]| traced(events).hash();
        assert_eq!(hash(&["a", "b"]), hash(&["a", "b"]));
        assert_ne!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_ne!(hash(&["a", "b"]), hash(&["a"]));
    }

    #[test]
    fn a_subsystem_has_its_own_chain() {
        let mut one = traced(&["a"]);
        let two = traced(&["a"]);
        one.record(Subsystem::Http, "gateway", json!({}));
        assert_eq!(
            one.hashes()[&Subsystem::Engine],
            two.hashes()[&Subsystem::Engine]
        );
        assert_ne!(one.hash(), two.hash());
    }
}
