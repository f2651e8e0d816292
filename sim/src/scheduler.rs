//! Owns the one simulation that a process may run: the seeded madsim runtime.
//! Does not own what runs in it (`worlds::simulated`).
//!
//! One simulation per process: statics, task ids and hash seeds differ between two runs in one process and match
//! across fresh processes, so a second one is refused.

use crate::entropy_shim;
use crate::prng::RootSeed;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

static STARTED: AtomicBool = AtomicBool::new(false);

/// A process has had its simulation already.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process has run a simulation already; each one needs a fresh process to be repeatable"
)]
pub struct AlreadyStarted;

/// Runs `body` as the simulation of this process, to its end.
pub fn simulate<F: Future>(
    seed: RootSeed,
    body: impl FnOnce() -> F,
) -> Result<F::Output, AlreadyStarted> {
    if STARTED.swap(true, Ordering::SeqCst) {
        return Err(AlreadyStarted);
    }
    entropy_shim::link_in();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed.0, madsim::Config::default());
    Ok(runtime.block_on(async { body().await }))
}
