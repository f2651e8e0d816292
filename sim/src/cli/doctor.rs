//! Owns `lockstep doctor`: what this machine lacks, each with its remedy. Does not own installing anything (`xtask`).

use super::binaries::{self, BITCOIND, Binary, ELECTRS};
use super::output::{Failure, Output};
use crate::entropy_shim;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A regtest run keeps its chain, indexes and node stores in the temporary folder: some hundred MiB.
const FREE_MIB_MIN: u64 = 1_024;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    state: Result<String, Missing>,
}

struct Missing {
    why: String,
    remedy: String,
}

fn missing(why: impl Into<String>, remedy: impl Into<String>) -> Missing {
    Missing {
        why: why.into(),
        remedy: remedy.into(),
    }
}

/// Looks at everything; the exit code is 0 if all is there, else 1.
pub(super) fn run(output: &mut Output) -> Result<u8, Failure> {
    let findings = [
        Finding {
            what: "cargo",
            state: cargo(),
        },
        Finding {
            what: "rustc",
            state: rustc(),
        },
        Finding {
            what: "C compiler",
            state: compiler(&["cc", "gcc", "clang"], "CC"),
        },
        Finding {
            what: "C++ compiler",
            state: compiler(&["c++", "g++", "clang++"], "CXX"),
        },
        Finding {
            what: "entropy shim",
            state: shim(),
        },
        Finding {
            what: "bitcoind",
            state: binary(BITCOIND),
        },
        Finding {
            what: "electrs",
            state: binary(ELECTRS),
        },
        Finding {
            what: "temporary folder",
            state: temporary_folder(),
        },
        Finding {
            what: "free space",
            state: free_space(),
        },
    ];
    let mut lacking = 0;
    for Finding { what, state } in findings {
        match state {
            Ok(found) => output.say(&format!("ok       {what}: {found}"))?,
            Err(Missing { why, remedy }) => {
                lacking += 1;
                output.say(&format!(
                    "missing  {what}: {why}\n         remedy: {remedy}"
                ))?;
            }
        }
    }
    match lacking {
        0 => output.say("nothing is missing")?,
        n => output.say(&format!("{n} missing"))?,
    }
    Ok(u8::from(lacking > 0))
}

/// The first line that a program prints about itself.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

fn cargo() -> Result<String, Missing> {
    version("cargo").ok_or_else(|| missing("not found", "install Rust: https://rustup.rs"))
}

fn rustc() -> Result<String, Missing> {
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let found =
        version("rustc").ok_or_else(|| missing("not found", "install Rust: https://rustup.rs"))?;
    let number = |text: &str| {
        text.split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect::<Vec<u32>>()
    };
    let installed = found
        .split_whitespace()
        .nth(1)
        .and_then(|version| version.split('-').next())
        .unwrap_or_default();
    match number(installed) >= number(needed) {
        true => Ok(found),
        false => Err(missing(
            format!("{found} is older than {needed}"),
            "rustup update stable",
        )),
    }
}

fn compiler(names: &[&str], variable: &str) -> Result<String, Missing> {
    let set = std::env::var(variable).ok().filter(|name| !name.is_empty());
    let found = match &set {
        Some(name) => version(name),
        None => names.iter().find_map(|name| version(name)),
    };
    let why = set.map_or_else(
        || format!("none of {}", names.join(", ")),
        |name| format!("{variable}={name} does not run"),
    );
    found.ok_or_else(|| {
        missing(
            why,
            "install one, on Debian: apt-get install build-essential",
        )
    })
}

fn shim() -> Result<String, Missing> {
    let why = "not available on this platform: runs are not bit-exact";
    let remedy = "run on x86-64 Linux where bit-exact replay matters";
    if entropy_shim::ACTIVE {
        Ok("active".to_owned())
    } else {
        Err(missing(why, remedy))
    }
}

fn binary(binary: Binary) -> Result<String, Missing> {
    binaries::find(binary)
        .map(|path| path.display().to_string())
        .map_err(|error| {
            let text = error.to_string();
            let (why, remedy) = text
                .split_once("\nRemedy: ")
                .unwrap_or((&text, "cargo xtask setup"));
            missing(why, remedy)
        })
}

fn temporary_folder() -> Result<String, Missing> {
    let folder = std::env::temp_dir();
    let remedy = "set TMPDIR to a folder that you may write to";
    match tempfile::tempfile() {
        Ok(_) => Ok(format!("{} can be written to", folder.display())),
        Err(error) => Err(missing(
            format!("{} cannot be written to: {error}", folder.display()),
            remedy,
        )),
    }
}

fn free_space() -> Result<String, Missing> {
    let folder = std::env::temp_dir();
    let Some(mib) = free_mib(&folder) else {
        return Err(missing(
            "`df` does not tell",
            "check by hand that the temporary folder has 1 GiB",
        ));
    };
    let text = format!("{mib} MiB in {}", folder.display());
    let remedy = format!("free some, or set TMPDIR to a folder with {FREE_MIB_MIN} MiB");
    if mib >= FREE_MIB_MIN {
        Ok(text)
    } else {
        Err(missing(text, remedy))
    }
}

/// By POSIX `df -P -k`: a heading, then a line whose fourth column is the free KiB.
fn free_mib(folder: &Path) -> Option<u64> {
    let folder: PathBuf = folder.to_owned();
    let output = Command::new("df")
        .args(["-P", "-k"])
        .arg(folder)
        .output()
        .ok()?;
    free_mib_in(&String::from_utf8_lossy(&output.stdout))
}

fn free_mib_in(table: &str) -> Option<u64> {
    let kib: u64 = table
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    Some(kib / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_from_df() {
        let table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100000 40000 60000 40% /\n";
        assert_eq!(free_mib_in(table), Some(58));
        assert_eq!(free_mib_in("nonsense"), None);
    }

    #[test]
    fn a_compiler_that_is_not_there_is_named_with_a_remedy() {
        let state = compiler(&["no-such-compiler-of-ours"], "NO_SUCH_VARIABLE_OF_OURS");
        let Err(Missing { why, remedy }) = state else {
            panic!("found what is not there")
        };
        assert!(
            why.contains("no-such-compiler-of-ours") && remedy.contains("install"),
            "{why} {remedy}"
        );
    }
}
