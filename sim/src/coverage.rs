//! Owns what a run has reached of what matters: cells of (rail, state of a payment, kind of fault), and rare things that the
//! harness sees. Does not own which cells there are (`workload::cells`) nor the rare branches of the engine.

use crate::faults::Fault;
use lockstep_engine::api::{Event, Finding};
use lockstep_engine::money::Rail;
use std::collections::{BTreeMap, BTreeSet};

/// What was reached so far.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Rail and state of every payment that is not final.
    open: BTreeMap<String, (&'static str, &'static str)>,
    /// Payments that have been final.
    was_final: BTreeMap<String, &'static str>,
    cells: BTreeSet<String>,
    rare: BTreeSet<String>,
}

impl Coverage {
    /// A fault had an effect now: each payment that is not final marks its cell, `rail/state/fault`.
    pub fn mark(&mut self, fault: &Fault) {
        for (rail, state) in self.open.values() {
            self.cells.insert(format!("{rail}/{state}/{}", fault.name));
        }
    }

    /// Something rare happened to the harness.
    pub fn mark_rare(&mut self, what: &str) {
        self.rare.insert(format!("harness/{what}"));
    }

    /// The cells that were reached.
    pub fn cells(&self) -> &BTreeSet<String> {
        &self.cells
    }

    /// The rare things that happened.
    pub fn rare(&self) -> &BTreeSet<String> {
        &self.rare
    }

    /// Follows the payments' states.
    pub fn learn(&mut self, event: &Event) {
        match event {
            Event::ChargeCreated { payment, rail, .. } => {
                self.begin(payment.as_str(), *rail, "created")
            }
            Event::PayoutReserved { payment, rail, .. } => {
                self.begin(payment.as_str(), *rail, "reserved")
            }
            Event::ChargeIssued { payment, .. } => self.go(payment.as_str(), "issued"),
            Event::PaymentSeen { payment, .. } => self.go(payment.as_str(), "seen"),
            Event::PaymentVanished { payment } => {
                self.mark_rare("payment-vanished");
                self.go(payment.as_str(), "issued");
            }
            Event::PaymentHeld { payment, .. } => self.go(payment.as_str(), "held"),
            Event::PayoutDispatched { payment } => self.go(payment.as_str(), "dispatched"),
            Event::OutcomeUnknown { payment, .. } => self.go(payment.as_str(), "unknown"),
            Event::BatchDissolved { payment, .. } => self.go(payment.as_str(), "reserved"),
            Event::PaymentUndone { payment } => {
                self.mark_rare("payment-undone");
                let rail = ("onchain", "undone");
                self.open.insert(payment.to_string(), rail);
            }
            Event::PaymentSettled { payment, .. } => self.end(payment.as_str(), "settled"),
            Event::PaymentFailed { payment, .. } => self.end(payment.as_str(), "failed"),
            Event::ChargeFound { finding, .. } => self.mark_rare(found(*finding)),
            Event::RefundOrdered { .. } => self.mark_rare("refund-ordered"),
            Event::EscrowDecided { .. } => self.mark_rare("escrow-decided"),
            Event::RestOrdered { .. } => self.mark_rare("escrow-rest-ordered"),
            Event::ShortfallCovered { .. } => self.mark_rare("shortfall-covered"),
            Event::ShortfallReturned { .. } => self.mark_rare("shortfall-returned"),
            Event::WebhookIgnored { .. } => self.mark_rare("webhook-ignored"),
            Event::BreakFound { .. } => self.mark_rare("break-found"),
            Event::StatementRefused { .. } => self.mark_rare("statement-refused"),
            Event::WalletNotBound { .. } => self.mark_rare("wallet-not-bound"),
            Event::BindingEndedTooLate { .. } => self.mark_rare("binding-ended-too-late"),
            Event::PayerNotBound { .. } => self.mark_rare("payer-not-bound"),
            Event::EnrolmentRefused { .. } => self.mark_rare("enrolment-refused"),
            Event::PartyOpened { .. }
            | Event::PartyEnrolled { .. }
            | Event::WalletOpened { .. }
            | Event::OutcomeStated { .. }
            | Event::StatementAccepted { .. }
            | Event::WalletRegistered { .. }
            | Event::WalletBound { .. }
            | Event::BindingEnded { .. }
            | Event::AddressGiven { .. }
            | Event::InvoiceAdded { .. }
            | Event::PaymentProven { .. }
            | Event::LabelSet { .. }
            | Event::MoveStarted { .. }
            | Event::FeerateChosen { .. }
            | Event::PayoutsBatched { .. }
            | Event::CoinsConsolidated { .. }
            | Event::TransactionReplaced { .. }
            | Event::ChildBuilt { .. }
            | Event::TransactionBuilt { .. }
            | Event::CosignerAsked { .. }
            | Event::ChannelOrdered { .. }
            | Event::ChannelRefused { .. }
            | Event::ChannelOpened { .. }
            | Event::ChannelUsable { .. }
            | Event::ChannelClosed { .. }
            | Event::ChannelSwept { .. }
            | Event::SweepBuilt { .. }
            | Event::SweepSent { .. }
            | Event::SweepSettled { .. }
            | Event::SweepUndone { .. }
            | Event::SweepFailed { .. }
            | Event::CosignerSigned { .. }
            | Event::CosignerFailed { .. }
            | Event::TransferAccepted { .. }
            | Event::Converted { .. }
            | Event::Posted(_)
            | Event::Hold(_)
            | Event::Reconciled { .. } => {}
        }
    }

