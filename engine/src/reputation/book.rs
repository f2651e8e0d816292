//! Owns what was stated of each payment, in order: one statement for each outcome, each later one naming the one that it
//! corrects, and the next on its way only when the one before has arrived. Does not own the way of one (`statement`).

use super::statement::{Desk, State, Statement};
use super::{Answer, verdict};
use crate::event::{Consequences, Event};
use crate::id::{Did, IdempotencyKey, PartyId, PaymentId};
use crate::layer0::Role;
use crate::planted::Bug;
use crate::policy::{Outcome, Policy, ReputationPolicy};
use crate::rail::Rail;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is to be known of a payment to state how it ended.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose account it concerns.
    pub party: PartyId,
    /// What the party is in it.
    pub role: Role,
    /// How money moves.
    pub rail: Rail,
    /// When it was to be final.
    pub due_at: Timestamp,
}

/// All statements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Book {
    statements: BTreeMap<PaymentId, Vec<Statement>>,
    #[serde(skip)]
    planted: Option<Bug>,
}

/// What a fact under a statement's key says.
pub(super) enum News<'a> {
    Signed(&'a Result<String, String>),
    Answered(Answer<'a>),
    Timer,
}

impl Book {
    pub(super) fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
    }

    pub(super) fn of(&self, payment: &PaymentId) -> &[Statement] {
        self.statements.get(payment).map_or(&[], Vec::as_slice)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PaymentId, &[Statement])> {
        self.statements
            .iter()
            .map(|(payment, all)| (payment, all.as_slice()))
    }

    /// States what an event made of a payment, if it ended it or took its end back.
    pub(super) fn observe(
        &mut self,
        (now, policy, rule): (Timestamp, &Policy, &ReputationPolicy),
        event: &Event,
        of: impl Fn(&PaymentId) -> Option<(Did, Facts)>,
    ) -> Consequences {
        let mut out = Consequences::default();
        let early = if let Event::PayoutDispatched { payment } = event
            && self.has(Bug::StateBeforeFinal)
        {
            Some(payment)
        } else {
            None
        };
        let silent = matches!(event, Event::PaymentFailed { .. }) && self.has(Bug::StateNoFailure)
            || matches!(event, Event::PaymentUndone { .. }) && self.has(Bug::StateNoCorrection);
        let concerned = verdict::concerned(event).filter(|_| !silent).or(early);
        let Some((payment, (did, facts))) = concerned.and_then(|id| Some((id, of(id)?))) else {
            return out;
        };
        let planted = self.planted;
        let stated = self.statements.get(payment).map_or(&[][..], Vec::as_slice);
        let (before, first) = (stated.last(), stated.first());
        let so_far = before.map(|statement| statement.outcome);
        let is_late = now > facts.due_at;
        let Some(outcome) = verdict::outcome(event, facts.role, is_late, so_far) else {
            return out;
        };
        if planted == Some(Bug::StateBeforeFinal) && so_far == Some(outcome) {
            return out;
        }
        let corrects = before.map(|statement| statement.number);
        let number = corrects.unwrap_or(0).saturating_add(1);
        if corrects.is_some() {
            sometimes(Rare::StatementCorrected);
        }
        let statement = Statement {
            number,
            // A correction is about whom the first one was about.
            subject: first.map_or(did, |first| first.subject.clone()),
            role: facts.role,
            rail: facts.rail,
            outcome,
            at: now,
            corrects,
            state: State::Waiting,
        };
        out.events.push(Event::OutcomeStated {
            payment: payment.clone(),
            number,
            outcome,
            corrects,
        });
        let all = self.statements.entry(payment.clone()).or_default();
        all.push(statement);
        let mut desk = Desk {
            now,
            payment,
            policy,
            rule,
            planted,
            out,
        };
        go_on(all, &mut desk);
        desk.out
    }

    fn has(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }

    /// A fact under a key of one of the statements.
    pub(super) fn on_news(
        &mut self,
        (now, policy, rule): (Timestamp, &Policy, &ReputationPolicy),
        key: &IdempotencyKey,
        news: News<'_>,
    ) -> Consequences {
        let Some((payment, number)) = named(key) else {
            return Consequences::default();
        };
        let planted = self.planted;
        let Some(all) = self.statements.get_mut(&payment) else {
            return Consequences::default();
        };
        let mut desk = Desk {
            now,
            payment: &payment,
            policy,
            rule,
            planted,
            out: Consequences::default(),
        };
        let found = all.iter_mut().find(|statement| statement.number == number);
        if let Some(statement) = found {
            match news {
                News::Signed(result) => statement.on_signed(&mut desk, result),
                News::Answered(answer) => statement.on_answer(&mut desk, answer),
                News::Timer => statement.on_timer(&mut desk),
            }
        }
        go_on(all, &mut desk);
        desk.out
    }

    /// The outcomes that count of all payments of a subject: the last one stated of each, but for what Layer 0 refused.
    pub(super) fn counted(&self, subject: &Did) -> impl Iterator<Item = (Outcome, Timestamp)> {
        let last = self.statements.values().filter_map(move |all| {
            let counts = |statement: &&Statement| statement.state != State::Refused;
            all.iter().rev().find(counts)
        });
        last.filter(move |statement| statement.subject == *subject)
            .map(|statement| (statement.outcome, statement.at))
    }
}

/// Sends the next statement on its way when all before it have arrived.
fn go_on(all: &mut [Statement], desk: &mut Desk<'_>) {
    let next = all.iter_mut().find(|statement| !statement.state.is_final());
    if let Some(statement) = next
        && statement.state == State::Waiting
    {
        statement.begin(desk);
    }
}

/// What every key of a statement has behind the payment's id.
pub(super) const OUTCOME: &str = "outcome-";

/// The payment and the number in a key: `<payment>/outcome-<number>`, perhaps with more behind a dash.
fn named(key: &IdempotencyKey) -> Option<(PaymentId, u32)> {
    let (payment, what) = key.0.split_once('/')?;
    let rest = what.strip_prefix(OUTCOME)?;
    let number = rest.split('-').next()?.parse().ok()?;
    Some((PaymentId::new(payment).ok()?, number))
}
