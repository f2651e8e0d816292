//! The background pass: handle events, forward, exchange messages, store, and only then let effects out.
//!
//! Owns the order of storing and releasing, and when LDK's periodic work is due. Does not own what an event does
//! (`handler`) and has no clock: time is what the caller says.
//!
//! Order within a pass: monitors are stored by LDK while it works; at the end the channel manager and the event queue are
//! stored in one record; after that the effects are handed out. A stop before the record repeats the events from the old
//! record; a stop after it loses messages, which LDK exchanges again on reconnection, and repeats unacknowledged events.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bitcoin::Transaction;
use lightning::events::{Event, EventsProvider as _};
use lightning::routing::scoring::ScoreUpdate as _;
use lightning::util::persist::{NETWORK_GRAPH_PERSISTENCE_KEY, SCORER_PERSISTENCE_KEY};
use lightning::util::ser::Writeable as _;

use crate::assembly::{NODE_RECORD_KEY, join_record};
use crate::config::announced_alias;
use crate::disk::DiskError;
use crate::events::Notice;
use crate::handler;
use crate::links::LinkId;
use crate::node::{Inner, Node};

/// A pass ends when a round changed nothing; each round takes a message or an event further, and the longest chains seen
/// have a handful. Past this number the rest waits for the next pass.
const MAX_ROUNDS: u32 = 256;

/// What the caller must do for the node, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send bytes over a link.
    Send {
        /// The link.
        link: LinkId,
        /// The bytes, to be delivered in order.
        bytes: Vec<u8>,
    },
    /// Close a link; the node has forgotten it already.
    CloseLink {
        /// The link.
        link: LinkId,
    },
    /// Broadcast transactions; more than one form a package, parents first.
    Broadcast(Vec<Transaction>),
    /// Tell the owner; repeated after a restart until [`Node::acknowledge`].
    Event(Notice),
}

/// The node stopped: nothing leaves it any more. Drop it and start it again from its disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node stopped: {cause}")]
pub struct ProcessError {
    /// The write that failed.
    #[from]
    pub cause: DiskError,
}

/// Effects that wait for the end of a pass.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Vec<Effect>>);

impl Outbox {
    pub(crate) fn push(&self, effect: Effect) {
        self.lock().push(effect);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Effect>> {
        self.0.lock().expect("no user of this lock panics")
    }
}

/// Work that recurs, with LDK's release intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    Ping,
    ChannelTick,
    Rebroadcast,
    Sweep,
    Prune,
    Score,
}

impl Chore {
    const ALL: [Chore; 6] = [
        Chore::Ping,
        Chore::ChannelTick,
        Chore::Rebroadcast,
        Chore::Sweep,
        Chore::Prune,
        Chore::Score,
    ];

    fn interval(self) -> Duration {
        Duration::from_secs(match self {
            Chore::Ping => 10,
            Chore::Rebroadcast | Chore::Sweep => 30,
            Chore::ChannelTick => 60,
            Chore::Score => 300,
            Chore::Prune => 3600,
        })
    }

    /// The graph is pruned, and stored, for the first time after a minute.
    fn first_after(self) -> Duration {
        if self == Chore::Prune {
            Duration::from_secs(60)
        } else {
            self.interval()
        }
    }
}

/// How often a node announces itself.
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(3600);

/// When each chore is due next.
pub(crate) struct Timers {
    due: [Duration; Chore::ALL.len()],
    announce: Duration,
}

impl Timers {
    pub(crate) fn starting_at(now: Duration) -> Self {
        Timers {
            due: Chore::ALL.map(|chore| now + chore.first_after()),
            announce: now,
        }
    }

    /// The chores due at `now`, each of which is then due again one interval later. After a clock was set back none is
    /// further away than its interval.
    fn take_due(&mut self, now: Duration) -> Vec<Chore> {
        let mut due = Vec::new();
        for (chore, at) in Chore::ALL.into_iter().zip(&mut self.due) {
            *at = (*at).min(now + chore.interval());
            if *at <= now {
                *at = now + chore.interval();
                due.push(chore);
            }
        }
        due
    }
}

impl Node {
    /// Lets time pass: does the periodic work that is due at `now` (since the Unix epoch). Call it about once a second and
    /// call [`Node::process`] afterwards.
    pub fn tick(&self, now: Duration) {
        self.inner.set_now(now);
        let due = self
            .inner
            .timers
            .lock()
            .expect("no user of this lock panics")
            .take_due(now);
        for chore in due {
            self.inner.run_chore(chore, now);
        }
        self.inner.announce_if_due(now);
    }

