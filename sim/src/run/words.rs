//! Owns the translation between the scenario's words and the engine's, the gateway's and the driver's.
//! Does not own either vocabulary.

use crate::scenario::{
    BindingAsked as Asked, BindingPurpose, CrashPoint, DidState, Disposal,
    FailureReason as Expected, GatewayFaultKind, Layer0FaultKind, Outcome, PaymentState, Shortfall,
};
use crate::worlds::gateway::GatewayFault;
use crate::worlds::layer0;
use lockstep_engine::api::{FailureReason, Finding};
use lockstep_engine::identity::{Ended, Purpose};
use lockstep_engine::money::Sat;
use lockstep_engine::policy::{self, BindingAsked};
use lockstep_engine::rail::LightningFailure;
use lockstep_host::ports::Point;

/// The scenario's word for the engine's finding.
pub(crate) fn finding(finding: Finding) -> &'static str {
    match finding {
        Finding::Partial => "partial",
        Finding::Over => "over",
        Finding::Late => "late",
        Finding::Double => "double",
        Finding::Replaced => "replaced",
    }
}

/// The engine's word for what is done with stray money.
pub(super) fn disposal(disposal: Disposal) -> policy::Disposal {
    match disposal {
        Disposal::Suspense => policy::Disposal::Suspense,
        Disposal::Credit => policy::Disposal::Credit,
        Disposal::Refund => policy::Disposal::Refund,
    }
}

/// The engine's word for who bears what is lacking.
pub(super) fn shortfall(shortfall: Shortfall) -> policy::Shortfall {
    match shortfall {
        Shortfall::Receivable { limit } => policy::Shortfall::Receivable {
            limit: Sat(limit.get()),
        },
        Shortfall::Operator => policy::Shortfall::Operator,
        Shortfall::Freeze => policy::Shortfall::Freeze,
    }
}

/// The scenario's word for the engine's reason.
pub(crate) fn failure(reason: &FailureReason) -> &'static str {
    match reason {
        FailureReason::Expired => "expired",
        FailureReason::Refused => "refused",
        FailureReason::BindingEnded => "binding-ended",
        FailureReason::Lightning(LightningFailure::RouteNotFound) => "route-not-found",
        FailureReason::Lightning(LightningFailure::RecipientRejected) => "recipient-rejected",
        FailureReason::Lightning(LightningFailure::RetriesExhausted) => "retries-exhausted",
        FailureReason::Lightning(LightningFailure::InvoiceExpired) => "invoice-expired",
        FailureReason::Lightning(LightningFailure::Refused) => "payment-refused",
        FailureReason::Lightning(LightningFailure::Other) => "other",
        FailureReason::InvoiceNotCreated(_) => "invoice-not-created",
        FailureReason::GatewayRejected(_) => "gateway-rejected",
        FailureReason::Returned(_) => "returned",
        FailureReason::SigningRefused(_) => "signing-refused",
        FailureReason::NotCosigned { .. } => "not-cosigned",
        FailureReason::BroadcastRefused(_) => "broadcast-refused",
        FailureReason::CoinsLost => "coins-lost",
        FailureReason::NotBuildable(_) => "not-buildable",
    }
}

/// The scenario's word for what it expects.
pub(crate) fn expected_failure(reason: Expected) -> &'static str {
    match reason {
        Expected::Expired => "expired",
        Expected::Refused => "refused",
        Expected::BindingEnded => "binding-ended",
        Expected::RouteNotFound => "route-not-found",
        Expected::RecipientRejected => "recipient-rejected",
        Expected::RetriesExhausted => "retries-exhausted",
        Expected::InvoiceExpired => "invoice-expired",
        Expected::PaymentRefused => "payment-refused",
        Expected::Other => "other",
        Expected::InvoiceNotCreated => "invoice-not-created",
        Expected::GatewayRejected => "gateway-rejected",
        Expected::Returned => "returned",
        Expected::SigningRefused => "signing-refused",
        Expected::NotCosigned => "not-cosigned",
        Expected::BroadcastRefused => "broadcast-refused",
        Expected::CoinsLost => "coins-lost",
        Expected::NotBuildable => "not-buildable",
    }
}

/// The engine's word for what needs a binding.
pub(crate) fn binding_asked(asked: Asked) -> BindingAsked {
    match asked {
        Asked::Off => BindingAsked::Off,
        Asked::Payouts => BindingAsked::Payouts,
        Asked::Both => BindingAsked::Both,
    }
}

/// The engine's word for what a wallet is bound for.
pub(crate) fn binding_purpose(purpose: BindingPurpose) -> Purpose {
    match purpose {
        BindingPurpose::Payouts => Purpose::Payouts,
        BindingPurpose::Charges => Purpose::Charges,
        BindingPurpose::Both => Purpose::Both,
    }
}

/// The scenario's word for how a binding ended.
pub(crate) fn ended(why: &Ended) -> &'static str {
    match why {
        Ended::Expired => "expired",
        Ended::Revoked(_) => "revoked",
        Ended::Rotated { .. } => "rotated",
        Ended::PassedOn { .. } => "checking",
    }
}

/// The scenario's word for a state.
pub(crate) fn state(state: PaymentState) -> &'static str {
    match state {
        PaymentState::Issued => "issued",
        PaymentState::Seen => "seen",
        PaymentState::Held => "held",
        PaymentState::Dispatched => "dispatched",
        PaymentState::Unknown => "unknown",
        PaymentState::Settled => "settled",
        PaymentState::Failed => "failed",
        PaymentState::Undone => "undone",
        PaymentState::Partial => "partial",
        PaymentState::Over => "over",
        PaymentState::Late => "late",
        PaymentState::Double => "double",
        PaymentState::Replaced => "replaced",
    }
}

