//! Owns the list of bugs that tests plant on purpose, to show that the invariant made for each one catches it.
//! No input can plant a bug: only `api::Engine::plant` can, which only tests call.

/// A mistake that the engine makes when it is told to.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The ledger books every transaction but its last line (zero-sum, ledger = ground truth).
    UnbalancedPosting,
    /// A voided hold stays on the account (no fund locked for ever).
    ForgetHoldRelease,
    /// A transfer whose outcome is unknown is ordered anew under another key and reference (at most once).
    PayTwiceOnRetry,
    /// Facts that settle a payment are taken and not acted upon (liveness).
    NeverSettle,
    /// A settled on-chain charge stays settled when its confirmations are lost (ledger = ground truth).
    IgnoreReorg,
    /// A Lightning receipt or transfer change is booked as often as it is told (at most once).
    RepeatDuplicates,
    /// Nothing expires (each payment final within its deadline).
    DropExpiry,
    /// An accepted command leaves no trace in the state (folding the journal gives the live state).
    ForgetCommand,
}
