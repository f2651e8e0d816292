//! Owns results as other tools want them: suites of cases that can be written to a file, merged over shards, and shown as
//! JUnit XML, Markdown and annotations. Does not own what a run is (`run::outcome`) nor files.

pub mod annotations;
pub mod junit;
pub mod markdown;

use super::failure;
use crate::run::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Version of the file format; a reader refuses others.
pub const FORMAT: u32 = 1;

/// Everything that one command found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// Version of this format.
    pub format: u32,
    /// Groups of cases, in the order in which they ran.
    pub suites: Vec<Suite>,
}

/// Cases that belong together: the scenarios, the seeds of a fuzz run, old failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One run, or one other check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What was run, with its world and seed.
    pub name: String,
    /// The file that it is about.
    pub file: Option<String>,
    /// The line in it that failed.
    pub line: Option<usize>,
    /// One word: `pass`, `violated`, `liveness`, ...
    pub verdict: String,
    /// As a process would end with it; 0 is a pass.
    pub exit_code: u8,
    /// Real time.
    pub wall_ms: u64,
    /// Virtual time.
    pub virtual_ms: u64,
    /// What failed, and notes on what passed.
    pub text: String,
}

impl Case {
    /// From a run.
    pub fn of(outcome: &Outcome) -> Case {
        let line = match &outcome.verdict {
            Verdict::Violated { line, .. } | Verdict::Liveness { line, .. } => *line,
            Verdict::Pass
            | Verdict::NonDeterministic { .. }
            | Verdict::Harness { .. }
            | Verdict::Interrupted => None,
        };
        Case {
            name: format!(
                "{} ({}, seed {})",
                outcome.scenario, outcome.world, outcome.seed
            ),
            file: Some(outcome.scenario.clone()),
            line,
            verdict: outcome.verdict.word().to_owned(),
            exit_code: outcome.verdict.exit_code(),
            wall_ms: outcome.wall_ms,
            virtual_ms: outcome.virtual_ms,
            text: failure::render(outcome),
        }
    }

    /// Whether it failed.
    pub fn has_failed(&self) -> bool {
        self.exit_code != 0
    }
}

impl Results {
    /// One suite.
    pub fn of(name: &str, cases: Vec<Case>) -> Results {
        Results {
            format: FORMAT,
            suites: vec![Suite {
                name: name.to_owned(),
                cases,
            }],
        }
    }

    /// Several results as one: suites of one name become one, in order.
    pub fn merged(all: impl IntoIterator<Item = Results>) -> Results {
        let mut suites: Vec<Suite> = Vec::new();
        for suite in all.into_iter().flat_map(|results| results.suites) {
            match suites.iter_mut().find(|known| known.name == suite.name) {
                Some(known) => known.cases.extend(suite.cases),
                None => suites.push(suite),
            }
        }
        Results {
            format: FORMAT,
            suites,
        }
    }

    /// Every case.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.suites.iter().flat_map(|suite| &suite.cases)
    }

    /// Cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Case> {
        self.cases().filter(|case| case.has_failed())
    }
}

/// The first line that is not empty.
fn first_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::failure::tests::outcome;

    pub(super) fn results() -> Results {
        let failed = outcome(Verdict::Violated {
            line: Some(12),
            step: "pay p1: buyer".to_owned(),
            what: "invariant `ledger-zero-sum`: BTC sums to 1 < 2 & \"more\"".to_owned(),
        });
        Results::of(
            "scenarios",
            vec![Case::of(&outcome(Verdict::Pass)), Case::of(&failed)],
        )
    }

    #[test]
    fn merging_joins_suites_of_one_name() {
        let other = Results::of("fuzz", vec![Case::of(&outcome(Verdict::Pass))]);
        let merged = Results::merged([results(), other.clone(), results()]);
        let sizes: Vec<(&str, usize)> = merged
            .suites
            .iter()
            .map(|suite| (suite.name.as_str(), suite.cases.len()))
            .collect();
        assert_eq!(sizes, [("scenarios", 4), ("fuzz", 1)]);
        assert_eq!(merged.failed().count(), 2);
        let text = serde_json::to_string(&merged).expect("plain");
        assert_eq!(
            serde_json::from_str::<Results>(&text).expect("the same"),
            merged
        );
    }

    #[test]
    fn a_failed_case_knows_its_line() {
        let results = results();
        let failed = results.failed().next().expect("one failed");
        assert_eq!(
            (failed.file.as_deref(), failed.line),
            (Some("scenarios/a.toml"), Some(12))
        );
    }
}
