//! Owns the wall clock of the command line: how long processes take, and short pauses between looks at them.
//! Nothing of it reaches a simulation.

use std::time::{Duration, Instant};

/// Real time since its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a person waits is real time"
    )]
    pub(super) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a person waits is real time"
    )]
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(super) fn elapsed_ms(self) -> u64 {
        self.elapsed().as_millis() as u64
    }
}

/// Lets other processes work.
#[expect(
    clippy::disallowed_methods,
    reason = "the parent has nothing to do but to wait for its children"
)]
pub(super) fn nap(length: Duration) {
    std::thread::sleep(length);
}
