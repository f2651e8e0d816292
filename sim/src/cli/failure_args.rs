//! Owns the words of the commands about failures: replay, shrink, bisect-determinism. Does not own what they do.

use super::results::{ResultArguments, Shard};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Folders of failure bundles; what lies beside them is passed over
    #[arg(required = true, value_name = "BUNDLE")]
    pub(super) bundles: Vec<PathBuf>,
    /// Write the whole trace as JSON lines (one bundle only)
    #[arg(long, value_name = "FILE")]
    pub(super) trace: Option<PathBuf>,
    /// Print the findings as JSON, and nothing else, on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Processes at a time (regtest runs are always one at a time) [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Do one part of the runs only, such as 1/4
    #[arg(long, value_name = "K/N", value_parser = Shard::parse, conflicts_with = "trace")]
    pub(super) shard: Option<Shard>,
    #[command(flatten)]
    pub(super) written: ResultArguments,
}

#[derive(Debug, Args)]
pub(super) struct ShrinkArguments {
    /// The folder of a failure bundle
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
    /// Write a scenario into this folder, instead of shrunk.toml into the bundle
    #[arg(long, value_name = "DIR")]
    pub(super) into: Option<PathBuf>,
    /// Processes at a time; the result does not depend on it [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Stop after so long, with the smallest plan found so far
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) budget: u64,
}

#[derive(Debug, Args)]
pub(super) struct BisectArguments {
    /// A scenario file, or the folder of a failure bundle
    #[arg(value_name = "SCENARIO|BUNDLE")]
    pub(super) path: PathBuf,
    /// Root of all random draws [default: the scenario's or the bundle's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..u64::MAX))]
    pub(super) seed: Option<u64>,
}

pub(super) const REPLAY_EXAMPLES: &str = "\
Exits with 0 if no bundle fails any more, else as `lockstep run`.

Examples:
  lockstep replay failures/plan-simulated-seed-7
  lockstep replay fixtures/failures/*";

pub(super) const SHRINK_EXAMPLES: &str = "\
Examples:
  lockstep shrink failures/plan-simulated-seed-7
  lockstep shrink failures/plan-simulated-seed-7 --into scenarios/regressions --budget 120";

pub(super) const BISECT_EXAMPLES: &str = "\
Exits with 4 if two runs of the seed differ, else with 0.

Example:
  lockstep bisect-determinism scenarios/quickstart.toml --seed 7";
