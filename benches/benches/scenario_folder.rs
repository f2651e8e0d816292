//! Claim: the whole scenario folder runs many times faster than its virtual time. Each scenario in a fresh process, as
//! `lockstep run` does it, warm-up included in the real time and not in the virtual one. Does not own running scenarios.

use criterion::{Criterion, SamplingMode};
use lockstep::cli::processes::{Setting, run_one};
use lockstep::cli::sources::{self, Source};
use lockstep::cli::{self, Job};
use lockstep::run::outcome::{Outcome, Verdict};
use lockstep::scenario::World;
use lockstep::worlds::WorldKind;
use lockstep_benches::samples::Samples;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The whole folder's name among the samples.
const WHOLE: &str = "the whole folder";

fn main() {
    cli::child_entry();
    std::env::set_current_dir(lockstep_benches::root()).expect("the workspace can be entered");
    let scenarios = simulated();
    let mut criterion = Criterion::default().configure_from_args();
    let (mut wall, mut virtual_ms) = (Samples::default(), BTreeMap::new());
    let mut group = criterion.benchmark_group("scenario_folder");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100));
    for source in &scenarios {
        group.bench_function(&source.file, |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| run(source, &mut wall, &mut virtual_ms))
                    .sum()
            });
        });
    }
    group.bench_function(WHOLE, |bencher| {
        let mut pass = || -> Duration {
            scenarios
                .iter()
                .map(|source| run(source, &mut wall, &mut virtual_ms))
                .sum()
        };
        bencher.iter_custom(|iterations| (0..iterations).map(|_| pass()).sum());
    });
    group.finish();
    criterion.final_summary();
    print_table(&scenarios, &wall, &virtual_ms);
}

/// Every scenario that names the simulated world.
fn simulated() -> Vec<Source> {
    let files =
        sources::find(&[PathBuf::from("scenarios")]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let load = |file: String| sources::load(&file).unwrap_or_else(|error| panic!("{error}"));
    files
        .into_iter()
        .map(load)
        .filter(|source| source.scenario.worlds.contains(&World::Simulated))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn run(source: &Source, wall: &mut Samples, virtual_ms: &mut BTreeMap<String, u64>) -> Duration {
    let job = Job::new(&source.file, WorldKind::Simulated, source.scenario.seed);
    let start = Instant::now();
    let Outcome {
        verdict,
        virtual_ms: passed,
        ..
    } = run_one(&job, &Setting::default());
    let taken = start.elapsed();
    assert_eq!(verdict, Verdict::Pass, "{}", source.file);
    wall.add(&source.file, taken);
    virtual_ms.insert(source.file.clone(), passed);
    taken
}

fn print_table(scenarios: &[Source], wall: &Samples, virtual_ms: &BTreeMap<String, u64>) {
    println!("\n| scenario | virtual time, s | wall time, s | virtual/wall | runs |");
    println!("|---|---|---|---|---|");
    let (mut all_virtual, mut all_wall) = (0.0, 0.0);
    for Source { file, .. } in scenarios {
        let (Some(passed), Some(taken)) = (virtual_ms.get(file), wall.median(file)) else {
            continue;
        };
        let (passed, taken) = (*passed as f64 / 1_000.0, taken.as_secs_f64());
        all_virtual += passed;
        all_wall += taken;
        println!(
            "| {file} | {passed:.1} | {taken:.2} | {:.0} | {} |",
            passed / taken,
            wall.count(file)
        );
    }
    if all_wall > 0.0 {
        println!(
            "| {WHOLE} | {all_virtual:.1} | {all_wall:.2} | {:.0} | |",
            all_virtual / all_wall
        );
    }
}
