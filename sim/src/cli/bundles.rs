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
use std::collections::BTreeMap;
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

/// Writes the bundle of a failing run into `target`. The plan is run once more for its trace, in which the steps have the
/// lines that they have in the plan.
pub(super) fn keep(target: &Path, kept: &Kept<'_>, setting: &Setting) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(HARNESS, text);
    let folder = tempfile::tempdir().map_err(|error| {
        failed(format!(
            "failed to make a temporary folder: {error}\nRemedy: set TMPDIR to a folder that you may write to."
        ))
    })?;
    let trace = folder.path().join(bundle::TRACE);
    let plan = bundle::expanded(kept.scenario, kept.outcome.seed);
    let again = Job {
        file: target.join(bundle::PLAN).display().to_string(),
        plan: Some(plan.clone()),
        trace: Some(trace.clone()),
        ..kept.job.clone()
    };
    let second = processes::run_one(&again, setting);
    let outcome = repeated(kept.outcome, second);
    if outcome.records == 0 {
        // A trace of another run would say the wrong thing.
        let _ = std::fs::remove_file(&trace);
    }
    let failing = Failing {
        plan: &plan,
        outcome: &outcome,
        trace: &trace,
        profile: kept.profile,
    };
    bundle::write(target, &failing).map_err(|error| failed(error.to_string()))
}

/// The outcome of the second run, whose trace it is; or the first one without a trace, if real servers did not fail again.
fn repeated(first: &Outcome, mut second: Outcome) -> Outcome {
    let is_same = Symptom::of(&first.verdict) == Symptom::of(&second.verdict);
    match first.world {
        WorldKind::Simulated if is_same && first.records == second.records => second,
        WorldKind::Simulated if second.verdict == Verdict::Interrupted => second,
        WorldKind::Simulated => {
            second.verdict = Verdict::NonDeterministic {
                what: format!(
                    "repeated for its trace, the run went another way: {} ({} records), then {} ({} records)",
                    first.verdict.word(),
                    first.records,
                    second.verdict.word(),
                    second.records
                ),
            };
            second
        }
        WorldKind::Regtest if is_same => second,
        WorldKind::Regtest => Outcome {
            records: 0,
            trace_hash: String::new(),
            subsystem_hashes: BTreeMap::new(),
            ..first.clone()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(world: WorldKind, records: u64, what: &str) -> Outcome {
        let verdict = Verdict::Violated {
            line: Some(1),
            step: "mine 1 block".to_owned(),
            what: what.to_owned(),
        };
        Outcome {
            records,
            trace_hash: "ab".to_owned(),
            ..Job::new("a.toml", world, 1).without_run(verdict)
        }
    }

    #[test]
    fn a_run_that_does_not_repeat_is_said_or_loses_its_trace() {
        let (a, b) = ("invariant `a` is broken: 1", "invariant `b` is broken: 1");
        let of =
            |world, records, what| repeated(&outcome(world, 5, a), outcome(world, records, what));
        let same = of(WorldKind::Simulated, 5, a);
        assert_eq!((same.records, same.verdict.exit_code()), (5, 1));
        for other in [
            of(WorldKind::Simulated, 6, a),
            of(WorldKind::Simulated, 5, b),
        ] {
            assert!(matches!(other.verdict, Verdict::NonDeterministic { .. }));
        }
        assert_eq!(of(WorldKind::Regtest, 6, a).records, 6);
        let gone = of(WorldKind::Regtest, 6, b);
        assert_eq!((gone.records, gone.trace_hash.as_str()), (0, ""));
        assert_eq!(gone.verdict, outcome(WorldKind::Regtest, 5, a).verdict);
    }

    #[test]
    fn bundles_of_different_runs_lie_apart() {
        let place = |world| place(Path::new("out"), &outcome(world, 1, ""));
        assert_eq!(
            place(WorldKind::Simulated),
            Path::new("out/a-simulated-seed-1")
        );
        assert_ne!(place(WorldKind::Simulated), place(WorldKind::Regtest));
    }
}
