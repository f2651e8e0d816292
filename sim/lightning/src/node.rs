//! The node itself: a handle that is cheap to clone, and how it starts.
//!
//! Owns starting and what must be put right after a restart. Everything else is in one file per subject.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{PaymentId, RecentPaymentDetails};

use crate::assembly::{Parts, assemble};
use crate::background::Timers;
use crate::config::NodeConfig;
use crate::disk::{Disk, DiskError, Store};
use crate::events::{EventQueue, FailureReason, NodeEvent};
use crate::records::{OutgoingStatus, all_outgoing, put_outgoing};
use crate::wallet::WalletError;

/// Why a node cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The wallet on the disk cannot be used.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Something on the disk cannot be read back.
    #[error("stored {what} cannot be read: {cause}")]
    Damaged {
        /// Which part of the state.
        what: &'static str,
        /// The reason.
        cause: String,
    },
}

/// A Lightning node without IO. Clones share one node; dropping all of them is a crash.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    parts: Parts,
    pub(crate) alias: String,
    pub(crate) timers: Mutex<Timers>,
    queue: Mutex<EventQueue>,
    now_secs: AtomicU64,
    /// Resolved monitors are looked for at the end of the next pass, when no event of a monitor waits any more.
    pub(crate) archiving_due: AtomicBool,
    /// Outputs of a closed channel wait for the next sweep.
    pub(crate) sweep_due: AtomicBool,
    /// HTLCs that come in are left lying.
    pub(crate) withholding: AtomicBool,
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Inner {
    pub(crate) fn queue(&self) -> MutexGuard<'_, EventQueue> {
        self.queue.lock().expect("no user of this lock panics")
    }

    /// The latest time the node was told, in seconds since the Unix epoch.
    pub(crate) fn now_secs(&self) -> u64 {
        self.now_secs.load(Ordering::Relaxed)
    }

    pub(crate) fn set_now(&self, now: std::time::Duration) {
        self.now_secs.store(now.as_secs(), Ordering::Relaxed);
    }
}

impl Node {
    /// Starts a node: fresh when the disk is empty, else from what the disk holds.
    ///
    /// Afterwards feed it the blocks after [`Node::synced_to`], connect its peers and call [`Node::process`].
    pub fn start(config: NodeConfig, disk: Arc<dyn Disk>) -> Result<Node, StartError> {
        let mut parts = assemble(&config, Arc::new(Store::new(disk)))?;
        let queue = std::mem::take(&mut parts.queue);
        let inner = Inner {
            timers: Mutex::new(Timers::starting_at(config.now)),
            now_secs: AtomicU64::new(config.now.as_secs()),
            archiving_due: AtomicBool::new(false),
            sweep_due: AtomicBool::new(false),
            withholding: AtomicBool::new(false),
            alias: config.alias,
            queue: Mutex::new(queue),
            parts,
        };
        if inner.restored {
            fail_payments_never_sent(&inner)?;
        }
        // As LDK's background processor does at its start.
        inner.channels.timer_tick_occurred();
        inner.monitors.rebroadcast_pending_claims();
        Ok(Node {
            inner: Arc::new(inner),
        })
    }

    /// From now on, or no longer, HTLCs that reach this node are neither forwarded nor claimed nor failed: what a peer does
    /// that jams a channel. A preimage that comes back for an HTLC forwarded before is still passed on.
    pub fn withhold_htlcs(&self, withhold: bool) {
        self.inner.withholding.store(withhold, Ordering::Relaxed);
    }

    /// The node's public key.
    pub fn node_id(&self) -> PublicKey {
        self.inner.channels.get_our_node_id()
    }
}

/// Gives up payments that are pending in our records but unknown to LDK.
///
/// LDK rebuilds every payment that has an HTLC from the channel monitors, so such a payment was accepted by the node that
/// crashed, but nothing of it had left. The event is stored before the record changes: a stop in between finds the payment
/// pending again and its event waiting, and neither loses nor doubles it.
fn fail_payments_never_sent(inner: &Inner) -> Result<(), DiskError> {
    let known: Vec<PaymentId> = inner
        .channels
        .list_recent_payments()
        .iter()
        .map(|payment| match payment {
            RecentPaymentDetails::AwaitingInvoice { payment_id }
            | RecentPaymentDetails::Pending { payment_id, .. }
            | RecentPaymentDetails::Fulfilled { payment_id, .. }
            | RecentPaymentDetails::Abandoned { payment_id, .. } => *payment_id,
        })
        .collect();
    let mut lost = all_outgoing(&inner.store)?;
    lost.retain(|(id, record)| record.status == OutgoingStatus::Pending && !known.contains(id));
    let reason = FailureReason::NeverSent;
    for (payment_id, record) in &lost {
        let payment_hash = Some(record.payment_hash);
        let event = NodeEvent::PaymentFailed {
            payment_id: *payment_id,
            payment_hash,
            reason,
        };
        let mut queue = inner.queue();
        if !queue.contains(&event) {
            queue.push(event);
        }
    }
    inner.store_record()?;
    for (payment_id, mut record) in lost {
        record.status = OutgoingStatus::Failed { reason };
        put_outgoing(&inner.store, &payment_id, &record)?;
    }
    Ok(())
}
