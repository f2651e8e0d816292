//! Every scenario that names the simulated world, as a test of its own: it passes, and its canonical trace is the
//! expected one. Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep::cli::expected::{self, Comparison};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::{Job, sources::Source};
use lockstep::report::failure;
use lockstep::run::outcome::Verdict;
use lockstep::scenario::World;
use lockstep::worlds::WorldKind;

pub(crate) fn trials() -> Vec<Trial> {
    let found = lockstep_tests::scenarios().into_iter();
    let simulated = found.filter(|found| found.source.scenario.worlds.contains(&World::Simulated));
    simulated
        .map(|found| {
            Trial::test(format!("scenarios::{}", found.name), move || {
                check(&found.source)
            })
        })
        .collect()
}

fn check(source: &Source) -> Result<(), Failed> {
    let job = Job::new(&source.file, WorldKind::Simulated, source.scenario.seed);
    let outcome = run_one(&job, &Setting::default());
    if outcome.verdict != Verdict::Pass {
        return Err(failure::render(&outcome).into());
    }
    let idle: Vec<&str> = outcome
        .faults
        .iter()
        .filter(|f| f.effects == 0)
        .map(|f| f.name.as_str())
        .collect();
    if !idle.is_empty() {
        return Err(format!("planned faults had no effect: {}", idle.join(", ")).into());
    }
    match expected::compare(&outcome)? {
        Comparison::Same => Ok(()),
        Comparison::Absent => Err(format!(
            "no expected trace; write it with: lockstep run {} --bless",
            source.file
        )
        .into()),
        Comparison::Differs(difference) => Err(difference.into()),
    }
}
