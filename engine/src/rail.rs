//! Owns the words that rails, payments and the host share: facts that come in from a rail (`Fact`) and effects that go
//! out to it (`Instruction`). Does not own what a rail makes of them (`onchain`, `lightning`, `fiat`).

use crate::id::{CosignerId, Did, IdempotencyKey};
use crate::money::{Msat, Sat};
use crate::time::Timestamp;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use serde::{Deserialize, Serialize};

pub use crate::money::Rail;

/// 32 bytes from outside on which every draw of one input is based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Entropy(pub [u8; 32]);

/// A block by height and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId {
    /// Height above genesis (genesis = 0).
    pub height: u32,
    /// Block hash.
    pub hash: BlockHash,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainPosition {
    /// In the backend's mempool when it was asked.
    Mempool,
    /// In this block of the best chain.
    Confirmed {
        /// The block.
        block: BlockId,
        /// The block's header time, seconds since 1970.
        time_secs: u32,
    },
}

/// A transaction that touches a watched script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTransaction {
    /// The whole transaction.
    pub transaction: Transaction,
    /// Where it stands.
    pub position: ChainPosition,
}

/// Everything that one consistent look at the chain tells about the watched scripts: the best chain's most recent
/// blocks (ascending, ending with the tip, reaching back to at least one block that the asker knows) and the complete
/// history of each watched script. A known unconfirmed transaction that is absent here has left the mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainView {
    /// Ascending, the last one is the tip.
    pub blocks: Vec<BlockId>,
    /// Complete history of the watched scripts, each transaction once.
    pub transactions: Vec<SeenTransaction>,
    /// Time in the tip's header, seconds since 1970; `None`: the backend does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip_time_secs: Option<u32>,
}

/// A node's estimate: this feerate should be confirmed within so many blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimate {
    /// Blocks.
    pub blocks: u32,
    /// Satoshi per 1,000 weight units.
    pub sat_per_kwu: u64,
}

/// What waits in a mempool at about one feerate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeBin {
    /// The least feerate of the bin, satoshi per 1,000 weight units.
    pub sat_per_kwu: u64,
    /// Together, in weight units.
    pub weight_wu: u64,
}

/// What a backend knows of fees at one moment. None of it is to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeesSeen {
    /// Its node's estimates; none if it has seen too little.
    pub estimates: Vec<FeeEstimate>,
    /// What waits in its mempool.
    pub mempool: Vec<FeeBin>,
    /// The least that its mempool takes, satoshi per 1,000 weight units.
    pub minimum_sat_per_kwu: u64,
}

/// Why a Lightning payment of ours did not happen. Final: no HTLC of it is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LightningFailure {
    /// No route within the fee and expiry limits.
    RouteNotFound,
    /// The payee refused it (unknown hash, wrong amount, expired).
    RecipientRejected,
    /// Attempts or time for retries ran out.
    RetriesExhausted,
    /// The invoice expired before a first attempt.
    InvoiceExpired,
    /// The node refused to start it (for instance: that hash was already paid).
    Refused,
    /// Any other final failure that the node names.
    Other,
}

/// Why an HTTP exchange has no response. The side effect may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFailure {
    /// No connection was made: the request was certainly not seen.
    NotConnected,
    /// The connection ended before a whole response arrived: the outcome is unknown.
    ConnectionLost,
    /// No response within the limit: the outcome is unknown.
    TimedOut,
    /// What came back was not HTTP: the outcome is unknown.
    Malformed,
}

/// HTTP methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
}

/// A request to an outside HTTP system (the fiat gateway, Layer 0); the host adds the base address and authorisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// JSON body; empty for GET.
    pub body: String,
}

/// A channel of our Lightning node, as it shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSeen {
    /// Funding output.
    pub funding: OutPoint,
    /// The node's own id of it.
    pub id: [u8; 16],
    /// The other node's public key, in hexadecimal.
    pub peer: String,
    /// Whether our node's wallet has paid for it.
    pub funded_by_us: bool,
    /// Its size.
    pub capacity: Sat,
    /// Ours in it; HTLCs that we have offered included, those offered to us not.
    pub ours_msat: u64,
    /// Whether it is deep enough for both ends.
    pub ready: bool,
    /// Whether it is being closed by agreement.
    pub closing: bool,
}

