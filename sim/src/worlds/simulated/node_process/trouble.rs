//! Owns what goes wrong with a node process: which faults it is under, what each keeps it from, and counting what they did.
//! Does not own when faults begin and end (`sites`) nor how the disk misbehaves (`lockstep_lightning::MemoryDisk`).
//!
//! Fault model. A process that a fault has killed stays down until that fault ends, and until every other fault that keeps it
//! down has ended. A process whose disk refuses a write stops (fail-stop: an answer that was not stored is never given) and
//! is started again when a fault of its own ends. A process that stands still keeps its connections; what arrives piles up.
//! LDK that panics because it was started from too old a disk is not started again.

use super::life::Ended;
use super::{Incoming, NodeProcess};
use crate::faults::FaultId;
use crate::scenario::{DiskFaultKind, PeerFaultKind, ProcessFaultKind};
use crate::trace::Subsystem;
use crate::worlds::WorldError;
use async_channel::Receiver;
use bitcoin::OutPoint;
use lockstep_lightning::{DiskTrouble, HtlcDirection, Node};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What decides whether a node can be started at all: the only keys that every start reads.
const READ_AT_START: [&str; 3] = ["node", "monitors/", "monitor_updates/"];

/// The faults that a process is under.
#[derive(Default)]
pub(super) struct Troubled {
    /// Keep it down.
    holds: BTreeSet<FaultId>,
    /// The scenario crashed it itself, and will start it itself.
    crashed: bool,
    /// Why it can never run again.
    given_up: Option<String>,
    /// Make it stand still.
    pausing: BTreeSet<FaultId>,
    /// Something came in while it stood still.
    missed: bool,
    silencing: BTreeSet<FaultId>,
    withholding: BTreeSet<FaultId>,
    /// HTLCs that were seen lying.
    withheld: BTreeSet<[u8; 32]>,
    slowing: BTreeMap<FaultId, Duration>,
    /// Keys with a bit turned.
    damaging: BTreeMap<FaultId, String>,
    on_disk: BTreeMap<u32, FaultId>,
    /// It was started from a disk older than what it had answered.
    forgetful: bool,
    /// Settled balances of its channels with the disk's mark, if its disk has a history.
    pub(super) balances: BTreeMap<OutPoint, Vec<(u64, usize)>>,
}

impl NodeProcess {
    fn had_effect(&self, fault: FaultId) {
        let mut faults = self.world.faults.lock().expect("no holder panics");
        faults.had_effect(fault);
    }

    pub(super) fn record(&self, event: Value) {
        let mut trace = self.world.trace.lock();
        trace.record(Subsystem::Lightning, &self.name, event);
    }

    /// A process fault begins.
    pub(in super::super) fn begin_process(
        &self,
        kind: ProcessFaultKind,
        fault: FaultId,
    ) -> Result<(), WorldError> {
        match kind {
            ProcessFaultKind::Kill { .. } => {
                self.kill_for(fault);
            }
            ProcessFaultKind::KillAtWrite { write, .. } => {
                self.trouble_disk(fault, DiskTrouble::DieAfter(write));
            }
            ProcessFaultKind::Pause { .. } => {
                self.state().troubled.pausing.insert(fault);
            }
            ProcessFaultKind::StaleRestart { age, .. } => self.forget(age.get(), fault),
            ProcessFaultKind::SlowStart { .. } => {
                if self.kill() {
                    self.had_effect(fault);
                }
                self.state().troubled.pausing.insert(fault);
                self.start()?;
            }
        }
        Ok(())
    }

    /// A disk fault begins.
    pub(in super::super) fn begin_disk(
        &self,
        kind: DiskFaultKind,
        fault: FaultId,
    ) -> Result<(), WorldError> {
        match kind {
            DiskFaultKind::Torn { .. } => self.trouble_disk(fault, DiskTrouble::Torn),
            DiskFaultKind::Lost { .. } => self.trouble_disk(fault, DiskTrouble::Lost),
            DiskFaultKind::FailedSync { .. } => {
                self.trouble_disk(fault, DiskTrouble::RefuseWrites("the sync failed"));
            }
            DiskFaultKind::Full { .. } => {
                self.trouble_disk(fault, DiskTrouble::RefuseWrites("no space is left"));
            }
            DiskFaultKind::Slow { by, .. } => {
                let by = Duration::from_millis(by.get());
                self.state().troubled.slowing.insert(fault, by);
            }
            DiskFaultKind::ReadError { .. } => {
                self.kill();
                self.trouble_disk(fault, DiskTrouble::RefuseReads("the device cannot read it"));
                self.start()?;
            }
            DiskFaultKind::BitFlip { .. } => {
                self.kill();
                self.flip_a_bit(fault);
                self.start()?;
            }
        }
        Ok(())
    }

