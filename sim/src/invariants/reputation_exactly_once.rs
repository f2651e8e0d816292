//! Owns I11: Layer 0's book has each final outcome of each payment of an enrolled party exactly once, in order, each later one
//! naming the one that it corrects; and nothing else. Does not own by whose doing a payment failed (the model says that).

use super::{Invariant, Kind, Settled, Stepped, Violation};
use crate::worlds::layer0::Entry;
use lockstep_engine::api::{Engine, Event};
use lockstep_engine::id::PaymentId;
use lockstep_engine::policy::Outcome;
use lockstep_engine::reputation::State;
use std::collections::BTreeMap;

/// The name in docs/INVARIANTS.md.
const NAME: &str = "reputation-exactly-once";

/// How a payment ended, as far as the events alone tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Paid,
    Withdrawn,
    NotPaid,
}

impl End {
    fn of(outcome: Outcome) -> End {
        match outcome {
            Outcome::Settled | Outcome::Late => End::Paid,
            Outcome::Withdrawn => End::Withdrawn,
            Outcome::Reversed
            | Outcome::FailedBySubject
            | Outcome::FailedByCounterparty
            | Outcome::FailedByOperator
            | Outcome::FailedByNetwork => End::NotPaid,
        }
    }
}

/// I11.
#[derive(Default)]
pub(super) struct ReputationExactlyOnce {
    ends: BTreeMap<PaymentId, (String, Vec<End>)>,
}

impl ReputationExactlyOnce {
    fn ended(&mut self, engine: &Engine, payment: &PaymentId, end: End) {
        let party = engine.payments().get(payment).map(|found| found.party());
        let did = party.and_then(|party| engine.reputation().did_of(party));
        let Some(did) = did else {
            return;
        };
        let fresh = || (did.to_string(), Vec::new());
        let (_, ends) = self.ends.entry(payment.clone()).or_insert_with(fresh);
        // What was never said to be paid has nothing to take back.
        if end != End::Withdrawn || ends.last() == Some(&End::Paid) {
            ends.push(end);
        }
    }
}

impl Invariant for ReputationExactlyOnce {
    fn name(&self) -> &'static str {
        NAME
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        if stepped.engine.payments().policy().reputation.is_none() {
            return Ok(());
        }
        for event in &stepped.output.events {
            match event {
                Event::PaymentSettled { payment, .. } => {
                    self.ended(stepped.engine, payment, End::Paid)
                }
                Event::PaymentUndone { payment } => {
                    self.ended(stepped.engine, payment, End::Withdrawn)
                }
                Event::PaymentFailed { payment, .. } => {
                    self.ended(stepped.engine, payment, End::NotPaid)
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        let Some(book) = settled.layer0 else {
            return Ok(());
        };
        if let Some(id) = book.duplicates().first() {
            return Err(format!("Layer 0 was told {id} under more than one key"));
        }
        for entry in book.entries() {
            let known = PaymentId::new(entry.payment()).ok();
            if !known.is_some_and(|id| self.ends.contains_key(&id)) {
                return Err(format!(
                    "Layer 0 was told {}, and nothing ended so",
                    entry.id
                ));
            }
        }
        for (payment, (did, ends)) in &self.ends {
            let told: Vec<&Entry> = book.about(payment.as_str()).collect();
            check(payment, did, ends, &told)?;
            if settled.at_end && told.len() + refused(settled.engine, payment) != ends.len() {
                let (told, ends) = (told.len(), ends.len());
                return Err(format!(
                    "Layer 0 was told {told} of {ends} ends of {payment}"
                ));
            }
        }
        Ok(())
    }
}

/// What the book has of a payment is what happened, in that order, from the beginning.
fn check(payment: &PaymentId, did: &str, ends: &[End], told: &[&Entry]) -> Result<(), String> {
    let mut before: Option<&str> = None;
    for (index, entry) in told.iter().enumerate() {
        let id = format!("{payment}/outcome-{}", index + 1);
        let right = ends.get(index) == Some(&End::of(entry.outcome))
            && entry.id == id
            && entry.subject == did
            && entry.corrects.as_deref() == before;
        if !right {
            return Err(format!(
                "Layer 0 has {entry:?} as number {} of {payment} of {did}, which went {ends:?}",
                index + 1
            ));
        }
        before = Some(&entry.id);
    }
    Ok(())
}

/// Statements that Layer 0 does not take, and said so.
fn refused(engine: &Engine, payment: &PaymentId) -> usize {
    let stated = engine.reputation().statements(payment).iter();
    stated
        .filter(|statement| statement.state == State::Refused)
        .count()
}

/// Statements that are still on their way to Layer 0.
pub fn untold(engine: &Engine) -> Option<Violation> {
    let under_way: Vec<String> = engine
        .reputation()
        .all_statements()
        .filter(|(_, all)| all.iter().any(|statement| !statement.state.is_final()))
        .map(|(payment, _)| payment.to_string())
        .collect();
    let names = under_way.join(", ");
    (!under_way.is_empty()).then(|| Violation {
        invariant: NAME.to_owned(),
        kind: Kind::Liveness,
        what: format!("stated and never told to Layer 0: {names}"),
    })
}
