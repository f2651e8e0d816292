//! Owns the invoices that payouts are ordered with: a payee's own, one that was used before, or one that nobody can pay. Does
//! not own the payouts (`steps`).

use super::{Runner, Stop};
use crate::scenario::{InvoiceKind, PaidInvoice};
use crate::trace::Subsystem;
use crate::worlds::{World, WorldError};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use lightning_invoice::{
    Currency, InvoiceBuilder, PayeePubKey, PaymentSecret, RawBolt11Invoice, RawTaggedField,
    TaggedField,
};
use lockstep_engine::time::Timestamp;
use serde_json::json;
use std::time::Duration;

/// When the examples of BOLT 11 were made: 2017-06-01.
const LONG_AGO_SECS: u64 = 1_496_314_658;

/// LDK's own least, which is right for all but one of these invoices.
const USUAL_FINAL_DELTA: u64 = 24;

/// Two weeks of blocks.
const FAR_FINAL_DELTA: u64 = 2_016;

/// An even feature bit that BOLT 9 does not have.
const UNKNOWN_FEATURE_BIT: usize = 1_000;

/// One satoshi in msat.
const MORE_MSAT: u64 = 1_000;

/// An invoice that a payout shall be ordered with.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Whose.
    pub(super) node: &'a str,
    /// What the payout is of.
    pub(super) msat: u64,
    /// Which.
    pub(super) invoice: &'a PaidInvoice,
}

impl<W: World> Runner<W> {
    /// The invoice for the payout `id`, with a name in the trace.
    pub(super) async fn invoice_for(
        &mut self,
        id: &str,
        wanted: Wanted<'_>,
    ) -> Result<String, Stop> {
        let invoice = match wanted.invoice {
            PaidInvoice::Of(payment) => self.used_invoice(payment.as_str())?,
            PaidInvoice::Made(kind) => self.made_invoice(id, wanted, *kind).await?,
        };
        self.invoices.insert(id.to_owned(), invoice.clone());
        let mut trace = self.run.trace.lock();
        if !matches!(wanted.invoice, PaidInvoice::Of(_)) {
            trace.names.give(invoice.clone(), format!("invoice:{id}"));
        }
        let event = json!({ "invoice": invoice, "payment": id });
        trace.record(Subsystem::Stimulus, "scenario", event);
        Ok(invoice)
    }

    fn used_invoice(&self, payment: &str) -> Result<String, Stop> {
        let charged = || self.run.recorder.told(payment)?.request;
        let known = self.invoices.get(payment).cloned().or_else(charged);
        known.ok_or_else(|| Stop::NoRequest(format!("there is no invoice of {payment}")))
    }

    async fn made_invoice(
        &mut self,
        id: &str,
        wanted: Wanted<'_>,
        kind: InvoiceKind,
    ) -> Result<String, Stop> {
        let asked = match kind {
            InvoiceKind::Plain | InvoiceKind::Mistyped => Some(wanted.msat),
            InvoiceKind::Open => None,
            InvoiceKind::OtherAmount => Some(wanted.msat + MORE_MSAT),
            _ => return Ok(by_nobody(id, self.world.now(), (wanted.msat, kind))?),
        };
        let invoice = self.world.node_invoice(wanted.node, asked).await?;
        Ok(match kind {
            InvoiceKind::Mistyped => mistyped(invoice),
            _ => invoice,
        })
    }
}

/// The last character is another one of the alphabet.
fn mistyped(mut invoice: String) -> String {
    let last = invoice.pop();
    invoice.push(if last == Some('q') { 'p' } else { 'q' });
    invoice
}

/// An invoice by a key that no node has, which cannot be paid for the reason of its kind.
fn by_nobody(
    id: &str,
    now: Timestamp,
    (msat, kind): (u64, InvoiceKind),
) -> Result<String, WorldError> {
    let key = SecretKey::from_slice(&[0x11; 32]).expect("a key below the curve's order");
    let now_secs = now.0 / 1_000;
    let (issued, delta) = match kind {
        InvoiceKind::Expired => (LONG_AGO_SECS, USUAL_FINAL_DELTA),
        InvoiceKind::FarExpiry => (now_secs, FAR_FINAL_DELTA),
        _ => (now_secs, USUAL_FINAL_DELTA),
    };
    let currency = match kind {
        InvoiceKind::OtherNetwork => Currency::Bitcoin,
        _ => Currency::Regtest,
    };
    let builder = InvoiceBuilder::new(currency)
        .amount_milli_satoshis(msat)
        .description(String::new())
        .payment_hash(sha256::Hash::hash(id.as_bytes()))
        .payment_secret(PaymentSecret([7; 32]))
        .duration_since_epoch(Duration::from_secs(issued))
        .min_final_cltv_expiry_delta(delta)
        .basic_mpp();
    let failed = |error: &dyn std::fmt::Debug| {
        WorldError::harness("make an invoice that cannot be paid", format!("{error:?}"))
    };
    let mut raw = builder.build_raw().map_err(|error| failed(&error))?;
    spoil(&mut raw, kind);
    let sign = |hash: &Message| {
        let signature = Secp256k1::new().sign_ecdsa_recoverable(hash, &key);
        Ok::<_, ()>(signature)
    };
    let signed = raw.sign(sign).map_err(|error| failed(&error))?;
    Ok(signed.to_string())
}

/// What no builder would write.
fn spoil(raw: &mut RawBolt11Invoice, kind: InvoiceKind) {
    let fields = &mut raw.data.tagged_fields;
    match kind {
        InvoiceKind::NoSecret => fields.retain(|field| {
            !matches!(
                field,
                RawTaggedField::KnownSemantics(TaggedField::PaymentSecret(_))
            )
        }),
        InvoiceKind::UnknownFeature => {
            for field in fields {
                if let RawTaggedField::KnownSemantics(TaggedField::Features(features)) = field {
                    let set = features.set_required_custom_bit(UNKNOWN_FEATURE_BIT);
                    set.expect("an even bit that BOLT 9 does not have");
                }
            }
        }
        InvoiceKind::ForeignSignature => {
            let other = SecretKey::from_slice(&[0x12; 32]).expect("a key");
            let payee = PayeePubKey(other.public_key(&Secp256k1::new()));
            fields.push(RawTaggedField::KnownSemantics(TaggedField::PayeePubKey(
                payee,
            )));
        }
        _ => {}
    }
}
