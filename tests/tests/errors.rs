//! What the command line says about bad input and bad usage, and its exit codes: the broken scenarios of
//! `tests/errors` with their expected texts, and a table of wrong command lines. Owns that list.

use libtest_mimic::{Failed, Trial};
use lockstep_tests::{lockstep, root};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A small scenario that is always there, and not for the regtest world.
const SMALL: &str = "tests/planted/charge.toml";

/// Arguments; exit code; what the two outputs together must say.
const USAGE: &[(&str, &[&str], i32, &[&str])] = &[
    ("no_command", &[], 2, &["Usage: lockstep"]),
    (
        "unknown_command",
        &["fly"],
        2,
        &["unrecognized subcommand 'fly'"],
    ),
    (
        "help",
        &["run", "--help"],
        0,
        &["lockstep run scenarios --world both", "--check-determinism"],
    ),
    ("no_paths", &["run"], 2, &["PATHS"]),
    (
        "unknown_world",
        &["run", SMALL, "--world", "mars"],
        2,
        &["simulated, regtest, both"],
    ),
    (
        "empty_range",
        &["run", SMALL, "--seeds", "5..5"],
        2,
        &["0..100"],
    ),
    (
        "seed_and_seeds",
        &["run", SMALL, "--seed", "1", "--seeds", "0..2"],
        2,
        &["cannot be used with"],
    ),
    (
        "no_such_file",
        &["run", "no/such.toml"],
        2,
        &["no/such.toml", "Remedy"],
    ),
    (
        "folder_without_scenarios",
        &["run", "engine/src"],
        2,
        &["no scenario in engine/src", "Remedy"],
    ),
    (
        "broken_scenario",
        &["run", "tests/errors/syntax_missing_value.toml"],
        2,
        &["syntax_missing_value.toml:", "= help"],
    ),
    (
        "not_in_this_world",
        &["run", SMALL, "--world", "regtest"],
        2,
        &["planted bugs are looked for", "Remedy"],
    ),
    (
        "trace_of_many",
        &["run", SMALL, "tests/planted/expiry.toml", "--trace", "t"],
        2,
        &["one run", "Remedy"],
    ),
    (
        "trace_nowhere",
        &["run", SMALL, "--trace", "/no/such/folder/t"],
        2,
        &["/no/such/folder/t", "Remedy"],
    ),
    (
        "report_of_no_trace",
        &["report", "README.md"],
        2,
        &["README.md:1: this is not a record", "Remedy"],
    ),
    (
        "report_nowhere",
        &["report", SMALL, "--out", "/proc/pages"],
        2,
        &["/proc/pages", "Remedy"],
    ),
    (
        "explain_nothing",
        &["explain", "no/such.jsonl"],
        2,
        &["no/such.jsonl", "Remedy"],
    ),
    ("check", &["check", SMALL], 0, &["charge.toml: ok"]),
    ("schema", &["schema"], 0, &["\"$schema\"", "\"steps\""]),
    (
        "pass",
        &["run", SMALL, "--seed", "3"],
        0,
        &["seed 3 (from --seed)", "pass"],
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let usage = USAGE.iter().map(|&(name, arguments, code, said)| {
        Trial::test(format!("errors::usage::{name}"), move || {
            usage(arguments, code, said)
        })
    });
    let mut trials: Vec<Trial> = usage.collect();
    for file in broken_scenarios() {
        trials.push(Trial::test(
            format!("errors::scenario::{file}"),
            move || broken_scenario(&file),
        ));
    }
    trials.push(Trial::test(
        "errors::json_is_alone_on_standard_output",
        json_alone,
    ));
    trials.push(Trial::test("errors::trace_of_a_full_disk", full_disk_trace));
    trials.push(Trial::test(
        "errors::standard_output_on_a_full_disk",
        full_disk_output,
    ));
    trials.push(Trial::test("errors::interrupted", interrupted));
    trials
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

fn ends_with(output: &Output, code: i32, said: &[&str]) -> Result<(), Failed> {
    let text = text(output);
    if output.status.code() != Some(code) {
        return Err(format!("ended with {} instead of {code}:\n{text}", output.status).into());
    }
    match said.iter().find(|said| !text.contains(**said)) {
        Some(missing) => Err(format!("did not say `{missing}`:\n{text}").into()),
        None => Ok(()),
    }
}

fn usage(arguments: &[&str], code: i32, said: &[&str]) -> Result<(), Failed> {
    ends_with(&lockstep(root(), arguments).output()?, code, said)
}

fn broken_scenarios() -> Vec<String> {
    let files = std::fs::read_dir("tests/errors")
        .expect("the folder of broken scenarios")
        .flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn broken_scenario(name: &str) -> Result<(), Failed> {
    let folder = Path::new("tests/errors");
    let expected = std::fs::read_to_string(folder.join(format!("{name}.txt")))?;
    let output = lockstep(folder, ["check", &format!("{name}.toml")]).output()?;
    ends_with(&output, 2, &[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said == expected {
        Ok(())
    } else {
        Err(format!("expected\n{expected}\nsaid\n{said}").into())
    }
}

fn json_alone() -> Result<(), Failed> {
    let output = lockstep(root(), ["run", SMALL, "--json"]).output()?;
    ends_with(&output, 0, &[])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let outcome = &report["outcomes"][0];
    match outcome["verdict"] == "pass"
        && outcome["trace_hash"]
            .as_str()
            .is_some_and(|hash| hash.len() == 64)
    {
        true => Ok(()),
        false => Err(format!("not the report of a pass: {report}").into()),
    }
}

fn full_disk_trace() -> Result<(), Failed> {
    let output = lockstep(
        root(),
        ["run", SMALL, "--seed", "1", "--trace", "/dev/full"],
    )
    .output()?;
    ends_with(&output, 5, &["/dev/full", "Remedy: free some space"])?;
    if Path::new("/dev/full").is_file() {
        Err("the device was replaced by a file".into())
    } else {
        Ok(())
    }
}

fn full_disk_output() -> Result<(), Failed> {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let output = lockstep(root(), ["schema"]).stdout(full).output()?;
    ends_with(&output, 5, &["standard output", "Remedy"])
}

/// Ctrl-C in the middle of many runs: exit code 130, and no partial file.
#[expect(
    clippy::disallowed_methods,
    reason = "the runs must have begun, in real time"
)]
fn interrupted() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let scenario = root().join(SMALL);
    let copy = folder.path().join("charge.toml");
    std::fs::copy(scenario, &copy)?;
    let mut command = lockstep(
        folder.path(),
        ["run", "charge.toml", "--seeds", "0..100000", "--jobs", "2"],
    );
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    let output = child.wait_with_output()?;
    ends_with(&output, 130, &["interrupted", "were not begun"])?;
    let left = std::fs::read_dir(folder.path())?.count();
    if left == 1 {
        Ok(())
    } else {
        Err(format!("{left} files are there instead of one").into())
    }
}
