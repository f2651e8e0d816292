//! Where channel monitors are stored: LDK's persister, in one of two modes for the whole life of a node.
//!
//! Owns the two modes and what waits for a slow disk. At once: a monitor is on the disk when LDK is told so. Deferred: LDK is
//! told that storing is in progress, the changes wait here, and the owner says when they reach the disk; until then LDK
//! sends nothing that depends on them, and a crash loses them. LDK panics when one life mixes the modes. Does not own time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::ln::types::ChannelId;
use lightning::sign::InMemorySigner;
use lightning::util::persist::{MonitorName, MonitorUpdatingPersister};

use crate::assembly::{Broadcaster, NoLog};
use crate::background::ProcessError;
use crate::disk::{HeldChange, Store};
use crate::fees::FeeSource;
use crate::keys::WalletKeys;
use crate::node::Node;

/// LDK's own, which writes updates and now and then whole monitors.
pub(crate) type Persister = MonitorUpdatingPersister<
    Arc<Store>,
    Arc<NoLog>,
    Arc<WalletKeys>,
    Arc<WalletKeys>,
    Arc<Broadcaster>,
    Arc<FeeSource>,
>;

/// Changes that wait, and the update of which LDK is told once they are made.
struct Begun {
    changes: Vec<HeldChange>,
    update: Option<(ChannelId, u64)>,
}

#[derive(Default)]
struct Waiting {
    begun: u64,
    finished: u64,
    queue: VecDeque<Begun>,
}

/// The store of a node's channel monitors.
pub(crate) struct MonitorStore {
    pub(crate) persister: Persister,
    store: Arc<Store>,
    deferred: bool,
    waiting: Mutex<Waiting>,
}

impl MonitorStore {
    pub(crate) fn new(persister: Persister, store: Arc<Store>, deferred: bool) -> MonitorStore {
        MonitorStore {
            persister,
            store,
            deferred,
            waiting: Mutex::new(Waiting::default()),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no user of this lock panics")
    }

    fn keep(
        &self,
        update: Option<(ChannelId, u64)>,
        work: impl FnOnce() -> ChannelMonitorUpdateStatus,
    ) -> ChannelMonitorUpdateStatus {
        if !self.deferred {
            return work();
        }
        let (status, changes) = self.store.hold_back(work);
        if status != ChannelMonitorUpdateStatus::Completed {
            return status;
        }
        let mut waiting = self.waiting();
        waiting.begun += 1;
        waiting.queue.push_back(Begun { changes, update });
        ChannelMonitorUpdateStatus::InProgress
    }

    /// The oldest of those up to number `up_to` that waits.
    fn next(&self, up_to: u64) -> Option<Begun> {
        let mut waiting = self.waiting();
        if waiting.finished >= up_to {
            return None;
        }
        let next = waiting.queue.pop_front()?;
        waiting.finished += 1;
        Some(next)
    }
}

impl Persist<InMemorySigner> for MonitorStore {
    fn persist_new_channel(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        let update = (monitor.channel_id(), monitor.get_latest_update_id());
        self.keep(Some(update), || {
            self.persister.persist_new_channel(name, monitor)
        })
    }

    fn update_persisted_channel(
        &self,
        name: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        let told = update.map(|update| (monitor.channel_id(), update.update_id));
        self.keep(told, || {
            self.persister
                .update_persisted_channel(name, update, monitor)
        })
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        self.keep(None, || {
            Persist::<InMemorySigner>::archive_persisted_channel(&self.persister, name);
            ChannelMonitorUpdateStatus::Completed
        });
    }
}

impl Node {
    /// How many times this life has begun to store a channel monitor that waits for [`Node::finish_stores`]; 0 for ever
    /// unless stores are deferred (`NodeConfig::deferred_stores`).
    pub fn stores_begun(&self) -> u64 {
        self.inner.monitor_store.waiting().begun
    }

    /// The disk has taken the first `up_to` of them. Call [`Node::process`] afterwards. Fails as that does.
    pub fn finish_stores(&self, up_to: u64) -> Result<(), ProcessError> {
        let store = &self.inner.monitor_store;
        while let Some(begun) = store.next(up_to) {
            self.inner.store.make(&begun.changes)?;
            if let Some((channel, update)) = begun.update {
                // Fails only when the monitor was archived meanwhile.
                let _ = self.inner.monitors.channel_monitor_updated(channel, update);
            }
        }
        Ok(())
    }
}
