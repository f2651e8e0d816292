//! Owns the two real servers of the regtest world, bitcoind and electrs: their executables, start, logs and end. Does not
//! own what is asked of them (`chain`, `electrs_questions`) nor their pauses and further lives (`server_process`).
//!
//! Both run through a small shell script of ours that appends their output to a log of the run's directory, for error
//! messages, and asks the kernel (`setpriv --pdeathsig`, util-linux) to kill them when the thread that started them is
//! gone: so they also end when this process is killed outright. Without `setpriv` they are started plainly, and only an
//! orderly end, an error, a panic or Ctrl-C takes them along. The run's directory is left behind by a SIGKILL. The script
//! also writes down its process id, which the server keeps, for signals.

use super::bitcoind_process::Frozen;
use super::electrs_questions::connect;
use super::server_process::ServerProcess;
use crate::worlds::WorldError;
use bitcoind::{BitcoinD, P2P};
use electrsd::ElectrsD;
use serde_json::{Value, json};
use std::fmt::Display;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

/// Names bitcoind's executable.
pub(super) const BITCOIND_EXE: &str = "BITCOIND_EXE";

/// Names electrs' executable.
pub(super) const ELECTRS_EXE: &str = "ELECTRS_EXE";

/// How much of a server's log an error shows.
const LOG_LINES_SHOWN: usize = 8;

/// bitcoind and electrs, on free ports of the loopback interface.
pub(super) struct Servers {
    /// Dropped first: it talks to bitcoind.
    pub(super) electrs: ElectrsD,
    pub(super) bitcoind: BitcoinD,
    /// Where their logs are.
    pub(super) dir: PathBuf,
    /// How electrs' process fares.
    pub(super) electrs_process: ServerProcess,
    /// How bitcoind's process fares.
    pub(super) bitcoind_process: ServerProcess,
    /// The chain while bitcoind is away.
    pub(super) frozen: Option<Frozen>,
    /// The time that bitcoind was given last, seconds since 1970.
    pub(super) time_secs: AtomicU64,
}

impl Servers {
    /// Both run, with their files in `dir`.
    pub(super) fn new(bitcoind: BitcoinD, electrs: ElectrsD, dir: &Path, now_secs: u64) -> Servers {
        Servers {
            electrs,
            bitcoind,
            dir: dir.to_owned(),
            electrs_process: ServerProcess::new(ELECTRS, dir.to_owned()),
            bitcoind_process: ServerProcess::new(BITCOIND, dir.to_owned()),
            frozen: None,
            time_secs: AtomicU64::new(now_secs),
        }
    }

    /// electrs did not answer.
    pub(super) fn electrs_failed(&self, error: impl Display) -> WorldError {
        WorldError::harness("ask electrs", with_log(&error, &self.dir.join(ELECTRS_LOG)))
    }

    /// bitcoind did not answer, or with an error.
    pub(super) fn bitcoind_failed(&self, method: &str, error: impl Display) -> WorldError {
        WorldError::harness(
            format!("ask bitcoind for {method}"),
            with_log(&error, &self.dir.join(BITCOIND_LOG)),
        )
    }
}

const BITCOIND_LOG: &str = "bitcoind.log";

const ELECTRS_LOG: &str = "electrs.log";

/// What its script and its files are called after.
const ELECTRS: &str = "electrs";

/// The same of bitcoind.
const BITCOIND: &str = "bitcoind";

/// The executables.
pub(super) struct Executables {
    bitcoind: PathBuf,
    electrs: PathBuf,
}

impl Executables {
    /// From the environment. Errors name the variable and the remedy.
    pub(super) fn find() -> Result<Executables, WorldError> {
        Ok(Executables {
            bitcoind: executable(BITCOIND_EXE)?,
            electrs: executable(ELECTRS_EXE)?,
        })
    }
}

fn executable(variable: &str) -> Result<PathBuf, WorldError> {
    check_executable(variable, std::env::var_os(variable).map(PathBuf::from))
}

fn check_executable(variable: &str, named: Option<PathBuf>) -> Result<PathBuf, WorldError> {
    let fail = |reason: String| {
        let remedy =
            format!("{reason}; `cargo xtask setup` builds it and tells the value of {variable}");
        Err(WorldError::harness(
            "find a server of the regtest world",
            remedy,
        ))
    };
    let Some(path) = named else {
        return fail(format!("the environment variable {variable} is not set"));
    };
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Ok(path),
        Ok(_) => fail(format!(
            "{variable} names {}, which is not executable",
            path.display()
        )),
        Err(error) => fail(format!("{variable} names {}: {error}", path.display())),
    }
}

