//! Owns telling whether two runs failed in the same way: what of a verdict stays when names, amounts and times change.
//! Does not own verdicts (`run::outcome`).

use crate::run::outcome::Verdict;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a run failed, without names, amounts and times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symptom {
    /// This invariant is broken.
    Invariant(String),
    /// A step, most often an expectation, ended otherwise than it must: its verb or subject, and what was seen.
    Step(String),
    /// The world did not come to rest.
    Unsettled,
    /// The process panicked here.
    Panic(String),
    /// Two runs of one seed differ.
    NonDeterministic,
    /// The harness failed in another way.
    Harness(String),
}

impl Symptom {
    /// That of a verdict; `None` if the run passed or was interrupted.
    pub fn of(verdict: &Verdict) -> Option<Symptom> {
        match verdict {
            Verdict::Pass | Verdict::Interrupted => None,
            Verdict::NonDeterministic { .. } => Some(Symptom::NonDeterministic),
            Verdict::Harness { what } => Some(harness(what)),
            Verdict::Violated { step, what, .. } | Verdict::Liveness { step, what, .. } => {
                Some(engine(step, what))
            }
        }
    }

    /// Whether it can only be seen at one step, so that the steps that lead there must stay.
    pub fn is_about_a_step(&self) -> bool {
        matches!(self, Symptom::Step(_))
    }

    /// A few words for file names: the invariant's name, or the kind.
    pub fn slug(&self) -> String {
        let text = match self {
            Symptom::Invariant(name) => name.as_str(),
            Symptom::Step(what) => what.split(':').next().unwrap_or("step"),
            Symptom::Unsettled => "unsettled",
            Symptom::Panic(_) => "panic",
            Symptom::NonDeterministic => "non-deterministic",
            Symptom::Harness(_) => "harness",
        };
        let words = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        words
            .map(str::to_ascii_lowercase)
            .collect::<Vec<_>>()
            .join("-")
    }
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Symptom::Invariant(name) => write!(f, "invariant `{name}` is broken"),
            Symptom::Step(what) => f.write_str(what),
            Symptom::Unsettled => f.write_str("the world does not come to rest"),
            Symptom::Panic(place) => write!(f, "a panic at {place}"),
            Symptom::NonDeterministic => f.write_str("two runs of one seed differ"),
            Symptom::Harness(what) => write!(f, "the harness fails: {what}"),
        }
    }
}

fn engine(step: &str, what: &str) -> Symptom {
    let named = what.strip_prefix("invariant `");
    if let Some((name, _)) = named.and_then(|rest| rest.split_once('`')) {
        return Symptom::Invariant(name.to_owned());
    }
    if what.starts_with("not settled after ") {
        return Symptom::Unsettled;
    }
    // The canonical line of a step: `at 10 s: expect payment p1 settled within 60 s`.
    let heading = match step.strip_prefix("at ") {
        Some(timed) => timed.split_once(": ").map_or(timed, |(_, rest)| rest),
        None => step,
    };
    let words: Vec<&str> = heading.split(' ').collect();
    let subject = match &words[..] {
        ["expect", "payment", _, state, ..] => format!("expect payment {state}"),
        ["expect", subject, ..] => format!("expect {subject}"),
        [verb, ..] => (*verb).to_owned(),
        [] => String::new(),
    };
    let subject = subject.trim_end_matches(':').to_owned();
    Symptom::Step(format!("{subject}: {}", without_details(what, &words)))
}

/// The first line, with `…` for what has digits and for names of the step.
fn without_details(what: &str, names: &[&str]) -> String {
    let line = what.lines().next().unwrap_or_default();
    let plain = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_detail = bare.chars().any(|c| c.is_ascii_digit())
            || names
                .iter()
                .any(|name| name.trim_end_matches(':') == bare && !bare.is_empty());
        if is_detail {
            "…".to_owned()
        } else {
            word.to_owned()
        }
    };
    line.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

fn harness(what: &str) -> Symptom {
    let panicked = what
        .lines()
        .find_map(|line| line.split_once(" panicked at "));
    match panicked {
        Some((_, place)) => {
            // FILE:LINE:COLUMN:
            let place: Vec<&str> = place.splitn(3, ':').collect();
            Symptom::Panic(place[..place.len().min(2)].join(":"))
        }
        None => Symptom::Harness(without_details(what, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(step: &str, what: &str) -> Symptom {
        Symptom::of(&Verdict::Violated {
            line: Some(3),
            step: step.to_owned(),
            what: what.to_owned(),
        })
        .expect("it failed")
    }

    #[test]
    fn names_amounts_and_times_do_not_count() {
        let first = of(
            "at 10 s: expect payment p1 settled within 60 s",
            "payment p1 is seen, not settled",
        );
        let second = of(
            "expect payment to-bank settled",
            "payment to-bank is seen, not settled",
        );
        assert_eq!(first, second);
        assert_ne!(
            first,
            of(
                "expect payment p1 settled",
                "payment p1 is issued, not settled"
            )
        );
        assert_ne!(
            first,
            of("expect payment p1 failed", "payment p1 is seen, not failed")
        );
        assert_eq!(first.slug(), "expect-payment-settled");
        assert_eq!(
            of("expect party merchant", "merchant has 5 msat, not 7 msat"),
            of("expect party bob", "bob has 0 msat, not 9 msat")
        );
    }

    #[test]
    fn invariants_panics_and_the_rest() {
        let broken = "invariant `ledger-zero-sum` is broken: BTC sums to 5";
        assert_eq!(
            of("mine 6 blocks", broken),
            Symptom::Invariant("ledger-zero-sum".to_owned())
        );
        let died = "the run's process died without an outcome (x):\nthread 'simulation' panicked at engine/src/ledger/mod.rs:10:5:\nlines sum to 3";
        let harness = Verdict::Harness {
            what: died.to_owned(),
        };
        let panic = Symptom::of(&harness).expect("failed");
        assert_eq!(
            panic,
            Symptom::Panic("engine/src/ledger/mod.rs:10".to_owned())
        );
        assert_eq!(Symptom::of(&Verdict::Pass), None);
        assert_eq!(
            of("wait 5 s", "not settled after 60 s: still waiting for a"),
            Symptom::Unsettled
        );
    }
}
