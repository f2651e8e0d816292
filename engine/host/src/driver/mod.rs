//! Owns the one loop that runs the engine in both worlds: admit, journal and sync, step, answer, perform, feed back.
//! Does not own what an input means (the engine), nor sockets, clocks and threads (the ports).
//!
//! One task, nothing spawned, no runtime named: it runs under any executor. Inputs are handled strictly one at a time.
//! An input is answered, and its effects begin, only after its record is durable; what the engine refuses is never
//! journaled. If the store fails, the driver ends: nothing that was acknowledged is lost, and nothing more is accepted.

mod chain;
mod effects;
mod ended;
mod handle;
mod node;
mod recovery;
mod timers;

pub use ended::{Ended, Failure};
pub use handle::{Handle, MAX_WAITING_REQUESTS, Status, SubmitError};
pub use recovery::StartError;

use crate::ports::{Flow, LightningEvent, LightningUnavailable, Point, Ports, Store, StoreError};
use chain::Watch;
use effects::{Outcome, Performance};
use futures_util::future::{BoxFuture, Fuse, poll_fn};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, select_biased};
use handle::{Answer, Inbox, Request, Shared};
use lockstep_engine::api::{EngineConfig, Input, Output, Refusal};
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::journal::Journal;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::{ChainView, Effect, Fact, Instruction, NodeView};
use lockstep_engine::rare::{Rare, sometimes};
use lockstep_engine::time::Timestamp;
use node::NodeWatch;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use timers::{Timers, Wake, pause_after};

/// Runs one engine over one store.
pub struct Driver {
    ports: Ports,
    store: Box<dyn Store>,
    journal: Journal,
    last_at: Timestamp,
    shared: Arc<Shared>,
    inbox: Inbox,
    stop: Pin<Box<async_channel::Receiver<()>>>,
    /// Inputs that wait to be handled, oldest first. Bounded by what is in flight: each entry answers something.
    queue: VecDeque<Queued>,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Results that came while effects were begun.
    finished: VecDeque<Done>,
    /// Effects begun whose answers have not been handled.
    active: BTreeMap<IdempotencyKey, &'static str>,
    /// Failures in a row of an effect's backend.
    failures: BTreeMap<IdempotencyKey, u32>,
    timers: Timers,
    chain: Watch,
    node: NodeWatch,
    listening: Fuse<BoxFuture<'static, LightningEvent>>,
    acknowledging: bool,
    failed_acknowledgements: u32,
    planted: Option<Bug>,
}

/// An input, and what comes after it was decided.
struct Queued {
    input: Input,
    then: Then,
}

enum Then {
    Nothing,
    /// A caller waits.
    Reply(async_channel::Sender<Answer>),
    /// It answers this effect.
    Answers(IdempotencyKey),
    /// It is a look at the chain.
    Looked(ChainView),
    /// It is a look at the Lightning node.
    SawNode,
    /// It is a Lightning event that the node wants acknowledged.
    Acknowledge,
}

/// Something in flight has ended.
enum Done {
    Effect(Instruction, Outcome),
    Look(Result<ChainView, crate::ports::ChainUnavailable>),
    /// What was told of payments when the look began, and the look.
    Node(u64, Result<NodeView, LightningUnavailable>),
    Acknowledged(Result<(), LightningUnavailable>),
}

/// Why the loop woke up.
enum Woken {
    Stop,
    Done(Done),
    Due,
    Lightning(LightningEvent),
    ChainChanged,
    NodeChanged,
    Request(Request),
}

impl Driver {
    /// Recovers from `store`; nothing is performed before `run`.
    pub fn start(
        config: EngineConfig,
        ports: Ports,
        store: Box<dyn Store>,
    ) -> Result<(Driver, Handle), StartError> {
        let planted = config.planted;
        let recovered = recovery::recover(config, store.as_ref(), ports.observer.as_ref())?;
        let shared = Shared::new(recovered.engine);
        let (requests, inbox) = async_channel::bounded(MAX_WAITING_REQUESTS);
        let (stop, stopped) = async_channel::bounded(1);
        let handle = Handle {
            shared: shared.clone(),
            requests,
            stop,
        };
        let driver = Driver {
            ports,
            store,
            journal: recovered.journal,
            last_at: recovered.last_at,
            shared,
            inbox: Inbox(Box::pin(inbox)),
            stop: Box::pin(stopped),
            queue: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            finished: VecDeque::new(),
            active: BTreeMap::new(),
            failures: BTreeMap::new(),
            timers: Timers::default(),
            chain: Watch::default(),
            node: NodeWatch::default(),
            listening: Fuse::terminated(),
            acknowledging: false,
            failed_acknowledgements: 0,
            planted,
        };
        driver.publish();
        Ok((driver, handle))
    }

