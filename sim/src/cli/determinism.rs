//! Owns the check that one seed gives one run: the outcomes of two fresh processes compared, and where they part.
//! Does not own starting them (`processes`).

use super::child::Job;
use super::processes::{self, Setting};
use crate::report::diff;
use crate::run::outcome::{Outcome, Verdict};
use crate::worlds::WorldKind;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Runs one job twice, in two fresh processes, and says how they differ, if they do.
pub fn check(job: &Job, setting: &Setting) -> Outcome {
    let (mut first, second) = (
        processes::run_one(job, setting),
        processes::run_one(job, setting),
    );
    judge(job, setting, &mut first, &second);
    first
}

/// Makes the first outcome a non-deterministic one if the second is another run.
pub(super) fn judge(job: &Job, setting: &Setting, first: &mut Outcome, second: &Outcome) {
    let says_nothing =
        |verdict: &Verdict| matches!(verdict, Verdict::Interrupted | Verdict::Harness { .. });
    if says_nothing(&first.verdict) {
        return;
    }
    if says_nothing(&second.verdict) {
        first.verdict = second.verdict.clone();
        return;
    }
    let Some(mut what) = difference(first, second) else {
        if first.verdict == Verdict::Pass {
            first.verdict = second.verdict.clone();
        }
        return;
    };
    if job.world == WorldKind::Simulated {
        what.push_str(&first_line(job, setting));
    }
    first.verdict = Verdict::NonDeterministic { what };
}

/// Where two outcomes of one seed differ. Real servers do not repeat every byte: there, the canonical form counts.
fn difference(first: &Outcome, second: &Outcome) -> Option<String> {
    if first.world == WorldKind::Regtest {
        let (left, right) = (
            ("the first run", &first.canonical),
            ("the second run", &second.canonical),
        );
        return diff::render((left.0, left.1), (right.0, right.1));
    }
    let subsystems = first
        .subsystem_hashes
        .keys()
        .chain(second.subsystem_hashes.keys());
    let mut differing: Vec<&str> = subsystems
        .filter(|name| first.subsystem_hashes.get(*name) != second.subsystem_hashes.get(*name))
        .map(String::as_str)
        .collect();
    differing.sort_unstable();
    differing.dedup();
    let same_end = first.verdict == second.verdict && first.virtual_ms == second.virtual_ms;
    if differing.is_empty() && first.trace_hash == second.trace_hash && same_end {
        return None;
    }
    let where_ = match differing.first() {
        Some(_) => format!("the traces of {} differ", differing.join(", ")),
        None if first.trace_hash != second.trace_hash => {
            "the order of records differs between subsystems".to_owned()
        }
        None => format!(
            "the ends differ: {:?} and {:?}",
            first.verdict, second.verdict
        ),
    };
    Some(format!(
        "two processes with seed {} ran differently: {where_} ({} and {} records).",
        first.seed, first.records, second.records
    ))
}

/// Runs the job twice more with kept lines, to name the first line that differs.
fn first_line(job: &Job, setting: &Setting) -> String {
    let Ok(folder) = tempfile::tempdir() else {
        return String::new();
    };
    let paths = ["1", "2"].map(|name| folder.path().join(name));
    for path in &paths {
        let job = Job {
            trace: Some(path.clone()),
            ..job.clone()
        };
        processes::run_one(&job, setting);
    }
    match parting(&paths[0], &paths[1]) {
        Some((line, left, right)) => {
            format!("\nRepeated with kept lines, they part at line {line}:\n- {left}\n+ {right}")
        }
        None => "\nRepeated with kept lines, they did not differ again.".to_owned(),
    }
}

fn parting(left: &Path, right: &Path) -> Option<(usize, String, String)> {
    let open = |path: &Path| std::fs::File::open(path).map(|file| BufReader::new(file).lines());
    let (mut left, mut right) = (open(left).ok()?, open(right).ok()?);
    let next =
        |lines: &mut std::io::Lines<BufReader<std::fs::File>>| lines.next().and_then(Result::ok);
    for number in 1.. {
        match (next(&mut left), next(&mut right)) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => {
                let or_end = |line: Option<String>| line.unwrap_or_else(|| "(the end)".to_owned());
                return Some((number, or_end(a), or_end(b)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(chains: &[(&str, &str)], hash: &str) -> Outcome {
        let mut outcome = Job::new("a.toml", WorldKind::Simulated, 1).without_run(Verdict::Pass);
        outcome.trace_hash = hash.to_owned();
        outcome.subsystem_hashes = chains
            .iter()
            .map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()))
            .collect();
        outcome
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let base = outcome(&[("chain", "aa"), ("links", "bb")], "1");
        assert_eq!(difference(&base, &base.clone()), None);
        let links =
            difference(&base, &outcome(&[("chain", "aa"), ("links", "cc")], "2")).expect("differs");
        assert!(links.contains("the traces of links differ"), "{links}");
        let missing = difference(&base, &outcome(&[("chain", "aa")], "2")).expect("differs");
        assert!(missing.contains("links"), "{missing}");
        let order =
            difference(&base, &outcome(&[("chain", "aa"), ("links", "bb")], "2")).expect("differs");
        assert!(order.contains("order"), "{order}");
    }
}
