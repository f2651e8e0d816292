//! Owns the way from what happened to payments to what is stated of them: it gives `reputation` the facts of a payment that it
//! may see. Does not own what is stated.

use super::engine::Engine;
use crate::event::Consequences;
use crate::id::PaymentId;
use crate::layer0::Role;
use crate::payments::Payment;
use crate::rail::Rail;
use crate::reputation::Facts;
use crate::time::Timestamp;

impl Engine {
    /// The same consequences, and what is stated because of them.
    pub(super) fn with_statements(
        &mut self,
        now: Timestamp,
        mut out: Consequences,
    ) -> Consequences {
        if self.payments.policy().reputation.is_none() {
            return out;
        }
        let payments = &self.payments;
        let facts = |id: &PaymentId| {
            let payment = payments.get(id)?;
            let (role, rail) = role_and_rail(payment);
            Some(Facts {
                party: payment.party().clone(),
                role,
                rail,
                due_at: payment.due_at(),
            })
        };
        let more = self
            .reputation
            .observe(now, payments.policy(), &out.events, facts);
        out.append(more);
        out
    }
}

fn role_and_rail(payment: &Payment) -> (Role, Rail) {
    match payment {
        Payment::LightningCharge(_) => (Role::Payee, Rail::Lightning),
        Payment::OnchainCharge(_) => (Role::Payee, Rail::Onchain),
        Payment::LightningPayout(_) => (Role::Payer, Rail::Lightning),
        Payment::OnchainPayout(_) => (Role::Payer, Rail::Onchain),
        Payment::SepaPayout(_) => (Role::Payer, Rail::Sepa),
    }
}
