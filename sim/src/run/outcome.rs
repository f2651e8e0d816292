//! Owns what a run ends with: verdict, exit code, times, hashes, faults. Does not own how it is shown (`report`).

use crate::faults::Fault;
use crate::invariants::{Kind, Violation};
use crate::worlds::{WorldError, WorldKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// An expectation or a safety invariant did not hold.
    Violated {
        /// Line of the scenario's step.
        line: Option<usize>,
        /// The step.
        step: String,
        /// What was seen.
        what: String,
    },
    /// Something never came about.
    Liveness {
        /// Line of the scenario's step.
        line: Option<usize>,
        /// The step.
        step: String,
        /// What was waited for.
        what: String,
    },
    /// Two runs of one seed differ.
    NonDeterministic {
        /// Where first.
        what: String,
    },
    /// The harness or a server failed: nothing is said about the engine.
    Harness {
        /// What.
        what: String,
    },
    /// Stopped by a person.
    Interrupted,
}

impl Verdict {
    /// The process's exit code (docs/SPEC.md): 0 pass, 1 violated, 3 liveness, 4 non-determinism, 5 harness; 130 after
    /// Ctrl-C. 2 is kept for bad usage and bad scenarios.
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Violated { .. } => 1,
            Verdict::Liveness { .. } => 3,
            Verdict::NonDeterministic { .. } => 4,
            Verdict::Harness { .. } => 5,
            Verdict::Interrupted => 130,
        }
    }

    /// One word for tables.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Violated { .. } => "violated",
            Verdict::Liveness { .. } => "liveness",
            Verdict::NonDeterministic { .. } => "non-deterministic",
            Verdict::Harness { .. } => "harness",
            Verdict::Interrupted => "interrupted",
        }
    }
}

/// The phases of a run, in order. Safety is checked after every event of all of them, liveness after healing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Blocks, funds, channels, opening balances.
    WarmUp,
    /// The steps, faults among them.
    Chaos,
    /// Every fault that still lasts ends, and the world comes to rest.
    Heal,
    /// Blocks and time until every payment is final.
    Settle,
    /// The journal is folded again.
    Audit,
}

impl Phase {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::WarmUp => "warm-up",
            Phase::Chaos => "chaos",
            Phase::Heal => "heal",
            Phase::Settle => "settle",
            Phase::Audit => "audit",
        }
    }
}

/// Why a run stopped before its end.
#[derive(Debug)]
pub enum Stop {
    /// An expectation did not hold.
    Expectation(String),
    /// A charge that is to be paid has no invoice or address.
    NoRequest(String),
    /// An expectation with a time limit did not come about.
    TooLate(String),
    /// An invariant is broken.
    Violation(Violation),
    /// The world failed.
    World(WorldError),
}

impl From<WorldError> for Stop {
    fn from(error: WorldError) -> Stop {
        Stop::World(error)
    }
}

impl Stop {
    /// The verdict, for a stop in this step.
    pub fn verdict(self, line: Option<usize>, step: &str) -> Verdict {
        let step = step.to_owned();
        match self {
            Stop::Expectation(what) | Stop::NoRequest(what) => {
                Verdict::Violated { line, step, what }
            }
            Stop::TooLate(what) => Verdict::Liveness { line, step, what },
            Stop::Violation(violation) => match violation.kind {
                Kind::Safety => Verdict::Violated {
                    line,
                    step,
                    what: violation.to_string(),
                },
                Kind::Liveness => Verdict::Liveness {
                    line,
                    step,
                    what: violation.to_string(),
                },
            },
            Stop::World(error @ WorldError::Unsettled { .. }) => Verdict::Liveness {
                line,
                step,
                what: error.to_string(),
            },
            Stop::World(error @ WorldError::Refused { .. }) => Verdict::Violated {
                line,
                step,
                what: error.to_string(),
            },
            Stop::World(WorldError::Interrupted) => Verdict::Interrupted,
            Stop::World(error @ WorldError::Harness { .. }) => Verdict::Harness {
                what: error.to_string(),
            },
        }
    }
}

/// How often an invariant was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How often.
    pub count: u64,
    /// When last, in ms of virtual time since the scenario's start.
    pub last_ms: u64,
}

/// What a run ended with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's file.
    pub scenario: String,
    /// Where it ran.
    pub world: WorldKind,
    /// Root seed.
    pub seed: u64,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Virtual time from the scenario's start to its end.
    pub virtual_ms: u64,
    /// Real time of the whole process, warm-up and servers included; filled in by whoever started it.
    pub wall_ms: u64,
    /// Records of the trace.
    pub records: u64,
    /// SHA-256 chain of the whole trace.
    pub trace_hash: String,
    /// SHA-256 chains per subsystem.
    pub subsystem_hashes: BTreeMap<String, String>,
    /// The canonical trace.
    pub canonical: Vec<String>,
    /// Faults and how often each had an effect.
    pub faults: Vec<Fault>,
    /// How often each invariant was checked.
    #[serde(default)]
    pub checks: BTreeMap<String, Checked>,
    /// Real time by what was waited for, in ms (the regtest world).
    pub waits_ms: BTreeMap<String, u64>,
    /// The phase in which it ended; `audit` for a run that came to its end, none for one that never began.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// Cells of (rail, payment state, fault) that it reached (`coverage`).
    #[serde(default)]
    pub coverage: BTreeSet<String>,
    /// Rare things that happened.
    #[serde(default)]
    pub rare: BTreeSet<String>,
    /// The labels of the engine's wallets at the end of a run that passed, each a line in the form of BIP 329.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}
