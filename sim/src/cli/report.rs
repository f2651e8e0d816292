//! Owns `lockstep report`: paths -> runs or traces -> pages and an index in a folder. Does not own the pages
//! (`report::page`) nor runs (`processes`).
//!
//! A failure bundle is a folder with `trace.jsonl`, and if they are there `outcome.json` (the outcome as JSON) and
//! `plan.toml` (the plan or scenario that ran).

use super::args::{ReportArguments, WorldChoice};
use super::binaries;
use super::child::Job;
use super::files::write_whole;
use super::output::{Failure, Output};
use super::processes::{self, Setting};
use super::sources::{self, Source};
use super::{BAD_USAGE, HARNESS, interrupt};
use crate::report::page::{self, Entry, lines, lines::Line};
use crate::run::outcome::{Outcome, Verdict};
use crate::scenario::World;
use crate::worlds::WorldKind;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TRACE: &str = "trace.jsonl";
const OUTCOME: &str = "outcome.json";
const PLAN: &str = "plan.toml";

/// Something to make a page of.
struct Subject {
    name: String,
    lines: Vec<Line>,
    outcome: Option<Outcome>,
    plan: Option<String>,
}

/// Makes the pages. The exit code says whether they were made, not how the runs ended.
pub(super) fn run(arguments: &ReportArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let folder = &arguments.out;
    let (mut entries, mut used) = (Vec::new(), BTreeSet::new());
    for path in &arguments.paths {
        for subject in subjects(path, arguments)? {
            let file = file_name(&subject, &mut used);
            let text = page::page(&page::Source {
                name: &subject.name,
                lines: &subject.lines,
                outcome: subject.outcome.as_ref(),
                plan: subject.plan.as_deref(),
            });
            make(folder)?;
            write(&folder.join(&file), &text)?;
            let entry = Entry::new(&file, &subject.name, subject.outcome.as_ref());
            output.say(&format!(
                "{}: {}",
                folder.join(&file).display(),
                entry.verdict
            ))?;
            entries.push(entry);
        }
    }
    let index = folder.join("index.html");
    write(&index, &page::index(&entries))?;
    output.say(&format!("{}: {} in all", index.display(), entries.len()))?;
    if !arguments.open_nothing {
        open(&index);
    }
    Ok(0)
}

/// Only when there is something to put into it.
fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|cause| {
        let remedy = "name a folder that can be made, or that you may write to.";
        let folder = folder.display();
        let text = format!("failed to make the folder {folder}: {cause}\nRemedy: {remedy}");
        Failure::new(BAD_USAGE, text)
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    write_whole(path, text).map_err(|error| Failure::new(BAD_USAGE, error.to_string()))
}

/// Shows a file in the browser of a person who sits at a screen; elsewhere it does nothing.
fn open(index: &Path) {
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    if !io::stdout().is_terminal() || !(screen || cfg!(target_os = "macos")) {
        return;
    }
    // The path was printed: whoever has no such program opens it by hand.
    let _ = Command::new(program)
        .arg(index)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// A name that says what it is of, each once.
fn file_name(subject: &Subject, used: &mut BTreeSet<String>) -> String {
    let stem = subject.name.trim_end_matches('/');
    let stem = Path::new(stem).file_stem().and_then(|stem| stem.to_str());
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let mut stem: String = stem.unwrap_or("run").chars().map(plain).collect();
    if let Some(outcome) = &subject.outcome {
        stem.push_str(&format!("-{}-{}", outcome.world, outcome.seed));
    }
    let taken = |name: &str, used: &BTreeSet<String>| name == "index" || used.contains(name);
    let mut name = stem.clone();
    let mut number = 1;
    while taken(&name, used) {
        number += 1;
        name = format!("{stem}-{number}");
    }
    used.insert(name.clone());
    format!("{name}.html")
}

fn subjects(path: &Path, arguments: &ReportArguments) -> Result<Vec<Subject>, Failure> {
    let is_bundle = [TRACE, OUTCOME]
        .iter()
        .any(|file| path.join(file).is_file());
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    if is_toml || path.is_dir() && !is_bundle {
        let sources = sources::load_all(&[path.to_owned()]).map_err(Failure::sources)?;
        let made = sources.iter().map(|source| runs(source, arguments));
        return Ok(made
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect());
    }
    let (lines, outcome) = read_trace(path)?;
    let plan = std::fs::read_to_string(path.join(PLAN)).ok();
    let name = path.display().to_string();
    Ok(vec![Subject {
        name,
        lines,
        outcome,
        plan,
    }])
}

/// Reads a trace file, or the trace and the outcome in a bundle's folder.
pub(super) fn read_trace(path: &Path) -> Result<(Vec<Line>, Option<Outcome>), Failure> {
    let (trace, outcome) = match path.is_dir() {
        true => (path.join(TRACE), path.join(OUTCOME)),
        false => (path.to_owned(), PathBuf::new()),
    };
    let text = read(&trace)?;
    let lines = lines::read(&trace.display().to_string(), &text)
        .map_err(|error| Failure::new(BAD_USAGE, error.to_string()))?;
    let outcome = match outcome.is_file() {
        true => Some(read_outcome(&outcome)?),
        false => None,
    };
    Ok((lines, outcome))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|cause| {
        let remedy = "name a scenario, a trace that `lockstep run --trace FILE` wrote, or a failure bundle's folder.";
        let text = format!("failed to read {}: {cause}\nRemedy: {remedy}", path.display());
        Failure::new(BAD_USAGE, text)
    })
}

