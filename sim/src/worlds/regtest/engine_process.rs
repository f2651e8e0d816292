//! Owns the process of the engine's host in the regtest world: one task of the runtime for each life, so that a kill drops
//! all that belongs to it wherever it waits, and a pause keeps it from being polled. Does not own what runs in it
//! (`worlds::service`), the connections of webhooks (`http_server`), nor when it dies (`process_faults`).
//!
//! Fault model: a life is one future that spawns nothing, so dropping it is what SIGKILL would do to a process of its own:
//! its sockets close, and what was not synced to the journal is lost to the next life. A question to electrs or to ldk-node
//! that was begun runs to its end in a thread, as a packet on its way would, and nobody takes the answer. Held, its
//! connections stay open and timers fire late.

use crate::trace::{SharedTrace, Subsystem};
use crate::worlds::service::Spawn;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use serde_json::json;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

/// The process, and the tasks that keep it going.
pub(super) struct EngineProcess {
    runtime: Handle,
    trace: SharedTrace,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    life: Mutex<Option<AbortHandle>>,
    gate: Arc<Gate>,
}

/// What holds a life.
#[derive(Default)]
struct Gate {
    shut: AtomicBool,
    waiting: AtomicWaker,
}

/// A life that is polled only while the gate is open.
struct Held {
    life: BoxFuture<'static, ()>,
    gate: Arc<Gate>,
}

impl Future for Held {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Registered before the look: a gate that opens in between wakes.
        self.gate.waiting.register(context.waker());
        if self.gate.shut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.life.as_mut().poll(context)
    }
}

impl EngineProcess {
    /// No life yet; lives will be tasks of `runtime`.
    pub(super) fn new(runtime: Handle, trace: SharedTrace) -> EngineProcess {
        EngineProcess {
            runtime,
            trace,
            tasks: Mutex::default(),
            life: Mutex::default(),
            gate: Arc::default(),
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().expect("no holder of the tasks panics")
    }

    /// All tasks, for whoever waits until they end.
    pub(super) fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.tasks())
    }

    /// Ends all tasks.
    pub(super) fn abort(&self) {
        self.tasks().iter().for_each(JoinHandle::abort);
    }

    /// Holds the life that there is, and those to come.
    pub(super) fn pause(&self) {
        self.gate.shut.store(true, Ordering::SeqCst);
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.gate.shut.store(false, Ordering::SeqCst);
        self.gate.waiting.wake();
    }
}

impl Spawn for EngineProcess {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks().push(self.runtime.spawn(task));
    }

    fn spawn_life(&self, life: BoxFuture<'static, ()>) {
        let gate = self.gate.clone();
        let task = self.runtime.spawn(Held { life, gate });
        *self.life.lock().expect("no holder of a life panics") = Some(task.abort_handle());
        self.tasks().push(task);
    }

    fn note(&self, event: &str, because: Option<&str>) {
        let event = json!({ "event": event, "because": because });
        self.trace
            .lock()
            .record(Subsystem::Engine, "process", event);
    }

    fn end_life(&self) {
        let life = self.life.lock().expect("no holder of a life panics").take();
        if let Some(life) = life {
            life.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    /// Says so when it is dropped, wherever it stands.
    struct Tell(async_channel::Sender<&'static str>);

    impl Drop for Tell {
        fn drop(&mut self) {
            // The test may be over.
            let _ = self.0.try_send("dropped");
        }
    }

    #[tokio::test]
    async fn a_life_stands_still_while_held_and_is_dropped_when_killed() {
        let process = EngineProcess::new(Handle::current(), SharedTrace::new(Trace::new(false)));
        let (tell, told) = async_channel::unbounded();
        process.spawn_life(Box::pin(async move {
            let tell = Tell(tell);
            loop {
                tell.0.try_send("lives").expect("heard");
                sleep(Duration::from_millis(5)).await;
            }
        }));
        assert_eq!(told.recv().await, Ok("lives"));
        process.pause();
        sleep(Duration::from_millis(20)).await;
        while told.try_recv().is_ok() {}
        sleep(Duration::from_millis(50)).await;
        assert!(told.is_empty(), "it stands still");
        process.resume();
        assert_eq!(told.recv().await, Ok("lives"));
        process.end_life();
        let dropped = async { while told.recv().await != Ok("dropped") {} };
        timeout(Duration::from_secs(5), dropped)
            .await
            .expect("dropped");
    }
}
