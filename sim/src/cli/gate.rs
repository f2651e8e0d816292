//! Owns `lockstep gate`: everything that must hold before a change lands, as one command with one summary. Each section is
//! this program with other arguments, so that what the gate does can be repeated by hand. Does not own the sections.

use super::args::{WorldChoice, seed_range};
use super::baseline;
use super::output::{Failure, Output};
use super::results::{self, ResultArguments, Shard};
use super::stopwatch::Stopwatch;
use super::{BAD_USAGE, HARNESS, interrupt, most_serious};
use crate::bundle::{self, Build};
use crate::report::results::{Case, Results, markdown};
use crate::report::words::duration;
use crate::run::outcome::Verdict;
use clap::{Args, ValueEnum};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `lockstep gate` is asked.
#[derive(Debug, Args)]
pub(super) struct GateArguments {
    /// Scenario files, or folders that are searched for *.toml
    #[arg(default_value = "scenarios", value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// Where scenarios run
    #[arg(long, value_enum, default_value = "simulated")]
    world: WorldChoice,
    /// Folder of old failures, each of which must have gone
    #[arg(long, value_name = "DIR", default_value = "fixtures/failures")]
    failures: PathBuf,
    /// Seeds for which two runs of each scenario must be equal
    #[arg(long, value_name = "A..B", value_parser = seed_range, default_value = "0..2")]
    determinism_seeds: Range<u64>,
    /// Seeds of the fuzzer
    #[arg(long, value_name = "A..B", value_parser = seed_range, default_value = "0..100")]
    fuzz_seeds: Range<u64>,
    /// Profile of the fuzzer
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
    /// Folder for bundles of what fails
    #[arg(long, value_name = "DIR", default_value = "reports/failures")]
    failures_to: PathBuf,
    /// Compare ratios of criterion's measurements with this file
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Where criterion has left its measurements
    #[arg(
        long,
        value_name = "DIR",
        default_value = "target/criterion",
        requires = "baseline"
    )]
    criterion: PathBuf,
    /// Do one part of the work only, such as 1/4
    #[arg(long, value_name = "K/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Processes at a time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    #[command(flatten)]
    written: ResultArguments,
}

/// The name of the first section.
const OLD_FAILURES: &str = "old failures";

/// A part of the gate: this program with these arguments.
struct Section {
    name: &'static str,
    arguments: Vec<String>,
}

/// Does all of it; the exit code.
pub(super) fn run(arguments: &GateArguments, output: &mut Output) -> Result<u8, Failure> {
    interrupt::watch().map_err(|what| Failure::new(HARNESS, what))?;
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(HARNESS, format!("failed to make a folder: {error}")))?;
    let (mut all, mut codes) = (Vec::new(), Vec::new());
    let sections = sections(arguments)?;
    if sections[0].name != OLD_FAILURES {
        let folder = arguments.failures.display();
        output.note(&format!(
            "no old failure was run again: there is none in {folder} (--failures)"
        ))?;
    }
    for section in sections {
        if interrupt::is_set() {
            break;
        }
        output.say(&format!(
            "\n==> {}: lockstep {}",
            section.name,
            section.arguments.join(" ")
        ))?;
        let watch = Stopwatch::start();
        let (code, results) = run_section(&section, folder.path())?;
        let word = if code == 0 { "passed" } else { "FAILED" };
        let took = duration(watch.elapsed_ms());
        output.say(&format!("==> {}: {word} after {took}", section.name))?;
        codes.push(code);
        all.push(results);
    }
    if let Some(file) = &arguments.baseline
        && !interrupt::is_set()
    {
        let cases = baseline::compare(file, &arguments.criterion)?;
        codes.extend(cases.iter().map(|case| case.exit_code));
        all.push(Results::of("measurements", cases));
    }
    let merged = Results::merged(all);
    output.say(&format!("\n{}", markdown::render(&merged).trim_end()))?;
    if let Some(pictures) = pictures(&arguments.failures_to) {
        output.say(&pictures)?;
    }
    results::publish(&arguments.written, &merged, output)?;
    if interrupt::is_set() {
        return Ok(Verdict::Interrupted.exit_code());
    }
    Ok(most_serious(codes.into_iter()))
}

