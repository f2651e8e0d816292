//! Owns the observer of the engine during a run: it records each input's consequences, keeps the state of payments as
//! events told it, and has every invariant checked after every step. The first violation is kept. Does not own the
//! driver (`lockstep-host`) nor the invariants.

use super::bindings_told::{ToldBinding, ToldBindings};
use super::outcome::Checked;
use crate::coverage::Coverage;
use crate::faults::Faults;
use crate::invariants::{Invariant, Kind, Looks, Settled, Stepped, Violation};
use crate::scenario::PartyName;
use crate::trace::{SharedTrace, Subsystem};
use crate::vtime::Epoch;
use crate::worlds::TruthSource;
use lockstep_engine::api::{Command, Engine, Event, Input, Output, Refusal};
use lockstep_engine::escrow;
use lockstep_engine::id::CommandId;
use lockstep_engine::rail::{Fact, HttpFailure};
use lockstep_engine::time::Timestamp;
use lockstep_host::ports::{GatewayCall, HttpResponse, Observer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// What events told about one payment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The latest event that is a state, by its name in a scenario.
    pub state: &'static str,
    /// How its money is not as asked now, by its names in a scenario.
    pub findings: BTreeSet<&'static str>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What the payer was shown (invoice or address).
    pub request: Option<String>,
    /// The payment URI with an invoice (charges on chain that have one).
    pub uri: Option<String>,
    /// Every version of the transaction that pays it (payouts on chain), oldest first.
    pub txids: Vec<bitcoin::Txid>,
}

struct State {
    invariants: Vec<Box<dyn Invariant>>,
    truth: Option<Arc<dyn TruthSource>>,
    violation: Option<Violation>,
    checks: BTreeMap<String, Checked>,
    payments: BTreeMap<String, Told>,
    bindings: ToldBindings,
    breaks: BTreeMap<String, u32>,
    refused: BTreeMap<String, String>,
    enrolments: BTreeMap<String, &'static str>,
    epoch: Option<Epoch>,
    /// Commands that were accepted: one that is told again has the same events again, and nothing happens.
    commands: BTreeSet<CommandId>,
    /// Accepted inputs seen; what recovery replays beyond them was journaled just before a kill.
    accepted: u64,
    coverage: Coverage,
    /// Brings the counts of faults up to date that are kept elsewhere.
    count_faults: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// The observer.
pub struct Recorder {
    trace: SharedTrace,
    faults: Arc<Mutex<Faults>>,
    state: Mutex<State>,
}

impl Recorder {
    /// An observer that has seen nothing.
    pub fn new(
        trace: SharedTrace,
        invariants: Vec<Box<dyn Invariant>>,
        faults: Arc<Mutex<Faults>>,
    ) -> Recorder {
        let state = State {
            invariants,
            truth: None,
            violation: None,
            checks: BTreeMap::new(),
            payments: BTreeMap::new(),
            bindings: ToldBindings::default(),
            breaks: BTreeMap::new(),
            refused: BTreeMap::new(),
            enrolments: BTreeMap::new(),
            epoch: None,
            commands: BTreeSet::new(),
            accepted: 0,
            coverage: Coverage::default(),
            count_faults: None,
        };
        Recorder {
            trace,
            faults,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of the recorder's state panics")
    }

    /// From now on the truth can be asked and times count from `epoch`.
    pub fn begin(&self, epoch: Epoch, truth: Option<Arc<dyn TruthSource>>) {
        let mut state = self.state();
        state.epoch = Some(epoch);
        state.truth = truth;
    }

    /// `count` brings the counts of faults up to date that are kept elsewhere; it is called before each input is taken in.
    pub fn count_faults_by(&self, count: Arc<dyn Fn() + Send + Sync>) {
        self.state().count_faults = Some(count);
    }

    /// Marks the coverage of faults that had an effect since the last input; what was reached so far.
    pub fn coverage(&self) -> Coverage {
        self.cover();
        self.state().coverage.clone()
    }

    /// Something rare happened to the harness.
    pub fn mark_rare(&self, what: &str) {
        self.state().coverage.mark_rare(what);
    }

    /// Payments stand now as they stood when the faults had their effects.
    fn cover(&self) {
        let count = self.state().count_faults.clone();
        if let Some(count) = count {
            count();
        }
        let fresh: Vec<_> = {
            let mut faults = self.faults.lock().expect("no holder panics");
            let fresh = faults.take_fresh();
            fresh
                .into_iter()
                .filter_map(|id| Some((id, faults.get(id)?.clone())))
                .collect()
        };
        let mut state = self.state();
        for (id, fault) in &fresh {
            state.coverage.mark(fault);
            let event = json!({ "fault": fault.name, "id": id.number(), "phase": "effect" });
            self.trace
                .lock()
                .record(Subsystem::Faults, &fault.scope, event);
        }
    }

    /// The first violation so far.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// What events told about a payment.
    pub fn told(&self, payment: &str) -> Option<Told> {
        self.state().payments.get(payment).cloned()
    }

    /// Where a party's enrolment stands, by its name in a scenario.
    pub fn enrolment(&self, party: &str) -> Option<&'static str> {
        self.state().enrolments.get(party).copied()
    }

