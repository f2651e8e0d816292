//! Owns one run of one scenario in one world: seed -> options -> warm-up, steps, audit -> outcome. The same code for both
//! worlds. Does not own processes, files or terminals (`cli`).

mod answers;
mod bindings;
mod bindings_told;
mod channels;
mod ending;
mod escrow;
mod expectations;
mod fates;
mod invoices;
mod layer0;
mod observe;
pub mod outcome;
pub(crate) mod own_wallets;
mod owners;
mod pay;
mod paying;
mod policy;
pub mod recorder;
mod reorgs;
mod steps;
mod warm_up;
mod words;

use crate::coverage::Coverage;
use crate::faults::{FaultId, Faults};
use crate::invariants;
use crate::model::Terms;
use crate::prng::RootSeed;
use crate::scenario::{Action, Expectation, HOT, Pace, Scenario, Step};
use crate::trace::{SharedTrace, Trace};
use crate::worlds::chain_book::ChainBook;
use crate::worlds::cosigners::EmulatedCosigners;
use crate::worlds::gateway::GatewayConfig;
use crate::worlds::keys::{self, NETWORK, WalletKeys};
use crate::worlds::purse::Purse;
use crate::worlds::service::OpenStore;
use crate::worlds::{Blueprint, NodeDisks, World, WorldError, WorldKind};
use bitcoin::ScriptBuf;
use lockstep_engine::api::EngineConfig;
use lockstep_engine::planted::Bug;
use lockstep_engine::time::{Span, Timestamp};
use lockstep_host::adapters::software_signer::SoftwareSigner;
use outcome::{Outcome, Phase, Stop, Verdict};
use owners::Owners;
use recorder::Recorder;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scenario's file, for messages.
    pub file: String,
    /// Root of all draws.
    pub seed: RootSeed,
    /// Whether the trace's lines are kept for a file.
    pub keep_lines: bool,
    /// A bug planted in the engine, to show that it is caught. Tests only.
    pub planted: Option<Bug>,
    /// Parts that are left out. Benches only.
    pub leave_out: LeaveOut,
}

/// Parts of the harness that a measurement leaves out, to tell what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveOut {
    /// Invariants during the run; the audit stays.
    pub invariants: bool,
    /// The record with its hash chains.
    pub trace: bool,
}

/// Nodes that have an unannounced channel.
fn with_private_channels(scenario: &Scenario) -> BTreeSet<String> {
    let private = scenario
        .channels
        .iter()
        .filter(|channel| !channel.announced);
    let ends = private.flat_map(|channel| [&channel.from, &channel.to]);
    ends.map(ToString::to_string).collect()
}

/// A run that has not begun.
pub struct Run {
    /// Its options.
    pub options: Options,
    scenario: Scenario,
    recorder: Arc<Recorder>,
    trace: SharedTrace,
    faults: Arc<Mutex<Faults>>,
}

impl Run {
    /// Prepares a run.
    pub fn new(scenario: Scenario, options: Options) -> Run {
        let trace = match options.leave_out.trace {
            true => Trace::silent(),
            false => Trace::new(options.keep_lines),
        };
        let trace = SharedTrace::new(trace);
        let checkers = match options.leave_out.invariants {
            true => Vec::new(),
            false => invariants::all_under(Terms::of(&scenario.policy)),
        };
        let faults = Arc::new(Mutex::new(Faults::default()));
        let recorder = Recorder::new(trace.clone(), checkers, faults.clone());
        Run {
            options,
            scenario,
            recorder: Arc::new(recorder),
            trace,
            faults,
        }
    }

