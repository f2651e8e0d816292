//! Owns the seams between the driver and the outside: one small object-safe trait for each, with its words and errors.
//! Does not own any implementation (`adapters`, and the harness's worlds) nor what the answers mean (the engine).
//!
//! Futures are `'static`, so that the driver can keep them in flight while it goes on; implementations clone the `Arc`s
//! that they need. A port must not touch the driver's [`Handle`](crate::Handle).

mod channels;

pub use channels::{CloseChannelOrder, OpenChannelOrder};

use bitcoin::{ScriptBuf, Transaction, Txid};
use futures_util::future::BoxFuture;
use lockstep_engine::api::{Engine, Input, Output, Refusal};
use lockstep_engine::id::{CosignerId, Did, IdempotencyKey};
use lockstep_engine::money::Msat;
use lockstep_engine::rail::{
    BlockId, ChainView, Description, Entropy, Fact, FeesSeen, HttpFailure, HttpRequest,
    LightningFailure, NodeView,
};
use lockstep_engine::time::Timestamp;
use std::sync::Arc;

/// Everything the driver needs from outside, but for the store, which it owns alone.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The Bitcoin chain.
    pub chain: Arc<dyn ChainSource>,
    /// Our Lightning node.
    pub lightning: Arc<dyn LightningNode>,
    /// The fiat gateway.
    pub http: Arc<dyn HttpTransport>,
    /// Layer 0.
    pub layer0: Arc<dyn HttpTransport>,
    /// Holder of the wallet's keys.
    pub signer: Arc<dyn Signer>,
    /// Holders of the keys of wallets that several people must sign for.
    pub cosigners: Arc<dyn Cosigners>,
    /// Randomness for each input.
    pub entropy: Arc<dyn EntropySource>,
    /// Watches; production: [`Unobserved`].
    pub observer: Arc<dyn Observer>,
    /// Kills; production: [`Uninterrupted`].
    pub interruption: Arc<dyn Interruption>,
}

/// Time as the driver sees it.
pub trait Clock: Send + Sync {
    /// Now. May step back; the driver never lets the engine see that.
    fn now(&self) -> Timestamp;

    /// Completes at `at`, or at once if that has passed. May complete earlier when the clock was set back meanwhile; the
    /// driver then looks at its agenda and sleeps again.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

/// A view of the Bitcoin chain and a way to hand it transactions.
pub trait ChainSource: Send + Sync {
    /// One consistent look at `scripts`. `known` are blocks that the asker knows, ascending; the view reaches back to
    /// one of them.
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>>;

    /// Hands a transaction to the network. A transaction that the backend knows already is a success.
    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>>;

    /// What the backend knows of fees now.
    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>>;

    /// Completes when anything may have changed since the latest call of `view` (or since creation).
    fn changed(&self) -> BoxFuture<'static, ()>;
}

/// The chain backend gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no view of the chain: {reason}")]
pub struct ChainUnavailable {
    /// In words, for the log.
    pub reason: String,
}

/// Why a transaction did not reach the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BroadcastError {
    /// The backend looked at it and refused it.
    #[error("refused: {word}")]
    Refused {
        /// Bitcoin Core's reject word, for instance `min relay fee not met`.
        word: String,
    },
    /// The backend could not be asked, or its answer was lost; the transaction may have got through.
    #[error("the backend is unavailable: {reason}")]
    Unavailable {
        /// In words, for the log.
        reason: String,
    },
}

/// An invoice to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceOrder {
    /// Of the instruction.
    pub key: IdempotencyKey,
    /// What the payee gets; `None`: the payer says how much.
    pub amount_msat: Option<Msat>,
    /// What for.
    pub description: Description,
    /// Seconds from now (BOLT 11 `x`).
    pub expiry_secs: u32,
    /// If set, a hold invoice on this payment hash.
    pub hold_hash: Option<[u8; 32]>,
}

