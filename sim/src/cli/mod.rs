//! Owns the command line: its commands, the processes they start, the files they read and write, and the exit code.
//! Does not own what a run is (`run`) nor how results are shown (`report`).
//!
//! One simulation per process: `lockstep run` starts its own executable again for every run (`processes`), with a
//! hidden first argument that `child_entry` looks for.

mod args;
mod baseline;
pub mod binaries;
pub mod bisect;
mod bundles;
mod child;
pub mod determinism;
mod doctor;
pub mod expected;
mod explain;
mod failure_args;
mod fees;
mod files;
mod fuzz;
mod gate;
mod interrupt;
mod labels;
mod output;
pub mod processes;
mod regtest;
pub mod replay;
mod report;
mod results;
mod run;
pub mod shrink;
pub mod sources;
mod stopwatch;

pub use child::Job;
pub use files::WriteFailed;

use args::{Arguments, CheckArguments, Command, RunArguments};
use clap::Parser;
use output::{Failure, Output};
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code of bad usage and bad scenarios.
const BAD_USAGE: u8 = 2;

/// Exit code of a failed harness.
const HARNESS: u8 = 5;

/// Exit codes by how serious they are. A broken harness comes first: behind it the others mean little.
const BY_SERIOUSNESS: [u8; 7] = [130, 5, 4, 1, 3, 2, 0];

/// The most serious of several exit codes; 0 of none.
fn most_serious(codes: impl Iterator<Item = u8>) -> u8 {
    let rank = |code: &u8| {
        BY_SERIOUSNESS
            .iter()
            .position(|known| known == code)
            .unwrap_or(0)
    };
    codes.min_by_key(rank).unwrap_or(0)
}

/// Runs this process's job and ends it, if it was started by `processes`; returns if it was not. First thing in every
/// executable that runs scenarios.
pub fn child_entry() {
    child::entry();
}

/// The command line; `arguments` begin with the program's name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        // Help and version are errors to clap; it knows where they go.
        Err(error) => {
            let code = if error.use_stderr() { BAD_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = dispatch(parsed.command).unwrap_or_else(|Failure { exit_code, text }| {
        eprint!("{text}");
        exit_code
    });
    ExitCode::from(code)
}

fn dispatch(command: Command) -> Result<u8, Failure> {
    let mut plain = Output::new(false);
    match command {
        Command::Run(arguments) => run::run(&arguments, &mut Output::new(arguments.json)),
        Command::Bless(paths) => run::run(&RunArguments::blessing(paths), &mut plain),
        Command::Replay(arguments) => replay::run(&arguments, &mut Output::new(arguments.json)),
        Command::Shrink(arguments) => shrink::run(&arguments, &mut plain),
        Command::BisectDeterminism(arguments) => bisect::run(&arguments, &mut plain),
        Command::Check(arguments) => check(&arguments, &mut plain),
        Command::Report(arguments) => report::run(&arguments, &mut plain),
        Command::Explain(arguments) => explain::run(&arguments, &mut Output::new(arguments.json)),
        Command::Labels(arguments) => labels::run(&arguments, &mut plain),
        Command::Fees(arguments) => fees::run(&arguments, &mut Output::new(true)),
        Command::Gate(arguments) => gate::run(&arguments, &mut plain),
        Command::Merge(arguments) => results::merge(&arguments, &mut plain),
        Command::Fuzz(arguments) => fuzz::run(&arguments, &mut Output::new(arguments.json)),
        Command::Schema { profile } => schema(profile, &mut plain),
        Command::Doctor => doctor::run(&mut plain),
    }
}

fn check(arguments: &CheckArguments, output: &mut Output) -> Result<u8, Failure> {
    for source in sources::load_all(&arguments.paths.paths).map_err(Failure::sources)? {
        match arguments.expanded {
            true => output.result(source.scenario.to_toml().trim_end())?,
            false => output.say(&format!("{}: ok", source.file))?,
        }
    }
    Ok(0)
}

fn schema(profile: bool, output: &mut Output) -> Result<u8, Failure> {
    let schema = match profile {
        true => crate::workload::schema(),
        false => crate::scenario::schema(),
    };
    let text = serde_json::to_string_pretty(&schema).expect("a value is JSON");
    output.result(&text).map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_exit_code_wins() {
        let of = |codes: &[u8]| most_serious(codes.iter().copied());
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[0, 3, 1, 0]), 1);
        assert_eq!(of(&[1, 4]), 4);
        assert_eq!(of(&[4, 5]), 5);
        assert_eq!(of(&[5, 130, 0]), 130);
        assert_eq!(of(&[2, 3]), 3);
    }
}
