//! Owns the record of a payment, whichever way it goes, and the one word for where it stands.
//! Does not own the states of each way (`charge_*`, `payout_*`).

use super::charge_lightning::LightningCharge;
use super::charge_onchain::OnchainCharge;
use super::payout_lightning::LightningPayout;
use super::payout_onchain::OnchainPayout;
use super::payout_sepa::SepaPayout;
use crate::id::PartyId;
use crate::time::Timestamp;
use serde::Serialize;

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payment {
    /// In, Lightning.
    LightningCharge(LightningCharge),
    /// In, on chain.
    OnchainCharge(OnchainCharge),
    /// Out, Lightning.
    LightningPayout(LightningPayout),
    /// Out, on chain.
    OnchainPayout(OnchainPayout),
    /// Out, SEPA.
    SepaPayout(SepaPayout),
}

/// Where a payment stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A charge whose request is being made.
    Created,
    /// A charge that can be paid.
    Issued,
    /// On-chain money was seen and is not deep enough.
    Seen,
    /// A Lightning payment waits for a decision, or the decision is on its way.
    Held,
    /// A payout whose money is set aside; nothing has left.
    Reserved,
    /// A payout that is on its way.
    Dispatched,
    /// A payout whose fate is not known: an answer was lost, or its deadline is over.
    Unknown,
    /// Final: paid.
    Settled,
    /// Final: not paid.
    Failed,
}

impl Status {
    /// Whether nothing more is expected to happen.
    pub const fn is_final(self) -> bool {
        match self {
            Status::Settled | Status::Failed => true,
            Status::Created
            | Status::Issued
            | Status::Seen
            | Status::Held
            | Status::Reserved
            | Status::Dispatched
            | Status::Unknown => false,
        }
    }
}

impl Payment {
    /// Where it stands.
    pub fn status(&self) -> Status {
        match self {
            Payment::LightningCharge(charge) => charge.status(),
            Payment::OnchainCharge(charge) => charge.status(),
            Payment::LightningPayout(payout) => payout.status(),
            Payment::OnchainPayout(payout) => payout.status(),
            Payment::SepaPayout(payout) => payout.status(),
        }
    }

    /// Whose account it concerns.
    pub fn party(&self) -> &PartyId {
        match self {
            Payment::LightningCharge(charge) => &charge.party,
            Payment::OnchainCharge(charge) => &charge.party,
            Payment::LightningPayout(payout) => &payout.party,
            Payment::OnchainPayout(payout) => &payout.party,
            Payment::SepaPayout(payout) => &payout.party,
        }
    }

    /// When it must be final, or known to be unknown. On-chain money that was seen in time and held Lightning payments
    /// take until their depth and their claim deadline.
    pub fn due_at(&self) -> Timestamp {
        match self {
            Payment::LightningCharge(charge) => charge.expires_at,
            Payment::OnchainCharge(charge) => charge.expires_at,
            Payment::LightningPayout(payout) => payout.due_at,
            Payment::OnchainPayout(payout) => payout.due_at,
            Payment::SepaPayout(payout) => payout.due_at,
        }
    }
}