/// A BOLT 11 invoice to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayOrder {
    /// Of the instruction.
    pub key: IdempotencyKey,
    /// BOLT 11 text.
    pub invoice: String,
    /// What the payee gets, if the invoice leaves that to the payer.
    pub amount_msat: Option<Msat>,
    /// Most that may be spent on routing fees.
    pub max_fee_msat: Msat,
    /// How long other ways are looked for when one fails; `None`: as long as the node does by itself.
    pub retry_secs: Option<u32>,
}

/// A held payment to be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimOrder {
    /// Of the instruction.
    pub key: IdempotencyKey,
    /// Its SHA-256 is the payment hash.
    pub preimage: [u8; 32],
    /// The amount held.
    pub amount_msat: Msat,
}

/// A held payment to be failed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailOrder {
    /// Of the instruction.
    pub key: IdempotencyKey,
    /// Which.
    pub payment_hash: [u8; 32],
}

/// The node took an order to pay, or had taken it before: one payment hash is paid at most once, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayTaken {
    /// On its way; an event will tell how it ends.
    Pending,
    /// That hash had been paid or had failed before: the same outcome again.
    Finished(LightningEvent),
}

/// The node's answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimTaken {
    /// Being claimed; `LightningEvent::Received` follows.
    Claiming,
    /// Claimed before: the same outcome again.
    Finished(LightningEvent),
    /// Nothing is held on that hash any more: it has been failed back.
    Gone {
        /// Which.
        payment_hash: [u8; 32],
    },
}

/// Why a Lightning order was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightningError {
    /// The node said no, for good, and nothing is under way.
    #[error("the node refused: {reason}")]
    Refused {
        /// In words.
        reason: String,
    },
    /// The node could not be asked, or the outcome is unknown; the same order may be given again.
    #[error("the node is unavailable: {reason}")]
    Unavailable {
        /// In words, for the log.
        reason: String,
    },
}

/// Why a payment was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// No HTLC of it exists nor will exist.
    #[error("the node refused to pay: {reason:?}")]
    Refused {
        /// Of the invoice.
        payment_hash: [u8; 32],
        /// Why.
        reason: LightningFailure,
    },
    /// The node could not be asked, or the outcome is unknown; the same order may be given again.
    #[error("the node is unavailable: {reason}")]
    Unavailable {
        /// In words, for the log.
        reason: String,
    },
}

/// The node could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is unavailable: {reason}")]
pub struct LightningUnavailable {
    /// In words, for the log.
    pub reason: String,
}

/// What our side of all channels holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LightningBalance {
    /// Ours, claimed incoming HTLCs included, pending outgoing HTLCs apart.
    pub local_msat: Msat,
    /// In our pending outgoing HTLCs.
    pub outgoing_htlcs_msat: Msat,
}

/// Something that the node tells of its own accord, at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LightningEvent {
    /// A payment on a hold invoice is complete and waits.
    Held {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// All parts together.
        amount_msat: Msat,
        /// Last block height at which it can be claimed.
        claim_deadline_height: u32,
    },
    /// A payment was claimed.
    Received {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// What we got.
        amount_msat: Msat,
    },
    /// Our payment was delivered.
    Sent {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// Proof of payment.
        preimage: [u8; 32],
        /// Routing fees on top of the amount.
        fee_msat: Msat,
    },
    /// Our payment failed for good.
    Failed {
        /// Payment hash.
        payment_hash: [u8; 32],
        /// Why.
        reason: LightningFailure,
    },
    /// A channel that was ordered came to nothing, or has ended. Told of every channel that ends: whoever ordered it knows
    /// whether it was open.
    ChannelEnded {
        /// The node's id of it.
        id: [u8; 16],
        /// In the node's words.
        reason: String,
    },
}

