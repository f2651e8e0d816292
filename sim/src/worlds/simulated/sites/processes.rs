//! Owns bringing trouble about with the processes of the engine's host, of the gateway, of Layer 0 and of the chain's backend. Does not own
//! the processes themselves (`engine_process`, `http_process`, `backend`) nor those of Lightning nodes.
//!
//! Fault model of the chain's backend: one that is down refuses to be asked, and tells nobody of changes; one that stands still or
//! starts slowly lets everybody wait. Its chain is kept. The others' models are in their files. Every fault ends by itself when its
//! time is over, because whoever waits for the engine lets no alarm go off meanwhile.
//!
//! What counts as an effect: a running process was killed or held.

use super::disks::Disks;
use crate::faults::FaultId;
use crate::scenario::{Endpoint, ProcessFaultKind, Trouble};
use crate::worlds::simulated::backend;
use crate::worlds::simulated::engine_chain::EngineChain;
use crate::worlds::simulated::engine_process::EngineProcess;
use crate::worlds::simulated::http_process::HttpProcess;
use crate::worlds::simulated::journal_disk::Ailment;
use crate::worlds::{FaultSite, WorldError};
use bitcoin::{ScriptBuf, Transaction, Txid};
use futures_util::future::BoxFuture;
use lockstep_engine::rail::{BlockId, ChainView, FeesSeen};
use lockstep_host::ports::{BroadcastError, ChainSource, ChainUnavailable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The processes that can be troubled here.
#[derive(Clone)]
pub(in crate::worlds::simulated) struct Processes {
    disks: Disks,
    engine: EngineProcess,
    gateway: HttpProcess,
    layer0: Option<HttpProcess>,
    chain: ChainGate,
    begun: Arc<Mutex<BTreeMap<FaultId, (Endpoint, ProcessFaultKind)>>>,
}

impl Processes {
    /// All in order.
    pub(in crate::worlds::simulated) fn new(
        disks: Disks,
        engine: EngineProcess,
        gateway: HttpProcess,
        layer0: Option<HttpProcess>,
    ) -> Processes {
        Processes {
            disks,
            engine,
            gateway,
            layer0,
            chain: ChainGate::default(),
            begun: Arc::default(),
        }
    }

    /// What the engine's questions to the chain's backend pass.
    pub(in crate::worlds::simulated) fn chain_gate(&self) -> ChainGate {
        self.chain.clone()
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<FaultId, (Endpoint, ProcessFaultKind)>> {
        self.begun.lock().expect("no holder panics")
    }

    fn begin_at_engine(&self, kind: ProcessFaultKind, fault: FaultId) -> Result<bool, WorldError> {
        let service = self.disks.service()?;
        match kind {
            ProcessFaultKind::Kill { .. } => {
                service.keep_down(fault);
                Ok(service.kill())
            }
            ProcessFaultKind::KillAtWrite { write, .. } => {
                let told = self.disks.deadly(service, fault);
                self.disks.ail(fault, Ailment::DyingWrite(write), told);
                Ok(false)
            }
            ProcessFaultKind::Pause { .. } => {
                service.keep_mute(fault);
                Ok(self.engine.pause())
            }
            ProcessFaultKind::SlowStart { .. } => {
                service.keep_mute(fault);
                Ok(service.kill())
            }
            ProcessFaultKind::StaleRestart { .. } => Err(WorldError::refused(
                "the engine",
                "start from an old journal",
                "the journal is the only copy of what it has answered",
            )),
        }
    }

    /// Whether a running process was hit.
    fn begin_at(
        &self,
        of: &Endpoint,
        kind: ProcessFaultKind,
        fault: FaultId,
    ) -> Result<bool, WorldError> {
        match (of, kind) {
            (Endpoint::Engine, _) => self.begin_at_engine(kind, fault),
            (Endpoint::Gateway, _) => Ok(trouble_system(&self.gateway, kind, fault)),
            (Endpoint::Layer0, _) => {
                let there = self.layer0.as_ref();
                Ok(there.is_some_and(|layer0| trouble_system(layer0, kind, fault)))
            }
            (Endpoint::Chain, _) => {
                self.gateway.network.take_down(backend::ENDPOINT);
                let refuses = matches!(kind, ProcessFaultKind::Kill { .. });
                Ok(self.chain.close(fault, refuses))
            }
            (Endpoint::Node(name), _) => Err(WorldError::harness(
                "trouble a node",
                format!("{name} is another site's"),
            )),
        }
    }

    /// Ends what was begun here, once.
    fn finish(&self, fault: FaultId) -> Result<(), WorldError> {
        let Some((of, kind)) = self.begun().remove(&fault) else {
            return Ok(());
        };
        self.disks.is_over(fault);
        match of {
            Endpoint::Engine => {
                self.disks.put_right(fault)?;
                let held = |kind: &ProcessFaultKind| matches!(kind, ProcessFaultKind::Pause { .. });
                let still_held = self
                    .begun()
                    .values()
                    .any(|(of, kind)| *of == Endpoint::Engine && held(kind));
                if held(&kind) && !still_held {
                    self.engine.resume();
                }
            }
            Endpoint::Gateway => self.gateway.release(fault),
            Endpoint::Layer0 => {
                if let Some(layer0) = &self.layer0 {
                    layer0.release(fault);
                }
            }
            Endpoint::Chain => {
                if self.chain.open(fault) {
                    self.gateway.network.bring_up(backend::ENDPOINT);
                }
            }
            Endpoint::Node(_) => {}
        }
        Ok(())
    }
}

impl FaultSite for Processes {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Process { of, kind } = trouble else {
            return Ok(false);
        };
        if matches!(of, Endpoint::Node(_)) {
            return Ok(false);
        }
        if self.begin_at(of, *kind, fault)? {
            self.disks.counting(fault)();
        }
        self.begun().insert(fault, (of.clone(), *kind));
        let (processes, span) = (self.clone(), trouble.lasts().map_or(0, |span| span.get()));
        self.disks
            .lasts(fault, Duration::from_millis(span), move || {
                // It was begun, so there is an engine.
                let _ = processes.finish(fault);
            });
        Ok(true)
    }

    fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.finish(fault)
    }
}

