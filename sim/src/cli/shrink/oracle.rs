//! Owns judging candidates by running them: each in a process of its own, several at a time. Does not own which candidates
//! there are (`crate::shrink`).

use super::Task;
use crate::bundle::Symptom;
use crate::cli::child::Job;
use crate::cli::interrupt;
use crate::cli::processes::{self, Event};
use crate::cli::stopwatch::Stopwatch;
use crate::report::words::{count, duration};
use crate::scenario::Scenario;
use crate::shrink::{Candidate, Oracle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Between two drawings of the line of progress.
const REDRAW: Duration = Duration::from_millis(200);

/// Says of a candidate what its run says.
pub(super) struct ByRunning<'a> {
    task: &'a Task,
    watch: Stopwatch,
    shown: bool,
    drawn_after: Duration,
    steps: usize,
    tried: usize,
}

impl<'a> ByRunning<'a> {
    /// For a plan with so many steps.
    pub(super) fn new(task: &'a Task, steps: usize) -> ByRunning<'a> {
        ByRunning {
            task,
            watch: Stopwatch::start(),
            shown: task.progress && std::io::stderr().is_terminal(),
            drawn_after: Duration::ZERO,
            steps,
            tried: 0,
        }
    }

    /// Removes the line of progress.
    pub(super) fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            let _ = std::io::stderr().flush();
        }
    }

    fn draw(&mut self) {
        let elapsed = self.watch.elapsed();
        if !self.shown || elapsed < self.drawn_after {
            return;
        }
        self.drawn_after = elapsed + REDRAW;
        let line = format!(
            "{}, {} tried, {}",
            count(self.steps, "step"),
            count(self.tried, "plan"),
            duration(elapsed.as_millis() as u64)
        );
        // A terminal that cannot be written to loses nothing but this line.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
        let _ = std::io::stderr().flush();
    }

    fn is_spent(&self) -> bool {
        let budget = self.task.budget;
        interrupt::is_set() || budget.is_some_and(|budget| self.watch.elapsed() > budget)
    }
}

impl Oracle for ByRunning<'_> {
    fn judge(&mut self, candidates: &[Candidate]) -> Option<Vec<bool>> {
        if self.is_spent() {
            return None;
        }
        let job = |candidate: &Candidate| Job {
            plan: Some(candidate.text.clone()),
            seed: candidate.scenario.seed,
            trace: None,
            ..self.task.job.clone()
        };
        let jobs: Vec<Job> = candidates.iter().map(job).collect();
        let outcomes = processes::run_all(&jobs, &self.task.setting, &mut |event| {
            self.tried += usize::from(matches!(event, Event::Ended(_)));
            self.draw();
        });
        let fails = |outcome: Option<_>| {
            let outcome: crate::run::outcome::Outcome = outcome?;
            Some(Symptom::of(&outcome.verdict).as_ref() == Some(&self.task.symptom))
        };
        let fails: Option<Vec<bool>> = outcomes.into_iter().map(fails).collect();
        fails.filter(|_| !interrupt::is_set())
    }

    fn width(&self) -> usize {
        self.task.setting.slots.max(1)
    }

    fn accepted(&mut self, smaller: &Scenario) {
        self.steps = smaller.steps.len();
    }
}
