//! Owns trouble in the checked scenario: faults of links, processes, disks, clocks, the chain and peers, each of a family,
//! with the scope that it hits and how long it lasts. Does not own what the gateway does wrong (`model::GatewayFault`)
//! nor how a world brings trouble about.

mod gateway;
mod layer0;
mod words;

pub use gateway::{GatewayFault, GatewayFaultKind};
pub use layer0::{About, Layer0Fault, Layer0FaultKind};

use super::model::{
    Blocks, ChannelName, CosignerName, Feerate, Millis, NodeName, PaymentName, World,
};
use std::fmt::{self, Display, Formatter};

/// What breaks. Families are switched on and off as a whole when plans are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Bytes between two endpoints.
    Link,
    /// A process dies, stands still, or comes back wrong.
    Process,
    /// What a process keeps.
    Disk,
    /// What a process takes for the time.
    Clock,
    /// Blocks, mempool and fee market, and the backend that tells of them.
    Chain,
    /// Requests to the gateway and its webhooks.
    Http,
    /// A Lightning node that does not keep to the protocol.
    Peer,
    /// A cosigner who does not do what he is asked to.
    Cosigner,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 8] = [
        Family::Link,
        Family::Process,
        Family::Disk,
        Family::Clock,
        Family::Chain,
        Family::Http,
        Family::Peer,
        Family::Cosigner,
    ];

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Process => "process",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Chain => "chain",
            Self::Http => "http",
            Self::Peer => "peer",
            Self::Cosigner => "cosigner",
        }
    }
}

/// Somebody with a process of his own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A Lightning node.
    Node(NodeName),
    /// The payment engine's host.
    Engine,
    /// The fiat gateway.
    Gateway,
    /// Layer 0; there only if somebody has a DID.
    Layer0,
    /// The chain's backend: bitcoind with electrs.
    Chain,
}