/// Starts bitcoind at height 0, out of its initial block download.
pub(super) fn start_bitcoind(
    executables: &Executables,
    dir: &Path,
    now_secs: u64,
) -> Result<BitcoinD, WorldError> {
    let log = dir.join(BITCOIND_LOG);
    let script = write_script(dir, BITCOIND, &executables.bitcoind, &log)?;
    let mut conf = bitcoind::Conf::default();
    conf.wallet = None;
    conf.p2p = P2P::Yes;
    // Each failed attempt takes the crate 15 s.
    conf.attempts = 2;
    conf.tmpdir = Some(dir.to_owned());
    conf.args.extend([
        "-txindex=1",
        "-printtoconsole=1",
        "-debuglogfile=0",
        "-dnsseed=0",
        "-fixedseeds=0",
    ]);
    // Virtual time leaps: without this bitcoind takes electrs for silent, hangs up, and electrs ends.
    conf.args.push("-peertimeout=2000000000");
    // electrs 0.10 leaves out every mempool transaction without the field that Bitcoin Core has deprecated.
    conf.args
        .extend(["-deprecatedrpc=bip125", "-listenonion=0"]);
    let failed = |error: &dyn Display| WorldError::harness("start bitcoind", with_log(error, &log));
    let bitcoind = BitcoinD::with_conf(script, &conf).map_err(|error| failed(&chain_of(&error)))?;
    // electrs waits for the end of the initial block download, which one fresh block brings about for good. The block
    // is given up again, so that both worlds begin at height 0.
    let call = |method: &str, params: &[Value]| {
        bitcoind
            .client
            .call::<Value>(method, params)
            .map_err(|error| failed(&error))
    };
    call("setmocktime", &[json!(now_secs)])?;
    let block = call(
        "generatetodescriptor",
        &[json!(1), json!("raw(51)#8lvh9jxk")],
    )?;
    call("invalidateblock", &[block[0].clone()])?;
    Ok(bitcoind)
}

/// Starts electrs on that bitcoind.
pub(super) fn start_electrs(
    executables: &Executables,
    dir: &Path,
    bitcoind: &BitcoinD,
) -> Result<ElectrsD, WorldError> {
    let log = dir.join(ELECTRS_LOG);
    let script = write_script(dir, ELECTRS, &executables.electrs, &log)?;
    let mut conf = electrsd::Conf::default();
    conf.tmpdir = Some(dir.to_owned());
    let failed = |error: &dyn Display| WorldError::harness("start electrs", with_log(error, &log));
    let mut electrs =
        ElectrsD::with_conf(script, bitcoind, &conf).map_err(|error| failed(&chain_of(&error)))?;
    // The crate's own client has less patience than a busy machine needs.
    electrs.client = connect(&electrs.electrum_url).map_err(|error| failed(&error))?;
    Ok(electrs)
}

fn chain_of(error: &bitcoind::anyhow::Error) -> String {
    format!("{error:#}")
}

/// Where the script of a server is.
pub(super) fn script(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("run-{name}.sh"))
}

/// Where the script writes its process id.
pub(super) fn pid_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pid"))
}

fn write_script(
    dir: &Path,
    name: &str,
    executable: &Path,
    log: &Path,
) -> Result<PathBuf, WorldError> {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let (executable, log) = (quoted(executable), quoted(log));
    let pid = quoted(&pid_file(dir, name));
    let text = format!(
        "#!/bin/sh\nexec >>{log} 2>&1\necho $$ >{pid}\nif command -v setpriv >/dev/null; then\n  \
         exec setpriv --pdeathsig KILL -- {executable} \"$@\"\nfi\nexec {executable} \"$@\"\n"
    );
    let path = script(dir, name);
    let failed =
        |error: std::io::Error| WorldError::harness(format!("write {}", path.display()), error);
    std::fs::write(&path, text).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(path)
}

/// An error with the last lines of a server's log.
pub(super) fn with_log(error: &dyn Display, log: &Path) -> String {
    let text = std::fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    if shown.is_empty() {
        return error.to_string();
    }
    format!(
        "{error}; the last lines of its log:\n  {}",
        shown.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_named_with_its_remedy() {
        for (named, word) in [
            (None, "not set"),
            (Some("/nowhere/at/all"), "No such file"),
            (Some("/dev/null"), "not executable"),
        ] {
            let error = check_executable(ELECTRS_EXE, named.map(PathBuf::from))
                .expect_err("it is not there")
                .to_string();
            assert!(error.contains(word), "{error}");
            assert!(
                error.contains(ELECTRS_EXE) && error.contains("cargo xtask setup"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_error_shows_the_end_of_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let lines: Vec<String> = (0..50).map(|line| format!("line {line}")).collect();
        std::fs::write(&log, lines.join("\n")).expect("written");
        let shown = with_log(&"it ended", &log);
        assert!(
            shown.contains("it ended") && shown.contains("line 49") && !shown.contains("line 3\n"),
            "{shown}"
        );
        assert_eq!(with_log(&"it ended", &dir.path().join("none")), "it ended");
    }
}
