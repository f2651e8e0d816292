//! Owns I1: the ledger's accounts sum to zero in every currency after every step (double entry).

use super::{Invariant, Looks, Stepped};
use lockstep_engine::api::Engine;

/// I1.
pub(super) struct ZeroSum;

impl Invariant for ZeroSum {
    fn name(&self) -> &'static str {
        "ledger-zero-sum"
    }

    fn looks(&self) -> Looks {
        Looks {
            after_step: true,
            after_refusal: false,
            at_rest: false,
        }
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        check(stepped.engine)
    }
}

fn check(engine: &Engine) -> Result<(), String> {
    // Summed here, not by the ledger's own totals: the checker must not share the arithmetic that it checks.
    let mut sums = std::collections::BTreeMap::new();
    for (account, balance) in engine.ledger().accounts() {
        *sums.entry(account.asset()).or_insert(0_i128) += balance;
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((asset, sum)) => Err(format!("all accounts in {asset} sum to {sum}, not to 0")),
        None => Ok(()),
    }
}
