//! Owns running the tests: which cargo commands, with which environment.
//! Does not know what is tested; the test targets that need real binaries are known here by name.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::binaries::{BITCOIND, ELECTRS, Executables};
use crate::cache::Cache;
use crate::cli::{TestOptions, Worlds};
use crate::failure::{Doing, Failure};
use crate::progress::{Stopwatch, human};
use crate::workspace::{cargo, cargo_metadata};

/// The test targets that start a bitcoind.
const REAL_TARGETS: &[&str] = &["conformance", "interop", "regtest"];

/// Runs the tests; returns the exit code of `cargo test`.
///
/// # Errors
/// When the environment's flags would break the build, the binaries cannot be had, or cargo does not start.
pub(crate) fn run(options: &TestOptions, checkout: &Path) -> Result<u8, Failure> {
    check_flags(|name| env::var_os(name))?;
    let started = Stopwatch::start();
    let executables = match options.worlds {
        Worlds::Simulated => None,
        Worlds::Regtest | Worlds::Both => Some(Executables::ensure(&Cache::locate(checkout)?)?),
    };
    let targets = match options.worlds {
        Worlds::Regtest => real_targets(checkout)?,
        Worlds::Simulated | Worlds::Both => Vec::new(),
    };
    let mut exit_code = 0;
    for args in invocations(options, &targets) {
        println!("running: cargo {}", args.join(" "));
        let mut command = cargo(checkout);
        for (recipe, path) in [
            (&BITCOIND, executables.as_ref().map(|found| &found.bitcoind)),
            (&ELECTRS, executables.as_ref().map(|found| &found.electrs)),
        ] {
            match path {
                Some(path) => command.env(recipe.variable, path),
                None => command.env_remove(recipe.variable),
            };
        }
        let status = command
            .args(&args)
            .status()
            .doing(|| "start cargo test".to_owned())?;
        if !status.success() && exit_code == 0 {
            exit_code = status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1);
        }
    }
    let verdict = if exit_code == 0 { "passed" } else { "failed" };
    println!("tests {verdict} after {}", human(started.elapsed()));
    Ok(exit_code)
}

/// The argument lists for cargo, one per filter: test binaries with a harness of their own take only one.
fn invocations(options: &TestOptions, targets: &[String]) -> Vec<Vec<String>> {
    let filters = if options.filters.is_empty() {
        vec![None]
    } else {
        options.filters.iter().map(Some).collect()
    };
    let one = |filter: Option<&String>| {
        let mut args = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
        args.extend(targets.iter().cloned());
        if filter.is_some() || !options.passed_on.is_empty() {
            args.push("--".to_owned());
        }
        args.extend(filter.cloned());
        args.extend(options.passed_on.iter().cloned());
        args
    };
    filters.into_iter().map(one).collect()
}

/// The options that select the test targets which need real binaries.
fn real_targets(checkout: &Path) -> Result<Vec<String>, Failure> {
    let metadata = cargo_metadata(checkout, &["--no-deps"])?;
    let options = real_targets_in(&metadata);
    if options.is_empty() {
        return Err(Failure::new(format!(
            "no package has a test target called {}",
            REAL_TARGETS.join(", ")
        )));
    }
    Ok(options)
}

fn real_targets_in(metadata: &serde_json::Value) -> Vec<String> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let mut options = Vec::new();
    for package in list(&metadata["packages"]) {
        let targets = list(&package["targets"]);
        let names = targets
            .iter()
            .filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"))
            .filter_map(|target| target["name"].as_str())
            .filter(|name| REAL_TARGETS.contains(name))
            .flat_map(|name| ["--test".to_owned(), name.to_owned()])
            .collect::<Vec<_>>();
        if !names.is_empty() {
            options.extend([
                "--package".to_owned(),
                package["name"].as_str().unwrap_or_default().to_owned(),
            ]);
            options.extend(names);
        }
    }
    options
}

