//! Owns why the decision about an escrow does not count. Nothing has changed then. Does not own the checks.

use crate::escrow::NotADecision;
use crate::id::{EscrowId, PaymentId};
use crate::identity::JwsRefused;
use crate::money::Msat;
use crate::payments::refusal::PayoutRefused;

/// Why a decision is refused; the first reason that is found, in this order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscrowRefused {
    /// The webhook holds no text to be checked.
    #[error("it has no statement (`data.jws`)")]
    NoStatement,
    /// The statement is unsound, or another's.
    #[error("{cause}")]
    Statement {
        /// Why.
        #[from]
        cause: JwsRefused,
    },
    /// What is stated is no decision.
    #[error("{cause}")]
    NotADecision {
        /// Why.
        #[from]
        cause: NotADecision,
    },
    /// No charge is in such an escrow.
    #[error("escrow `{escrow}` is not known")]
    Unknown {
        /// Which.
        escrow: EscrowId,
    },
    /// Another decision came first.
    #[error("escrow `{escrow}` was decided otherwise")]
    AlreadyDecided {
        /// Which.
        escrow: EscrowId,
    },
    /// All of its charges are over, or on their way back.
    #[error("escrow `{escrow}` has no charge left that could be decided about")]
    TooLate {
        /// Which.
        escrow: EscrowId,
    },
    /// A split names each charge that can be decided about, and no other.
    #[error("its shares are not those of the charges that are left")]
    OtherCharges,
    /// A share's parts add up to another amount.
    #[error("of charge `{charge}` {named} are named, and it is about {asked}")]
    AmountsDiffer {
        /// Of which charge.
        charge: PaymentId,
        /// In the decision.
        named: Msat,
        /// By the charge.
        asked: Msat,
    },
    /// The chain knows no parts of a satoshi.
    #[error("of charge `{charge}` {amount} are to go back, which is not a whole number of satoshi")]
    NotWholeSatoshi {
        /// Of which charge.
        charge: PaymentId,
        /// The payer's part.
        amount: Msat,
    },
    /// A share has an invoice exactly when it is one over Lightning of which both get something.
    #[error("of charge `{charge}` the payer's part has no invoice, or one that it does not need")]
    WayBack {
        /// Of which charge.
        charge: PaymentId,
    },
    /// The invoice cannot be paid.
    #[error("the payer's part cannot be paid back: {cause}")]
    Invoice {
        /// Why.
        cause: Box<PayoutRefused>,
    },
    /// One payment hash is paid once.
    #[error("the payer's invoice for charge `{charge}` is that of another share")]
    InvoiceUsed {
        /// Of which charge.
        charge: PaymentId,
    },
}
