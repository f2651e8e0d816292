//! Owns putting the regtest world together in a child, and passing Ctrl-C on to it. Does not own the world.

use super::child::{Prepared, begin};
use super::interrupt;
use crate::run::Run;
use crate::run::outcome::Outcome;
use crate::trace::SharedTrace;
use crate::worlds::WorldKind;
use crate::worlds::regtest::{self, Cancel, RegtestWorld};
use std::time::Duration;

/// Between two looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// As long as threads of the runtime may take to end; the process ends afterwards in any case.
const END: Duration = Duration::from_secs(2);

/// Runs in real time, on servers that are started for this run alone.
pub(super) fn run(prepared: Prepared) -> Result<(Outcome, SharedTrace), String> {
    let runtime = regtest::runtime().map_err(|error| error.to_string())?;
    let run = begin(prepared);
    let trace = run.trace().clone();
    let outcome = runtime.block_on(async {
        let cancel = Cancel::default();
        let watch = tokio::spawn(pass_on(cancel.clone()));
        let outcome = in_world(run, cancel).await;
        watch.abort();
        outcome
    });
    // A call of an Electrum client can wait for ever for a server that has ended, in a thread that nobody can stop.
    runtime.shutdown_timeout(END);
    Ok((outcome, trace))
}

async fn pass_on(cancel: Cancel) {
    while !interrupt::is_set() {
        tokio::time::sleep(LOOK).await;
    }
    cancel.cancel();
}

async fn in_world(run: Run, cancel: Cancel) -> Outcome {
    let world = match run.blueprint() {
        Ok(blueprint) => RegtestWorld::build(blueprint, cancel).await,
        Err(error) => Err(error),
    };
    let world = match world {
        Ok(world) => world,
        Err(error) => return run.failed(WorldKind::Regtest, error),
    };
    let (audit, waits) = (world.open_audit(), world.waits());
    let mut outcome = run.in_world(world, audit).await;
    outcome.waits_ms = waits.in_ms();
    outcome
}
