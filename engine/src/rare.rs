//! Owns the list of rare branches, and the notes of which of them this process has reached. Does not own the branches.
//!
//! A run that finds no fault proves little if it never came to where faults live. So a branch that few inputs reach says so
//! here, and whoever runs many seeds sees which were never reached. The notes are kept in statics, like those of a
//! logger: nothing in the engine or the host reads them, so no decision can depend on them, and the state and every fold
//! of the journal stay what they are without them. Folding a journal reaches its branches again.

use std::sync::atomic::{AtomicBool, Ordering};

/// Defines [`Rare`], the list of all of them, their names, and a note for each.
macro_rules! branches {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A branch that few inputs reach.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rare {
            $($(#[doc = $what])+ $name,)+
        }

        impl Rare {
            /// Every rare branch.
            pub const ALL: &[Rare] = &[$(Rare::$name,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Rare::$name => stringify!($name),)+
                }
            }

            /// What happens there, in one sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Rare::$name => concat!($($what),+).trim_ascii(),)+
                }
            }

            fn note(self) -> &'static AtomicBool {
                match self {
                    $(Rare::$name => {
                        static REACHED: AtomicBool = AtomicBool::new(false);
                        &REACHED
                    })+
                }
            }
        }
    };
}

branches! {
    // Commands and facts.

    /// A command was told again and got its first answer.
    CommandRepeated,
    /// A command's id was used for another command.
    CommandIdReused,
    /// A fact answered what nobody asks any more: it was refused.
    AnswerToNothing,

    // Cosigners.

    /// A cosigner could not be reached.
    CosignerAbsent,
    /// A cosigner took longer than the policy's patience.
    CosignerSlow,
    /// A cosigner refused to sign.
    CosignerRefused,
    /// A cosigner gave back something else than was asked for.
    CosignerWrong,
    /// Too few cosigners were left.
    TooFewCosigners,

    // Layer 0.

    /// Layer 0 gave no clear answer: it is asked again.
    Layer0Unclear,
    /// Layer 0 did not vouch for a party's DID.
    EnrolmentRefused,
    /// The signer did not sign a statement, or another one.
    StatementNotSigned,
    /// Layer 0 refused a statement.
    StatementRefused,
    /// What was stated of a payment was corrected.
    StatementCorrected,

    /// The binding of a payout's destination ended before the transaction was handed out: the payout failed.
    UnboundBeforeSigning,
    /// The binding of a payout's destination ended after the transaction had left: the payout completed.
    UnboundAfterBroadcast,
    /// Money for a charge came from a wallet that is not bound: it was not credited.
    PayerNotBound,

    /// The agent of an escrow told something of it.
    DecisionTold,
    /// A decision about an escrow was told again.
    DecisionRepeated,
    /// The invoice of a payer's part was paid by another payout before.
    RestPaidByAnother,

    // Looks at the chain.

    /// A look at the chain was older than what is known: it was refused.
    ViewStale,
    /// A look at the chain replaced blocks by fewer ones: it was refused.
    ViewShorter,
    /// The tip was older than the policy allows: nothing was decided.
    StaleTip,
    /// A look at the chain did not connect to the known chain: it was refused.
    ViewNotConnected,
    /// A look at the chain lacked what its own blocks hold: it was refused.
    ViewIncomplete,

    // Charges on chain.

    /// A reorganisation undid a settled charge.
    ChargeUndone,
    /// An undone charge had expired when its money came back, and settled again.
    ExpiredChargeCameBack,
    /// Money for a charge left chain and mempool before it was deep.
    ChargeMoneyVanished,
    /// Deep money for a charge that had failed or was credited before went to suspense.
    LateCoins,
    /// Money for a charge was gone at the next look: its payer took it back or paid in another way.
    PayerTookBack,
    /// Money that the policy wants refunded came for a charge without a refund address.
    NowhereToRefund,
    /// Money was not refunded because the fee would have eaten it.
    TooSmallToRefund,
    /// A reorganisation took back money that had been refunded.
    RefundLostItsMoney,
    /// A refund's transaction left the chain together with the coins that it spends.
    RefundWithoutCoins,
    /// A payout was overdue and a coin that it spends was lost for good.
    PayoutWithoutCoins,
    /// A party had spent what a reorganisation took back: somebody else bears it.
    ShortfallCovered,
    /// What was borne for a party came in again.
    ShortfallReturned,
    /// A party that is frozen asked for a payout.
    FrozenPayout,
    /// A charge's time was over while its money was there and not deep: it stayed open.
    ExpiryWhileSeen,
    /// The wallet held less than payments had booked: suspense bears it.
    WalletFellShort,

    // Payouts on chain.

    /// A payout waited for coins, and a look at the chain brought them.
    CoinsForWaitingPayout,
    /// A payout still waited for coins at its deadline.
    DeadlineWithoutCoins,
    /// A payout was at the signer at its deadline.
    DeadlineWhileSigning,
    /// A payout was given up, but its transaction was known to the network: its fate is unknown.
    GivenUpButOut,
    /// No transaction could be built for a payout.
    NotBuildable,
    /// The signer refused, or gave back something else.
    SigningRefused,
    /// The network refused a transaction that nobody had: the payout failed.
    BroadcastRefused,
    /// The network refused a transaction that may be out already: nothing was freed.
    LateRefusalIgnored,
    /// A settled payout lost its confirmations.
    PayoutUndone,
    /// A payout's transaction left chain and mempool.
    PayoutLeftChain,
    /// A payout's transaction that had left the chain was seen again.
    PayoutCameBack,
    /// A payout's transaction was handed out again.
    Rebroadcast,
    /// A payout on chain was on its way at its deadline.
    DeadlineAfterBroadcast,

    // Paying on chain.

    /// A payout had to spend change of an unconfirmed transaction that offers too little, and paid for that, too.
    PaidForParents,
    /// Another version of a payout's transaction was seen than before.
    AnotherVersionSeen,
    /// A transaction was replaced.
    Replaced,
    /// A child was made for a transaction.
    ChildMade,
    /// A transaction offered too little and could not be bumped.
    BumpRefused,
    /// A signer or the network refused a successor; its predecessor goes on.
    SuccessorRefused,
    /// A transaction for several payouts was refused: each gets one of its own.
    BatchDissolved,
    /// Coins did not suffice for all payouts that waited together.
    BatchCutShort,
    /// Many coins were made one.
    Consolidated,
    /// Nothing could be learned about fees: the last answer, or the policy's rate, had to do.
    FeesUnknown,

    // Charges over Lightning.

    /// The node's invoice lived longer than its charge, which was extended.
    ChargeExtended,
    /// The node made no invoice, or not the one asked for.
    InvoiceUnusable,
    /// A payment was held that was short, late or not asked to be held: it was sent back.
    HoldSentBack,
    /// A payment was held that no charge asked for: it was sent back.
    StrayHold,
    /// Nobody decided about a held payment until the margin before its claim deadline.
    HoldReachedMargin,
    /// The node sent a held payment back before we did.
    NodeEndedHold,
    /// A receipt was told again.
    ReceiptRepeated,
    /// A receipt came too late or was too little: to suspense.
    ReceiptNotCreditable,
    /// A receipt came that no charge asked for: to suspense.
    StrayReceipt,

    // Payouts over Lightning.

    /// A payout over Lightning was on its way at its deadline.
    LightningOverdue,
    /// The routing fee was above the limit: the operator bore the rest.
    FeeAboveLimit,
    /// A payout was told to be sent after it was told to have failed.
    SentAfterFailure,

    // Payouts over SEPA.

    /// A webhook told of a transfer before the order was answered.
    WebhookBeforeAnswer,
    /// The gateway answered an order that a webhook had told of already.
    AnswerAfterWebhook,
    /// An order's outcome became unknown.
    OutcomeUnknown,
    /// The gateway was asked about an order of unknown outcome, and knew it.
    UnknownResolvedByAsking,
    /// The gateway was asked about an order, did not know it, and got it again.
    OrderedAfterAsking,
    /// The gateway said once that it does not know an overdue order.
    NotThereOnce,
    /// The gateway said twice that it does not know an overdue order: it was given up.
    NotThereTwice,
    /// The gateway had several transfers of one reference.
    SeveralTransfers,
    /// The attempts of an order were used up.
    AttemptsUsedUp,
    /// An order was rejected after an attempt of unknown outcome.
    RejectedAfterUnclear,
    /// The gateway told what was known, or older than it: nothing changed.
    OldNews,
    /// The gateway told of another amount or currency than ordered: nothing changed.
    NewsDoesNotFit,
    /// A transfer came back before it was booked.
    ReturnedBeforeBooking,
    /// A transfer came back after it was booked.
    ReturnedAfterBooking,
    /// A transfer was booked after its payout had failed: to suspense.
    BookedAfterFailure,
    /// A deadline passed while the outcome was unknown.
    DeadlineWhileUnknown,
    /// A deadline passed before any order can have been seen: the payout failed.
    DeadlineUnseen,
    /// A webhook's signature, header or age was refused.
    WebhookRefused,
    /// A genuine webhook was about nothing of ours, or of an unknown kind.
    WebhookAboutNothing,

    // Reconciliation.

    /// A report was not to be had and was asked for again.
    ReportAskedAgain,
    /// A disagreement between ledger and outside was found.
    BreakFound,
    /// The report had a movement of a payout that the ledger lacked: the gateway was asked about it.
    AskedAboutMovement,

    // Host.

    /// After a restart, an order or broadcast that may have left was issued again.
    ReissuedAfterRestart,
    /// A backend was unavailable; the effect was tried again.
    BackendRetried,
    /// A look at the chain was wanted while one was under way.
    LookWantedTwice,
    /// The clock had gone back.
    ClockWentBack,
    /// A Lightning event could not be acknowledged.
    AcknowledgementFailed,
}

/// Notes that a rare branch was reached.
pub fn sometimes(branch: Rare) {
    branch.note().store(true, Ordering::Relaxed);
}

/// The rare branches that this process has reached, in the order of [`Rare::ALL`]. A process runs one simulation, so they
/// are those of one run.
pub fn reached() -> Vec<Rare> {
    let all = Rare::ALL.iter().copied();
    all.filter(|branch| branch.note().load(Ordering::Relaxed))
        .collect()
}

/// Forgets what was reached. For tests; a run has a process of its own.
pub fn reset() {
    for branch in Rare::ALL {
        branch.note().store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this process reach branches too, so only what is noted here is looked for.
    #[test]
    fn what_was_reached_is_told_in_order() {
        sometimes(Rare::AcknowledgementFailed);
        sometimes(Rare::CommandRepeated);
        sometimes(Rare::CommandRepeated);
        let reached = reached();
        assert!(
            reached.contains(&Rare::CommandRepeated)
                && reached.contains(&Rare::AcknowledgementFailed)
        );
        assert!(reached.is_sorted(), "{reached:?}");
    }
}
