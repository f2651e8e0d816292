//! Owns the child's side of a run: one process, one run. It reads its job from its second argument, runs it, and tells
//! the outcome on standard output. Does not own starting and watching children (`processes`).
//!
//! The child ends when its standard input ends: so it goes when its parent goes, however that ended, and the regtest
//! world still takes its servers down.

use super::{interrupt, regtest, sources};
use crate::prng::RootSeed;
use crate::run::outcome::{Outcome, Verdict};
use crate::run::{LeaveOut, Options, Run};
use crate::scenario::Scenario;
use crate::trace::{SharedTrace, Subsystem};
use crate::worlds::WorldKind;
use crate::worlds::service::OpenStore;
use crate::worlds::simulated::SimulatedWorld;
use crate::worlds::simulated::journal_disk::JournalDisk;
use lockstep_engine::planted::Bug;
use lockstep_host::ports::Store;
use lockstep_host::store::JournalStore;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The first argument of a child. Nobody types it.
pub(super) const HIDDEN: &str = "__run";

/// Begins the line with the outcome, in whatever else the child's parts may print.
pub(super) const MARK: &str = "lockstep-outcome: ";

/// Deep futures of unoptimised builds need more than the usual 2 MiB.
const STACK_BYTES: usize = 64 << 20;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Scenario file.
    pub file: String,
    /// World.
    pub world: WorldKind,
    /// Root seed.
    pub seed: u64,
    /// The scenario's text, instead of what the file holds; `file` is then its name in messages.
    #[serde(default)]
    pub plan: Option<String>,
    /// Where to write the whole trace.
    pub trace: Option<PathBuf>,
    /// A bug planted in the engine, by its name. Tests only: no option of the command line sets it.
    pub planted: Option<String>,
    /// Records something that differs from process to process, to show that it is caught. Tests only.
    pub salt: bool,
    /// Parts of the harness that are left out. Benches only.
    #[serde(default)]
    pub leave_out: LeaveOut,
}

impl Job {
    /// A plain run, without a trace file.
    pub fn new(file: impl Into<String>, world: WorldKind, seed: u64) -> Job {
        Job {
            file: file.into(),
            world,
            seed,
            plan: None,
            trace: None,
            planted: None,
            salt: false,
            leave_out: LeaveOut::default(),
        }
    }

    /// Its outcome when it gave none.
    pub(super) fn without_run(&self, verdict: Verdict) -> Outcome {
        Outcome {
            scenario: self.file.clone(),
            world: self.world,
            seed: self.seed,
            verdict,
            virtual_ms: 0,
            wall_ms: 0,
            records: 0,
            trace_hash: String::new(),
            subsystem_hashes: BTreeMap::new(),
            canonical: Vec::new(),
            faults: Vec::new(),
            checks: Default::default(),
            waits_ms: BTreeMap::new(),
            phase: None,
            coverage: BTreeSet::new(),
            rare: BTreeSet::new(),
            labels: Vec::new(),
        }
    }
}

fn bug(name: &str) -> Result<Bug, String> {
    Bug::from_name(name).ok_or_else(|| format!("there is no planted bug {name}"))
}

/// Runs the job of this process, if it is a child, and ends the process; returns if it is none.
pub(super) fn entry() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(HIDDEN) {
        return;
    }
    let job = arguments
        .next()
        .and_then(|text| serde_json::from_str::<Job>(&text).ok());
    let Some(job) = job else {
        eprintln!("error: `{HIDDEN}` is how lockstep starts itself; use `lockstep run`");
        std::process::exit(2);
    };
    std::process::exit(run(job));
}

fn run(job: Job) -> i32 {
    end_with_parent(job.world);
    let outcome = match prepare(&job) {
        Ok(run) => start(&job, run),
        Err(what) => job.without_run(Verdict::Harness { what }),
    };
    let text = serde_json::to_string(&outcome).expect("an outcome has only string keys");
    let told =
        writeln!(std::io::stdout(), "\n{MARK}{text}").and_then(|()| std::io::stdout().flush());
    match told {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("failed to tell the outcome: {error}");
            5
        }
    }
}

