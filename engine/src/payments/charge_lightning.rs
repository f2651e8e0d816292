//! Owns the states of a charge over Lightning: from the wish for an invoice to money received, held and released
//! included. Does not own channels, nor the choice of which fact belongs to which charge (`mod`).
//!
//! If the process stops before an instruction leaves, it is issued again under its key; if after, the node answers the
//! same again. Both are safe: the node makes one invoice per key, and claims and fails an HTLC set once.

mod escrow;

use super::desk::{Desk, msat, party_btc};
use super::escrow::Rest;
use super::order::Charge;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{PartyId, PaymentId};
use crate::ledger::Account;
use crate::lightning::{self, Asked};
use crate::money::{Msat, Quantity, Rail};
use crate::planted::Bug;
use crate::rail::{Description, Effect};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::secp256k1::PublicKey;
use serde::Serialize;

/// A charge over Lightning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LightningCharge {
    /// Its id.
    pub id: PaymentId,
    /// Who is credited.
    pub party: PartyId,
    /// What is asked: the least, if the payer says how much.
    pub amount: Msat,
    /// Whether the payer says how much.
    pub any_amount: bool,
    /// What the invoice says that it is for.
    pub description: Description,
    /// Unpaid then, it fails; not before its invoice does. A held payment is bounded by its claim deadline instead.
    pub expires_at: Timestamp,
    /// Of a hold invoice.
    preimage: Option<[u8; 32]>,
    /// Of the invoice.
    pub payment_hash: Option<[u8; 32]>,
    /// How often money was sent back.
    sent_back: u32,
    /// What goes back of it when it was claimed.
    rest: Option<Rest>,
    /// Received but not creditable (too late or too little), in suspense.
    pub in_suspense: Option<Msat>,
    /// Where it stands.
    pub state: LightningChargeState,
}

/// Where a charge over Lightning stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LightningChargeState {
    /// The node makes the invoice.
    Requested,
    /// The invoice can be paid.
    Issued {
        /// BOLT 11.
        invoice: String,
    },
    /// The whole amount waits for a decision.
    Held {
        /// What waits.
        amount: Msat,
        /// The last height at which it can be claimed.
        claim_deadline_height: u32,
    },
    /// The claim is on its way.
    Releasing {
        /// What waits.
        amount: Msat,
    },
    /// The failing back is on its way.
    Refusing {
        /// Why.
        reason: FailureReason,
    },
    /// Final: received.
    Settled {
        /// What was credited.
        amount: Msat,
    },
    /// Final: nothing received.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

use LightningChargeState as State;

impl LightningCharge {
    pub(super) fn create(desk: &mut Desk<'_>, order: &Charge) -> LightningCharge {
        let preimage = order
            .is_held()
            .then(|| lightning::preimage(&desk.entropy, &order.payment));
        let payment_hash = preimage.as_ref().map(lightning::payment_hash);
        let any_amount = order.terms.any_amount;
        let amount = match any_amount {
            true => desk.policy.min_charge_msat,
            false => order.amount_msat,
        };
        let expires_at = desk.now.plus(order.expires_in);
        let expiry_secs = u32::try_from(order.expires_in.0.div_ceil(1_000)).unwrap_or(u32::MAX);
        let description = description(order);
        desk.emit(Event::ChargeCreated {
            payment: order.payment.clone(),
            party: order.party.clone(),
            rail: Rail::Lightning,
            amount_msat: order.amount_msat,
        });
        let effect = Effect::CreateInvoice {
            amount_msat: (!any_amount).then_some(amount),
            description: description.clone(),
            expiry_secs,
            hold_hash: payment_hash,
        };
        desk.instruct(&order.payment, "invoice", effect);
        desk.wake(&order.payment, "expiry", expires_at);
        LightningCharge {
            id: order.payment.clone(),
            party: order.party.clone(),
            amount,
            any_amount,
            description,
            expires_at,
            preimage,
            payment_hash,
            sent_back: 0,
            rest: None,
            in_suspense: None,
            state: State::Requested,
        }
    }