fn read_outcome(path: &Path) -> Result<Outcome, Failure> {
    serde_json::from_str(&read(path)?).map_err(|cause| {
        let remedy = "take the file away to see the trace without it, or make the bundle again.";
        let text = format!(
            "{}:{}: this is not the outcome of a run: {cause}\nRemedy: {remedy}",
            path.display(),
            cause.line()
        );
        Failure::new(BAD_USAGE, text)
    })
}

/// Runs a scenario in each world that is asked for, with its whole trace.
fn runs(source: &Source, arguments: &ReportArguments) -> Result<Vec<Subject>, Failure> {
    let has = |world: &WorldKind| {
        let named = match world {
            WorldKind::Simulated => World::Simulated,
            WorldKind::Regtest => World::Regtest,
        };
        source.scenario.worlds.contains(&named)
    };
    let asked: Vec<WorldKind> = match arguments.world {
        Some(choice) => choice.worlds().iter().copied().filter(has).collect(),
        None => WorldChoice::Both
            .worlds()
            .iter()
            .copied()
            .filter(has)
            .take(1)
            .collect(),
    };
    if asked.is_empty() {
        let text = format!(
            "{} does not run in that world\nRemedy: leave --world out, or name a scenario that has it in `worlds`.",
            source.file
        );
        return Err(Failure::new(BAD_USAGE, text));
    }
    let seed = arguments.seed.unwrap_or(source.scenario.seed);
    asked
        .into_iter()
        .map(|world| one_run(source, world, seed))
        .collect()
}

fn one_run(source: &Source, world: WorldKind, seed: u64) -> Result<Subject, Failure> {
    let executables = match world {
        WorldKind::Simulated => None,
        WorldKind::Regtest => {
            Some(binaries::locate().map_err(|missing| Failure::new(HARNESS, missing.to_string()))?)
        }
    };
    let failed = |cause: io::Error| {
        let remedy = "free some space, or set TMPDIR to another folder.";
        Failure::new(
            HARNESS,
            format!("failed to keep a trace: {cause}\nRemedy: {remedy}"),
        )
    };
    let trace = tempfile::NamedTempFile::new().map_err(failed)?;
    let mut job = Job::new(&source.file, world, seed);
    job.trace = Some(trace.path().to_owned());
    let setting = Setting {
        slots: 1,
        executables,
    };
    let outcome = processes::run_one(&job, &setting);
    if let Verdict::Harness { .. } | Verdict::Interrupted = outcome.verdict {
        let text = crate::report::failure::render(&outcome);
        return Err(Failure {
            exit_code: outcome.verdict.exit_code(),
            text,
        });
    }
    let text = std::fs::read_to_string(trace.path()).map_err(failed)?;
    let lines = lines::read(&source.file, &text)
        .map_err(|error| Failure::new(HARNESS, error.to_string()))?;
    Ok(Subject {
        name: source.file.clone(),
        lines,
        outcome: Some(outcome),
        plan: std::fs::read_to_string(&source.file).ok(),
    })
}
