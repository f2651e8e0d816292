//! Owns the engine at work in a world: the driver in a task, its restarts after a planned kill, and the switch that
//! kills it at a chosen point of a chosen input. The same code in both worlds. Does not own ports (each world has its
//! own) nor what the engine is asked (`run`).

use super::WorldError;
use crate::faults::FaultId;
use futures_util::future::BoxFuture;
use lockstep_engine::api::{Command, Engine, EngineConfig, Input, Output};
use lockstep_engine::id::{CommandId, PaymentId};
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::Fact;
use lockstep_host::ports::{Flow, Interruption, Point, Ports, Store, StoreError};
use lockstep_host::{Driver, Ended, Handle, Status, SubmitError};
use std::sync::{Arc, Mutex};

/// More restarts than any scenario arms kills for: beyond, the driver is in a crash loop.
const MAX_RESTARTS: u32 = 100;

/// Starts tasks in a world's runtime.
pub trait Spawn: Send + Sync {
    /// Runs `task` to its end.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Opens the journal's store, anew for every life of the process.
pub type OpenStore = Arc<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

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
}

/// The engine at work.
#[derive(Clone)]
pub struct Service {
    state: Arc<Mutex<State>>,
}

impl Service {
    /// Starts the process; it is restarted at once whenever the switch has killed it.
    pub fn start(parts: ServiceParts, spawner: Arc<dyn Spawn>) -> Result<Service, WorldError> {
        let service = Service {
            state: Arc::new(Mutex::new(State::default())),
        };
        let driver = service.begin_life(&parts)?;
        let running = service.clone();
        spawner.spawn(Box::pin(async move { running.live(parts, driver).await }));
        Ok(service)
    }

    fn begin_life(&self, parts: &ServiceParts) -> Result<Driver, WorldError> {
        let store = (parts.open_store)()
            .map_err(|cause| WorldError::harness("open the journal", error_chain(&cause)))?;
        let (driver, handle) = Driver::start(parts.config.clone(), parts.ports.clone(), store)
            .map_err(|cause| WorldError::harness("start the engine", error_chain(&cause)))?;
        if let Some(bug) = parts.planted {
            driver.plant(bug);
        }
        self.state().handle = Some(handle);
        Ok(driver)
    }

    async fn live(self, parts: ServiceParts, mut driver: Driver) {
        loop {
            let ended = driver.run().await;
            self.state().handle = None;
            match ended {
                Ended::Stopped => return,
                Ended::Interrupted(_) if self.state().restarts < MAX_RESTARTS => {
                    self.state().restarts += 1
                }
                other => {
                    self.state().ended = Some(format!("{other:?}"));
                    return;
                }
            }
            match self.begin_life(&parts) {
                Ok(next) => driver = next,
                Err(error) => {
                    self.state().ended = Some(error.to_string());
                    return;
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of the service's state panics")
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

    /// How often the process was killed and started again.
    pub fn restarts(&self) -> u32 {
        self.state().restarts
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

    /// Gives the engine a command. A process that is killed while it answers leaves the outcome to be seen: `None`.
    pub async fn submit(
        &self,
        id: CommandId,
        command: Command,
    ) -> Result<Option<Output>, SubmitError> {
        let Ok(handle) = self.handle() else {
            return Err(SubmitError::Stopped);
        };
        match handle.submit(id, command).await {
            Ok(output) => Ok(Some(output)),
            Err(SubmitError::Stopped) => Ok(None),
            Err(refused) => Err(refused),
        }
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
            Command::ReleaseHeld { payment: held } | Command::RefuseHeld { payment: held } => {
                held == payment
            }
            Command::OpenParty { .. }
            | Command::RecordOpening { .. }
            | Command::Reconcile { .. } => false,
        },
        Input::Fact { fact, .. } => answered_key(fact)
            .and_then(|key| key.0.split_once('/'))
            .is_some_and(|(subject, _)| subject == payment.as_str()),
    }
}

fn answered_key(fact: &Fact) -> Option<&lockstep_engine::id::IdempotencyKey> {
    match fact {
        Fact::Signed { key, .. }
        | Fact::Broadcast { key, .. }
        | Fact::InvoiceCreated { key, .. }
        | Fact::LightningBalance { key, .. }
        | Fact::HttpResponded { key, .. }
        | Fact::HttpFailed { key, .. }
        | Fact::TimerFired { key }
        | Fact::Unavailable { key, .. } => Some(key),
        Fact::Chain(_)
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