    /// Makes the engine wrong on purpose from now on. Only tests call it; a bug that is there from the beginning comes with
    /// the configuration.
    #[doc(hidden)]
    pub fn plant(&self, bug: Bug) {
        self.shared.engine().plant(bug);
    }

    /// Re-issues what is outstanding, then serves until it ends. Dropping the future is a kill.
    pub async fn run(mut self) -> Ended {
        let Err(ended) = self.serve().await;
        self.shared.progress().ended = Some(ended.clone());
        ended
    }

    async fn serve(&mut self) -> Result<Infallible, Ended> {
        let outstanding: Vec<Instruction> = self.shared.engine().outstanding().cloned().collect();
        for instruction in outstanding {
            self.tell_earlier_attempt(&instruction);
            if self.planted == Some(Bug::LoseTimersOnRestart)
                && matches!(instruction.effect, Effect::WakeAt { .. })
            {
                continue;
            }
            self.perform(instruction);
        }
        self.look();
        self.look_at_node();
        self.listening = self.ports.lightning.next_event().fuse();
        loop {
            while let Some(done) = self.finished.pop_front() {
                self.on_done(done);
            }
            self.publish();
            if let Some(queued) = self.queue.pop_front() {
                self.settle(queued).await?;
                continue;
            }
            let woken = self.wake().await;
            self.on_woken(woken).await?;
        }
    }

    /// An effect that moves money may have left before the process stopped. The engine is told before any answer to the
    /// repetition: that one did not get through says nothing about the first.
    fn tell_earlier_attempt(&mut self, instruction: &Instruction) {
        if effects::moves_money_unasked(&instruction.effect) {
            sometimes(Rare::ReissuedAfterRestart);
            let reason = "restarted: an earlier attempt may have left".to_owned();
            let key = instruction.key.clone();
            self.enqueue(Fact::Unavailable { key, reason }, Then::Nothing);
        }
    }

    /// Waits for the first of everything that can happen. Biased, so that a run can be repeated: what was begun ends
    /// before anything new is taken on.
    async fn wake(&mut self) -> Woken {
        let Self {
            stop,
            in_flight,
            timers,
            listening,
            chain,
            node,
            inbox,
            ports,
            ..
        } = self;
        let mut due = poll_fn(|cx| timers.poll_due(ports.clock.as_ref(), cx)).fuse();
        select_biased! {
            _ = stop.select_next_some() => Woken::Stop,
            done = in_flight.select_next_some() => Woken::Done(done),
            () = due => Woken::Due,
            event = &mut *listening => Woken::Lightning(event),
            () = &mut chain.changed => Woken::ChainChanged,
            () = &mut node.changed => Woken::NodeChanged,
            request = inbox.0.select_next_some() => Woken::Request(request),
        }
    }

    async fn on_woken(&mut self, woken: Woken) -> Result<(), Ended> {
        self.timers.note(self.ports.clock.now());
        match woken {
            Woken::Stop => return Err(Ended::Stopped),
            Woken::Done(done) => self.on_done(done),
            Woken::Due => self.on_due(),
            Woken::Lightning(event) => self.enqueue(event.into(), Then::Acknowledge),
            Woken::ChainChanged => self.look(),
            Woken::NodeChanged => self.look_at_node(),
            Woken::Request(request) => {
                let queued = self.on_request(request);
                if let Some(queued) = queued {
                    self.settle(queued).await?;
                }
                self.publish();
                self.shared.progress().requests -= 1;
            }
        }
        Ok(())
    }

    fn on_request(&mut self, request: Request) -> Option<Queued> {
        let entropy = |driver: &Driver| driver.ports.entropy.draw();
        match request {
            Request::Submit { id, command, reply } => {
                let input = Input::Command {
                    id,
                    entropy: entropy(self),
                    command,
                };
                Some(Queued {
                    input,
                    then: Then::Reply(reply),
                })
            }
            Request::Webhook {
                signature,
                body,
                reply,
            } => {
                let input = Input::Fact {
                    entropy: entropy(self),
                    fact: Fact::Webhook { signature, body },
                };
                Some(Queued {
                    input,
                    then: Then::Reply(reply),
                })
            }
            Request::Look => {
                self.look();
                None
            }
            Request::LookAtNode => {
                self.look_at_node();
                None
            }
        }
    }

