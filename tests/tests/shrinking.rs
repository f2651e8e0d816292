//! Planted bugs, each in a scenario that is buried under steps, parties and faults that do not matter: the shrinker digs
//! them out. And the way of a failure: bundle, replay, shrunk case. Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep::bundle::{self, Failing, Symptom};
use lockstep::cli::bisect::{self, Bisected};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::replay::{self, Fate, TraceFate};
use lockstep::cli::shrink::case::{Case, Regtest};
use lockstep::cli::shrink::{Task, minimise};
use lockstep::cli::{Job, sources};
use lockstep::run::outcome::Outcome;
use lockstep::scenario::Scenario;
use lockstep::worlds::WorldKind;
use lockstep_engine::planted::Bug;
use std::path::Path;

/// Bug; scenario below `tests/planted`; the invariant that it breaks.
const TABLE: [(Bug, &str, &str); 3] = [
    (Bug::ForgetHoldRelease, "rejected", "no-stale-hold"),
    (Bug::IgnoreReorg, "reorg", "ledger-equals-ground-truth"),
    (
        Bug::PayTwiceOnRetry,
        "lost-response",
        "ledger-equals-ground-truth",
    ),
];

/// More steps than this in a shrunk case would be too many to read.
const MOST_STEPS: usize = 8;

/// What is buried before the scenario's own steps.
const BEFORE: &str = r#"
  { at = "1 s", charge = { id = "x1", party = "noise-1", amount = "333_333 sat", over = "onchain", expires = "2 h" } },
  { pay = { charge = "x1", from = "crowd", feerate = "9 sat/vB" } },
  { expect = { payment = "x1", state = "seen", within = "1 min" } },
  { at = "3 s", link = { between = ["engine", "gateway"], fault = "delay", by = "40 ms", for = "5 min" } },
  { crash = { engine = "stepped", on = "x4" } },
  { at = "5 s", pay = { id = "x2", from = "crowd", to = "noise-2", amount = "444_444 sat" } },
  { mine = "2 blocks" },"#;

/// And after them.
const AFTER: &str = r#"
  { pay = { id = "x3", from = "crowd", to = "noise-2", amount = "555_555 sat" } },
  { link = { between = ["engine", "gateway"], fault = "partition", for = "1 s" } },
  { mine = "6 blocks" },
  { expect = { confirmations = { payment = "x3", at_least = 1 } } },
  { payout = { id = "x4", from = "noise-2", to = "crowd", amount = "200_000 sat" } },
  { wait = "7 min" },
  { link = { between = ["engine", "gateway"], fault = "disconnect" } },
  { mine = "3 blocks" },
"#;

pub(crate) fn trials() -> Vec<Trial> {
    let planted = TABLE.iter().map(|&(bug, scenario, invariant)| {
        Trial::test(format!("shrinking::{bug:?}"), move || {
            is_dug_out(bug, scenario, invariant)
        })
    });
    let mut trials: Vec<Trial> = planted.collect();
    trials.push(Trial::test(
        "shrinking::a_bundle_is_replayed",
        bundle_is_replayed,
    ));
    trials.push(Trial::test(
        "shrinking::a_failing_run_is_kept_replayed_and_shrunk",
        failing_run,
    ));
    trials.push(Trial::test(
        "shrinking::runs_that_differ_are_bisected",
        runs_that_differ,
    ));
    trials
}

/// The scenario of `tests/planted` under fifteen steps, two parties and a wallet that do not matter.
fn buried(scenario: &str) -> Result<Scenario, Failed> {
    let file = format!("tests/planted/{scenario}.toml");
    let text = std::fs::read_to_string(&file)?;
    let (set_up, steps) = text.split_once("steps = [").ok_or("no steps")?;
    let steps = steps
        .trim_end()
        .strip_suffix(']')
        .ok_or("no end of steps")?;
    let noise =
        "parties.noise-1 = {}\nparties.noise-2 = {}\nwallets.crowd = { funds = \"1 BTC\" }\n";
    let text = format!("{set_up}{noise}steps = [{BEFORE}{steps}{AFTER}]\n");
    Scenario::parse(&file, &text).map_err(|invalid| invalid.to_string().into())
}