    /// What events told about a binding.
    pub fn binding(&self, binding: &str) -> Option<ToldBinding> {
        self.state().bindings.get(binding)
    }

    /// A binding is about to be passed on to this party's DID.
    pub fn expect_passing(&self, binding: &str, did: &str, party: &PartyName) {
        self.state().bindings.expect_passing(binding, did, party);
    }

    /// How many breaks a reconciliation found, once it is done.
    pub fn breaks(&self, run: &str) -> Option<u32> {
        self.state().breaks.get(run).copied()
    }

    /// Why a command was refused, if it was.
    pub fn refusal(&self, command: &str) -> Option<String> {
        self.state().refused.get(command).cloned()
    }

    /// Checks what must hold at rest.
    pub fn check_at_rest(&self, settled: &Settled<'_>) {
        let mut state = self.state();
        self.ask(
            &mut state,
            |looks| looks.at_rest,
            |one| one.at_rest(settled),
        );
    }

    /// How often each invariant was checked so far.
    pub fn checks(&self) -> BTreeMap<String, Checked> {
        self.state().checks.clone()
    }

    /// Counts one check of each of these, made now by someone else.
    pub fn count_checks(&self, names: &[&str]) {
        let at_ms = self.trace.lock().time().0;
        let mut state = self.state();
        for name in names {
            count(&mut state, name, at_ms);
        }
    }

    /// Writes a violation into the trace.
    pub fn found(&self, violation: &Violation) {
        let event = json!({ "broken": violation.invariant, "what": violation.what });
        self.trace
            .lock()
            .record(Subsystem::Invariants, "invariants", event);
    }

    /// Asks every invariant that looks at this moment, up to the first that is broken.
    fn ask(
        &self,
        state: &mut State,
        looks: fn(Looks) -> bool,
        mut check: impl FnMut(&mut dyn Invariant) -> Result<(), String>,
    ) {
        let at_ms = self.trace.lock().time().0;
        let mut invariants = std::mem::take(&mut state.invariants);
        let broken = invariants
            .iter_mut()
            .filter(|invariant| looks(invariant.looks()))
            .find_map(|invariant| {
                count(state, invariant.name(), at_ms);
                Some((invariant.name(), check(invariant.as_mut()).err()?))
            });
        state.invariants = invariants;
        let (None, Some((name, what))) = (&state.violation, broken) else {
            return;
        };
        let violation = Violation {
            invariant: name.to_owned(),
            kind: Kind::Safety,
            what,
        };
        self.found(&violation);
        state.violation = Some(violation);
    }

