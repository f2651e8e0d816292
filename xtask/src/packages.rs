//! Owns the system packages that the builds of bitcoind and electrs need: finds the missing ones and installs them.
//! Knows Debian's and Ubuntu's names only; elsewhere it says what is needed and lets the build speak for itself.

use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure};

/// A system package by its Debian name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Package {
    name: &'static str,
    /// A command that does the package's work, wherever it came from.
    stand_in: Option<&'static str>,
}

const fn library(name: &'static str) -> Package {
    Package {
        name,
        stand_in: None,
    }
}

const fn tool(name: &'static str, command: &'static str) -> Package {
    Package {
        name,
        stand_in: Some(command),
    }
}

/// What the build of bitcoind needs.
pub(crate) const FOR_BITCOIND: &[Package] = &[
    tool("g++", "c++"),
    tool("make", "make"),
    tool("cmake", "cmake"),
    tool("pkg-config", "pkg-config"),
    library("libboost-dev"),
    library("libevent-dev"),
];

/// What the build of electrs needs: RocksDB from the system, and libclang, which reads its headers.
pub(crate) const FOR_ELECTRS: &[Package] = &[
    tool("g++", "c++"),
    library("librocksdb-dev"),
    library("libclang-dev"),
];

/// Makes sure that `wanted` is installed.
///
/// # Errors
/// When packages are missing and cannot be installed from here: the message holds the one line to run.
pub(crate) fn ensure(wanted: &[Package]) -> Result<(), Failure> {
    if !runs("dpkg-query", &["--version"]) {
        eprintln!(
            "note: this system has no dpkg; the build needs the equivalents of Debian's {}",
            names(wanted).join(" ")
        );
        return Ok(());
    }
    let missing = missing(wanted, |package| {
        package
            .stand_in
            .is_some_and(|command| runs(command, &["--version"]))
            || is_installed(package.name)
    });
    if missing.is_empty() {
        return Ok(());
    }
    let names = names(&missing);
    let Some(prefix) = privilege() else {
        return Err(Failure::new(format!(
            "system packages are missing, and installing them needs root. Run this, then start again:\n\n    {}\n",
            by_hand(&names)
        )));
    };
    println!("installing system packages: {}", names.join(" "));
    apt_get(prefix, &["update"], &names)?;
    let install = [
        &["install", "--yes", "--no-install-recommends"],
        names.as_slice(),
    ]
    .concat();
    apt_get(prefix, &install, &names)
}

fn names(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().map(|package| package.name).collect()
}

/// The packages of `wanted` that are not there, each once, in the given order.
fn missing(wanted: &[Package], is_there: impl Fn(&Package) -> bool) -> Vec<Package> {
    let mut missing = Vec::new();
    for package in wanted {
        if !missing.contains(package) && !is_there(package) {
            missing.push(*package);
        }
    }
    missing
}

/// The line for somebody who may become root.
fn by_hand(names: &[&str]) -> String {
    let names = names.join(" ");
    format!("sudo apt-get update && sudo apt-get install --yes --no-install-recommends {names}")
}

/// Whether dpkg holds the package as installed.
fn is_installed(name: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", name])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"installed"))
}

/// Whether the command exists and succeeds.
fn runs(command: &str, args: &[&str]) -> bool {
    Command::new(command)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The words before `apt-get` that give it the rights it needs, without asking for a password; none if there are none.
fn privilege() -> Option<&'static [&'static str]> {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if is_root {
        Some(&["env"])
    } else if runs("sudo", &["-n", "true"]) {
        Some(&["sudo", "-n", "env"])
    } else {
        None
    }
}

/// Runs apt-get without questions; its output goes to the terminal.
fn apt_get(prefix: &[&str], args: &[&str], names: &[&str]) -> Result<(), Failure> {
    let [program, rest @ ..] = prefix else {
        unreachable!("a prefix holds at least `env`")
    };
    let status = Command::new(program)
        .args(rest)
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"])
        .args(args)
        .stdin(Stdio::null())
        .status()
        .doing(|| "start apt-get".to_owned())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "apt-get {} failed ({status}). Its own message stands above; by hand the packages are installed with\n\n    {}\n",
        args.first().copied().unwrap_or_default(),
        by_hand(names)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_are_named_once_and_in_order() {
        let wanted = [FOR_BITCOIND, FOR_ELECTRS].concat();
        let missing = missing(&wanted, |package| package.name.starts_with("lib"));
        assert_eq!(names(&missing), ["g++", "make", "cmake", "pkg-config"]);
    }

    #[test]
    fn the_line_to_run_names_every_package() {
        assert_eq!(
            by_hand(&["cmake", "libevent-dev"]),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends cmake libevent-dev"
        );
    }

    #[test]
    fn a_command_that_is_not_there_does_not_run() {
        assert!(!runs("lockstep-has-no-such-command", &[]));
        assert!(runs("true", &[]));
        assert!(!runs("false", &[]));
    }
}