/// Refuses compiler flags in the environment that lack `--cfg madsim`: they replace the ones of `.cargo/config.toml`.
fn check_flags(var: impl Fn(&str) -> Option<OsString>) -> Result<(), Failure> {
    // The first of the two that is set is the one that cargo takes, also when it is empty.
    let Some((name, value)) = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"]
        .iter()
        .find_map(|name| Some((name, var(name)?)))
    else {
        return Ok(());
    };
    if has_madsim(&value) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name} is set in the environment, so cargo drops the flags of .cargo/config.toml, and the simulation does not \
         build without `--cfg madsim`.\nEither run `unset {name}`, or add `--cfg madsim` to it"
    )))
}

/// Whether the flags, separated by spaces or by cargo's unit separator, hold `--cfg madsim`.
fn has_madsim(flags: &OsStr) -> bool {
    let flags = flags.to_string_lossy();
    let words = flags
        .split([' ', '\x1f'])
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>();
    words.contains(&"--cfg=madsim") || words.windows(2).any(|pair| pair == ["--cfg", "madsim"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(filters: &[&str], passed_on: &[&str]) -> TestOptions {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        TestOptions {
            worlds: Worlds::Both,
            filters: owned(filters),
            passed_on: owned(passed_on),
        }
    }

    fn lines(options: &TestOptions, targets: &[&str]) -> Vec<String> {
        let targets = targets
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>();
        invocations(options, &targets)
            .iter()
            .map(|args| args.join(" "))
            .collect()
    }

    #[test]
    fn each_filter_is_a_run_of_its_own() {
        assert_eq!(lines(&options(&[], &[]), &[]), ["test --no-fail-fast"]);
        assert_eq!(
            lines(
                &options(&["reorg", "pay"], &["--nocapture"]),
                &["--test", "regtest"]
            ),
            [
                "test --no-fail-fast --test regtest -- reorg --nocapture",
                "test --no-fail-fast --test regtest -- pay --nocapture"
            ]
        );
        assert_eq!(
            lines(&options(&[], &["--nocapture"]), &[]),
            ["test --no-fail-fast -- --nocapture"]
        );
    }

    #[test]
    fn real_targets_are_test_targets_of_the_known_names() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "targets": [{ "name": "regtest", "kind": ["bin"] }, { "name": "scenarios", "kind": ["test"] }] },
            { "name": "b", "targets": [{ "name": "regtest", "kind": ["test"] }, { "name": "conformance", "kind": ["test"] }] },
        ]});
        assert_eq!(
            real_targets_in(&metadata).join(" "),
            "--package b --test regtest --test conformance"
        );
    }

    #[test]
    fn flags_without_madsim_are_refused_and_the_variable_named() {
        let check = |name: &'static str, value: &'static str| {
            check_flags(move |asked| (asked == name).then(|| OsString::from(value)))
        };
        assert_eq!(check_flags(|_| None), Ok(()));
        for good in ["--cfg madsim", "-D warnings --cfg  madsim", "--cfg=madsim"] {
            assert_eq!(check("RUSTFLAGS", good), Ok(()), "{good}");
        }
        assert_eq!(
            check("CARGO_ENCODED_RUSTFLAGS", "-Dwarnings\x1f--cfg\x1fmadsim"),
            Ok(())
        );
        for bad in [
            "",
            "-D warnings",
            "--cfg madsimulated",
            "--cfg tokio madsim",
        ] {
            let failure = check("RUSTFLAGS", bad).expect_err(bad).to_string();
            assert!(
                failure.contains("unset RUSTFLAGS") && failure.contains("--cfg madsim"),
                "{failure}"
            );
        }
    }

    #[test]
    fn the_encoded_flags_win_over_the_plain_ones() {
        let both = |name: &str| match name {
            "RUSTFLAGS" => Some(OsString::from("--cfg madsim")),
            "CARGO_ENCODED_RUSTFLAGS" => Some(OsString::from("-O")),
            _ => None,
        };
        assert!(check_flags(both).is_err());
    }
}
