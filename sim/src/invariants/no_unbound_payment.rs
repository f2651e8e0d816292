//! Owns I12: where the policy asks for a binding, nothing is signed or sent for the first time to a wallet that is not
//! bound, by the model's own book of bindings. Does not own that book (`model`).

use super::{Invariant, Stepped};
use crate::model::{BindingBook, Terms, paid_script};
use bitcoin::{Psbt, ScriptBuf, Txid};
use lockstep_engine::api::{Command, Event, Input, Payout};
use lockstep_engine::id::{PartyId, PaymentId};
use lockstep_engine::identity::Purpose;
use lockstep_engine::rail::Effect;
use std::collections::{BTreeMap, BTreeSet};

/// I12.
pub(super) struct NoUnboundPayment {
    is_asked: bool,
    book: BindingBook,
    /// On-chain payouts: whose wallet it must be, and where they go.
    payouts: BTreeMap<PaymentId, (PartyId, ScriptBuf)>,
    /// Whom each transaction pays, but for successors.
    built: BTreeMap<Txid, BTreeSet<PaymentId>>,
    handed_out: BTreeSet<Txid>,
}

impl NoUnboundPayment {
    pub(super) fn new(terms: &Terms) -> NoUnboundPayment {
        NoUnboundPayment {
            is_asked: terms.asks_bound_payouts(),
            book: BindingBook::default(),
            payouts: BTreeMap::new(),
            built: BTreeMap::new(),
            handed_out: BTreeSet::new(),
        }
    }

    fn note(&mut self, order: &Payout) {
        if let Some(script) = paid_script(order) {
            let payee = order.payee.as_ref().unwrap_or(&order.party).clone();
            self.payouts.insert(order.payment.clone(), (payee, script));
        }
    }

    /// The transaction that an instruction gives to somebody who signs, or to the network for the first time.
    fn leaving(&mut self, effect: &Effect) -> Option<Txid> {
        match effect {
            Effect::SignPsbt { psbt } | Effect::Cosign { psbt, .. } => {
                let psbt: Psbt = psbt.parse().ok()?;
                Some(psbt.unsigned_tx.compute_txid())
            }
            Effect::Broadcast { transaction } => {
                let txid = transaction.compute_txid();
                self.handed_out.insert(txid).then_some(txid)
            }
            _ => None,
        }
    }

    fn check(&self, payment: &PaymentId) -> Result<(), String> {
        let Some((payee, script)) = self.payouts.get(payment) else {
            return Ok(());
        };
        if self.book.is_bound(payee, script, Purpose::Payouts) == Some(false) {
            return Err(format!(
                "payout {payment} goes to {script}, which is in no wallet that is bound to {payee}"
            ));
        }
        Ok(())
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
        for event in &stepped.output.events {
            // A successor of what has left completes it.
            if let Event::TransactionBuilt { payment, txid, .. } = event {
                self.built.entry(*txid).or_default().insert(payment.clone());
            }
        }
        for instruction in &stepped.output.instructions {
            let leaving = self.leaving(&instruction.effect);
            let paid = leaving.and_then(|txid| self.built.get(&txid));
            for payment in paid.into_iter().flatten() {
                self.check(payment)?;
            }
        }
        Ok(())
    }
}
