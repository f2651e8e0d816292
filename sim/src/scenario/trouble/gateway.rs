//! Owns what the fiat gateway does wrong about one payout, in the checked scenario. Does not own the gateway
//! (`worlds::gateway`).

use crate::scenario::choice::RejectCode;
use crate::scenario::model::{Millis, PaymentName};
use std::fmt::{self, Display, Formatter};

/// Trouble with the gateway about one payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayFault {
    /// A SEPA payout of any step: faults may be armed before the payout is made.
    pub on: PaymentName,
    /// What happens.
    pub kind: GatewayFaultKind,
}

/// What the gateway does wrong. Spans are above zero, counts at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayFaultKind {
    /// The connection is lost before the order is looked at.
    LoseRequest {
        /// Requests in a row.
        times: u32,
    },
    /// The order is carried out, the response is lost.
    LoseResponse {
        /// Responses in a row.
        times: u32,
    },
    /// The order is carried out, and answered so much later; until then its key is in use.
    SlowResponse {
        /// How much later.
        by: Millis,
    },
    /// The order is carried out, and its answer's body takes so long.
    SlowBody {
        /// How long.
        by: Millis,
    },
    /// The order is carried out, and the connection is lost in the middle of the answer's body.
    CutBody {
        /// Responses in a row.
        times: u32,
    },
    /// Status 500 before the order is looked at.
    ServerError {
        /// Requests in a row.
        times: u32,
    },
    /// Status 429 before the order is looked at.
    TooManyRequests {
        /// Requests in a row.
        times: u32,
    },
    /// The order's idempotency key is forgotten at once.
    ForgetKey,
    /// Each webhook comes twice.
    DuplicateWebhook,
    /// Webhooks come late.
    DelayWebhook {
        /// How late.
        by: Millis,
    },
    /// A webhook is overtaken by the next one about the same payout.
    ReorderWebhooks,
    /// Webhooks never come.
    DropWebhook,
    /// Webhooks are signed with an unknown key at first.
    WrongSignature,
    /// Somebody without the key tells that the transfer is booked before it is.
    ForgedWebhook,
    /// Webhooks come first with another amount, rightly signed.
    WrongAmount,
    /// The order is rejected (status 422).
    Reject {
        /// With this code.
        code: RejectCode,
    },
    /// The beneficiary's bank sends the money back.
    Return {
        /// ISO 20022 ExternalReturnReason1Code: four capitals or digits.
        reason: String,
        /// How long after the order was taken; one that is not later than the booking is never booked.
        after: Millis,
    },
}

impl GatewayFaultKind {
    /// Whether the gateway lets time pass in the middle of an exchange, which the regtest world cannot: its time stands
    /// still while an exchange is under way.
    pub fn takes_time(&self) -> bool {
        matches!(self, Self::SlowResponse { .. } | Self::SlowBody { .. })
    }
}

impl Display for GatewayFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let on = &self.on;
        match &self.kind {
            GatewayFaultKind::LoseRequest { times } => {
                write!(f, "lose-request on {on} times {times}")
            }
            GatewayFaultKind::LoseResponse { times } => {
                write!(f, "lose-response on {on} times {times}")
            }
            GatewayFaultKind::SlowResponse { by } => write!(f, "slow-response on {on} by {by}"),
            GatewayFaultKind::SlowBody { by } => write!(f, "slow-body on {on} by {by}"),
            GatewayFaultKind::CutBody { times } => write!(f, "cut-body on {on} times {times}"),
            GatewayFaultKind::ServerError { times } => {
                write!(f, "server-error on {on} times {times}")
            }
            GatewayFaultKind::TooManyRequests { times } => {
                write!(f, "too-many-requests on {on} times {times}")
            }
            GatewayFaultKind::ForgetKey => write!(f, "forget-key on {on}"),
            GatewayFaultKind::DuplicateWebhook => write!(f, "duplicate-webhook on {on}"),
            GatewayFaultKind::DelayWebhook { by } => write!(f, "delay-webhook on {on} by {by}"),
            GatewayFaultKind::ReorderWebhooks => write!(f, "reorder-webhooks on {on}"),
            GatewayFaultKind::DropWebhook => write!(f, "drop-webhook on {on}"),
            GatewayFaultKind::WrongSignature => write!(f, "wrong-signature on {on}"),
            GatewayFaultKind::ForgedWebhook => write!(f, "forged-webhook on {on}"),
            GatewayFaultKind::WrongAmount => write!(f, "wrong-amount on {on}"),
            GatewayFaultKind::Reject { code } => write!(f, "reject on {on} code {code}"),
            GatewayFaultKind::Return { reason, after } => {
                write!(f, "return on {on} reason {reason} after {after}")
            }
        }
    }
}