/// Whether the process ran.
fn trouble_system(process: &HttpProcess, kind: ProcessFaultKind, fault: FaultId) -> bool {
    match kind {
        ProcessFaultKind::Pause { .. } => process.pause(fault),
        ProcessFaultKind::SlowStart { .. } => process.restart_slowly(fault),
        _ => process.kill(fault),
    }
}

#[derive(Default)]
struct Closed {
    refusing: BTreeSet<FaultId>,
    hanging: BTreeSet<FaultId>,
}

/// Whether the chain's backend answers.
#[derive(Clone, Default)]
pub(in crate::worlds::simulated) struct ChainGate(Arc<Mutex<Closed>>);

impl ChainGate {
    fn closed(&self) -> MutexGuard<'_, Closed> {
        self.0.lock().expect("no holder panics")
    }

    /// Whether it answered until now.
    fn close(&self, fault: FaultId, refuses: bool) -> bool {
        let mut closed = self.closed();
        let answered = closed.refusing.is_empty() && closed.hanging.is_empty();
        let closers = if refuses {
            &mut closed.refusing
        } else {
            &mut closed.hanging
        };
        closers.insert(fault);
        answered
    }

    /// Whether it answers again.
    fn open(&self, fault: FaultId) -> bool {
        let mut closed = self.closed();
        closed.refusing.remove(&fault);
        closed.hanging.remove(&fault);
        closed.refusing.is_empty() && closed.hanging.is_empty()
    }

    fn refuses(&self) -> bool {
        !self.closed().refusing.is_empty()
    }
}

/// The engine's connection to the chain's backend, refused while that is down. One that hangs holds what is on the way to it
/// (`Network::travel`).
pub(in crate::worlds::simulated) struct GatedChain {
    /// The connection.
    pub chain: EngineChain,
    /// Whether it is refused.
    pub gate: ChainGate,
}

const REFUSED: &str = "connection refused";

impl ChainSource for GatedChain {
    fn view(
        &self,
        scripts: Vec<ScriptBuf>,
        known: Vec<BlockId>,
    ) -> BoxFuture<'static, Result<ChainView, ChainUnavailable>> {
        if self.gate.refuses() {
            let reason = REFUSED.to_owned();
            return Box::pin(std::future::ready(Err(ChainUnavailable { reason })));
        }
        self.chain.view(scripts, known)
    }

    fn broadcast(
        &self,
        transaction: Transaction,
    ) -> BoxFuture<'static, Result<Txid, BroadcastError>> {
        if self.gate.refuses() {
            let reason = REFUSED.to_owned();
            return Box::pin(std::future::ready(Err(BroadcastError::Unavailable {
                reason,
            })));
        }
        self.chain.broadcast(transaction)
    }

    fn fees(&self) -> BoxFuture<'static, Result<FeesSeen, ChainUnavailable>> {
        if self.gate.refuses() {
            let reason = REFUSED.to_owned();
            return Box::pin(std::future::ready(Err(ChainUnavailable { reason })));
        }
        self.chain.fees()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.chain.changed()
    }
}
