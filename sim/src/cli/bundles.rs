//! Owns keeping failing runs as bundles: the run is repeated with its whole trace, and what it was goes into a folder.
//! Does not own the format (`crate::bundle`).

use super::HARNESS;
use super::child::Job;
use super::output::Failure;
use super::processes::{self, Setting};
use crate::bundle::{self, Failing, Symptom};
use crate::run::outcome::{Outcome, Verdict};
use crate::scenario::Scenario;
use crate::worlds::WorldKind;
use std::path::{Path, PathBuf};

/// Whether a run that ended so is worth a bundle.
pub(super) fn is_due(outcome: &Outcome) -> bool {
    Symptom::of(&outcome.verdict).is_some()
}

/// Where the bundle of a run goes: a folder below `folder` that is named after scenario, world and seed.
pub(super) fn place(folder: &Path, outcome: &Outcome) -> PathBuf {
    let stem = Path::new(&outcome.scenario).file_stem();
    let stem = stem.map_or_else(|| "plan".into(), |stem| stem.to_string_lossy());
    folder.join(format!("{stem}-{}-seed-{}", outcome.world, outcome.seed))
}

/// A run that is to be kept.
pub(super) struct Kept<'a> {
    /// What ran.
    pub(super) job: &'a Job,
    /// What is in the job's plan or file.
    pub(super) scenario: &'a Scenario,
    /// How it ended.
    pub(super) outcome: &'a Outcome,
    /// The profile that the plan was drawn with.
    pub(super) profile: Option<&'a str>,
}

/// Writes the bundle of a failing run into `target`. Without a trace of it the run is repeated (`Job::trace`).
pub(super) fn keep(target: &Path, kept: &Kept<'_>, setting: &Setting) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(HARNESS, text);
    let Kept { job, outcome, .. } = kept;
    let folder = tempfile::tempdir().map_err(|error| {
        failed(format!(
            "failed to make a temporary folder: {error}\nRemedy: set TMPDIR to a folder that you may write to."
        ))
    })?;
    let (mut outcome, mut trace) = ((*outcome).clone(), job.trace.clone());
    if trace.is_none() {
        let path = folder.path().join(bundle::TRACE);
        let again = Job {
            trace: Some(path.clone()),
            ..(*job).clone()
        };
        outcome = repeated(&outcome, processes::run_one(&again, setting));
        trace = Some(path);
    }
    let failing = Failing {
        plan: &bundle::expanded(kept.scenario, outcome.seed),
        outcome: &outcome,
        trace: trace.as_deref().unwrap_or(Path::new("")),
        profile: kept.profile,
    };
    bundle::write(target, &failing).map_err(|error| failed(error.to_string()))
}

/// The outcome that belongs to the trace of the second run.
fn repeated(first: &Outcome, mut second: Outcome) -> Outcome {
    let is_same = first.trace_hash == second.trace_hash && first.verdict == second.verdict;
    if first.world == WorldKind::Simulated && !is_same && second.verdict != Verdict::Interrupted {
        second.verdict = Verdict::NonDeterministic {
            what: format!(
                "repeated for its trace, the run went another way: {} ({} records), then {} ({} records)",
                first.verdict.word(),
                first.records,
                second.verdict.word(),
                second.records
            ),
        };
    }
    second
}
