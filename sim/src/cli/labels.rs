//! Owns `lockstep labels`: a scenario is run in the simulated world, and the labels of the engine's wallets at its end are
//! printed, one line each (BIP 329). Does not own what they say (`lockstep_engine::labels`).

use super::args::LabelsArguments;
use super::child::Job;
use super::output::{Failure, Output};
use super::processes::{Setting, run_one};
use super::sources;
use crate::report::failure;
use crate::run::outcome::Verdict;
use crate::worlds::WorldKind;
use std::slice;

/// Runs and prints; a run that does not pass has no labels, and its own exit code.
pub(super) fn run(arguments: &LabelsArguments, output: &mut Output) -> Result<u8, Failure> {
    let found = sources::load_all(slice::from_ref(&arguments.scenario));
    for source in found.map_err(Failure::sources)? {
        let seed = arguments.seed.unwrap_or(source.scenario.seed);
        let job = Job::new(source.file, WorldKind::Simulated, seed);
        let outcome = run_one(&job, &Setting::default());
        if outcome.verdict != Verdict::Pass {
            output.note(failure::render(&outcome).trim_end())?;
            return Ok(outcome.verdict.exit_code());
        }
        for line in &outcome.labels {
            output.say(line)?;
        }
    }
    Ok(0)
}
