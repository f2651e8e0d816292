//! Owns the engine at work in a world: its process, the supervisor that starts it again, what keeps it from running
//! or from answering, and the switch that kills it at a chosen point of a chosen input. The same code in both worlds. Does not
//! own ports (each world has its own), how a world kills a process, nor what the engine is asked (`run`).
//!
//! Fault model: a process ends by itself (its store failed), at an armed point, or because the world killed it at some
//! await. The supervisor starts it again at once, or when the last fault that keeps it down is over. A start that is refused
//! for the store's or the journal's sake is tried again; one that is refused for another reason is a bug and ends the run.

use super::WorldError;
use crate::faults::FaultId;
use async_channel::{Receiver, Sender};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, select_biased};
use lockstep_engine::api::{Command, Engine, EngineConfig, Input, Output};
use lockstep_engine::escrow::{self, Decision, Verdict};
use lockstep_engine::id::{CommandId, PaymentId};
use lockstep_engine::identity::jws_payload;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::Fact;
use lockstep_engine::time::Span;
use lockstep_host::driver::{Failure, StartError};
use lockstep_host::ports::{Flow, Interruption, Point, Ports, Store, StoreError};
use lockstep_host::{Driver, Ended, Handle, Status, SubmitError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// More lives than any scenario asks for: beyond, the driver is in a crash loop. A full disk costs two lives a minute.
const MAX_RESTARTS: u32 = 10_000;

/// First pause after a start was refused or a life ended in failure.
const FIRST_PAUSE: Span = Span::secs(1);

/// Longest pause: a disk that is in order again is used again within half a minute.
const LONGEST_PAUSE: Span = Span::secs(30);

/// Starts tasks in a world's runtime.
pub trait Spawn: Send + Sync {
    /// Runs `task` to its end, outside of the engine's process.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs one life of the engine's process.
    fn spawn_life(&self, life: BoxFuture<'static, ()>) {
        self.spawn(life);
    }

    /// Drops the life and all that belongs to it, wherever it stands; a life that has ended leaves nothing behind either.
    fn end_life(&self) {}

    /// Writes down what became of the process.
    fn note(&self, _: &str, _because: Option<&str>) {}
}

/// Opens the journal's store, anew for every life of the process.
pub type OpenStore = Arc<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

/// Is told of something that a fault has brought about.
pub type Told = Arc<dyn Fn() + Send + Sync>;

/// What an engine process is made of.
#[derive(Clone)]
pub struct ServiceParts {
    /// The engine's.
    pub config: EngineConfig,
    /// The world's.
    pub ports: Ports,
    /// Its disk.
    pub open_store: OpenStore,
    /// A bug planted in the engine, to show that it is caught. Tests only.
    pub planted: Option<Bug>,
}

#[derive(Default)]
struct State {
    handle: Option<Handle>,
    ended: Option<String>,
    restarts: u32,
    /// Why the latest life or start failed, while it is not running.
    failure: Option<String>,
    /// Starts refused and lives failed in a row.
    failures: u32,
    /// What keeps it from being started.
    down: BTreeSet<FaultId>,
    /// What keeps it from answering: started, or standing still.
    mute: BTreeSet<FaultId>,
    /// Who wants to know of refused starts.
    refusals: BTreeMap<FaultId, Told>,
    /// Who waits for a change of any of these.
    waiting: Vec<Sender<()>>,
}

impl State {
    fn tell(&mut self) {
        for waiting in self.waiting.drain(..) {
            // Whoever has gone away needs no telling.
            let _ = waiting.try_send(());
        }
    }

    /// The process is gone; false if there was none. One that got to work has proved that it can start.
    fn lose_handle(&mut self) -> bool {
        let Some(handle) = self.handle.take() else {
            return false;
        };
        if handle.status().handled_inputs > 0 {
            self.failures = 0;
        }
        true
    }

    /// Receives a message at the next change.
    fn change(&mut self) -> Receiver<()> {
        let (tell, told) = async_channel::bounded(1);
        self.waiting.push(tell);
        told
    }
}

/// The engine at work.
#[derive(Clone)]
pub struct Service {
    state: Arc<Mutex<State>>,
    spawner: Arc<dyn Spawn>,
}

impl Service {
    /// Starts the process and its supervisor.
    pub fn start(parts: ServiceParts, spawner: Arc<dyn Spawn>) -> Result<Service, WorldError> {
        let service = Service {
            state: Arc::new(Mutex::new(State::default())),
            spawner: spawner.clone(),
        };
        let driver = service
            .begin_life(&parts)
            .map_err(|cause| WorldError::harness("start the engine", error_chain(&cause)))?;
        let running = service.clone();
        spawner.spawn(Box::pin(
            async move { running.supervise(parts, driver).await },
        ));
        Ok(service)
    }

    fn begin_life(&self, parts: &ServiceParts) -> Result<Driver, StartError> {
        let store = (parts.open_store)().map_err(StartError::Store)?;
        let (driver, handle) = Driver::start(parts.config.clone(), parts.ports.clone(), store)?;
        if let Some(bug) = parts.planted {
            driver.plant(bug);
        }
        let mut state = self.state();
        state.handle = Some(handle);
        state.failure = None;
        state.tell();
        Ok(driver)
    }

    async fn supervise(self, parts: ServiceParts, mut driver: Driver) {
        loop {
            let ended = self.live(driver).await;
            self.spawner.end_life();
            let because = match &ended {
                Some(Ended::Stopped) => return,
                Some(Ended::Interrupted(point)) => format!("killed at {point:?}"),
                Some(Ended::Failed(failure)) => failure.to_string(),
                None => "killed".to_owned(),
            };
            self.spawner.note("process ended", Some(&because));
            let goes_on = self.bury(ended);
            if !goes_on {
                return;
            }
            match self.start_again(&parts).await {
                Some(next) => driver = next,
                None => return,
            }
            self.spawner.note("process started again", None);
        }
    }

    /// One life of the process; `None` if it was killed.
    async fn live(&self, driver: Driver) -> Option<Ended> {
        let (tell, told) = async_channel::bounded(1);
        let service = self.clone();
        self.spawner.spawn_life(Box::pin(async move {
            service.until(|state| state.mute.is_empty()).await;
            let ended = driver.run().await;
            // The supervisor waits for it.
            let _ = tell.try_send(ended);
        }));
        told.recv().await.ok()
    }

    /// Notes how a life ended; whether another one follows.
    fn bury(&self, ended: Option<Ended>) -> bool {
        let mut state = self.state();
        state.lose_handle();
        state.restarts += 1;
        let goes_on = match ended {
            None | Some(Ended::Interrupted(_)) if state.restarts < MAX_RESTARTS => true,
            Some(Ended::Failed(failure @ Failure::Store { .. }))
                if state.restarts < MAX_RESTARTS =>
            {
                state.failures += 1;
                state.failure = Some(failure.to_string());
                true
            }
            other => {
                state.ended = Some(format!("{other:?}"));
                false
            }
        };
        state.tell();
        goes_on
    }

    /// Starts the process when nothing keeps it down, again and again until it can start.
    async fn start_again(&self, parts: &ServiceParts) -> Option<Driver> {
        loop {
            self.pause_after_failure(parts).await;
            self.until(|state| state.down.is_empty()).await;
            let refused = match self.begin_life(parts) {
                Ok(driver) => return Some(driver),
                Err(refused) => refused,
            };
            let reason = error_chain(&refused);
            self.spawner.note("start refused", Some(&reason));
            let told: Vec<Told> = {
                let mut state = self.state();
                state.failures += 1;
                if !matches!(refused, StartError::Store(_) | StartError::Journal(_)) {
                    state.ended = Some(reason);
                    state.tell();
                    return None;
                }
                state.failure = Some(reason);
                state.refusals.values().cloned().collect()
            };
            told.iter().for_each(|told| told());
        }
    }

    /// Waits before it is tried again, at most until a fault that kept it down or from starting is over.
    async fn pause_after_failure(&self, parts: &ServiceParts) {
        let (failures, change) = {
            let mut state = self.state();
            if state.failures == 0 {
                return;
            }
            (state.failures, state.change())
        };
        let pause = (FIRST_PAUSE.0 << (failures - 1).min(16)).min(LONGEST_PAUSE.0);
        let clock = &parts.ports.clock;
        let until = clock.now().plus(Span(pause));
        select_biased! {
            _ = change.recv().fuse() => {}
            () = clock.sleep_until(until).fuse() => {}
        }
    }

    /// Waits until this holds.
    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let change = {
                let mut state = self.state();
                if holds(&state) {
                    return;
                }
                state.change()
            };
            // The sender lives until it tells.
            let _ = change.recv().await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of the service's state panics")
    }

    /// Kills the process wherever its tasks stand; false if it was not running. The supervisor starts it again.
    pub fn kill(&self) -> bool {
        let was_running = self.state().lose_handle();
        self.spawner.end_life();
        was_running
    }

    /// From now on it is not started, until `release`.
    pub fn keep_down(&self, fault: FaultId) {
        self.state().down.insert(fault);
    }

    /// From now on it is mute: one that is started serves nobody until `release`. The world has to hold up one that runs.
    pub fn keep_mute(&self, fault: FaultId) {
        self.state().mute.insert(fault);
    }

    /// Tells `told` of every start that is refused for the store's or the journal's sake, until `release`.
    pub fn watch_refused_starts(&self, fault: FaultId, told: Told) {
        self.state().refusals.insert(fault, told);
    }

    /// This fault keeps it from nothing any more; if it is down, it is tried again now.
    pub fn release(&self, fault: FaultId) {
        let mut state = self.state();
        state.down.remove(&fault);
        state.mute.remove(&fault);
        state.refusals.remove(&fault);
        state.tell();
    }

    /// Whether a fault keeps it from running or from answering just now.
    pub fn is_kept(&self) -> bool {
        let state = self.state();
        !state.down.is_empty() || !state.mute.is_empty()
    }

    /// Whether there is a process, and no fault keeps it from answering.
    pub fn is_at_work(&self) -> bool {
        let state = self.state();
        state.handle.is_some() && state.mute.is_empty()
    }

    /// The running process, or why there is none.
    pub fn handle(&self) -> Result<Handle, WorldError> {
        let state = self.state();
        match (&state.handle, &state.ended) {
            (Some(handle), _) => Ok(handle.clone()),
            (None, Some(reason)) => Err(WorldError::harness(
                "reach the engine",
                format!("its process has ended: {reason}"),
            )),
            (None, None) => Err(WorldError::harness(
                "reach the engine",
                "its process is restarting",
            )),
        }
    }

    /// How often the process died and was to be started again.
    pub fn restarts(&self) -> u32 {
        self.state().restarts
    }

    /// Why the latest start or life failed, while it is not running.
    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// What the process is doing, unless it is between two lives.
    pub fn status(&self) -> Result<Option<Status>, WorldError> {
        let state = self.state();
        match (&state.handle, &state.ended) {
            (Some(handle), _) => Ok(Some(handle.status())),
            (None, Some(reason)) => Err(WorldError::harness("run the engine", reason)),
            (None, None) => Ok(None),
        }
    }

    /// Gives the engine a command and waits for the answer. A caller whose process dies before it answers cannot know whether
    /// the command was taken: he gives the same one again, under its id, to the next life. The engine does it once.
    pub async fn submit(&self, id: CommandId, command: Command) -> Result<Output, SubmitError> {
        loop {
            self.until(|state| state.handle.is_some() || state.ended.is_some())
                .await;
            let Ok(handle) = self.handle() else {
                return Err(SubmitError::Stopped);
            };
            match handle.submit(id.clone(), command.clone()).await {
                Err(SubmitError::Stopped) => self.await_end_of(&handle).await,
                answered => return answered,
            }
        }
    }

    /// Waits until the supervisor has noticed that this life is over.
    async fn await_end_of(&self, dead: &Handle) {
        self.until(|state| {
            !state
                .handle
                .as_ref()
                .is_some_and(|handle| handle.is_same(dead))
        })
        .await;
    }

    /// Reads the engine's state.
    pub fn with_engine<T>(&self, read: impl FnOnce(&Engine) -> T) -> Result<T, WorldError> {
        Ok(self.handle()?.with_engine(read))
    }
}