    /// The process begins to behave against the protocol. What a revoked commitment needs is in `revoked`.
    pub(in super::super) fn begin_peer(&self, kind: &PeerFaultKind, fault: FaultId) {
        match kind {
            PeerFaultKind::WithholdHtlc { .. } => {
                self.state().troubled.withholding.insert(fault);
                if let Some(node) = self.running() {
                    node.withhold_htlcs(true);
                }
            }
            PeerFaultKind::Silent { .. } => {
                self.state().troubled.silencing.insert(fault);
            }
            PeerFaultKind::Revoked { .. } => {}
        }
    }

    /// Ends what this fault does here, if anything.
    pub(in super::super) fn end_trouble(&self, fault: FaultId) -> Result<(), WorldError> {
        let waiting = self.state().inbox.as_ref().is_some_and(|i| !i.is_empty());
        let (known, missed, damaged, withholds) = {
            let troubled = &mut self.state().troubled;
            let paused = troubled.pausing.remove(&fault);
            let damaged = troubled.damaging.remove(&fault);
            let known = paused
                | troubled.holds.remove(&fault)
                | troubled.silencing.remove(&fault)
                | troubled.withholding.remove(&fault)
                | troubled.slowing.remove(&fault).is_some()
                | troubled.on_disk.remove(&fault.number()).is_some()
                | damaged.is_some();
            let missed = paused && (troubled.missed || waiting);
            let withholds = !troubled.withholding.is_empty();
            (known, missed, damaged, withholds)
        };
        if !known {
            return Ok(());
        }
        if missed {
            self.had_effect(fault);
        }
        self.disk.mend(fault.number());
        if let Some(key) = damaged {
            self.disk.repair(&key);
        }
        let Some(node) = self.running() else {
            return self.start();
        };
        node.withhold_htlcs(withholds);
        // A full channel holds the message already.
        let _ = self.resumed.0.try_send(());
        self.deliver(Incoming::Poke);
        Ok(())
    }

    fn kill_for(&self, fault: FaultId) {
        if self.kill() {
            self.had_effect(fault);
        }
        self.state().troubled.holds.insert(fault);
    }

    fn trouble_disk(&self, fault: FaultId, trouble: DiskTrouble) {
        let number = fault.number();
        self.state().troubled.on_disk.insert(number, fault);
        self.disk.trouble(number, trouble);
    }

    fn forget(&self, age_ms: u64, fault: FaultId) {
        self.kill();
        let age = Duration::from_millis(age_ms);
        let then = self.time().saturating_sub(age);
        let undone = self.disk.rewind_to(then);
        self.record(json!({ "event": "the disk went back", "changes": undone }));
        let mut state = self.state();
        state.troubled.holds.insert(fault);
        state.troubled.balances.clear();
        if undone > 0 {
            state.troubled.forgetful = true;
            drop(state);
            self.had_effect(fault);
        }
    }

    fn flip_a_bit(&self, fault: FaultId) {
        let keys = self.disk.keys();
        let read: Vec<&String> = keys
            .iter()
            .filter(|key| READ_AT_START.iter().any(|prefix| key.starts_with(prefix)))
            .collect();
        let name = format!("node/{}/bit-flip/{}", self.name, fault.number());
        let mut draws = self.world.seed.stream(&name);
        if read.is_empty() {
            return;
        }
        let key = read[draws.between(0, read.len() as u64 - 1) as usize];
        let bit = draws.between(0, u64::from(u32::MAX)) as usize;
        if self.disk.flip_bit(key, bit) {
            self.record(json!({ "event": "a bit turned", "key": key }));
            let mut state = self.state();
            state.troubled.damaging.insert(fault, key.clone());
        }
    }

    /// The scenario's own crash keeps it down, or no longer.
    pub(in super::super) fn set_crashed(&self, crashed: bool) {
        self.state().troubled.crashed = crashed;
    }

    /// Whether nothing keeps it from running; false also while it runs.
    pub(super) fn may_start(&self) -> bool {
        let state = self.state();
        let troubled = &state.troubled;
        state.node.is_none()
            && troubled.holds.is_empty()
            && !troubled.crashed
            && troubled.given_up.is_none()
    }

    /// A start failed: a bad disk explains it, and the process stays down until that is over.
    pub(super) fn did_not_start(&self, cause: &str) -> Result<(), WorldError> {
        self.record(json!({ "event": "did not start", "cause": cause }));
        let damaged: Vec<FaultId> = {
            let troubled = &self.state().troubled;
            let named = troubled.damaging.iter();
            named
                .filter(|(_, key)| cause.contains(key.as_str()))
                .map(|(fault, _)| *fault)
                .collect()
        };
        damaged.into_iter().for_each(|fault| self.had_effect(fault));
        self.count_disk_hits();
        if self.disk.is_troubled() {
            return Ok(());
        }
        if self.state().troubled.forgetful {
            self.state().troubled.given_up = Some(cause.to_owned());
            return Ok(());
        }
        let doing = format!("start node {}", self.name);
        Err(WorldError::harness(doing, cause))
    }

