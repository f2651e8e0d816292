//! Owns `lockstep fuzz`: one child for each seed's plan, what is said meanwhile, what failures leave behind, and the exit code.
//! Does not own plans (`workload`), processes (`processes`) nor texts (`report::fuzz`).

mod arguments;
mod plans;
mod tally;

pub(super) use arguments::{FUZZ_EXAMPLES, FuzzArguments};

use super::child::Job;
use super::output::{Failure, Output};
use super::processes::{self, Event, Setting};
use super::results;
use super::stopwatch::Stopwatch;
use super::{HARNESS, interrupt, most_serious};
use crate::bundle::{self, Failing};
use crate::report::fuzz::Summary;
use crate::report::results::Results;
use crate::worlds::WorldKind;
use plans::Plans;
use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Seeds when nothing is said.
const USUAL_SEEDS: u64 = 100;

/// Between two progress lines: on a terminal the line is drawn over, elsewhere it is one more line.
const ON_TERMINAL: Duration = Duration::from_millis(250);
const ELSEWHERE: Duration = Duration::from_secs(30);

/// Failures that are run once more for their trace.
const TRACED: usize = 20;

/// Exit code when every run was inert: nothing was tried.
const ALL_INERT: u8 = 3;

/// Does all of it; the exit code.
pub(super) fn run(arguments: &FuzzArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let plans = Plans::read(arguments)?;
    output.say(&plans.describe())?;
    let setting = Setting {
        slots: match arguments.jobs {
            Some(jobs) => usize::from(jobs),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        },
        executables: None,
    };
    let mut summary = hunt(arguments, &plans, &setting)?;
    keep_failures(arguments, &plans, &setting, &mut summary)?;
    let required = plans.profile.required.iter();
    summary.missing = required
        .filter(|cell| !summary.cells.contains_key(*cell))
        .cloned()
        .collect();
    let exit_code = exit_code(&summary);
    let cases = std::mem::take(&mut summary.cases);
    results::publish(&arguments.written, &Results::of("fuzz", cases), output)?;
    if arguments.json {
        let mut value = serde_json::to_value(&summary).expect("only string keys");
        value["exit_code"] = exit_code.into();
        value["profile"] = plans.name.clone().into();
        output.result(&serde_json::to_string_pretty(&value).expect("a value is JSON"))?;
    } else {
        output.say("")?;
        output.say(&summary.render())?;
    }
    Ok(exit_code)
}

/// Runs every seed that is asked for.
fn hunt(arguments: &FuzzArguments, plans: &Plans, setting: &Setting) -> Result<Summary, Failure> {
    let watch = Stopwatch::start();
    let first = arguments.seeds.as_ref().map_or(0, |seeds| seeds.start);
    let end = match (&arguments.seeds, arguments.minutes) {
        (Some(seeds), _) => seeds.end,
        (None, Some(_)) => u64::MAX,
        (None, None) => USUAL_SEEDS,
    };
    let limit = arguments
        .minutes
        .map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
    let (failed, trouble) = (Cell::new(0_u32), RefCell::new(None));
    let jobs = (first..end)
        .filter(|seed| arguments.shard.is_none_or(|shard| shard.has(*seed)))
        .take_while(|_| limit.is_none_or(|limit| watch.elapsed() < limit))
        .take_while(|_| arguments.stop_after.is_none_or(|most| failed.get() < most))
        .map_while(|seed| match job(arguments, plans, seed) {
            Ok(job) => Some(job),
            Err(failure) => {
                trouble.replace(Some(failure));
                None
            }
        });
    let mut summary = Summary::default();
    let mut shown = Progress::default();
    processes::run_each(jobs, setting, &mut |_, event| match event {
        Event::Running(running) => {
            summary.wall_ms = watch.elapsed().as_millis() as u64;
            shown.draw(&summary, running.len(), watch.elapsed());
        }
        Event::Ended(outcome) => {
            let known = summary.failures.len();
            tally::add(&mut summary, outcome);
            for failed in &summary.failures[known..] {
                shown.clear();
                eprintln!("{}", failed.in_short());
            }
            failed.set(failed.get() + u32::from(tally::has_failed(outcome)));
        }
    });
    shown.clear();
    summary.wall_ms = watch.elapsed().as_millis() as u64;
    match trouble.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(summary),
    }
}

