//! Owns what the model remembers of Layer 0: which party is enrolled as whom, what must be stated of each payment, and what
//! Layer 0 has acknowledged (docs/SPEC.md, "Layer 0"). Does not own payments.

use super::books::{Checked, Model, unless};
use super::orders::Why;
use super::states::Kind;
use lockstep_engine::api::{Command, Event, FailureReason};
use lockstep_engine::id::{Did, PartyId, PaymentId};
use lockstep_engine::layer0::DidState;
use lockstep_engine::policy::Outcome;
use lockstep_engine::rail::{Fact, LightningFailure};
use lockstep_engine::time::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where a party's enrolment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Enrolment {
    /// Layer 0 has not answered.
    Asked(Did),
    /// Layer 0 vouches for it.
    Enrolled,
}

/// A statement: its number, the outcome, and the number of the one that it corrects.
type Stated = (u32, Outcome, Option<u32>);

/// What the model remembers of Layer 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer0 {
    enrolments: BTreeMap<PartyId, Enrolment>,
    /// When each payout was to be final.
    deadlines: BTreeMap<PaymentId, Timestamp>,
    /// The last statement about each payment.
    stated: BTreeMap<PaymentId, (u32, Outcome)>,
    /// What the input that is being taken in must make the engine state.
    due: VecDeque<(PaymentId, Stated)>,
    /// Statements that Layer 0 has answered for good.
    told: BTreeSet<(PaymentId, u32)>,
}

impl Model {
    /// Whether a party must not be enrolled now.
    pub(super) fn forbids_enrolment(&self, party: &PartyId) -> Result<(), Why> {
        if !self.has_party(party) {
            Err(Why::PartyUnknown)
        } else if self.layer0.enrolments.contains_key(party) {
            Err(Why::Enrolled)
        } else {
            Ok(())
        }
    }

    pub(super) fn on_enrolling(&mut self, party: &PartyId, did: &Did) {
        let asked = Enrolment::Asked(did.clone());
        self.layer0.enrolments.insert(party.clone(), asked);
    }

    pub(super) fn on_enrolled(
        &mut self,
        party: &PartyId,
        did: &Did,
        fact: Option<&Fact>,
    ) -> Checked {
        self.check_answer(party, did, fact, Some(DidState::Active))?;
        let enrolments = &mut self.layer0.enrolments;
        enrolments.insert(party.clone(), Enrolment::Enrolled);
        Ok(())
    }

    pub(super) fn on_enrolment_refused(
        &mut self,
        (party, did): (&PartyId, &Did),
        state: Option<DidState>,
        fact: Option<&Fact>,
    ) -> Checked {
        self.check_answer(party, did, fact, state)?;
        self.layer0.enrolments.remove(party);
        unless(state != Some(DidState::Active), || {
            format!("{party} was not enrolled as {did}, which is active")
        })
    }

    /// Layer 0 was asked about this party's DID, and its answer says this.
    fn check_answer(
        &self,
        party: &PartyId,
        did: &Did,
        fact: Option<&Fact>,
        state: Option<DidState>,
    ) -> Checked {
        let asked = Enrolment::Asked(did.clone());
        if self.layer0.enrolments.get(party) != Some(&asked) {
            return Err(format!("nobody asked whether {party} is {did}"));
        }
        let Some(Fact::HttpResponded { status, body, .. }) = fact else {
            return Err(format!("Layer 0 has said nothing of {did}"));
        };
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let told = match status {
            200 if body["did"] == did.as_str() => Some(body["state"].clone()),
            404 => None,
            _ => return Err(format!("an unclear answer decided about {did}")),
        };
        let expected = state.map(|state| serde_json::to_value(state).expect("a word"));
        unless(told == expected, || {
            format!("Layer 0 says {told:?} of {did}, the engine {expected:?}")
        })
    }

    /// Late is a payout that settles after its deadline.
    pub(super) fn note_deadline(&mut self, now: Timestamp, command: &Command) {
        if let Command::CreatePayout(order) = command {
            let due = now.plus(order.deadline);
            self.layer0.deadlines.insert(order.payment.clone(), due);
        }
    }

