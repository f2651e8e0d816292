//! Owns the words of the command line: commands, options, their help. Does not own what they do.

use super::failure_args::{
    BISECT_EXAMPLES, BisectArguments, REPLAY_EXAMPLES, ReplayArguments, SHRINK_EXAMPLES,
    ShrinkArguments,
};
use super::fuzz::{FUZZ_EXAMPLES, FuzzArguments};
use super::gate::GateArguments;
use super::results::{MergeArguments, ResultArguments, Shard};
use crate::worlds::WorldKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ops::Range;
use std::path::PathBuf;

/// Runs payment scenarios in a simulated world and on real regtest nodes.
#[derive(Debug, Parser)]
#[command(name = "lockstep", bin_name = "lockstep", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run scenarios
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Run scenarios and write their canonical traces as the expected ones
    #[command(after_help = BLESS_EXAMPLES)]
    Bless(PathArguments),
    /// Run the plans of failure bundles again
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
    /// Make the plan of a failure bundle smaller while it fails in the same way
    #[command(after_help = SHRINK_EXAMPLES)]
    Shrink(ShrinkArguments),
    /// Find the first record in which two runs of one seed differ
    #[command(after_help = BISECT_EXAMPLES)]
    BisectDeterminism(BisectArguments),
    /// Check scenario files without running them
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Draw plans from seeds and run them, to find what breaks
    #[command(after_help = FUZZ_EXAMPLES)]
    Fuzz(FuzzArguments),
    /// Print the JSON schema of scenario files
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// The schema of fuzz profiles instead
        #[arg(long)]
        profile: bool,
    },
    /// Make HTML pages of runs, traces or failure bundles
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArguments),
    /// Tell the story of a payment in the terminal
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArguments),
    /// Run a scenario in the simulated world and print its wallets' labels (BIP 329)
    #[command(after_help = LABELS_EXAMPLES)]
    Labels(LabelsArguments),
    /// Say who bears the on-chain fees of a run
    #[command(after_help = FEES_EXAMPLES)]
    Fees(FeesArguments),
    /// Check everything that must hold before a change lands
    #[command(after_help = GATE_EXAMPLES)]
    Gate(GateArguments),
    /// Join the results of several commands or machines
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(MergeArguments),
    /// Say what is missing on this machine, each with its remedy
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor,
}

#[derive(Debug, Args)]
pub(super) struct PathArguments {
    /// Scenario files, or folders that are searched for *.toml
    #[arg(required = true, value_name = "PATHS")]
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) paths: PathArguments,
    /// Print what each file stands for: its topology as nodes and channels, its defaults left out
    #[arg(long)]
    pub(super) expanded: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// Scenario files (they are run), traces that `lockstep run --trace` wrote, or folders of failure bundles
    #[arg(required = true, value_name = "PATHS")]
    pub(super) paths: Vec<PathBuf>,
    /// The folder for the pages and their index
    #[arg(long, value_name = "DIR", default_value = "lockstep-report")]
    pub(super) out: PathBuf,
    /// Where to run scenarios [default: simulated if the scenario names it, else regtest]
    #[arg(long, value_enum)]
    pub(super) world: Option<WorldChoice>,
    /// Root of all random draws of scenarios [default: the scenario's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(super) seed: Option<u64>,
    /// Do not show the index in a browser, not even at a terminal with a screen
    #[arg(long)]
    pub(super) open_nothing: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// A trace that `lockstep run --trace` wrote, or the folder of a failure bundle
    #[arg(value_name = "TRACE")]
    pub(super) trace: PathBuf,
    /// This payment only [default: each]
    #[arg(long, value_name = "ID")]
    pub(super) payment: Option<String>,
    /// Print the stories as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct LabelsArguments {
    /// A scenario file
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: PathBuf,
    /// Root of all random draws [default: the scenario's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(super) seed: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct FeesArguments {
    /// A trace that `lockstep run --trace` wrote, or the folder of a failure bundle
    #[arg(value_name = "TRACE")]
    pub(super) trace: PathBuf,
    /// Print the report as JSON
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,
    /// Print the report as comma-separated values
    #[arg(long)]
    pub(super) csv: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) paths: PathArguments,
    /// Where to run [default: simulated if the scenario names it, else regtest]
    #[arg(long, value_enum)]
    pub(super) world: Option<WorldChoice>,
    /// Root of all random draws [default: the scenario's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(super) seed: Option<u64>,
    /// Many seeds: A..B leaves B out, A..=B has it
    #[arg(long, value_name = "A..B", value_parser = seed_range, conflicts_with = "seed")]
    pub(super) seeds: Option<Range<u64>>,
    /// Write the whole trace as JSON lines (one scenario in one world only)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "check_determinism"])]
    pub(super) trace: Option<PathBuf>,
    /// Keep each failing run as a failure bundle in a folder below this one
    #[arg(long, value_name = "DIR", conflicts_with = "check_determinism")]
    pub(super) bundle: Option<PathBuf>,
    /// Print the outcomes as JSON, and nothing else, on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Run each seed in two fresh processes and compare their traces
    #[arg(long)]
    pub(super) check_determinism: bool,
    /// Write the canonical trace beside the scenario as the expected one
    #[arg(long, conflicts_with_all = ["seed", "seeds", "check_determinism"])]
    pub(super) bless: bool,
    /// Processes at a time (regtest runs are always one at a time) [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Do one part of the runs only, such as 1/4
    #[arg(long, value_name = "K/N", value_parser = Shard::parse, conflicts_with_all = ["bless", "trace"])]
    pub(super) shard: Option<Shard>,
    #[command(flatten)]
    pub(super) written: ResultArguments,
}

