//! Owns the parent's side of runs: starts children of the own executable, watches them, and takes in their outcomes.
//! Does not own what a child does (`child`) nor what is shown meanwhile (`report::progress`).
//!
//! A child is in a process group of its own: a terminal's Ctrl-C reaches the parent alone, which then ends the
//! child's standard input and waits for it to clean up. Output goes to unnamed files, so that no pipe can fill up.

use super::binaries::{BITCOIND, ELECTRS, Executables};
use super::child::{HIDDEN, Job, MARK};
use super::interrupt;
use super::stopwatch::{Stopwatch, nap};
use crate::run::outcome::{Outcome, Verdict};
use crate::worlds::WorldKind;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Between two looks at the children.
const LOOK: Duration = Duration::from_millis(5);

/// A run that takes longer hangs: the longest simulated one takes seconds, in an unoptimised build minutes.
const LIMIT_SIMULATED: Duration = Duration::from_secs(20 * 60);

/// Each wait in the regtest world has its own, shorter limit; this is for what they overlook.
const LIMIT_REGTEST: Duration = Duration::from_secs(60 * 60);

/// For taking servers down after Ctrl-C.
const GRACE: Duration = Duration::from_secs(60);

/// Lines of a dead child's standard error that are shown.
const LAST_LINES: usize = 12;

/// What is told while children run.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// Nothing new; these run, each for so long.
    Running(&'a [(String, Duration)]),
    /// One more outcome is there.
    Ended(&'a Outcome),
}

/// How children are run.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// At most so many at a time; 0 is as 1. Runs in the regtest world are one at a time.
    pub slots: usize,
    /// For the regtest world.
    pub executables: Option<Executables>,
}

struct Running {
    index: usize,
    job: Job,
    child: Child,
    stdout: File,
    stderr: File,
    started: Stopwatch,
    ending: Option<Stopwatch>,
}

/// Runs one job in a process of its own. Start-up and death of the process are outcomes too.
pub fn run_one(job: &Job, setting: &Setting) -> Outcome {
    let outcomes = run_together(std::slice::from_ref(job), setting);
    outcomes
        .into_iter()
        .next()
        .expect("one outcome for each job")
}

/// Runs several jobs, each in a process of its own; one outcome for each, in order.
pub fn run_together(jobs: &[Job], setting: &Setting) -> Vec<Outcome> {
    let outcomes = run_all(jobs, setting, &mut |_| {});
    let or_interrupted = |(outcome, job): (Option<Outcome>, &Job)| {
        outcome.unwrap_or_else(|| job.without_run(Verdict::Interrupted))
    };
    outcomes.into_iter().zip(jobs).map(or_interrupted).collect()
}

