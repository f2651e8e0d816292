//! Owns reading a bundle, and saying what is wrong with a folder that is none, or a damaged one, or one of a later format.

use super::{Bundle, FORMAT, MANIFEST, Manifest, OUTCOME, PLAN, TRACE};
use crate::run::outcome::Outcome;
use crate::scenario::{InvalidScenario, Scenario};
use crate::trace::HashChain;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// A bundle could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The folder is something else.
    #[error("{} is no failure bundle: it has no {MANIFEST}\nRemedy: name a folder that `lockstep fuzz` or `lockstep run --bundle` wrote.", folder.display())]
    NotABundle {
        /// Which.
        folder: PathBuf,
    },
    /// A file of it cannot be read.
    #[error("failed to read {}: {cause}\nRemedy: make the bundle again from its seed, or take it from where it was made.", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file of it is not what was written.
    #[error("{} is damaged: {what}\nRemedy: make the bundle again from its seed, or take it from where it was made.", file.display())]
    Damaged {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was written by a later lockstep.
    #[error("{} has format {found}, and this lockstep reads formats up to {FORMAT}\nRemedy: use the lockstep that wrote it, or a later one; its {PLAN} is a scenario that `lockstep run` may still take.", file.display())]
    Newer {
        /// Its manifest.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Its plan is no scenario of this build.
    #[error("the plan is not a scenario that this lockstep takes:\n{invalid}\nRemedy: use the build that the bundle names, or correct {}.", file.display())]
    Plan {
        /// The plan.
        file: PathBuf,
        /// What is wrong with it.
        invalid: Box<InvalidScenario>,
    },
}

/// Reads a bundle and checks that its parts belong together.
pub fn read(folder: &Path) -> Result<Bundle, BundleError> {
    if !Bundle::is_at(folder) {
        let folder = folder.to_owned();
        return Err(BundleError::NotABundle { folder });
    }
    let file = folder.join(MANIFEST);
    let value: Value = json(&file)?;
    let Some(format) = value.get("format").and_then(Value::as_u64) else {
        return Err(damaged(&file, "it does not say its format"));
    };
    if format > u64::from(FORMAT) {
        let found = format;
        return Err(BundleError::Newer { file, found });
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| damaged(&file, error.to_string()))?;
    let outcome: Outcome = json(&folder.join(OUTCOME))?;
    let differs = |what: &str| damaged(&folder.join(OUTCOME), format!("{what} than {MANIFEST}"));
    if outcome.seed != manifest.seed {
        return Err(differs("it has another seed"));
    }
    if outcome.world != manifest.world {
        return Err(differs("it is of another world"));
    }
    if outcome.verdict.word() != manifest.verdict {
        return Err(differs("it has another verdict"));
    }
    let (plan_text, mut plan) = plan(&folder.join(PLAN))?;
    // Whatever the text says: the run had this one.
    plan.seed = manifest.seed;
    check_trace(&folder.join(TRACE), &outcome)?;
    Ok(Bundle {
        folder: folder.to_owned(),
        manifest,
        plan,
        plan_text,
        outcome,
    })
}

fn damaged(file: &Path, what: impl Into<String>) -> BundleError {
    BundleError::Damaged {
        file: file.to_owned(),
        what: what.into(),
    }
}

fn text(file: &Path) -> Result<String, BundleError> {
    std::fs::read_to_string(file).map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidData => damaged(file, "it is not UTF-8"),
        _ => BundleError::Unreadable {
            file: file.to_owned(),
            cause,
        },
    })
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<T, BundleError> {
    serde_json::from_str(&text(file)?).map_err(|error| damaged(file, error.to_string()))
}

fn plan(file: &Path) -> Result<(String, Scenario), BundleError> {
    let text = text(file)?;
    match Scenario::parse(&file.display().to_string(), &text) {
        Ok(plan) => Ok((text, plan)),
        Err(invalid) => Err(BundleError::Plan {
            file: file.to_owned(),
            invalid: Box::new(invalid),
        }),
    }
}

/// A run that died without an outcome has neither hash nor records.
fn check_trace(file: &Path, outcome: &Outcome) -> Result<(), BundleError> {
    let text = text(file)?;
    let records = text.lines().count() as u64;
    if records != outcome.records {
        let what = format!("it has {records} records, the run had {}", outcome.records);
        return Err(damaged(file, what));
    }
    if !outcome.trace_hash.is_empty()
        && HashChain::of_lines(text.lines()).to_hex() != outcome.trace_hash
    {
        return Err(damaged(file, "its records do not give the run's hash"));
    }
    Ok(())
}
