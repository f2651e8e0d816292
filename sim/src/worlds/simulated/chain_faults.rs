//! Owns the faults of the chain that last: which blocks are found and with what, and how much of the chain its backend
//! shows. Does not own the chain, nor eviction and replacement of a payment (`run`).
//!
//! Fault model:
//! - *late-blocks*: blocks that are asked for are not found before the end, and then all at once. Reorganisations come all
//!   the same: they are another miner's.
//! - *empty-blocks*: blocks hold nothing but their coinbase. An effect is a block that would have held something.
//! - *fee-spike*: what is mined must pay more. An effect is a block that leaves out what it would have held.
//! - *lag*: the backend shows the chain without its latest blocks, to the engine and to nodes; their transactions are shown
//!   as unconfirmed. Nodes that have seen more stay where they are. An effect is a look that is behind.
//! - *stop*: the engine's looks and broadcasts fail, one half at once and one half after a time-out; nodes' broadcasts
//!   wait; nobody is told of changes. An effect is each of these.
//! - *lie*: the engine is not shown transactions of its wallet that are unconfirmed, or confirmed since the lie began.
//!   An effect is a look that lacks something.
//!
//! At the end of each of them everybody is told to look, and is told the truth.

use crate::faults::FaultId;
use crate::scenario::ChainFaultKind;
use bitcoin::ScriptBuf;
use std::collections::BTreeMap;

/// One that is active.
pub(super) struct Active {
    kind: ChainFaultKind,
    /// Height of the chain at its beginning.
    since_height: u32,
}

/// The active ones, and the blocks that they keep back.
#[derive(Default)]
pub(super) struct ChainFaults {
    active: BTreeMap<FaultId, Active>,
    /// Payout scripts of the blocks that were asked for and not found.
    pub(super) withheld: Vec<ScriptBuf>,
    /// The floor of the fee market without any spike, satoshi per 1,000 virtual bytes.
    pub(super) usual_floor_sat_per_kvb: u64,
}

/// What a look at the chain shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lens {
    /// The highest block shown.
    pub(super) tip_height: u32,
    /// The fault behind which it is.
    pub(super) behind: Option<FaultId>,
    /// A lie, and the height above which it denies.
    pub(super) denied: Option<(FaultId, u32)>,
}

impl ChainFaults {
    pub(super) fn begin(&mut self, kind: ChainFaultKind, fault: FaultId, height: u32) {
        let active = Active {
            kind,
            since_height: height,
        };
        self.active.insert(fault, active);
    }

    /// False if it was not active.
    pub(super) fn end(&mut self, fault: FaultId) -> bool {
        self.active.remove(&fault).is_some()
    }

    fn find(&self, fits: impl Fn(&ChainFaultKind) -> bool) -> Option<FaultId> {
        let mut fitting = self.active.iter().filter(|(_, active)| fits(&active.kind));
        fitting.next().map(|(fault, _)| *fault)
    }

    pub(super) fn late(&self) -> Option<FaultId> {
        self.find(|kind| matches!(kind, ChainFaultKind::LateBlocks { .. }))
    }

    pub(super) fn empty(&self) -> Option<FaultId> {
        self.find(|kind| matches!(kind, ChainFaultKind::EmptyBlocks { .. }))
    }

    pub(super) fn stopped(&self) -> Option<FaultId> {
        self.find(|kind| matches!(kind, ChainFaultKind::Stop { .. }))
    }

    /// The highest floor of all spikes, satoshi per 1,000 virtual bytes.
    pub(super) fn spike(&self) -> Option<(FaultId, u64)> {
        let spikes = self.active.iter().filter_map(|(fault, active)| {
            let ChainFaultKind::FeeSpike { feerate, .. } = &active.kind else {
                return None;
            };
            Some((*fault, feerate.get() * 4))
        });
        spikes.max_by_key(|(_, floor)| *floor)
    }

    /// The floor that holds now.
    pub(super) fn floor_sat_per_kvb(&self) -> u64 {
        let spike = self.spike().map_or(0, |(_, floor)| floor);
        spike.max(self.usual_floor_sat_per_kvb)
    }

    /// How a chain of this height is shown.
    pub(super) fn lens(&self, height: u32) -> Lens {
        let lags = self
            .active
            .iter()
            .filter_map(|(fault, active)| match &active.kind {
                ChainFaultKind::Lag { by, .. } => Some((*fault, by.get() as u32)),
                _ => None,
            });
        let lag = lags.max_by_key(|(_, by)| *by);
        let lies = self
            .active
            .iter()
            .filter(|(_, active)| matches!(active.kind, ChainFaultKind::Lie { .. }));
        let denied = lies.map(|(fault, active)| (*fault, active.since_height));
        Lens {
            tip_height: height.saturating_sub(lag.map_or(0, |(_, by)| by)),
            behind: lag.map(|(fault, _)| fault),
            denied: denied.min_by_key(|(_, height)| *height),
        }
    }
}
