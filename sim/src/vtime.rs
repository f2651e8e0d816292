//! Owns virtual time as the harness counts it: the scenario's start is zero. Does not own any clock.

use lockstep_engine::time::Timestamp;
use std::fmt;

/// Milliseconds since the scenario's start (after warm-up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// Turns offsets into points in time and back.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(pub Timestamp);

impl Epoch {
    /// The point in time of an offset.
    pub fn at(self, offset: Offset) -> Timestamp {
        Timestamp(self.0.0 + offset.0)
    }

    /// The offset of a point in time; zero before the start.
    pub fn offset(self, at: Timestamp) -> Offset {
        Offset(at.0.saturating_sub(self.0.0))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1_000, self.0 % 1_000)
    }
}
