//! Owns virtual time as the harness counts it: the scenario's start is zero; and the reading of a simulation's clock.
//! Does not own the clock (madsim does).

use lockstep_engine::time::Timestamp;
use std::fmt;
use std::time::Instant;

/// Milliseconds since the scenario's start (after warm-up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// The simulation's clock. Panics outside of a simulation.
pub fn simulated_instant() -> Instant {
    madsim::time::TimeHandle::current().now_instant()
}

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