/// Our Lightning node at a moment at which it has told everything of payments that shows here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Coins of its own wallet, unconfirmed ones included.
    pub wallet: Sat,
    /// Channels that are not closed, ascending by funding output.
    pub channels: Vec<ChannelSeen>,
    /// Ids (BOLT 2 `channel_id`) of closed channels of which something may still come into its wallet, ascending.
    pub unswept: Vec<[u8; 32]>,
}

/// An effect that the host performs, each under its own key. Re-issuing one under the same key is always safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// Names the effect for ever.
    pub key: IdempotencyKey,
    /// What to do.
    pub effect: Effect,
}

/// What an invoice says that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Description {
    /// In words (BOLT 11 `d`).
    Text(String),
    /// The SHA-256 of words that the payer has from elsewhere (BOLT 11 `h`).
    Hash([u8; 32]),
}

/// What the host is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Watch this script from now on (answered by nothing; later chain views cover it).
    WatchScript {
        /// scriptPubKey.
        script: ScriptBuf,
    },
    /// Have the engine wallet's inputs of this PSBT (BIP 174, base64) signed. Answered by `Fact::Signed`.
    SignPsbt {
        /// Base64.
        psbt: String,
    },
    /// Have a statement signed with the operator's DID key, as JWS in compact form with ES256K (RFC 7515, RFC 8812).
    /// Answered by `Fact::StatementSigned`.
    SignStatement {
        /// Whose key.
        issuer: Did,
        /// Canonical JSON (RFC 8785).
        payload: String,
    },
    /// Have a cosigner sign his part of this PSBT (BIP 174, base64). Answered by `Fact::Cosigned`.
    Cosign {
        /// Who.
        cosigner: CosignerId,
        /// Base64.
        psbt: String,
    },
    /// Hand this transaction to the network. Answered by `Fact::Broadcast`.
    Broadcast {
        /// Signed.
        transaction: Transaction,
    },
    /// Make a BOLT 11 invoice. Answered by `Fact::InvoiceCreated`.
    CreateInvoice {
        /// What the payee gets; `None`: the payer says how much.
        amount_msat: Option<Msat>,
        /// What for.
        description: Description,
        /// Seconds from now.
        expiry_secs: u32,
        /// If set, a hold invoice on this payment hash: the node waits for `ClaimHeld` or `FailHeld`.
        hold_hash: Option<[u8; 32]>,
    },
    /// Pay a BOLT 11 invoice. Answered, perhaps much later, by `Fact::LightningSent` or `Fact::LightningFailed`.
    PayInvoice {
        /// The invoice as text.
        invoice: String,
        /// What the payee gets, if the invoice leaves that to the payer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount_msat: Option<Msat>,
        /// Most that may be spent on routing fees.
        max_fee_msat: Msat,
        /// How long other ways are looked for when one fails; `None`: as long as the node does by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_secs: Option<u32>,
    },
    /// Claim a held payment with its preimage. Answered by `Fact::LightningReceived`.
    ClaimHeld {
        /// The preimage.
        preimage: [u8; 32],
        /// The amount held.
        amount_msat: Msat,
    },
    /// Fail a held payment back. Answered by `Fact::HeldFailed`.
    FailHeld {
        /// Its hash.
        payment_hash: [u8; 32],
    },
    /// Open a channel. Answered by a `Fact::Node` that lists it, or by `Fact::ChannelRefused`.
    OpenChannel {
        /// What the node is to call it: the same at every attempt.
        id: [u8; 16],
        /// `PUBKEY@HOST:PORT`, or `PUBKEY`.
        peer: String,
        /// Its size.
        capacity: Sat,
        /// Whether it is gossiped.
        announced: bool,
    },
    /// Close a channel, by agreement or with the node's own commitment transaction. Answered by `Fact::ChannelCloseTaken`.
    CloseChannel {
        /// Funding output.
        funding: OutPoint,
        /// Without asking the other end.
        force: bool,
    },
    /// Read the node's channel balances. Answered by `Fact::LightningBalance`.
    ReadLightningBalance,
    /// Look at the chain now. Answered by `Fact::Chain`.
    ReadChain,
    /// Ask the backend about fees. Answered by `Fact::Fees`.
    ReadFees,
    /// Call the gateway, with this instruction's key in `Idempotency-Key` when it is a POST.
    /// Answered by `Fact::HttpResponded` or `Fact::HttpFailed`.
    CallGateway {
        /// The request.
        request: HttpRequest,
    },
    /// Call Layer 0, with this instruction's key in `Idempotency-Key` when it is a POST.
    /// Answered by `Fact::HttpResponded` or `Fact::HttpFailed`.
    CallLayer0 {
        /// The request.
        request: HttpRequest,
    },
    /// Wake the engine at this time. Answered by `Fact::TimerFired`.
    WakeAt {
        /// When.
        at: Timestamp,
    },
}

