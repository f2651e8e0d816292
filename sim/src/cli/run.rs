//! Owns `lockstep run`: which scenarios in which worlds with which seeds, in what order things are done with the
//! outcomes, and the exit code. Does not own processes (`processes`) nor texts (`report`).

use super::args::{RunArguments, WorldChoice};
use super::binaries;
use super::bundles;
use super::child::Job;
use super::determinism;
use super::expected;
use super::files::Draft;
use super::output::{Failure, Output};
use super::processes::{self, Event, Setting};
use super::results::{self, Shard, take_shard};
use super::sources::{self, Source};
use super::stopwatch::Stopwatch;
use super::{BAD_USAGE, HARNESS, interrupt};
use crate::report::json::Skipped;
use crate::report::plan::SeedSource;
use crate::report::progress::Progress;
use crate::report::results::{Case, Results};
use crate::report::{failure, json, plan, table};
use crate::run::outcome::{Outcome, Verdict};
use crate::scenario::{Scenario, World};
use crate::worlds::WorldKind;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// A scenario in a world, with all its seeds.
struct Planned<'a> {
    source: &'a Source,
    world: WorldKind,
    seeds: Range<u64>,
    seed_source: SeedSource,
}

/// Does all of it; the exit code.
pub(super) fn run(arguments: &RunArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let sources = sources::load_all(&arguments.paths.paths).map_err(Failure::sources)?;
    let (planned, skipped) = plan_all(&sources, arguments);
    for skipped in &skipped {
        output.note(&format!(
            "skipped: {} in the {} world: {}",
            skipped.file, skipped.world, skipped.reason
        ))?;
    }
    if planned.is_empty() {
        return Err(nothing_to_run(&skipped));
    }
    let trace = begin_trace(arguments, &planned)?;
    let setting = setting(arguments, &planned)?;
    for planned in &planned {
        let seed = (planned.seeds.start, planned.seed_source);
        output.say(&plan::line(
            &planned.source.file,
            &planned.source.scenario,
            planned.world,
            seed,
        ))?;
    }
    let mut jobs = jobs(&planned);
    keep_shard(&mut jobs, arguments.shard);
    if let (Some(draft), [job]) = (&trace, &mut jobs[..]) {
        job.trace = Some(draft.path().to_owned());
    }
    let watch = Stopwatch::start();
    let mut outcomes = match arguments.check_determinism {
        true => run_twice(&jobs, &setting),
        false => run_once(&jobs, &setting),
    };
    if let Some(folder) = &arguments.bundle {
        keep_failing(folder, (&planned, &jobs), &outcomes, &setting, output)?;
    }
    finish_trace(trace, &mut outcomes);
    compare(arguments, &mut outcomes, output)?;
    let exit_code = super::most_serious(outcomes.iter().map(|outcome| outcome.verdict.exit_code()));
    let exit_code = if interrupt::is_set() {
        Verdict::Interrupted.exit_code()
    } else {
        exit_code
    };
    tell(arguments, (&outcomes, &skipped), exit_code, output)?;
    let cases = outcomes.iter().map(Case::of).collect();
    results::publish(&arguments.written, &Results::of("runs", cases), output)?;
    let not_begun = jobs.len().saturating_sub(outcomes.len());
    if interrupt::is_set() && not_begun > 0 && !arguments.check_determinism {
        output.note(&format!(
            "interrupted after {:.1?}: {not_begun} runs were not begun",
            watch.elapsed()
        ))?;
    }
    Ok(exit_code)
}

fn of_scenario(world: WorldKind) -> World {
    match world {
        WorldKind::Simulated => World::Simulated,
        WorldKind::Regtest => World::Regtest,
    }
}

/// The worlds that are asked for: without `--world`, the first that the scenario names.
fn worlds_asked(choice: Option<WorldChoice>, scenario: &Scenario) -> &'static [WorldKind] {
    match choice {
        Some(choice) => choice.worlds(),
        None if scenario.worlds.contains(&World::Simulated) => &[WorldKind::Simulated],
        None => &[WorldKind::Regtest],
    }
}

fn plan_all<'a>(
    sources: &'a [Source],
    arguments: &RunArguments,
) -> (Vec<Planned<'a>>, Vec<Skipped>) {
    let (mut planned, mut skipped) = (Vec::new(), Vec::new());
    for source in sources {
        let scenario = &source.scenario;
        let (seeds, seed_source) = match (&arguments.seeds, arguments.seed) {
            (Some(range), _) => (range.clone(), SeedSource::Range(range.end - range.start)),
            (None, Some(seed)) => (seed..seed.saturating_add(1), SeedSource::Option),
            (None, None) => (
                scenario.seed..scenario.seed.saturating_add(1),
                SeedSource::File,
            ),
        };
        for world in worlds_asked(arguments.world, scenario) {
            if scenario.worlds.contains(&of_scenario(*world)) {
                planned.push(Planned {
                    source,
                    world: *world,
                    seeds: seeds.clone(),
                    seed_source,
                });
                continue;
            }
            let reason = scenario.why_not.get(&of_scenario(*world));
            let reason = reason
                .map_or("the file does not name this world", String::as_str)
                .to_owned();
            skipped.push(Skipped {
                file: source.file.clone(),
                world: world.to_string(),
                reason,
            });
        }
    }
    (planned, skipped)
}