/// The simulated world has nothing outside of this process; the regtest world takes its servers down first.
#[expect(
    clippy::disallowed_methods,
    reason = "outside of the simulation: it waits for the parent's end"
)]
fn end_with_parent(world: WorldKind) {
    if world == WorldKind::Regtest
        && let Err(reason) = interrupt::watch()
    {
        eprintln!("{reason}");
    }
    std::thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin()
            .read(&mut byte)
            .is_ok_and(|count| count > 0)
        {}
        match world {
            WorldKind::Simulated => std::process::exit(interrupt::EXIT_CODE),
            WorldKind::Regtest => interrupt::flag().store(true, Ordering::SeqCst),
        }
    });
}

/// What a run needs, read before the simulation begins.
pub(super) struct Prepared {
    pub(super) scenario: Scenario,
    pub(super) options: Options,
    pub(super) salt: bool,
}

fn prepare(job: &Job) -> Result<Prepared, String> {
    let scenario = match &job.plan {
        Some(plan) => Scenario::parse(&job.file, plan).map_err(|error| error.to_string())?,
        None => {
            sources::load(&job.file)
                .map_err(|error| error.to_string())?
                .scenario
        }
    };
    let options = Options {
        file: job.file.clone(),
        seed: RootSeed(job.seed),
        keep_lines: job.trace.is_some(),
        planted: job.planted.as_deref().map(bug).transpose()?,
        leave_out: job.leave_out,
    };
    Ok(Prepared {
        scenario,
        options,
        salt: job.salt,
    })
}

fn start(job: &Job, prepared: Prepared) -> Outcome {
    let ran = match job.world {
        WorldKind::Simulated => simulate(prepared),
        WorldKind::Regtest => regtest::run(prepared),
    };
    let (mut outcome, trace) = match ran {
        Ok(ran) => ran,
        Err(what) => return job.without_run(Verdict::Harness { what }),
    };
    if let Some(path) = &job.trace
        && let Err(error) = write_lines(&trace, path)
    {
        let remedy = "free some space, or name another place";
        outcome.verdict = Verdict::Harness {
            what: format!("failed to write the trace: {error}; {remedy}"),
        };
    }
    outcome
}

fn write_lines(trace: &SharedTrace, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for line in trace.lock().lines() {
        writeln!(file, "{line}")?;
    }
    file.flush()
}

/// On a thread of its own, because the seeds of hash maps are drawn once per thread, at the first map: that must be
/// inside the simulation.
#[expect(
    clippy::disallowed_methods,
    reason = "the one thread that the simulation runs on"
)]
fn simulate(prepared: Prepared) -> Result<(Outcome, SharedTrace), String> {
    let seed = prepared.options.seed;
    let body = move || crate::scheduler::simulate(seed, move || simulated(prepared));
    let thread = std::thread::Builder::new()
        .name("simulation".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(body);
    let thread =
        thread.map_err(|error| format!("failed to start the simulation's thread: {error}"))?;
    match thread.join() {
        Ok(ran) => ran.map_err(|error| error.to_string()),
        // The panic's text is on standard error, where the parent looks for it when there is no outcome.
        Err(_) => std::process::exit(101),
    }
}

pub(super) fn begin(prepared: Prepared) -> Run {
    let run = Run::new(prepared.scenario, prepared.options);
    if prepared.salt {
        let salt = serde_json::json!({ "salt": std::process::id() });
        run.trace().lock().record(Subsystem::Stimulus, "test", salt);
    }
    run
}

async fn simulated(prepared: Prepared) -> (Outcome, SharedTrace) {
    let run = begin(prepared);
    let trace = run.trace().clone();
    let disk = JournalDisk::default();
    let world = run
        .blueprint()
        .and_then(|blueprint| SimulatedWorld::build(blueprint, disk.clone()));
    let outcome = match world {
        Ok(world) => run.in_world(world, audit(disk)).await,
        Err(error) => run.failed(WorldKind::Simulated, error),
    };
    (outcome, trace)
}

/// The audit reads a copy: the engine still has the disk.
fn audit(disk: JournalDisk) -> OpenStore {
    Arc::new(move || {
        JournalStore::open(disk.copy().open()).map(|store| Box::new(store) as Box<dyn Store>)
    })
}
