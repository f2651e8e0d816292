//! Owns the words for what has happened (past tense), which payments and reconciliation emit and `api` hands out.
//! Does not own when any of it happens.

mod breaks;
mod consequences;

pub use breaks::{Break, BreakKind};
pub use consequences::Consequences;

use crate::escrow::Verdict;
use crate::id::{
    BatchId, BindingId, CosignerId, Did, EscrowId, PartyId, PaymentId, ReconciliationId, WalletId,
};
use crate::identity::{Ended, NotBound};
use crate::layer0::DidState;
use crate::ledger::{HoldEvent, Transaction};
use crate::money::{Eur, Minor, Msat, Quantity, Sat};
use crate::onchain::feerate::Feerate;
use crate::onchain::{AnswerWrong, Label};
use crate::policy::Outcome;
use crate::rail::{LightningFailure, Rail};
use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};

/// Something that has happened. Exhaustive on purpose: a new event must be handled wherever events are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A party has accounts.
    PartyOpened {
        /// Who.
        party: PartyId,
    },
    /// Our node was asked for a channel.
    ChannelOrdered {
        /// Which order.
        order: PaymentId,
    },
    /// It came to nothing.
    ChannelRefused {
        /// Which order.
        order: PaymentId,
        /// In the node's words.
        reason: String,
    },
    /// Our node has a channel that it did not have before.
    ChannelOpened {
        /// Funding output.
        funding: OutPoint,
        /// The order that asked for it.
        order: Option<PaymentId>,
        /// Ours in it.
        ours_msat: u64,
    },
    /// A channel is deep enough.
    ChannelUsable {
        /// Funding output.
        funding: OutPoint,
    },
    /// A channel is closed; what was ours in it is to come into the node's wallet.
    ChannelClosed {
        /// Funding output.
        funding: OutPoint,
        /// Ours in it when it was last seen.
        ours_msat: u64,
    },
    /// Nothing more will come of a closed channel.
    ChannelSwept {
        /// Funding output.
        funding: OutPoint,
        /// What of ours did not come: fees, anchors, dust.
        costs_msat: u64,
    },
    /// Layer 0 vouches for a party's DID.
    PartyEnrolled {
        /// Who.
        party: PartyId,
        /// As whom.
        did: Did,
    },
    /// Layer 0 does not vouch for a party's DID.
    EnrolmentRefused {
        /// Who.
        party: PartyId,
        /// As whom it was to be enrolled.
        did: Did,
        /// What Layer 0 says of that DID; `None` if it knows none.
        state: Option<DidState>,
    },
    /// One of our wallets is open: its addresses can be given out, its coins are booked when they are seen.
    WalletOpened {
        /// Which.
        wallet: WalletId,
    },
    /// How a payment ended is stated about its party, and on its way to Layer 0.
    OutcomeStated {
        /// Which.
        payment: PaymentId,
        /// From 1 for each payment.
        number: u32,
        /// How it ended.
        outcome: Outcome,
        /// The statement that does not hold any more.
        corrects: Option<u32>,
    },
    /// Layer 0 has a statement in its book.
    StatementAccepted {
        /// About which payment.
        payment: PaymentId,
        /// Which of its statements.
        number: u32,
    },
    /// Layer 0 will not have a statement.
    StatementRefused {
        /// About which payment.
        payment: PaymentId,
        /// Which of its statements.
        number: u32,
    },
    /// A fresh address of one of our wallets was given out.
    AddressGiven {
        /// Of which.
        wallet: WalletId,
        /// For nobody else.
        address: String,
    },
    /// A person has labelled something of our wallets.
    LabelSet {
        /// As it was given.
        label: Label,
    },
    /// Coins are moved from one of our wallets to another.
    MoveStarted {
        /// Which move.
        payment: PaymentId,
        /// Payer.
        from: WalletId,
        /// Payee.
        to: WalletId,
        /// What arrives.
        amount_sat: Sat,
        /// Where.
        address: String,
    },
    /// A charge exists; its invoice or address is being made.
    ChargeCreated {
        /// Which.
        payment: PaymentId,
        /// For whom.
        party: PartyId,
        /// How.
        rail: Rail,
        /// How much.
        amount_msat: Msat,
    },
    /// The payer can be told where to pay.
    ChargeIssued {
        /// Which.
        payment: PaymentId,
        /// BOLT 11 text or address.
        request: String,
    },
    /// A charge on chain can be paid by an invoice as well.
    InvoiceAdded {
        /// Which.
        payment: PaymentId,
        /// Payment URI with address, amount and invoice (BIP 21).
        request: String,
    },
    /// On-chain money for a charge was seen (unconfirmed or not deep enough).
    PaymentSeen {
        /// Which.
        payment: PaymentId,
        /// All that pays it now.
        amount_sat: Sat,
    },
    /// On-chain money for a charge has left the chain and the mempool (replaced or evicted).
    PaymentVanished {
        /// Which.
        payment: PaymentId,
    },
    /// Money on chain for a charge is not as asked. Told whenever the amount changes.
    ChargeFound {
        /// Which.
        payment: PaymentId,
        /// How it is not as asked.
        finding: Finding,
        /// All of it now; zero: it is not so any more.
        amount_sat: Sat,
    },
    /// Money that does not pay its charge goes back to where the charge says, by a payout of its own.
    RefundOrdered {
        /// The charge.
        payment: PaymentId,
        /// The payout.
        refund: PaymentId,
        /// What goes back, the miner's fee included.
        amount_sat: Sat,
    },
    /// What a party had spent was taken back by a reorganisation; another account bears it.
    ShortfallCovered {
        /// Whose.
        party: PartyId,
        /// Who bears it.
        by: Bearer,
        /// How much, added to what is borne.
        amount_msat: Msat,
    },
    /// Money that was taken back has come again; nobody has to bear that much any more.
    ShortfallReturned {
        /// Whose.
        party: PartyId,
        /// Who bore it.
        by: Bearer,
        /// How much.
        amount_msat: Msat,
    },
    /// The agent of an escrow has decided about its money.
    EscrowDecided {
        /// About which.
        escrow: EscrowId,
        /// What.
        verdict: Verdict,
    },
    /// The payer's part of a split charge is paid back.
    RestOrdered {
        /// Of which charge.
        payment: PaymentId,
        /// The payout that does it.
        rest: PaymentId,
        /// How much.
        amount_msat: Msat,
    },
    /// Money of a charge waits for a decision.
    PaymentHeld {
        /// Which.
        payment: PaymentId,
        /// How much.
        amount_msat: Msat,
    },
    /// A payout's money is reserved.
    PayoutReserved {
        /// Which.
        payment: PaymentId,
        /// Whose money.
        party: PartyId,
        /// How.
        rail: Rail,
        /// What the payee will get; of a payout of all that a party has, the fee comes out of it.
        quantity: Quantity,
        /// What is reserved for it, fees included.
        reserved: Quantity,
    },
    /// The effect is on its way and its fate unknown until a fact tells.
    PayoutDispatched {
        /// Which.
        payment: PaymentId,
    },
    /// The gateway has taken a transfer order under this name.
    TransferAccepted {
        /// Which.
        payment: PaymentId,
        /// The gateway's own reference.
        gateway_reference: String,
    },
    /// What is offered to miners for a payout, and who decided.
    FeerateChosen {
        /// Which.
        payment: PaymentId,
        /// The feerate, its source, and the blocks it was chosen for.
        feerate: Feerate,
    },
    /// The transaction that pays a payout.
    TransactionBuilt {
        /// Which.
        payment: PaymentId,
        /// Its id.
        txid: Txid,
        /// Its fee.
        fee_sat: Sat,
    },
    /// A cosigner is asked to sign a payout's transaction.
    CosignerAsked {
        /// Of which payout.
        payment: PaymentId,
        /// Who.
        cosigner: CosignerId,
    },
    /// A cosigner has signed; his signatures were verified.
    CosignerSigned {
        /// Of which payout.
        payment: PaymentId,
        /// Who.
        cosigner: CosignerId,
    },
    /// A cosigner did not do what he was asked to, or not yet. He never counts as one who has signed.
    CosignerFailed {
        /// Of which payout.
        payment: PaymentId,
        /// Who.
        cosigner: CosignerId,
        /// How.
        how: CosignerFailure,
    },
    /// The transaction that recovers a wallet's coins; the holder of the recovery key is asked to sign it.
    SweepBuilt {
        /// Which recovery.
        sweep: PaymentId,
        /// Whose coins.
        wallet: WalletId,
        /// Its id.
        txid: Txid,
        /// What arrives in `hot`.
        amount_sat: Sat,
        /// Its fee.
        fee_sat: Sat,
    },
    /// A recovery was signed and handed to the network.
    SweepSent {
        /// Which.
        sweep: PaymentId,
    },
    /// A recovery is deep enough.
    SweepSettled {
        /// Which.
        sweep: PaymentId,
    },
    /// A recovery that was deep enough lost its confirmations.
    SweepUndone {
        /// Which.
        sweep: PaymentId,
    },
    /// Nothing was recovered.
    SweepFailed {
        /// Which.
        sweep: PaymentId,
        /// Why.
        reason: String,
    },
    /// Several payouts are paid by one transaction; told of the first of them.
    PayoutsBatched {
        /// The first of them by deadline and id.
        payment: PaymentId,
        /// The transaction's name for ever, whatever its version.
        batch: BatchId,
        /// All of them.
        payments: Vec<PaymentId>,
    },
    /// The transaction that paid a payout with others was refused before anybody had it; the payout gets another one.
    BatchDissolved {
        /// Which.
        payment: PaymentId,
        /// The transaction's name.
        batch: BatchId,
    },
    /// A dearer transaction takes the place of the one that pays a payout (BIP 125). Either may confirm.
    TransactionReplaced {
        /// Which.
        payment: PaymentId,
        /// What it takes the place of.
        replaces: Txid,
        /// Its id.
        txid: Txid,
        /// What the payout bears of its fee.
        fee_sat: Sat,
    },
    /// A child spends the change of the transaction that pays a payout, and pays for both.
    ChildBuilt {
        /// Which.
        payment: PaymentId,
        /// What it spends.
        parent: Txid,
        /// Its id.
        txid: Txid,
        /// What the payout bears of both fees.
        fee_sat: Sat,
    },
    /// Many coins of a wallet are made one; the operator bears the fee.
    CoinsConsolidated {
        /// Of which wallet.
        wallet: WalletId,
        /// The transaction's name for ever.
        batch: BatchId,
        /// Its id.
        txid: Txid,
        /// Its fee.
        fee_sat: Sat,
    },
    /// Final: paid.
    PaymentSettled {
        /// Which.
        payment: PaymentId,
        /// What the payee got (charges: what was credited).
        quantity: Quantity,
        /// Fees on top.
        fee_msat: Msat,
    },
    /// A settled on-chain charge lost its confirmations; its credit was taken back.
    PaymentUndone {
        /// Which.
        payment: PaymentId,
    },
    /// Final: not paid, nothing moved.
    PaymentFailed {
        /// Which.
        payment: PaymentId,
        /// Why.
        reason: FailureReason,
    },
    /// Bitcoin was sold for euro at the policy's rate.
    Converted {
        /// For which payout.
        payment: PaymentId,
        /// Given.
        sold_msat: Msat,
        /// Got.
        bought: Minor<Eur>,
    },
    /// The ledger booked this.
    Posted(Transaction),
    /// A hold changed.
    Hold(HoldEvent),
    /// A wallet shall be bound: this text is to be signed by its key and by the DID's.
    WalletRegistered {
        /// Which.
        binding: BindingId,
        /// Whose.
        party: PartyId,
        /// To which DID.
        did: Did,
        /// What is to be signed.
        challenge: String,
    },
    /// Both have signed, and Layer 0 has called the DID active: the wallet counts as the party's.
    WalletBound {
        /// Which.
        binding: BindingId,
        /// Whose.
        party: PartyId,
        /// To which DID.
        did: Did,
    },
    /// A wallet did not come to be bound.
    WalletNotBound {
        /// Which.
        binding: BindingId,
        /// Why.
        reason: NotBound,
    },
    /// A wallet that was bound, or might have become so, does not count any more.
    BindingEnded {
        /// Which.
        binding: BindingId,
        /// Why.
        why: Ended,
    },
    /// The binding of a payout's destination ended after its transaction had left: it completes all the same.
    BindingEndedTooLate {
        /// The payout.
        payment: PaymentId,
        /// Which.
        binding: BindingId,
    },
    /// Money for a charge came from a wallet that is not bound to the party: it is not credited.
    PayerNotBound {
        /// Which charge.
        payment: PaymentId,
        /// How much.
        amount_sat: Sat,
    },
    /// A webhook was valid but changed nothing (seen before, older than what is known, or about nothing of ours).
    WebhookIgnored {
        /// Why.
        reason: String,
    },
    /// A payee has proved that he was paid: who knows the preimage has the money (BOLT 4).
    PaymentProven {
        /// Which payment.
        payment: PaymentId,
        /// Of its invoice, hexadecimal.
        payment_hash: String,
        /// Hashes to it (SHA-256), hexadecimal.
        preimage: String,
    },
    /// An instruction's outcome is unknown; it will be asked again under the same key.
    OutcomeUnknown {
        /// Of which payment.
        payment: PaymentId,
    },
    /// The ledger and the outside disagree.
    BreakFound {
        /// In which run.
        run: ReconciliationId,
        /// How.
        found: Break,
    },
    /// A reconciliation has looked at every rail.
    Reconciled {
        /// Which.
        run: ReconciliationId,
        /// How many breaks were found.
        breaks: u32,
    },
}