fn nothing_to_run(skipped: &[Skipped]) -> Failure {
    let worlds = skipped
        .first()
        .map_or_else(String::new, |skipped| format!(" {}", skipped.world));
    let text = format!(
        "no scenario runs in the{worlds} world\nRemedy: leave --world out, or name scenarios that have it in `worlds`."
    );
    Failure::new(BAD_USAGE, text)
}

fn begin_trace(
    arguments: &RunArguments,
    planned: &[Planned<'_>],
) -> Result<Option<Draft>, Failure> {
    let Some(path) = &arguments.trace else {
        return Ok(None);
    };
    if planned.len() > 1 {
        let text = format!(
            "--trace holds one run, and {} were asked for\nRemedy: name one scenario file and one world.",
            planned.len()
        );
        return Err(Failure::new(BAD_USAGE, text));
    }
    let is_own = |own: &Path| {
        path.canonicalize()
            .is_ok_and(|path| own.canonicalize().is_ok_and(|own| own == path))
    };
    let precious = |plan: &Planned<'_>| {
        let scenario = Path::new(&plan.source.file);
        is_own(scenario) || is_own(&scenario.with_extension("trace"))
    };
    if planned.iter().any(precious) {
        let text = format!(
            "--trace would overwrite {}\nRemedy: name another file.",
            path.display()
        );
        return Err(Failure::new(BAD_USAGE, text));
    }
    Draft::begin(path)
        .map(Some)
        .map_err(|error| Failure::new(BAD_USAGE, error.to_string()))
}

