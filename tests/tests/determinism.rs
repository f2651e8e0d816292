//! One seed gives one run: some seeds of every scenario, each in two fresh processes, whole traces compared; and a
//! difference that is made on purpose is caught. Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep::cli::processes::Setting;
use lockstep::cli::{Job, determinism};
use lockstep::report::failure;
use lockstep::run::outcome::Verdict;
use lockstep::scenario::World;
use lockstep::worlds::WorldKind;

/// Beside the scenario's own. `lockstep run scenarios --check-determinism --seeds 0..100` is for many.
const SEEDS: [u64; 2] = [2, 77];

/// A small scenario that is always there.
const SMALL: &str = "tests/planted/charge.toml";

pub(crate) fn trials() -> Vec<Trial> {
    let found = lockstep_tests::scenarios().into_iter();
    let simulated = found.filter(|found| found.source.scenario.worlds.contains(&World::Simulated));
    let one = |found: lockstep_tests::Found| {
        let (file, own) = (found.source.file, found.source.scenario.seed);
        Trial::test(format!("determinism::{}", found.name), move || {
            [own]
                .into_iter()
                .chain(SEEDS)
                .try_for_each(|seed| holds(&file, seed))
        })
    };
    let mut trials: Vec<Trial> = simulated.map(one).collect();
    trials.push(Trial::test(
        "determinism::a_planted_difference_is_caught",
        planted_difference,
    ));
    trials
}

fn holds(file: &str, seed: u64) -> Result<(), Failed> {
    let outcome = determinism::check(
        &Job::new(file, WorldKind::Simulated, seed),
        &Setting::default(),
    );
    match outcome.verdict {
        Verdict::Pass => Ok(()),
        _ => Err(failure::render(&outcome).into()),
    }
}

fn planted_difference() -> Result<(), Failed> {
    holds(SMALL, 1)?;
    let salted = Job {
        salt: true,
        ..Job::new(SMALL, WorldKind::Simulated, 1)
    };
    let outcome = determinism::check(&salted, &Setting::default());
    match &outcome.verdict {
        Verdict::NonDeterministic { what }
            if what.contains("stimulus") && what.contains("part at line 1:") =>
        {
            Ok(())
        }
        other => Err(format!("the salt in the stimulus was not named: {other:?}").into()),
    }
}
