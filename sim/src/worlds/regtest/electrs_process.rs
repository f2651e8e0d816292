//! Owns the pauses, the death and the further lives of electrs' process in the regtest world. Does not own its first start
//! (`servers`), nor who waits for it meanwhile (`rest`).
//!
//! A further life has the arguments of the first, its ports and its index, and is started by the same script, so that it
//! ends with this process too. bitcoind goes on meanwhile: the world itself lives by it.

use super::servers::{ELECTRS, Servers, pid_file, script};
use super::waits::POLL;
use crate::worlds::WorldError;
use electrsd::electrum_client::raw_client::RawClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for an answer of an electrs that has been started again, in real time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long one question to it may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(3);

/// How electrs' process fares.
#[derive(Default)]
pub(super) struct ElectrsProcess {
    away: Away,
    /// Its second and further lives; the electrsd crate knows the first.
    again: Option<Running>,
}

/// Why it does not answer.
#[derive(Default)]
enum Away {
    /// It answers.
    #[default]
    No,
    /// Stopped by a signal.
    Paused,
    /// Killed, with the arguments that it had.
    Dead(Vec<OsString>),
}

/// A server of ours, killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Either it is gone already, or it is killed; nobody is left to tell of a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Servers {
    /// Whether electrs is paused or dead.
    pub(super) fn electrs_is_away(&self) -> bool {
        !matches!(self.electrs_process.away, Away::No)
    }

    /// Has electrs look for what is new.
    pub(super) fn wake_electrs(&self) -> Result<(), WorldError> {
        self.signal_electrs(Signal::SIGUSR1)
    }

    fn electrs_pid(&self) -> Result<i32, WorldError> {
        let path = pid_file(&self.dir, ELECTRS);
        let failed = |error: &dyn std::fmt::Display| {
            WorldError::harness(
                format!("read electrs' process id in {}", path.display()),
                error,
            )
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        text.trim().parse().map_err(|error| failed(&error))
    }

    fn signal_electrs(&self, signal: Signal) -> Result<(), WorldError> {
        kill(Pid::from_raw(self.electrs_pid()?), signal)
            .map_err(|error| WorldError::harness(format!("send electrs {signal}"), error))
    }

    /// Stops it where it stands; its connections stay.
    pub(super) fn pause_electrs(&mut self) -> Result<(), WorldError> {
        self.signal_electrs(Signal::SIGSTOP)?;
        self.electrs_process.away = Away::Paused;
        Ok(())
    }

    /// Kills it. A paused one too.
    pub(super) fn kill_electrs(&mut self) -> Result<(), WorldError> {
        let failed = |error: &dyn std::fmt::Display| WorldError::harness("kill electrs", error);
        let of = format!("/proc/{}/cmdline", self.electrs_pid()?);
        let command = std::fs::read(of).map_err(|error| failed(&error))?;
        let words = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let arguments = words.skip(1).map(|word| OsString::from_vec(word.to_vec()));
        let arguments: Vec<OsString> = arguments.collect();
        match self.electrs_process.again.take() {
            Some(running) => drop(running),
            None => self.electrs.kill().map_err(|error| failed(&error))?,
        }
        self.electrs_process.away = Away::Dead(arguments);
        Ok(())
    }

    /// Lets it go on, or starts it again, and waits until it answers.
    pub(super) async fn bring_electrs_back(&mut self) -> Result<(), WorldError> {
        match std::mem::take(&mut self.electrs_process.away) {
            Away::No => return Ok(()),
            Away::Paused => self.signal_electrs(Signal::SIGCONT)?,
            Away::Dead(arguments) => {
                let child = Command::new(script(&self.dir, ELECTRS))
                    .args(arguments)
                    .stdin(Stdio::null())
                    .spawn()
                    .map_err(|error| WorldError::harness("start electrs again", error))?;
                self.electrs_process.again = Some(Running(child));
            }
        }
        // What was asked before is not answered, or by nobody who waits for it.
        let (url, start) = (self.electrs.electrum_url.clone(), Instant::now());
        loop {
            match RawClient::new(&url, Some(QUESTION_LIMIT), None) {
                Ok(client) => {
                    self.electrs.client = client;
                    return Ok(());
                }
                Err(error) if start.elapsed() >= ANSWER_LIMIT => {
                    return Err(self.electrs_failed(error));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }
}
