//! Why a transaction or a block is refused, in Bitcoin Core's words.
//!
//! The text of each variant is the reject word itself; the fields carry what Core puts in its debug message.
//! Does not own the checks.

use bitcoin::{BlockHash, OutPoint, Txid};
use thiserror::Error;

/// Why a transaction is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TxReject {
    /// It has no inputs.
    #[error("bad-txns-vin-empty")]
    NoInputs,
    /// It has no outputs.
    #[error("bad-txns-vout-empty")]
    NoOutputs,
    /// Its stripped size alone fills a block.
    #[error("bad-txns-oversize")]
    Oversize,
    /// One output is worth more than all bitcoin.
    #[error("bad-txns-vout-toolarge")]
    OutputTooLarge,
    /// All outputs together are worth more than all bitcoin.
    #[error("bad-txns-txouttotal-toolarge")]
    OutputTotalTooLarge,
    /// Two inputs spend the same output.
    #[error("bad-txns-inputs-duplicate")]
    DuplicateInput,
    /// An input of a transaction that is not a coinbase names no output.
    #[error("bad-txns-prevout-null")]
    NullPrevout,
    /// The coinbase script is not 2 to 100 bytes long.
    #[error("bad-cb-length")]
    CoinbaseScriptLength,
    /// A coinbase outside of a block.
    #[error("coinbase")]
    Coinbase,
    /// The version is not 1, 2 or 3.
    #[error("version")]
    Version,
    /// Heavier than what is relayed.
    #[error("tx-size")]
    TooHeavy {
        /// Its weight units.
        weight: u64,
    },
    /// Smaller than 65 bytes without witness.
    #[error("tx-size-small")]
    TooSmall,
    /// An input script longer than 1650 bytes.
    #[error("scriptsig-size")]
    ScriptSigSize,
    /// An input script that does more than push.
    #[error("scriptsig-not-pushonly")]
    ScriptSigNotPushOnly,
    /// An output script of no standard form.
    #[error("scriptpubkey")]
    NonStandardOutput {
        /// Index of the output.
        output: usize,
    },
    /// More data carrier bytes than are relayed.
    #[error("datacarrier")]
    DataCarrier,
    /// An output that costs more to spend than it is worth.
    #[error("dust")]
    Dust {
        /// Index of the output.
        output: usize,
        /// Least value that is not dust.
        needed_sat: u64,
    },
    /// Lock time in the future (BIP 113).
    #[error("non-final")]
    NonFinal,
    /// Relative lock time in the future (BIP 68).
    #[error("non-BIP68-final")]
    NonBip68Final,
    /// The very same transaction waits already.
    #[error("txn-already-in-mempool")]
    AlreadyInMempool,
    /// The same transaction with another witness waits already.
    #[error("txn-same-nonwitness-data-in-mempool")]
    SameInMempool,
    /// The transaction is confirmed.
    #[error("txn-already-known")]
    AlreadyKnown,
    /// It spends what does not exist or is spent.
    #[error("bad-txns-inputs-missingorspent")]
    MissingInputs {
        /// The first such output.
        outpoint: OutPoint,
    },
    /// It spends a coinbase of fewer than 100 confirmations.
    #[error("bad-txns-premature-spend-of-coinbase")]
    ImmatureCoinbase {
        /// The coinbase output.
        outpoint: OutPoint,
    },
    /// Its inputs are worth more than all bitcoin.
    #[error("bad-txns-inputvalues-outofrange")]
    InputValues,
    /// It pays out more than it takes in.
    #[error("bad-txns-in-belowout")]
    InBelowOut {
        /// Sum of the inputs.
        in_sat: u64,
        /// Sum of the outputs.
        out_sat: u64,
    },
    /// It spends an output of no standard form.
    #[error("bad-txns-nonstandard-inputs")]
    NonStandardInput {
        /// Index of the input.
        input: usize,
    },
    /// A witness of no standard form.
    #[error("bad-witness-nonstandard")]
    NonStandardWitness {
        /// Index of the input.
        input: usize,
    },
    /// Too many signature operations.
    #[error("bad-txns-too-many-sigops")]
    TooManySigops {
        /// Their cost.
        cost: usize,
    },
    /// Below the rolling minimum of a full mempool.
    #[error("mempool min fee not met")]
    MempoolMinFee {
        /// What it pays.
        fee_sat: u64,
        /// What it would have to pay.
        needed_sat: u64,
    },
    /// Below the minimum relay feerate.
    #[error("min relay fee not met")]
    MinRelayFee {
        /// What it pays.
        fee_sat: u64,
        /// What it would have to pay.
        needed_sat: u64,
    },
    /// Too many or too large unconfirmed ancestors or descendants.
    #[error("too-long-mempool-chain")]
    TooLongChain {
        /// The transaction whose limit would be exceeded.
        txid: Txid,
        /// Which limit.
        limit: ChainLimit,
    },
    /// The cluster of connected transactions would be too large.
    #[error("too-large-cluster")]
    TooLargeCluster,
    /// It spends an output of a transaction that it replaces.
    #[error("bad-txns-spends-conflicting-tx")]
    SpendsConflict {
        /// The transaction that is both parent and replaced.
        txid: Txid,
    },
    /// It conflicts with a transaction that did not signal replaceability, and full RBF is off.
    #[error("txn-mempool-conflict")]
    MempoolConflict {
        /// The transaction in the way.
        txid: Txid,
    },
    /// BIP 125 rule 2: a replacement with a new unconfirmed input.
    #[error("replacement-adds-unconfirmed")]
    AddsUnconfirmed {
        /// The new unconfirmed parent.
        txid: Txid,
    },
    /// BIP 125 rule 5: it would evict too many.
    #[error("too many potential replacements")]
    TooManyReplacements {
        /// How many.
        count: usize,
    },
    /// BIP 125 rules 3, 4 or the feerate rule: it pays too little to replace.
    #[error("insufficient fee")]
    InsufficientFee {
        /// What it pays.
        fee_sat: u64,
        /// What it would have to pay.
        needed_sat: u64,
    },
    /// It was evicted at once to keep the size limit.
    #[error("mempool full")]
    MempoolFull,
    /// A script was not satisfied.
    #[error("mempool-script-verify-flag-failed (input {input})")]
    Script {
        /// Index of the input.
        input: usize,
    },
}

