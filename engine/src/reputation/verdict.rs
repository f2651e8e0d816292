//! Owns which outcome an event gives a payment, and by whose doing it failed. Does not own weights (`policy`) nor when an
//! outcome is told.

use crate::event::{Event, FailureReason};
use crate::id::PaymentId;
use crate::layer0::Role;
use crate::policy::Outcome;
use crate::rail::LightningFailure;

/// The gateway's code for an account of the operator's that does not cover the transfer.
const OPERATOR_IS_SHORT: &str = "insufficient_funds";

/// The payment that an event brings to an end, or whose end it takes back.
pub(super) fn concerned(event: &Event) -> Option<&PaymentId> {
    if let Event::PaymentSettled { payment, .. }
    | Event::PaymentUndone { payment }
    | Event::PaymentFailed { payment, .. } = event
    {
        Some(payment)
    } else {
        None
    }
}

/// What is stated of an event that [`concerned`] a payment; `before` is what stands so far. `None`: there is nothing to
/// take back.
pub(super) fn outcome(
    event: &Event,
    role: Role,
    is_late: bool,
    before: Option<Outcome>,
) -> Option<Outcome> {
    let was_paid = matches!(before, Some(Outcome::Settled | Outcome::Late));
    if let Event::PaymentFailed { reason, .. } = event {
        let failed = by_whom(role, reason);
        return Some(if was_paid { Outcome::Reversed } else { failed });
    }
    if matches!(event, Event::PaymentUndone { .. }) {
        return was_paid.then_some(Outcome::Withdrawn);
    }
    Some(if is_late && role == Role::Payer {
        Outcome::Late
    } else {
        Outcome::Settled
    })
}

fn by_whom(role: Role, reason: &FailureReason) -> Outcome {
    match (reason, role) {
        // A charge was not paid; a payout was not sent in time.
        (FailureReason::Expired, Role::Payee) => Outcome::FailedByCounterparty,
        (FailureReason::Expired, Role::Payer) => Outcome::FailedByOperator,
        // A charge that its own party sent back; a payout to a wallet whose binding the party let end.
        (FailureReason::Refused | FailureReason::BindingEnded, _) => Outcome::FailedBySubject,
        (FailureReason::Lightning(failure), _) => lightning(*failure),
        (FailureReason::GatewayRejected(code), _) if code == OPERATOR_IS_SHORT => {
            Outcome::FailedByOperator
        }
        // The order itself was wrong: its account or its name.
        (FailureReason::GatewayRejected(_), _) => Outcome::FailedBySubject,
        // The transfer came back; the coins of a refund were taken back by whoever had sent them, or by a reorganisation.
        (FailureReason::Returned(_) | FailureReason::CoinsLost, _) => Outcome::FailedByCounterparty,
        (
            FailureReason::InvoiceNotCreated(_)
            | FailureReason::SigningRefused(_)
            | FailureReason::NotCosigned { .. }
            | FailureReason::BroadcastRefused(_)
            | FailureReason::NotBuildable(_),
            _,
        ) => Outcome::FailedByOperator,
    }
}

fn lightning(failure: LightningFailure) -> Outcome {
    match failure {
        LightningFailure::RecipientRejected => Outcome::FailedByCounterparty,
        // The party ordered it with an invoice that was as good as over.
        LightningFailure::InvoiceExpired => Outcome::FailedBySubject,
        LightningFailure::Refused => Outcome::FailedByOperator,
        LightningFailure::RouteNotFound
        | LightningFailure::RetriesExhausted
        | LightningFailure::Other => Outcome::FailedByNetwork,
    }
}
