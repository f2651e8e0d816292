//! Owns the translation between the scenario's words and the engine's, the gateway's and the driver's.
//! Does not own either vocabulary.

use crate::scenario::{
    BindingAsked as Asked, BindingPurpose, CrashPoint, FailureReason as Expected, GatewayFaultKind,
    PaymentState,
};
use crate::worlds::gateway::GatewayFault;
use lockstep_engine::api::FailureReason;
use lockstep_engine::identity::{Ended, Purpose};
use lockstep_engine::policy::BindingAsked;
use lockstep_engine::rail::LightningFailure;
use lockstep_host::ports::Point;

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
        FailureReason::BroadcastRefused(_) => "broadcast-refused",
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
        Expected::BroadcastRefused => "broadcast-refused",
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
        PaymentState::Settled => "settled",
        PaymentState::Failed => "failed",
        PaymentState::Undone => "undone",
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
