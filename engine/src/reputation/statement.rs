//! Owns the way of one statement to Layer 0: signed, told under one key until it is acknowledged. Does not own what is stated
//! (`verdict`) nor the order of a payment's statements (`book`).

use super::Answer;
use crate::event::{Consequences, Event};
use crate::id::{Did, IdempotencyKey, PaymentId};
use crate::layer0::{self, EventAnswer, Role};
use crate::planted::Bug;
use crate::policy::{Outcome, Policy, ReputationPolicy};
use crate::rail::{Effect, Instruction, Rail};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;

/// One statement about one payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// From 1 for each payment.
    pub number: u32,
    /// About whom.
    pub subject: Did,
    /// What the subject is in the payment.
    pub role: Role,
    /// How money moves.
    pub rail: Rail,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Number of the statement that this one corrects.
    pub corrects: Option<u32>,
    /// Where it stands.
    pub state: State,
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// An earlier one of the same payment is on its way.
    Waiting,
    /// At the signer, for so many attempts.
    Signing {
        /// From 1.
        attempt: u32,
    },
    /// Signed; told so many times.
    Telling {
        /// From 1.
        attempt: u32,
        /// JWS.
        statement: String,
    },
    /// In Layer 0's book.
    Accepted,
    /// Layer 0 will not have it.
    Refused,
}

impl State {
    /// Whether nothing more happens to it.
    pub fn is_final(&self) -> bool {
        match self {
            State::Accepted | State::Refused => true,
            State::Waiting | State::Signing { .. } | State::Telling { .. } => false,
        }
    }
}

/// What a statement has at hand.
pub(super) struct Desk<'a> {
    pub(super) now: Timestamp,
    pub(super) payment: &'a PaymentId,
    pub(super) policy: &'a Policy,
    pub(super) rule: &'a ReputationPolicy,
    pub(super) planted: Option<Bug>,
    pub(super) out: Consequences,
}

impl Desk<'_> {
    pub(super) fn emit(&mut self, event: Event) {
        self.out.events.push(event);
    }

    fn instruct(&mut self, key: String, effect: Effect) {
        let key = IdempotencyKey(key);
        self.out.instructions.push(Instruction { key, effect });
    }
}

impl Statement {
    /// Has it signed.
    pub(super) fn begin(&mut self, desk: &mut Desk<'_>) {
        self.state = State::Signing { attempt: 1 };
        self.sign(desk);
    }

    fn sign(&self, desk: &mut Desk<'_>) {
        let effect = Effect::SignStatement {
            issuer: desk.rule.issuer.clone(),
            payload: self.payload(desk),
        };
        desk.instruct(format!("{}-sign", self.key(desk)), effect);
    }

    fn key(&self, desk: &Desk<'_>) -> String {
        layer0::event_id(desk.payment, self.number)
    }

    fn payload(&self, desk: &Desk<'_>) -> String {
        let id = |number| layer0::event_id(desk.payment, number);
        layer0::payload(&layer0::Event {
            at: self.at,
            corrects: self.corrects.map(id),
            id: id(self.number),
            issuer: desk.rule.issuer.clone(),
            outcome: self.outcome,
            rail: self.rail,
            role: self.role,
            subject: self.subject.clone(),
        })
    }

    /// The signer answered. What is not the statement asked for is as good as nothing: it is asked again.
    pub(super) fn on_signed(&mut self, desk: &mut Desk<'_>, result: &Result<String, String>) {
        let State::Signing { attempt } = self.state else {
            return;
        };
        let sound = result.as_ref().ok().filter(|statement| {
            layer0::verify(&desk.rule.issuer, &self.payload(desk), statement).is_ok()
        });
        match sound {
            Some(statement) => {
                self.state = State::Telling {
                    attempt: 1,
                    statement: statement.clone(),
                };
                self.tell(desk);
            }
            None => {
                sometimes(Rare::StatementNotSigned);
                let next = attempt.saturating_add(1);
                self.state = State::Signing { attempt: next };
                self.wait(desk, attempt);
            }
        }
    }

    fn tell(&self, desk: &mut Desk<'_>) {
        let State::Telling { attempt, statement } = &self.state else {
            return;
        };
        let request = layer0::event_request(statement);
        let mut key = self.key(desk);
        if desk.planted == Some(Bug::StateUnderFreshKey) && *attempt > 1 {
            key = format!("{key}-again-{attempt}");
        }
        desk.instruct(key, Effect::CallLayer0 { request });
    }

    /// Layer 0 answered, or did not.
    pub(super) fn on_answer(&mut self, desk: &mut Desk<'_>, answer: Answer<'_>) {
        let State::Telling { attempt, .. } = &mut self.state else {
            return;
        };
        let (payment, number) = (desk.payment.clone(), self.number);
        let judged = match answer {
            Answer::Failed => EventAnswer::Unclear,
            Answer::Responded { status, .. } => layer0::judge_event(status),
        };
        match judged {
            EventAnswer::Accepted => {
                self.state = State::Accepted;
                desk.emit(Event::StatementAccepted { payment, number });
            }
            EventAnswer::Refused => {
                sometimes(Rare::StatementRefused);
                self.state = State::Refused;
                desk.emit(Event::StatementRefused { payment, number });
            }
            EventAnswer::Unclear => {
                sometimes(Rare::Layer0Unclear);
                let tried = *attempt;
                *attempt = attempt.saturating_add(1);
                self.wait(desk, tried);
            }
        }
    }

    fn wait(&self, desk: &mut Desk<'_>, attempt: u32) {
        let at = desk.now.plus(layer0::pause(desk.policy, attempt));
        let key = format!("{}-retry-{attempt}", self.key(desk));
        desk.instruct(key, Effect::WakeAt { at });
    }

    /// Time to try again.
    pub(super) fn on_timer(&self, desk: &mut Desk<'_>) {
        match self.state {
            State::Signing { .. } => self.sign(desk),
            State::Telling { .. } => self.tell(desk),
            State::Waiting | State::Accepted | State::Refused => {}
        }
    }
}
