//! The fuzzer finds planted bugs in plans that know nothing of them, within 500 seeds, and what it finds shrinks to a case
//! that one can read. Owns the list of where each was found first. Does not own the bugs (`engine/src/planted.rs`).
//!
//! A trial begins at the seed of the list and goes on from seed 0 if plans have changed since. With `LOCKSTEP_HUNT=full` all
//! bugs are hunted, also those that no seed has caught yet, each hunt begins at seed 0, what is caught is shrunk, and the
//! table of docs/TESTING.md is printed.

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep::bundle::Symptom;
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::shrink::{Task, minimise};
use lockstep::cli::{self, Job};
use lockstep::run::outcome::{Outcome, Verdict};
use lockstep::scenario::Scenario;
use lockstep::workload::{self, Profile};
use lockstep::worlds::WorldKind;
use lockstep_engine::planted::Bug;
use std::process::ExitCode;
use std::time::Duration;

/// No bug may survive so many seeds.
const MOST_SEEDS: u64 = 500;

/// A shrunk case with more steps would be too long to read.
const MOST_STEPS: usize = 8;

/// Longest that one case is shrunk.
const BUDGET: Duration = Duration::from_secs(120);

/// Bug, the profile under which it is hunted, and the first seed that catches it.
const FIRST: &[(Bug, &str, u64)] = &[
    (Bug::UnbalancedPosting, "default", 0),
    (Bug::ForgetHoldRelease, "default", 4),
    (Bug::RefundUnusedReserve, "default", 1),
    (Bug::HoldWrongUnit, "default", 4),
    (Bug::LoseCent, "default", 14),
    (Bug::FeeToOperator, "default", 1),
    (Bug::ForgetCommandsOnRestart, "default", 0),
    (Bug::AnswerBeforeSync, "default", 0),
    (Bug::LoseTimersOnRestart, "default", 5),
    (Bug::ReissueUnderFreshKey, "default", 7),
    (Bug::NeverSettle, "default", 0),
    (Bug::RepeatDuplicates, "default", 36),
    (Bug::DropExpiry, "default", 3),
    (Bug::PayTwiceOnRetry, "default", 7),
    (Bug::CompensateUnknown, "default", 39),
    (Bug::SettleAtAcceptance, "default", 4),
    (Bug::IgnoreReturn, "fiat", 13),
    (Bug::ApplyOlderVersion, "fiat", 23),
    (Bug::AcceptWrongAmount, "fiat", 31),
    (Bug::SkipSignatureCheck, "fiat", 4),
    (Bug::NeverAsk, "fiat", 19),
    (Bug::CreditAtHeld, "lightning", 0),
    (Bug::CreditWrongParty, "lightning", 6),
    (Bug::FailOverdueLightning, "lightning", 2),
    (Bug::StateUnderFreshKey, "reputation", 0),
    (Bug::StateBeforeFinal, "reputation", 1),
    (Bug::StateNoFailure, "reputation", 0),
    (Bug::StateNoCorrection, "reputation", 17),
    (Bug::IgnoreReorg, "chain", 60),
    (Bug::CreditAtSeen, "chain", 0),
    (Bug::SettleOneBlockEarly, "chain", 0),
    (Bug::CreditShortPayment, "chain", 1),
    (Bug::SettleTwiceOnDouble, "chain", 4),
    (Bug::RefundAgain, "chain", 80),
    (Bug::DecideOnStaleTip, "chain", 31),
    (Bug::ForgetReturnedCoins, "chain", 194),
    (Bug::ReuseAddress, "chain", 0),
    (Bug::CountReplacedTwice, "chain", 0),
    (Bug::SpendUnconfirmed, "chain", 17),
    (Bug::MixPurposes, "chain", 23),
    (Bug::IgnoreWalletOfCharge, "chain", 0),
    (Bug::IgnoreGapLimit, "chain", 3),
    (Bug::ForgetWalletsOnRestart, "chain", 0),
    (Bug::NeverRebroadcast, "chain", 21),
    (Bug::ForgetHoldOnReorg, "chain", 9),
    (Bug::CountWrongSignature, "multisig", 1),
    (Bug::CountCosignerTwice, "multisig", 2),
    (Bug::SendBelowThreshold, "multisig", 2),
    (Bug::ForgetSignaturesOnRestart, "multisig", 2),
    (Bug::ForgetShownTransaction, "multisig", 12),
    (Bug::SkipDidSignature, "chain", 31),
    (Bug::AcceptOtherChallenge, "chain", 1),
    (Bug::ForgetRevocationOnRestart, "chain", 24),
    (Bug::PayAfterRevocation, "chain", 9),
    (Bug::SpendLockedCoins, "paying", 11),
    (Bug::BumpConfirmed, "paying", 6),
    (Bug::BumpAboveBudget, "paying", 261),
    (Bug::KeepRestOfAll, "paying", 0),
    (Bug::LoseSharedSatoshi, "paying", 9),
];

