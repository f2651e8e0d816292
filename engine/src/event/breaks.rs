//! Owns the words for what a reconciliation finds. Does not own the finding (`reconcile`).

use crate::money::{Asset, Rail};
use serde::{Deserialize, Serialize};

/// A disagreement between the ledger and the outside. Both amounts are in the asset's booked unit (msat or cents).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// Where.
    pub rail: Rail,
    /// What disagrees.
    pub kind: BreakKind,
    /// The payment or entry concerned, if it is about one.
    pub reference: Option<String>,
    /// Unit of the amounts.
    pub asset: Asset,
    /// What the ledger holds (or has moved), in-flight items counted.
    pub ledger: i128,
    /// What the outside holds (or has moved).
    pub outside: i128,
}

/// Kinds of disagreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// The outside account holds another amount than the ledger's account of it.
    BalanceDiffers,
    /// Money that nobody can be named for lies in suspense.
    Unexplained,
    /// The statement has a movement that the ledger knows nothing of.
    UnknownEntry,
    /// The statement has another amount than the payment it names.
    AmountDiffers,
    /// The statement has the same movement of one payment twice.
    DuplicateEntry,
    /// A payment settled on that day is not on the day's complete statement.
    MissingEntry,
    /// No statement could be had.
    ReportUnavailable,
}