/// Something that was observed outside. `key` names the instruction that it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// A look at the chain (asked for, or because something changed).
    Chain(ChainView),
    /// A signer's answer.
    Signed {
        /// Of the `SignPsbt`.
        key: IdempotencyKey,
        /// The PSBT with signatures (base64), or the signer's refusal in words.
        result: Result<String, String>,
    },
    /// The signer's answer to a statement.
    StatementSigned {
        /// Of the `SignStatement`.
        key: IdempotencyKey,
        /// JWS in compact form, or the signer's refusal in words.
        result: Result<String, String>,
    },
    /// A cosigner's answer.
    Cosigned {
        /// Of the `Cosign`.
        key: IdempotencyKey,
        /// The PSBT with his signatures (base64), or his refusal in words.
        result: Result<String, String>,
    },
    /// The backend's answer to a broadcast; `Err` holds its reject word (Bitcoin Core's).
    Broadcast {
        /// Of the `Broadcast`.
        key: IdempotencyKey,
        /// Accepted (or already known), or refused.
        result: Result<Txid, String>,
    },
    /// An invoice was made, or the node's refusal in words.
    InvoiceCreated {
        /// Of the `CreateInvoice`.
        key: IdempotencyKey,
        /// BOLT 11 text.
        result: Result<String, String>,
    },
    /// An incoming payment on a hold invoice is complete and waits for a decision.
    LightningHeld {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// All parts together.
        amount_msat: Msat,
        /// The last block height at which it can still be claimed.
        claim_deadline_height: u32,
    },
    /// An incoming payment was claimed: the money is ours. May be told more than once.
    LightningReceived {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// What we got.
        amount_msat: Msat,
    },
    /// A held payment was failed back.
    HeldFailed {
        /// Payment hash.
        payment_hash: [u8; 32],
    },
    /// Our payment was delivered. May be told more than once.
    LightningSent {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// Proof of payment.
        preimage: [u8; 32],
        /// Routing fees paid on top of the invoice amount.
        fee_msat: Msat,
    },
    /// Our payment failed for good. May be told more than once.
    LightningFailed {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// Why.
        reason: LightningFailure,
    },
    /// What our side of all channels holds, claimed incoming HTLCs included, our pending outgoing HTLCs apart.
    LightningBalance {
        /// Of the `ReadLightningBalance`.
        key: IdempotencyKey,
        /// Ours.
        local_msat: Msat,
        /// In our outgoing HTLCs.
        outgoing_htlcs_msat: Msat,
    },
    /// A look at our Lightning node (because something changed).
    Node(NodeView),
    /// The node will not open a channel, or has given it up unfunded. May be told more than once.
    ChannelRefused {
        /// The node's id of it.
        id: [u8; 16],
        /// In words.
        reason: String,
    },
    /// The node has taken the order to close a channel, or says why not.
    ChannelCloseTaken {
        /// Of the `CloseChannel`.
        key: IdempotencyKey,
        /// Taken, or its reason in words.
        result: Result<(), String>,
    },
    /// What the backend says about fees.
    Fees {
        /// Of the `ReadFees`.
        key: IdempotencyKey,
        /// What it says.
        seen: FeesSeen,
    },
    /// The gateway or Layer 0 answered.
    HttpResponded {
        /// Of the `CallGateway` or `CallLayer0`.
        key: IdempotencyKey,
        /// Status code.
        status: u16,
        /// Body as text.
        body: String,
    },
    /// The gateway or Layer 0 did not answer.
    HttpFailed {
        /// Of the `CallGateway` or `CallLayer0`.
        key: IdempotencyKey,
        /// How.
        failure: HttpFailure,
    },
    /// The gateway called us.
    Webhook {
        /// Value of the `Lockstep-Signature` header.
        signature: String,
        /// The body exactly as received.
        body: String,
    },
    /// A requested time has come.
    TimerFired {
        /// Of the `WakeAt`.
        key: IdempotencyKey,
    },
    /// An effect could not be tried now (backend down), or the host was restarted and does not know how an earlier
    /// attempt ended; it tries again under the same key.
    Unavailable {
        /// Of the instruction.
        key: IdempotencyKey,
        /// In words, for the log.
        reason: String,
    },
}
