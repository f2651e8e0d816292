//! Owns what each kind of trouble is called, how long it lasts, and its canonical line. Does not own the kinds.

use super::{
    ChainFaultKind, ClockFaultKind, CosignerFaultKind, DiskFaultKind, LinkFaultKind, PeerFaultKind,
    ProcessFaultKind, Trouble,
};
use crate::scenario::model::Millis;
use std::fmt::{self, Display, Formatter};

impl LinkFaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::OneWay { .. } => "one-way",
            Self::Clog { .. } => "clog",
            Self::HalfOpen { .. } => "half-open",
            Self::Disconnect => "disconnect",
            Self::Delay { .. } => "delay",
            Self::Spikes { .. } => "spikes",
            Self::Reorder { .. } => "reorder",
            Self::Duplicate { .. } => "duplicate",
            Self::Loss { .. } => "loss",
        }
    }

    pub(super) fn lasts(self) -> Option<Millis> {
        match self {
            Self::Disconnect => None,
            Self::Partition { lasts }
            | Self::OneWay { lasts }
            | Self::Clog { lasts }
            | Self::HalfOpen { lasts }
            | Self::Delay { lasts, .. }
            | Self::Spikes { lasts, .. }
            | Self::Reorder { lasts, .. }
            | Self::Duplicate { lasts }
            | Self::Loss { lasts } => Some(lasts),
        }
    }
}

impl ProcessFaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::KillAtWrite { .. } => "kill-at-write",
            Self::Pause { .. } => "pause",
            Self::StaleRestart { .. } => "stale-restart",
            Self::SlowStart { .. } => "slow-start",
        }
    }

    pub(super) fn lasts(self) -> Millis {
        match self {
            Self::Kill { down_for }
            | Self::KillAtWrite { down_for, .. }
            | Self::StaleRestart { down_for, .. } => down_for,
            Self::Pause { lasts } | Self::SlowStart { lasts } => lasts,
        }
    }
}

impl DiskFaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Torn { .. } => "torn",
            Self::Lost { .. } => "lost",
            Self::Slow { .. } => "slow",
            Self::FailedSync { .. } => "failed-sync",
            Self::Full { .. } => "full",
            Self::ReadError { .. } => "read-error",
            Self::BitFlip { .. } => "bit-flip",
        }
    }

    pub(super) fn lasts(self) -> Millis {
        match self {
            Self::Torn { down_for } | Self::Lost { down_for } => down_for,
            Self::Slow { lasts, .. }
            | Self::FailedSync { lasts }
            | Self::Full { lasts }
            | Self::ReadError { lasts }
            | Self::BitFlip { lasts } => lasts,
        }
    }
}

impl ClockFaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Skew { .. } => "skew",
            Self::Step { .. } => "step",
            Self::Drift { .. } => "drift",
        }
    }

    pub(super) fn lasts(self) -> Option<Millis> {
        match self {
            Self::Step { .. } => None,
            Self::Skew { lasts, .. } | Self::Drift { lasts, .. } => Some(lasts),
        }
    }
}

impl ChainFaultKind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::LateBlocks { .. } => "late-blocks",
            Self::EmptyBlocks { .. } => "empty-blocks",
            Self::FeeSpike { .. } => "fee-spike",
            Self::Evict { .. } => "evict",
            Self::Replace { .. } => "replace",
            Self::Lag { .. } => "lag",
            Self::Stop { .. } => "stop",
            Self::Lie { .. } => "lie",
        }
    }

    pub(super) fn lasts(&self) -> Option<Millis> {
        match self {
            Self::Evict { .. } | Self::Replace { .. } => None,
            Self::LateBlocks { lasts }
            | Self::EmptyBlocks { lasts }
            | Self::FeeSpike { lasts, .. }
            | Self::Lag { lasts, .. }
            | Self::Stop { lasts }
            | Self::Lie { lasts } => Some(*lasts),
        }
    }
}