    /// The node's invoice. One that does not say what was asked is not shown to anybody. Gives the node that made it.
    pub(super) fn on_invoice(
        &mut self,
        desk: &mut Desk<'_>,
        result: &Result<String, String>,
    ) -> Option<PublicKey> {
        if self.state != State::Requested {
            return None;
        }
        let checked = result.as_ref().map_err(Clone::clone).and_then(|text| {
            let asked = Asked {
                amount: (!self.any_amount).then_some(self.amount),
                description: self.description.clone(),
                hold_hash: self.preimage.as_ref().map(lightning::payment_hash),
            };
            let checked = lightning::check_issued(text, desk.network, asked);
            checked
                .map(|invoice| (text, invoice))
                .map_err(|refused| refused.to_string())
        });
        match checked {
            Ok((text, invoice)) => {
                self.payment_hash = Some(invoice.payment_hash);
                self.extend(desk, invoice.expires_at);
                self.state = State::Issued {
                    invoice: text.clone(),
                };
                desk.emit(Event::ChargeIssued {
                    payment: self.id.clone(),
                    request: text.clone(),
                });
                Some(invoice.payee)
            }
            Err(cause) => {
                sometimes(Rare::InvoiceUnusable);
                self.fail(desk, FailureReason::InvoiceNotCreated(cause));
                None
            }
        }
    }

    /// The node counts the invoice's time from when it made it: the charge must not end before its invoice.
    fn extend(&mut self, desk: &mut Desk<'_>, invoice_expires_at: Timestamp) {
        if invoice_expires_at > self.expires_at {
            sometimes(Rare::ChargeExtended);
            self.expires_at = invoice_expires_at;
            desk.wake(&self.id, "expiry", invoice_expires_at);
        }
    }

    /// Money waits. It is kept if it is what was asked, and sent back otherwise; told again, it changes nothing.
    pub(super) fn on_held(
        &mut self,
        desk: &mut Desk<'_>,
        amount: Msat,
        claim_deadline_height: u32,
    ) {
        match &self.state {
            State::Issued { .. } if self.preimage.is_some() && amount >= self.amount => {
                self.state = State::Held {
                    amount,
                    claim_deadline_height,
                };
                desk.emit(Event::PaymentHeld {
                    payment: self.id.clone(),
                    amount_msat: amount,
                });
                if desk.has_bug(Bug::CreditAtHeld) {
                    self.credit(desk, amount);
                }
                self.on_tip(desk);
            }
            State::Requested
            | State::Issued { .. }
            | State::Settled { .. }
            | State::Failed { .. } => {
                sometimes(Rare::HoldSentBack);
                self.send_back(desk);
            }
            State::Held { .. } | State::Releasing { .. } | State::Refusing { .. } => {}
        }
    }

    pub(super) fn on_release(&mut self, desk: &mut Desk<'_>) {
        let (State::Held { amount, .. }, Some(preimage)) = (&self.state, self.preimage) else {
            return;
        };
        let amount_msat = *amount;
        desk.instruct(
            &self.id,
            "claim",
            Effect::ClaimHeld {
                preimage,
                amount_msat,
            },
        );
        self.state = State::Releasing {
            amount: amount_msat,
        };
    }

    pub(super) fn on_refuse(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        if matches!(self.state, State::Held { .. }) {
            self.state = State::Refusing { reason };
            self.send_back(desk);
        }
    }

    /// A payment that nobody decides about is sent back before the chain decides (failure F52).
    pub(super) fn on_tip(&mut self, desk: &mut Desk<'_>) {
        let State::Held {
            claim_deadline_height,
            ..
        } = self.state
        else {
            return;
        };
        let height = desk.onchain.tip().height;
        if height.saturating_add(desk.policy.hold_margin_blocks) >= claim_deadline_height {
            sometimes(Rare::HoldReachedMargin);
            self.on_refuse(desk, FailureReason::Expired);
        }
    }

