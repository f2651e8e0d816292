//! Owns why an invoice is not paid, or not believed to be ours: a name for each reason, and which of the parser's words is
//! which. Does not own the reading.

use super::MAX_INVOICE_BYTES;
use crate::money::Msat;
use crate::time::Timestamp;
use bitcoin::Network;
use bitcoin::bech32::primitives::decode::{CheckedHrpstringError, ChecksumError};
use lightning_invoice::{
    Bolt11ParseError, Bolt11SemanticError, ParseOrSemanticError, SignedRawBolt11Invoice,
};

/// Why an invoice is not paid (or not believed to be ours). BOLT 11, "Requirements" of a reader, if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefused {
    /// Longer than [`MAX_INVOICE_BYTES`].
    #[error("an invoice of {bytes} bytes is longer than {MAX_INVOICE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character was mistyped or lost.
    #[error("the invoice's checksum is wrong")]
    BadChecksum,
    /// The text cannot be decoded.
    #[error("not a BOLT 11 invoice: {cause}")]
    NotBolt11 {
        /// The parser's words.
        cause: String,
    },
    /// No key has made it, or another one than the payee it names.
    #[error("the invoice's signature is wrong")]
    BadSignature,
    /// No `p`.
    #[error("the invoice has no payment hash")]
    NoPaymentHash,
    /// No `s`, or its feature is not offered: whoever forwards the payment could probe the payee.
    #[error("the invoice has no payment secret")]
    NoPaymentSecret,
    /// Neither `d` nor `h`: nothing says what is paid for.
    #[error("the invoice has no description")]
    NoDescription,
    /// Two readers could take either.
    #[error("the invoice has {field} more than once")]
    Doubled {
        /// Which.
        field: &'static str,
    },
    /// It asks the payer for something that is not known here (an even bit of BOLT 9).
    #[error("the invoice requires a feature that is not known here")]
    UnknownFeature,
    /// Parts of a millisatoshi.
    #[error("the invoice's amount is no whole number of millisatoshi")]
    TooFine,
    /// For another network.
    #[error("the invoice's prefix is ln{found}, which is not of {expected}")]
    WrongNetwork {
        /// The invoice's prefix after `ln`.
        found: String,
        /// Ours.
        expected: Network,
    },
    /// It asks for nothing; one without an amount leaves that to the payer.
    #[error("the invoice asks for nothing")]
    ZeroAmount,
    /// Too late.
    #[error("the invoice expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
    /// The payee could keep the money locked for longer than the operator lets him.
    #[error("the payee wants {blocks} blocks for himself, more than {most}")]
    FinalDeltaTooLong {
        /// Of the invoice.
        blocks: u64,
        /// The policy's.
        most: u32,
    },
    /// Our node issued another amount than asked (zero: none).
    #[error("the invoice asks for {found}, not for {asked}")]
    OtherAmount {
        /// Of the invoice.
        found: Msat,
        /// What was to be issued.
        asked: Msat,
    },
    /// Our node issued it for something else.
    #[error("the invoice does not say what it was to say that it is for")]
    OtherDescription,
    /// Our node issued a hold invoice on another hash than asked.
    #[error("the invoice is not on the payment hash that was asked for")]
    OtherHash,
}

/// The name for the parser's reason not to take `text`.
pub(super) fn refused(error: ParseOrSemanticError, text: &str) -> InvoiceRefused {
    match error {
        ParseOrSemanticError::ParseError(Bolt11ParseError::MalformedSignature(_)) => {
            InvoiceRefused::BadSignature
        }
        ParseOrSemanticError::ParseError(Bolt11ParseError::Bech32Error(
            CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue),
        )) => InvoiceRefused::BadChecksum,
        ParseOrSemanticError::ParseError(cause) => InvoiceRefused::NotBolt11 {
            cause: cause.to_string(),
        },
        ParseOrSemanticError::SemanticError(cause) => breaks(&cause, text),
    }
}

fn breaks(cause: &Bolt11SemanticError, text: &str) -> InvoiceRefused {
    let doubled = |field| InvoiceRefused::Doubled { field };
    match cause {
        Bolt11SemanticError::NoPaymentHash => InvoiceRefused::NoPaymentHash,
        Bolt11SemanticError::MultiplePaymentHashes => doubled("a payment hash"),
        Bolt11SemanticError::NoDescription => InvoiceRefused::NoDescription,
        Bolt11SemanticError::MultipleDescriptions => doubled("a description"),
        Bolt11SemanticError::NoPaymentSecret => InvoiceRefused::NoPaymentSecret,
        Bolt11SemanticError::MultiplePaymentSecrets => doubled("a payment secret"),
        Bolt11SemanticError::InvalidFeatures if requires_unknown(text) => {
            InvoiceRefused::UnknownFeature
        }
        Bolt11SemanticError::InvalidFeatures => InvoiceRefused::NoPaymentSecret,
        Bolt11SemanticError::InvalidSignature => InvoiceRefused::BadSignature,
        Bolt11SemanticError::ImpreciseAmount => InvoiceRefused::TooFine,
    }
}

/// The parser has one word for features that are unknown and for those that are absent.
fn requires_unknown(text: &str) -> bool {
    let raw = text.parse::<SignedRawBolt11Invoice>().ok();
    raw.is_some_and(|raw| {
        let features = raw.features();
        features.is_some_and(|features| features.requires_unknown_bits())
    })
}
