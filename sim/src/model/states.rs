//! Owns which state of a payment may follow which, as one table for each kind (docs/SPEC.md, "Payments").
//! Does not own what makes a payment change.

use State::{
    Created, Dispatched, Failed, Held, Issued, Refusing, Releasing, Reserved, Seen, Settled,
};

/// The five ways in which money moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// In, over Lightning.
    LightningCharge,
    /// In, on chain.
    OnchainCharge,
    /// Out, over Lightning.
    LightningPayout,
    /// Out, on chain.
    OnchainPayout,
    /// Out, over SEPA.
    SepaPayout,
}

/// Where a payment stands. That an outcome is unknown is no state of its own: the payout is still under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A charge without invoice.
    Created,
    /// A charge that can be paid.
    Issued,
    /// An on-chain charge with money on its address that is not credited.
    Seen,
    /// Money waits for a decision.
    Held,
    /// It was decided to keep it.
    Releasing,
    /// It was decided, or became necessary, to send it back.
    Refusing,
    /// A payout whose money is set aside.
    Reserved,
    /// A payout under way.
    Dispatched,
    /// Paid.
    Settled,
    /// Not paid.
    Failed,
}

impl State {
    /// Whether nothing more is expected.
    pub fn is_final(self) -> bool {
        matches!(self, Settled | Failed)
    }
}

/// For each state those that may follow.
type Changes = &'static [(State, &'static [State])];

/// Every legal change. What is not here must never happen.
#[rustfmt::skip]
const CHANGES: [(Kind, Changes); 5] = [
    (Kind::LightningCharge, &[
        (Created,    &[Issued, Settled, Failed]),
        (Issued,     &[Held, Settled, Failed]),
        (Held,       &[Releasing, Refusing, Settled, Failed]),
        (Releasing,  &[Settled, Failed]),
        (Refusing,   &[Settled, Failed]),
    ]),
    (Kind::OnchainCharge, &[
        (Created,    &[Issued]),
        (Issued,     &[Seen, Settled, Failed]),         // settled at once by its invoice only, see `lightning`
        (Seen,       &[Seen, Issued, Held, Settled, Failed]),
        (Held,       &[Seen, Settled, Failed]),         // in escrow
        (Settled,    &[Seen]),                          // undone by a reorganisation
        (Failed,     &[Settled, Held]),                       // only if it was settled before, see `books`
    ]),
    (Kind::LightningPayout, &[
        (Reserved,   &[Dispatched]),
        (Dispatched, &[Settled, Failed]),
    ]),
    (Kind::OnchainPayout, &[
        (Reserved,   &[Dispatched, Failed]),
        (Dispatched, &[Settled, Failed, Reserved]),     // refused with others, and to be paid alone
        (Settled,    &[Dispatched]),                    // undone by a reorganisation
        (Failed,     &[Dispatched]),                    // its coins are there again, see `strays`
    ]),
    (Kind::SepaPayout, &[
        (Reserved,   &[Dispatched]),
        (Dispatched, &[Settled, Failed]),
        (Settled,    &[Failed]),                        // returned by the beneficiary's bank
    ]),
];

/// Whether a payment of this kind may go from one state to the other.
pub(super) fn may_follow(kind: Kind, from: State, to: State) -> bool {
    CHANGES
        .iter()
        .filter(|(of, _)| *of == kind)
        .flat_map(|(_, changes)| changes.iter())
        .any(|(before, after)| *before == from && after.contains(&to))
}
