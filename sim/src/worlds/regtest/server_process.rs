//! Owns the life of a real server's process (bitcoind, electrs) after its first start: signals, its death, and its further
//! lives. Does not own its first start (`servers`), nor what it must know before it is asked again (`electrs_process`,
//! `bitcoind_process`).
//!
//! A further life has the arguments of the first, its ports and its files, and is started by the same script, so that it
//! ends with this process too.

use super::servers::{pid_file, script};
use super::waits::POLL;
use crate::worlds::WorldError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for the end of a process that was killed, in real time: the machine may be busy.
const DEATH_LIMIT: Duration = Duration::from_secs(60);

/// A server's process.
pub(super) struct ServerProcess {
    name: &'static str,
    /// Where its script and its process id are.
    dir: PathBuf,
    away: Away,
    /// Its second and further lives; the crate that started it knows the first.
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

/// What became of a process that was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// It was not away.
    Never,
    /// It goes on where it was stopped.
    Continued,
    /// It is a new life.
    Started,
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

impl ServerProcess {
    /// One that runs, started by its script in `dir`.
    pub(super) fn new(name: &'static str, dir: PathBuf) -> ServerProcess {
        ServerProcess {
            name,
            dir,
            away: Away::No,
            again: None,
        }
    }

    /// Whether it is paused or dead by our hand.
    pub(super) fn is_away(&self) -> bool {
        !matches!(self.away, Away::No)
    }

    fn failed(&self, doing: &str, error: impl Display) -> WorldError {
        WorldError::harness(format!("{doing} {}", self.name), error)
    }

    fn pid(&self) -> Result<i32, WorldError> {
        let path = pid_file(&self.dir, self.name);
        let doing = format!("read {} as the process id of", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| self.failed(&doing, error))?;
        let pid = text.trim().parse();
        pid.map_err(|error| self.failed(&doing, error))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), WorldError> {
        kill(Pid::from_raw(self.pid()?), signal)
            .map_err(|error| self.failed(&format!("send {signal} to"), error))
    }

    /// Whether there is a process; one that has ended and waits to be buried is none.
    pub(super) fn is_alive(&self) -> Result<bool, WorldError> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?));
        // The state follows the name, which stands in brackets (proc_pid_stat(5)).
        let state = stat.ok().and_then(|stat| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.trim_start().chars().next()
        });
        Ok(state.is_some_and(|state| !matches!(state, 'Z' | 'X')))
    }

    /// Stops it where it stands; its connections stay.
    pub(super) fn pause(&mut self) -> Result<(), WorldError> {
        self.signal(Signal::SIGSTOP)?;
        self.away = Away::Paused;
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<(), WorldError> {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.pid()?));
        let command = command.map_err(|error| self.failed("read the arguments of", error))?;
        let words = command
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let arguments = words.skip(1).map(|word| OsString::from_vec(word.to_vec()));
        let arguments: Vec<OsString> = arguments.collect();
        self.signal(Signal::SIGKILL)?;
        let start = Instant::now();
        while self.is_alive()? {
            if start.elapsed() >= DEATH_LIMIT {
                return Err(self.failed("kill", format!("it lives after {DEATH_LIMIT:?}")));
            }
            sleep(POLL).await;
        }
        self.again = None;
        self.away = Away::Dead(arguments);
        Ok(())
    }

    /// Lets it go on, or starts it again, then with `other` arguments instead of those of the same names.
    pub(super) fn bring_back(&mut self, other: &[String]) -> Result<Back, WorldError> {
        match std::mem::take(&mut self.away) {
            Away::No => Ok(Back::Never),
            Away::Paused => {
                self.signal(Signal::SIGCONT)?;
                Ok(Back::Continued)
            }
            Away::Dead(arguments) => {
                let name = |argument: &[u8]| -> Vec<u8> {
                    let end = argument.iter().position(|byte| *byte == b'=');
                    argument[..end.unwrap_or(argument.len())].to_vec()
                };
                let replaced: Vec<Vec<u8>> =
                    other.iter().map(|other| name(other.as_bytes())).collect();
                let kept = arguments
                    .into_iter()
                    .filter(|argument| !replaced.contains(&name(argument.as_bytes())));
                let child = Command::new(script(&self.dir, self.name))
                    .args(kept)
                    .args(other)
                    .stdin(Stdio::null())
                    .spawn()
                    .map_err(|error| self.failed("start again", error))?;
                self.again = Some(Running(child));
                Ok(Back::Started)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A server whose script writes its process id and its arguments, and sleeps.
    fn server(dir: &std::path::Path) -> (ServerProcess, Child) {
        let path = script(dir, "sleeper");
        let (pid, told) = (pid_file(dir, "sleeper"), dir.join("told"));
        let text = format!(
            "#!/bin/sh\necho \"$@\" >>{}\necho $$ >{}.new\nmv {}.new {}\nexec sleep 1000\n",
            told.display(),
            pid.display(),
            pid.display(),
            pid.display()
        );
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("set");
        let child = Command::new(&path).spawn().expect("started");
        (ServerProcess::new("sleeper", dir.to_owned()), child)
    }

    /// The script has made way for `sleep`, as the scripts of servers make way for those: arguments are the server's then.
    async fn started(server: &ServerProcess, before: Option<i32>) -> i32 {
        let sleeps = |pid: i32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline"));
            command.is_ok_and(|command| command.starts_with(b"sleep\0"))
        };
        loop {
            match server.pid() {
                Ok(pid) if Some(pid) != before && sleeps(pid) => return pid,
                _ => sleep(POLL).await,
            }
        }
    }

    #[tokio::test]
    async fn a_server_dies_and_lives_again_under_another_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut server, mut first) = server(dir.path());
        let pid = started(&server, None).await;
        assert!(server.is_alive().expect("known") && !server.is_away());
        server.kill().await.expect("killed");
        assert!(!server.is_alive().expect("known") && server.is_away());
        first.wait().expect("ended");
        assert_eq!(
            server.bring_back(&["-x=2".to_owned()]).expect("started"),
            Back::Started
        );
        let again = started(&server, Some(pid)).await;
        assert_ne!(pid, again);
        server.pause().expect("paused");
        assert!(server.is_alive().expect("known") && server.is_away());
        assert_eq!(server.bring_back(&[]).expect("continued"), Back::Continued);
        assert_eq!(server.bring_back(&[]).expect("nothing"), Back::Never);
        let told = std::fs::read_to_string(dir.path().join("told")).expect("told");
        // The first life of this test has no arguments; `sleep` has one, which the second is given.
        assert_eq!(told, "\n1000 -x=2\n");
        drop(server);
        assert!(!std::path::Path::new(&format!("/proc/{again}")).exists());
    }
}
