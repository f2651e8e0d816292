//! Owns what must hold: one file for each invariant, numbered in docs/INVARIANTS.md. Does not own when they are checked
//! (`run`) nor the worlds that they judge.

mod at_most_once;
mod audit;
mod channel_conservation;
mod fees_attributed;
mod ground_truth;
mod model_agrees;
mod no_stale_hold;
mod no_unbound_payment;
mod outcome_equals_truth;
mod proof_of_payment;
mod reputation_exactly_once;
mod terminal_by_deadline;
mod wallets_apart;
mod zero_sum;

pub use audit::{AuditError, audit_journal};
pub use model_agrees::ModelAgrees;
pub use outcome_equals_truth::{Fate, Fates, outcomes};
pub use reputation_exactly_once::untold;
pub use terminal_by_deadline::unfinished;

use crate::model::Terms;
use crate::worlds::layer0::Book;
use crate::worlds::{ChannelState, Truth};
use bitcoin::Txid;
use lockstep_engine::api::{Engine, Input, Output};
use lockstep_engine::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Whether a violation means that something bad happened or that something good never did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something bad happened.
    Safety,
    /// Something good never did.
    Liveness,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its name (docs/INVARIANTS.md).
    pub invariant: String,
    /// Safety or liveness.
    pub kind: Kind,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant `{}` is broken: {}", self.invariant, self.what)
    }
}

/// An accepted input and its consequences.
pub struct Stepped<'a> {
    /// When.
    pub at: Timestamp,
    /// What came in.
    pub input: &'a Input,
    /// What came of it.
    pub output: &'a Output,
    /// The engine afterwards.
    pub engine: &'a Engine,
    /// What the outside holds at this moment, where that can be told.
    pub truth: Option<Truth>,
}

/// The world at rest after a step of the scenario.
pub struct Settled<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// What the outside holds.
    pub truth: Truth,
    /// Every channel.
    pub channels: &'a [ChannelState],
    /// How often the gateway carried out each reference.
    pub executed: &'a BTreeMap<String, u64>,
    /// From which of our wallets each transaction spends, by its id; none for those of others.
    pub spent_from: &'a BTreeMap<Txid, BTreeSet<String>>,
    /// What each transaction that spends the operator's coins pays to miners, in blocks and in the mempool.
    pub fees_sat: &'a BTreeMap<Txid, u64>,
    /// Whether a fault of the chain's backend may still show the engine another chain than there is.
    pub chain_is_hidden: bool,
    /// What Layer 0 was told, if there is one.
    pub layer0: Option<&'a Book>,
    /// Whether the run is over and all that was under way has arrived.
    pub at_end: bool,
}

/// When an invariant looks; only these looks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// After every accepted input.
    pub after_step: bool,
    /// After every refused input.
    pub after_refusal: bool,
    /// When the world has come to rest.
    pub at_rest: bool,
}

/// Something that must hold. Checkers only look.
pub trait Invariant: Send {
    /// Its name in docs/INVARIANTS.md.
    fn name(&self) -> &'static str;

    /// When it looks: after accepted inputs and at rest, unless it says otherwise.
    fn looks(&self) -> Looks {
        Looks {
            after_step: true,
            after_refusal: false,
            at_rest: true,
        }
    }

    /// After every accepted input; the error says what is wrong.
    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        let _ = stepped;
        Ok(())
    }

    /// After every refused input; nothing has changed.
    fn after_refusal(&mut self, at: Timestamp, input: &Input) -> Result<(), String> {
        let _ = (at, input);
        Ok(())
    }

    /// When the world has come to rest.
    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        let _ = settled;
        Ok(())
    }
}

/// Every safety invariant that is checked during a run with the default policy.
pub fn all() -> Vec<Box<dyn Invariant>> {
    all_under(Terms::default())
}

/// Every safety invariant that is checked during a run. The model comes last: of what it and another one see in the same
/// step, the other one's words are nearer to the cause.
pub fn all_under(terms: Terms) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(zero_sum::ZeroSum),
        Box::new(ground_truth::GroundTruth),
        Box::new(at_most_once::AtMostOnce::default()),
        Box::new(channel_conservation::ChannelConservation),
        Box::new(no_stale_hold::NoStaleHold),
        Box::new(reputation_exactly_once::ReputationExactlyOnce::default()),
        Box::new(no_unbound_payment::NoUnboundPayment::new(&terms)),
        Box::new(proof_of_payment::ProofOfPayment::default()),
        Box::new(wallets_apart::WalletsApart::default()),
        Box::new(fees_attributed::FeesAttributed),
        Box::new(ModelAgrees::new(terms)),
    ]
}