/// Bugs without an entry in `FIRST` are hunted under this profile.
fn profile_of(bug: Bug) -> &'static str {
    match FIRST.iter().find(|(known, ..)| *known == bug) {
        Some((_, profile, _)) => profile,
        None => match bug {
            Bug::FailOverdueLightning | Bug::KeepHashAsProof => "lightning",
            Bug::CountWrongSignature
            | Bug::CountCosignerTwice
            | Bug::SendBelowThreshold
            | Bug::ForgetSignaturesOnRestart
            | Bug::ForgetShownTransaction => "multisig",
            Bug::SpendLockedCoins
            | Bug::BumpConfirmed
            | Bug::BumpAboveBudget
            | Bug::KeepRestOfAll
            | Bug::LoseSharedSatoshi => "paying",
            Bug::ForgetFundingFee | Bug::ForgetClosingFee => "channels",
            _ => "chain",
        },
    }
}

fn main() -> ExitCode {
    cli::child_entry();
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .expect("the workspace can be entered");
    let mut arguments = Arguments::from_args();
    // Each trial keeps all processors busy by itself.
    arguments.test_threads = Some(1);
    let full = std::env::var_os("LOCKSTEP_HUNT").is_some_and(|value| value == "full");
    let is_known = |bug: &&Bug| full || FIRST.iter().any(|(known, ..)| known == *bug);
    let hunts = Bug::ALL.iter().filter(is_known).map(|&bug| {
        Trial::test(format!("hunting::{}", bug.name()), move || {
            if full {
                hunt_and_shrink(bug)
            } else {
                is_caught(bug)
            }
        })
    });
    let mut trials: Vec<Trial> = hunts.collect();
    trials.push(Trial::test("hunting::a_canary_that_must_fail", canary));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn setting() -> Setting {
    Setting {
        slots: std::thread::available_parallelism().map_or(1, usize::from),
        executables: None,
    }
}

fn job(name: &str, seed: u64, bug: Option<Bug>) -> Result<(Job, Scenario), Failed> {
    let text = Profile::built_in(name).ok_or("there is no such profile")?;
    let profile = Profile::parse(name, text).map_err(|invalid| invalid.to_string())?;
    let text = workload::plan(name, &profile, seed).map_err(|invalid| invalid.to_string())?;
    let file = workload::file_name(name, seed);
    let plan = Scenario::parse(&file, &text).map_err(|invalid| invalid.to_string())?;
    let job = Job {
        plan: Some(text),
        planted: bug.map(|bug| bug.name().to_owned()),
        ..Job::new(file, WorldKind::Simulated, seed)
    };
    Ok((job, plan))
}

/// What was found, and after how many seeds.
struct Caught {
    seed: u64,
    tried: u64,
    job: Job,
    plan: Scenario,
    outcome: Outcome,
}

/// The first of these seeds whose run fails with the bug.
fn hunt(bug: Bug, seeds: impl Iterator<Item = u64>) -> Result<Option<Caught>, Failed> {
    let slots = setting().slots.max(1);
    let mut seeds = seeds.peekable();
    let mut tried = 0;
    while seeds.peek().is_some() {
        let batch: Vec<(u64, Job, Scenario)> = seeds
            .by_ref()
            .take(slots)
            .map(|seed| job(profile_of(bug), seed, Some(bug)).map(|(job, plan)| (seed, job, plan)))
            .collect::<Result<_, Failed>>()?;
        let jobs: Vec<Job> = batch.iter().map(|(_, job, _)| job.clone()).collect();
        let outcomes = cli::processes::run_together(&jobs, &setting());
        for ((seed, job, plan), outcome) in batch.into_iter().zip(outcomes) {
            tried += 1;
            match &outcome.verdict {
                // A harness that fails has caught nothing.
                Verdict::Pass | Verdict::Harness { .. } => {}
                Verdict::Interrupted => return Err("interrupted".into()),
                _ => {
                    passes_without(bug, seed)?;
                    return Ok(Some(Caught {
                        seed,
                        tried,
                        job,
                        plan,
                        outcome,
                    }));
                }
            }
        }
    }
    Ok(None)
}

/// What fails without the bug, too, has not caught it.
fn passes_without(bug: Bug, seed: u64) -> Result<(), Failed> {
    let (clean, _) = job(profile_of(bug), seed, None)?;
    match run_one(&clean, &setting()).verdict {
        Verdict::Pass => Ok(()),
        other => Err(format!("seed {seed} fails without the bug, too: {other:?}").into()),
    }
}

fn symptom(caught: &Caught) -> String {
    match Symptom::of(&caught.outcome.verdict) {
        Some(Symptom::Invariant(name)) => name,
        Some(other) => other.to_string(),
        None => "nothing".to_owned(),
    }
}

fn survived(bug: Bug) -> Failed {
    format!("{} survived {MOST_SEEDS} seeds", bug.name()).into()
}

fn is_caught(bug: Bug) -> Result<(), Failed> {
    let first = FIRST.iter().find(|(known, ..)| *known == bug);
    let seeds = first
        .map(|(.., seed)| *seed)
        .into_iter()
        .chain(0..MOST_SEEDS);
    let caught = hunt(bug, seeds)?.ok_or_else(|| survived(bug))?;
    if caught.tried > setting().slots as u64 {
        eprintln!(
            "note: plans have changed: {} is caught first by seed {} now (update FIRST and docs/TESTING.md)",
            bug.name(),
            caught.seed
        );
    }
    Ok(())
}

fn hunt_and_shrink(bug: Bug) -> Result<(), Failed> {
    let caught = hunt(bug, 0..MOST_SEEDS)?.ok_or_else(|| survived(bug))?;
    let invariant = symptom(&caught);
    let before = caught.plan.steps.len();
    let mut task = Task::new(caught.job.clone(), &caught.outcome, setting())
        .ok_or("the plan does not fail")?;
    task.budget = Some(BUDGET);
    let shrunk = minimise(&caught.plan, &task);
    let steps = shrunk.scenario.steps.len();
    println!(
        "| `{}` | {} | `{invariant}` | {before} | {steps} |",
        bug.name(),
        caught.seed,
    );
    if steps > MOST_STEPS {
        let text = shrunk.scenario.to_toml();
        return Err(format!("{steps} steps of {before} are left:\n{text}").into());
    }
    Ok(())
}

/// If a run whose expectation is false passed, nothing here would mean anything.
fn canary() -> Result<(), Failed> {
    let (mut job, plan) = job("default", 0, None)?;
    let party = plan.parties.first().ok_or("a plan without parties")?;
    let lie = format!("  {{ expect = {{ party = \"{party}\", btc = \"-1 msat\" }} }},\n]");
    let text = job.plan.take().ok_or("a job without a plan")?;
    let end = text.rfind(']').ok_or("a plan without steps")?;
    job.plan = Some(format!("{}{lie}\n", &text[..end]));
    let outcome = run_one(&job, &setting());
    match outcome.verdict {
        Verdict::Violated { .. } => Ok(()),
        other => Err(format!("a false expectation ended as {other:?}").into()),
    }
}