    /// What the world is to be built from.
    pub fn blueprint(&self) -> Result<Blueprint, WorldError> {
        let (seed, scenario) = (self.options.seed, &self.scenario);
        let keys = own_wallets(scenario, seed);
        let (token, secret) = (keys::gateway_token(seed), keys::webhook_secret(seed));
        let private = keys.values().filter_map(|keys| keys.private.clone());
        let private: Vec<_> = private.collect();
        let signer = SoftwareSigner::of_wallets(&private, NETWORK)
            .map_err(|error| WorldError::harness("make the signer", error))?
            .with_statement_key(keys::operator_key(seed));
        let gateway = GatewayConfig::new(&token, &secret, scenario.operator.gateway.get() as i64);
        let htlcs_matter =
            |step: &Step| matches!(step.action, Action::Expect(Expectation::Htlc { .. }));
        let mut node_disks = NodeDisks::default();
        for step in &scenario.steps {
            if let Action::Trouble(trouble) = &step.action {
                node_disks.prepare_for(trouble);
            }
        }
        Ok(Blueprint {
            seed,
            nodes: scenario
                .nodes
                .iter()
                .map(|node| node.name.to_string())
                .collect(),
            operator: scenario.operator.node.as_ref().map(ToString::to_string),
            gateway,
            gateway_token: token,
            layer0: self.layer0_plan(),
            engine: self.engine_config(),
            wallets: keys
                .into_iter()
                .map(|(name, keys)| (name, keys.public))
                .collect(),
            signer,
            cosigners: self.cosigners(),
            observer: self.recorder.clone(),
            trace: self.trace.clone(),
            faults: self.faults.clone(),
            watch_htlcs: scenario.steps.iter().any(htlcs_matter),
            node_disks,
            with_private_channels: with_private_channels(scenario),
            planted: self.options.planted,
        })
    }

    /// Everybody who must sign for some wallet, or may recover one.
    fn cosigners(&self) -> EmulatedCosigners {
        let wallets = self.scenario.operator.wallets.iter();
        let people = wallets.filter_map(|wallet| wallet.cosigners.as_ref());
        let names = people.flat_map(|people| {
            let recovery = people.recovery.iter().map(|(by, _)| by);
            people.of.iter().chain(recovery)
        });
        let names = names.map(ToString::to_string);
        EmulatedCosigners::new(self.options.seed, names, self.faults.clone())
    }