/// The driver's word for a crash point.
pub(crate) fn point(point: CrashPoint) -> Point {
    match point {
        CrashPoint::BeforeJournal => Point::BeforeJournal,
        CrashPoint::Journaled => Point::Journaled,
        CrashPoint::Stepped => Point::Stepped,
        CrashPoint::Performed => Point::Performed,
    }
}

/// The gateway's word for a fault, and its name in lists of faults.
pub(crate) fn gateway_fault(
    kind: &GatewayFaultKind,
    reference: &str,
) -> (GatewayFault, &'static str) {
    let reference = reference.to_owned();
    match kind {
        GatewayFaultKind::LoseResponse { .. } => {
            (GatewayFault::LoseResponse { reference }, "lose-response")
        }
        GatewayFaultKind::LoseRequest { times } => (
            GatewayFault::LoseRequest {
                reference,
                times: *times,
            },
            "lose-request",
        ),
        GatewayFaultKind::SlowResponse { by } => (
            GatewayFault::SlowResponse {
                reference,
                secs: by.get().div_ceil(1_000),
            },
            "slow-response",
        ),
        GatewayFaultKind::SlowBody { by } => (
            GatewayFault::SlowBody {
                reference,
                secs: by.get().div_ceil(1_000),
            },
            "slow-body",
        ),
        GatewayFaultKind::CutBody { times } => (
            GatewayFault::CutBody {
                reference,
                times: *times,
            },
            "cut-body",
        ),
        GatewayFaultKind::TooManyRequests { times } => (
            GatewayFault::TooManyRequests {
                reference,
                times: *times,
            },
            "too-many-requests",
        ),
        GatewayFaultKind::ForgetKey => (GatewayFault::ForgetKey { reference }, "forget-key"),
        GatewayFaultKind::ReorderWebhooks => (
            GatewayFault::ReorderWebhooks { reference },
            "reorder-webhooks",
        ),
        GatewayFaultKind::WrongAmount => (GatewayFault::WrongAmount { reference }, "wrong-amount"),
        GatewayFaultKind::DuplicateWebhook => (
            GatewayFault::DuplicateWebhook { reference },
            "duplicate-webhook",
        ),
        GatewayFaultKind::DelayWebhook { by } => (
            GatewayFault::DelayWebhook {
                reference,
                secs: by.get().div_ceil(1_000),
            },
            "delay-webhook",
        ),
        GatewayFaultKind::DropWebhook => (GatewayFault::DropWebhook { reference }, "drop-webhook"),
        GatewayFaultKind::WrongSignature => (
            GatewayFault::WrongSignature { reference },
            "wrong-signature",
        ),
        GatewayFaultKind::ForgedWebhook => {
            (GatewayFault::ForgedWebhook { reference }, "forged-webhook")
        }
        GatewayFaultKind::Reject { code } => (
            GatewayFault::RejectTransfer {
                reference,
                code: code.as_str().to_owned(),
            },
            "reject",
        ),
        GatewayFaultKind::Return { reason, after } => (
            GatewayFault::ReturnTransfer {
                reference,
                reason: reason.clone(),
                after_secs: after.get().div_ceil(1_000),
            },
            "return",
        ),
        GatewayFaultKind::ServerError { times } => (
            GatewayFault::ServerError {
                reference,
                times: *times,
            },
            "server-error",
        ),
    }
}

/// Layer 0's word for what it says of a DID.
pub(crate) fn did_state(state: DidState) -> layer0::DidState {
    match state {
        DidState::Active => layer0::DidState::Active,
        DidState::Suspended => layer0::DidState::Suspended,
        DidState::Revoked => layer0::DidState::Revoked,
    }
}

/// The engine's word for an outcome.
pub(crate) fn outcome(outcome: Outcome) -> policy::Outcome {
    match outcome {
        Outcome::Settled => policy::Outcome::Settled,
        Outcome::Late => policy::Outcome::Late,
        Outcome::Withdrawn => policy::Outcome::Withdrawn,
        Outcome::Reversed => policy::Outcome::Reversed,
        Outcome::FailedBySubject => policy::Outcome::FailedBySubject,
        Outcome::FailedByCounterparty => policy::Outcome::FailedByCounterparty,
        Outcome::FailedByOperator => policy::Outcome::FailedByOperator,
        Outcome::FailedByNetwork => policy::Outcome::FailedByNetwork,
    }
}

/// The model's word for a fault of Layer 0, which has the gateway's exchanges.
pub(crate) fn layer0_fault(kind: Layer0FaultKind, reference: String) -> GatewayFault {
    let secs = |by: crate::scenario::Millis| by.get().div_ceil(1_000);
    match kind {
        Layer0FaultKind::LoseRequest { times } => GatewayFault::LoseRequest { reference, times },
        Layer0FaultKind::LoseResponse { .. } => GatewayFault::LoseResponse { reference },
        Layer0FaultKind::SlowResponse { by } => GatewayFault::SlowResponse {
            reference,
            secs: secs(by),
        },
        Layer0FaultKind::SlowBody { by } => GatewayFault::SlowBody {
            reference,
            secs: secs(by),
        },
        Layer0FaultKind::CutBody { times } => GatewayFault::CutBody { reference, times },
        Layer0FaultKind::ServerError { times } => GatewayFault::ServerError { reference, times },
        Layer0FaultKind::TooManyRequests { times } => {
            GatewayFault::TooManyRequests { reference, times }
        }
        Layer0FaultKind::ForgetKey => GatewayFault::ForgetKey { reference },
    }
}