/// How money on chain for a charge is not as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Deep, in time, and less than asked.
    Partial,
    /// Beyond the amount asked, when the charge settled.
    Over,
    /// After the charge had failed.
    Late,
    /// After the charge was settled.
    Double,
    /// It was there at the last look and is gone: its payer took it back, or nobody relays it any more.
    Replaced,
}

/// Who bears what a party has spent and a reorganisation took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearer {
    /// The party owes it.
    Receivable,
    /// The operator.
    Operator,
    /// The party owes it and is frozen.
    Frozen,
}

/// What is wrong with a cosigner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CosignerFailure {
    /// He cannot be reached. He is asked on; what he signs later counts.
    Absent,
    /// He has not answered within the policy's patience. What he signs later counts.
    Slow,
    /// He does not sign: his words.
    Refused(String),
    /// What he gave back is not what he was asked for.
    Wrong(AnswerWrong),
}

/// Why a payment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Nobody paid in time.
    Expired,
    /// A held payment was refused by command.
    Refused,
    /// The binding of the destination's wallet ended.
    BindingEnded,
    /// The Lightning node's reason.
    Lightning(LightningFailure),
    /// The node could not make the invoice.
    InvoiceNotCreated(String),
    /// The gateway refused the order: its code.
    GatewayRejected(String),
    /// The beneficiary's bank sent it back: reason code (ISO 20022 ExternalReturnReason).
    Returned(String),
    /// The signer refused.
    SigningRefused(String),
    /// Too few cosigners are left who could sign.
    NotCosigned {
        /// Who have signed.
        signed: u32,
        /// Who must.
        threshold: u32,
    },
    /// The network refused the transaction: its reject word.
    BroadcastRefused(String),
    /// Its transaction has left the chain, and a coin that it spends with it, for good (a refund: for now).
    CoinsLost,
    /// No transaction can be built for it (fee above the reserve, for instance): why.
    NotBuildable(String),
}