fn planted_job(plan: &Scenario, bug: Bug) -> Job {
    Job {
        plan: Some(plan.to_toml()),
        planted: Some(format!("{bug:?}")),
        ..Job::new("plan.toml", WorldKind::Simulated, plan.seed)
    }
}

fn setting() -> Setting {
    Setting {
        slots: 2,
        executables: None,
    }
}

fn is_dug_out(bug: Bug, scenario: &str, invariant: &str) -> Result<(), Failed> {
    let plan = buried(scenario)?;
    let job = planted_job(&plan, bug);
    let symptom = Symptom::Invariant(invariant.to_owned());
    let failed = run_one(&job, &setting());
    let task = Task::new(job, &failed, setting()).ok_or("the buried plan does not fail")?;
    check_symptom(&failed, &symptom)?;
    let shrunk = minimise(&plan, &task);
    let steps = shrunk.scenario.steps.len();
    let text = shrunk.scenario.to_toml();
    if steps > MOST_STEPS || !shrunk.finished {
        return Err(format!("{steps} steps of {} are left:\n{text}", plan.steps.len()).into());
    }
    if shrunk.scenario.parties.len() > 1 || text.contains("noise") {
        return Err(format!("what does not matter is left:\n{text}").into());
    }
    eprintln!("{bug:?}: {steps} steps, {} tried\n{text}", shrunk.tried);
    written_case(&shrunk.scenario, &task, &symptom)
}

fn check_symptom(outcome: &Outcome, symptom: &Symptom) -> Result<(), Failed> {
    match Symptom::of(&outcome.verdict).as_ref() {
        Some(found) if found == symptom => Ok(()),
        _ => Err(format!("{:?} instead of: {symptom}", outcome.verdict).into()),
    }
}

/// The case fails in the same way with the bug, passes without it, and has its expected trace.
fn written_case(shrunk: &Scenario, task: &Task, symptom: &Symptom) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (case, tried) = Case::new(shrunk, task, 7).tried_in_regtest(task, &Regtest::none());
    if !tried.contains("not tried") {
        return Err(tried.into());
    }
    let told = case.write(Some(folder.path()), folder.path(), task)?;
    if !told.contains("this build passes it") {
        return Err(told.into());
    }
    let file = folder
        .path()
        .join(format!("{}-seed-7.toml", symptom.slug()));
    let source = sources::load(&file.display().to_string()).map_err(|error| error.to_string())?;
    if !file.with_extension("trace").is_file() {
        return Err("there is no expected trace".into());
    }
    let again = Job {
        planted: task.job.planted.clone(),
        ..Job::new(source.file, WorldKind::Simulated, source.scenario.seed)
    };
    check_symptom(&run_one(&again, &setting()), symptom)
}

/// A bundle of a planted bug: with the bug the failure is the same to the byte, without it the run passes.
fn bundle_is_replayed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let plan = buried("reorg")?;
    let plan = Scenario::parse("plan", &bundle::expanded(&plan, 5)).map_err(|e| e.to_string())?;
    let trace = folder.path().join("lines");
    let job = Job {
        trace: Some(trace.clone()),
        ..planted_job(&plan, Bug::IgnoreReorg)
    };
    let outcome = run_one(&job, &setting());
    let target = folder.path().join("bundle");
    let failing = Failing {
        plan: &plan.to_toml(),
        outcome: &outcome,
        trace: &trace,
        profile: None,
    };
    bundle::write(&target, &failing)?;
    let bundle = bundle::read(&target).map_err(|error| error.to_string())?;
    let with_bug = Job {
        planted: job.planted.clone(),
        trace: Some(folder.path().join("again")),
        ..replay::job(&bundle)
    };
    let found = replay::replay(&bundle, &with_bug, &setting());
    let records = outcome.records;
    if (&found.fate, &found.trace) != (&Fate::Same, &TraceFate::Same { records })
        || !found.same_build
    {
        return Err(format!("with the bug: {found:?}").into());
    }
    let found = replay::replay(&bundle, &replay::job(&bundle), &setting());
    match found.fate {
        Fate::Gone => commands_of(&target),
        _ => Err(format!("without the bug: {:?}", found.fate).into()),
    }
}

