//! Owns why an order or a fact is not accepted by payments. Nothing has changed then. Where several reasons apply, the
//! one that is looked for first is given, always the same for the same input; that is mostly, but not everywhere (views,
//! webhooks), the order of the enum.

use super::escrow::EscrowRefused;
use super::wallets::WalletRefused;
use crate::fiat::{IbanRefused, NameRefused, WebhookRefused};
use crate::fx::ConvertError;
use crate::id::{Did, EscrowId, PartyId, PaymentId, WalletId};
use crate::ledger::HoldRefused;
use crate::lightning::{InvoiceRefused, MAX_DESCRIPTION_BYTES};
use crate::money::{Asset, Msat, Quantity, Rail, Sat};
use crate::onchain::bip21::UriRefused;
use crate::onchain::{AddressRefused, ViewRefused};
use crate::time::Span;
use bitcoin::Txid;

/// Why a charge is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeRefused {
    /// The party has no accounts.
    #[error("party `{party}` is not known")]
    UnknownParty {
        /// Who.
        party: PartyId,
    },
    /// A payment id is used once for ever, whatever became of its payment (failures F9, F13).
    #[error("payment id `{payment}` was used before")]
    PaymentIdUsed {
        /// Which.
        payment: PaymentId,
    },
    /// Nobody can be charged over that rail.
    #[error("charges over {rail} are not offered")]
    RailNotOffered {
        /// Which.
        rail: Rail,
    },
    /// Only Lightning payments can be held.
    #[error("a charge over {rail} cannot be held")]
    HoldNotOffered {
        /// Which.
        rail: Rail,
    },
    /// Only an invoice can leave the amount to the payer, or say what it is for; and only a charge on chain can have one
    /// as well.
    #[error("a charge over {rail} cannot have these terms")]
    TermsNotOffered {
        /// Which.
        rail: Rail,
    },
    /// The payer cannot be left to choose an amount that is named.
    #[error("a charge of any amount names none, and this one names {amount}")]
    AnyAmountNamed {
        /// Named.
        amount: Msat,
    },
    /// BOLT 11: a field has room for so much.
    #[error("a description of {bytes} bytes is longer than {MAX_DESCRIPTION_BYTES}")]
    DescriptionTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Outside the policy's limits.
    #[error("{amount} is not between {least} and {most}")]
    AmountOutOfRange {
        /// Asked.
        amount: Msat,
        /// Limit.
        least: Msat,
        /// Limit.
        most: Msat,
    },
    /// The chain knows no parts of a satoshi.
    #[error("{amount} is not a whole number of satoshi")]
    NotWholeSatoshi {
        /// Asked.
        amount: Msat,
    },
    /// Zero, or longer than the policy allows.
    #[error("an expiry after {expires_in} is not within {most}")]
    ExpiryOutOfRange {
        /// Asked.
        expires_in: Span,
        /// Limit.
        most: Span,
    },
    /// The wallet cannot serve.
    #[error("{cause}")]
    Wallet {
        /// Why.
        #[from]
        cause: WalletRefused,
    },
    /// Money goes back by a transaction on chain only.
    #[error("a charge over {rail} has no refund address")]
    RefundNotOffered {
        /// Which.
        rail: Rail,
    },
    /// The refund address cannot be paid.
    #[error("the refund address cannot be paid: {cause}")]
    RefundAddress {
        /// Why.
        #[from]
        cause: AddressRefused,
    },
    /// The refund address is one of our own wallet.
    #[error("the refund address is one of our own")]
    RefundToOurselves,
    /// Whoever decides about an escrow must be checkable by anybody, for good.
    #[error(
        "`{agent}` is no did:key of an Ed25519 or secp256k1 key, so nobody could check what it decides"
    )]
    AgentWithoutKey {
        /// Named.
        agent: Did,
    },
    /// What is decided about must be named, and come one way.
    #[error("a charge in escrow names its amount and has one way to be paid")]
    EscrowNotOffered,
    /// On chain what is refused goes back by a transaction.
    #[error("a charge on chain that is in escrow needs a refund address")]
    EscrowWithoutRefund,
    /// Where every payout needs a bound wallet, nothing could be sent back.
    #[error("a charge on chain cannot be in escrow where payouts need a bound wallet")]
    EscrowNeedsBinding,
    /// All charges of an escrow have one agent and one payee.
    #[error("escrow `{escrow}` has another agent or another party")]
    EscrowDiffers {
        /// Which.
        escrow: EscrowId,
    },
    /// Nothing more can come into it.
    #[error("escrow `{escrow}` is decided")]
    EscrowDecided {
        /// Which.
        escrow: EscrowId,
    },
    /// Too many payments are not final.
    #[error("{open} payments are open, no more are taken")]
    TooManyOpen {
        /// How many.
        open: u32,
    },
}

