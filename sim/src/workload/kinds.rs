//! Owns the table of the kinds of faults that plans are drawn from: family, name, weight, whom a kind may hit, and whether it
//! may close Lightning channels. Does not own when faults happen (`faults`) nor what they do (the worlds).

use crate::scenario::Family;

/// Whom a kind of fault may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// The link between any two endpoints that talk to each other.
    Link,
    /// The link between the chain and one who listens to it: what goes there is not part of a byte stream.
    ChainLink,
    /// Any process: node, engine, gateway or chain.
    Process,
    /// A node, or the engine at a point of an input.
    NodeOrPoint,
    /// A node or the engine: they have disks.
    Disk,
    /// A node that is not the operator's.
    Outsider,
    /// A channel, and one of its nodes that is not the operator's.
    Channel,
    /// The chain and its backend.
    Chain,
    /// An on-chain payment.
    OnchainPayment,
    /// An on-chain charge.
    OnchainCharge,
    /// A SEPA payout.
    SepaPayout,
    /// Somebody who must sign for a wallet of the operator's.
    Cosigner,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultKind {
    /// Switched on and off as a whole.
    pub family: Family,
    /// As in scenario files.
    pub name: &'static str,
    /// How often it is drawn, against the others of its family.
    pub weight: u32,
    /// Whom.
    pub hits: Hits,
    /// It may make the node lose state, so that its peers close their channels: kept off the operator's node and its peers.
    pub closes: bool,
}

impl FaultKind {
    /// `family/name`, unique.
    pub fn key(&self) -> String {
        format!("{}/{}", self.family.as_str(), self.name)
    }
}

const fn kind(family: Family, name: &'static str, weight: u32, hits: Hits) -> FaultKind {
    FaultKind {
        family,
        name,
        weight,
        hits,
        closes: false,
    }
}

const fn closing(family: Family, name: &'static str, weight: u32, hits: Hits) -> FaultKind {
    FaultKind {
        family,
        name,
        weight,
        hits,
        closes: true,
    }
}

/// All kinds. `process/crash` and `chain/reorg` are steps of their own in scenario files.
pub const KINDS: &[FaultKind] = &[
    kind(Family::Link, "partition", 4, Hits::Link),
    kind(Family::Link, "one-way", 3, Hits::Link),
    kind(Family::Link, "clog", 2, Hits::Link),
    kind(Family::Link, "half-open", 2, Hits::Link),
    kind(Family::Link, "disconnect", 3, Hits::Link),
    kind(Family::Link, "delay", 2, Hits::Link),
    kind(Family::Link, "spikes", 2, Hits::Link),
    kind(Family::Link, "reorder", 2, Hits::ChainLink),
    kind(Family::Link, "duplicate", 2, Hits::ChainLink),
    kind(Family::Link, "loss", 3, Hits::Link),
    kind(Family::Process, "crash", 5, Hits::NodeOrPoint),
    kind(Family::Process, "kill", 4, Hits::Process),
    closing(Family::Process, "kill-at-write", 3, Hits::Disk),
    kind(Family::Process, "pause", 2, Hits::Process),
    closing(Family::Process, "stale-restart", 1, Hits::Outsider),
    kind(Family::Process, "slow-start", 1, Hits::Process),
    closing(Family::Disk, "torn", 2, Hits::Disk),
    closing(Family::Disk, "lost", 2, Hits::Disk),
    kind(Family::Disk, "slow", 2, Hits::Disk),
    closing(Family::Disk, "failed-sync", 2, Hits::Disk),
    closing(Family::Disk, "full", 2, Hits::Disk),
    closing(Family::Disk, "read-error", 1, Hits::Disk),
    closing(Family::Disk, "bit-flip", 1, Hits::Disk),
    kind(Family::Clock, "skew", 3, Hits::Process),
    kind(Family::Clock, "step", 2, Hits::Process),
    kind(Family::Clock, "drift", 2, Hits::Process),
    kind(Family::Chain, "reorg", 5, Hits::Chain),
    kind(Family::Chain, "late-blocks", 2, Hits::Chain),
    kind(Family::Chain, "empty-blocks", 2, Hits::Chain),
    kind(Family::Chain, "fee-spike", 2, Hits::Chain),
    kind(Family::Chain, "evict", 2, Hits::OnchainPayment),
    kind(Family::Chain, "replace", 2, Hits::OnchainCharge),
    kind(Family::Chain, "lag", 2, Hits::Chain),
    kind(Family::Chain, "stop", 2, Hits::Chain),
    kind(Family::Chain, "lie", 2, Hits::Chain),
    kind(Family::Http, "lose-response", 3, Hits::SepaPayout),
    kind(Family::Http, "lose-request", 2, Hits::SepaPayout),
    kind(Family::Http, "slow-response", 2, Hits::SepaPayout),
    kind(Family::Http, "slow-body", 2, Hits::SepaPayout),
    kind(Family::Http, "cut-body", 2, Hits::SepaPayout),
    kind(Family::Http, "too-many-requests", 2, Hits::SepaPayout),
    kind(Family::Http, "forget-key", 1, Hits::SepaPayout),
    kind(Family::Http, "reorder-webhooks", 2, Hits::SepaPayout),
    kind(Family::Http, "wrong-amount", 2, Hits::SepaPayout),
    kind(Family::Http, "duplicate-webhook", 2, Hits::SepaPayout),
    kind(Family::Http, "delay-webhook", 2, Hits::SepaPayout),
    kind(Family::Http, "drop-webhook", 2, Hits::SepaPayout),
    kind(Family::Http, "wrong-signature", 2, Hits::SepaPayout),
    kind(Family::Http, "forged-webhook", 2, Hits::SepaPayout),
    kind(Family::Http, "reject", 1, Hits::SepaPayout),
    kind(Family::Http, "return", 2, Hits::SepaPayout),
    kind(Family::Http, "server-error", 2, Hits::SepaPayout),
    kind(Family::Peer, "withhold-htlc", 3, Hits::Outsider),
    kind(Family::Peer, "silent", 2, Hits::Outsider),
    closing(Family::Peer, "revoked", 1, Hits::Channel),
    kind(Family::Cosigner, "absent", 3, Hits::Cosigner),
    kind(Family::Cosigner, "undecided", 3, Hits::Cosigner),
    kind(Family::Cosigner, "refuse", 3, Hits::Cosigner),
    kind(Family::Cosigner, "alter", 2, Hits::Cosigner),
    kind(Family::Cosigner, "wrong-sighash", 2, Hits::Cosigner),
    kind(Family::Cosigner, "something-else", 2, Hits::Cosigner),
    kind(Family::Cosigner, "twice", 2, Hits::Cosigner),
    kind(Family::Cosigner, "somebody-elses", 2, Hits::Cosigner),
    kind(Family::Cosigner, "leave-out", 2, Hits::Cosigner),
    kind(Family::Cosigner, "garbage", 1, Hits::Cosigner),
];

/// The kind under `family/name`.
pub fn by_key(key: &str) -> Option<&'static FaultKind> {
    KINDS.iter().find(|kind| kind.key() == key)
}