    /// One full background pass, repeated until nothing more happens; returns what is to be done for the node.
    ///
    /// Fails when the disk failed, and for ever after: then nothing may be done for this node any more.
    pub fn process(&self, now: Duration) -> Result<Vec<Effect>, ProcessError> {
        self.inner.set_now(now);
        let mut idle_rounds = 0;
        for _ in 0..MAX_ROUNDS {
            idle_rounds = if self.inner.round(now) {
                0
            } else {
                idle_rounds + 1
            };
            // LDK may queue a failure backwards without an event or a message: then look once more.
            let enough = if self.inner.channels.needs_pending_htlc_processing() {
                2
            } else {
                1
            };
            if idle_rounds >= enough || self.inner.store.failure().is_some() {
                break;
            }
        }
        if self.inner.archiving_due.swap(false, Ordering::Relaxed) {
            self.inner
                .monitors
                .archive_fully_resolved_channel_monitors();
        }
        self.inner.store_record()?;
        let mut effects = self.inner.outbox.take();
        effects.extend(self.inner.queue().hand_out().into_iter().map(Effect::Event));
        Ok(effects)
    }

    /// The owner has dealt with all events up to and including `seq`; they do not come again.
    pub fn acknowledge(&self, seq: u64) {
        self.inner.queue().acknowledge(seq);
    }

    /// Completes when the channel manager or a monitor wants [`Node::process`]. A plain future: needs no runtime.
    pub fn wake(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Either(
            self.inner.channels.get_event_or_persistence_needed_future(),
            self.inner.monitors.get_update_future(),
        ))
    }
}

impl Inner {
    /// One round of what LDK's background processor does; whether an event was handled or a message sent.
    ///
    /// Forwarding does not count by itself: while a payment may still be retried LDK asks for it all the time.
    fn round(&self, now: Duration) -> bool {
        let happened = Cell::new(false);
        let withholding = self.withholding.load(Ordering::Relaxed);
        if !withholding && self.channels.needs_pending_htlc_processing() {
            self.channels.process_pending_htlc_forwards();
        }
        let handle = |event: Event| {
            happened.set(true);
            handler::handle(self, event, now)
        };
        self.channels.process_pending_events(&handle);
        self.monitors.process_pending_events(&handle);
        let before = self.outbox.len();
        self.peers.process_events();
        happened.get() || self.outbox.len() != before
    }

    /// Stores event queue and channel manager in one write, if either changed.
    pub(crate) fn store_record(&self) -> Result<(), DiskError> {
        let manager_changed = self.channels.get_and_clear_needs_persistence();
        let mut queue = self.queue();
        if manager_changed || queue.dirty {
            self.store.put(
                NODE_RECORD_KEY,
                &join_record(&queue.encode(), &self.channels.encode()),
            )?;
            queue.dirty = false;
        }
        match self.store.failure() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn run_chore(&self, chore: Chore, now: Duration) {
        // Writes that fail stop the node: see `disk::Store`.
        match chore {
            Chore::Ping => self.peers.timer_tick_occurred(),
            Chore::ChannelTick => self.channels.timer_tick_occurred(),
            Chore::Rebroadcast => self.monitors.rebroadcast_pending_claims(),
            Chore::Sweep => {
                let _ = self.sweeper.regenerate_and_broadcast_spend_if_necessary();
                self.sweep_due.store(false, Ordering::Relaxed);
            }
            Chore::Prune => {
                self.graph
                    .remove_stale_channels_and_tracking_with_time(now.as_secs());
                let _ = self
                    .store
                    .put(NETWORK_GRAPH_PERSISTENCE_KEY, &self.graph.encode());
            }
            Chore::Score => {
                let mut scorer = self.scorer.lock().expect("no user of this lock panics");
                scorer.time_passed(now);
                let _ = self.store.put(SCORER_PERSISTENCE_KEY, &scorer.encode());
            }
        }
    }

    /// Announces the node once it has an announced channel, then every hour (BOLT 7).
    fn announce_if_due(&self, now: Duration) {
        let mut timers = self.timers.lock().expect("no user of this lock panics");
        let has_public_channel = || {
            self.channels
                .list_channels()
                .iter()
                .any(|c| c.is_announced && c.is_usable)
        };
        if timers.announce <= now && has_public_channel() {
            timers.announce = now + ANNOUNCEMENT_INTERVAL;
            self.peers.broadcast_node_announcement(
                [0; 3],
                announced_alias(&self.alias).0,
                Vec::new(),
            );
        }
    }
}

/// Completes with the first of two futures.
struct Either<A, B>(A, B);

impl<A: Future<Output = ()> + Unpin, B: Future<Output = ()> + Unpin> Future for Either<A, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.0).poll(context).is_ready()
            || Pin::new(&mut self.1).poll(context).is_ready()
        {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
