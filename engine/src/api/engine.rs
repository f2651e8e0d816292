//! Owns the order of things within one step: validate, decide, apply, emit; who is asked what; the memory of commands;
//! the digest. Does not own any rule (`payments`, `reconcile`) nor the journal's place (the host seals, then steps).

use super::input::{Command, Input};
use super::output::Output;
use super::outstanding::{Outstanding, answered_by};
use super::refusal::Refusal;
use crate::event::{Consequences, Event};
use crate::id::{CommandId, Did, IdempotencyKey, PartyId, ReconciliationId};
use crate::labels::LabelBook;
use crate::layer0;
use crate::ledger::Ledger;
use crate::money::Msat;
use crate::onchain::{Descriptors, DescriptorsRefused, Label};
use crate::payments::{
    LightningChargeState, LightningPayoutState, Payment, Payments, PaymentsConfig, SepaPayout,
    SepaPayoutState,
};
use crate::planted::Bug;
use crate::policy::{Policy, PolicyInvalid};
use crate::rail::{BlockId, Entropy, Fact, Instruction};
use crate::rare::{Rare, sometimes};
use crate::reconcile::{
    self, BookedTransfer, Books, Break, LightningInFlight, Reconciliation, ReportAnswer,
};
use crate::reputation::{Answer, EnrolmentRefused, Reputation};
use crate::time::Timestamp;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::{Network, ScriptBuf};
use serde::Serialize;
use std::collections::BTreeMap;

/// What an engine is made with. All of it is fixed for the engine's life and must be the same when its journal is folded.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Of addresses and invoices.
    pub network: Network,
    /// Public output descriptors of the wallet `hot`; others are opened by command.
    pub descriptors: Descriptors,
    /// The operator's parameters.
    pub policy: Policy,
    /// Secrets of the gateway's webhooks: current first; several while they are rotated.
    pub webhook_secrets: Vec<String>,
    /// Secrets of Layer 0's webhooks, as above; without any, none is believed.
    pub layer0_secrets: Vec<String>,
    /// Makes the engine wrong on purpose; see [`Bug`]. Only tests set it.
    #[doc(hidden)]
    pub planted: Option<Bug>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nobody could check what is stated in that name.
    #[error("the issuer of statements must be a did:key of a secp256k1 key, not `{did}`")]
    Issuer {
        /// Whose.
        did: Did,
    },
    /// The policy makes no sense.
    #[error("the policy cannot be used: {cause}")]
    Policy {
        /// Why.
        #[from]
        cause: PolicyInvalid,
    },
    /// The descriptors make no wallet.
    #[error("the wallet cannot be made: {cause}")]
    Descriptors {
        /// Why.
        #[from]
        cause: DescriptorsRefused,
    },
}

/// The payment engine.
#[derive(Debug)]
pub struct Engine {
    pub(super) payments: Payments,
    reconciliation: Reconciliation,
    pub(super) reputation: Reputation,
    outstanding: Outstanding,
    commands: BTreeMap<CommandId, Answered>,
    labels: LabelBook,
    planted: Option<Bug>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Answered {
    /// SHA-256 of the command as JSON.
    command: sha256::Hash,
    events: Vec<Event>,
}

impl Engine {
    /// An engine to which nothing has happened.
    pub fn new(config: EngineConfig) -> Result<Engine, ConfigError> {
        config.policy.check()?;
        let issuer = config.policy.reputation.as_ref();
        if let Some(did) = issuer.map(|reputation| &reputation.issuer)
            && layer0::key_of_did(did).is_none()
        {
            return Err(ConfigError::Issuer { did: did.clone() });
        }
        let payments = Payments::new(PaymentsConfig {
            network: config.network,
            descriptors: config.descriptors,
            policy: config.policy,
            webhook_secrets: config.webhook_secrets,
            layer0_secrets: config.layer0_secrets,
        })?;
        let mut engine = Engine {
            payments,
            reconciliation: Reconciliation::new(),
            reputation: Reputation::new(),
            outstanding: Outstanding::default(),
            commands: BTreeMap::new(),
            labels: LabelBook::default(),
            planted: None,
        };
        if let Some(bug) = config.planted {
            engine.plant(bug);
        }
        Ok(engine)
    }

