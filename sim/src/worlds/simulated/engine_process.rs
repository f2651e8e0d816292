//! Owns the process of the engine's host in the simulated world: one madsim node for each life, so that a kill drops all its
//! tasks wherever they stand, and a pause holds them. Does not own what runs in it (`worlds::service`) nor when it dies
//! (`sites::processes`).
//!
//! Fault model: a life that ends takes its connections with it (they are reset) and what its disk has not synced. A process that
//! stands still keeps its connections; what comes for it waits, and its timers fire late.

use super::ENGINE;
use super::journal_disk::JournalDisk;
use super::stream::LinkStream;
use crate::links::{End, Network};
use crate::trace::{SharedTrace, Subsystem};
use crate::worlds::service::Spawn;
use futures_util::future::BoxFuture;
use lockstep_host::Handle;
use lockstep_host::adapters::webhook_server;
use madsim::runtime::NodeHandle;
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard};

/// The process; clones share it.
#[derive(Clone)]
pub(crate) struct EngineProcess {
    network: Network,
    disk: JournalDisk,
    keeper: NodeHandle,
    trace: SharedTrace,
    life: Arc<Mutex<Option<NodeHandle>>>,
}

impl EngineProcess {
    /// No life yet. Its supervisor runs on `keeper`, which is never killed.
    pub(crate) fn new(
        network: Network,
        disk: JournalDisk,
        keeper: NodeHandle,
        trace: SharedTrace,
    ) -> EngineProcess {
        EngineProcess {
            network,
            disk,
            keeper,
            trace,
            life: Arc::default(),
        }
    }

    fn life(&self) -> MutexGuard<'_, Option<NodeHandle>> {
        self.life.lock().expect("no holder of a life panics")
    }

    /// Serves a connection that somebody made for webhooks; without a life it ends at once.
    pub(crate) fn accept(&self, end: End, handle: Handle) {
        if let Some(life) = self.life().as_ref() {
            life.spawn(async move {
                // An error is a connection that ended early: the gateway sees no answer.
                let _ = webhook_server::serve_connection(LinkStream::new(end), handle).await;
            });
        }
    }

    /// Holds all its tasks; false if there is no life.
    pub(crate) fn pause(&self) -> bool {
        let life = self.life();
        if let Some(life) = life.as_ref() {
            madsim::runtime::Handle::current().pause(life.id());
        }
        life.is_some()
    }

    /// Lets its tasks go on.
    pub(crate) fn resume(&self) {
        if let Some(life) = self.life().as_ref() {
            madsim::runtime::Handle::current().resume(life.id());
        }
    }
}

impl Spawn for EngineProcess {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.keeper.spawn(task);
    }

    fn spawn_life(&self, life: BoxFuture<'static, ()>) {
        self.network.bring_up(ENGINE);
        let node = super::host(ENGINE);
        node.spawn(life);
        *self.life() = Some(node);
    }

    fn note(&self, event: &str, because: Option<&str>) {
        let event = json!({ "event": event, "because": because });
        self.trace
            .lock()
            .record(Subsystem::Engine, "process", event);
    }

    fn end_life(&self) {
        let Some(life) = self.life().take() else {
            return;
        };
        self.disk.cut();
        self.network.take_down(ENGINE);
        let runtime = madsim::runtime::Handle::current();
        // A task that is held is dropped where it waits, under a lock that its end may need.
        runtime.resume(life.id());
        runtime.kill(life.id());
    }
}
