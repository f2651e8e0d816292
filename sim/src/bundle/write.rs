//! Owns writing a bundle: the manifest comes last, so that a folder without it is none. Does not own when one is due.

use super::{Build, Commands, FORMAT, MANIFEST, Manifest, OUTCOME, PLAN, Symptom, TRACE};
use crate::run::outcome::Outcome;
use crate::scenario::Scenario;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// A run that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failing<'a> {
    /// What ran, in full: the text of a scenario file (`expanded`). Records name the lines of this text.
    pub plan: &'a str,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// The file with its whole trace, as `Job::trace` wrote it.
    pub trace: &'a Path,
    /// The profile that the plan was drawn with.
    pub profile: Option<&'a str>,
}

/// A bundle could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the bundle's {}: {cause}\nRemedy: name a folder that you may write to, on a disk with space left.", path.display())]
pub struct WriteFailed {
    /// The file.
    path: PathBuf,
    /// Why not.
    cause: io::Error,
}

/// The plan of a run: the scenario with the run's own seed, as text.
pub fn expanded(scenario: &Scenario, seed: u64) -> String {
    let plan = Scenario {
        seed,
        ..scenario.clone()
    };
    plan.to_toml()
}

/// Writes the bundle of a failing run into `folder`, which is made if need be; a bundle that is there is replaced.
pub fn write(folder: &Path, failing: &Failing<'_>) -> Result<(), WriteFailed> {
    let failed = |path: &Path, cause| WriteFailed {
        path: path.to_owned(),
        cause,
    };
    std::fs::create_dir_all(folder).map_err(|cause| failed(folder, cause))?;
    let manifest = folder.join(MANIFEST);
    match std::fs::remove_file(&manifest) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&manifest, cause));
        }
        _ => {}
    }
    let trace = folder.join(TRACE);
    copy(failing.trace, &trace).map_err(|cause| failed(&trace, cause))?;
    let first_bad = first_bad(&trace).map_err(|cause| failed(&trace, cause))?;
    let about = about(folder, failing, first_bad);
    let texts = [
        (PLAN, failing.plan.to_owned()),
        (OUTCOME, pretty(failing.outcome)),
        (MANIFEST, pretty(&about)),
    ];
    for (name, text) in texts {
        let path = folder.join(name);
        whole(&path, &text).map_err(|cause| failed(&path, cause))?;
    }
    Ok(())
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("only string keys") + "\n"
}

/// All of it or nothing.
fn whole(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("part");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let is_there = from
        .canonicalize()
        .is_ok_and(|from| to.canonicalize().is_ok_and(|to| to == from));
    if is_there {
        return Ok(());
    }
    // A run that died without an outcome has no trace.
    match std::fs::File::open(from) {
        Ok(mut source) => {
            let mut target = std::fs::File::create(to)?;
            io::copy(&mut source, &mut target)?;
            target.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::write(to, ""),
        Err(error) => Err(error),
    }
}

/// The first record that tells of a broken invariant, else the last one: the run ended there.
fn first_bad(trace: &Path) -> io::Result<Option<Value>> {
    let mut last = None;
    for line in BufReader::new(std::fs::File::open(trace)?).lines() {
        let line = line?;
        let found = line.contains("\"broken\":");
        last = Some(line);
        if found {
            break;
        }
    }
    Ok(last.and_then(|line| serde_json::from_str(&line).ok()))
}

fn about(folder: &Path, failing: &Failing<'_>, first_bad: Option<Value>) -> Manifest {
    let outcome = failing.outcome;
    let shell = |path: &Path| {
        let text = path.display().to_string();
        let plain = |c: char| c.is_alphanumeric() || "/._-+@%,:=".contains(c);
        match text.chars().all(plain) {
            true => text,
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    };
    let (bundle, plan) = (shell(folder), shell(&folder.join(PLAN)));
    let (world, seed) = (outcome.world, outcome.seed);
    Manifest {
        format: FORMAT,
        seed,
        world,
        build: Build::this(),
        profile: failing.profile.map(str::to_owned),
        verdict: outcome.verdict.word().to_owned(),
        symptom: Symptom::of(&outcome.verdict),
        first_bad,
        commands: Commands {
            run: format!("lockstep run {plan} --world {world} --seed {seed}"),
            replay: format!("lockstep replay {bundle}"),
            shrink: format!("lockstep shrink {bundle}"),
            report: format!("lockstep report {bundle}"),
        },
    }
}