    /// An event that ends a payment, or takes its end back, must be stated if its party is enrolled.
    pub(super) fn on_end(&mut self, now: Timestamp, event: &Event) {
        let payment = match event {
            Event::PaymentSettled { payment, .. }
            | Event::PaymentUndone { payment }
            | Event::PaymentFailed { payment, .. } => payment,
            _ => return,
        };
        let Some(tracked) = self.payments.get(payment) else {
            return;
        };
        let (kind, party) = (tracked.kind, &tracked.party);
        let enrolled = self.layer0.enrolments.get(party) == Some(&Enrolment::Enrolled);
        if !self.terms.reputation || !enrolled {
            return;
        }
        let before = self.layer0.stated.get(payment).copied();
        let was_paid = matches!(before, Some((_, Outcome::Settled | Outcome::Late)));
        let deadline = self.layer0.deadlines.get(payment);
        let outcome = match event {
            Event::PaymentUndone { .. } if !was_paid => return,
            Event::PaymentUndone { .. } => Outcome::Withdrawn,
            Event::PaymentFailed { .. } if was_paid => Outcome::Reversed,
            Event::PaymentFailed { reason, .. } => by_whom(kind, reason),
            _ if deadline.is_some_and(|due| now > *due) => Outcome::Late,
            _ => Outcome::Settled,
        };
        let number = before.map_or(1, |(number, _)| number + 1);
        let stated = (number, outcome, before.map(|(number, _)| number));
        let id = payment.clone();
        self.layer0.stated.insert(id.clone(), (number, outcome));
        self.layer0.due.push_back((id, stated));
    }

    pub(super) fn on_stated(&mut self, payment: &PaymentId, stated: Stated) -> Checked {
        let due = self.layer0.due.pop_front();
        unless(due == Some((payment.clone(), stated)), || {
            format!("{stated:?} was stated of {payment}, not {due:?}")
        })
    }

    pub(super) fn check_all_stated(&self) -> Checked {
        match self.layer0.due.front() {
            None => Ok(()),
            Some((payment, stated)) => Err(format!("{stated:?} was not stated of {payment}")),
        }
    }

    /// Layer 0 answered so to that statement, which it had not answered before.
    pub(super) fn on_told(
        &mut self,
        payment: &PaymentId,
        number: u32,
        fact: Option<&Fact>,
        statuses: &[u16],
    ) -> Checked {
        let last = self.layer0.stated.get(payment);
        let is_stated = last.is_some_and(|(last, _)| (1..=*last).contains(&number));
        let answered =
            matches!(fact, Some(Fact::HttpResponded { status, .. }) if statuses.contains(status));
        let first = self.layer0.told.insert((payment.clone(), number));
        unless(is_stated && answered && first, || {
            format!("statement {number} of {payment} ended, and Layer 0 has not said so")
        })
    }
}

fn by_whom(kind: Kind, reason: &FailureReason) -> Outcome {
    let is_charge = matches!(kind, Kind::LightningCharge | Kind::OnchainCharge);
    match reason {
        FailureReason::Expired if is_charge => Outcome::FailedByCounterparty,
        FailureReason::Refused | FailureReason::BindingEnded => Outcome::FailedBySubject,
        FailureReason::Returned(_)
        | FailureReason::Lightning(LightningFailure::RecipientRejected) => {
            Outcome::FailedByCounterparty
        }
        FailureReason::Lightning(LightningFailure::InvoiceExpired) => Outcome::FailedBySubject,
        FailureReason::Lightning(
            LightningFailure::RouteNotFound
            | LightningFailure::RetriesExhausted
            | LightningFailure::Other,
        ) => Outcome::FailedByNetwork,
        FailureReason::GatewayRejected(code) if code != "insufficient_funds" => {
            Outcome::FailedBySubject
        }
        _ => Outcome::FailedByOperator,
    }
}
