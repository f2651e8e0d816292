//! Owns the payment by which the payer's part of a split Lightning charge goes back. Does not own how it is paid
//! (`payout_lightning`).
//!
//! The whole HTLC is claimed, and the payer's part becomes the payers' at once. Its payment is made from there, and the operator
//! bears its routing fee, so both get exactly what was decided. What cannot be paid stays the payers'.

use super::{Payments, Rest};
use crate::event::{Consequences, Event};
use crate::id::PaymentId;
use crate::money::{Asset, Quantity};
use crate::payments::hex;
use crate::payments::order::{Destination, Payout, PayoutTerms};
use crate::payments::payout_lightning::LightningPayout;
use crate::payments::record::Payment;
use crate::payments::refunds::payers;
use crate::rail::Entropy;
use crate::rare::{Rare, sometimes};
use crate::time::{Span, Timestamp};

/// As for a refund on chain: a day lets every channel on the way come back.
const DEADLINE: Span = Span::secs(86_400);

impl Payments {
    /// Orders the payment of each rest that was claimed and is not on its way back.
    pub(super) fn pay_rests_back(&mut self, now: Timestamp, entropy: Entropy) -> Consequences {
        let mut due = Vec::new();
        if self.escrows.is_empty() {
            return Consequences::default();
        }
        for (id, payment) in &mut self.records {
            if let Payment::LightningCharge(charge) = payment {
                due.extend(charge.take_rest().map(|rest| (id.clone(), rest)));
            }
        }
        let mut out = Consequences::default();
        for (charge, rest) in due {
            out.append(self.pay_rest_back(now, entropy, (&charge, &rest)));
        }
        out
    }

    fn pay_rest_back(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        (charge, rest): (&PaymentId, &Rest),
    ) -> Consequences {
        // Its expiry is the node's concern now; a payout may have paid it since the decision.
        let Ok(invoice) = self.check_invoice(Timestamp(0), &rest.invoice, rest.amount) else {
            sometimes(Rare::RestPaidByAnother);
            return Consequences::default();
        };
        let hash = hex(&invoice.payment_hash);
        let payment = self.free_id(charge, 1);
        let order = Payout {
            payment: payment.clone(),
            party: payers(),
            destination: Destination::Invoice(rest.invoice.clone()),
            quantity: Quantity::btc(rest.amount),
            all: false,
            funded_by: Asset::Btc,
            deadline: DEADLINE,
            terms: PayoutTerms::default(),
            payee: None,
            wallet: None,
        };
        let mut desk = self.desk(now, entropy);
        desk.emit(Event::RestOrdered {
            payment: charge.clone(),
            rest: payment.clone(),
            amount_msat: rest.amount,
        });
        let made = LightningPayout::create_free(&mut desk, &order, &rest.invoice, &invoice);
        let out = desk.out;
        self.paid_hashes.insert(hash, payment.clone());
        self.records.insert(payment, Payment::LightningPayout(made));
        out
    }
}
