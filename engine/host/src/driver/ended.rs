//! Owns the words for how a driver ends. Does not own when it does (its parent).

use crate::ports::Point;
use lockstep_engine::api::Refusal;

/// How a driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `Handle::stop`.
    Stopped,
    /// Killed here by the interruption port.
    Interrupted(Point),
    /// It could not go on.
    Failed(Failure),
}

/// Why a driver could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The journal could not be written (a full disk, for instance). The input was not acknowledged.
    #[error("failed to write the journal: {reason}")]
    Store {
        /// In words, with its causes.
        reason: String,
    },
    /// The engine refused an input that it had admitted: a bug in the engine.
    #[error("the engine refused what it had admitted: {refusal}")]
    AdmittedThenRefused {
        /// Its reason.
        refusal: Refusal,
    },
}