    /// Money came. The first telling counts; what cannot be credited goes to suspense.
    pub(super) fn on_received(&mut self, desk: &mut Desk<'_>, amount: Msat) {
        desk.answered(&self.id, "claim");
        if desk.has_bug(Bug::NeverSettle) {
            return;
        }
        match &self.state {
            State::Settled { .. } if desk.has_bug(Bug::RepeatDuplicates) => {
                self.credit(desk, amount)
            }
            State::Settled { .. } => sometimes(Rare::ReceiptRepeated),
            State::Requested
            | State::Issued { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Refusing { .. }
                if amount >= self.amount =>
            {
                if self.preimage.is_none() || !desk.has_bug(Bug::CreditAtHeld) {
                    self.credit(desk, amount);
                }
                let amount = Msat(amount.0.saturating_sub(self.rest_of(amount).0));
                self.state = State::Settled { amount };
                let quantity = Quantity::btc(amount);
                desk.emit(Event::PaymentSettled {
                    payment: self.id.clone(),
                    quantity,
                    fee_msat: Msat(0),
                });
            }
            State::Requested
            | State::Issued { .. }
            | State::Held { .. }
            | State::Releasing { .. }
            | State::Refusing { .. }
            | State::Failed { .. } => self.suspend(desk, amount),
        }
    }

    /// The money went back to its payer.
    pub(super) fn on_sent_back(&mut self, desk: &mut Desk<'_>) {
        for n in 1..=self.sent_back {
            desk.answered(&self.id, &fail_key(n));
        }
        desk.answered(&self.id, "claim");
        match &self.state {
            State::Refusing { reason } => {
                let reason = reason.clone();
                self.fail(desk, reason);
            }
            // The node's own deadline came first.
            State::Held { .. } | State::Releasing { .. } => {
                sometimes(Rare::NodeEndedHold);
                self.fail(desk, FailureReason::Expired);
            }
            State::Requested
            | State::Issued { .. }
            | State::Settled { .. }
            | State::Failed { .. } => {}
        }
    }

    pub(super) fn on_expiry(&mut self, desk: &mut Desk<'_>) {
        match self.state {
            // An alarm from before the charge was extended.
            State::Issued { .. } if desk.now < self.expires_at => {
                desk.wake(&self.id, "expiry", self.expires_at);
            }
            State::Requested | State::Issued { .. } => {
                desk.answered(&self.id, "invoice");
                self.fail(desk, FailureReason::Expired);
            }
            State::Held { .. }
            | State::Releasing { .. }
            | State::Refusing { .. }
            | State::Settled { .. }
            | State::Failed { .. } => {}
        }
    }

    fn credit(&self, desk: &mut Desk<'_>, amount: Msat) {
        let rest = self.rest_of(amount);
        let own = Msat(amount.0.saturating_sub(rest.0));
        let mut lines = vec![
            (Account::LightningChannels, msat(amount)),
            (party_btc(&self.party), msat(own).saturating_neg()),
        ];
        if rest > Msat(0) {
            lines.push((desk.payers(), msat(rest).saturating_neg()));
        }
        desk.post(&self.id, "charge received", lines);
    }

    fn suspend(&mut self, desk: &mut Desk<'_>, amount: Msat) {
        if self.in_suspense.is_some() {
            return;
        }
        sometimes(Rare::ReceiptNotCreditable);
        self.in_suspense = Some(amount);
        let suspense = Account::Suspense {
            rail: Rail::Lightning,
        };
        let lines = vec![
            (Account::LightningChannels, msat(amount)),
            (suspense, msat(amount).saturating_neg()),
        ];
        desk.post(&self.id, "receipt not creditable", lines);
    }

    fn send_back(&mut self, desk: &mut Desk<'_>) {
        let Some(payment_hash) = self.payment_hash else {
            return;
        };
        self.sent_back = self.sent_back.saturating_add(1);
        desk.instruct(
            &self.id,
            &fail_key(self.sent_back),
            Effect::FailHeld { payment_hash },
        );
    }

    fn fail(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        self.state = State::Failed {
            reason: reason.clone(),
        };
        desk.emit(Event::PaymentFailed {
            payment: self.id.clone(),
            reason,
        });
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            State::Requested => Status::Created,
            State::Issued { .. } => Status::Issued,
            State::Held { .. } | State::Releasing { .. } | State::Refusing { .. } => Status::Held,
            State::Settled { .. } => Status::Settled,
            State::Failed { .. } => Status::Failed,
        }
    }
}

/// What the invoice says that it is for.
fn description(order: &Charge) -> Description {
    let by_default = || Description::Text(order.payment.to_string());
    order.terms.description.clone().unwrap_or_else(by_default)
}

/// The first refusal of a charge is `fail`; a payer who tries again is refused under further keys.
fn fail_key(n: u32) -> String {
    if n == 1 {
        "fail".to_owned()
    } else {
        format!("fail-{n}")
    }
}
