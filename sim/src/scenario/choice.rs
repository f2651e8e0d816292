//! Owns the words that a scenario chooses from a list. A word is either in its list or refused while reading, so the text
//! model and the checked model share these types.

use super::read::word;

word!(
    /// Where a scenario runs.
    pub World {
        /// Everything in one process under a seeded scheduler, in virtual time.
        "simulated" Simulated,
        /// Real bitcoind, electrs, ldk-node nodes and HTTP, in lock step.
        "regtest" Regtest,
    }
);
word!(
    /// When the next step begins.
    pub Pace {
        /// When everything that the last step caused has come to rest.
        "lock-step" LockStep,
        /// At its time, whatever is still going on (simulated world only).
        "free" Free,
    }
);
word!(
    /// How money moves.
    pub Rail {
        /// A Bitcoin transaction.
        "onchain" Onchain,
        /// A Lightning payment.
        "lightning" Lightning,
        /// A SEPA credit transfer.
        "sepa" Sepa,
    }
);
word!(
    /// What is done about a transaction of the operator's that offers too little.
    pub Bumping {
        /// It waits.
        "off" Off,
        /// Another one takes its place (BIP 125).
        "replace" Replace,
        /// A child spends its change and pays for both.
        "child" Child,
    }
);
word!(
    /// What an account holds.
    pub Asset {
        /// Bitcoin.
        "BTC" Btc,
        /// Euro.
        "EUR" Eur,
    }
);
word!(
    /// Where a payment stands.
    pub PaymentState {
        /// Charge: the payer can be told where to pay.
        "issued" Issued,
        /// On-chain charge: the money was seen, not deep enough.
        "seen" Seen,
        /// Lightning charge with `hold`: the money waits for `release` or `refuse`.
        "held" Held,
        /// Payout: under way, fate unknown.
        "dispatched" Dispatched,
        /// Payout over Lightning: under way when its deadline was over; beside `dispatched`.
        "unknown" Unknown,
        /// Paid.
        "settled" Settled,
        /// Not paid, nothing moved.
        "failed" Failed,
        /// On chain: settled once, then its confirmations were lost.
        "undone" Undone,
        /// On-chain charge: what is deep enough came in time and is less than asked.
        "partial" Partial,
        /// On-chain charge: settled with more than asked.
        "over" Over,
        /// On-chain charge: money came after it had failed.
        "late" Late,
        /// On-chain charge: money came after it was settled.
        "double" Double,
        /// On-chain charge: money that was there is gone; its payer took it back, or pays in another way.
        "replaced" Replaced,
    }
);
word!(
    /// What is done with money on chain that does not pay its charge.
    pub Disposal {
        /// It is set apart until a person decides.
        "suspense" Suspense,
        /// The party is credited with it.
        "credit" Credit,
        /// It is sent to the charge's refund address, less the miner's fee.
        "refund" Refund,
    }
);
word!(
    /// Who bears what a party has spent and a reorganisation took back.
    pub(super) Bearer {
        /// The party owes it, up to a limit; the operator bears the rest.
        "receivable" Receivable,
        /// The operator bears it.
        "operator" Operator,
        /// The party owes it, and is paid nothing out while it does.
        "freeze" Freeze,
    }
);
word!(
    /// Why a payment failed.
    pub FailureReason {
        /// The binding of the wallet that was to be paid has ended.
        "binding-ended" BindingEnded,
        /// Nobody paid in time.
        "expired" Expired,
        /// Refused by a `refuse` step.
        "refused" Refused,
        /// Lightning: no route within the fee and expiry limits.
        "route-not-found" RouteNotFound,
        /// Lightning: the payee refused it.
        "recipient-rejected" RecipientRejected,
        /// Lightning: attempts or time for retries ran out.
        "retries-exhausted" RetriesExhausted,
        /// Lightning: the invoice expired before a first attempt.
        "invoice-expired" InvoiceExpired,
        /// Lightning: the node refused to start the payment.
        "payment-refused" PaymentRefused,
        /// Lightning: another final failure.
        "other" Other,
        /// The node could not make the invoice.
        "invoice-not-created" InvoiceNotCreated,
        /// SEPA: the gateway refused the order.
        "gateway-rejected" GatewayRejected,
        /// SEPA: the beneficiary's bank sent the money back.
        "returned" Returned,
        /// On chain: the signer refused.
        "signing-refused" SigningRefused,
        /// On chain: too few cosigners were left who could sign.
        "not-cosigned" NotCosigned,
        /// On chain: the network refused the transaction.
        "broadcast-refused" BroadcastRefused,
        /// On chain, refunds: the transaction has left the chain, and the coins that it spends with it.
        "coins-lost" CoinsLost,
        /// On chain: no transaction could be built (too few coins, an amount that is dust).
        "not-buildable" NotBuildable,
    }
);
word!(
    /// The point of an input's handling at which the engine's process dies.
    pub CrashPoint {
        /// The input was admitted and is not in the journal.
        "before-journal" BeforeJournal,
        /// The input is in the journal and synced; the engine has not stepped.
        "journaled" Journaled,
        /// The engine has stepped; no instruction was performed.
        "stepped" Stepped,
        /// The instructions were performed; their answers were not fed back.
        "performed" Performed,
    }
);
word!(
    /// What kind of DID a party has.
    pub DidMethod {
        /// `did:key` with a secp256k1 key.
        "key" Key,
        /// `did:key` with an Ed25519 key.
        "key-ed25519" KeyEd25519,
        /// `did:web`, whose key only Layer 0 knows.
        "web" Web,
    }
);
word!(
    /// What Layer 0 says of a DID.
    pub DidState {
        /// In use.
        "active" Active,
        /// Not to be relied on for now.
        "suspended" Suspended,
        /// Never to be relied on again.
        "revoked" Revoked,
    }
);
word!(
    /// Where a party's enrolment stands.
    pub EnrolmentState {
        /// Layer 0 has not answered.
        "asked" Asked,
        /// Layer 0 vouches for the party's DID.
        "enrolled" Enrolled,
        /// It does not.
        "refused" Refused,
    }
);
word!(
    /// How a payment ended, as it is stated to Layer 0.
    pub Outcome {
        /// Paid.
        "settled" Settled,
        /// Paid after its deadline.
        "late" Late,
        /// What was stated before does not hold any more, and how it ends is open again.
        "withdrawn" Withdrawn,
        /// Paid, and then sent back.
        "reversed" Reversed,
        /// Not paid, by the party's doing.
        "failed-by-subject" FailedBySubject,
        /// Not paid, by the doing of who stands outside.
        "failed-by-counterparty" FailedByCounterparty,
        /// Not paid, by the operator's doing.
        "failed-by-operator" FailedByOperator,
        /// Not paid, because no way was found.
        "failed-by-network" FailedByNetwork,
    }
);
word!(
    /// What Layer 0 does wrong.
    pub(super) Layer0Fault {
        /// The connection is lost before it looks at the request.
        "lose-request" LoseRequest,
        /// It does what it is asked and the response is lost.
        "lose-response" LoseResponse,
        /// It does what it is asked and answers `by` later; until then the idempotency key is in use.
        "slow-response" SlowResponse,
        /// It does what it is asked, and the body of its answer takes `by`.
        "slow-body" SlowBody,
        /// It does what it is asked, and the connection is lost in the middle of the answer's body.
        "cut-body" CutBody,
        /// It answers with status 500 before looking at the request.
        "server-error" ServerError,
        /// It answers with status 429 before looking at the request.
        "too-many-requests" TooManyRequests,
        /// It forgets the statement's idempotency key at once.
        "forget-key" ForgetKey,
    }
);
word!(
    /// What happens to the link between two endpoints.
    pub(super) LinkFault {
        /// No byte passes in either direction for a while; what is held for long is reset.
        "partition" Partition,
        /// As a partition, from the first to the second only.
        "one-way" OneWay,
        /// Bytes are held for a while and then all arrive at once; nothing is reset.
        "clog" Clog,
        /// The first end loses its connections; the second does not notice for a while.
        "half-open" HalfOpen,
        /// The connection is lost once and may be made anew at once.
        "disconnect" Disconnect,
        /// Every message takes longer for a while.
        "delay" Delay,
        /// Some messages take much longer for a while.
        "spikes" Spikes,
        /// Messages that are not part of a byte stream (notices of the chain, broadcasts) overtake each other.
        "reorder" Reorder,
        /// Messages that are not part of a byte stream arrive twice.
        "duplicate" Duplicate,
        /// Half of the messages are lost, and each loss resets the connection.
        "loss" Loss,
    }
);
word!(
    /// What happens to a process.
    pub(super) ProcessFault {
        /// It dies wherever it stands, and is started again after `for`.
        "kill" Kill,
        /// It dies right after its `write`th write from now, and is started again after `for`.
        "kill-at-write" KillAtWrite,
        /// It stands still for a while; its connections stay.
        "pause" Pause,
        /// It dies, and is started again after `for` from what its disk held `by` before.
        "stale-restart" StaleRestart,
        /// It dies, is started again at once, and answers nobody for a while.
        "slow-start" SlowStart,
    }
);
word!(
    /// What happens to a disk.
    pub(super) DiskFault {
        /// The process dies at its next write, of which a part is on the disk; it is started again after `for`.
        "torn" Torn,
        /// The process dies before its next sync; what was written since the last one is lost. Started again after `for`.
        "lost" Lost,
        /// Each sync takes `by` longer.
        "slow" Slow,
        /// Syncs fail.
        "failed-sync" FailedSync,
        /// Writes fail: no space is left.
        "full" Full,
        /// Reads fail; the process is started anew, so that it reads.
        "read-error" ReadError,
        /// One bit of what is kept is turned, and the process is started anew; afterwards the disk is put in order.
        "bit-flip" BitFlip,
    }
);
word!(
    /// What happens to a clock.
    pub(super) ClockFault {
        /// It is wrong by `by` for a while.
        "skew" Skew,
        /// It jumps by `by`, and stays wrong until the run heals.
        "step" Step,
        /// It runs too fast by `ppm` millionths for a while.
        "drift" Drift,
    }
);
word!(
    /// What happens to the chain.
    pub(super) ChainFault {
        /// Blocks that would be mined are found only at the end, all at once.
        "late-blocks" LateBlocks,
        /// Blocks hold nothing but their coinbase.
        "empty-blocks" EmptyBlocks,
        /// A transaction needs `feerate` to be mined.
        "fee-spike" FeeSpike,
        /// The unconfirmed transaction of the payment `on` is dropped from mempools.
        "evict" Evict,
        /// The payer replaces the unconfirmed transaction of the charge `on` by one to itself (BIP 125).
        "replace" Replace,
        /// The backend shows the chain as it was `blocks` before.
        "lag" Lag,
        /// The backend answers nobody.
        "stop" Stop,
        /// The backend denies transactions that it knows.
        "lie" Lie,
    }
);
word!(
    /// What a peer does against the protocol.
    pub(super) PeerFault {
        /// It neither forwards, claims nor fails the HTLCs that it gets.
        "withhold-htlc" WithholdHtlc,
        /// It stays connected and says nothing.
        "silent" Silent,
        /// It broadcasts a revoked commitment transaction of `channel` (BOLT 5).
        "revoked" Revoked,
    }
);
word!(
    /// What a cosigner does instead of signing.
    pub(super) CosignerFault {
        /// He cannot be reached.
        "absent" Absent,
        /// He does not decide until the fault is over.
        "undecided" Undecided,
        /// He refuses to sign.
        "refuse" Refuse,
        /// He signs another transaction, and gives that back.
        "alter" Alter,
        /// He signs with SIGHASH_NONE|ANYONECANPAY: outputs and other inputs stay open.
        "wrong-sighash" WrongSighash,
        /// He gives the PSBT back with a signature of another transaction.
        "something-else" SomethingElse,
        /// He signs with a second key of his, too.
        "twice" Twice,
        /// He gives the PSBT back with the signature of another cosigner in place of his own.
        "somebody-elses" SomebodyElses,
        /// He leaves the last input out.
        "leave-out" LeaveOut,
        /// What he gives back is no PSBT.
        "garbage" Garbage,
    }
);
word!(
    /// What the fiat gateway does wrong.
    pub(super) GatewayFaultKind {
        /// The connection is lost before it looks at the order.
        "lose-request" LoseRequest,
        /// It carries the order out and the response is lost.
        "lose-response" LoseResponse,
        /// It carries the order out and answers `by` later; until then the idempotency key is in use.
        "slow-response" SlowResponse,
        /// It carries the order out, and the body of its answer takes `by`.
        "slow-body" SlowBody,
        /// It carries the order out, and the connection is lost in the middle of the answer's body.
        "cut-body" CutBody,
        /// It answers with status 429 before looking at the order.
        "too-many-requests" TooManyRequests,
        /// It forgets the order's idempotency key at once.
        "forget-key" ForgetKey,
        /// A webhook about the payment is overtaken by the next one.
        "reorder-webhooks" ReorderWebhooks,
        /// It sends the webhooks about the payment with another amount at first, rightly signed.
        "wrong-amount" WrongAmount,
        /// It sends each webhook about the payment twice.
        "duplicate-webhook" DuplicateWebhook,
        /// It sends the webhooks about the payment late.
        "delay-webhook" DelayWebhook,
        /// It never sends the webhooks about the payment.
        "drop-webhook" DropWebhook,
        /// It signs the webhooks about the payment with a key that nobody knows.
        "wrong-signature" WrongSignature,
        /// Somebody who does not know the key tells that the transfer is booked before it is.
        "forged-webhook" ForgedWebhook,
        /// It rejects the order.
        "reject" Reject,
        /// The beneficiary's bank sends the money back.
        "return" Return,
        /// It answers with status 500 before looking at the order.
        "server-error" ServerError,
    }
);
word!(
    /// The code with which the gateway rejects an order.
    pub RejectCode {
        /// The creditor's account number is none.
        "invalid_iban" InvalidIban,
        /// The operator's balance is too small.
        "insufficient_funds" InsufficientFunds,
        /// The amount is outside the scheme's limits.
        "invalid_amount" InvalidAmount,
        /// The reference is malformed.
        "invalid_reference" InvalidReference,
        /// The reference was used before.
        "duplicate_reference" DuplicateReference,
    }
);
