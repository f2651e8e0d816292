//! Owns I8: money is held only for payments that are not final; a final payment leaves nothing locked.

use super::{Invariant, Looks, Stepped};

/// I8.
pub(super) struct NoStaleHold;

impl Invariant for NoStaleHold {
    fn name(&self) -> &'static str {
        "no-stale-hold"
    }

    fn looks(&self) -> Looks {
        Looks {
            after_step: true,
            after_refusal: false,
            at_rest: false,
        }
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        for (id, hold) in stepped.engine.ledger().holds() {
            let payment = stepped.engine.payments().get(id);
            if payment.is_none_or(|payment| payment.status().is_final()) {
                return Err(format!(
                    "payment {id} is final, and {hold:?} is still on the account"
                ));
            }
        }
        Ok(())
    }
}