fn job(arguments: &FuzzArguments, plans: &Plans, seed: u64) -> Result<Job, Failure> {
    let (file, text) = plans.draw(seed)?;
    if arguments.keep_plans {
        let folder = folder(&arguments.out, seed);
        write(&folder, "plan.toml", &text)?;
    }
    Ok(Job {
        plan: Some(text),
        ..Job::new(file, WorldKind::Simulated, seed)
    })
}

fn folder(out: &Path, seed: u64) -> PathBuf {
    out.join(format!("seed-{seed}"))
}

/// Runs the first failures once more, with their trace, and leaves all that is known in a folder each.
fn keep_failures(
    arguments: &FuzzArguments,
    plans: &Plans,
    setting: &Setting,
    summary: &mut Summary,
) -> Result<(), Failure> {
    for failed in summary.failures.iter_mut().take(TRACED) {
        let folder = folder(&arguments.out, failed.seed);
        let (file, text) = plans.draw(failed.seed)?;
        let trace = folder.join(bundle::TRACE);
        write(&folder, bundle::PLAN, &text)?;
        let job = Job {
            plan: Some(text.clone()),
            trace: Some(trace.clone()),
            ..Job::new(file, WorldKind::Simulated, failed.seed)
        };
        let failing = Failing {
            plan: &text,
            outcome: &processes::run_one(&job, setting),
            trace: &trace,
            profile: Some(&plans.name),
        };
        bundle::write(&folder, &failing)
            .map_err(|error| Failure::new(HARNESS, error.to_string()))?;
        failed.folder = Some(folder.display().to_string());
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
    written.map_err(|cause| {
        let text = format!(
            "failed to write {}: {cause}\nRemedy: name a folder that you may write to with --out.",
            path.display()
        );
        Failure::new(HARNESS, text)
    })
}

fn exit_code(summary: &Summary) -> u8 {
    if interrupt::is_set() {
        return interrupt::EXIT_CODE as u8;
    }
    let inert = summary.verdicts.get("inert").copied().unwrap_or(0);
    let all_inert = summary.seeds > 0 && inert == summary.seeds;
    let lacking = !summary.missing.is_empty();
    let extra = [all_inert, lacking]
        .into_iter()
        .filter(|yes| *yes)
        .map(|_| ALL_INERT);
    most_serious(summary.exit_codes.iter().copied().chain(extra))
}

/// The line that says how far it is.
#[derive(Default)]
struct Progress {
    next: Duration,
}

impl Progress {
    fn draw(&mut self, summary: &Summary, running: usize, elapsed: Duration) {
        if elapsed < self.next {
            return;
        }
        let terminal = std::io::stderr().is_terminal();
        self.next = elapsed + if terminal { ON_TERMINAL } else { ELSEWHERE };
        let line = summary.progress(running);
        match terminal {
            true => eprint!("\r\x1b[2K{line}"),
            false => eprintln!("{line}"),
        }
    }

    fn clear(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_the_worst_and_that_nothing_was_tried() {
        let mut summary = Summary {
            seeds: 2,
            ..Summary::default()
        };
        summary.verdicts.insert("inert".to_owned(), 1);
        assert_eq!(exit_code(&summary), 0);
        summary.verdicts.insert("inert".to_owned(), 2);
        assert_eq!(exit_code(&summary), ALL_INERT);
        summary.exit_codes = vec![3, 1];
        assert_eq!(exit_code(&summary), 1);
        let lacking = Summary {
            missing: vec!["a cell".to_owned()],
            ..Summary::default()
        };
        assert_eq!(exit_code(&lacking), ALL_INERT);
    }
}
