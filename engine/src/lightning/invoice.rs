//! Owns the reading of BOLT 11 invoices: which ones the engine pays, and whether the node issued what was asked of it.
//! Does not own payment.

use crate::money::Msat;
use crate::rail::Description;
use crate::time::Timestamp;
use bitcoin::Network;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};
use refusals::refused;

mod refusals;

pub use refusals::InvoiceRefused;

/// The longest text that is read: the capacity of the largest QR code for the bytes an invoice may use
/// (BOLT 11 sets no limit).
pub const MAX_INVOICE_BYTES: usize = 7_089;

/// The longest description in words: a field has at most 1,023 groups of five bits (BOLT 11).
pub const MAX_DESCRIPTION_BYTES: usize = 639;

/// An invoice that can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedInvoice {
    /// SHA-256 of the preimage that will prove payment.
    pub payment_hash: [u8; 32],
    /// What it asks for; `None`: the payer says how much.
    pub asks: Option<Msat>,
    /// From this moment on it is not paid any more.
    pub expires_at: Timestamp,
    /// The payee's node id.
    pub payee: PublicKey,
    /// Blocks that the payee must be left with (BOLT 11 `c`, default 18).
    pub final_delta_blocks: u64,
    /// What for.
    pub description: Description,
}

/// When and where an invoice is to be paid.
#[derive(Clone, Copy, Debug)]
pub struct Payer {
    /// The moment.
    pub now: Timestamp,
    /// Ours.
    pub network: Network,
    /// The longest that the payee may keep the money locked.
    pub longest_final_delta_blocks: u32,
}

/// Reads an invoice that is to be paid.
pub fn check_invoice(text: &str, payer: Payer) -> Result<CheckedInvoice, InvoiceRefused> {
    let checked = read(text, payer.network)?;
    if payer.now >= checked.expires_at {
        return Err(InvoiceRefused::Expired {
            expired_at: checked.expires_at,
        });
    }
    let (blocks, most) = (checked.final_delta_blocks, payer.longest_final_delta_blocks);
    if blocks > u64::from(most) {
        return Err(InvoiceRefused::FinalDeltaTooLong { blocks, most });
    }
    Ok(checked)
}

/// What our node was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `None`: the payer says how much.
    pub amount: Option<Msat>,
    /// What for.
    pub description: Description,
    /// The hash of a hold invoice.
    pub hold_hash: Option<[u8; 32]>,
}

/// Reads an invoice that our node issued, and checks that it is the one that was asked for. Expiry is of no concern here:
/// the node's clock set it.
pub fn check_issued(
    text: &str,
    network: Network,
    asked: Asked,
) -> Result<CheckedInvoice, InvoiceRefused> {
    let checked = read(text, network)?;
    if checked.asks != asked.amount {
        return Err(InvoiceRefused::OtherAmount {
            found: checked.asks.unwrap_or(Msat(0)),
            asked: asked.amount.unwrap_or(Msat(0)),
        });
    }
    if checked.description != asked.description {
        return Err(InvoiceRefused::OtherDescription);
    }
    if asked
        .hold_hash
        .is_some_and(|hash| hash != checked.payment_hash)
    {
        return Err(InvoiceRefused::OtherHash);
    }
    Ok(checked)
}

fn read(text: &str, network: Network) -> Result<CheckedInvoice, InvoiceRefused> {
    if text.len() > MAX_INVOICE_BYTES {
        return Err(InvoiceRefused::TooLong { bytes: text.len() });
    }
    let text = text.trim();
    let invoice: Bolt11Invoice = text.parse().map_err(|error| refused(error, text))?;
    if !is_of(network, &invoice.currency()) {
        return Err(InvoiceRefused::WrongNetwork {
            found: invoice.currency().to_string(),
            expected: network,
        });
    }
    let asks = invoice.amount_milli_satoshis().map(Msat);
    if asks == Some(Msat(0)) {
        return Err(InvoiceRefused::ZeroAmount);
    }
    Ok(CheckedInvoice {
        payment_hash: invoice.payment_hash().to_byte_array(),
        asks,
        expires_at: expiry(&invoice),
        payee: invoice.get_payee_pub_key(),
        final_delta_blocks: invoice.min_final_cltv_expiry_delta(),
        description: match invoice.description() {
            Bolt11InvoiceDescriptionRef::Direct(words) => {
                Description::Text(words.as_inner().to_string())
            }
            Bolt11InvoiceDescriptionRef::Hash(hash) => Description::Hash(hash.0.to_byte_array()),
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

#[cfg(test)]
mod tests;