/// Runs all jobs, each in a process of its own. `None` for those that were not begun before Ctrl-C.
pub(super) fn run_all(
    jobs: &[Job],
    setting: &Setting,
    tell: &mut dyn FnMut(Event<'_>),
) -> Vec<Option<Outcome>> {
    let mut outcomes: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    run_each(jobs.iter().cloned(), setting, &mut |index, event| {
        tell(match event {
            Event::Ended(outcome) => Event::Ended(outcomes[index].insert(outcome.clone())),
            running => running,
        });
    });
    outcomes
}

/// Runs jobs as long as there are any, each in a process of its own; outcomes are only told, with the job's number. No job is
/// taken after Ctrl-C.
pub(super) fn run_each(
    jobs: impl Iterator<Item = Job>,
    setting: &Setting,
    tell: &mut dyn FnMut(usize, Event<'_>),
) {
    let mut waiting = jobs.enumerate().peekable();
    let mut running: Vec<Running> = Vec::new();
    loop {
        while !interrupt::is_set() && running.len() < setting.slots.max(1) {
            let regtest_is_busy = running
                .iter()
                .any(|run| run.job.world == WorldKind::Regtest);
            let fits = |job: &Job| !(job.world == WorldKind::Regtest && regtest_is_busy);
            let Some((index, job)) = waiting.next_if(|(_, job)| fits(job)) else {
                break;
            };
            match start(index, &job, setting) {
                Ok(child) => running.push(child),
                Err(error) => {
                    let what = format!("failed to start a process for the run: {error}");
                    tell(
                        index,
                        Event::Ended(&job.without_run(Verdict::Harness { what })),
                    );
                }
            }
        }
        for (index, outcome) in take_ended(&mut running) {
            tell(index, Event::Ended(&outcome));
        }
        if running.is_empty() && (interrupt::is_set() || waiting.peek().is_none()) {
            return;
        }
        let now: Vec<_> = running
            .iter()
            .map(|run| (describe(&run.job), run.started.elapsed()))
            .collect();
        tell(0, Event::Running(&now));
        nap(LOOK);
    }
}

fn describe(job: &Job) -> String {
    format!("{} ({}, seed {})", job.file, job.world, job.seed)
}

fn start(index: usize, job: &Job, setting: &Setting) -> io::Result<Running> {
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(HIDDEN).arg(serde_json::to_string(job)?);
    if let Some(executables) = &setting.executables {
        command
            .env(BITCOIND.variable, &executables.bitcoind)
            .env(ELECTRS.variable, &executables.electrs);
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command
        .stdin(Stdio::piped())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn()?;
    Ok(Running {
        index,
        job: job.clone(),
        child,
        stdout,
        stderr,
        started: Stopwatch::start(),
        ending: None,
    })
}

fn take_ended(running: &mut Vec<Running>) -> Vec<(usize, Outcome)> {
    let mut ended = Vec::new();
    let mut position = 0;
    while position < running.len() {
        match running[position].look() {
            Some(outcome) => ended.push((running.swap_remove(position).index, outcome)),
            None => position += 1,
        }
    }
    ended
}

impl Running {
    fn look(&mut self) -> Option<Outcome> {
        match self.child.try_wait() {
            Ok(Some(status)) => return Some(self.outcome(status)),
            Ok(None) => {}
            Err(error) => {
                return Some(
                    self.give_up(format!("failed to wait for the run's process: {error}")),
                );
            }
        }
        if interrupt::is_set() && self.ending.is_none() {
            drop(self.child.stdin.take());
            self.ending = Some(Stopwatch::start());
        }
        if self.ending.is_some_and(|since| since.elapsed() > GRACE) {
            return Some(self.give_up(format!(
                "the run did not clean up within {} s and was killed",
                GRACE.as_secs()
            )));
        }
        let limit = match self.job.world {
            WorldKind::Simulated => LIMIT_SIMULATED,
            WorldKind::Regtest => LIMIT_REGTEST,
        };
        let hangs = self.started.elapsed() > limit;
        hangs.then(|| {
            self.give_up(format!(
                "the run took longer than {} min and was killed",
                limit.as_secs() / 60
            ))
        })
    }

    fn give_up(&mut self, what: String) -> Outcome {
        // Errors: it has ended by itself meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.finished(self.job.without_run(Verdict::Harness { what }))
    }

    fn outcome(&mut self, status: ExitStatus) -> Outcome {
        let told = read_back(&mut self.stdout);
        let line = told.lines().rev().find_map(|line| line.strip_prefix(MARK));
        let outcome = line.and_then(|line| serde_json::from_str(line).ok());
        let outcome = outcome.unwrap_or_else(|| {
            let verdict = match interrupt::is_set() {
                true => Verdict::Interrupted,
                false => Verdict::Harness {
                    what: death(status, &read_back(&mut self.stderr)),
                },
            };
            self.job.without_run(verdict)
        });
        self.finished(outcome)
    }

    fn finished(&self, mut outcome: Outcome) -> Outcome {
        outcome.wall_ms = self.started.elapsed_ms();
        // What fails while everything is being taken down says nothing.
        if self.ending.is_some() && outcome.verdict.exit_code() == 5 {
            outcome.verdict = Verdict::Interrupted;
        }
        outcome
    }
}

fn read_back(file: &mut File) -> String {
    let mut bytes = Vec::new();
    match file.rewind().and_then(|()| file.read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(its output could not be read: {error})"),
    }
}

/// Why a child died without an outcome: the panic's message if there is one, else its last lines.
fn death(status: ExitStatus, stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let panicked = lines.iter().position(|line| line.contains("panicked at"));
    let shown = match panicked {
        Some(at) => {
            let message = lines[at..]
                .iter()
                .take_while(|line| !line.starts_with("stack backtrace:"));
            message.take(LAST_LINES).copied().collect::<Vec<_>>()
        }
        None => lines[lines.len().saturating_sub(LAST_LINES)..].to_vec(),
    };
    let shown = if shown.is_empty() {
        "(it printed nothing)".to_owned()
    } else {
        shown.join("\n")
    };
    format!("the run's process died without an outcome ({status}):\n{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_dead_child() {
        let status = ExitStatus::default();
        let stderr = "noise\nthread 'simulation' panicked at sim/src/x.rs:1:2:\nout of luck\nstack backtrace:\n  0: a\n";
        let text = death(status, stderr);
        assert!(
            text.ends_with("panicked at sim/src/x.rs:1:2:\nout of luck"),
            "{text}"
        );
        let many: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let text = death(status, &many);
        assert!(
            text.contains("line 28") && text.contains("line 39") && !text.contains("line 27"),
            "{text}"
        );
        assert!(death(status, "").contains("printed nothing"));
    }
}