    /// Makes the engine wrong on purpose from now on; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
        self.payments.plant(bug);
        self.reputation.plant(bug);
    }

    /// Whether `step` would accept the input: the first half of it, without any effect.
    pub fn admit(&self, now: Timestamp, input: &Input) -> Result<(), Refusal> {
        match input {
            Input::Command { id, command, .. } => self.admit_command(now, id, command),
            Input::Fact { fact, .. } => {
                self.check_answer(fact)?;
                Ok(self.payments.check_fact(now, fact)?)
            }
        }
    }

    /// As `admit`, for an input from the journal: the sender and age of a webhook were checked when it was admitted.
    fn admit_recorded(&self, at: Timestamp, input: &Input) -> Result<(), Refusal> {
        match input {
            Input::Command { id, command, .. } => self.admit_command(at, id, command),
            Input::Fact { fact, .. } => {
                self.check_answer(fact)?;
                Ok(self.payments.check_recorded_fact(fact)?)
            }
        }
    }

    fn check_answer(&self, fact: &Fact) -> Result<(), Refusal> {
        let answers = self.outstanding.check_answer(fact);
        answers.map_err(|key| {
            sometimes(Rare::AnswerToNothing);
            Refusal::NotOutstanding { key }
        })
    }

    /// Takes one input: checks it, changes the state, and tells what happened and what must be done. A refused input
    /// changes nothing. A command that is told again gets its first events again and no instructions.
    pub fn step(&mut self, now: Timestamp, input: &Input) -> Result<Output, Refusal> {
        self.admit(now, input)?;
        Ok(self.take(now, input))
    }

    /// Takes one input again that was accepted `at` an earlier time and journaled. Everything is checked again, but not
    /// the signature and age of webhooks: the journal vouches for them, and their secrets may have been replaced since.
    pub fn step_recorded(&mut self, at: Timestamp, input: &Input) -> Result<Output, Refusal> {
        self.admit_recorded(at, input)?;
        if let (Input::Command { command, .. }, Some(Bug::ForgetRevocationOnRestart)) =
            (input, self.planted)
            && matches!(command, Command::RevokeWallet { .. })
        {
            return Ok(Output::default());
        }
        let output = self.take(at, input);
        if let (Input::Command { id, .. }, Some(Bug::ForgetCommandsOnRestart)) =
            (input, self.planted)
        {
            self.commands.remove(id);
        }
        if let (
            Input::Command {
                command: Command::OpenWallet(spec),
                ..
            },
            Some(Bug::ForgetWalletsOnRestart),
        ) = (input, self.planted)
        {
            self.payments.forget_wallet(&spec.name);
        }
        if let (
            Input::Fact {
                fact: Fact::Cosigned { key, .. },
                ..
            },
            Some(Bug::ForgetSignaturesOnRestart),
        ) = (input, self.planted)
        {
            self.payments.forget_signatures(key);
        }
        Ok(output)
    }

    /// Decides, applies, emits.
    fn take(&mut self, now: Timestamp, input: &Input) -> Output {
        let consequences = match input {
            Input::Command {
                id,
                entropy,
                command,
            } => match self.commands.get(id) {
                Some(answered) => {
                    sometimes(Rare::CommandRepeated);
                    return Output {
                        events: answered.events.clone(),
                        instructions: Vec::new(),
                    };
                }
                None => self.on_command(now, id, *entropy, command),
            },
            Input::Fact { entropy, fact } => {
                let out = self.on_fact(now, *entropy, fact);
                self.with_statements(now, out)
            }
        };
        self.labels.learn(&consequences.events);
        for key in &consequences.answered {
            self.outstanding.remove(key);
        }
        for instruction in &consequences.instructions {
            self.outstanding.add(instruction.clone());
        }
        Output {
            events: consequences.events,
            instructions: consequences.instructions,
        }
    }

    /// SHA-256 over the whole state in a canonical form (JSON, ordered).
    ///
    /// # Panics
    /// If the state cannot be written as JSON: an error of the program.
    pub fn digest(&self) -> [u8; 32] {
        let state = (
            self.payments.snapshot(),
            &self.reconciliation,
            &self.reputation,
            &self.outstanding,
            &self.commands,
            &self.labels,
        );
        let bytes = serde_json::to_vec(&state).expect("the state is plain data");
        sha256::Hash::hash(&bytes).to_byte_array()
    }