impl RunArguments {
    /// What `lockstep bless PATHS` means.
    pub(super) fn blessing(paths: PathArguments) -> RunArguments {
        RunArguments {
            paths,
            world: None,
            seed: None,
            seeds: None,
            trace: None,
            bundle: None,
            json: false,
            check_determinism: false,
            bless: true,
            jobs: None,
            shard: None,
            written: ResultArguments::default(),
        }
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WorldChoice {
    /// In one process, in virtual time
    Simulated,
    /// On real bitcoind, electrs and Lightning nodes
    Regtest,
    /// In both, and compare the canonical traces
    Both,
}

impl WorldChoice {
    /// The worlds, simulated first.
    pub(super) fn worlds(self) -> &'static [WorldKind] {
        match self {
            WorldChoice::Simulated => &[WorldKind::Simulated],
            WorldChoice::Regtest => &[WorldKind::Regtest],
            WorldChoice::Both => &[WorldKind::Simulated, WorldKind::Regtest],
        }
    }
}

/// Outcomes of all seeds are kept in memory until the end.
const MAX_SEEDS: u64 = 100_000;

pub(super) fn seed_range(text: &str) -> Result<Range<u64>, String> {
    const SHAPE: &str = "a range of seeds is written as 0..100, or 1..=100 with its last one";
    let (low, high) = text.split_once("..").ok_or(SHAPE)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| SHAPE.to_owned());
    let range = match high.strip_prefix('=') {
        Some(last) => number(low)?..number(last)?.checked_add(1).ok_or(SHAPE)?,
        None => number(low)?..number(high)?,
    };
    if range.end.saturating_sub(range.start) > MAX_SEEDS {
        return Err(format!(
            "{text} has more than {MAX_SEEDS} seeds in it; ask for fewer at a time"
        ));
    }
    match range.is_empty() {
        true => Err(format!("{text} has no seed in it; {SHAPE}")),
        false => Ok(range),
    }
}

const EXIT_CODES: &str = "\
Exit codes, of several the most serious (130, 5, 4, 1, 3, 2):
    0  pass
    1  an expectation or a safety invariant was violated
    2  bad usage or scenario
    3  something never came about
    4  two runs of one seed differ
    5  the harness failed
  130  interrupted

Example:
  lockstep run scenarios/quickstart.toml";

const RUN_EXAMPLES: &str = "\
Without --seed the canonical trace is compared with NAME.trace beside NAME.toml, if it is there.

Examples:
  lockstep run scenarios/quickstart.toml
  lockstep run scenarios --world both
  lockstep run scenarios/quickstart.toml --seed 7 --trace /tmp/quickstart.jsonl
  lockstep run scenarios --check-determinism --seeds 0..100";

const BLESS_EXAMPLES: &str = "\
Only scenarios that pass are written. Review the difference before you commit it.

Examples:
  lockstep bless scenarios/quickstart.toml
  lockstep bless scenarios";

const CHECK_EXAMPLES: &str = "\
Examples:
  lockstep check scenarios
  lockstep check my-scenario.toml
  lockstep check --expanded scenarios/lightning/small-world.toml";

const REPORT_EXAMPLES: &str = "\
Exits with 0 if the pages were made, however the runs ended.

Examples:
  lockstep report scenarios/quickstart.toml
  lockstep report /tmp/quickstart.jsonl --out /tmp/pages --open-nothing";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  lockstep explain /tmp/quickstart.jsonl
  lockstep explain /tmp/quickstart.jsonl --payment order-1";

const LABELS_EXAMPLES: &str = "\
Example:
  lockstep labels scenarios/onchain/recover-wallets.toml > labels.jsonl";
const FEES_EXAMPLES: &str = "\
Examples:
  lockstep fees /tmp/day.jsonl
  lockstep fees /tmp/day.jsonl --csv > fees.csv
  lockstep fees failures/seed-17 --json";

const SCHEMA_EXAMPLES: &str = "\
Example:
  lockstep schema > scenario.schema.json";

const GATE_EXAMPLES: &str = "\
Sections: old failures, scenarios, determinism, fuzz, and with --baseline measurements. Each is printed as the command
that repeats it.

Examples:
  lockstep gate
  lockstep gate --world both --fuzz-seeds 0..1000 --summary gate.md --junit gate.xml
  lockstep gate --shard 2/4 --results part-2.json
  cargo bench --package lockstep-benches && lockstep gate --baseline fixtures/baseline.json";

const MERGE_EXAMPLES: &str = "\
Example:
  lockstep merge part-*.json --summary all.md --junit all.xml";

const DOCTOR_EXAMPLES: &str = "\
Exits with 0 if nothing is missing, else with 1.

Example:
  lockstep doctor";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn ranges_of_seeds() {
        assert_eq!(seed_range("0..100"), Ok(0..100));
        assert_eq!(seed_range("1..=3"), Ok(1..4));
        for bad in [
            "",
            "5",
            "3..3",
            "9..2",
            "a..b",
            "0..=18446744073709551615",
            "-1..2",
        ] {
            assert!(seed_range(bad).is_err(), "{bad}");
        }
    }
}
