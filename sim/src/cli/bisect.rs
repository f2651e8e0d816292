//! Owns `lockstep bisect-determinism`: two runs of one seed in fresh processes, their whole traces side by side, and the
//! first record that differs with what surrounds it. Does not own checking many seeds (`determinism`).

use super::child::Job;
use super::failure_args::BisectArguments;
use super::output::{Failure, Output};
use super::processes::{self, Setting};
use super::{BAD_USAGE, HARNESS, interrupt, replay, sources};
use crate::bundle::{self, Bundle};
use crate::run::outcome::{Outcome, Verdict};
use crate::worlds::WorldKind;
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

/// Records shown before the first difference: they are the same on both sides.
const BEFORE: usize = 10;

/// Records shown from the first difference on, of either side.
const AFTER: usize = 4;

/// Where two traces part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Position of the first record that differs, from 0.
    pub at: u64,
    /// The subsystem whose hash chain differs first; both, if the two records are of different ones.
    pub subsystems: Vec<String>,
    /// The records before it, at most ten.
    pub before: Vec<String>,
    /// The first run's records from there on.
    pub first: Vec<String>,
    /// The second run's records from there on.
    pub second: Vec<String>,
}

/// What came of two runs.
#[derive(Clone, Debug)]
pub enum Bisected {
    /// Every record is the same.
    Same {
        /// So many.
        records: u64,
        /// The hash of all of them.
        hash: String,
    },
    /// They part.
    Parts(Parting),
    /// A run did not come to an end.
    Failed(Verdict),
}

/// Runs a job twice and compares the traces.
pub fn bisect(job: &Job, setting: &Setting) -> std::io::Result<Bisected> {
    let folder = tempfile::tempdir()?;
    let paths = ["first", "second"].map(|name| folder.path().join(name));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for path in &paths {
        let job = Job {
            trace: Some(path.clone()),
            ..job.clone()
        };
        let outcome = processes::run_one(&job, setting);
        let has_trace = path.is_file();
        if !has_trace || outcome.verdict == Verdict::Interrupted {
            return Ok(Bisected::Failed(outcome.verdict));
        }
        outcomes.push(outcome);
    }
    match parting(&paths[0], &paths[1])? {
        Some(parting) => Ok(Bisected::Parts(parting)),
        None => Ok(Bisected::Same {
            records: outcomes[0].records,
            hash: outcomes[0].trace_hash.clone(),
        }),
    }
}

type Records = Lines<BufReader<std::fs::File>>;

fn parting(first: &Path, second: &Path) -> std::io::Result<Option<Parting>> {
    let open = |path: &Path| std::fs::File::open(path).map(|file| BufReader::new(file).lines());
    let (mut first, mut second) = (open(first)?, open(second)?);
    let mut before: Vec<String> = Vec::new();
    for at in 0.. {
        let (left, right) = (first.next().transpose()?, second.next().transpose()?);
        match (left, right) {
            (None, None) => return Ok(None),
            (Some(left), right) if Some(&left) == right.as_ref() => {
                if before.len() == BEFORE {
                    before.remove(0);
                }
                before.push(left);
            }
            (left, right) => {
                let mut subsystems: Vec<String> = [&left, &right]
                    .into_iter()
                    .flatten()
                    .map(|record| subsystem(record))
                    .collect();
                subsystems.dedup();
                let (first, second) = (rest(left, first)?, rest(right, second)?);
                return Ok(Some(Parting {
                    at,
                    subsystems,
                    before,
                    first,
                    second,
                }));
            }
        }
    }
    Ok(None)
}

fn rest(record: Option<String>, more: Records) -> std::io::Result<Vec<String>> {
    let Some(record) = record else {
        return Ok(vec!["(the end)".to_owned()]);
    };
    let more = more.take(AFTER - 1);
    std::iter::once(Ok(record)).chain(more).collect()
}

fn subsystem(record: &str) -> String {
    let value: Option<Value> = serde_json::from_str(record).ok();
    let name = value
        .as_ref()
        .and_then(|value| value.get("subsystem")?.as_str());
    name.unwrap_or("no known subsystem").to_owned()
}

