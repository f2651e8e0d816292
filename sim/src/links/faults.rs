//! Owns the faults of links that last: which path each one hits, and what it does to chunks and messages there. Pure, so
//! that each kind can be asked without a network. Does not own time, connections, or the counting of effects.
//!
//! Several faults of one link add up: delays are summed, and whatever holds bytes back holds them until it ends.

use crate::faults::FaultId;
use crate::prng::Stream;
use crate::scenario::LinkFaultKind;
use std::collections::BTreeMap;
use std::time::Duration;

/// Chunks and messages in a million that a lossy link loses.
const LOSS_PER_MILLION: u32 = 500_000;

/// Chunks and messages in a million that take much longer while there are spikes: few enough that most are in time.
const SPIKES_PER_MILLION: u32 = 300_000;

/// Messages in a million that are held so that later ones overtake them.
const REORDER_PER_MILLION: u32 = 500_000;

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cargo {
    /// A part of a connection's byte stream.
    Chunk,
    /// A message of its own.
    Message,
}

/// What holds cargo back at its destination's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nothing passes; who waits for long gives up.
    Cut(FaultId),
    /// Nothing passes until the end, and nobody gives up.
    Clog(FaultId),
    /// It goes nowhere; who waits for it learns so at the end.
    Silence(FaultId),
}

impl Obstacle {
    pub(super) fn fault(self) -> FaultId {
        match self {
            Self::Cut(fault) | Self::Clog(fault) | Self::Silence(fault) => fault,
        }
    }
}

/// What became of cargo at its departure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Departure {
    /// How much longer it takes.
    pub(super) delay: Duration,
    /// The fault that loses it.
    pub(super) lost: Option<FaultId>,
    /// Faults that delay it.
    pub(super) delayed: Vec<FaultId>,
    /// The fault that lets later messages overtake it.
    pub(super) held_for_reorder: Option<FaultId>,
}

struct Active {
    first: String,
    second: String,
    kind: LinkFaultKind,
    /// A half-open fault that waits for a connection to hit.
    armed: bool,
}

impl Active {
    fn leads(&self, from: &str, to: &str) -> bool {
        self.first == from && self.second == to
    }

    fn joins(&self, from: &str, to: &str) -> bool {
        self.leads(from, to) || self.leads(to, from)
    }
}

/// The active ones, in the order of their beginning.
#[derive(Default)]
pub(super) struct LinkFaults(BTreeMap<FaultId, Active>);

impl LinkFaults {
    pub(super) fn begin(&mut self, between: (&str, &str), kind: LinkFaultKind, fault: FaultId) {
        let active = Active {
            first: between.0.to_owned(),
            second: between.1.to_owned(),
            kind,
            armed: matches!(kind, LinkFaultKind::HalfOpen { .. }),
        };
        self.0.insert(fault, active);
    }

    /// False if it was not active.
    pub(super) fn end(&mut self, fault: FaultId) -> bool {
        self.0.remove(&fault).is_some()
    }

    fn find(&self, hits: impl Fn(&Active) -> bool) -> Option<FaultId> {
        let mut hitting = self.0.iter().filter(|(_, active)| hits(active));
        hitting.next().map(|(fault, _)| *fault)
    }

    /// The fault that keeps the two from connecting: a handshake needs both directions.
    pub(super) fn refusing(&self, from: &str, to: &str) -> Option<FaultId> {
        let cuts = |kind| {
            matches!(
                kind,
                LinkFaultKind::Partition { .. } | LinkFaultKind::OneWay { .. }
            )
        };
        self.find(|active| cuts(active.kind) && active.joins(from, to))
    }

    /// What holds cargo back on this path now.
    pub(super) fn obstacle(&self, from: &str, to: &str, cargo: Cargo) -> Option<Obstacle> {
        let obstacle = |(fault, active): (&FaultId, &Active)| match active.kind {
            LinkFaultKind::Partition { .. } if active.joins(from, to) => {
                Some(Obstacle::Cut(*fault))
            }
            LinkFaultKind::OneWay { .. } if active.leads(from, to) => Some(Obstacle::Cut(*fault)),
            LinkFaultKind::Clog { .. } if active.joins(from, to) => Some(Obstacle::Clog(*fault)),
            LinkFaultKind::HalfOpen { .. } if cargo == Cargo::Message && active.leads(to, from) => {
                Some(Obstacle::Silence(*fault))
            }
            _ => None,
        };
        self.0.iter().find_map(obstacle)
    }

    /// The fault that doubles messages on this path.
    pub(super) fn doubling(&self, from: &str, to: &str) -> Option<FaultId> {
        let doubles = |kind| matches!(kind, LinkFaultKind::Duplicate { .. });
        self.find(|active| doubles(active.kind) && active.joins(from, to))
    }

    /// The half-open fault that has not hit any connection of the two yet; it counts as hit from now on.
    pub(super) fn take_armed(&mut self, a: &str, b: &str) -> Option<FaultId> {
        let mut waiting = self
            .0
            .iter_mut()
            .filter(|(_, active)| active.armed && active.joins(a, b));
        let (fault, active) = waiting.next()?;
        active.armed = false;
        Some(*fault)
    }

    /// The end that loses its connections by this half-open fault.
    pub(super) fn first_end(&self, fault: FaultId) -> Option<&str> {
        self.0.get(&fault).map(|active| active.first.as_str())
    }

    /// Both ends of an active fault, as they were named.
    pub(super) fn ends(&self, fault: FaultId) -> Option<(String, String)> {
        let active = self.0.get(&fault)?;
        Some((active.first.clone(), active.second.clone()))
    }

    /// Draws what happens to cargo that leaves now. Without an active fault nothing is drawn.
    pub(super) fn depart(
        &self,
        (from, to): (&str, &str),
        cargo: Cargo,
        draws: &mut Stream,
    ) -> Departure {
        let mut departure = Departure::default();
        for (fault, active) in self.0.iter().filter(|(_, active)| active.joins(from, to)) {
            match active.kind {
                LinkFaultKind::Loss { .. } if draws.chance(LOSS_PER_MILLION) => {
                    departure.lost = departure.lost.or(Some(*fault));
                }
                LinkFaultKind::Delay { by, .. } => {
                    departure.delayed.push(*fault);
                    departure.delay += Duration::from_millis(by.get());
                }
                LinkFaultKind::Spikes { by, .. } if draws.chance(SPIKES_PER_MILLION) => {
                    departure.delayed.push(*fault);
                    departure.delay += Duration::from_millis(draws.between(1, by.get()));
                }
                LinkFaultKind::Reorder { by, .. }
                    if cargo == Cargo::Message && draws.chance(REORDER_PER_MILLION) =>
                {
                    departure.held_for_reorder = Some(*fault);
                    departure.delay += Duration::from_millis(draws.between(1, by.get()));
                }
                _ => {}
            }
        }
        departure
    }
}
