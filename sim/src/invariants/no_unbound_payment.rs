//! Owns I12: where the policy asks for a binding, nothing is signed or sent for the first time to a wallet that is not
//! bound, by the model's own book of bindings. Does not own that book (`model`).

use super::{Invariant, Stepped};
use crate::model::{BindingBook, Terms};
use bitcoin::{Address, ScriptBuf};
use lockstep_engine::api::{Command, Destination, Input, Payout};
use lockstep_engine::id::PartyId;
use lockstep_engine::identity::Purpose;
use lockstep_engine::rail::Effect;
use std::collections::BTreeMap;

/// I12.
pub(super) struct NoUnboundPayment {
    is_asked: bool,
    book: BindingBook,
    /// On-chain payouts: whose wallet it must be, and where they go.
    payouts: BTreeMap<String, (PartyId, ScriptBuf)>,
}

impl NoUnboundPayment {
    pub(super) fn new(terms: &Terms) -> NoUnboundPayment {
        NoUnboundPayment {
            is_asked: terms.asks_bound_payouts(),
            book: BindingBook::default(),
            payouts: BTreeMap::new(),
        }
    }

    fn note(&mut self, order: &Payout) {
        let Destination::Address(text) = &order.destination else {
            return;
        };
        if let Ok(address) = text.trim().parse::<Address<_>>() {
            let payee = order.payee.as_ref().unwrap_or(&order.party).clone();
            let script = address.assume_checked().script_pubkey();
            self.payouts
                .insert(order.payment.to_string(), (payee, script));
        }
    }
}

impl Invariant for NoUnboundPayment {
    fn name(&self) -> &'static str {
        "no-unbound-payment"
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        if !self.is_asked {
            return Ok(());
        }
        // What the book finds wrong is the model's to say.
        let _ = self
            .book
            .on_accepted(stepped.at, stepped.input, &stepped.output.events);
        if let Input::Command {
            command: Command::CreatePayout(order),
            ..
        } = stepped.input
        {
            self.note(order);
        }
        for instruction in &stepped.output.instructions {
            let is_first = match &instruction.effect {
                Effect::SignPsbt { .. } => true,
                Effect::Broadcast { .. } => instruction.key.0.ends_with("/broadcast"),
                _ => false,
            };
            let payment = instruction.key.0.split('/').next().unwrap_or_default();
            let Some((payee, script)) = self.payouts.get(payment).filter(|_| is_first) else {
                continue;
            };
            if self.book.is_bound(payee, script, Purpose::Payouts) == Some(false) {
                return Err(format!(
                    "payout {payment} goes to {script}, which is in no wallet that is bound to {payee}"
                ));
            }
        }
        Ok(())
    }
}