    fn record(&self, event: &Event) {
        let value = serde_json::to_value(event).expect("events have only string keys");
        let subsystem = match event {
            Event::Posted(_) | Event::Hold(_) => Subsystem::Ledger,
            _ => Subsystem::Engine,
        };
        let subject = subject(&value);
        let mut trace = self.trace.lock();
        match event {
            Event::ChargeIssued { payment, request } => {
                trace.names.give(request, format!("request:{payment}"))
            }
            Event::InvoiceAdded { payment, request } => {
                trace.names.give(request, format!("uri:{payment}"));
            }
            Event::PaymentProven {
                payment,
                payment_hash,
                preimage,
            } => {
                trace.names.give(payment_hash, format!("hash:{payment}"));
                trace.names.give(preimage, format!("proof:{payment}"));
            }
            Event::MoveStarted {
                payment, address, ..
            } => trace.names.give(address, format!("address:{payment}")),
            Event::TransactionBuilt { payment, txid, .. }
            | Event::TransactionReplaced { payment, txid, .. } => {
                trace
                    .names
                    .give_next(txid.to_string(), &format!("tx:{payment}"));
            }
            Event::CoinsConsolidated { wallet, txid, .. } => {
                trace
                    .names
                    .give_next(txid.to_string(), &format!("merge:{wallet}"));
            }
            Event::ChildBuilt { payment, txid, .. } => {
                trace
                    .names
                    .give_next(txid.to_string(), &format!("child:{payment}"));
            }
            Event::WalletRegistered {
                binding, challenge, ..
            } => trace.names.give(challenge, format!("challenge:{binding}")),
            Event::ChannelOpened { funding, order, .. } => match order {
                Some(order) => {
                    let called = format!("channel:{order}");
                    trace.names.give(funding.to_string(), called);
                }
                None => trace
                    .names
                    .give_next(funding.to_string(), "channel:of a peer"),
            },
            Event::SweepBuilt { sweep, txid, .. } => {
                trace.names.give(txid.to_string(), format!("tx:{sweep}"))
            }
            _ => {}
        }
        trace.record_canonical(subsystem, &subject, value);
    }
}

/// Whom an event is about: the first of these fields that it has.
fn subject(event: &Value) -> String {
    ["payment", "sweep", "binding", "escrow", "party", "run"]
        .iter()
        .find_map(|field| event.get(field)?.as_str())
        .unwrap_or("engine")
        .to_owned()
}

fn count(state: &mut State, name: &str, at_ms: u64) {
    let checked = state.checks.entry(name.to_owned()).or_default();
    checked.count += 1;
    checked.last_ms = at_ms;
}

fn learn(state: &mut State, event: &Event) {
    if let Event::PaymentSettled { payment, .. } | Event::PaymentFailed { payment, .. } = event
        && let Some(told) = state.payments.get_mut(payment.as_str())
    {
        told.findings.remove("unknown");
    }
    let mut set = |payment: &lockstep_engine::id::PaymentId, word: &'static str| {
        state.payments.entry(payment.to_string()).or_default().state = word;
    };
    match event {
        Event::ChargeCreated { payment, .. } => set(payment, "created"),
        Event::ChargeIssued { payment, request } => {
            set(payment, "issued");
            state
                .payments
                .entry(payment.to_string())
                .or_default()
                .request = Some(request.clone());
        }
        Event::OutcomeUnknown { payment } => {
            let told = state.payments.entry(payment.to_string()).or_default();
            told.findings.insert("unknown");
        }
        Event::InvoiceAdded { payment, request } => {
            let told = state.payments.entry(payment.to_string()).or_default();
            told.uri = Some(request.clone());
        }
        Event::PaymentSeen { payment, .. } => set(payment, "seen"),
        Event::PaymentVanished { payment } => set(payment, "issued"),
        Event::PaymentHeld { payment, .. } => set(payment, "held"),
        Event::PayoutReserved { payment, .. }
        | Event::MoveStarted { payment, .. }
        | Event::BatchDissolved { payment, .. } => {
            set(payment, "reserved");
        }
        Event::PayoutDispatched { payment } => set(payment, "dispatched"),
        Event::TransactionBuilt { payment, txid, .. }
        | Event::TransactionReplaced { payment, txid, .. } => {
            let told = state.payments.entry(payment.to_string()).or_default();
            told.txids.push(*txid);
        }
        Event::PaymentSettled { payment, .. } => set(payment, "settled"),
        Event::PaymentUndone { payment } => set(payment, "undone"),
        Event::PaymentFailed { payment, reason } => {
            set(payment, "failed");
            let reason = super::words::failure(reason).to_owned();
            state
                .payments
                .entry(payment.to_string())
                .or_default()
                .reason = Some(reason);
        }
        Event::ChargeFound {
            payment,
            finding,
            amount_sat,
        } => {
            let findings = &mut state
                .payments
                .entry(payment.to_string())
                .or_default()
                .findings;
            let word = super::words::finding(*finding);
            match amount_sat.0 {
                0 => findings.remove(word),
                _ => findings.insert(word),
            };
        }
        Event::Reconciled { run, breaks } => {
            state.breaks.insert(run.to_string(), *breaks);
        }
        Event::PartyEnrolled { party, .. } => {
            state.enrolments.insert(party.to_string(), "enrolled");
        }
        Event::EnrolmentRefused { party, .. } => {
            state.enrolments.insert(party.to_string(), "refused");
        }
        Event::PartyOpened { .. }
        | Event::WalletOpened { .. }
        | Event::OutcomeStated { .. }
        | Event::StatementAccepted { .. }
        | Event::StatementRefused { .. }
        | Event::RefundOrdered { .. }
        | Event::ShortfallCovered { .. }
        | Event::ShortfallReturned { .. }
        | Event::WalletRegistered { .. }
        | Event::WalletBound { .. }
        | Event::WalletNotBound { .. }
        | Event::BindingEnded { .. }
        | Event::BindingEndedTooLate { .. }
        | Event::PayerNotBound { .. }
        | Event::AddressGiven { .. }
        | Event::LabelSet { .. }
        | Event::FeerateChosen { .. }
        | Event::PayoutsBatched { .. }
        | Event::CoinsConsolidated { .. }
        | Event::ChildBuilt { .. }
        | Event::TransferAccepted { .. }
        | Event::CosignerAsked { .. }
        | Event::ChannelOrdered { .. }
        | Event::ChannelRefused { .. }
        | Event::ChannelOpened { .. }
        | Event::ChannelUsable { .. }
        | Event::ChannelClosed { .. }
        | Event::ChannelSwept { .. }
        | Event::SweepBuilt { .. }
        | Event::SweepSent { .. }
        | Event::SweepSettled { .. }
        | Event::SweepUndone { .. }
        | Event::SweepFailed { .. }
        | Event::CosignerSigned { .. }
        | Event::CosignerFailed { .. }
        | Event::Converted { .. }
        | Event::Posted(_)
        | Event::Hold(_)
        | Event::EscrowDecided { .. }
        | Event::RestOrdered { .. }
        | Event::WebhookIgnored { .. }
        | Event::PaymentProven { .. }
        | Event::BreakFound { .. } => {}
    }
}