    fn engine_config(&self) -> EngineConfig {
        let seed = self.options.seed;
        EngineConfig {
            network: NETWORK,
            descriptors: keys::wallet_keys(seed, HOT, self.scenario.operator.hot().script).public,
            policy: policy::policy(&self.scenario, seed),
            webhook_secrets: vec![keys::webhook_secret(seed)],
            layer0_secrets: vec![keys::layer0_secret(seed)],
            planted: self.options.planted,
        }
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The trace, for writing it to a file afterwards.
    pub fn trace(&self) -> &SharedTrace {
        &self.trace
    }

    /// Runs the scenario in `world` to its end. `open_store` gives the journal for the audit.
    pub async fn in_world(self, world: impl World, open_store: OpenStore) -> Outcome {
        let config = self.engine_config();
        let mut runner = Runner::new(self, world);
        let verdict = runner.go(&open_store, config).await;
        runner.finish(verdict).await
    }

    /// The outcome of a run whose world could not even be built.
    pub fn failed(self, kind: WorldKind, error: WorldError) -> Outcome {
        outcome(
            &self,
            kind,
            Stop::World(error).verdict(None, "building the world"),
            None,
            0,
        )
    }
}

/// The keys of the operator's wallets, by name.
fn own_wallets(scenario: &Scenario, seed: RootSeed) -> BTreeMap<String, WalletKeys> {
    let wallets = scenario.operator.wallets.iter();
    wallets
        .map(|wallet| {
            let name = wallet.name.as_str();
            let keys = keys::keys_of(seed, wallet);
            (name.to_owned(), keys)
        })
        .collect()
}

fn outcome(
    run: &Run,
    world: WorldKind,
    verdict: Verdict,
    phase: Option<Phase>,
    virtual_ms: u64,
) -> Outcome {
    let coverage = run.recorder.coverage();
    let trace = run.trace.lock();
    let subsystem = |(subsystem, hash)| {
        let name = serde_json::to_value(subsystem).expect("a plain name");
        (name.as_str().unwrap_or_default().to_owned(), hash)
    };
    Outcome {
        scenario: run.options.file.clone(),
        world,
        seed: run.options.seed.0,
        verdict,
        virtual_ms,
        wall_ms: 0,
        records: trace.len(),
        trace_hash: trace.hash(),
        subsystem_hashes: trace.hashes().into_iter().map(subsystem).collect(),
        canonical: trace.canonical.lines().to_vec(),
        faults: run.faults.lock().expect("no holder panics").all(),
        checks: run.recorder.checks(),
        waits_ms: BTreeMap::new(),
        phase,
        coverage: coverage.cells().clone(),
        rare: rare(&coverage),
        labels: Vec::new(),
    }
}

/// Rare things that this process has reached: branches of engine and host, and what the harness has seen.
fn rare(coverage: &Coverage) -> BTreeSet<String> {
    let branches = lockstep_engine::rare::reached();
    let mut rare: BTreeSet<String> = branches.iter().map(|rare| rare.name().to_owned()).collect();
    rare.extend(coverage.rare().iter().cloned());
    rare
}

/// Something that the run itself will do at a time.
enum Alarm {
    /// Start a node again.
    Restart(String),
    /// End a fault.
    End(FaultId),
}

/// A run under way.
struct Runner<W: World> {
    run: Run,
    world: W,
    book: ChainBook,
    miner: Purse,
    purses: BTreeMap<String, Purse>,
    /// By which the engine's coins are recognised, with the wallet of each; derived once, as 240 keys take a while.
    engine_scripts: BTreeMap<ScriptBuf, String>,
    owners: Owners,
    alarms: BTreeMap<(Timestamp, u32), Alarm>,
    alarms_set: u32,
    commands: u32,
    /// The invoices that payouts were ordered with, by payout.
    invoices: BTreeMap<String, String>,
    /// Channels that steps have opened and that are not usable yet.
    new_channels: BTreeSet<String>,
    /// Recoveries asked for.
    sweeps: u32,
    fee_floor_sat_per_kwu: u64,
    last_balances: BTreeMap<String, serde_json::Value>,
    /// Faults that last until the run heals.
    until_healed: Vec<FaultId>,
    /// Active faults under which the engine may see another chain than there is.
    hiding: BTreeSet<FaultId>,
    phase: Phase,
    step: Option<(usize, String)>,
}

impl<W: World> Runner<W> {
    fn new(run: Run, world: W) -> Runner<W> {
        let seed = run.options.seed;
        let names = run
            .scenario
            .wallets
            .iter()
            .map(|wallet| wallet.name.to_string());
        let purses: BTreeMap<String, Purse> = names
            .map(|name| (name.clone(), Purse::new(seed, &name)))
            .collect();
        let miner = Purse::new(seed, "the miner");
        let mut owners = Owners::default();
        owners.give(miner.script(), "miner");
        for (name, purse) in &purses {
            owners.give(purse.script(), name.clone());
        }
        let mut engine_scripts = BTreeMap::new();
        for (name, keys) in own_wallets(&run.scenario, seed) {
            for script in keys::wallet_scripts(&keys.public) {
                owners.give(script.clone(), format!("engine/{name}"));
                engine_scripts.insert(script, name.clone());
            }
        }
        Runner {
            run,
            world,
            book: ChainBook::default(),
            miner,
            purses,
            engine_scripts,
            owners,
            alarms: BTreeMap::new(),
            alarms_set: 0,
            commands: 0,
            invoices: BTreeMap::new(),
            sweeps: 0,
            new_channels: BTreeSet::new(),
            fee_floor_sat_per_kwu: 0,
            last_balances: BTreeMap::new(),
            until_healed: Vec::new(),
            hiding: BTreeSet::new(),
            phase: Phase::WarmUp,
            step: None,
        }
    }