impl TxReject {
    /// Whether a child that pays for it could change the answer.
    #[must_use]
    pub fn is_fee_related(&self) -> bool {
        matches!(
            self,
            Self::MempoolMinFee { .. } | Self::MinRelayFee { .. } | Self::MempoolFull
        )
    }
}

/// Which of the four limits on unconfirmed chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainLimit {
    /// Number of ancestors.
    AncestorCount,
    /// Virtual bytes of ancestors.
    AncestorVsize,
    /// Number of descendants.
    DescendantCount,
    /// Virtual bytes of descendants.
    DescendantVsize,
}

/// Why a block is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockReject {
    /// Its hash is above the target.
    #[error("high-hash")]
    HighHash,
    /// Its target is not regtest's.
    #[error("bad-diffbits")]
    BadBits,
    /// Not later than the median of the eleven blocks before.
    #[error("time-too-old")]
    TimeTooOld {
        /// Median time past of the parent.
        median: u32,
    },
    /// More than two hours ahead of the node's clock.
    #[error("time-too-new")]
    TimeTooNew,
    /// Version below 4 (BIP 34, 65, 66).
    #[error("bad-version(0x{version:08x})")]
    BadVersion {
        /// The version.
        version: i32,
    },
    /// Unknown parent.
    #[error("prev-blk-not-found")]
    UnknownParent {
        /// The parent it names.
        parent: BlockHash,
    },
    /// Invalid parent.
    #[error("bad-prevblk")]
    InvalidParent,
    /// This block was found invalid before.
    #[error("duplicate-invalid")]
    DuplicateInvalid,
    /// Merkle root of another list of transactions.
    #[error("bad-txnmrklroot")]
    MerkleRoot,
    /// A transaction repeated so that the merkle root stays the same (CVE-2012-2459).
    #[error("bad-txns-duplicate")]
    DuplicateTransactions,
    /// Empty, or too large without witness.
    #[error("bad-blk-length")]
    Length,
    /// The first transaction is no coinbase.
    #[error("bad-cb-missing")]
    NoCoinbase,
    /// More than one coinbase.
    #[error("bad-cb-multiple")]
    ManyCoinbases,
    /// The coinbase does not begin with the height (BIP 34).
    #[error("bad-cb-height")]
    CoinbaseHeight,
    /// The coinbase pays more than subsidy and fees.
    #[error("bad-cb-amount")]
    CoinbaseAmount {
        /// What it pays.
        paid_sat: u64,
        /// What it may pay.
        limit_sat: u64,
    },
    /// The witness commitment is wrong (BIP 141).
    #[error("bad-witness-merkle-match")]
    WitnessCommitment,
    /// The coinbase's witness is not one item of 32 bytes.
    #[error("bad-witness-nonce-size")]
    WitnessNonce,
    /// Witness data without commitment.
    #[error("unexpected-witness")]
    UnexpectedWitness,
    /// Heavier than 4,000,000 weight units.
    #[error("bad-blk-weight")]
    Weight,
    /// Too many signature operations.
    #[error("bad-blk-sigops")]
    Sigops,
    /// A transaction that is locked (BIP 68, 113).
    #[error("bad-txns-nonfinal")]
    NonFinal {
        /// The transaction.
        txid: Txid,
    },
    /// A script that was not satisfied.
    #[error("block-script-verify-flag-failed (input {input})")]
    Script {
        /// The transaction.
        txid: Txid,
        /// Index of the input.
        input: usize,
    },
    /// Any other rule of transactions.
    #[error("{cause}")]
    Transaction {
        /// The transaction.
        txid: Txid,
        /// The rule.
        #[source]
        cause: TxReject,
    },
}

/// Why mining did not give a block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MineError {
    /// A transaction asked for is not in the mempool.
    #[error("transaction {txid} is not in the mempool")]
    UnknownTransaction {
        /// The transaction.
        txid: Txid,
    },
    /// A reorganisation deeper than the chain.
    #[error("cannot take back {depth} blocks of a chain of height {height}")]
    TooDeep {
        /// Blocks asked for.
        depth: u32,
        /// Height of the tip.
        height: u32,
    },
    /// The block that was made breaks a rule.
    #[error("the mined block is refused: {cause}")]
    Refused {
        /// The rule.
        #[from]
        #[source]
        cause: BlockReject,
    },
}
