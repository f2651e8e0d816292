//! Owns the options of `lockstep fuzz`. Does not own what they do.

use crate::cli::results::{ResultArguments, Shard};
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct FuzzArguments {
    /// Seeds: A..B leaves B out, A..=B has it [default: 0..100]
    #[arg(long, value_name = "A..B", value_parser = crate::cli::args::seed_range)]
    pub(super) seeds: Option<Range<u64>>,
    /// Go on for so many minutes, from the first seed on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) minutes: Option<u32>,
    /// Processes at a time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Take the set-up and the traffic of these scenarios, in turn; `*` stands for anything in a path
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub(super) scenario: Vec<String>,
    /// What plans are drawn from: default, calm, chain, lightning, fiat, paying, nightly, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "default")]
    pub(super) profile: String,
    /// Print the result as JSON, and nothing else, on standard output
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Where failures go, each in a folder of its own
    #[arg(long, value_name = "DIR", default_value = "reports/fuzz")]
    pub(super) out: PathBuf,
    /// Every Nth seed only, beginning with the Kth
    #[arg(long, value_name = "K/N", value_parser = Shard::parse)]
    pub(super) shard: Option<Shard>,
    /// Begin no more seeds after so many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) stop_after: Option<u32>,
    /// Write the plan of every seed, not only of failing ones
    #[arg(long)]
    pub(super) keep_plans: bool,
    #[command(flatten)]
    pub(super) written: ResultArguments,
}

pub(in crate::cli) const FUZZ_EXAMPLES: &str = "\
A plan is drawn from each seed: who is there, what is paid, what breaks. `lockstep run` repeats one from its file.
A run in which faults were planned and none had an effect is `inert`: it is counted apart and does not pass. Inert runs
do not fail the command unless every run is inert (exit code 3).

Examples:
  lockstep fuzz
  lockstep fuzz --minutes 10 --profile chain
  lockstep fuzz --seeds 0..3000 --shard 1/4 --json
  lockstep fuzz --scenario 'scenarios/*' --seeds 0..200";