/// Kills the process at armed points of the inputs that concern armed payments, once for each.
#[derive(Default)]
pub struct Switch {
    armed: Mutex<Vec<(Point, PaymentId, FaultId)>>,
    fired: Mutex<Vec<FaultId>>,
}

impl Switch {
    /// Arms it once more.
    pub fn arm(&self, point: Point, payment: PaymentId, fault: FaultId) {
        let mut armed = self.armed.lock().expect("no holder panics");
        armed.push((point, payment, fault));
    }

    /// The faults that have killed.
    pub fn fired(&self) -> Vec<FaultId> {
        self.fired.lock().expect("no holder panics").clone()
    }
}

impl Interruption for Switch {
    fn at(&self, point: Point, input: &Input) -> Flow {
        let mut armed = self.armed.lock().expect("no holder panics");
        let hit = armed
            .iter()
            .position(|(at, payment, _)| *at == point && concerns(input, payment));
        let Some(hit) = hit else {
            return Flow::Continue;
        };
        let (_, _, fault) = armed.remove(hit);
        self.fired.lock().expect("no holder panics").push(fault);
        Flow::Stop
    }
}

/// Whether an input is a command about this payment or the answer to an instruction for it (keys are `payment/what`).
fn concerns(input: &Input, payment: &PaymentId) -> bool {
    match input {
        Input::Command { command, .. } => match command {
            Command::CreateCharge(charge) => charge.payment == *payment,
            Command::CreatePayout(payout) => payout.payment == *payment,
            Command::MoveFunds(order) => order.payment == *payment,
            Command::OpenChannel(order) => order.order == *payment,
            Command::ReleaseHeld { payment: held } | Command::RefuseHeld { payment: held } => {
                held == payment
            }
            Command::OpenParty { .. }
            | Command::OpenWallet(_)
            | Command::NewAddress { .. }
            | Command::SetLabel(_)
            | Command::RecordOpening { .. }
            | Command::EnrolParty { .. }
            | Command::RegisterWallet(_)
            | Command::ProveWallet(_)
            | Command::RotateDid(_)
            | Command::RevokeWallet { .. }
            | Command::SweepByRecovery { .. }
            | Command::CloseChannel { .. }
            | Command::Reconcile { .. } => false,
        },
        Input::Fact {
            fact: Fact::Webhook { body, .. },
            ..
        } => splits(body, payment),
        Input::Fact { fact, .. } => answered_key(fact)
            .and_then(|key| key.0.split_once('/'))
            .is_some_and(|(subject, _)| subject == payment.as_str()),
    }
}