impl PeerFaultKind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::WithholdHtlc { .. } => "withhold-htlc",
            Self::Silent { .. } => "silent",
            Self::Revoked { .. } => "revoked",
        }
    }

    pub(super) fn lasts(&self) -> Option<Millis> {
        match self {
            Self::Revoked { .. } => None,
            Self::WithholdHtlc { lasts } | Self::Silent { lasts } => Some(*lasts),
        }
    }
}

impl CosignerFaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Absent { .. } => "absent",
            Self::Undecided { .. } => "undecided",
            Self::Refuse { .. } => "refuse",
            Self::Alter { .. } => "alter",
            Self::WrongSighash { .. } => "wrong-sighash",
            Self::SomethingElse { .. } => "something-else",
            Self::Twice { .. } => "twice",
            Self::SomebodyElses { .. } => "somebody-elses",
            Self::LeaveOut { .. } => "leave-out",
            Self::Garbage { .. } => "garbage",
        }
    }

    pub(super) fn lasts(self) -> Millis {
        match self {
            Self::Absent { lasts }
            | Self::Undecided { lasts }
            | Self::Refuse { lasts }
            | Self::Alter { lasts }
            | Self::WrongSighash { lasts }
            | Self::SomethingElse { lasts }
            | Self::Twice { lasts }
            | Self::SomebodyElses { lasts }
            | Self::LeaveOut { lasts }
            | Self::Garbage { lasts } => lasts,
        }
    }
}

/// ` behind`, or nothing.
fn behind(behind: bool) -> &'static str {
    if behind { " behind" } else { "" }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (family, name) = (self.family().as_str(), self.name());
        match self {
            Self::Link { between, .. } => {
                write!(f, "{family} {name} {} <-> {}", between.0, between.1)?;
            }
            Self::Process { of, .. } | Self::Disk { of, .. } | Self::Clock { of, .. } => {
                write!(f, "{family} {name} {of}")?;
            }
            Self::Chain(_) => write!(f, "{family} {name}")?,
            Self::Peer { of, .. } => write!(f, "{family} {name} {of}")?,
            Self::Cosigner { of, .. } => write!(f, "{family} {name} {of}")?,
        }
        self.fmt_details(f)?;
        match self.lasts() {
            Some(lasts) => write!(f, " for {lasts}"),
            None => Ok(()),
        }
    }
}

impl Trouble {
    fn fmt_details(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { kind, .. } => match kind {
                LinkFaultKind::Delay { by, .. }
                | LinkFaultKind::Spikes { by, .. }
                | LinkFaultKind::Reorder { by, .. } => write!(f, " by {by}"),
                _ => Ok(()),
            },
            Self::Process { kind, .. } => match kind {
                ProcessFaultKind::KillAtWrite { write, .. } => write!(f, " {write}"),
                ProcessFaultKind::StaleRestart { age, .. } => write!(f, " by {age}"),
                _ => Ok(()),
            },
            Self::Disk { kind, .. } => match kind {
                DiskFaultKind::Slow { by, .. } => write!(f, " by {by}"),
                _ => Ok(()),
            },
            Self::Clock { kind, .. } => match kind {
                ClockFaultKind::Skew { by, behind: b, .. }
                | ClockFaultKind::Step { by, behind: b } => {
                    write!(f, " by {by}{}", behind(*b))
                }
                ClockFaultKind::Drift { ppm, behind: b, .. } => {
                    write!(f, " by {ppm} ppm{}", behind(*b))
                }
            },
            Self::Chain(kind) => match kind {
                ChainFaultKind::FeeSpike { feerate, .. } => write!(f, " {feerate}"),
                ChainFaultKind::Evict { on } | ChainFaultKind::Replace { on } => {
                    write!(f, " {on}")
                }
                ChainFaultKind::Lag { by, .. } => write!(f, " by {by}"),
                _ => Ok(()),
            },
            Self::Peer { kind, .. } => match kind {
                PeerFaultKind::Revoked { channel } => write!(f, " {channel}"),
                PeerFaultKind::WithholdHtlc { .. } | PeerFaultKind::Silent { .. } => Ok(()),
            },
            Self::Cosigner { .. } => Ok(()),
        }
    }
}
