//! Every scenario that names the regtest world, on real servers, one after another: it passes (`regtest::`), and its
//! canonical trace is the expected one, which is the simulated world's (`both::`); and our node among real ones
//! (`interoperability::`). Ignored where the servers are not
//! installed. Owns that list.

#[path = "regtest/interoperability.rs"]
mod interoperability;

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep::cli::expected::{self, Comparison};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::{Job, binaries, sources::Source};
use lockstep::report::failure;
use lockstep::run::outcome::{Outcome, Verdict};
use lockstep::scenario::World;
use lockstep::worlds::WorldKind;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

fn main() -> ExitCode {
    lockstep_tests::entry();
    let mut arguments = Arguments::from_args();
    // Servers share the machine's ports, disk and processors: their waits are for one run at a time.
    arguments.test_threads = Some(1);
    let executables = binaries::locate();
    if let Err(missing) = &executables {
        println!("the regtest tests are ignored: {missing}");
    }
    let ignored = executables.is_err();
    let interoperability = interoperability::trial(executables.as_ref().ok().cloned());
    let setting = Arc::new(Setting {
        slots: 1,
        executables: executables.ok(),
    });
    let found = lockstep_tests::scenarios().into_iter();
    let named = found.filter(|found| found.source.scenario.worlds.contains(&World::Regtest));
    let trials = named
        .flat_map(|found| of_scenario(found, &setting))
        .chain([interoperability])
        .map(|trial| trial.with_ignored_flag(ignored));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Two tests about one run.
fn of_scenario(found: lockstep_tests::Found, setting: &Arc<Setting>) -> Vec<Trial> {
    let source = Arc::new(found.source);
    let ran: Arc<OnceLock<Outcome>> = Arc::default();
    let both = source.scenario.worlds.contains(&World::Simulated);
    let outcome = {
        let (source, setting) = (source.clone(), setting.clone());
        move || ran.get_or_init(|| run(&source, &setting)).clone()
    };
    let passes = outcome.clone();
    let mut trials = vec![Trial::test(format!("regtest::{}", found.name), move || {
        passed(&passes())
    })];
    if both {
        let agrees = move || agrees(&outcome());
        trials.push(Trial::test(format!("both::{}", found.name), agrees));
    }
    trials
}

fn run(source: &Source, setting: &Setting) -> Outcome {
    run_one(
        &Job::new(&source.file, WorldKind::Regtest, source.scenario.seed),
        setting,
    )
}

fn passed(outcome: &Outcome) -> Result<(), Failed> {
    match outcome.verdict {
        Verdict::Pass => Ok(()),
        _ => Err(failure::render(outcome).into()),
    }
}

fn agrees(outcome: &Outcome) -> Result<(), Failed> {
    passed(outcome)?;
    match expected::compare(outcome)? {
        Comparison::Same => Ok(()),
        Comparison::Absent => Err("there is no expected trace of the simulated world".into()),
        Comparison::Differs(difference) => Err(difference.into()),
    }
}
