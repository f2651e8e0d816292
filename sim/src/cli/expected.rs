//! Owns the expected canonical trace, `NAME.trace` beside `NAME.toml`: compared with a run's, and written anew on
//! demand. Does not own what is canonical (`trace::canonical`) nor how a difference is shown (`report::diff`).

use super::files::{self, WriteFailed};
use crate::report::diff;
use crate::report::failure::{BOTH_WORLDS, EXPECTED_TRACE};
use crate::run::outcome::{Outcome, Verdict};
use std::io;
use std::path::PathBuf;

/// Where the expected trace of a scenario file is.
pub fn path(file: &str) -> PathBuf {
    PathBuf::from(file).with_extension("trace")
}

/// What comparing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Same,
    /// There is no expected trace.
    Absent,
    /// They differ; the text says where.
    Differs(String),
}

/// Compares an outcome's canonical trace with the expected one.
pub fn compare(outcome: &Outcome) -> io::Result<Comparison> {
    let path = path(&outcome.scenario);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Comparison::Absent),
        Err(error) => return Err(error),
    };
    let expected: Vec<String> = text.lines().map(str::to_owned).collect();
    let names = (
        path.display().to_string(),
        format!("this run in the {} world", outcome.world),
    );
    Ok(
        match diff::render((&names.0, &expected), (&names.1, &outcome.canonical)) {
            None => Comparison::Same,
            Some(difference) => Comparison::Differs(difference),
        },
    )
}

/// Turns a pass into a violation if the canonical trace is not the expected one; tells whether there is one.
pub(super) fn enforce(outcome: &mut Outcome) -> bool {
    if outcome.verdict != Verdict::Pass {
        return true;
    }
    match compare(outcome) {
        Ok(Comparison::Same) => {}
        Ok(Comparison::Absent) => return false,
        Ok(Comparison::Differs(difference)) => {
            let hint = format!(
                "If the change is meant: lockstep run {} --bless, and review it.",
                outcome.scenario
            );
            outcome.verdict = differs(EXPECTED_TRACE, format!("{difference}\n{hint}"));
        }
        Err(error) => {
            let what = format!(
                "failed to read {}: {error}",
                path(&outcome.scenario).display()
            );
            outcome.verdict = Verdict::Harness { what };
        }
    }
    true
}

/// Turns two passes into a violation if the canonical traces of the worlds differ.
pub(super) fn enforce_agreement(simulated: &Outcome, regtest: &mut Outcome) {
    if simulated.verdict != Verdict::Pass || regtest.verdict != Verdict::Pass {
        return;
    }
    let (left, right) = (
        ("the simulated world", &simulated.canonical),
        ("the regtest world", &regtest.canonical),
    );
    if let Some(difference) = diff::render((left.0, left.1), (right.0, right.1)) {
        regtest.verdict = differs(BOTH_WORLDS, difference);
    }
}

fn differs(step: &str, what: String) -> Verdict {
    Verdict::Violated {
        line: None,
        step: step.to_owned(),
        what,
    }
}

/// Writes an outcome's canonical trace as the expected one; tells whether that changed anything.
pub(super) fn bless(outcome: &Outcome) -> Result<bool, WriteFailed> {
    let path = path(&outcome.scenario);
    let text: String = outcome
        .canonical
        .iter()
        .flat_map(|line| [line.as_str(), "\n"])
        .collect();
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    files::write_whole(&path, &text).map(|()| true)
}
