//! Owns I10: at the end of a run each final payment is what the outside made of it: settled means carried out exactly once
//! there, failed means that nothing of it is left there. Does not own how the outside is asked (`run::fates`).

use super::{Kind, Violation};
use lockstep_engine::api::{Engine, Status};
use lockstep_engine::id::PaymentId;
use lockstep_engine::payments::Payment;
use std::collections::BTreeMap;

/// The name in docs/INVARIANTS.md.
const NAME: &str = "outcome-equals-truth";

/// What the outside made of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Carried out over the amount of the order, so often.
    Done {
        /// Once is right.
        times: u32,
    },
    /// The outside is at it.
    Pending,
    /// Not carried out, or undone; it will not be any more.
    NotDone,
    /// The outside cannot tell.
    Unknown,
}

/// What the outside made of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Of each payment.
    pub payments: BTreeMap<PaymentId, Fate>,
    /// References under which the gateway moves money that no payout has.
    pub unordered: Vec<String>,
}

/// Compares the engine's payments with what became of them.
pub fn outcomes(engine: &Engine, fates: &Fates) -> Option<Violation> {
    let told = |(id, fate): (&PaymentId, &Fate)| {
        let payment = engine.payments().get(id)?;
        differs(payment, *fate).map(|what| format!("payment {id} {what}"))
    };
    let unordered = fates.unordered.first();
    let unordered = unordered.map(|reference| {
        format!("the gateway moves money for `{reference}`, which nobody ordered")
    });
    let what = fates.payments.iter().find_map(told).or(unordered)?;
    Some(Violation {
        invariant: NAME.to_owned(),
        kind: Kind::Safety,
        what,
    })
}

fn differs(payment: &Payment, fate: Fate) -> Option<&'static str> {
    let what = match (payment.status(), fate) {
        (Status::Settled, Fate::NotDone) => "is settled, and the outside did not carry it out",
        (Status::Settled, Fate::Pending) => "is settled, and the outside has not finished it",
        (Status::Settled, Fate::Done { times: 2.. }) => "was carried out more than once",
        (Status::Failed, Fate::Done { .. }) if !may_be_late(payment) => {
            "has failed, and the outside carried it out"
        }
        (Status::Failed, Fate::Pending) if is_payout(payment) => {
            "has failed, and the outside is still at it"
        }
        _ => return None,
    };
    Some(what)
}

fn is_payout(payment: &Payment) -> bool {
    match payment {
        Payment::LightningCharge(_) | Payment::OnchainCharge(_) => false,
        Payment::LightningPayout(_) | Payment::OnchainPayout(_) | Payment::SepaPayout(_) => true,
    }
}

/// A charge that has failed may be paid all the same: too late or too little. Then its money is nobody's (I9 sees to it
/// that no party has it): over Lightning the charge says that it lies in suspense, on chain the address is the wallet's.
fn may_be_late(payment: &Payment) -> bool {
    match payment {
        Payment::LightningCharge(charge) => charge.in_suspense.is_some(),
        Payment::OnchainCharge(_) => true,
        Payment::LightningPayout(_) | Payment::OnchainPayout(_) | Payment::SepaPayout(_) => false,
    }
}
