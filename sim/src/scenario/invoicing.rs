//! Owns what a scenario can say of invoices: what the operator's shall say, which one a payout pays, and within which limits
//! its node looks for a way. Does not own amounts and names of others (`model`).

use super::model::{Millis, Msat, PaymentName};
use super::read::word;

/// What an invoice of the operator's says that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// These words.
    Words(String),
    /// The SHA-256 of these words.
    HashOf(String),
}

word!(
    /// The invoice that a payout is ordered with.
    pub InvoiceKind {
        /// The payee's own, over the amount of the payout.
        "plain" Plain,
        /// The payee's own, which leaves the amount to the payer.
        "open" Open,
        /// The payee's own, over one satoshi more than the payout.
        "other-amount" OtherAmount,
        /// The payee's own, with one character mistyped.
        "mistyped" Mistyped,
        /// By nobody: it is over since 2017.
        "expired" Expired,
        /// By nobody: of another network.
        "other-network" OtherNetwork,
        /// By nobody: without a payment secret.
        "no-secret" NoSecret,
        /// By nobody: it requires a feature that nobody knows.
        "unknown-feature" UnknownFeature,
        /// By nobody: it names another payee than the one that signed it.
        "foreign-signature" ForeignSignature,
        /// By nobody: the payee wants two weeks of blocks for himself.
        "far-expiry" FarExpiry,
    }
);

/// The invoice that a payout over Lightning pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaidInvoice {
    /// Made for it.
    Made(InvoiceKind),
    /// That of an earlier charge or payout.
    Of(PaymentName),
}

impl PaidInvoice {
    /// As it is if nothing is said.
    pub const USUAL: PaidInvoice = PaidInvoice::Made(InvoiceKind::Plain);
}

/// Within which limits a node looks for a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The most for fees, in place of the policy's.
    pub max_fee: Option<Msat>,
    /// How long it is tried again, in place of the node's own ten seconds.
    pub retry: Option<Millis>,
}
