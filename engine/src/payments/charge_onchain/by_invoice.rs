//! Owns the invoice by which a charge on chain can be paid as well: one payment URI names both (BIP 21), and whichever way
//! pays first settles the charge. Does not own what comes on chain afterwards: it is paid twice then (`stray`).
//!
//! What comes over Lightning and does not settle the charge (too late, after it was settled on chain, too little) lies in
//! suspense, as with any charge over Lightning: nothing can be sent back that way.

use super::{OnchainCharge, State};
use crate::event::Event;
use crate::ledger::Account;
use crate::lightning::{self, Asked};
use crate::money::{Msat, Quantity, Rail, Sat};
use crate::onchain::bip21::PaymentUri;
use crate::payments::desk::{Desk, in_msat, msat, party_btc};
use crate::payments::order::Charge;
use crate::planted::Bug;
use crate::rail::{Description, Effect};
use crate::rare::{Rare, sometimes};
use bitcoin::secp256k1::PublicKey;
use serde::Serialize;

/// The invoice of a charge on chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvoiceToo {
    /// What it says that it is for.
    description: Description,
    /// The node's answer is awaited.
    awaited: bool,
    /// BOLT 11; none before the node has made it.
    pub invoice: Option<String>,
    /// Of the invoice.
    pub payment_hash: Option<[u8; 32]>,
    /// What was received by it.
    pub received: Option<Msat>,
    /// Whether that settled the charge.
    pub settled: bool,
}

/// Asks for the invoice, if the order wants one.
pub(super) fn ask(desk: &mut Desk<'_>, order: &Charge) -> Option<InvoiceToo> {
    if !order.terms.invoice_too {
        return None;
    }
    let by_default = || Description::Text(order.payment.to_string());
    let description = order.terms.description.clone().unwrap_or_else(by_default);
    let effect = Effect::CreateInvoice {
        amount_msat: Some(order.amount_msat),
        description: description.clone(),
        expiry_secs: u32::try_from(order.expires_in.0.div_ceil(1_000)).unwrap_or(u32::MAX),
        hold_hash: None,
    };
    desk.instruct(&order.payment, "invoice", effect);
    Some(InvoiceToo {
        description,
        awaited: true,
        invoice: None,
        payment_hash: None,
        received: None,
        settled: false,
    })
}

impl OnchainCharge {
    /// The node's invoice. One that does not say what was asked is not shown to anybody; the charge is paid on chain then.
    /// Gives the node that made it.
    pub(in crate::payments) fn on_invoice(
        &mut self,
        desk: &mut Desk<'_>,
        result: &Result<String, String>,
    ) -> Option<PublicKey> {
        let is_open = self.state == State::Open;
        let amount = in_msat(self.amount);
        let by_invoice = self.by_invoice.as_mut()?;
        let awaited = std::mem::take(&mut by_invoice.awaited);
        let asked = Asked {
            amount: Some(amount),
            description: by_invoice.description.clone(),
            hold_hash: None,
        };
        let checked = result.as_ref().ok().and_then(|text| {
            Some((
                text,
                lightning::check_issued(text, desk.network, asked).ok()?,
            ))
        });
        let Some((text, invoice)) = checked.filter(|_| awaited && is_open) else {
            sometimes(Rare::InvoiceUnusable);
            return None;
        };
        by_invoice.invoice = Some(text.clone());
        by_invoice.payment_hash = Some(invoice.payment_hash);
        // The node counts from when it made it: the charge must not end before its invoice.
        if invoice.expires_at > self.expires_at {
            self.expires_at = invoice.expires_at;
            desk.wake(&self.id, "expiry", invoice.expires_at);
        }
        desk.emit(Event::InvoiceAdded {
            payment: self.id.clone(),
            request: self.payment_uri(),
        });
        Some(invoice.payee)
    }

    /// What the payer is shown (BIP 21): address, amount, and the invoice if there is one.
    pub fn payment_uri(&self) -> String {
        let uri = PaymentUri {
            address: self.address.clone(),
            amount: Some(self.amount),
            lightning: self
                .by_invoice
                .as_ref()
                .and_then(|by_invoice| by_invoice.invoice.clone()),
            ..PaymentUri::default()
        };
        uri.to_string()
    }

    /// Money came over Lightning; the first telling counts.
    pub(in crate::payments) fn on_received(&mut self, desk: &mut Desk<'_>, amount: Msat) {
        let asked = in_msat(self.amount);
        let again = desk.has_bug(Bug::RepeatDuplicates);
        let Some(by_invoice) = self.by_invoice.as_mut() else {
            return;
        };
        if by_invoice.received.is_some() && !again {
            sometimes(Rare::ReceiptRepeated);
            return;
        }
        if desk.has_bug(Bug::NeverSettle) {
            return;
        }
        by_invoice.received = Some(amount);
        let pays = match self.state {
            State::Open => amount >= asked,
            State::Settled { .. } => desk.has_bug(Bug::SettleTwiceOnDouble),
            State::Held { .. } | State::Failed { .. } => false,
        };
        let creditor = match pays {
            true => party_btc(&self.party),
            false => Account::Suspense {
                rail: Rail::Lightning,
            },
        };
        let lines = vec![
            (Account::LightningChannels, msat(amount)),
            (creditor, msat(amount).saturating_neg()),
        ];
        if !pays {
            sometimes(Rare::ReceiptNotCreditable);
            desk.post(&self.id, "receipt not creditable", lines);
            return;
        }
        desk.post(&self.id, "charge received", lines);
        by_invoice.settled = true;
        if self.state == State::Open {
            // Nothing on chain has paid it, and nothing will.
            self.state = State::Settled {
                credited: Vec::new(),
                amount: Sat(0),
            };
        }
        desk.emit(Event::PaymentSettled {
            payment: self.id.clone(),
            quantity: Quantity::btc(amount),
            fee_msat: Msat(0),
        });
    }

    /// Its time is over, and so is the wait for an invoice; `true` if its invoice lives longer.
    pub(super) fn outlived(&mut self, desk: &mut Desk<'_>) -> bool {
        if self.by_invoice.is_some() && self.state == State::Open && desk.now < self.expires_at {
            desk.wake(&self.id, "expiry", self.expires_at);
            return true;
        }
        if let Some(by_invoice) = &mut self.by_invoice
            && std::mem::take(&mut by_invoice.awaited)
        {
            desk.answered(&self.id, "invoice");
        }
        false
    }
}
