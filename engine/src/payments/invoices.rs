//! Owns which invoices payouts may pay: readable, in time, of the order's amount, not our own node's, not tried before.
//! Does not own the reading (`lightning`) nor the other checks of orders (`admission`).

use super::refusal::PayoutRefused;
use super::{Payments, hex};
use crate::lightning::{self, CheckedInvoice, Payer};
use crate::money::Msat;
use crate::time::Timestamp;

impl Payments {
    /// Whether a payout of `amount` may pay this invoice now.
    pub(super) fn check_invoice(
        &self,
        now: Timestamp,
        text: &str,
        amount: Msat,
    ) -> Result<CheckedInvoice, PayoutRefused> {
        let payer = Payer {
            now,
            network: self.network,
            longest_final_delta_blocks: self.policy.max_final_delta_blocks,
        };
        let invoice = lightning::check_invoice(text, payer)?;
        if let Some(asked) = invoice.asks.filter(|asked| *asked != amount) {
            return Err(PayoutRefused::InvoiceAmountDiffers {
                invoice: asked,
                payout: amount,
            });
        }
        let hash = hex(&invoice.payment_hash);
        let made_here = self.charged_hashes.contains_key(&hash);
        if made_here || self.own_node == Some(invoice.payee) {
            return Err(PayoutRefused::InvoiceOurs);
        }
        match self.paid_hashes.get(&hash) {
            Some(payment) => Err(PayoutRefused::InvoiceUsed {
                payment: payment.clone(),
            }),
            None => Ok(invoice),
        }
    }
}
