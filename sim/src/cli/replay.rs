//! Owns `lockstep replay`: runs the plan of a failure bundle again and says what has become of the failure: whether the
//! build is another one, whether it still fails, in the same way and at the same step, and whether the trace is the same.
//! Does not own the format of bundles (`crate::bundle`).

use super::child::Job;
use super::failure_args::ReplayArguments;
use super::files::Draft;
use super::output::{Failure, Output};
use super::processes::{self, Setting};
use super::results::{self, take_shard};
use super::{BAD_USAGE, HARNESS, binaries, interrupt};
use crate::bundle::{self, Build, Bundle, Symptom};
use crate::report::failure;
use crate::report::results::{Case, Results};
use crate::report::words::count;
use crate::run::outcome::{Outcome, Verdict};
use crate::worlds::WorldKind;
use serde::Serialize;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What has become of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
pub enum Fate {
    /// The run passes.
    Gone,
    /// The same invariant or expectation, at the same step.
    Same,
    /// The same invariant or expectation, at another step.
    Elsewhere {
        /// At which step it was.
        was: String,
        /// At which it is.
        is: String,
    },
    /// The run fails in another way.
    Another {
        /// How it failed.
        was: String,
        /// How it fails.
        is: String,
    },
    /// The run was interrupted.
    Unknown,
}

/// How the two traces compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "trace", rename_all = "kebab-case")]
pub enum TraceFate {
    /// Byte for byte.
    Same {
        /// So many records.
        records: u64,
    },
    /// They part.
    Differs {
        /// First record that differs, from 0.
        at: u64,
        /// The bundle's.
        was: String,
        /// This run's.
        is: String,
    },
    /// Nothing to compare.
    None,
}

/// What a replay found.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The failure.
    pub fate: Fate,
    /// The trace.
    pub trace: TraceFate,
    /// How the run ended now.
    pub outcome: Outcome,
    /// Whether it is certainly the same executable.
    pub same_build: bool,
}

/// Runs a bundle's plan again as `job` says; its trace is compared if the job keeps it.
pub fn replay(bundle: &Bundle, job: &Job, setting: &Setting) -> Replayed {
    judged(bundle, job, processes::run_one(job, setting))
}

fn judged(bundle: &Bundle, job: &Job, outcome: Outcome) -> Replayed {
    let trace = match &job.trace {
        Some(path) => compare(&bundle.trace_file(), path),
        None => TraceFate::None,
    };
    Replayed {
        fate: fate(&bundle.outcome.verdict, &outcome.verdict),
        trace,
        outcome,
        same_build: bundle.manifest.build.is_same(&Build::this()),
    }
}

/// The job that runs a bundle's plan.
pub fn job(bundle: &Bundle) -> Job {
    Job {
        plan: Some(bundle.plan_text.clone()),
        ..Job::new(
            bundle.plan_file(),
            bundle.manifest.world,
            bundle.manifest.seed,
        )
    }
}

fn step(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Violated { step, .. } | Verdict::Liveness { step, .. } => step,
        _ => "the end",
    }
}

fn fate(was: &Verdict, is: &Verdict) -> Fate {
    match (Symptom::of(was), Symptom::of(is)) {
        (_, None) if *is == Verdict::Pass => Fate::Gone,
        (_, None) => Fate::Unknown,
        (Some(before), Some(now)) if before == now && step(was) == step(is) => Fate::Same,
        (Some(before), Some(now)) if before == now => Fate::Elsewhere {
            was: step(was).to_owned(),
            is: step(is).to_owned(),
        },
        (before, Some(now)) => Fate::Another {
            was: before.map_or_else(|| "nothing".to_owned(), |symptom| symptom.to_string()),
            is: now.to_string(),
        },
    }
}

fn compare(was: &Path, is: &Path) -> TraceFate {
    let open = |path: &Path| std::fs::File::open(path).map(|file| BufReader::new(file).lines());
    let (Ok(mut was), Ok(mut is)) = (open(was), open(is)) else {
        return TraceFate::None;
    };
    let mut records = 0;
    loop {
        let (left, right) = (
            was.next().and_then(Result::ok),
            is.next().and_then(Result::ok),
        );
        match (left, right) {
            (None, None) if records == 0 => return TraceFate::None,
            (None, None) => return TraceFate::Same { records },
            (left, right) if left == right => records += 1,
            (left, right) => {
                let or_end = |line: Option<String>| line.unwrap_or_else(|| "(the end)".to_owned());
                return TraceFate::Differs {
                    at: records,
                    was: or_end(left),
                    is: or_end(right),
                };
            }
        }
    }
}

