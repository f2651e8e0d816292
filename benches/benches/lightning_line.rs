//! Claim: the simulation costs at most three tenths of the speed of the Lightning nodes themselves. Payments per second
//! over a line of four nodes, simulated and pumped by hand, one at a time and twenty in flight; the table at the end has
//! the ratios. Does not own the workload (`lockstep_benches::line`).

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use lockstep_benches::child;
use lockstep_benches::line::{self, Form, Load};
use lockstep_benches::samples::Samples;
use std::time::Duration;

/// In flight, and payments in one iteration: about a second of work.
const SETTINGS: [(usize, usize); 2] = [(1, 100), (20, 200)];

fn main() {
    child::entry(line::work);
    let mut criterion = Criterion::default().configure_from_args();
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    for (in_flight, payments) in SETTINGS {
        let mut group = criterion.benchmark_group("lightning_line");
        group
            .sample_size(10)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(100));
        group.throughput(Throughput::Elements(payments as u64));
        for form in Form::ALL {
            let load = Load {
                form,
                in_flight,
                payments,
                nodes: 4,
            };
            group.bench_function(
                BenchmarkId::new(form.to_string(), format!("{in_flight} in flight")),
                |bencher| {
                    bencher.iter_custom(|iterations| {
                        (0..iterations)
                            .map(|_| take(&load, &mut wall, &mut cpu))
                            .sum()
                    });
                },
            );
        }
        group.finish();
    }
    criterion.final_summary();
    print_table(&wall, &cpu);
}

fn name(form: Form, in_flight: usize) -> String {
    format!("{form}/{in_flight}")
}

fn take(load: &Load, wall: &mut Samples, cpu: &mut Samples) -> Duration {
    let measured = load.measure();
    wall.add(name(load.form, load.in_flight), measured.wall);
    if let Some(time) = measured.cpu {
        cpu.add(name(load.form, load.in_flight), time);
    }
    measured.wall
}

/// Medians of this run; a ratio is to `bare` in the same setting.
fn print_table(wall: &Samples, cpu: &Samples) {
    println!(
        "\n| in flight | form | payments/s | ratio | payments per CPU second | ratio | runs |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (in_flight, payments) in SETTINGS {
        for form in Form::ALL {
            let rate = |samples: &Samples, form| {
                Some(payments as f64 / samples.median(&name(form, in_flight))?.as_secs_f64())
            };
            let cell = |number: Option<f64>, digits: usize| {
                number.map_or("-".to_owned(), |n| format!("{n:.digits$}"))
            };
            let ratio = |samples: &Samples| Some(rate(samples, form)? / rate(samples, Form::Bare)?);
            println!(
                "| {in_flight} | {form} | {} | {} | {} | {} | {} |",
                cell(rate(wall, form), 1),
                cell(ratio(wall), 2),
                cell(rate(cpu, form), 1),
                cell(ratio(cpu), 2),
                wall.count(&name(form, in_flight)),
            );
        }
    }
}