    fn begin(&mut self, payment: &str, rail: Rail, state: &'static str) {
        let rail = match rail {
            Rail::Lightning => "lightning",
            Rail::Onchain => "onchain",
            Rail::Sepa => "sepa",
        };
        self.open.insert(payment.to_owned(), (rail, state));
    }

    fn go(&mut self, payment: &str, state: &'static str) {
        if let Some((_, known)) = self.open.get_mut(payment) {
            *known = state;
        }
    }

    fn end(&mut self, payment: &str, state: &'static str) {
        self.open.remove(payment);
        let before = self.was_final.insert(payment.to_owned(), state);
        match (before, state) {
            (Some("failed"), "settled") => self.mark_rare("settled-after-failure"),
            (Some("settled"), "settled") => self.mark_rare("settled-again"),
            (Some("settled"), "failed") => self.mark_rare("failed-after-settlement"),
            _ => {}
        }
    }
}

fn found(finding: Finding) -> &'static str {
    match finding {
        Finding::Partial => "found-partial",
        Finding::Over => "found-over",
        Finding::Late => "found-late",
        Finding::Double => "found-double",
        Finding::Replaced => "found-replaced",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_engine::id::{PartyId, PaymentId};
    use lockstep_engine::money::{Msat, Quantity};

    fn created(id: &str, rail: Rail) -> Event {
        Event::ChargeCreated {
            payment: PaymentId::new(id).expect("an id"),
            party: PartyId::new("p").expect("an id"),
            rail,
            amount_msat: Msat(1_000),
        }
    }

    fn fault(name: &str) -> Fault {
        Fault {
            family: "link".to_owned(),
            name: name.to_owned(),
            scope: "a-b".to_owned(),
            effects: 1,
        }
    }

    #[test]
    fn only_payments_that_are_not_final_mark_cells() {
        let mut coverage = Coverage::default();
        let payment = PaymentId::new("c1").expect("an id");
        coverage.mark(&fault("loss"));
        coverage.learn(&created("c1", Rail::Lightning));
        coverage.learn(&created("c2", Rail::Onchain));
        coverage.mark(&fault("partition"));
        coverage.learn(&Event::PaymentSettled {
            payment: payment.clone(),
            quantity: Quantity::btc(Msat(1_000)),
            fee_msat: Msat(0),
        });
        coverage.mark(&fault("delay"));
        let cells: Vec<&str> = coverage.cells().iter().map(String::as_str).collect();
        assert_eq!(
            cells,
            [
                "lightning/created/partition",
                "onchain/created/delay",
                "onchain/created/partition"
            ]
        );
    }

    #[test]
    fn what_was_final_and_moves_again_is_rare() {
        let mut coverage = Coverage::default();
        let payment = PaymentId::new("c1").expect("an id");
        coverage.learn(&created("c1", Rail::Onchain));
        let settled = Event::PaymentSettled {
            payment: payment.clone(),
            quantity: Quantity::btc(Msat(1_000)),
            fee_msat: Msat(0),
        };
        coverage.learn(&settled);
        coverage.learn(&Event::PaymentUndone { payment });
        coverage.mark(&fault("reorg"));
        coverage.learn(&settled);
        assert!(coverage.cells().contains("onchain/undone/reorg"));
        let rare: Vec<&str> = coverage.rare().iter().map(String::as_str).collect();
        assert_eq!(rare, ["harness/payment-undone", "harness/settled-again"]);
    }
}