/// Why a payout is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayoutRefused {
    /// The party has no accounts.
    #[error("party `{party}` is not known")]
    UnknownParty {
        /// Who.
        party: PartyId,
    },
    /// The party owes what a reorganisation took back after it was spent.
    #[error("party `{party}` is frozen until it has paid back what it owes")]
    Frozen {
        /// Who.
        party: PartyId,
    },
    /// A payment id is used once for ever, whatever became of its payment (failures F9, F13).
    #[error("payment id `{payment}` was used before")]
    PaymentIdUsed {
        /// Which.
        payment: PaymentId,
    },
    /// The destination takes another asset.
    #[error("{rail} does not move {asset}")]
    WrongAsset {
        /// Of the destination.
        rail: Rail,
        /// Asked.
        asset: Asset,
    },
    /// Only euro payouts can be paid from another asset, which is bitcoin.
    #[error("a payout of {quantity} cannot be paid from {funded_by}")]
    WrongFunding {
        /// What the payee should get.
        quantity: Quantity,
        /// What should pay for it.
        funded_by: Asset,
    },
    /// Zero, or above the policy's limit.
    #[error("{quantity} is not between 1 and {most} units")]
    AmountOutOfRange {
        /// Asked.
        quantity: Quantity,
        /// Limit, in the asset's smallest unit.
        most: u64,
    },
    /// Only a payout on chain takes its fee from what goes, so only one can be of all that a party has.
    #[error(
        "a payout over {rail} must name its amount: only one on chain can be of all that a party has"
    )]
    AllNotOffered {
        /// Of the destination.
        rail: Rail,
    },
    /// A payout of all that a party has is of that amount and of no other.
    #[error("a payout of all that a party has names no amount, and this one names {quantity}")]
    AllWithAmount {
        /// Named.
        quantity: Quantity,
    },
    /// If the fee is the highest that the policy allows, what is left is dust or nothing.
    #[error(
        "party `{party}` can spend {available} in whole satoshi; at least {needed} are needed for the highest fee and an output above dust"
    )]
    TooLittleForAll {
        /// Who.
        party: PartyId,
        /// Can be spent.
        available: Msat,
        /// The highest fee and the dust limit.
        needed: Msat,
    },
    /// Zero, or longer than the policy allows.
    #[error("a deadline of {deadline} is not within {most}")]
    DeadlineOutOfRange {
        /// Asked.
        deadline: Span,
        /// Limit.
        most: Span,
    },
    /// Only a payout over Lightning has a budget for routing and a span for retries.
    #[error("a payout over {rail} is not routed: it has no budget and no span for that")]
    TermsNotOffered {
        /// Of the destination.
        rail: Rail,
    },
    /// Zero, or longer than the deadline.
    #[error("retries for {span} are not within the deadline of {most}")]
    RetriesOutOfRange {
        /// Asked.
        span: Span,
        /// The deadline.
        most: Span,
    },
    /// The wallet cannot serve.
    #[error("{cause}")]
    Wallet {
        /// Why.
        #[from]
        cause: WalletRefused,
    },
    /// The policy asks for a binding, and the address is in no wallet that is bound to the payee for payouts.
    #[error("`{address}` is in no wallet that is bound to party `{payee}` for payouts")]
    NotBound {
        /// Where to.
        address: String,
        /// Whose it would have to be.
        payee: PartyId,
    },
    /// The policy asks for another wallet from a smaller amount on.
    #[error("{quantity} is too much to leave wallet `{wallet}`")]
    WalletOfLessValue {
        /// Named.
        wallet: WalletId,
        /// Ordered.
        quantity: Quantity,
    },
    /// Too many payments are not final.
    #[error("{open} payments are open, no more are taken")]
    TooManyOpen {
        /// How many.
        open: u32,
    },
    /// The invoice cannot be paid.
    #[error("the invoice cannot be paid: {cause}")]
    Invoice {
        /// Why.
        #[from]
        cause: InvoiceRefused,
    },
    /// The invoice asks for another amount.
    #[error("the invoice asks for {invoice}, the payout is for {payout}")]
    InvoiceAmountDiffers {
        /// Of the invoice.
        invoice: Msat,
        /// Ordered.
        payout: Msat,
    },
    /// It would leave our node and come back to it: parties of ours pay each other in the books.
    #[error("the invoice is of our own node")]
    InvoiceOurs,
    /// One payment hash is paid once, whatever became of it.
    #[error("the invoice was tried by payment `{payment}`")]
    InvoiceUsed {
        /// By which.
        payment: PaymentId,
    },
    /// The address cannot be paid.
    #[error("the address cannot be paid: {cause}")]
    Address {
        /// Why.
        #[from]
        cause: AddressRefused,
    },
    /// The payment URI cannot be acted upon.
    #[error("{cause}")]
    Uri {
        /// Why not.
        #[from]
        cause: UriRefused,
    },
    /// The payment URI asks for another amount.
    #[error("the payment URI asks for {uri}, the payout is {payout}")]
    UriAmountDiffers {
        /// Asked.
        uri: Sat,
        /// Ordered.
        payout: Msat,
    },
    /// The chain knows no parts of a satoshi.
    #[error("{amount} is not a whole number of satoshi")]
    NotWholeSatoshi {
        /// Ordered.
        amount: Msat,
    },
    /// Nodes do not relay such small outputs (Bitcoin Core's dust limit).
    #[error("{amount} is below the dust limit of {least} for that address")]
    Dust {
        /// Ordered.
        amount: Msat,
        /// Limit.
        least: Msat,
    },
    /// The IBAN is none.
    #[error("the IBAN cannot be used: {cause}")]
    Iban {
        /// Why.
        #[from]
        cause: IbanRefused,
    },
    /// The name is none.
    #[error("the account holder's name cannot be used: {cause}")]
    Name {
        /// Why.
        #[from]
        cause: NameRefused,
    },
    /// The price cannot be told.
    #[error("the payout cannot be priced: {cause}")]
    Price {
        /// Why.
        #[from]
        cause: ConvertError,
    },
    /// The money cannot be set aside.
    #[error("the money cannot be set aside: {cause}")]
    Hold {
        /// Why.
        #[from]
        cause: HoldRefused,
    },
}