    /// The process has ended by itself.
    pub(super) fn ended(&self, ended: Ended) {
        let (what, cause) = match &ended {
            Ended::Disk(cause) => ("stopped", cause),
            Ended::Panic(cause) => ("panicked", cause),
        };
        self.record(json!({ "event": what, "cause": cause }));
        let explained = match &ended {
            Ended::Disk(_) => {
                self.keep_last_channels();
                self.count_disk_hits()
            }
            Ended::Panic(_) => self.state().troubled.forgetful,
        };
        {
            let mut state = self.state();
            state.node = None;
            state.inbox = None;
            if !explained {
                state.failure = Some(cause.clone());
            } else if matches!(ended, Ended::Panic(_)) {
                state.troubled.given_up = Some(cause.clone());
            }
        }
    }

    /// Counts what the disk did; whether it did anything. A fault of the disk that killed the process keeps it down.
    fn count_disk_hits(&self) -> bool {
        let hits = self.disk.take_hits();
        for number in &hits {
            let fault = self.state().troubled.on_disk.get(number).copied();
            let Some(fault) = fault else { continue };
            self.had_effect(fault);
            if self.disk.is_dead() {
                self.state().troubled.holds.insert(fault);
            }
        }
        !hits.is_empty()
    }

    /// Whether it stands still.
    pub(in super::super) fn stands_still(&self) -> bool {
        !self.state().troubled.pausing.is_empty()
    }

    /// Whether it does less than it should, by a fault: then its rest is not waited for.
    pub(in super::super) fn is_hindered(&self) -> bool {
        let state = self.state();
        let troubled = &state.troubled;
        !(troubled.pausing.is_empty()
            && troubled.silencing.is_empty()
            && troubled.withholding.is_empty())
    }

    /// Whether an exchange of this node waits for a peer that is down, perhaps for good: then its rest is not waited for.
    pub(in super::super) fn waits_for_the_lost(&self, node: &Node) -> bool {
        let nodes = self.world.directory.all();
        let lost: BTreeSet<_> = nodes
            .iter()
            .filter_map(|other| {
                let state = other.state();
                let id = state.id;
                id.filter(|_| state.node.is_none() || state.troubled.given_up.is_some())
            })
            .collect();
        let waits = |view: &lockstep_lightning::ChannelView| {
            lost.contains(&view.peer) && view.htlcs.iter().any(|htlc| !htlc.at_rest)
        };
        !lost.is_empty() && node.channels().iter().any(waits)
    }

    /// Whether it was started from a disk older than what it had answered.
    pub(in super::super) fn is_forgetful(&self) -> bool {
        self.state().troubled.forgetful
    }

    /// Waits while it stands still.
    pub(super) async fn stand_still(&self, incoming: &Receiver<Incoming>) {
        while self.stands_still() {
            self.miss(!incoming.is_empty());
            if self.resumed.1.recv().await.is_err() {
                return;
            }
        }
        self.state().troubled.missed = false;
    }

    pub(super) fn miss(&self, something: bool) {
        self.state().troubled.missed |= something;
    }

    pub(super) fn is_silent(&self) -> bool {
        !self.state().troubled.silencing.is_empty()
    }

    /// Something was not said.
    pub(super) fn count_silence(&self) {
        let faults = self.state().troubled.silencing.clone();
        faults.into_iter().for_each(|fault| self.had_effect(fault));
    }

    pub(super) fn withholds(&self) -> bool {
        !self.state().troubled.withholding.is_empty()
    }

    /// How long the disk takes for `stores` monitors now.
    pub(super) fn store_delay(&self, stores: u64) -> Duration {
        let slowing = self.state().troubled.slowing.clone();
        for fault in slowing.keys() {
            (0..stores).for_each(|_| self.had_effect(*fault));
        }
        slowing.values().sum()
    }

    /// Looks, after a pass, at what faults of this node need to know.
    pub(super) fn watch_trouble(&self, node: &Node) {
        if self.withholds() {
            self.count_withheld(node);
        }
        if self.world.disks.with_history.contains(&self.name) {
            self.note_balances(node);
        }
    }

    fn count_withheld(&self, node: &Node) {
        for channel in node.channels() {
            for htlc in &channel.htlcs {
                if htlc.direction == HtlcDirection::Incoming && htlc.at_rest {
                    let (fresh, faults) = {
                        let troubled = &mut self.state().troubled;
                        let fresh = troubled.withheld.insert(htlc.payment_hash.0);
                        (fresh, troubled.withholding.clone())
                    };
                    if fresh {
                        faults.into_iter().for_each(|fault| self.had_effect(fault));
                    }
                }
            }
        }
    }
}