fn setting(arguments: &RunArguments, planned: &[Planned<'_>]) -> Result<Setting, Failure> {
    let slots = match arguments.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let regtest = planned
        .iter()
        .any(|planned| planned.world == WorldKind::Regtest);
    let executables = regtest.then(binaries::locate).transpose();
    let executables = executables.map_err(|missing| Failure::new(HARNESS, missing.to_string()))?;
    Ok(Setting { slots, executables })
}

/// Runs of one scenario with one seed stay together, for their traces are compared over worlds.
fn keep_shard(jobs: &mut Vec<Job>, shard: Option<Shard>) {
    let all: BTreeSet<(String, u64)> = jobs
        .iter()
        .map(|job| (job.file.clone(), job.seed))
        .collect();
    let mut mine: Vec<(String, u64)> = all.into_iter().collect();
    take_shard(&mut mine, shard);
    let mine: BTreeSet<(String, u64)> = mine.into_iter().collect();
    jobs.retain(|job| mine.contains(&(job.file.clone(), job.seed)));
}

fn jobs(planned: &[Planned<'_>]) -> Vec<Job> {
    let of = |planned: &Planned<'_>| {
        let (file, world) = (planned.source.file.clone(), planned.world);
        planned
            .seeds
            .clone()
            .map(move |seed| Job::new(file.clone(), world, seed))
            .collect::<Vec<_>>()
    };
    planned.iter().flat_map(of).collect()
}

fn run_all(jobs: &[Job], setting: &Setting) -> Vec<Option<Outcome>> {
    let watch = Stopwatch::start();
    let mut progress = Progress::new(jobs.len());
    let outcomes = processes::run_all(jobs, setting, &mut |event| match event {
        Event::Running(running) => progress.draw(running, watch.elapsed()),
        Event::Ended(outcome) => progress.ended(outcome.verdict == Verdict::Pass),
    });
    progress.clear();
    outcomes
}

fn run_once(jobs: &[Job], setting: &Setting) -> Vec<Outcome> {
    run_all(jobs, setting).into_iter().flatten().collect()
}

fn run_twice(jobs: &[Job], setting: &Setting) -> Vec<Outcome> {
    let twice: Vec<Job> = jobs
        .iter()
        .flat_map(|job| [job.clone(), job.clone()])
        .collect();
    let ran = run_all(&twice, setting);
    let mut judged = Vec::new();
    for (job, pair) in jobs.iter().zip(ran.chunks(2)) {
        if let [Some(first), Some(second)] = pair {
            let mut first = first.clone();
            determinism::judge(job, setting, &mut first, second);
            judged.push(first);
        }
    }
    judged
}

/// Each failing run becomes a bundle, whatever its canonical trace is expected to be.
fn keep_failing(
    folder: &Path,
    (planned, jobs): (&[Planned<'_>], &[Job]),
    outcomes: &[Outcome],
    setting: &Setting,
    output: &mut Output,
) -> Result<(), Failure> {
    for outcome in outcomes.iter().filter(|outcome| bundles::is_due(outcome)) {
        let same = |job: &&Job| {
            (&job.file, job.world, job.seed) == (&outcome.scenario, outcome.world, outcome.seed)
        };
        let source = planned
            .iter()
            .find(|plan| plan.source.file == outcome.scenario);
        let (Some(job), Some(plan)) = (jobs.iter().find(same), source) else {
            continue;
        };
        let kept = bundles::Kept {
            job,
            scenario: &plan.source.scenario,
            outcome,
            profile: None,
        };
        let target = bundles::place(folder, outcome);
        bundles::keep(&target, &kept, setting)?;
        output.note(&format!(
            "{}: kept; see it again with: lockstep replay {0}",
            target.display()
        ))?;
    }
    Ok(())
}

/// A trace is worth having when the run failed, too; not when it never came to its end.
fn finish_trace(trace: Option<Draft>, outcomes: &mut [Outcome]) {
    let (Some(draft), [outcome]) = (trace, outcomes) else {
        return;
    };
    let whole = !matches!(
        outcome.verdict,
        Verdict::Interrupted | Verdict::Harness { .. }
    );
    if outcome.records == 0 || !whole {
        return;
    }
    if let Err(error) = draft.finish() {
        outcome.verdict = Verdict::Harness {
            what: error.to_string(),
        };
    }
}

/// Compares canonical traces: of both worlds, and with the expected one; or writes that.
fn compare(
    arguments: &RunArguments,
    outcomes: &mut [Outcome],
    output: &mut Output,
) -> Result<(), Failure> {
    if arguments.world == Some(WorldChoice::Both) {
        agree(outcomes);
    }
    if arguments.bless {
        return bless(outcomes, output);
    }
    if arguments.seed.is_none() && arguments.seeds.is_none() && !arguments.check_determinism {
        for outcome in outcomes {
            if !expected::enforce(outcome) {
                let hint = format!("write it with: lockstep run {} --bless", outcome.scenario);
                output.note(&format!(
                    "{} has no expected trace; {hint}",
                    outcome.scenario
                ))?;
            }
        }
    }
    Ok(())
}

fn agree(outcomes: &mut [Outcome]) {
    for index in 0..outcomes.len() {
        let (before, rest) = outcomes.split_at_mut(index);
        let regtest = &mut rest[0];
        if regtest.world != WorldKind::Regtest {
            continue;
        }
        let twin = before.iter().rev().find(|outcome| {
            outcome.world == WorldKind::Simulated
                && outcome.scenario == regtest.scenario
                && outcome.seed == regtest.seed
        });
        if let Some(simulated) = twin {
            expected::enforce_agreement(simulated, regtest);
        }
    }
}

/// Only of scenarios that passed, in every world that was asked for.
fn bless(outcomes: &[Outcome], output: &mut Output) -> Result<(), Failure> {
    let failed = |file: &str| {
        outcomes
            .iter()
            .any(|o| o.scenario == file && o.verdict != Verdict::Pass)
    };
    let mut last = "";
    for outcome in outcomes {
        let file = outcome.scenario.as_str();
        if file == last || failed(file) {
            continue;
        }
        last = file;
        let path = expected::path(file);
        let written =
            expected::bless(outcome).map_err(|error| Failure::new(HARNESS, error.to_string()))?;
        let done = if written {
            "written; review it"
        } else {
            "unchanged"
        };
        output.note(&format!("{}: {done}", path.display()))?;
    }
    Ok(())
}

/// Tells what came of it: the runs, then what failed, so that the last lines of a terminal are the ones that matter.
fn tell(
    arguments: &RunArguments,
    (outcomes, skipped): (&[Outcome], &[Skipped]),
    exit_code: u8,
    output: &mut Output,
) -> Result<(), Failure> {
    if arguments.json {
        return output.result(&json::render(outcomes, skipped, exit_code));
    }
    if outcomes.is_empty() {
        return Ok(());
    }
    let many = arguments.seeds.is_some();
    output.say("")?;
    output.say(
        if many {
            table::seeds(outcomes)
        } else {
            table::runs(outcomes)
        }
        .trim_end(),
    )?;
    let shown = outcomes
        .iter()
        .filter(|outcome| {
            let inert = outcome.faults.iter().any(|fault| fault.effects == 0);
            !many || inert || outcome.verdict != Verdict::Pass
        })
        .take(MANY_FAILURES);
    for text in shown.map(failure::render).filter(|text| !text.is_empty()) {
        output.say("")?;
        output.say(text.trim_end())?;
    }
    Ok(())
}

/// Of hundreds of seeds that fail, the first ones say it all.
const MANY_FAILURES: usize = 100;
