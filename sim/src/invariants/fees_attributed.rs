//! Owns I14: every satoshi that transactions of ours pay to miners is borne by somebody: what payouts are booked with, and
//! what the operator bears (`fees/onchain`), sum to what the chain shows; and each batch's payouts bear exactly what its
//! transactions pay.

use super::{Invariant, Looks, Settled};
use lockstep_engine::api::Engine;
use lockstep_engine::ledger::Account;
use lockstep_engine::payments::{Batch, Payment};
use lockstep_engine::rail::Rail;

/// I14.
pub(super) struct FeesAttributed;

impl Invariant for FeesAttributed {
    fn name(&self) -> &'static str {
        "fees-attributed"
    }

    fn looks(&self) -> Looks {
        Looks {
            after_step: false,
            after_refusal: false,
            at_rest: true,
        }
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        // What a backend hides the books cannot follow.
        if settled.chain_is_hidden {
            return Ok(());
        }
        let payments = settled.engine.payments();
        for batch in payments.batches() {
            let versions = batch.versions.iter().chain(&batch.children);
            let paid = versions.filter_map(|version| settled.fees_sat.get(&version.txid));
            let (paid, borne) = (paid.sum::<u64>(), borne_by(settled.engine, batch));
            if paid != borne {
                return Err(format!(
                    "batch {} pays {paid} sat to miners, its payouts bear {borne}",
                    batch.id
                ));
            }
        }
        let onchain = Account::Fees {
            rail: Rail::Onchain,
        };
        let operators = settled.engine.ledger().balance(&onchain) / 1_000;
        let payouts: u64 = payments.iter().map(|(_, payment)| fee_of(payment)).sum();
        let shown: u64 = settled.fees_sat.values().sum();
        if i128::from(shown) == i128::from(payouts) + operators {
            return Ok(());
        }
        Err(format!(
            "the chain shows fees of {shown} sat; payouts bear {payouts}, the operator {operators}"
        ))
    }
}

fn fee_of(payment: &Payment) -> u64 {
    match payment {
        Payment::OnchainPayout(payout) => payout.booked_fee().0,
        _ => 0,
    }
}

fn borne_by(engine: &Engine, batch: &Batch) -> u64 {
    let members = batch.members.iter();
    let members: u64 = members
        .filter_map(|member| engine.payments().get(&member.payment))
        .map(fee_of)
        .sum();
    members + batch.borne.0
}
