//! Owns what an expectation is about, as typed: one table for each subject, with every key and its meaning. Does not own what
//! is consistent (`check`) nor which subject a table has (`verb`).

use super::channels::ChannelStage;
use super::choice::{EnrolmentState, FailureReason, Outcome, PaymentState};
use super::read::{Optional, Required, table};
use super::text::{Amount, BlockCount, Duration};

table!(
    /// A payment is in a state, or comes to be within a span.
    ExpectPayment {
        /// Which.
        "payment" payment: Required<String>,
        /// Where it stands.
        "state" state: Required<PaymentState>,
        /// It may take this long. Default: it must be so now.
        "within" within: Optional<Duration>,
        /// With "failed": why.
        "reason" reason: Optional<FailureReason>,
    }
);
table!(
    /// A party's enrolment is in a state, or comes to be within a span.
    ExpectEnrolment {
        /// The party.
        "enrolment" enrolment: Required<String>,
        /// Where it stands.
        "state" state: Required<EnrolmentState>,
        /// It may take this long. Default: it must be so now.
        "within" within: Optional<Duration>,
    }
);
table!(
    /// What Layer 0's book has of a payment, or comes to have within a span.
    ExpectStated {
        /// The payment.
        "stated" stated: Required<String>,
        /// What was stated last.
        "outcome" outcome: Required<Outcome>,
        /// How many statements there are, corrections included. Default 1.
        "times" times: Optional<u64>,
        /// It may take this long. Default: it must be so now.
        "within" within: Optional<Duration>,
    }
);
table!(
    /// The score that Layer 0 shows of a party, and the engine gives as well.
    ExpectReputation {
        /// The party.
        "reputation" reputation: Required<String>,
        /// In points.
        "score" score: Required<u64>,
    }
);
table!(
    /// A party's balances, holds included.
    ExpectParty {
        /// Which.
        "party" party: Required<String>,
        /// Its bitcoin; below zero only after a settled charge was undone.
        "btc" btc: Optional<Amount>,
        /// Its euro.
        "eur" eur: Optional<Amount>,
    }
);
table!(
    /// What one end of a channel holds, HTLCs apart; or how far the channel is.
    ExpectChannel {
        /// Which.
        "channel" channel: Required<String>,
        /// Which of its two nodes; with `balance`.
        "end" end: Optional<String>,
        /// What it holds.
        "balance" balance: Optional<Amount>,
        /// How far it is, instead of a balance.
        "state" state: Optional<ChannelStage>,
        /// With `state`: it may take this long. Default: it must be so now.
        "within" within: Optional<Duration>,
    }
);
table!(
    /// What a node has earned by forwarding since the scenario's start.
    Forwarded {
        /// Which.
        "node" node: Required<String>,
        /// All fees together.
        "fee" fee: Required<Amount>,
    }
);
table!(
    /// What a node has earned by forwarding.
    ExpectForwarded {
        /// Which and how much.
        "forwarded" forwarded: Required<Forwarded>,
    }
);
table!(
    /// An HTLC that was offered over a channel since the scenario's start.
    Htlc {
        /// Which.
        "channel" channel: Required<String>,
        /// Its amount.
        "amount" amount: Required<Amount>,
        /// Its expiry height minus the tip's height when it was offered.
        "cltv_delta" cltv_delta: Required<BlockCount>,
    }
);
table!(
    /// An HTLC was offered over a channel (simulated world only).
    ExpectHtlc {
        /// Which.
        "htlc" htlc: Required<Htlc>,
    }
);
table!(
    /// What a wallet holds on chain, unconfirmed outputs included.
    ExpectWallet {
        /// One of `wallets`; "operator" for the operator's `hot`, "operator/NAME" for another one of `operator.wallets`.
        "wallet" wallet: Required<String>,
        /// What it holds.
        "balance" balance: Required<Amount>,
    }
);
table!(
    /// What a bank account has received since the scenario's start, less what it sent back.
    ExpectAccount {
        /// One of `accounts`, or "operator" for the operator's balance at the gateway.
        "account" account: Required<String>,
        /// What it holds.
        "balance" balance: Required<Amount>,
    }
);
table!(
    /// How many breaks a reconciliation run has found.
    ExpectRun {
        /// Which.
        "run" run: Required<String>,
        /// How many.
        "breaks" breaks: Required<u64>,
    }
);
table!(
    /// How often the outside has carried out a payout.
    ExpectExecuted {
        /// Which.
        "executed" executed: Required<String>,
        /// How often.
        "times" times: Required<u64>,
    }
);
table!(
    /// The depth of an on-chain payment.
    Confirmations {
        /// Which.
        "payment" payment: Required<String>,
        /// Least number of confirmations; 0 means that the mempool is enough.
        "at_least" at_least: Required<u64>,
    }
);
table!(
    /// An on-chain payment has confirmations.
    ExpectConfirmations {
        /// Which and how many.
        "confirmations" confirmations: Required<Confirmations>,
    }
);