impl From<LightningEvent> for Fact {
    fn from(event: LightningEvent) -> Fact {
        match event {
            LightningEvent::Held {
                payment_hash,
                amount_msat,
                claim_deadline_height,
            } => Fact::LightningHeld {
                payment_hash,
                amount_msat,
                claim_deadline_height,
            },
            LightningEvent::Received {
                payment_hash,
                amount_msat,
            } => Fact::LightningReceived {
                payment_hash,
                amount_msat,
            },
            LightningEvent::Sent {
                payment_hash,
                preimage,
                fee_msat,
            } => Fact::LightningSent {
                payment_hash,
                preimage,
                fee_msat,
            },
            LightningEvent::Failed {
                payment_hash,
                reason,
            } => Fact::LightningFailed {
                payment_hash,
                reason,
            },
            LightningEvent::ChannelEnded { id, reason } => Fact::ChannelRefused { id, reason },
        }
    }
}

/// Our Lightning node.
pub trait LightningNode: Send + Sync {
    /// Makes a BOLT 11 invoice. Asked twice, it may make two; only the one that is journaled is ever shown to a payer.
    fn create_invoice(
        &self,
        order: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>>;

    /// Pays an invoice. Idempotent by payment hash: see [`PayTaken`].
    fn pay(&self, order: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>>;

    /// Claims a held payment. Idempotent.
    fn claim_held(
        &self,
        order: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>>;

    /// Fails a held payment back. Idempotent; success also if nothing is held on that hash any more.
    fn fail_held(&self, order: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>>;

    /// Reads the balances of all channels.
    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>>;

    /// Begins to open a channel. Idempotent by the order's id. Success says that the node has begun; see [`NodeView`] for more.
    fn open_channel(
        &self,
        order: OpenChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>>;

    /// Begins to close a channel. Idempotent; success also if it is closed already.
    fn close_channel(
        &self,
        order: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>>;

    /// The node's wallet and channels at a moment at which every payment that shows in them was told and acknowledged, and none
    /// is half done; unavailable at any other.
    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>>;

    /// Completes when the view may have changed since this was called.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// The oldest event that was not acknowledged; waits for one. The same event again until `event_handled`.
    fn next_event(&self) -> BoxFuture<'static, LightningEvent>;

    /// Acknowledges that event. Called only after its fact was journaled (or refused by the engine).
    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>>;
}

/// A call of the fiat gateway or of Layer 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayCall {
    /// Sent as `Idempotency-Key` with a POST.
    pub key: IdempotencyKey,
    /// The request.
    pub request: HttpRequest,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Body (UTF-8).
    pub body: String,
}

/// Exchanges HTTP messages with one outside system.
pub trait HttpTransport: Send + Sync {
    /// One request, one response, within the implementation's stated limits of size and time. Never retries.
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>>;
}

/// A statement to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementOrder {
    /// Whose key.
    pub issuer: Did,
    /// Canonical JSON (RFC 8785).
    pub payload: String,
}

/// Holds the keys of the engine's wallet, and the operator's DID key.
pub trait Signer: Send + Sync {
    /// Signs the wallet's inputs of a PSBT (BIP 174, base64); the inner error is a refusal in words. Signing the same
    /// PSBT twice is harmless: it spends the same outputs.
    fn sign(
        &self,
        psbt: String,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>>;

    /// Signs a statement as JWS in compact form (RFC 7515) with ES256K (RFC 8812); the inner error is a refusal in
    /// words. Signing the same statement twice is harmless: it says the same.
    fn sign_statement(
        &self,
        order: StatementOrder,
    ) -> BoxFuture<'static, Result<Result<String, String>, SignerUnavailable>>;
}

/// The signer could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signer is unavailable: {reason}")]
pub struct SignerUnavailable {
    /// In words, for the log.
    pub reason: String,
}

/// A PSBT for one cosigner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignOrder {
    /// Of the instruction: the same order may be given again, and means the same.
    pub key: IdempotencyKey,
    /// Who is asked.
    pub cosigner: CosignerId,
    /// BIP 174, base64, without any signature.
    pub psbt: String,
}

/// What a cosigner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CosignAnswer {
    /// He has the order and will decide; he is asked again.
    Pending,
    /// What he gives back. Nothing of it is believed before it is checked.
    Signed(String),
    /// He does not sign, in words.
    Refused(String),
}

/// Independent people (or their devices) with one key each. Signing the same PSBT twice is harmless: it spends the same
/// outputs.
pub trait Cosigners: Send + Sync {
    /// Gives a cosigner an order, or asks what has become of it.
    fn cosign(
        &self,
        order: CosignOrder,
    ) -> BoxFuture<'static, Result<CosignAnswer, CosignerUnavailable>>;
}

/// The cosigner could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cosigner is unavailable: {reason}")]
pub struct CosignerUnavailable {
    /// In words, for the log.
    pub reason: String,
}

/// Nobody: for an engine without a wallet of several keys.
pub struct NoCosigners;

impl Cosigners for NoCosigners {
    fn cosign(
        &self,
        order: CosignOrder,
    ) -> BoxFuture<'static, Result<CosignAnswer, CosignerUnavailable>> {
        let reason = format!("nobody knows cosigner `{}`", order.cosigner);
        Box::pin(std::future::ready(Err(CosignerUnavailable { reason })))
    }
}

/// Where the journal's records are kept.
pub trait Store: Send {
    /// Adds a record to what the next `sync` makes durable. `seq` grows by one from record to record.
    fn append(&mut self, seq: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes all appended records durable, all or none. After an error the store must be opened anew, and each record
    /// of that `sync` may or may not be there.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// What is left to wait for after `sync`, on a medium that is slow and does not block the caller. Nothing is stepped
    /// or acknowledged before.
    fn flushing(&mut self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// All durable records in order of `seq`.
    fn read_all(&self) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has no space left.
    #[error("no space left while {during}")]
    NoSpace {
        /// What was being done.
        during: &'static str,
    },
    /// Any other failure of the disk or of the file's format.
    #[error("the store failed while {during}")]
    Failed {
        /// What was being done.
        during: &'static str,
        /// Cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Source of 32 unpredictable bytes.
pub trait EntropySource: Send + Sync {
    /// Draws.
    fn draw(&self) -> Entropy;
}

/// Watches the driver, for traces and invariants. Called with the engine locked: must not call
/// [`Handle::with_engine`](crate::Handle::with_engine).
pub trait Observer: Send + Sync {
    /// An input was journaled and stepped.
    fn on_accepted(&self, at: Timestamp, input: &Input, output: &Output, engine: &Engine);

    /// Recovery has stepped through record `seq` of the journal again (or for the first time, if the process was killed
    /// between journal and step).
    fn on_replayed(
        &self,
        seq: u64,
        at: Timestamp,
        input: &Input,
        output: &Output,
        engine: &Engine,
    ) {
        let _ = (seq, at, input, output, engine);
    }

    /// An input was refused; nothing was journaled.
    fn on_refused(&self, at: Timestamp, input: &Input, refusal: &Refusal);

    /// An exchange with the gateway or with Layer 0 ended.
    fn on_exchange(
        &self,
        at: Timestamp,
        call: &GatewayCall,
        answer: &Result<HttpResponse, HttpFailure>,
    );
}

/// Observes nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn on_accepted(&self, _: Timestamp, _: &Input, _: &Output, _: &Engine) {}
    fn on_refused(&self, _: Timestamp, _: &Input, _: &Refusal) {}
    fn on_exchange(&self, _: Timestamp, _: &GatewayCall, _: &Result<HttpResponse, HttpFailure>) {}
}

/// A place in the handling of one input at which the process can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Admitted, not journaled: as if it had never come.
    BeforeJournal,
    /// Journaled and synced, not stepped, not answered.
    Journaled,
    /// Stepped, not answered, no effect begun.
    Stepped,
    /// Answered; every effect begun (its first poll is over), none of their results read.
    Performed,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End as if the process had been killed here.
    Stop,
}

/// Kills the driver between journal and effect.
pub trait Interruption: Send + Sync {
    /// Asked at each point of each accepted input.
    fn at(&self, point: Point, input: &Input) -> Flow;
}

/// Never kills.
pub struct Uninterrupted;

impl Interruption for Uninterrupted {
    fn at(&self, _: Point, _: &Input) -> Flow {
        Flow::Continue
    }
}