    /// Instructions that were issued and not answered, in issue order; timers and watched scripts too.
    pub fn outstanding(&self) -> impl Iterator<Item = &Instruction> {
        self.outstanding.iter()
    }

    /// The books.
    pub fn ledger(&self) -> &Ledger {
        self.payments.ledger()
    }

    /// All payments.
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    /// Parties and their DIDs.
    pub fn reputation(&self) -> &Reputation {
        &self.reputation
    }

    /// Whether its node's channels and wallet are the engine's business: then it wants to be shown them.
    pub fn manages_channels(&self) -> bool {
        self.payments.policy().channels
    }

    /// The breaks of a finished reconciliation.
    pub fn breaks(&self, run: &ReconciliationId) -> Option<&[Break]> {
        self.reconciliation.finished(run)
    }

    /// Every script that a chain view must cover.
    pub fn watched_scripts(&self) -> Vec<ScriptBuf> {
        self.payments.onchain().watched_scripts()
    }

    /// Known blocks of the best chain, ascending; a chain view must reach back to one of them.
    pub fn chain_blocks(&self) -> Vec<BlockId> {
        self.payments.onchain().blocks()
    }

    /// All labels (BIP 329): what each address, transaction and output of our wallets is of.
    pub fn labels(&self) -> Vec<Label> {
        self.labels.all(self.payments.onchain())
    }

    /// What is known for labels; also of wallets that were restored elsewhere.
    pub fn label_book(&self) -> &LabelBook {
        &self.labels
    }

    fn set_label(&mut self, label: &Label) -> Consequences {
        self.labels.set(label);
        if let (Some(spendable), Ok(outpoint)) = (label.spendable, label.reference.parse()) {
            self.payments.set_spendable(outpoint, spendable);
        }
        Consequences {
            events: vec![Event::LabelSet {
                label: label.clone(),
            }],
            ..Consequences::default()
        }
    }

    fn admit_command(
        &self,
        now: Timestamp,
        id: &CommandId,
        command: &Command,
    ) -> Result<(), Refusal> {
        match self.commands.get(id) {
            Some(answered) if answered.command == hash_of(command) => return Ok(()),
            Some(_) => {
                sometimes(Rare::CommandIdReused);
                return Err(Refusal::CommandIdReused { id: id.clone() });
            }
            None => {}
        }
        match command {
            Command::OpenParty { party } => self.payments.check_party(party)?,
            Command::EnrolParty { party, .. } => self.check_enrolment(party)?,
            Command::OpenWallet(spec) => self.payments.check_wallet(spec)?,
            Command::RegisterWallet(order) => self.payments.check_register(order)?,
            Command::ProveWallet(order) => self.payments.check_prove(now, order)?,
            Command::RotateDid(order) => self.payments.check_rotate(order)?,
            Command::RevokeWallet { binding } => self.payments.check_revoke(binding)?,
            Command::NewAddress { wallet } => self.payments.check_address(wallet)?,
            Command::MoveFunds(order) => self.payments.check_move(order)?,
            Command::SetLabel(label) => label.check(self.payments.network())?,
            Command::RecordOpening { rail, quantity } => Payments::check_opening(*rail, *quantity)?,
            Command::SweepByRecovery { sweep, wallet } => {
                self.payments.check_sweep(sweep, wallet)?;
            }
            Command::OpenChannel(order) => self.payments.check_open_channel(order)?,
            Command::CloseChannel { funding, .. } => self.payments.check_close_channel(funding)?,
            Command::CreateCharge(order) => self.payments.check_charge(order)?,
            Command::CreatePayout(order) => self.payments.check_payout(now, order)?,
            Command::ReleaseHeld { payment } | Command::RefuseHeld { payment } => {
                self.payments.check_decision(payment)?;
            }
            Command::Reconcile { run, report_day } => {
                self.reconciliation
                    .check_begin(self.payments.policy(), run, report_day)?;
            }
        }
        Ok(())
    }

