//! Owns the outside's hold on a running driver: submit, webhook, status, read access to the engine.
//! Does not own the handling of inputs (the driver, in its own task).

use super::Ended;
use async_channel::{Receiver, Sender, TrySendError};
use lockstep_engine::api::{Command, Engine, Output, Refusal};
use lockstep_engine::id::{CommandId, IdempotencyKey};
use lockstep_engine::rail::Effect;
use lockstep_engine::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many requests may wait for the driver. A request holds a few kilobytes at most, and whoever waits behind a
/// thousand others is better told at once.
pub const MAX_WAITING_REQUESTS: usize = 1_024;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The engine refused it; nothing changed.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The driver ended before it answered: the input may or may not have been journaled; the same command id may be
    /// submitted again after a restart.
    #[error("the engine is not running")]
    Stopped,
    /// Too many requests wait; nothing was done.
    #[error("{MAX_WAITING_REQUESTS} requests are waiting")]
    Busy,
}

pub(super) type Answer = Result<Output, SubmitError>;

/// What callers ask of the driver.
pub(super) enum Request {
    Submit {
        id: CommandId,
        command: Command,
        reply: Sender<Answer>,
    },
    Webhook {
        signature: String,
        body: String,
        reply: Sender<Answer>,
    },
    Look,
    LookAtNode,
}

/// What the driver is doing, as of its latest pause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Effects begun and not yet answered, by key and name, and looks at the chain.
    pub in_flight_effects: Vec<String>,
    /// Effects that wait for another try because their backend was unavailable.
    pub waiting_retries: Vec<String>,
    /// Requests and facts not yet handled.
    pub queued_inputs: usize,
    /// When the driver will next act by itself (the engine's timers and retries).
    pub next_wake: Option<Timestamp>,
    /// Instructions that no fact has answered yet, by key and name; watched scripts and timers left out.
    pub unanswered_instructions: Vec<(IdempotencyKey, &'static str)>,
    /// Inputs handled since the start, refused ones included.
    pub handled_inputs: u64,
    /// How the driver ended, if it has.
    pub ended: Option<Ended>,
}

impl Status {
    /// Whether nothing is queued or in flight: only time, the outside or a new request can make the driver act.
    pub fn is_quiet(&self) -> bool {
        self.queued_inputs == 0 && self.in_flight_effects.is_empty()
    }
}

/// What driver and handles share.
pub(super) struct Shared {
    engine: Mutex<Engine>,
    progress: Mutex<Progress>,
}

/// The driver's published part of [`Status`].
#[derive(Default)]
pub(super) struct Progress {
    pub(super) in_flight: Vec<String>,
    pub(super) retries: Vec<String>,
    pub(super) queued: usize,
    pub(super) next_wake: Option<Timestamp>,
    pub(super) handled: u64,
    pub(super) ended: Option<Ended>,
    /// Requests sent and not yet handled; counted here, so that none is ever invisible.
    pub(super) requests: usize,
}

impl Shared {
    pub(super) fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self {
            engine: Mutex::new(engine),
            progress: Mutex::default(),
        })
    }

    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's end of the request queue; when it goes, everyone who waits is told.
pub(super) struct Inbox(pub(super) std::pin::Pin<Box<Receiver<Request>>>);

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.close();
        // The queue outlives its receiver as long as there are handles: drop the replies that wait in it.
        while self.0.try_recv().is_ok() {}
    }
}

/// A hold on a running driver. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: Sender<Request>,
    pub(super) stop: Sender<()>,
}

impl Handle {
    /// Has a command done. The answer comes after the command was journaled and synced.
    pub async fn submit(&self, id: CommandId, command: Command) -> Answer {
        let (reply, answer) = async_channel::bounded(1);
        self.send(Request::Submit { id, command, reply })?;
        answer.recv().await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Takes a webhook in: the value of its signature header and its body as received. Acknowledge it (2xx) only if
    /// this is `Ok`: then it was journaled.
    pub async fn webhook(&self, signature: String, body: String) -> Answer {
        let (reply, answer) = async_channel::bounded(1);
        self.send(Request::Webhook {
            signature,
            body,
            reply,
        })?;
        answer.recv().await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Has the driver look at the chain now; `status` shows the look in flight.
    pub fn read_chain_now(&self) -> Result<(), SubmitError> {
        self.send(Request::Look)
    }

    /// Has the driver look at the engine's Lightning node soon, if the engine manages its channels.
    pub fn read_node_now(&self) -> Result<(), SubmitError> {
        self.send(Request::LookAtNode)
    }

    /// Ends the driver after the input that it is handling; what is in flight is left and taken up by recovery.
    pub fn stop(&self) {
        // A full channel means that the stop is already on its way; a closed one that the driver has ended.
        let _ = self.stop.try_send(());
    }

    /// What the driver is doing.
    pub fn status(&self) -> Status {
        let unanswered_instructions = self.with_engine(|engine| {
            let awaited = engine.outstanding().filter(|instruction| {
                !matches!(
                    instruction.effect,
                    Effect::WatchScript { .. } | Effect::WakeAt { .. }
                )
            });
            awaited
                .map(|instruction| {
                    (
                        instruction.key.clone(),
                        super::effects::name(&instruction.effect),
                    )
                })
                .collect()
        });
        let progress = self.shared.progress();
        Status {
            in_flight_effects: progress.in_flight.clone(),
            waiting_retries: progress.retries.clone(),
            queued_inputs: progress.queued + progress.requests,
            next_wake: progress.next_wake,
            unanswered_instructions,
            handled_inputs: progress.handled,
            ended: progress.ended.clone(),
        }
    }

    /// Reads the engine between two inputs. The driver waits meanwhile: be short.
    pub fn with_engine<R>(&self, read: impl FnOnce(&Engine) -> R) -> R {
        read(&self.shared.engine())
    }

    /// Whether both hold the same life of a driver.
    pub fn is_same(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    fn send(&self, request: Request) -> Result<(), SubmitError> {
        let mut progress = self.shared.progress();
        match self.requests.try_send(request) {
            Ok(()) => {
                progress.requests += 1;
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(SubmitError::Busy),
            Err(TrySendError::Closed(_)) => Err(SubmitError::Stopped),
        }
    }
}