fn sections(arguments: &GateArguments) -> Result<Vec<Section>, Failure> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let seeds = |range: &Range<u64>| format!("{}..{}", range.start, range.end);
    let paths = || {
        arguments
            .paths
            .iter()
            .map(|path| path.display().to_string())
    };
    let mut sections = Vec::new();
    let failures = old_failures(&arguments.failures)?;
    if !failures.is_empty() {
        let mut replay: Vec<String> = words(&["replay"]);
        replay.extend(failures);
        sections.push(Section {
            name: OLD_FAILURES,
            arguments: replay,
        });
    }
    let world = arguments.world.to_possible_value();
    let world = world.map_or_else(String::new, |value| value.get_name().to_owned());
    let out = arguments.failures_to.display().to_string();
    let mut scenarios: Vec<String> = words(&["run", "--world", &world, "--bundle", &out]);
    scenarios.extend(paths());
    sections.push(Section {
        name: "scenarios",
        arguments: scenarios,
    });
    let range = seeds(&arguments.determinism_seeds);
    let mut twice: Vec<String> = words(&[
        "run",
        "--world",
        "simulated",
        "--check-determinism",
        "--seeds",
        &range,
    ]);
    twice.extend(paths());
    sections.push(Section {
        name: "determinism",
        arguments: twice,
    });
    let range = seeds(&arguments.fuzz_seeds);
    sections.push(Section {
        name: "fuzz",
        arguments: words(&[
            "fuzz",
            "--profile",
            &arguments.profile,
            "--seeds",
            &range,
            "--out",
            &out,
        ]),
    });
    for section in &mut sections {
        if let Some(shard) = arguments.shard {
            section
                .arguments
                .extend(["--shard".to_owned(), shard.to_string()]);
        }
        if let Some(jobs) = arguments.jobs {
            section
                .arguments
                .extend(["--jobs".to_owned(), jobs.to_string()]);
        }
    }
    Ok(sections)
}

/// Bundles in the folder of old failures; none if there is no such folder.
fn old_failures(folder: &Path) -> Result<Vec<String>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |error: std::io::Error| {
        let remedy = "Remedy: name the folder of old failures with --failures DIR.";
        Failure::new(
            BAD_USAGE,
            format!("failed to list {}: {error}\n{remedy}", folder.display()),
        )
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    Ok(found)
}

/// How to see the failures of this build in the folder of bundles.
fn pictures(folder: &Path) -> Option<String> {
    let mut commands = Vec::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let manifest = entry.ok()?.path().join(bundle::MANIFEST);
        let text = std::fs::read_to_string(manifest).unwrap_or_default();
        if let Ok(manifest) = serde_json::from_str::<bundle::Manifest>(&text)
            && manifest.build.is_same(&Build::this())
        {
            commands.push(format!("    {}", manifest.commands.report));
        }
    }
    commands.sort();
    let heading =
        "Failures that were kept. To look at one, here or wherever its folder was copied to:";
    (!commands.is_empty()).then(|| format!("\n{heading}\n\n{}", commands.join("\n")))
}

/// Runs a section in a process of its own, whose output is the user's; its exit code and what it left.
fn run_section(section: &Section, folder: &Path) -> Result<(u8, Results), Failure> {
    let file = folder.join(format!("{}.json", section.name.replace(' ', "-")));
    let failed = |error: std::io::Error| {
        Failure::new(
            HARNESS,
            format!("failed to start the section `{}`: {error}", section.name),
        )
    };
    let program = std::env::current_exe().map_err(failed)?;
    let status = Command::new(program)
        .args(&section.arguments)
        .arg("--results")
        .arg(&file)
        .env_remove("GITHUB_ACTIONS")
        .status()
        .map_err(failed)?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(HARNESS);
    if file.exists() {
        let mut results = results::read(&file)?;
        for suite in &mut results.suites {
            section.name.clone_into(&mut suite.name);
        }
        return Ok((code, results));
    }
    let case = Case {
        name: format!("lockstep {}", section.arguments.join(" ")),
        file: None,
        line: None,
        verdict: if code == 0 { "pass" } else { "failed" }.to_owned(),
        exit_code: code,
        wall_ms: 0,
        virtual_ms: 0,
        text: format!("it ended with exit code {code} and left no results\n"),
    };
    Ok((code, Results::of(section.name, vec![case])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Gate {
        #[command(flatten)]
        arguments: GateArguments,
    }

    fn gate(words: &[&str]) -> GateArguments {
        let words = ["gate"].iter().chain(words);
        Gate::try_parse_from(words).expect("legal").arguments
    }

    #[test]
    fn each_section_is_a_command() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("b-1")).expect("made");
        let failures = folder.path().display().to_string();
        let arguments = gate(&["--failures", &failures, "--shard", "2/3", "my"]);
        let shown: Vec<String> = sections(&arguments)
            .expect("listed")
            .iter()
            .map(|section| section.arguments.join(" "))
            .collect();
        assert_eq!(
            shown,
            [
                format!("replay {failures}/b-1 --shard 2/3"),
                "run --world simulated --bundle reports/failures my --shard 2/3".to_owned(),
                "run --world simulated --check-determinism --seeds 0..2 my --shard 2/3".to_owned(),
                "fuzz --profile default --seeds 0..100 --out reports/failures --shard 2/3"
                    .to_owned(),
            ]
        );
    }

    #[test]
    fn without_old_failures_none_are_replayed() {
        let arguments = gate(&["--failures", "no/such/folder"]);
        let sections = sections(&arguments).expect("listed");
        assert_eq!(sections[0].name, "scenarios");
    }
}