/// The command line says the same as the library, and a bundle that no longer fails is nothing to shrink.
fn commands_of(bundle: &Path) -> Result<(), Failed> {
    let root = lockstep_tests::root();
    for command in ["replay", "shrink"] {
        let arguments = [command.into(), bundle.as_os_str().to_owned()];
        let done = lockstep_tests::lockstep(root, arguments).output()?;
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        if done.status.code() != Some(0) || !told.contains("no longer occurs") {
            return Err(format!("{command}: {:?}: {told}", done.status).into());
        }
    }
    Ok(())
}

/// From a red run to a small scenario, by the command line alone: an expectation that is wrong, behind what does not matter.
fn failing_run() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let text = std::fs::read_to_string("tests/planted/charge.toml")?;
    let text = text
        .replace("parties.merchant", "parties.other = {}\nparties.merchant")
        .replace("steps = [", "steps = [\n  # Not in the plan.\n  { pay = { id = \"x\", from = \"alice\", to = \"other\", amount = \"5_000 sat\" } },")
        .replace("\n]", "\n  { expect = { party = \"merchant\", btc = \"999_999 sat\" } },\n]")
        .replace("at = \"10 s\", ", "");
    std::fs::write(folder.path().join("wrong.toml"), text)?;
    let told = |arguments: &[&str], code: i32| -> Result<String, Failed> {
        let done = lockstep_tests::lockstep(folder.path(), arguments.iter().copied()).output()?;
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        match done.status.code() == Some(code) {
            true => Ok(told),
            false => Err(format!("{arguments:?}: {:?}: {told}", done.status).into()),
        }
    };
    told(&["run", "wrong.toml", "--bundle", "kept"], 1)?;
    let bundle = "kept/wrong-simulated-seed-1";
    let replayed = told(&["replay", bundle], 1)?;
    for word in [
        "still occurs, at the same step",
        "build: the same",
        "the same, byte for byte",
    ] {
        if !replayed.contains(word) {
            return Err(format!("replay does not say `{word}`: {replayed}").into());
        }
    }
    told(&["shrink", bundle, "--into", "small", "--jobs", "2"], 0)?;
    let small = std::fs::read_to_string(folder.path().join("small/expect-party-seed-1.toml"))?;
    let is_small =
        !small.contains("other") && small.contains("pay = ") && small.contains("mine = ");
    let small_fails = told(&["run", "small/expect-party-seed-1.toml"], 1)?;
    match is_small && small_fails.contains("not 999999000 msat") {
        true => Ok(()),
        false => Err(format!("{small}\n{small_fails}").into()),
    }
}

fn runs_that_differ() -> Result<(), Failed> {
    let job = Job::new("tests/planted/charge.toml", WorldKind::Simulated, 1);
    let same = bisect::bisect(&job, &setting())?;
    let Bisected::Same { .. } = same else {
        return Err(format!("two runs of one seed differ: {same:?}").into());
    };
    let salted = Job { salt: true, ..job };
    match bisect::bisect(&salted, &setting())? {
        Bisected::Parts(parting)
            if parting.at == 0
                && parting.subsystems == ["stimulus"]
                && parting.first[0].contains("salt")
                && parting.first[0] != parting.second[0] =>
        {
            Ok(())
        }
        other => Err(format!("the salt was not found: {other:?}").into()),
    }
}
