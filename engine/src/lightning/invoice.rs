//! Owns the reading of BOLT 11 invoices: which ones the engine pays, and whether the node issued what was asked of it.
//! Does not own payment.

use crate::money::Msat;
use crate::time::Timestamp;
use bitcoin::Network;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use lightning_invoice::{
    Bolt11Invoice, Bolt11InvoiceDescriptionRef, Bolt11SemanticError, Currency, ParseOrSemanticError,
};

/// The longest text that is read: the capacity of the largest QR code for the bytes an invoice may use
/// (BOLT 11 sets no limit).
pub const MAX_INVOICE_BYTES: usize = 7_089;

/// An invoice that can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedInvoice {
    /// SHA-256 of the preimage that will prove payment.
    pub payment_hash: [u8; 32],
    /// What the payee gets.
    pub amount_msat: Msat,
    /// From this moment on it is not paid any more.
    pub expires_at: Timestamp,
    /// The payee's node id.
    pub payee: PublicKey,
    /// In words; the hash in hex if the invoice carries only a hash of the description.
    pub description: String,
}

/// Why an invoice is not paid (or not believed to be ours).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceRefused {
    /// Longer than [`MAX_INVOICE_BYTES`].
    #[error("an invoice of {bytes} bytes is longer than {MAX_INVOICE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text cannot be decoded.
    #[error("not a BOLT 11 invoice: {cause}")]
    NotBolt11 {
        /// The parser's words.
        cause: String,
    },
    /// Signature wrong or not by the payee it names.
    #[error("the invoice's signature is wrong")]
    BadSignature,
    /// Decodable, but a mandatory part is absent, doubled or unknown (payment hash, secret, description, features).
    #[error("the invoice breaks BOLT 11: {cause}")]
    Unpayable {
        /// The parser's words.
        cause: String,
    },
    /// For another network.
    #[error("the invoice's prefix is ln{found}, which is not of {expected}")]
    WrongNetwork {
        /// The invoice's prefix after `ln`.
        found: String,
        /// Ours.
        expected: Network,
    },
    /// It leaves the amount to the payer (or names zero).
    #[error("the invoice names no amount")]
    NoAmount,
    /// Too late.
    #[error("the invoice expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
    /// Our node issued another amount than asked.
    #[error("the invoice asks for {found}, not for {asked}")]
    OtherAmount {
        /// Of the invoice.
        found: Msat,
        /// What was to be issued.
        asked: Msat,
    },
    /// Our node issued a hold invoice on another hash than asked.
    #[error("the invoice is not on the payment hash that was asked for")]
    OtherHash,
}

/// Reads an invoice that is to be paid at `now`.
pub fn check_invoice(
    text: &str,
    now: Timestamp,
    network: Network,
) -> Result<CheckedInvoice, InvoiceRefused> {
    let checked = read(text, network)?;
    if now >= checked.expires_at {
        return Err(InvoiceRefused::Expired {
            expired_at: checked.expires_at,
        });
    }
    Ok(checked)
}

/// Reads an invoice that our node issued, and checks that it is the one that was asked for. `hold_hash` is the hash of
/// a hold invoice. Expiry is of no concern here: the node's clock set it.
pub fn check_issued(
    text: &str,
    network: Network,
    asked: Msat,
    hold_hash: Option<[u8; 32]>,
) -> Result<CheckedInvoice, InvoiceRefused> {
    let checked = read(text, network)?;
    if checked.amount_msat != asked {
        return Err(InvoiceRefused::OtherAmount {
            found: checked.amount_msat,
            asked,
        });
    }
    if hold_hash.is_some_and(|hash| hash != checked.payment_hash) {
        return Err(InvoiceRefused::OtherHash);
    }
    Ok(checked)
}

fn read(text: &str, network: Network) -> Result<CheckedInvoice, InvoiceRefused> {
    if text.len() > MAX_INVOICE_BYTES {
        return Err(InvoiceRefused::TooLong { bytes: text.len() });
    }
    let invoice: Bolt11Invoice = text.trim().parse().map_err(refused)?;
    if !is_of(network, &invoice.currency()) {
        return Err(InvoiceRefused::WrongNetwork {
            found: invoice.currency().to_string(),
            expected: network,
        });
    }
    let amount = invoice
        .amount_milli_satoshis()
        .filter(|msat| *msat > 0)
        .ok_or(InvoiceRefused::NoAmount)?;
    Ok(CheckedInvoice {
        payment_hash: invoice.payment_hash().to_byte_array(),
        amount_msat: Msat(amount),
        expires_at: expiry(&invoice),
        payee: invoice.get_payee_pub_key(),
        description: match invoice.description() {
            Bolt11InvoiceDescriptionRef::Direct(words) => words.as_inner().to_string(),
            Bolt11InvoiceDescriptionRef::Hash(hash) => hash.0.to_string(),
        },
    })
}

/// Timestamp plus expiry (default 3,600 s); saturates, as both come from outside.
fn expiry(invoice: &Bolt11Invoice) -> Timestamp {
    let seconds = invoice
        .duration_since_epoch()
        .saturating_add(invoice.expiry_time())
        .as_secs();
    Timestamp(seconds.saturating_mul(1_000))
}

/// BOLT 11 has one prefix for every testnet. Simnet is none of ours.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "another crate's enum, open for new variants"
)]
const fn is_of(network: Network, currency: &Currency) -> bool {
    match network {
        Network::Bitcoin => matches!(currency, Currency::Bitcoin),
        Network::Regtest => matches!(currency, Currency::Regtest),
        Network::Signet => matches!(currency, Currency::Signet),
        // Testnet 3 and 4; the type is open for networks to come, and those would be test networks.
        _ => matches!(currency, Currency::BitcoinTestnet),
    }
}

fn refused(error: ParseOrSemanticError) -> InvoiceRefused {
    match error {
        ParseOrSemanticError::ParseError(cause) => InvoiceRefused::NotBolt11 {
            cause: cause.to_string(),
        },
        ParseOrSemanticError::SemanticError(Bolt11SemanticError::InvalidSignature) => {
            InvoiceRefused::BadSignature
        }
        ParseOrSemanticError::SemanticError(cause) => InvoiceRefused::Unpayable {
            cause: cause.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