    fn enqueue(&mut self, fact: Fact, then: Then) {
        self.node.note(&fact);
        let entropy = self.ports.entropy.draw();
        self.queue.push_back(Queued {
            input: Input::Fact { entropy, fact },
            then,
        });
    }

    /// Handles one input from beginning to end.
    async fn settle(&mut self, queued: Queued) -> Result<(), Ended> {
        let Queued { input, then } = queued;
        let decision = self.decide(&input).await?;
        self.shared.progress().handled += 1;
        self.conclude(then, &decision);
        if let Ok(output) = decision {
            for instruction in output.instructions {
                self.perform(instruction);
            }
            self.poll_in_flight().await;
            self.pause(Point::Performed, &input)?;
        }
        Ok(())
    }

    /// Admit, journal, sync, step. The outer error ends the driver, the inner one is the engine's refusal.
    async fn decide(&mut self, input: &Input) -> Result<Result<Output, Refusal>, Ended> {
        // A clock that steps back (NTP) must not: the engine sees time stand still until it has caught up.
        let told = self.ports.clock.now();
        if told < self.last_at {
            sometimes(Rare::ClockWentBack);
        }
        let now = told.max(self.last_at);
        let shared = self.shared.clone();
        let admitted = shared.engine().admit(now, input);
        if let Err(refusal) = admitted {
            self.ports.observer.on_refused(now, input, &refusal);
            return Ok(Err(refusal));
        }
        self.pause(Point::BeforeJournal, input)?;
        self.record(now, input)?;
        if let Some(flushing) = self.store.flushing() {
            flushing.await;
        }
        self.pause(Point::Journaled, input)?;
        // Nobody else steps it, so it is as it was when it admitted the input.
        let mut engine = shared.engine();
        let output = engine
            .step(now, input)
            .map_err(|refusal| Ended::Failed(Failure::AdmittedThenRefused { refusal }))?;
        self.ports
            .observer
            .on_accepted(now, input, &output, &engine);
        self.pause(Point::Stepped, input)?;
        Ok(Ok(output))
    }

    fn record(&mut self, now: Timestamp, input: &Input) -> Result<(), Ended> {
        let sealed = self.journal.seal(now, input);
        if self.planted == Some(Bug::AnswerBeforeSync) {
            self.store.sync().map_err(store_failed)?;
        }
        self.store
            .append(sealed.seq, &sealed.bytes)
            .map_err(store_failed)?;
        if self.planted != Some(Bug::AnswerBeforeSync) {
            self.store.sync().map_err(store_failed)?;
        }
        self.last_at = now;
        Ok(())
    }

    fn pause(&self, point: Point, input: &Input) -> Result<(), Ended> {
        match self.ports.interruption.at(point, input) {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(Ended::Interrupted(point)),
        }
    }

    /// Tells whoever waits for the decision.
    fn conclude(&mut self, then: Then, decision: &Result<Output, Refusal>) {
        match then {
            Then::Nothing => {}
            Then::Reply(reply) => {
                let answer = decision.clone().map_err(SubmitError::Refused);
                // The caller may have gone away; the command is done all the same.
                drop(reply.try_send(answer));
            }
            Then::Answers(key) => {
                self.active.remove(&key);
            }
            Then::SawNode => self.finish_look_at_node(),
            Then::Looked(view) => self.on_looked(view, decision.is_ok()),
            // A refused event is acknowledged too: the node would only tell the same again, for ever.
            Then::Acknowledge => self.acknowledge(),
        }
    }

    fn perform(&mut self, instruction: Instruction) {
        match effects::perform(&self.ports, &instruction) {
            Performance::Nothing => {}
            Performance::Look => self.look(),
            Performance::Timer(at) => self.timers.set(at, Wake::Timer(instruction.key)),
            Performance::Attempt(attempt) => {
                if self.active.contains_key(&instruction.key) {
                    return;
                }
                self.active
                    .insert(instruction.key.clone(), effects::name(&instruction.effect));
                self.in_flight.push(
                    attempt
                        .map(|outcome| Done::Effect(instruction, outcome))
                        .boxed(),
                );
            }
        }
    }