/// Does all of it; the exit code.
pub(super) fn run(arguments: &ReplayArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let mut bundles = read_all(&arguments.bundles)?;
    take_shard(&mut bundles, arguments.shard);
    if bundles.is_empty() {
        output.note("there is no failure bundle to replay")?;
    }
    let trace = begin_trace(arguments, &bundles)?;
    let setting = setting(arguments, &bundles)?;
    let folder = tempfile::tempdir().map_err(|error| {
        let remedy = "set TMPDIR to a folder that you may write to.";
        let text = format!("failed to make a temporary folder: {error}\nRemedy: {remedy}");
        Failure::new(HARNESS, text)
    })?;
    let found = run_all(&bundles, &setting, trace.as_ref(), folder.path());
    for (bundle, replayed) in &found {
        output.say(&told(bundle, replayed))?;
    }
    if let Some(draft) = trace {
        draft
            .finish()
            .map_err(|error| Failure::new(HARNESS, error.to_string()))?;
    }
    let codes = found
        .iter()
        .map(|(_, replayed)| replayed.outcome.verdict.exit_code());
    let exit_code = match interrupt::is_set() {
        true => Verdict::Interrupted.exit_code(),
        false => super::most_serious(codes),
    };
    if arguments.json {
        output.result(&as_json(&found, exit_code))?;
    }
    let case = |(bundle, replayed): &(&Bundle, Replayed)| Case {
        name: bundle.folder.display().to_string(),
        text: told(bundle, replayed) + "\n",
        ..Case::of(&replayed.outcome)
    };
    let cases = found.iter().map(case).collect();
    results::publish(
        &arguments.written,
        &Results::of("old failures", cases),
        output,
    )?;
    Ok(exit_code)
}

/// What became of each bundle; those that were not begun before Ctrl-C are missing.
fn run_all<'a>(
    bundles: &'a [Bundle],
    setting: &Setting,
    trace: Option<&Draft>,
    folder: &Path,
) -> Vec<(&'a Bundle, Replayed)> {
    let with_trace = |(number, bundle): (usize, &Bundle)| {
        let beside = || folder.join(number.to_string());
        Job {
            trace: Some(trace.map_or_else(beside, |draft| draft.path().to_owned())),
            ..job(bundle)
        }
    };
    let jobs: Vec<Job> = bundles.iter().enumerate().map(with_trace).collect();
    let outcomes = processes::run_all(&jobs, setting, &mut |_| {});
    let ended = bundles.iter().zip(&jobs).zip(outcomes);
    ended
        .filter_map(|((bundle, job), outcome)| Some((bundle, judged(bundle, job, outcome?))))
        .collect()
}

/// A README that a shell's `*` names beside bundles is passed over.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Bundle>, Failure> {
    let is_readme = |path: &Path| path.extension().is_some_and(|end| end == "md");
    let bad = |error: bundle::BundleError| Failure::new(BAD_USAGE, error.to_string());
    paths
        .iter()
        .filter(|path| !is_readme(path))
        .map(|path| bundle::read(path).map_err(bad))
        .collect()
}

fn begin_trace(arguments: &ReplayArguments, bundles: &[Bundle]) -> Result<Option<Draft>, Failure> {
    let Some(path) = &arguments.trace else {
        return Ok(None);
    };
    if bundles.len() != 1 {
        let text = format!(
            "--trace holds one run, and {} were asked for\nRemedy: name one bundle.",
            bundles.len()
        );
        return Err(Failure::new(BAD_USAGE, text));
    }
    Draft::begin(path)
        .map(Some)
        .map_err(|error| Failure::new(BAD_USAGE, error.to_string()))
}

