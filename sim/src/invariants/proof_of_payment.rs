//! Owns I15: a payout over Lightning settles with a proof, which hashes to the payment hash of the invoice that was ordered to
//! be paid, and the engine keeps that proof. Invoice and hash are read here anew. Does not own whether the payee was paid
//! (`outcome_equals_truth`).

use super::{Invariant, Settled, Stepped};
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::{DisplayHex as _, FromHex as _};
use lightning_invoice::Bolt11Invoice;
use lockstep_engine::api::{Command, Destination, Event, Input};
use lockstep_engine::escrow::Verdict;
use lockstep_engine::id::PaymentId;
use lockstep_engine::payments::{LightningPayoutState, Payment};
use std::collections::BTreeMap;

/// I15.
#[derive(Default)]
pub(super) struct ProofOfPayment {
    /// The payment hash of each payout over Lightning.
    ordered: BTreeMap<PaymentId, sha256::Hash>,
    /// The payment hash of each invoice by which a split charge's payer is paid back.
    decided: BTreeMap<PaymentId, sha256::Hash>,
    /// What was told to prove it.
    proven: BTreeMap<PaymentId, [u8; 32]>,
}

impl ProofOfPayment {
    fn prove(&mut self, payment: &PaymentId, hash: &str, preimage: &str) -> Result<(), String> {
        let Some(ordered) = self.ordered.get(payment) else {
            return Err(format!(
                "{payment} is proven, and no invoice was ordered to be paid"
            ));
        };
        let proof = <[u8; 32]>::from_hex(preimage).map_err(|error| error.to_string())?;
        if ordered.to_string() != hash || sha256::Hash::hash(&proof) != *ordered {
            return Err(format!(
                "{preimage} is told to prove {payment}, whose invoice is on {ordered}"
            ));
        }
        match self.proven.insert(payment.clone(), proof) {
            None => Ok(()),
            Some(_) => Err(format!("{payment} is proven twice")),
        }
    }
}

impl Invariant for ProofOfPayment {
    fn name(&self) -> &'static str {
        "proof-of-payment"
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        if let Input::Command {
            command: Command::CreatePayout(order),
            ..
        } = stepped.input
            && let Destination::Invoice(text) = &order.destination
            && let Ok(invoice) = text.trim().parse::<Bolt11Invoice>()
        {
            let ordered = self.ordered.entry(order.payment.clone());
            ordered.or_insert(*invoice.payment_hash());
        }
        for event in &stepped.output.events {
            match event {
                Event::EscrowDecided {
                    verdict: Verdict::Split(shares),
                    ..
                } => self.decided.extend(shares.iter().filter_map(|share| {
                    let invoice = share.pay_to.as_ref()?.parse::<Bolt11Invoice>().ok()?;
                    Some((share.charge.clone(), *invoice.payment_hash()))
                })),
                Event::RestOrdered { payment, rest, .. } => {
                    let hash = self.decided.get(payment).copied();
                    self.ordered.extend(hash.map(|hash| (rest.clone(), hash)));
                }
                Event::PaymentProven {
                    payment,
                    payment_hash,
                    preimage,
                } => self.prove(payment, payment_hash, preimage)?,
                Event::PaymentSettled { payment, .. }
                    if self.ordered.contains_key(payment) && !self.proven.contains_key(payment) =>
                {
                    return Err(format!("{payment} has settled without a proof"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        for (payment, proof) in &self.proven {
            let kept = match settled.engine.payments().get(payment) {
                Some(Payment::LightningPayout(payout)) => match &payout.state {
                    LightningPayoutState::Settled { preimage, .. } => Some(*preimage),
                    _ => None,
                },
                _ => None,
            };
            if kept != Some(*proof) {
                let proof = proof.to_lower_hex_string();
                return Err(format!("the proof {proof} of {payment} was not kept"));
            }
        }
        Ok(())
    }
}