    fn check_enrolment(&self, party: &PartyId) -> Result<(), EnrolmentRefused> {
        if self.payments.ledger().has_party(party) {
            self.reputation.check_enrolment(party)
        } else {
            Err(EnrolmentRefused::UnknownParty {
                party: party.clone(),
            })
        }
    }

    fn on_command(
        &mut self,
        now: Timestamp,
        id: &CommandId,
        entropy: Entropy,
        command: &Command,
    ) -> Consequences {
        let consequences = match command {
            Command::OpenParty { party } => self.payments.open_party(party),
            Command::EnrolParty { party, did } => self.reputation.enrol(party, did),
            Command::OpenWallet(spec) => self.payments.open_wallet(spec),
            Command::RegisterWallet(order) => self.payments.register_wallet(now, entropy, order),
            Command::ProveWallet(order) => self.payments.prove_wallet(order),
            Command::RotateDid(order) => self.payments.rotate_did(now, entropy, order),
            Command::RevokeWallet { binding } => self.payments.revoke_wallet(now, entropy, binding),
            Command::NewAddress { wallet } => self.payments.give_address(wallet),
            Command::MoveFunds(order) => self.payments.move_funds(now, entropy, order),
            Command::SetLabel(label) => self.set_label(label),
            Command::RecordOpening { rail, quantity } => {
                self.payments.record_opening(now, *rail, *quantity)
            }
            Command::SweepByRecovery { sweep, wallet } => {
                let what = (sweep, wallet);
                self.payments.sweep_by_recovery(now, entropy, what)
            }
            Command::OpenChannel(order) => self.payments.open_channel(order),
            Command::CloseChannel { funding, force } => {
                self.payments.close_channel(*funding, *force)
            }
            Command::CreateCharge(order) => self.payments.create_charge(now, entropy, order),
            Command::CreatePayout(order) => self.payments.create_payout(now, entropy, order),
            Command::ReleaseHeld { payment } => self.payments.release_held(now, entropy, payment),
            Command::RefuseHeld { payment } => self.payments.refuse_held(now, entropy, payment),
            Command::Reconcile { run, report_day } => {
                let day = self
                    .reconciliation
                    .check_begin(self.payments.policy(), run, report_day);
                self.reconciliation
                    .begin(now, run, day.expect("the run was checked on admission"))
            }
        };
        let consequences = self.with_statements(now, consequences);
        let answered = Answered {
            command: hash_of(command),
            events: consequences.events.clone(),
        };
        self.commands.insert(id.clone(), answered);
        consequences
    }

    fn on_fact(&mut self, now: Timestamp, entropy: Entropy, fact: &Fact) -> Consequences {
        if let Some(key) = answered_by(fact) {
            self.outstanding.remove(key);
        }
        let of_run = |key: &IdempotencyKey| self.reconciliation.owns(key);
        let of_layer0 = |key: &IdempotencyKey| self.reputation.owns(key);
        match fact {
            Fact::HttpResponded { key, status, body } if of_layer0(key) => {
                let (status, policy) = (*status, self.payments.policy());
                let answer = Answer::Responded { status, body };
                self.reputation.on_answer(now, policy, key, answer)
            }
            Fact::HttpFailed { key, .. } if of_layer0(key) => {
                let policy = self.payments.policy();
                self.reputation.on_answer(now, policy, key, Answer::Failed)
            }
            Fact::StatementSigned { key, result } => {
                let policy = self.payments.policy();
                self.reputation.on_signed(now, policy, key, result)
            }
            Fact::TimerFired { key } if of_layer0(key) => {
                self.reputation.on_timer(now, self.payments.policy(), key)
            }
            Fact::Chain(_) => {
                let mut out = self.payments.on_fact(now, entropy, fact);
                let found = self.reconciliation.on_chain(&books(&self.payments));
                out.append(self.look_into(now, entropy, found));
                out
            }
            Fact::LightningBalance {
                key,
                local_msat,
                outgoing_htlcs_msat,
            } => {
                let outside = Msat(local_msat.0.saturating_add(outgoing_htlcs_msat.0));
                let books = books(&self.payments);
                let found = self.reconciliation.on_lightning(key, outside, &books);
                self.look_into(now, entropy, found)
            }
            Fact::HttpResponded { key, status, body } if of_run(key) => {
                let status = *status;
                let found = self.on_report(now, key, ReportAnswer::Responded { status, body });
                self.look_into(now, entropy, found)
            }
            Fact::HttpFailed { key, .. } if of_run(key) => {
                let found = self.on_report(now, key, ReportAnswer::Failed);
                self.look_into(now, entropy, found)
            }
            Fact::TimerFired { key } if of_run(key) => self.reconciliation.on_timer(now, key),
            Fact::Signed { .. }
            | Fact::Cosigned { .. }
            | Fact::Broadcast { .. }
            | Fact::Fees { .. }
            | Fact::Node(_)
            | Fact::ChannelRefused { .. }
            | Fact::ChannelCloseTaken { .. }
            | Fact::InvoiceCreated { .. }
            | Fact::LightningHeld { .. }
            | Fact::LightningReceived { .. }
            | Fact::HeldFailed { .. }
            | Fact::LightningSent { .. }
            | Fact::LightningFailed { .. }
            | Fact::HttpResponded { .. }
            | Fact::HttpFailed { .. }
            | Fact::Webhook { .. }
            | Fact::TimerFired { .. }
            | Fact::Unavailable { .. } => self.payments.on_fact(now, entropy, fact),
        }
    }