/// Does all of it; the exit code.
pub(super) fn run(arguments: &BisectArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let job = job(arguments)?;
    let found = bisect(&job, &Setting::default()).map_err(|error| {
        let remedy = "free some space, or set TMPDIR to another folder.";
        Failure::new(
            HARNESS,
            format!("failed to keep the traces: {error}\nRemedy: {remedy}"),
        )
    })?;
    let name = format!("{} (simulated, seed {})", job.file, job.seed);
    match found {
        Bisected::Same { records, hash } => {
            output.say(&format!(
                "{name}: both runs gave the same {records} records, hash {hash}"
            ))?;
            Ok(0)
        }
        Bisected::Parts(parting) => {
            output.say(&format!("{name}: {}", shown(&parting)))?;
            let what = String::new();
            Ok(Verdict::NonDeterministic { what }.exit_code())
        }
        Bisected::Failed(Verdict::Interrupted) => Ok(Verdict::Interrupted.exit_code()),
        Bisected::Failed(verdict) => Err(Failure::new(
            HARNESS,
            format!("{name}: a run ended without a trace: {verdict:?}"),
        )),
    }
}

fn job(arguments: &BisectArguments) -> Result<Job, Failure> {
    if arguments.path.is_dir() {
        let bundle: Bundle = bundle::read(&arguments.path)
            .map_err(|error| Failure::new(BAD_USAGE, error.to_string()))?;
        let job = replay::job(&bundle);
        if job.world == WorldKind::Regtest {
            let text = "real servers do not repeat every byte: only runs in the simulated world can be bisected\nRemedy: name a bundle of that world.";
            return Err(Failure::new(BAD_USAGE, text));
        }
        let seed = arguments.seed.unwrap_or(job.seed);
        return Ok(Job { seed, ..job });
    }
    let sources =
        sources::load_all(std::slice::from_ref(&arguments.path)).map_err(Failure::sources)?;
    let source = &sources[0];
    let seed = arguments.seed.unwrap_or(source.scenario.seed);
    Ok(Job::new(&source.file, WorldKind::Simulated, seed))
}

fn shown(parting: &Parting) -> String {
    let mut text = format!(
        "the runs differ from record {} on, first in {}\n",
        parting.at,
        parting.subsystems.join(" and ")
    );
    let mut lines = |mark: char, records: &[String]| {
        for record in records {
            text.push_str(&format!("{mark} {record}\n"));
        }
    };
    lines(' ', &parting.before);
    lines('-', &parting.first);
    lines('+', &parting.second);
    text.push_str("(- the first run, + the second)");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_has_its_surroundings() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, changed: u64, subsystem: &str| {
            let line = |n: u64| match n == changed {
                true => format!("{{\"n\":{n},\"subsystem\":\"{subsystem}\",\"x\":1}}\n"),
                false => format!("{{\"n\":{n},\"subsystem\":\"chain\"}}\n"),
            };
            let path = folder.path().join(name);
            std::fs::write(&path, (0..30).map(line).collect::<String>()).expect("written");
            path
        };
        let (plain, links) = (file("plain", 99, ""), file("links", 20, "links"));
        assert_eq!(parting(&plain, &plain).expect("read"), None);
        let found = parting(&plain, &links).expect("read").expect("they differ");
        assert_eq!(
            (found.at, found.before.len(), found.first.len()),
            (20, 10, 4)
        );
        assert_eq!(found.subsystems, ["chain", "links"]);
        assert!(found.before[0].contains("\"n\":10,"), "{found:?}");
        let text = shown(&found);
        assert!(
            text.contains("from record 20 on, first in chain and links"),
            "{text}"
        );
        let short = folder.path().join("short");
        std::fs::write(&short, "").expect("written");
        let found = parting(&short, &plain).expect("read").expect("they differ");
        assert_eq!(
            (found.at, &found.first[..]),
            (0, &["(the end)".to_owned()][..])
        );
    }
}