    /// All phases.
    async fn go(&mut self, open_store: &OpenStore, config: EngineConfig) -> Verdict {
        self.watch_faults();
        if let Err(stop) = self.warm_up().await {
            return stop.verdict(None, "warm-up");
        }
        self.phase = Phase::Chaos;
        for (step, foretold) in &self.foretold_steps() {
            let heading = step.to_string();
            self.step = Some((step.line, heading.clone()));
            let before = self.commands;
            let taken = self.take(step, &heading).await;
            let right = taken.and_then(|()| self.check_answer(step, *foretold, before));
            if let Err(stop) = right {
                return stop.verdict(Some(step.line), &heading);
            }
        }
        self.step = None;
        match self.end(open_store, config).await {
            Ok(()) => Verdict::Pass,
            Err(stop) => stop.verdict(None, "the end"),
        }
    }

    fn happens_here(&self, only: Option<crate::scenario::World>) -> bool {
        match only {
            None => true,
            Some(crate::scenario::World::Simulated) => self.world.kind() == WorldKind::Simulated,
            Some(crate::scenario::World::Regtest) => self.world.kind() == WorldKind::Regtest,
        }
    }

    fn is_lock_step(&self) -> bool {
        self.run.scenario.pace == Pace::LockStep
    }

    /// Lets time pass to `at`, setting off the run's own alarms on the way.
    async fn pass_until(&mut self, at: Timestamp) -> Result<(), Stop> {
        while let Some((due, _)) = self
            .alarms
            .keys()
            .next()
            .copied()
            .filter(|(due, _)| *due <= at)
        {
            self.world.pass_until(due).await?;
            self.set_off().await?;
        }
        self.world.pass_until(at).await?;
        Ok(())
    }

    /// Lets a little time pass, at most to `limit`, setting off the run's own alarms on the way.
    async fn pass_a_little(&mut self, limit: Timestamp) -> Result<(), Stop> {
        let due = self.alarms.keys().next().map(|(due, _)| *due);
        self.world
            .pass_a_little(due.map_or(limit, |due| due.min(limit)))
            .await?;
        if due.is_some_and(|due| due <= self.world.now()) {
            self.set_off().await?;
        }
        Ok(())
    }

    async fn set_off(&mut self) -> Result<(), Stop> {
        let Some((_, alarm)) = self.alarms.pop_first() else {
            return Ok(());
        };
        match alarm {
            Alarm::Restart(node) => match self.world.restart(&node).await {
                // Another fault may keep its peers away; when all is healed it has to have found them.
                Err(WorldError::Unsettled { .. }) if !self.is_lock_step() => {
                    self.run.recorder.mark_rare("restart-without-peers");
                }
                other => other?,
            },
            Alarm::End(fault) => {
                self.end_fault(fault).await?;
            }
        }
        if self.is_lock_step() {
            self.world.settle().await?;
        }
        Ok(())
    }

    async fn end_fault(&mut self, fault: FaultId) -> Result<(), Stop> {
        self.world.end_trouble(fault).await?;
        self.hiding.remove(&fault);
        self.record_end_of(fault);
        Ok(())
    }

    fn set_alarm(&mut self, after: Span, alarm: Alarm) {
        self.alarms_set += 1;
        self.alarms
            .insert((self.world.now().plus(after), self.alarms_set), alarm);
    }

    /// The first violation, as a reason to stop.
    fn check_recorder(&self) -> Result<(), Stop> {
        self.run
            .recorder
            .violation()
            .map_or(Ok(()), |violation| Err(Stop::Violation(violation)))
    }

    /// From now on the count that the engine's switch keeps is brought up to date before each input.
    fn watch_faults(&self) {
        let (faults, switch) = (self.run.faults.clone(), self.world.switch().clone());
        self.run.recorder.count_faults_by(Arc::new(move || {
            let mut faults = faults.lock().expect("no holder panics");
            for id in switch.fired() {
                faults.set_effects(id, 1);
            }
        }));
    }

    async fn mine(&mut self, blocks: u32) -> Result<(), Stop> {
        self.world.mine(blocks, self.miner.script()).await?;
        self.world.settle().await?;
        Ok(())
    }
}