    /// A movement on the report that the ledger lacks makes the payments ask about it: its webhook may be lost for good.
    fn look_into(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        mut found: Consequences,
    ) -> Consequences {
        for reference in reconcile::unknown_transfers(&found.events) {
            found.append(self.payments.ask_about_transfer(now, entropy, &reference));
        }
        found
    }

    fn on_report(
        &mut self,
        now: Timestamp,
        key: &IdempotencyKey,
        answer: ReportAnswer<'_>,
    ) -> Consequences {
        let books = books(&self.payments);
        self.reconciliation
            .on_report(now, self.payments.policy(), key, answer, &books)
    }
}

fn hash_of(command: &Command) -> sha256::Hash {
    sha256::Hash::hash(&serde_json::to_vec(command).expect("commands are plain data"))
}

/// What reconciliation may see of payments.
fn books(payments: &Payments) -> Books<'_> {
    let mut lightning = LightningInFlight::default();
    let mut transfers = Vec::new();
    let plus = |sum: Msat, more: Msat| Msat(sum.0.saturating_add(more.0));
    for (_, payment) in payments.iter() {
        match payment {
            Payment::LightningPayout(payout)
                if payout.state == LightningPayoutState::Dispatched =>
            {
                lightning.outgoing = plus(plus(lightning.outgoing, payout.amount), payout.max_fee);
            }
            Payment::LightningCharge(charge) => match charge.state {
                LightningChargeState::Releasing { amount } => {
                    lightning.incoming = plus(lightning.incoming, amount)
                }
                LightningChargeState::Issued { .. } => lightning.invoices.push(charge.amount),
                LightningChargeState::Requested
                | LightningChargeState::Held { .. }
                | LightningChargeState::Refusing { .. }
                | LightningChargeState::Settled { .. }
                | LightningChargeState::Failed { .. } => {}
            },
            Payment::SepaPayout(payout) => transfers.push(booked(payout)),
            Payment::LightningPayout(_) | Payment::OnchainCharge(_) | Payment::OnchainPayout(_) => {
            }
        }
    }
    Books {
        ledger: payments.ledger(),
        chain_totals: payments.onchain().totals(),
        lightning,
        transfers,
    }
}

fn booked(payout: &SepaPayout) -> BookedTransfer {
    let back_unseen = payout.settled_at.is_none() && payout.transfer.is_some();
    let may_have_moved = match payout.state {
        SepaPayoutState::Ordering | SepaPayoutState::Accepted => true,
        SepaPayoutState::Settled => false,
        SepaPayoutState::Failed { .. } => back_unseen,
    };
    BookedTransfer {
        reference: payout.id.to_string(),
        cents: payout.amount.units(),
        created_at: payout.created_at,
        settled_at: payout.settled_at,
        returned_at: payout.returned_at,
        may_have_moved,
    }
}
