//! Claims: how many seeds of the default profile one core runs in a minute, and what the record and the invariants cost. Each
//! seed in a fresh process, as `lockstep fuzz` does it, one at a time. Does not own plans nor runs.
//!
//! The same seeds run whole, without invariants, without the record, and with the whole trace written to a file, in turn within
//! each sample, so that the ratios compare what ran at the same time.

use criterion::{Criterion, SamplingMode};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::{self, Job};
use lockstep::run::LeaveOut;
use lockstep::run::outcome::Verdict;
use lockstep::workload::{self, Profile};
use lockstep::worlds::WorldKind;
use lockstep_benches::samples::Samples;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PROFILE: &str = "default";

/// Seeds of one pass: as many as give a mix of plans and a pass of some seconds.
const SEEDS: std::ops::Range<u64> = 0..8;

const WHOLE: &str = "whole";

const WITHOUT_INVARIANTS: &str = "without invariants";

const WITHOUT_RECORD: &str = "without the record";

const WITH_FILE: &str = "with a trace file";

fn main() {
    cli::child_entry();
    std::env::set_current_dir(lockstep_benches::root()).expect("the workspace can be entered");
    let folder = std::env::temp_dir().join(format!("lockstep-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for traces");
    let forms = forms(folder.join("trace.jsonl"));
    let mut criterion = Criterion::default().configure_from_args();
    let mut wall = Samples::default();
    let mut group = criterion.benchmark_group("fuzz_seeds");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100));
    for (form, jobs) in &forms {
        group.bench_function(*form, |bencher| {
            bencher.iter_custom(|passes| (0..passes).map(|_| pass(form, jobs, &mut wall)).sum());
        });
    }
    group.finish();
    criterion.final_summary();
    // In turn, for the ratios: what changes on the machine changes for all of them.
    for _ in 0..5 {
        for (form, jobs) in &forms {
            pass(form, jobs, &mut wall);
        }
    }
    print_table(&wall);
    std::fs::remove_dir_all(&folder).expect("the folder of traces can be removed");
}

fn forms(trace: PathBuf) -> Vec<(&'static str, Vec<Job>)> {
    let profile = Profile::built_in(PROFILE).expect("the default profile is built in");
    let profile = Profile::parse(PROFILE, profile).expect("the default profile is legal");
    let jobs: Vec<Job> = SEEDS
        .map(|seed| Job {
            plan: Some(workload::plan(PROFILE, &profile, seed).expect("a legal plan")),
            ..Job::new(
                workload::file_name(PROFILE, seed),
                WorldKind::Simulated,
                seed,
            )
        })
        .collect();
    let changed = |change: &dyn Fn(Job) -> Job| jobs.iter().cloned().map(change).collect();
    let left_out = |leave_out: LeaveOut| changed(&|job| Job { leave_out, ..job });
    vec![
        (WHOLE, jobs.clone()),
        (
            WITHOUT_INVARIANTS,
            left_out(LeaveOut {
                invariants: true,
                trace: false,
            }),
        ),
        (
            WITHOUT_RECORD,
            left_out(LeaveOut {
                invariants: false,
                trace: true,
            }),
        ),
        (
            WITH_FILE,
            changed(&|job| Job {
                trace: Some(trace.clone()),
                ..job
            }),
        ),
    ]
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn pass(form: &str, jobs: &[Job], wall: &mut Samples) -> Duration {
    let start = Instant::now();
    for job in jobs {
        let outcome = run_one(job, &Setting::default());
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.scenario);
    }
    let taken = start.elapsed();
    wall.add(form, taken);
    taken
}

fn print_table(wall: &Samples) {
    println!(
        "\n| form | s per seed | seeds per minute on one core | ratio to the whole | passes |"
    );
    println!("|---|---|---|---|---|");
    let seeds = SEEDS.count() as f64;
    let Some(whole) = wall.median(WHOLE).map(|taken| taken.as_secs_f64()) else {
        return;
    };
    for form in [WHOLE, WITHOUT_INVARIANTS, WITHOUT_RECORD, WITH_FILE] {
        let Some(taken) = wall.median(form).map(|taken| taken.as_secs_f64()) else {
            continue;
        };
        println!(
            "| {form} | {:.2} | {:.0} | {:.2} | {} |",
            taken / seeds,
            60.0 * seeds / taken,
            taken / whole,
            wall.count(form)
        );
    }
}