/// Why a recovery is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SweepRefused {
    /// An id is used once for ever.
    #[error("id `{sweep}` was used before")]
    IdUsed {
        /// Which.
        sweep: PaymentId,
    },
    /// No such wallet is open, or nobody may recover its coins.
    #[error("wallet `{wallet}` has no recovery key")]
    NoRecovery {
        /// Which.
        wallet: WalletId,
    },
}

/// Why a decision about a held payment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionRefused {
    /// No such payment.
    #[error("payment `{payment}` is not known")]
    UnknownPayment {
        /// Which.
        payment: PaymentId,
    },
    /// Its escrow's agent decides, nobody else.
    #[error("payment `{payment}` is in escrow `{escrow}`: its agent decides")]
    InEscrow {
        /// Which.
        payment: PaymentId,
        /// In which.
        escrow: EscrowId,
    },
    /// Nothing of it waits for a decision (not yet, or not any more).
    #[error("payment `{payment}` is not held")]
    NotHeld {
        /// Which.
        payment: PaymentId,
    },
}

/// Why an opening balance is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningRefused {
    /// The rail holds another asset.
    #[error("{rail} does not hold {asset}")]
    WrongAsset {
        /// Where.
        rail: Rail,
        /// What.
        asset: Asset,
    },
    /// Nothing is to be booked.
    #[error("an opening balance of zero books nothing")]
    Zero,
}

/// Why a fact is refused. Facts that are merely told again are accepted and change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactRefused {
    /// The look at the chain is not believed.
    #[error("the chain view is not believed: {cause}")]
    View {
        /// Why.
        #[from]
        cause: ViewRefused,
    },
    /// More than 21 million bitcoin in one output (consensus: `MAX_MONEY`), or more on our scripts together than can be
    /// booked in msat (64 bits).
    #[error("transaction {txid} of the chain view has an impossible output")]
    ImpossibleAmount {
        /// Which, or with which the sum is too much.
        txid: Txid,
    },
    /// Nobody asked to be told of the node, or a channel is in it twice or holds more than its size.
    #[error("the view of the Lightning node is not believed")]
    NodeView,
    /// No payment of ours has that hash (in that direction).
    #[error("no payment has the payment hash {payment_hash}")]
    UnknownHash {
        /// Hexadecimal.
        payment_hash: String,
    },
    /// The preimage does not hash to the payment hash (BOLT 4).
    #[error("the preimage is no proof for the payment hash {payment_hash}")]
    WrongProof {
        /// Hexadecimal.
        payment_hash: String,
    },
    /// The decision about an escrow does not count.
    #[error("the escrow's decision does not count: {cause}")]
    Escrow {
        /// Why.
        #[from]
        cause: EscrowRefused,
    },
    /// The webhook is not believed.
    #[error("the webhook is not believed: {cause}")]
    Webhook {
        /// Why.
        #[from]
        cause: WebhookRefused,
    },
}