    /// Polls everything in flight once, so that effects are really begun.
    async fn poll_in_flight(&mut self) {
        let Self {
            in_flight,
            finished,
            ..
        } = self;
        poll_fn(|cx| {
            while let Poll::Ready(Some(done)) = in_flight.poll_next_unpin(cx) {
                finished.push_back(done);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Effect(instruction, outcome) => self.on_outcome(instruction, outcome),
            Done::Look(Ok(view)) => self.on_view(view),
            Done::Look(Err(unavailable)) => self.on_no_view(&unavailable.reason),
            Done::Node(told, view) => self.on_node_view(told, view),
            Done::Acknowledged(result) => self.on_acknowledged(result),
        }
    }

    fn on_outcome(&mut self, instruction: Instruction, outcome: Outcome) {
        let key = instruction.key.clone();
        match outcome {
            Outcome::Answered(fact) => {
                self.failures.remove(&key);
                self.enqueue(fact, Then::Answers(key));
            }
            Outcome::Taken => {
                self.failures.remove(&key);
                self.active.remove(&key);
            }
            Outcome::Pending => {
                self.try_later(&key);
            }
            Outcome::Unavailable(reason) => {
                let first = self.try_later(&key) == 1;
                // The engine is told once per outage, not once per try: the journal must not grow with its length.
                if first {
                    self.enqueue(Fact::Unavailable { key, reason }, Then::Nothing);
                }
            }
        }
    }

    /// Plans the next try of an effect; gives how many tries in a row have led to none.
    fn try_later(&mut self, key: &IdempotencyKey) -> u32 {
        self.active.remove(key);
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let tries = *failures;
        let at = self.ports.clock.now().plus(pause_after(tries));
        self.timers.set(at, Wake::Retry(key.clone()));
        tries
    }

    fn on_due(&mut self) {
        let now = self.ports.clock.now();
        while let Some(wake) = self.timers.pop_due(now) {
            match wake {
                Wake::Timer(key) => {
                    // One that is no longer outstanding was withdrawn; one that is later now was put off.
                    let due = self.outstanding(&key).is_some_and(|instruction| {
                        matches!(instruction.effect, Effect::WakeAt { at } if at <= now)
                    });
                    if due {
                        self.enqueue(Fact::TimerFired { key }, Then::Nothing);
                    }
                }
                Wake::Retry(key) => match self.outstanding(&key) {
                    Some(instruction) => {
                        sometimes(Rare::BackendRetried);
                        self.perform(instruction);
                    }
                    // Answered by another way meanwhile.
                    None => {
                        self.failures.remove(&key);
                    }
                },
                Wake::Look => self.look(),
                Wake::LookAtNode => self.look_at_node(),
                Wake::Listen => self.listening = self.ports.lightning.next_event().fuse(),
            }
        }
    }

    fn outstanding(&self, key: &IdempotencyKey) -> Option<Instruction> {
        self.shared
            .engine()
            .outstanding()
            .find(|instruction| instruction.key == *key)
            .cloned()
    }

    /// Stopped before: the node tells the event again, and the engine takes it for what it is. Stopped after: the
    /// fact is in the journal.
    fn acknowledge(&mut self) {
        self.acknowledging = true;
        self.in_flight.push(
            self.ports
                .lightning
                .event_handled()
                .map(Done::Acknowledged)
                .boxed(),
        );
    }

    fn on_acknowledged(&mut self, result: Result<(), LightningUnavailable>) {
        self.acknowledging = false;
        match result {
            Ok(()) => {
                self.failed_acknowledgements = 0;
                self.listening = self.ports.lightning.next_event().fuse();
            }
            Err(_) => {
                sometimes(Rare::AcknowledgementFailed);
                self.failed_acknowledgements += 1;
                let at = self
                    .ports
                    .clock
                    .now()
                    .plus(pause_after(self.failed_acknowledgements));
                self.timers.set(at, Wake::Listen);
            }
        }
    }

    fn publish(&self) {
        let mut in_flight: Vec<String> = self
            .active
            .iter()
            .map(|(key, name)| format!("{key}: {name}"))
            .collect();
        in_flight.extend(
            self.chain
                .is_looking()
                .then(|| "look at the chain".to_owned()),
        );
        in_flight.extend(
            self.node
                .is_looking()
                .then(|| "look at the node".to_owned()),
        );
        in_flight.extend(
            self.acknowledging
                .then(|| "acknowledge a Lightning event".to_owned()),
        );
        let mut progress = self.shared.progress();
        progress.in_flight = in_flight;
        progress.retries = self.timers.retries().collect();
        progress.queued = self.queue.len();
        progress.next_wake = self.timers.next();
    }
}

fn store_failed(error: StoreError) -> Ended {
    let reason = with_causes(&error);
    Ended::Failed(Failure::Store { reason })
}

/// An error and its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
