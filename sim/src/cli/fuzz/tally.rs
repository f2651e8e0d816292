//! Owns adding up what many runs came to: verdicts, times, faults, coverage. Does not own how it is shown (`report::fuzz`).

use crate::report::fuzz::{Failed, Summary};
use crate::report::results::Case;
use crate::run::outcome::{Outcome, Verdict};

/// Failures that are kept with their outcome; of hundreds the first ones say it all.
pub(super) const KEPT: usize = 50;

/// How a run counts.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    let effects = outcome
        .faults
        .iter()
        .filter(|fault| fault.effects > 0)
        .count();
    match &outcome.verdict {
        Verdict::Pass if effects == 0 && !outcome.faults.is_empty() => "inert",
        verdict => verdict.word(),
    }
}

/// Whether it failed; interrupted runs say nothing.
pub(super) fn has_failed(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict, Verdict::Pass | Verdict::Interrupted)
}

/// Takes one more run in.
pub(super) fn add(summary: &mut Summary, outcome: &Outcome) {
    let word = word(outcome);
    *summary.verdicts.entry(word.to_owned()).or_default() += 1;
    if outcome.verdict == Verdict::Interrupted {
        return;
    }
    summary.seeds += 1;
    summary.virtual_ms += outcome.virtual_ms;
    summary.cpu_ms += outcome.wall_ms;
    for fault in &outcome.faults {
        let counts = summary
            .faults
            .entry(format!("{}/{}", fault.family, fault.name))
            .or_default();
        counts.0 += 1;
        counts.1 += u64::from(fault.effects > 0);
    }
    for cell in &outcome.coverage {
        *summary.cells.entry(cell.clone()).or_default() += 1;
    }
    for rare in &outcome.rare {
        *summary.rare.entry(rare.clone()).or_default() += 1;
    }
    summary.cases.push(Case {
        verdict: word.to_owned(),
        ..Case::of(outcome)
    });
    if has_failed(outcome) {
        summary.failed += 1;
        summary.exit_codes.push(outcome.verdict.exit_code());
        if summary.failures.len() < KEPT {
            summary.failures.push(failed(outcome));
        }
    }
}

fn failed(outcome: &Outcome) -> Failed {
    let (line, step, what) = match &outcome.verdict {
        Verdict::Violated { line, step, what } | Verdict::Liveness { line, step, what } => {
            (*line, step.clone(), what.clone())
        }
        Verdict::Harness { what } | Verdict::NonDeterministic { what } => {
            (None, String::new(), what.clone())
        }
        Verdict::Pass | Verdict::Interrupted => (None, String::new(), String::new()),
    };
    Failed {
        seed: outcome.seed,
        verdict: outcome.verdict.word().to_owned(),
        phase: outcome.phase.map(|phase| phase.as_str().to_owned()),
        line,
        step,
        what,
        folder: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::child::Job;
    use crate::faults::Fault;
    use crate::worlds::WorldKind;

    fn outcome(verdict: Verdict) -> Outcome {
        Job::new("plan", WorldKind::Simulated, 7).without_run(verdict)
    }

    fn fault(effects: u64) -> Fault {
        Fault {
            family: "link".to_owned(),
            name: "loss".to_owned(),
            scope: "a-b".to_owned(),
            effects,
        }
    }

    #[test]
    fn a_run_whose_faults_did_nothing_does_not_pass() {
        let mut calm = outcome(Verdict::Pass);
        calm.faults.clear();
        assert_eq!(word(&calm), "pass");
        let mut inert = calm.clone();
        inert.faults = vec![fault(0)];
        assert_eq!(word(&inert), "inert");
        inert.faults.push(fault(2));
        assert_eq!(word(&inert), "pass");
    }

    #[test]
    fn runs_add_up() {
        let mut summary = Summary::default();
        let mut one = outcome(Verdict::Harness {
            what: "x".to_owned(),
        });
        one.faults = vec![fault(1), fault(0)];
        one.coverage.insert("sepa/unknown/loss".to_owned());
        add(&mut summary, &one);
        add(&mut summary, &one);
        assert_eq!((summary.seeds, summary.failed), (2, 2));
        assert_eq!(summary.faults["link/loss"], (4, 2));
        assert_eq!(summary.cells["sepa/unknown/loss"], 2);
        assert_eq!(summary.verdicts["harness"], 2);
    }
}
