//! Owns `lockstep shrink`: from a failure bundle to a scenario that a person would have written. Does not own which smaller
//! plans are tried (`crate::shrink`), how candidates run (`oracle`) nor what is done with the result (`case`).

pub mod case;
mod oracle;

use super::child::Job;
use super::failure_args::ShrinkArguments;
use super::output::{Failure, Output};
use super::processes::{self, Setting};
use super::{BAD_USAGE, HARNESS, binaries, interrupt, replay};
use crate::bundle::{self, Bundle, Symptom};
use crate::report::failure;
use crate::report::words::count;
use crate::run::outcome::{Outcome, Verdict};
use crate::scenario::Scenario;
use crate::shrink::{Freedom, Shrunk, shrink};
use crate::worlds::WorldKind;
use case::{Case, Regtest};
use oracle::ByRunning;
use std::path::Path;
use std::time::Duration;

/// What is to be made smaller.
#[derive(Clone, Debug)]
pub struct Task {
    /// How candidates are run: world, planted bug. File, plan and seed are the candidate's.
    pub job: Job,
    /// What must stay.
    pub symptom: Symptom,
    /// Line of the step at which it shows in the plan, if it shows at a step.
    pub line: Option<usize>,
    /// Processes at a time.
    pub setting: Setting,
    /// When to stop with what was found so far.
    pub budget: Option<Duration>,
    /// Whether a line of progress is drawn, if standard error is a terminal.
    pub progress: bool,
}

impl Task {
    /// From how the plan's own run ended; `None` if it did not fail, or only in that two runs differ.
    pub fn new(job: Job, failed: &Outcome, setting: Setting) -> Option<Task> {
        let symptom = Symptom::of(&failed.verdict)?;
        let line = match &failed.verdict {
            Verdict::Violated { line, .. } | Verdict::Liveness { line, .. } => *line,
            _ => None,
        };
        (symptom != Symptom::NonDeterministic).then_some(Task {
            job,
            symptom,
            line,
            setting,
            budget: None,
            progress: false,
        })
    }
}

/// Makes a failing plan smaller by running candidates in processes of their own.
pub fn minimise(plan: &Scenario, task: &Task) -> Shrunk {
    let freedom = Freedom {
        step_at_line: task.line.filter(|_| task.symptom.is_about_a_step()),
        began_at_line: task.line,
    };
    let mut oracle = ByRunning::new(task, plan.steps.len());
    let shrunk = shrink(plan, freedom, &mut oracle);
    oracle.clear();
    shrunk
}

/// Does all of it; the exit code.
pub(super) fn run(arguments: &ShrinkArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let bundle = bundle::read(&arguments.bundle)
        .map_err(|error| Failure::new(BAD_USAGE, error.to_string()))?;
    let setting = setting(arguments, bundle.manifest.world)?;
    let failed = processes::run_one(&replay::job(&bundle), &setting);
    let Some(task) = task(&bundle, &failed, setting.clone(), output)? else {
        return Ok(failed.verdict.exit_code());
    };
    let task = Task {
        budget: Some(Duration::from_secs(arguments.budget)),
        progress: true,
        ..task
    };
    let shrunk = minimise(&bundle.plan, &task);
    output.say(&came_of(&bundle, &shrunk))?;
    if interrupt::is_set() {
        return Ok(Verdict::Interrupted.exit_code());
    }
    let regtest = Regtest::look();
    let case = Case::new(&shrunk.scenario, &task, bundle.manifest.seed);
    let (case, tried) = case.tried_in_regtest(&task, &regtest);
    output.say(&tried)?;
    let written = case
        .write(arguments.into.as_deref(), &bundle.folder, &task)
        .map_err(|error| Failure::new(HARNESS, error.to_string()))?;
    output.say(&written)?;
    Ok(0)
}

fn setting(arguments: &ShrinkArguments, world: WorldKind) -> Result<Setting, Failure> {
    let slots = match arguments.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let executables = (world == WorldKind::Regtest)
        .then(binaries::locate)
        .transpose()
        .map_err(|missing| Failure::new(HARNESS, missing.to_string()))?;
    Ok(Setting { slots, executables })
}

/// What is to be done, if the plan still fails as the bundle says.
fn task(
    bundle: &Bundle,
    failed: &Outcome,
    setting: Setting,
    output: &mut Output,
) -> Result<Option<Task>, Failure> {
    let name = bundle.folder.display();
    let Some(task) = Task::new(replay::job(bundle), failed, setting) else {
        let text = match failed.verdict {
            Verdict::Pass => {
                "the failure no longer occurs with this build: there is nothing to shrink"
            }
            Verdict::Interrupted => "interrupted",
            _ => "two runs of this seed differ: use `lockstep bisect-determinism`",
        };
        output.say(&format!("{name}: {text}"))?;
        return Ok(None);
    };
    if let Some(was) = &bundle.manifest.symptom
        && *was != task.symptom
    {
        output.say(&format!(
            "{name}: another failure occurs with this build ({was}; now {})\n{}Remedy: make a bundle of that one: lockstep run {} --bundle DIR",
            task.symptom,
            failure::render(failed),
            bundle.plan_file(),
        ))?;
        return Ok(None);
    }
    Ok(Some(task))
}

fn came_of(bundle: &Bundle, shrunk: &Shrunk) -> String {
    let steps = |scenario: &Scenario| count(scenario.steps.len(), "step");
    let end = match shrunk.finished {
        true => "nothing more could be left out",
        false => "stopped before everything was tried",
    };
    format!(
        "{}: {} from {}, {} tried; {end}",
        bundle.folder.display(),
        steps(&shrunk.scenario),
        steps(&bundle.plan),
        count(shrunk.tried, "plan"),
    )
}

/// A path as it is typed in a shell.
fn typed(path: &Path) -> String {
    path.display().to_string()
}
