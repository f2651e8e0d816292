//! Owns what a plan's charges and payouts say of invoices: amounts left to the payer, charges with two ways to be paid, budgets
//! for the way. All by streams of their own, so that nothing else is drawn otherwise. Does not own amounts and times.

use super::Traffic;
use crate::workload::draws::Draws;
use crate::workload::text::sat;

/// Of a hundred charges over Lightning, so many leave the amount to the payer.
const ANY_PERCENT: u32 = 12;

/// Of a hundred charges on chain, so many have an invoice as well.
const BOTH_PERCENT: u32 = 15;

/// Of a hundred of those, so many are paid by it, whoever else pays them.
const BY_INVOICE_PERCENT: u32 = 60;

/// Invoices that nobody can pay.
const UNPAYABLE: [&str; 8] = [
    "other-amount",
    "mistyped",
    "expired",
    "other-network",
    "no-secret",
    "unknown-feature",
    "foreign-signature",
    "far-expiry",
];

impl Traffic<'_> {
    fn draws_of(&self, what: &str, number: usize) -> Draws {
        Draws::of(self.seed, &format!("{what}/{number}"))
    }

    /// Whether a charge over Lightning leaves the amount to its payer.
    pub(super) fn is_open(&self, number: usize) -> bool {
        self.draws_of("any", number).percent(ANY_PERCENT)
    }

    /// What a charge on chain has as well, and how long after it was made a node pays that, if one does.
    pub(super) fn both_ways(&self, number: usize) -> (&'static str, Option<u64>) {
        let mut draws = self.draws_of("both", number);
        if self.setup.outsiders.is_empty() || !draws.percent(BOTH_PERCENT) {
            return ("", None);
        }
        let pays = draws.percent(BY_INVOICE_PERCENT);
        let after = draws.between(2, 600);
        (", invoice = true", pays.then_some(after))
    }

    /// The invoice and the budget of a payout over Lightning.
    pub(super) fn routed(&mut self, number: usize) -> String {
        let mut draws = self.draws_of("routed", number);
        let invoice = match draws.between(0, 99) {
            0..15 => ", invoice = \"open\"".to_owned(),
            15..19 => {
                self.draft.pointless.push(format!("payout-{number}"));
                let kind = draws.pick(&UNPAYABLE).copied().unwrap_or("expired");
                format!(", invoice = \"{kind}\"")
            }
            _ => String::new(),
        };
        let budget = match draws.between(0, 99) {
            0..10 => format!(", max_fee = \"{}\"", sat(draws.between(0, 40))),
            _ => String::new(),
        };
        invoice + &budget
    }
}