fn setting(arguments: &ReplayArguments, bundles: &[Bundle]) -> Result<Setting, Failure> {
    let slots = match arguments.jobs {
        Some(jobs) => usize::from(jobs),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let regtest = bundles
        .iter()
        .any(|bundle| bundle.manifest.world == WorldKind::Regtest);
    let executables = regtest
        .then(binaries::locate)
        .transpose()
        .map_err(|missing| Failure::new(HARNESS, missing.to_string()))?;
    Ok(Setting { slots, executables })
}

/// What was found, for people.
fn told(bundle: &Bundle, replayed: &Replayed) -> String {
    let manifest = &bundle.manifest;
    let (seed, world) = (manifest.seed, manifest.world);
    let steps = count(bundle.plan.steps.len(), "step");
    let build = match replayed.same_build {
        true => format!("the same ({})", manifest.build),
        false => format!(
            "another one: it failed in {}; this is {}",
            manifest.build,
            Build::this()
        ),
    };
    let fate = match &replayed.fate {
        Fate::Gone => "it no longer occurs: the run passes".to_owned(),
        Fate::Same => format!(
            "it still occurs, at the same step ({})",
            step(&replayed.outcome.verdict)
        ),
        Fate::Elsewhere { was, is } => format!("it still occurs, at another step: {was}; now {is}"),
        Fate::Another { was, is } => format!("another one occurs: {was}; now {is}"),
        Fate::Unknown => "interrupted: nothing is known".to_owned(),
    };
    let trace = match &replayed.trace {
        TraceFate::Same { records } => format!("the same, byte for byte ({records} records)"),
        TraceFate::Differs { at, was, is } => {
            let why = match world {
                WorldKind::Simulated => "",
                WorldKind::Regtest => " (real servers do not repeat every byte)",
            };
            format!("another one, from record {at} on{why}:\n    - {was}\n    + {is}")
        }
        TraceFate::None => "nothing to compare".to_owned(),
    };
    let was = Symptom::of(&bundle.outcome.verdict)
        .map_or_else(|| "no failure".to_owned(), |symptom| symptom.to_string());
    let mut text = format!(
        "{}: seed {seed}, {world} world, {steps}\n  failure: {was}: {fate}\n  build: {build}\n  trace: {trace}\n",
        bundle.folder.display()
    );
    // Of one that has gone: which faults had no effect, so that its passing says less.
    if replayed.fate != Fate::Unknown {
        text.push_str(&failure::render(&replayed.outcome));
    }
    text.trim_end().to_owned()
}

fn as_json(found: &[(&Bundle, Replayed)], exit_code: u8) -> String {
    let one = |(bundle, replayed): &(&Bundle, Replayed)| {
        json!({
            "bundle": bundle.folder.display().to_string(), "seed": bundle.manifest.seed, "world": bundle.manifest.world,
            "failure": replayed.fate, "trace": replayed.trace, "same_build": replayed.same_build,
            "build": { "then": bundle.manifest.build, "now": Build::this() }, "outcome": replayed.outcome,
        })
    };
    let all: Vec<_> = found.iter().map(one).collect();
    let report = json!({ "exit_code": exit_code, "replayed": all });
    serde_json::to_string_pretty(&report).expect("a value is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violated(step: &str, what: &str) -> Verdict {
        Verdict::Violated {
            line: None,
            step: step.to_owned(),
            what: what.to_owned(),
        }
    }

    #[test]
    fn each_fate_is_told_apart() {
        let was = violated("mine 6 blocks", "invariant `a` is broken: 1");
        assert_eq!(fate(&was, &was), Fate::Same);
        assert_eq!(fate(&was, &Verdict::Pass), Fate::Gone);
        assert_eq!(fate(&was, &Verdict::Interrupted), Fate::Unknown);
        let later = violated("wait 5 s", "invariant `a` is broken: 2");
        assert!(matches!(fate(&was, &later), Fate::Elsewhere { .. }));
        let other = violated("mine 6 blocks", "invariant `b` is broken: 2");
        assert!(matches!(fate(&was, &other), Fate::Another { .. }));
    }

    #[test]
    fn traces_are_compared_record_by_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (a, b) = (file("a", "1\n2\n"), file("b", "1\n3\n"));
        assert_eq!(compare(&a, &a), TraceFate::Same { records: 2 });
        let differs = TraceFate::Differs {
            at: 1,
            was: "2".to_owned(),
            is: "3".to_owned(),
        };
        assert_eq!(compare(&a, &b), differs);
        assert_eq!(compare(&a, &folder.path().join("none")), TraceFate::None);
    }
}
