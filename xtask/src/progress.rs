//! Owns long-running commands: their output goes to a log file, their progress to the terminal.
//! Does not know what is being built.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Doing, Failure};

/// How many of a log's last lines an error message shows: a compiler's message and a build tool's fit.
const TAIL_LINES: usize = 20;
/// How often a line is rewritten on a terminal.
const TERMINAL_PERIOD: Duration = Duration::from_millis(500);
/// How often a line is printed into a file or a pipe.
const PLAIN_PERIOD: Duration = Duration::from_secs(30);

/// Time for people: what it measures reaches the terminal and nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "xtask is outside the simulation; the time is shown and nothing else"
)]
impl Stopwatch {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Reports one job that consists of several commands.
#[derive(Debug)]
pub(crate) struct Job {
    label: String,
    log: File,
    log_name: String,
    started: Stopwatch,
    shown: Option<Stopwatch>,
    state: State,
    is_terminal: bool,
}

/// How far a job is, as far as its output tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    percent: Option<u8>,
    crates: u32,
}

impl Job {
    /// Starts a job with a fresh log file.
    ///
    /// # Errors
    /// When the log file cannot be created.
    pub(crate) fn start(label: impl Into<String>, log: &Path) -> Result<Self, Failure> {
        let log_name = log.display().to_string();
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))?;
        }
        let log = File::create(log).doing(|| format!("create {log_name}"))?;
        let label = label.into();
        println!("{label} (log: {log_name})");
        Ok(Self {
            label,
            log,
            log_name,
            started: Stopwatch::start(),
            shown: None,
            state: State::default(),
            is_terminal: io::stderr().is_terminal(),
        })
    }

    /// Runs one command of the job to its end.
    ///
    /// Both output streams are one pipe that this process reads, so a command whose reader is gone stops at its next line.
    ///
    /// # Errors
    /// When the command does not start or does not succeed; the message ends with the log's last lines.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<(), Failure> {
        let (reader, writer) = io::pipe().doing(|| "create a pipe".to_owned())?;
        let errors = writer.try_clone().doing(|| "share a pipe".to_owned())?;
        let shown = format!("{command:?}");
        writeln!(self.log, "$ {shown}").doing(|| format!("write {}", self.log_name))?;
        let program = command.get_program().display().to_string();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(errors)
            .spawn();
        // The command still holds the pipe's writing end; with it open, reading would never come to an end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawned.doing(|| format!("start {program}"))?;
        let tail = self.follow(reader)?;
        let status = child.wait().doing(|| format!("wait for {program}"))?;
        if status.success() {
            return Ok(());
        }
        self.clear_line();
        Err(Failure::new(format!(
            "{}: {program} failed ({status}). The whole output is in {}; its last lines:\n\n{}\n",
            self.label,
            self.log_name,
            tail.iter()
                .map(|line| format!("    {line}"))
                .collect::<Vec<_>>()
                .join("\n")
        )))
    }

    /// Says that the job is done and how long it took.
    pub(crate) fn finish(self) {
        self.clear_line();
        println!("{}: done in {}", self.label, human(self.started.elapsed()));
    }

    /// Copies lines into the log until the writer is gone; returns the last ones.
    fn follow(&mut self, reader: io::PipeReader) -> Result<VecDeque<String>, Failure> {
        let (sender, lines) = mpsc::sync_channel(1024);
        let thread = spawn_reader(reader, sender);
        let mut tail = VecDeque::new();
        loop {
            match lines.recv_timeout(TERMINAL_PERIOD) {
                Ok(line) => {
                    writeln!(self.log, "{line}").doing(|| format!("write {}", self.log_name))?;
                    self.state.read(&line);
                    if tail.len() == TAIL_LINES {
                        tail.pop_front();
                    }
                    tail.push_back(line);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.show();
        }
        thread
            .join()
            .map_err(|_| Failure::new("the thread that reads a command's output panicked"))?;
        Ok(tail)
    }

    /// Shows the progress if it is time to.
    fn show(&mut self) {
        let period = if self.is_terminal {
            TERMINAL_PERIOD
        } else {
            PLAIN_PERIOD
        };
        if self.shown.unwrap_or(self.started).elapsed() < period {
            return;
        }
        self.shown = Some(Stopwatch::start());
        let line = format!(
            "{}: {}{}",
            self.label,
            self.state.describe(),
            human(self.started.elapsed())
        );
        if self.is_terminal {
            eprint!("\r\x1b[2K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    fn clear_line(&self) {
        if self.is_terminal && self.shown.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

impl State {
    /// Takes from a line of output what it says about the progress.
    fn read(&mut self, line: &str) {
        if let Some(percent) = cmake_percent(line) {
            self.percent = Some(percent);
        } else if line.trim_start().starts_with("Compiling ") {
            self.crates += 1;
        }
    }

    fn describe(&self) -> String {
        match (self.percent, self.crates) {
            (Some(percent), _) => format!("{percent:>3} %, "),
            (None, 0) => String::new(),
            (None, crates) => format!("{crates} crates, "),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "xtask is outside the simulation; a pipe has no read with a time limit"
)]
fn spawn_reader(
    reader: io::PipeReader,
    sender: mpsc::SyncSender<String>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    })
}

/// The percentage at the start of a line that cmake's makefiles print, such as `[ 45%] Building CXX object`.
fn cmake_percent(line: &str) -> Option<u8> {
    let (number, _) = line.strip_prefix('[')?.split_once("%]")?;
    number
        .trim_start()
        .parse()
        .ok()
        .filter(|percent| *percent <= 100)
}

/// A duration for people: `4.2 s` below a minute, then `12 min 05 s`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{seconds}.{} s", duration.subsec_millis() / 100)
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, process};

    #[test]
    fn percentages_are_read_from_makefile_lines_only() {
        assert_eq!(
            cmake_percent("[ 45%] Building CXX object src/a.cpp.o"),
            Some(45)
        );
        assert_eq!(cmake_percent("[100%] Built target bitcoind"), Some(100));
        assert_eq!(cmake_percent("[  0%] Generating"), Some(0));
        for other in [
            "45%] x",
            "[45] x",
            "[ x%] y",
            "[999%] z",
            "-- [ 45%] Looking",
            "",
            "[101%] a",
        ] {
            assert_eq!(cmake_percent(other), None, "{other}");
        }
    }

    #[test]
    fn the_state_counts_crates_until_a_percentage_comes() {
        let mut state = State::default();
        assert_eq!(state.describe(), "");
        state.read("   Compiling libc v0.2.1");
        state.read("    Finished release");
        assert_eq!(state.describe(), "1 crates, ");
        state.read("[  7%] Building");
        assert_eq!(state.describe(), "  7 %, ");
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(human(Duration::from_millis(4_250)), "4.2 s");
        assert_eq!(human(Duration::from_secs(725)), "12 min 05 s");
    }

    #[test]
    fn a_failing_command_names_the_log_and_shows_its_last_lines() {
        let log = env::temp_dir().join(format!("lockstep-xtask-job-{}.log", process::id()));
        let mut job = Job::start("testing", &log).expect("a job");
        job.run(Command::new("sh").args(["-c", "echo fine"]))
            .expect("a success");
        let script =
            "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; echo broken >&2; exit 3";
        let failure = job
            .run(Command::new("sh").args(["-c", script]))
            .expect_err("a failure")
            .to_string();
        let written = fs::read_to_string(&log).expect("the log");
        fs::remove_file(&log).expect("the log goes");

        assert!(failure.contains(&log.display().to_string()), "{failure}");
        assert!(
            failure.contains("    line 11\n") && !failure.contains("    line 10\n"),
            "{failure}"
        );
        assert!(
            failure.contains("    broken\n") && failure.contains("exit status: 3"),
            "{failure}"
        );
        assert!(
            written.contains("fine\n")
                && written.contains("line 0\n")
                && written.contains("broken\n"),
            "{written}"
        );
    }

    #[test]
    fn a_command_that_does_not_exist_is_a_failure() {
        let log = env::temp_dir().join(format!("lockstep-xtask-none-{}.log", process::id()));
        let mut job = Job::start("testing", &log).expect("a job");
        let failure = job
            .run(&mut Command::new("lockstep-has-no-such-command"))
            .expect_err("a failure");
        fs::remove_file(&log).expect("the log goes");
        assert!(
            failure
                .to_string()
                .contains("failed to start lockstep-has-no-such-command"),
            "{failure}"
        );
    }
}
