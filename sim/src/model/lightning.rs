//! Owns what the Lightning node's words mean for payments: whose a payment hash is, what a receipt, a success and a failure
//! must lead to, and what then lies in suspense (docs/SPEC.md, "Charge over Lightning", "Payout over Lightning").

use super::books::{Checked, Model, unless};
use super::orders::{self, Read};
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

    /// A charge on chain can be paid by an invoice: one URI must name its address, its amount and an invoice over it.
    pub(super) fn on_invoice_added(&mut self, id: &PaymentId, request: &str) -> Checked {
        let (network, charge) = (self.network, self.payment(id)?);
        let (address, query) = request
            .strip_prefix("bitcoin:")
            .and_then(|uri| uri.split_once('?'))
            .ok_or_else(|| format!("{request} is no payment URI"))?;
        let parameter = |name: &str| {
            let all = query.split('&').filter_map(|one| one.split_once('='));
            all.filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .next()
        };
        let paid_to = address.parse::<bitcoin::Address<_>>().ok();
        let script = paid_to.map(|address| address.assume_checked().script_pubkey());
        let amount = parameter("amount").and_then(|text| {
            bitcoin::Amount::from_str_in(text, bitcoin::Denomination::Bitcoin).ok()
        });
        let fits = script == charge.script
            && amount.map(|amount| amount.to_sat() * 1_000) == Some(charge.amount);
        let asked = Some(charge.amount);
        match parameter("lightning").map(|text| orders::invoice(text, network)) {
            Some(Ok(Read::Invoice(invoice))) if invoice.msat == asked && fits => {
                let hash = (Kind::LightningCharge, invoice.hash);
                self.hashes.entry(hash).or_insert_with(|| id.clone());
                self.own_node = Some(invoice.payee);
                Ok(())
            }
            _ => Err(format!("{request} does not ask for what {id} does")),
        }
    }

    /// What comes by the invoice of a charge on chain settles it, unless it is settled or has failed, or it is too little.
    fn on_invoiced(&mut self, id: &PaymentId, before: State, msat: u64) -> Checked {
        let payment = self.payment(id)?;
        let again = payment.suspended || (before == State::Settled && payment.by_invoice.is_some());
        let settles = !before.is_final() && msat >= payment.amount && !payment.suspended;
        let after = payment.state;
        payment.suspended |= !settles && !again;
        self.lightning_suspense += i128::from(if settles || again { 0 } else { msat });
        unless(!settles || after == State::Settled, || {
            format!("charge {id} is {after:?} after its invoice was paid")
        })
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
        if let (Kind::OnchainCharge, Fact::LightningReceived { amount_msat, .. }) =
            (self.payment(&id)?.kind, fact)
        {
            return self.on_invoiced(&id, before, amount_msat.0);
        }
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
