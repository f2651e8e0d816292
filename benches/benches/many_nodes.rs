//! Claim: idle nodes cost little. Payments per second over the same three hops in networks of 4, 50 and 200 nodes,
//! simulated and pumped by hand, with what their set-up takes and their memory. One run each: the set-up of two hundred
//! nodes takes a minute. Does not own the workload (`lockstep_benches::line`).

use lockstep_benches::child::{self, Measured};
use lockstep_benches::line::{self, Form, Load};
use std::time::Duration;

const NODES: [usize; 3] = [4, 50, 200];

const IN_FLIGHT: usize = 20;

const PAYMENTS: usize = 200;

fn main() {
    child::entry(line::work);
    // `cargo bench` adds this; `cargo test --benches` does not, and has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!(
        "| nodes | channels | form | set-up, CPU s | memory, MB | payments/s | ratio | payments per CPU second | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for nodes in NODES {
        let measure = |form| {
            Load {
                form,
                in_flight: IN_FLIGHT,
                payments: PAYMENTS,
                nodes,
            }
            .measure()
        };
        let bare = measure(Form::Bare);
        row(nodes, Form::Bare, &bare, &bare);
        row(nodes, Form::Simulated, &measure(Form::Simulated), &bare);
    }
}

fn row(nodes: usize, form: Form, measured: &Measured, bare: &Measured) {
    let rate = |time: Duration| PAYMENTS as f64 / time.as_secs_f64();
    let cell = |number: Option<f64>, digits: usize| {
        number.map_or("-".to_owned(), |n| format!("{n:.digits$}"))
    };
    let cpu = measured.cpu.map(rate);
    let cpu_ratio = cpu.zip(bare.cpu.map(rate)).map(|(ours, bare)| ours / bare);
    println!(
        "| {nodes} | {} | {form} | {} | {} | {:.1} | {:.2} | {} | {} |",
        line::channels(nodes),
        cell(measured.set_up.map(|time| time.as_secs_f64()), 1),
        cell(measured.resident_kb.map(|kb| kb as f64 / 1_000.0), 0),
        rate(measured.wall),
        rate(measured.wall) / rate(bare.wall),
        cell(cpu, 1),
        cell(cpu_ratio, 2),
    );
}
