//! Invoices: BOLT 11, claimed at once or held until the owner decides.
//!
//! Owns what is written down before an invoice leaves. Does not own the claiming of arriving payments (`handler`).

use bitcoin::hashes::{Hash as _, sha256};
use lightning::ln::channelmanager::Bolt11InvoiceParameters;
use lightning_invoice::{Bolt11InvoiceDescription, Description, Sha256};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::disk::DiskError;
use crate::node::Node;
use crate::records::{self, IncomingRecord, IncomingStatus};
use crate::view::ReceiptView;

/// An invoice to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceRequest {
    /// The amount, or `None` to leave it to the payer.
    pub amount_msat: Option<u64>,
    /// What it says that it is for.
    pub description: InvoiceDescription,
    /// Seconds after which the invoice expires.
    pub expiry_secs: u32,
    /// Blocks the last HTLC must have left; `None` for LDK's default, which `ldk-node` uses.
    pub min_final_cltv: Option<u16>,
}

/// What an invoice says that it is for (BOLT 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvoiceDescription {
    /// In words, at most 639 bytes.
    Text(String),
    /// The SHA-256 of words that the payer has from elsewhere.
    Hash([u8; 32]),
}

/// Why an invoice operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceError {
    /// The invoice cannot be made.
    #[error("cannot make the invoice: {cause}")]
    CannotMake {
        /// The reason.
        cause: String,
    },
    /// No payment of that hash is held.
    #[error("no payment is held for {payment_hash}")]
    NotHeld {
        /// The hash asked for.
        payment_hash: PaymentHash,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Node {
    /// Issues an invoice whose payment is claimed on arrival.
    pub fn create_invoice(&self, request: InvoiceRequest) -> Result<String, InvoiceError> {
        self.issue(request, None)
    }

    /// Issues an invoice for a hash whose preimage the owner keeps; its payment is held until [`Node::claim_held`] or
    /// [`Node::fail_held`], or until its deadline.
    pub fn create_hold_invoice(
        &self,
        request: InvoiceRequest,
        hash: PaymentHash,
    ) -> Result<String, InvoiceError> {
        self.issue(request, Some(hash))
    }

    fn issue(
        &self,
        request: InvoiceRequest,
        hold: Option<PaymentHash>,
    ) -> Result<String, InvoiceError> {
        let description = match request.description {
            InvoiceDescription::Text(text) => {
                Bolt11InvoiceDescription::Direct(Description::new(text).map_err(cannot_make)?)
            }
            InvoiceDescription::Hash(hash) => {
                Bolt11InvoiceDescription::Hash(Sha256(sha256::Hash::from_byte_array(hash)))
            }
        };
        let parameters = Bolt11InvoiceParameters {
            amount_msats: request.amount_msat,
            description,
            invoice_expiry_delta_secs: Some(request.expiry_secs),
            min_final_cltv_expiry_delta: request.min_final_cltv,
            payment_hash: hold,
        };
        let invoice = self
            .inner
            .channels
            .create_bolt11_invoice(parameters)
            .map_err(|error| cannot_make(format!("{error:?}")))?;
        let hash = PaymentHash(invoice.payment_hash().to_byte_array());
        let record = IncomingRecord {
            amount_msat: request.amount_msat,
            hold: hold.is_some(),
            status: IncomingStatus::Expected,
        };
        // Before the invoice is known to anyone: a payment that arrives finds its record.
        records::put_incoming(&self.inner.store, &hash, &record)?;
        Ok(invoice.to_string())
    }

    /// Claims a held payment. May be repeated; [`crate::NodeEvent::PaymentReceived`] tells of the success.
    pub fn claim_held(&self, preimage: PaymentPreimage) -> Result<(), InvoiceError> {
        let payment_hash = PaymentHash(sha256::Hash::hash(&preimage.0).to_byte_array());
        match records::incoming(&self.inner.store, &payment_hash)?.map(|record| record.status) {
            Some(IncomingStatus::Held { .. }) => self.inner.channels.claim_funds(preimage),
            Some(IncomingStatus::Received { .. }) => {}
            Some(IncomingStatus::Expected | IncomingStatus::Released) | None => {
                return Err(InvoiceError::NotHeld { payment_hash });
            }
        }
        Ok(())
    }

    /// Gives a held payment back. May be repeated; [`crate::NodeEvent::HoldReleased`] tells of it.
    pub fn fail_held(&self, payment_hash: PaymentHash) -> Result<(), InvoiceError> {
        match records::incoming(&self.inner.store, &payment_hash)?.map(|record| record.status) {
            Some(IncomingStatus::Held { .. }) => {
                self.inner.channels.fail_htlc_backwards(&payment_hash)
            }
            Some(IncomingStatus::Released) => {}
            Some(IncomingStatus::Expected | IncomingStatus::Received { .. }) | None => {
                return Err(InvoiceError::NotHeld { payment_hash });
            }
        }
        Ok(())
    }

    /// What became of an invoice of this node.
    pub fn receipt(&self, payment_hash: PaymentHash) -> Result<Option<ReceiptView>, DiskError> {
        let record = records::incoming(&self.inner.store, &payment_hash)?;
        Ok(record.map(
            |IncomingRecord {
                 amount_msat,
                 hold,
                 status,
             }| ReceiptView {
                payment_hash,
                amount_msat,
                hold,
                status,
            },
        ))
    }
}

fn cannot_make(cause: impl ToString) -> InvoiceError {
    InvoiceError::CannotMake {
        cause: cause.to_string(),
    }
}
