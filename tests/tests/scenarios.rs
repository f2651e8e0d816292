//! Every scenario that names the simulated world, as a test of its own: it passes, and its canonical trace is the
//! expected one. Those of `tests/large` only pass, and only when they are asked for (`--ignored large`). Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep::cli::expected::{self, Comparison};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::{Job, sources, sources::Source};
use lockstep::report::failure;
use lockstep::run::outcome::{Outcome, Verdict};
use lockstep::scenario::World;
use lockstep::worlds::WorldKind;

pub(crate) fn trials() -> Vec<Trial> {
    let found = lockstep_tests::scenarios().into_iter();
    let simulated = found.filter(|found| found.source.scenario.worlds.contains(&World::Simulated));
    let simulated = simulated.map(|found| {
        Trial::test(format!("scenarios::{}", found.name), move || {
            check(&found.source)
        })
    });
    simulated.chain(large()).collect()
}

/// Minutes each, in a release build.
fn large() -> impl Iterator<Item = Trial> {
    let files = sources::find(&["tests/large".into()]).expect("the folder of large scenarios");
    files.into_iter().map(|file| {
        let source = sources::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let name = format!("large::{file}");
        Trial::test(name, move || passes(&source).map(drop)).with_ignored_flag(true)
    })
}

fn passes(source: &Source) -> Result<Outcome, Failed> {
    let job = Job::new(&source.file, WorldKind::Simulated, source.scenario.seed);
    let outcome = run_one(&job, &Setting::default());
    if outcome.verdict != Verdict::Pass {
        return Err(failure::render(&outcome).into());
    }
    Ok(outcome)
}

fn check(source: &Source) -> Result<(), Failed> {
    let outcome = passes(source)?;
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
