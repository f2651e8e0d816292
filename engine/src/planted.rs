//! Owns the list of bugs that tests plant on purpose, to show that the harness catches each. Each is a mistake that a
//! developer makes, at the place where it would be made. Does not own those places.
//!
//! No input can plant a bug: it comes with the configuration (`api::EngineConfig::planted`), so that it is in the code of
//! every life of the process and of every fold of the journal, as a real one would be. docs/TESTING.md says which
//! invariant catches which bug.

/// Defines [`Bug`], the list of all of them, and their names.
macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A mistake that engine or host makes when it is told to. In brackets: what should catch it.
        #[doc(hidden)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $what])+ $name,)+
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Bug] = &[$(Bug::$name,)+];

            /// Its name, as tests and tools give it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Bug::$name => stringify!($name),)+
                }
            }

            /// What it does, and in brackets what should catch it.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Bug::$name => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

bugs! {
    // Ledger and holds.

    /// The ledger books every transaction but its last line (ledger-zero-sum).
    UnbalancedPosting,
    /// A voided hold stays on the account (no-stale-hold).
    ForgetHoldRelease,
    /// The unused part of a reserve for routing fees is released, and credited as well (model-agrees, ledger-equals-ground-truth).
    RefundUnusedReserve,
    /// For a euro payout that bitcoin pays for, as many millisatoshi are held and sold as it has cents (model-agrees: the party's
    /// balance).
    HoldWrongUnit,
    /// Cents are booked in two halves, each rounded down: an odd cent is lost (ledger-equals-ground-truth).
    LoseCent,
    /// The miner's fee of a payout is booked as the operator's, not the party's (model-agrees: the party's balance).
    FeeToOperator,

    // Commands, journal, restart.

    /// Replaying the journal does not bring back which commands were answered: after a restart one would be done again
    /// (fold-equals-live).
    ForgetCommandsOnRestart,
    /// A record is synced together with the next one: its input is answered and its effects begin before
    /// (ledger-equals-ground-truth after a stop, fold-equals-live).
    AnswerBeforeSync,
    /// Timers are not set again after a restart (terminal-by-deadline).
    LoseTimersOnRestart,
    /// An order that was on its way at a restart goes out again under a fresh key (ledger-equals-ground-truth).
    ReissueUnderFreshKey,

    // Facts in general.

    /// Facts that settle a payment are taken and not acted upon (model-agrees, terminal-by-deadline).
    NeverSettle,
    /// A Lightning receipt or transfer change is booked as often as it is told (model-agrees, ledger-equals-ground-truth).
    RepeatDuplicates,
    /// Nothing expires (terminal-by-deadline).
    DropExpiry,

    // SEPA.

    /// A transfer whose outcome is unknown is ordered anew under another key and reference (ledger-equals-ground-truth).
    PayTwiceOnRetry,
    /// An order of unknown outcome fails at once and its money is given back (ledger-equals-ground-truth).
    CompensateUnknown,
    /// A payout is booked when the gateway has accepted the order (ledger-equals-ground-truth).
    SettleAtAcceptance,
    /// A transfer that comes back after it was booked is not taken notice of (ledger-equals-ground-truth).
    IgnoreReturn,
    /// What the gateway tells counts even if it is older than what is known (ledger-equals-ground-truth).
    ApplyOlderVersion,
    /// The amount that the gateway tells takes the place of the amount ordered (ledger-equals-ground-truth, if the gateway
    /// tells a wrong one).
    AcceptWrongAmount,
    /// Nobody looks at a webhook's signature (ledger-equals-ground-truth, if somebody forges one).
    SkipSignatureCheck,
    /// The gateway is never asked about a transfer (ledger-equals-ground-truth or terminal-by-deadline, if a webhook is lost).
    NeverAsk,

    // Lightning.

    /// A held payment is credited when it is held, not when it is claimed (model-agrees, ledger-equals-ground-truth).
    CreditAtHeld,
    /// A payment that is received is credited to the first open charge of that amount (model-agrees: the parties' balances).
    CreditWrongParty,
    /// A payout keeps the payment hash in place of its proof (proof-of-payment).
    KeepHashAsProof,
    /// A payout that is on its way at its deadline fails and its money is given back (ledger-equals-ground-truth).
    FailOverdueLightning,

    // Reputation.

    /// A statement whose acknowledgement is lost is told again under another key (reputation-exactly-once).
    StateUnderFreshKey,
    /// A payout is stated to be settled when it is on its way (model-agrees: what is stated).
    StateBeforeFinal,
    /// Nothing is stated of payments that fail (model-agrees: what is stated).
    StateNoFailure,
    /// A settled charge that loses its confirmations stays stated as settled (model-agrees: what is stated).
    StateNoCorrection,

    // Chain.

    /// A settled charge stays settled when its confirmations are lost (ledger-equals-ground-truth).
    IgnoreReorg,
    /// A charge settles as soon as its money is seen (model-agrees: the payment's state).
    CreditAtSeen,
    /// A charge settles one block early (model-agrees: the payment's state).
    SettleOneBlockEarly,
    /// A charge settles with whatever has come, though it is less than asked (model-agrees: the payment's state).
    CreditShortPayment,
    /// A second payment settles the charge a second time (at-most-once).
    SettleTwiceOnDouble,
    /// When money that was refunded leaves the chain, its refund is forgotten, so that it is refunded again when it comes
    /// back (model-agrees: a refund that nobody owes).
    RefundAgain,
    /// Payments settle and fail by a tip that is stale (model-agrees: the payment's state).
    DecideOnStaleTip,
    /// What others bear for a party is not given back when the money that it had spent comes again (model-agrees: the
    /// party's balance).
    ForgetReturnedCoins,
    /// An address that nobody has paid to is given out again (model-agrees).
    ReuseAddress,
    /// Money of an unconfirmed transaction still counts after another has replaced it (ledger-equals-ground-truth).
    CountReplacedTwice,
    /// A payout spends unconfirmed money of others (model-agrees).
    SpendUnconfirmed,
    /// A payout whose wallet has too few coins takes those of another wallet (wallets-apart).
    MixPurposes,
    /// A charge is paid into `hot`, whichever wallet it names (model-agrees: the payment's state).
    IgnoreWalletOfCharge,
    /// Addresses are given out beyond the gap limit (model-agrees: a command accepted that must be refused).
    IgnoreGapLimit,
    /// Replaying the journal does not bring back the wallets that were opened (fold-equals-live).
    ForgetWalletsOnRestart,
    /// A payout's transaction that has left the chain is not handed out again (terminal-by-deadline).
    NeverRebroadcast,
    /// The money of a payout that has left the chain goes back to the party, though the transaction may come back
    /// (model-agrees: the party's balance).
    ForgetHoldOnReorg,

    // Cosigners.

    /// What a cosigner gives back counts, whatever it is (model-agrees: he has not signed).
    CountWrongSignature,
    /// Any cosigner's signature counts as that of the one who was asked (model-agrees: he has not signed).
    CountCosignerTwice,
    /// One signature is enough (model-agrees: the payout's state, if the network refuses what is too little).
    SendBelowThreshold,
    /// After a restart nobody has signed yet, and nobody is asked again (model-agrees: the payout's state;
    /// fold-equals-live).
    ForgetSignaturesOnRestart,
    /// A transaction that cosigners were shown is given up as if nobody had seen it (model-agrees: what is sent next
    /// spends none of its coins).
    ForgetShownTransaction,

    // Identity.

    /// Nobody looks at the DID's signature when a wallet is bound (model-agrees: the proof should be refused).
    SkipDidSignature,
    /// A wallet's proof over the challenge of another binding counts too (model-agrees: the proof should be refused).
    AcceptOtherChallenge,
    /// Replaying the journal does not bring back that the binding of a wallet was revoked (fold-equals-live).
    ForgetRevocationOnRestart,
    /// A payout that has not left goes on when the binding of its destination ends (no-unbound-payment).
    PayAfterRevocation,

    // Escrow.

    /// Anybody's decision about an escrow counts (model-agrees: the decision should be refused).
    AcceptAnySigner,
    /// An escrow is released although its agent has refused it (model-agrees: the payment's state).
    ReleaseRefused,
    /// Money on chain that waits in escrow is credited, so that its payee can spend it (model-agrees: the party's balance).
    SpendHeldEscrow,

    // Paying on chain.

    /// Coins that a payment of ours is about to spend are spent for the next one, too (the payment's outcome: the network
    /// refuses it).
    SpendLockedCoins,
    /// A transaction is replaced although it is confirmed (model-agrees).
    BumpConfirmed,
    /// A transaction is bumped beyond what its payouts have set aside (model-agrees).
    BumpAboveBudget,
    /// A payout has failed as soon as a coin that it spends is not there, though its own transaction and the one before it may
    /// come back (model-agrees).
    FailMissingCoins,
    /// Of a payout of all that a party has the most that its fee may be is taken off, not the fee: the rest stays on the account
    /// (model-agrees: the party's balance).
    KeepRestOfAll,
    /// The fee of a batch is shared in whole satoshi, each share rounded down: the rest is nobody's
    /// (ledger-equals-ground-truth, fees-attributed).
    LoseSharedSatoshi,
    /// What the opening of a channel cost is not taken from the node's wallet in the books (ledger-equals-ground-truth).
    ForgetFundingFee,
    /// What of a closed channel never comes back is not booked: commitment fee, anchors, sweeps (ledger-equals-ground-truth).
    ForgetClosingFee,
}

impl Bug {
    /// The bug of that name.
    pub fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Bug::ALL {
            assert_eq!(Bug::from_name(bug.name()), Some(*bug));
            assert!(
                bug.what().ends_with(')') || bug.what().ends_with(")."),
                "{}",
                bug.what()
            );
        }
        assert_eq!(Bug::from_name("NoSuchBug"), None);
    }
}