/// Whether a webhook tells a decision that names this charge.
fn splits(body: &str, payment: &PaymentId) -> bool {
    let told = escrow::statement(body).and_then(|jws| jws_payload(&jws).ok());
    let decision = told.and_then(|text| Decision::read(&text).ok());
    decision.is_some_and(|decision| match decision.verdict {
        Verdict::Split(shares) => shares.iter().any(|share| share.charge == *payment),
        Verdict::Release | Verdict::Refuse => false,
    })
}

fn answered_key(fact: &Fact) -> Option<&lockstep_engine::id::IdempotencyKey> {
    match fact {
        Fact::Signed { key, .. }
        | Fact::ChannelCloseTaken { key, .. }
        | Fact::StatementSigned { key, .. }
        | Fact::Cosigned { key, .. }
        | Fact::Broadcast { key, .. }
        | Fact::InvoiceCreated { key, .. }
        | Fact::LightningBalance { key, .. }
        | Fact::Fees { key, .. }
        | Fact::HttpResponded { key, .. }
        | Fact::HttpFailed { key, .. }
        | Fact::TimerFired { key }
        | Fact::Unavailable { key, .. } => Some(key),
        Fact::Chain(_)
        | Fact::Node(_)
        | Fact::ChannelRefused { .. }
        | Fact::LightningHeld { .. }
        | Fact::LightningReceived { .. }
        | Fact::HeldFailed { .. }
        | Fact::LightningSent { .. }
        | Fact::LightningFailed { .. }
        | Fact::Webhook { .. } => None,
    }
}

/// An error and its causes in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
