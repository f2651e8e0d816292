//! Owns I3: each payment has its effect at most once, whatever is retried, repeated or restarted: it settles once (once
//! more only after it was undone), and the outside carries each payout out once.

use super::{Invariant, Settled, Stepped};
use lockstep_engine::api::Event;
use lockstep_engine::id::PaymentId;
use std::collections::BTreeMap;

/// I3.
#[derive(Default)]
pub(super) struct AtMostOnce {
    settled: BTreeMap<PaymentId, bool>,
}

impl Invariant for AtMostOnce {
    fn name(&self) -> &'static str {
        "at-most-once"
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        for event in &stepped.output.events {
            match event {
                Event::PaymentSettled { payment, .. }
                    if self.settled.insert(payment.clone(), true) == Some(true) =>
                {
                    return Err(format!("payment {payment} has settled twice"));
                }
                Event::PaymentUndone { payment } => {
                    self.settled.insert(payment.clone(), false);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        match settled.executed.iter().find(|(_, times)| **times > 1) {
            Some((reference, times)) => Err(format!(
                "the gateway has carried out transfer {reference} {times} times"
            )),
            None => Ok(()),
        }
    }
}