impl Observer for Recorder {
    fn on_accepted(&self, at: Timestamp, input: &Input, output: &Output, engine: &Engine) {
        self.cover();
        let mut state = self.state();
        state.accepted += 1;
        if let Some(epoch) = state.epoch {
            self.trace.lock().set_now(epoch.offset(at));
        }
        if let Input::Command {
            command: Command::EnrolParty { party, .. },
            ..
        } = input
            && !output.instructions.is_empty()
        {
            state.enrolments.insert(party.to_string(), "asked");
        }
        let nothing = Output::default();
        let output = match input {
            Input::Command { id, .. }
                if !state.commands.insert(id.clone()) && output.instructions.is_empty() =>
            {
                let event = json!({ "told_again": id.to_string() });
                self.trace
                    .lock()
                    .record(Subsystem::Engine, "command", event);
                &nothing
            }
            _ => output,
        };
        for event in &output.events {
            self.record(event);
            learn(&mut state, event);
            state.bindings.learn(event);
            state.coverage.learn(event);
        }
        let truth = state.truth.as_ref().map(|source| source.truth());
        let stepped = Stepped {
            at,
            input,
            output,
            engine,
            truth,
        };
        self.ask(
            &mut state,
            |looks| looks.after_step,
            |one| one.after_step(&stepped),
        );
    }

    fn on_replayed(
        &self,
        seq: u64,
        at: Timestamp,
        input: &Input,
        output: &Output,
        engine: &Engine,
    ) {
        let is_new = seq >= self.state().accepted;
        if is_new {
            self.on_accepted(at, input, output, engine);
        }
    }

    fn on_refused(&self, at: Timestamp, input: &Input, refusal: &Refusal) {
        let mut state = self.state();
        self.ask(
            &mut state,
            |looks| looks.after_refusal,
            |one| one.after_refusal(at, input),
        );
        let mut trace = self.trace.lock();
        if let Some(epoch) = state.epoch {
            trace.set_now(epoch.offset(at));
        }
        let event = json!({ "refused": refusal.to_string() });
        match input {
            Input::Command { id, .. } => {
                trace.record_canonical(Subsystem::Engine, "command", event);
                state.refused.insert(id.to_string(), refusal.to_string());
            }
            // Why a decision does not count is what both worlds must agree on.
            Input::Fact {
                fact: Fact::Webhook { body, .. },
                ..
            } if escrow::claims(body) => {
                trace.record_canonical(Subsystem::Engine, "escrow", event);
            }
            Input::Fact { .. } => trace.record(Subsystem::Engine, "engine", event),
        }
    }

    fn on_exchange(
        &self,
        _: Timestamp,
        call: &GatewayCall,
        answer: &Result<HttpResponse, HttpFailure>,
    ) {
        let answer = match answer {
            Ok(response) => json!({ "status": response.status }),
            Err(failure) => json!({ "failure": failure }),
        };
        let event = json!({ "exchange": call.key.0, "path": call.request.path, "answer": answer });
        self.trace.lock().record(Subsystem::Http, "engine", event);
    }
}
