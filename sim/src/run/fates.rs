//! Owns what the outside made of each payment, asked of the outside itself: the nodes' own records, the chain, the
//! gateway's books. From the engine it takes only what names a payment there: hash, address, transaction, reference.
//! Does not own the verdict (`invariants`).

use super::{Runner, Stop};
use crate::invariants::{Fate, Fates};
use crate::worlds::gateway::{Transfer, TransferStatus};
use crate::worlds::{HashTruth, World};
use lockstep_engine::id::PaymentId;
use lockstep_engine::payments::{OnchainCharge, OnchainPayout, Payment, SepaPayout};
use std::collections::BTreeSet;

impl<W: World> Runner<W> {
    /// At rest; the chain was looked at just now.
    pub(super) fn fates(&self) -> Result<Fates, Stop> {
        let of_engine = |engine: &lockstep_engine::api::Engine| -> Vec<(PaymentId, Payment)> {
            let payments = engine.payments().iter();
            payments
                .map(|(id, payment)| (id.clone(), payment.clone()))
                .collect()
        };
        let payments = self.world.service().with_engine(of_engine)?;
        let transfers = self.world.gateway().lock().transfers().to_vec();
        let mut fates = Fates::default();
        for (id, payment) in &payments {
            let fate = match payment {
                Payment::LightningCharge(charge) => match charge.payment_hash {
                    Some(hash) => of_hash(self.world.hash_truth(hash)?),
                    None => Fate::NotDone,
                },
                Payment::LightningPayout(payout) => {
                    of_hash(self.world.hash_truth(payout.payment_hash)?)
                }
                Payment::OnchainCharge(charge) => {
                    let by_invoice = charge.by_invoice.as_ref();
                    match by_invoice.and_then(|by_invoice| by_invoice.payment_hash) {
                        Some(hash) => first_of(
                            self.of_address(charge),
                            of_hash(self.world.hash_truth(hash)?),
                        ),
                        None => self.of_address(charge),
                    }
                }
                Payment::OnchainPayout(payout) => self.of_transaction(id, payout),
                Payment::SepaPayout(payout) => of_transfers(payout, &transfers),
            };
            fates.payments.insert(id.clone(), fate);
        }
        let ordered: BTreeSet<&str> = payments.iter().map(|(id, _)| id.as_str()).collect();
        let references = transfers.into_iter().map(|transfer| transfer.reference);
        fates.unordered = references
            .filter(|found| !ordered.contains(found.as_str()))
            .collect();
        Ok(fates)
    }

    /// All that blocks hold for an address of a charge, which is used for nothing else.
    fn of_address(&self, charge: &OnchainCharge) -> Fate {
        let tolerance = self.run.scenario.policy.tolerance;
        let lacking = tolerance.map_or(0, |sat| sat.get());
        if self.book.confirmed_sat(&charge.script) + lacking >= charge.amount.0 {
            Fate::Done { times: 1 }
        } else {
            Fate::NotDone
        }
    }

    /// The versions of a payout's transaction: how often blocks hold one of them with an output of its amount.
    fn of_transaction(&self, id: &PaymentId, payout: &OnchainPayout) -> Fate {
        let told = self.run.recorder.told(id.as_str());
        let versions = told.map(|told| told.txids).unwrap_or_default();
        let (mut times, mut pending) = (0, false);
        for txid in &versions {
            match self.book.confirmations(|found| found == txid) {
                None => {}
                Some(0) => pending = true,
                Some(_) => {
                    let mut all = self.book.transactions();
                    let found = all.find(|found| found.compute_txid() == *txid);
                    let outputs = found.iter().flat_map(|found| &found.output);
                    let pays = outputs.filter(|output| {
                        output.script_pubkey == payout.script
                            && output.value.to_sat() == payout.amount.0
                    });
                    times += pays.count() as u32;
                }
            }
        }
        match (times, pending) {
            (0, true) => Fate::Pending,
            (0, false) => Fate::NotDone,
            (times, _) => Fate::Done { times },
        }
    }
}

/// Of a charge that can be paid in two ways: one is enough, and the other is another's matter.
fn first_of(on_chain: Fate, by_invoice: Fate) -> Fate {
    match (on_chain, by_invoice) {
        (done @ Fate::Done { .. }, _) | (_, done @ Fate::Done { .. }) => done,
        (Fate::NotDone, other) => other,
        (other, _) => other,
    }
}

fn of_hash(truth: HashTruth) -> Fate {
    if truth.claimed || truth.proven {
        Fate::Done { times: 1 }
    } else if truth.hidden {
        Fate::Unknown
    } else if truth.pending {
        Fate::Pending
    } else {
        Fate::NotDone
    }
}

/// Transfers under the payout's reference: booked and not sent back, of the amount.
fn of_transfers(payout: &SepaPayout, transfers: &[Transfer]) -> Fate {
    let own = transfers
        .iter()
        .filter(|transfer| transfer.reference == payout.id.as_str());
    let (mut times, mut pending) = (0, false);
    for transfer in own {
        pending |= transfer.status == TransferStatus::Accepted;
        let booked = transfer.status == TransferStatus::Settled;
        times += u32::from(booked && transfer.amount == payout.amount.units());
    }
    match (times, pending) {
        (0, true) => Fate::Pending,
        (0, false) => Fate::NotDone,
        (times, _) => Fate::Done { times },
    }
}
