//! Owns the faults of processes in the regtest world: bitcoind with electrs, the engine's host, the gateway, Layer 0, and
//! Lightning nodes being killed, held, or slow to start. Does not own the processes (`bitcoind_process`, `electrs_process`, `engine_process`,
//! `door`, `nodes`), nor the other faults (`faults`).

use super::RegtestWorld;
use super::door::Door;
use super::faults::{Away, Begun, impossible, refused};
use crate::faults::FaultId;
use crate::scenario::{Endpoint, ProcessFaultKind, Trouble};
use crate::worlds::service::Service;
use crate::worlds::{World, WorldError};
use lockstep_engine::time::{Span, Timestamp};
use tokio::time::Instant;

impl RegtestWorld {
    /// Brings it about; its effects are counted under `fault`.
    pub(super) async fn begin_process(
        &mut self,
        trouble: &Trouble,
        of: &Endpoint,
        kind: ProcessFaultKind,
        fault: FaultId,
    ) -> Result<Begun, WorldError> {
        let lasts = trouble.lasts().map_or(0, |span| span.get());
        let until = self.clock.time().plus(Span(lasts));
        let begun = match (of, kind) {
            (Endpoint::Chain, _) => {
                self.begin_backend(trouble, kind).await?;
                Begun::BackendAway
            }
            (Endpoint::Engine, _) => {
                self.begin_engine(trouble, kind, fault)?;
                Begun::ProcessAway(Away::Engine, until)
            }
            (Endpoint::Gateway, _) => {
                let door = self.door_of(false)?;
                begin_system(door, trouble, kind, fault).await?;
                Begun::ProcessAway(Away::Gateway, until)
            }
            (Endpoint::Layer0, _) => {
                let door = self.door_of(true)?;
                begin_system(door, trouble, kind, fault).await?;
                Begun::ProcessAway(Away::Layer0, until)
            }
            (Endpoint::Node(name), ProcessFaultKind::Kill { .. }) => {
                self.kill_node(trouble, name.as_str()).await?;
                Begun::NodeDead(name.to_string())
            }
            (Endpoint::Node(_), _) => return Err(impossible(trouble)),
        };
        self.had_effect(fault);
        Ok(begun)
    }

    /// Electrs goes before bitcoind: it ends when that is gone.
    async fn begin_backend(
        &mut self,
        trouble: &Trouble,
        kind: ProcessFaultKind,
    ) -> Result<(), WorldError> {
        self.check_backend(trouble)?;
        let start = Instant::now();
        match kind {
            ProcessFaultKind::Kill { .. } => {
                self.servers.kill_electrs().await?;
                self.servers.kill_bitcoind().await?;
            }
            ProcessFaultKind::Pause { .. } => {
                self.servers.pause_electrs()?;
                self.servers.pause_bitcoind()?;
            }
            ProcessFaultKind::SlowStart { .. } => self.servers.start_electrs_slowly().await?,
            ProcessFaultKind::KillAtWrite { .. } | ProcessFaultKind::StaleRestart { .. } => {
                return Err(impossible(trouble));
            }
        }
        self.waits.add("bitcoind and electrs to go", start);
        Ok(())
    }

    /// Only one fault at a time can have it.
    pub(super) fn check_backend(&self, trouble: &Trouble) -> Result<(), WorldError> {
        if self.servers.electrs_is_away() || self.servers.bitcoind_is_away() {
            return Err(refused(trouble, "it is paused or dead already"));
        }
        Ok(())
    }

    fn begin_engine(
        &self,
        trouble: &Trouble,
        kind: ProcessFaultKind,
        fault: FaultId,
    ) -> Result<(), WorldError> {
        let service = self.service().clone();
        if service.is_kept() {
            return Err(refused(trouble, "it is held or dead already"));
        }
        match kind {
            ProcessFaultKind::Kill { .. } => {
                service.keep_down(fault);
                service.kill();
            }
            ProcessFaultKind::Pause { .. } => {
                service.keep_mute(fault);
                self.engine.pause();
                self.http_servers()
                    .for_each(|server| server.engine_door.hold(fault));
            }
            ProcessFaultKind::SlowStart { .. } => {
                service.keep_mute(fault);
                service.kill();
            }
            ProcessFaultKind::KillAtWrite { .. } | ProcessFaultKind::StaleRestart { .. } => {
                return Err(impossible(trouble));
            }
        }
        Ok(())
    }

    /// Lets the engine start or go on.
    pub(super) async fn end_engine(&self, fault: FaultId) -> Result<(), WorldError> {
        self.engine.resume();
        if let Some(service) = &self.running {
            service.release(fault);
        }
        for server in self.http_servers() {
            server.engine_door.end(fault).await?;
        }
        Ok(())
    }

    async fn kill_node(&mut self, trouble: &Trouble, name: &str) -> Result<(), WorldError> {
        let process = self.process(name)?.clone();
        if self.blueprint.operator.as_deref() == Some(name)
            && let Some(operator) = &self.operator
        {
            operator.release();
        }
        if process.kill(self.links.cut_off(name)).await? {
            Ok(())
        } else {
            Err(refused(trouble, "it is down already"))
        }
    }

    /// Whether a fault keeps the engine from running or from answering.
    pub(super) fn engine_is_away(&self) -> bool {
        self.running.as_ref().is_some_and(Service::is_kept)
    }

    /// In lock step the next step waits until the engine is back, and until nobody waits for a gateway that is held: virtual
    /// time passes until the faults are over, or whoever waits gives up.
    pub(super) async fn await_processes(&mut self) -> Result<(), WorldError> {
        while let Some(at) = self.processes_wait_until() {
            self.pass_until(at).await?;
            for fault in self.processes_back_at(at) {
                self.end_fault(fault).await?;
            }
            self.come_to_rest().await?;
        }
        Ok(())
    }

    fn processes_wait_until(&self) -> Option<Timestamp> {
        let gives_up = |layer0: bool| self.door_of(layer0).ok()?.next_gives_up();
        let back = self.processes_back();
        let relevant = back.iter().filter(|(of, _, _)| match of {
            Away::Engine => true,
            Away::Gateway => gives_up(false).is_some(),
            Away::Layer0 => gives_up(true).is_some(),
        });
        let ends = relevant.map(|(_, until, _)| *until);
        ends.chain(gives_up(false)).chain(gives_up(true)).min()
    }

    fn processes_back_at(&self, at: Timestamp) -> Vec<FaultId> {
        let back = self.processes_back().into_iter();
        back.filter(|(_, until, _)| *until <= at)
            .map(|(_, _, fault)| fault)
            .collect()
    }
}

/// The gateway, or Layer 0: the door that leads to it is shut, or nobody answers behind it.
async fn begin_system(
    door: &Door,
    trouble: &Trouble,
    kind: ProcessFaultKind,
    fault: FaultId,
) -> Result<(), WorldError> {
    if door.nobody_is_there() {
        return Err(refused(trouble, "it is held or dead already"));
    }
    door.leave(fault);
    match kind {
        ProcessFaultKind::Kill { .. } => door.shut(fault).await,
        ProcessFaultKind::Pause { .. } => {
            door.hold(fault);
            Ok(())
        }
        ProcessFaultKind::SlowStart { .. } => {
            // Dead for a moment: the connections that there were are gone, and then nobody answers new ones.
            door.shut(fault).await?;
            door.open(fault).await?;
            door.hold(fault);
            Ok(())
        }
        ProcessFaultKind::KillAtWrite { .. } | ProcessFaultKind::StaleRestart { .. } => {
            Err(impossible(trouble))
        }
    }
}
