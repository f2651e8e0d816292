//! Owns what a checked scenario may expect: of payments, parties, bindings, Layer 0, and of what is outside. Does not own
//! whether it is so (`run`).

use super::bindings::{BindingName, BindingState};
use super::channels::ChannelStage;
use super::model::{
    AccountName, Balance, Blocks, Cents, ChannelName, EnrolmentState, FailureReason, Millis, Msat,
    NodeName, Outcome, OwnWalletName, PartyName, PaymentName, PaymentState, RunName, Sat,
    WalletName,
};

/// What must be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// A payment's state, one that its rail and direction can have.
    Payment {
        /// Made by an earlier step.
        payment: PaymentName,
        /// Where it stands.
        state: PaymentState,
        /// It may take this long; `None`: now.
        within: Option<Millis>,
        /// Only with `Failed`.
        reason: Option<FailureReason>,
    },
    /// A party's enrolment.
    Enrolment {
        /// Has a DID.
        party: PartyName,
        /// Where it stands.
        state: EnrolmentState,
        /// It may take this long; `None`: now.
        within: Option<Millis>,
    },
    /// What Layer 0's book has of a payment.
    Stated {
        /// Made by an earlier step.
        payment: PaymentName,
        /// What was stated last.
        outcome: Outcome,
        /// How many statements there are.
        times: u32,
        /// It may take this long; `None`: now.
        within: Option<Millis>,
    },
    /// A party's score, at Layer 0 and in the engine.
    Reputation {
        /// Has a DID.
        party: PartyName,
        /// In points.
        score: u64,
    },
    /// A party's balances, holds included; at least one is given.
    Party {
        /// Whose.
        party: PartyName,
        /// Bitcoin.
        btc: Option<Balance<Msat>>,
        /// Euro.
        eur: Option<Balance<Cents>>,
    },
    /// What one end of a channel holds, HTLCs apart.
    Channel {
        /// Which.
        channel: ChannelName,
        /// One of its ends.
        end: NodeName,
        /// What it holds.
        balance: Msat,
    },
    /// How far a channel is.
    ChannelStage {
        /// Which.
        channel: ChannelName,
        /// How far.
        stage: ChannelStage,
        /// It may take this long; `None`: now.
        within: Option<Millis>,
    },
    /// What a node's own wallet holds on chain, unconfirmed outputs included.
    Node {
        /// Which.
        node: NodeName,
        /// What it holds.
        balance: Sat,
    },
    /// What a node has earned by forwarding since the start.
    Forwarded {
        /// Which.
        node: NodeName,
        /// All fees.
        fee: Msat,
    },
    /// An HTLC that was offered over a channel since the start (simulated world only).
    Htlc {
        /// Which.
        channel: ChannelName,
        /// Its amount.
        amount: Msat,
        /// Expiry height minus the tip's when offered.
        cltv_delta: Blocks,
    },
    /// On-chain holdings, unconfirmed included.
    Wallet {
        /// Whose.
        wallet: WalletName,
        /// What it holds.
        balance: Sat,
    },
    /// The same of one of the operator's own wallets.
    OwnWallet {
        /// Which.
        wallet: OwnWalletName,
        /// What it holds.
        balance: Sat,
    },
    /// What a bank account has received, less what it sent back. `None` is the operator's balance at the gateway.
    Account {
        /// Whose.
        account: Option<AccountName>,
        /// What it holds.
        balance: Cents,
    },
    /// What a reconciliation found.
    Run {
        /// Started by an earlier step.
        run: RunName,
        /// How many breaks.
        breaks: u32,
    },
    /// Where a binding stands.
    Binding {
        /// Registered by an earlier step.
        binding: BindingName,
        /// Where it stands.
        state: BindingState,
        /// It may take this long; `None`: now.
        within: Option<Millis>,
    },
    /// How often the outside carried a payout out.
    Executed {
        /// Made by an earlier step.
        payout: PaymentName,
        /// How often.
        times: u32,
    },
    /// Depth of an on-chain payment.
    Confirmations {
        /// Made by an earlier step.
        payment: PaymentName,
        /// 0: in the mempool.
        at_least: u32,
    },
}
