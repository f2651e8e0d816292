//! Owns the text about one run that did not pass, and the notes about one that did: what, where, faults without
//! effect, and the command that reproduces it. Does not own the table.

use super::words::count;
use crate::run::outcome::{Outcome, Verdict};

/// Everything worth saying about a run, or nothing.
pub fn render(outcome: &Outcome) -> String {
    let name = format!("{} in the {} world", outcome.scenario, outcome.world);
    let inert: Vec<String> = outcome
        .faults
        .iter()
        .filter(|fault| fault.effects == 0)
        .map(|fault| format!("{} ({})", fault.name, fault.scope))
        .collect();
    let inert = match inert.len() {
        0 => String::new(),
        n => format!(
            "  {} had no effect: {}\n",
            count(n, "fault"),
            inert.join(", ")
        ),
    };
    match (&outcome.verdict, inert.is_empty()) {
        (Verdict::Pass, true) => String::new(),
        (Verdict::Pass, false) => format!("{name} passed, but\n{inert}"),
        (verdict, _) => {
            let heading = heading(verdict);
            let detail = indented(&detail(outcome, verdict));
            format!(
                "{name}: {heading}\n{detail}{inert}  again: {}\n",
                reproduce(outcome)
            )
        }
    }
}

/// The step under which a run is reported whose canonical trace is not the expected one.
pub const EXPECTED_TRACE: &str = "the expected canonical trace";

/// The step under which a run is reported whose canonical trace is not the other world's.
pub const BOTH_WORLDS: &str = "the canonical traces of both worlds";

/// The command that runs it again, and checks again what failed.
pub fn reproduce(outcome: &Outcome) -> String {
    let (file, world, seed) = (shell_word(&outcome.scenario), outcome.world, outcome.seed);
    match &outcome.verdict {
        // With --seed there is no comparison: the expected trace is that of the scenario's own seed.
        Verdict::Violated { step, .. } if step == EXPECTED_TRACE => {
            format!("lockstep run {file} --world {world}")
        }
        Verdict::Violated { step, .. } if step == BOTH_WORLDS => {
            format!("lockstep run {file} --world both --seed {seed}")
        }
        Verdict::NonDeterministic { .. } => {
            format!("lockstep run {file} --world {world} --seed {seed} --check-determinism")
        }
        _ => format!("lockstep run {file} --world {world} --seed {seed}"),
    }
}

fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%,:=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn heading(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Violated { .. } => "an expectation or a safety invariant was violated",
        Verdict::Liveness { .. } => "something never came about",
        Verdict::NonDeterministic { .. } => "two runs of one seed differ",
        Verdict::Harness { .. } => "the harness failed; nothing is said about the engine",
        Verdict::Interrupted => "interrupted",
    }
}

fn detail(outcome: &Outcome, verdict: &Verdict) -> String {
    let file = &outcome.scenario;
    match verdict {
        Verdict::Violated { line, step, what } | Verdict::Liveness { line, step, what } => {
            match line {
                Some(line) => format!("{file}:{line}: {step}\n{what}"),
                None => format!("{step}\n{what}"),
            }
        }
        Verdict::NonDeterministic { what } | Verdict::Harness { what } => what.clone(),
        Verdict::Pass | Verdict::Interrupted => String::new(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::faults::Fault;
    use crate::worlds::WorldKind;

    pub(in crate::report) fn outcome(verdict: Verdict) -> Outcome {
        Outcome {
            scenario: "scenarios/a.toml".to_owned(),
            world: WorldKind::Simulated,
            seed: 7,
            verdict,
            virtual_ms: 65_000,
            wall_ms: 500,
            records: 12,
            trace_hash: "00112233445566778899".to_owned(),
            subsystem_hashes: Default::default(),
            canonical: Vec::new(),
            faults: Vec::new(),
            checks: Default::default(),
            waits_ms: Default::default(),
            phase: None,
            coverage: Default::default(),
            rare: Default::default(),
            labels: Vec::new(),
        }
    }

    #[test]
    fn a_failure_names_place_reason_idle_faults_and_the_way_back() {
        let what = "seen: failed\nbecause: expired".to_owned();
        let mut failed = outcome(Verdict::Violated {
            line: Some(23),
            step: "expect p1 settled".to_owned(),
            what,
        });
        failed.faults.push(Fault {
            family: "process".to_owned(),
            name: "crash".to_owned(),
            scope: "hub1".to_owned(),
            effects: 0,
        });
        failed.faults.push(Fault {
            family: "process".to_owned(),
            name: "reorg".to_owned(),
            scope: "chain".to_owned(),
            effects: 1,
        });
        let expected = "scenarios/a.toml in the simulated world: an expectation or a safety invariant was violated\n  \
            scenarios/a.toml:23: expect p1 settled\n  seen: failed\n  because: expired\n  \
            1 fault had no effect: crash (hub1)\n  \
            again: lockstep run scenarios/a.toml --world simulated --seed 7\n";
        assert_eq!(render(&failed), expected);
    }

    #[test]
    fn a_pass_is_silent_unless_a_fault_was_idle() {
        let mut passed = outcome(Verdict::Pass);
        assert_eq!(render(&passed), "");
        passed.faults.push(Fault {
            family: "http".to_owned(),
            name: "crash".to_owned(),
            scope: "hub1".to_owned(),
            effects: 0,
        });
        assert!(render(&passed).contains("no effect: crash (hub1)"));
    }

    #[test]
    fn the_command_checks_again_what_failed() {
        let differs = |step: &str| {
            let (step, what) = (step.to_owned(), String::new());
            reproduce(&outcome(Verdict::Violated {
                line: None,
                step,
                what,
            }))
        };
        assert_eq!(
            differs(EXPECTED_TRACE),
            "lockstep run scenarios/a.toml --world simulated"
        );
        assert_eq!(
            differs(BOTH_WORLDS),
            "lockstep run scenarios/a.toml --world both --seed 7"
        );
    }

    #[test]
    fn the_command_can_be_pasted() {
        let mut odd = outcome(Verdict::NonDeterministic {
            what: String::new(),
        });
        odd.scenario = "my dir/it's.toml".to_owned();
        assert_eq!(
            reproduce(&odd),
            r"lockstep run 'my dir/it'\''s.toml' --world simulated --seed 7 --check-determinism"
        );
    }
}
