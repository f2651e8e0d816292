//! Owns failure bundles: a folder that holds all that is needed to see a failing run again (docs/FAILURES.md). Writing one
//! and reading it back, with what is wrong with one that is damaged. Does not own running it again (`cli::replay`) nor
//! making it smaller (`shrink`).

mod build;
mod read;
mod symptom;
mod write;

#[cfg(test)]
mod tests;

pub use build::Build;
pub use read::{BundleError, read};
pub use symptom::Symptom;
pub use write::{Failing, WriteFailed, expanded, write};

use crate::run::outcome::Outcome;
use crate::scenario::Scenario;
use crate::worlds::WorldKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Version of the format that is written. It grows when an older `lockstep` would misread a bundle.
pub const FORMAT: u32 = 1;

/// What it is about: a `Manifest`.
pub const MANIFEST: &str = "bundle.json";
/// The expanded plan: a scenario file, faults included as steps.
pub const PLAN: &str = "plan.toml";
/// The `Outcome`.
pub const OUTCOME: &str = "outcome.json";
/// The whole trace of the failing run.
pub const TRACE: &str = "trace.jsonl";

/// What `bundle.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// Root seed of the run.
    pub seed: u64,
    /// Where it ran.
    pub world: WorldKind,
    /// What ran it.
    pub build: Build,
    /// The profile of `lockstep fuzz`, if it drew the plan.
    pub profile: Option<String>,
    /// One word: `violated`, `liveness`, `harness`, …
    pub verdict: String,
    /// What failed, without names and amounts.
    pub symptom: Option<Symptom>,
    /// The record of the trace that tells of the failure first; the last one if none does.
    pub first_bad: Option<Value>,
    /// Command lines for a shell in the folder from which the bundle was written.
    pub commands: Commands,
}

/// What to type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// Runs the plan.
    pub run: String,
    /// Runs the plan and compares.
    pub replay: String,
    /// Makes the plan smaller.
    pub shrink: String,
    /// Shows the run.
    pub report: String,
}

/// A bundle that was read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is about.
    pub manifest: Manifest,
    /// The plan.
    pub plan: Scenario,
    /// The plan's text.
    pub plan_text: String,
    /// How the run ended.
    pub outcome: Outcome,
}

impl Bundle {
    /// Where the plan is, for messages and jobs.
    pub fn plan_file(&self) -> String {
        self.folder.join(PLAN).display().to_string()
    }

    /// Where the trace is.
    pub fn trace_file(&self) -> PathBuf {
        self.folder.join(TRACE)
    }

    /// Whether a folder claims to be a bundle.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).is_file()
    }
}
