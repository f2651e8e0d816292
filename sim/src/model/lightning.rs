//! Owns what the Lightning node's words mean for payments: whose a payment hash is, what a receipt, a success and a failure
//! must lead to, and what then lies in suspense (docs/SPEC.md, "Charge over Lightning", "Payout over Lightning").

use super::books::{Checked, Model, unless};
use super::states::{Kind, State};
use lockstep_engine::api::Input;
use lockstep_engine::id::PaymentId;
use lockstep_engine::rail::{Effect, Fact, Instruction};

impl Model {
    /// Two things that no event tells: a hold invoice's hash, and that a held payment is sent back.
    pub(super) fn on_instruction(&mut self, instruction: &Instruction) {
        self.fees_asked |= matches!(instruction.effect, Effect::ReadFees);
        let Ok(id) = PaymentId::new(instruction.key.0.split('/').next().unwrap_or_default()) else {
            return;
        };
        match (&instruction.effect, self.payments.get_mut(&id)) {
            (
                Effect::CreateInvoice {
                    hold_hash: Some(hash),
                    ..
                },
                Some(_),
            ) => {
                self.hashes.insert((Kind::LightningCharge, *hash), id);
            }
            (Effect::FailHeld { .. }, Some(charge)) if charge.state == State::Held => {
                charge.state = State::Refusing;
            }
            _ => {}
        }
    }

    /// The payment that a Lightning fact is about, and where it stood before.
    pub(super) fn before(&self, input: &Input) -> Option<(PaymentId, State)> {
        let Input::Fact { fact, .. } = input else {
            return None;
        };
        let hash = match fact {
            Fact::LightningReceived { payment_hash, .. } => (Kind::LightningCharge, *payment_hash),
            Fact::LightningSent { payment_hash, .. }
            | Fact::LightningFailed { payment_hash, .. } => (Kind::LightningPayout, *payment_hash),
            _ => return None,
        };
        let id = self.hashes.get(&hash)?;
        Some((id.clone(), self.state(id)?))
    }

    /// What a Lightning node tells decides at once; what can no more be credited or charged lies in suspense, once.
    pub(super) fn on_lightning(
        &mut self,
        fact: &Fact,
        before: Option<(PaymentId, State)>,
    ) -> Checked {
        let Some((id, before)) = before else {
            if let Fact::LightningReceived {
                payment_hash,
                amount_msat,
            } = fact
                && amount_msat.0 > 0
                && self.strays.insert(*payment_hash)
            {
                self.lightning_suspense += i128::from(amount_msat.0);
            }
            return Ok(());
        };
        let payment = self.payment(&id)?;
        let (must, late) = match (payment.kind, fact) {
            (Kind::LightningCharge, Fact::LightningReceived { amount_msat, .. }) => {
                let counts = !before.is_final() && amount_msat.0 >= payment.amount;
                (counts.then_some(State::Settled), i128::from(amount_msat.0))
            }
            (Kind::LightningPayout, Fact::LightningSent { fee_msat, .. }) => {
                let out = payment.reserve.min(payment.amount + fee_msat.0);
                (
                    (!before.is_final()).then_some(State::Settled),
                    -i128::from(out),
                )
            }
            (_, Fact::LightningFailed { .. }) => ((!before.is_final()).then_some(State::Failed), 0),
            _ => (None, 0),
        };
        let after = payment.state;
        let suspends =
            must.is_none() && before != State::Settled && !payment.suspended && late != 0;
        payment.suspended |= suspends;
        self.lightning_suspense += if suspends { late } else { 0 };
        unless(must.is_none_or(|must| must == after), || {
            format!("payment {id} is {after:?} after {fact:?}")
        })
    }
}