impl Endpoint {
    /// Its name in files, traces and on links.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Node(name) => name.as_str(),
            Self::Engine => "engine",
            Self::Gateway => "gateway",
            Self::Layer0 => "layer0",
            Self::Chain => "chain",
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Trouble of any family but HTTP. Spans are above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Between two endpoints.
    Link {
        /// Two different ones; a fault with a direction goes from the first to the second.
        between: (Endpoint, Endpoint),
        /// What.
        kind: LinkFaultKind,
    },
    /// With a process.
    Process {
        /// Whose.
        of: Endpoint,
        /// What.
        kind: ProcessFaultKind,
    },
    /// With what a process keeps.
    Disk {
        /// A node or the engine.
        of: Endpoint,
        /// What.
        kind: DiskFaultKind,
    },
    /// With what a process takes for the time.
    Clock {
        /// Whose.
        of: Endpoint,
        /// What.
        kind: ClockFaultKind,
    },
    /// With the chain.
    Chain(ChainFaultKind),
    /// With a peer.
    Peer {
        /// Never the operator's node.
        of: NodeName,
        /// What.
        kind: PeerFaultKind,
    },
    /// With a cosigner.
    Cosigner {
        /// Who.
        of: CosignerName,
        /// What.
        kind: CosignerFaultKind,
    },
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFaultKind {
    /// No byte passes in either direction; what is held for long is reset.
    Partition {
        /// How long.
        lasts: Millis,
    },
    /// As a partition, from the first to the second only.
    OneWay {
        /// How long.
        lasts: Millis,
    },
    /// Bytes are held and then all arrive at once; nothing is reset.
    Clog {
        /// How long.
        lasts: Millis,
    },
    /// The first end loses its connections; the second does not notice.
    HalfOpen {
        /// For how long.
        lasts: Millis,
    },
    /// The connection is lost once.
    Disconnect,
    /// Messages take longer.
    Delay {
        /// How much longer.
        by: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Some messages take much longer.
    Spikes {
        /// At most so much longer.
        by: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Messages that are not part of a byte stream overtake each other.
    Reorder {
        /// By at most so much.
        by: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Messages that are not part of a byte stream arrive twice.
    Duplicate {
        /// How long.
        lasts: Millis,
    },
    /// Half of the messages are lost, and each loss resets the connection.
    Loss {
        /// How long.
        lasts: Millis,
    },
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessFaultKind {
    /// It dies wherever it stands.
    Kill {
        /// Until it is started again.
        down_for: Millis,
    },
    /// It dies in the middle of its work, right after a write to its disk.
    KillAtWrite {
        /// The how manieth write from now, from 1.
        write: u32,
        /// Until it is started again.
        down_for: Millis,
    },
    /// It stands still; its connections stay.
    Pause {
        /// How long.
        lasts: Millis,
    },
    /// It dies, and is started again from what its disk held some time before.
    StaleRestart {
        /// How old.
        age: Millis,
        /// Until it is started again.
        down_for: Millis,
    },
    /// It dies, is started again at once, and answers nobody for a while.
    SlowStart {
        /// How long.
        lasts: Millis,
    },
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaultKind {
    /// The process dies at its next write, of which a part is on the disk.
    Torn {
        /// Until it is started again.
        down_for: Millis,
    },
    /// The process dies before its next sync; what was written since the last one is lost.
    Lost {
        /// Until it is started again.
        down_for: Millis,
    },
    /// Each sync takes longer.
    Slow {
        /// How much longer.
        by: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Syncs fail.
    FailedSync {
        /// How long.
        lasts: Millis,
    },
    /// Writes fail: no space is left.
    Full {
        /// How long.
        lasts: Millis,
    },
    /// Reads fail; the process is started anew, so that it reads.
    ReadError {
        /// How long.
        lasts: Millis,
    },
    /// One bit of what is kept is turned, and the process is started anew; afterwards the disk is put back in order.
    BitFlip {
        /// How long.
        lasts: Millis,
    },
}

/// What happens to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFaultKind {
    /// It is wrong by so much for a while.
    Skew {
        /// How much.
        by: Millis,
        /// Slow instead of fast.
        behind: bool,
        /// How long.
        lasts: Millis,
    },
    /// It jumps, and stays wrong until the run heals.
    Step {
        /// How far.
        by: Millis,
        /// Back instead of ahead.
        behind: bool,
    },
    /// It runs too fast or too slow for a while.
    Drift {
        /// Millionths, above zero.
        ppm: u32,
        /// Too slow instead of too fast.
        behind: bool,
        /// How long.
        lasts: Millis,
    },
}

/// What happens to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFaultKind {
    /// Blocks that would be mined are found only at the end, all at once.
    LateBlocks {
        /// How long.
        lasts: Millis,
    },
    /// Blocks hold nothing but their coinbase.
    EmptyBlocks {
        /// How long.
        lasts: Millis,
    },
    /// A transaction needs this feerate to be mined.
    FeeSpike {
        /// Above zero.
        feerate: Feerate,
        /// How long.
        lasts: Millis,
    },
    /// The payment's unconfirmed transaction is dropped from mempools.
    Evict {
        /// An on-chain payment.
        on: PaymentName,
    },
    /// An outsider replaces its unconfirmed payment by one to itself (BIP 125).
    Replace {
        /// An on-chain charge.
        on: PaymentName,
    },
    /// The backend shows the chain as it was some blocks before.
    Lag {
        /// How far behind.
        by: Blocks,
        /// How long.
        lasts: Millis,
    },
    /// The backend answers nobody.
    Stop {
        /// How long.
        lasts: Millis,
    },
    /// The backend denies transactions that it knows.
    Lie {
        /// How long.
        lasts: Millis,
    },
}

/// What a peer does against the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerFaultKind {
    /// It neither forwards, claims nor fails the HTLCs that it gets.
    WithholdHtlc {
        /// How long.
        lasts: Millis,
    },
    /// It stays connected and says nothing.
    Silent {
        /// How long.
        lasts: Millis,
    },
    /// It broadcasts a revoked commitment transaction (BOLT 5).
    Revoked {
        /// One of its channels.
        channel: ChannelName,
    },
}

/// What a cosigner does instead of signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CosignerFaultKind {
    /// He cannot be reached.
    Absent {
        /// How long.
        lasts: Millis,
    },
    /// He does not decide.
    Undecided {
        /// How long.
        lasts: Millis,
    },
    /// He refuses.
    Refuse {
        /// How long.
        lasts: Millis,
    },
    /// He signs another transaction, and gives that back.
    Alter {
        /// How long.
        lasts: Millis,
    },
    /// His signatures leave outputs and other inputs open.
    WrongSighash {
        /// How long.
        lasts: Millis,
    },
    /// His signatures are of another transaction than he gives back.
    SomethingElse {
        /// How long.
        lasts: Millis,
    },
    /// He signs with a second key of his, too.
    Twice {
        /// How long.
        lasts: Millis,
    },
    /// He gives the signature of another one in place of his own.
    SomebodyElses {
        /// How long.
        lasts: Millis,
    },
    /// He leaves the last input out.
    LeaveOut {
        /// How long.
        lasts: Millis,
    },
    /// What he gives back is no PSBT.
    Garbage {
        /// How long.
        lasts: Millis,
    },
}

impl Trouble {
    /// The family.
    pub fn family(&self) -> Family {
        match self {
            Self::Link { .. } => Family::Link,
            Self::Process { .. } => Family::Process,
            Self::Disk { .. } => Family::Disk,
            Self::Clock { .. } => Family::Clock,
            Self::Chain(_) => Family::Chain,
            Self::Peer { .. } => Family::Peer,
            Self::Cosigner { .. } => Family::Cosigner,
        }
    }

    /// The fault's name, as in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Link { kind, .. } => kind.name(),
            Self::Process { kind, .. } => kind.name(),
            Self::Disk { kind, .. } => kind.name(),
            Self::Clock { kind, .. } => kind.name(),
            Self::Chain(kind) => kind.name(),
            Self::Peer { kind, .. } => kind.name(),
            Self::Cosigner { kind, .. } => kind.name(),
        }
    }

    /// Whom it hits.
    pub fn scope(&self) -> String {
        match self {
            Self::Link { between, .. } => format!("{}-{}", between.0, between.1),
            Self::Process { of, .. } | Self::Disk { of, .. } | Self::Clock { of, .. } => {
                of.to_string()
            }
            Self::Chain(ChainFaultKind::Evict { on } | ChainFaultKind::Replace { on }) => {
                on.to_string()
            }
            Self::Chain(_) => Endpoint::Chain.to_string(),
            Self::Peer { of, .. } => of.to_string(),
            Self::Cosigner { of, .. } => of.to_string(),
        }
    }

    /// How long it lasts; `None`: it happens once, or stays until the run heals.
    pub fn lasts(&self) -> Option<Millis> {
        match self {
            Self::Link { kind, .. } => kind.lasts(),
            Self::Process { kind, .. } => Some(kind.lasts()),
            Self::Disk { kind, .. } => Some(kind.lasts()),
            Self::Clock { kind, .. } => kind.lasts(),
            Self::Chain(kind) => kind.lasts(),
            Self::Peer { kind, .. } => kind.lasts(),
            Self::Cosigner { kind, .. } => Some(kind.lasts()),
        }
    }

    /// Whether the regtest world can do it to real parts (`worlds::regtest::faults`). A disk that is full is none: LDK panics
    /// when a monitor is not stored.
    fn has_a_real_part(&self) -> bool {
        match self {
            Self::Link { between, kind } => match (&between.0, &between.1) {
                (Endpoint::Node(_), Endpoint::Node(_)) => matches!(
                    kind,
                    LinkFaultKind::Partition { .. }
                        | LinkFaultKind::Disconnect
                        | LinkFaultKind::Delay { .. }
                ),
                (Endpoint::Engine, Endpoint::Gateway | Endpoint::Layer0)
                | (Endpoint::Gateway | Endpoint::Layer0, Endpoint::Engine) => {
                    matches!(kind, LinkFaultKind::Partition { .. })
                }
                _ => false,
            },
            Self::Process { of, kind } => match of {
                Endpoint::Chain | Endpoint::Engine | Endpoint::Gateway | Endpoint::Layer0 => {
                    matches!(
                        kind,
                        ProcessFaultKind::Kill { .. }
                            | ProcessFaultKind::Pause { .. }
                            | ProcessFaultKind::SlowStart { .. }
                    )
                }
                Endpoint::Node(_) => matches!(kind, ProcessFaultKind::Kill { .. }),
            },
            Self::Chain(kind) => matches!(
                kind,
                ChainFaultKind::LateBlocks { .. }
                    | ChainFaultKind::EmptyBlocks { .. }
                    | ChainFaultKind::FeeSpike { .. }
                    | ChainFaultKind::Stop { .. }
            ),
            // The same emulated people sign in both worlds.
            Self::Cosigner { .. } => true,
            Self::Disk { .. } | Self::Clock { .. } | Self::Peer { .. } => false,
        }
    }

    /// Whether it can be brought about in this world.
    pub fn is_possible_in(&self, world: World) -> bool {
        match world {
            World::Simulated => true,
            World::Regtest => self.has_a_real_part(),
        }
    }
}
