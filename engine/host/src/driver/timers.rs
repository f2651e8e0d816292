//! Owns what the driver must do later: the engine's timers and the driver's own retries, in order of time.
//! Does not own the clock nor what happens when a time comes.

use crate::ports::Clock;
use futures_util::future::BoxFuture;
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::time::{Span, Timestamp};
use std::collections::BTreeMap;
use std::task::{Context, Poll};

/// First pause after a backend was unavailable.
const FIRST_PAUSE: Span = Span::secs(1);

/// Longest pause: a backend that is back is used again within a minute. There is no limit to the number of tries: an
/// effect stays outstanding until it is answered, and the engine's deadlines say when to stop caring.
const LONGEST_PAUSE: Span = Span::secs(60);

/// The pause before the try after `failures` failures in a row (at least one): doubles from 1 s up to 60 s.
pub(super) fn pause_after(failures: u32) -> Span {
    let doublings = failures.saturating_sub(1).min(16);
    Span((FIRST_PAUSE.0 << doublings).min(LONGEST_PAUSE.0))
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The engine asked for it.
    Timer(IdempotencyKey),
    /// An effect whose backend was unavailable.
    Retry(IdempotencyKey),
    /// A look at the chain that failed or was refused.
    Look,
    /// A look at the Lightning node that failed.
    LookAtNode,
    /// The acknowledgement of a Lightning event that failed.
    Listen,
}

/// The agenda, and the sleep until its first entry.
#[derive(Default)]
pub(super) struct Timers {
    agenda: BTreeMap<(Timestamp, u64), Wake>,
    added: u64,
    /// The latest reading of the clock.
    read: Timestamp,
    sleep: Option<(Timestamp, BoxFuture<'static, ()>)>,
}

impl Timers {
    /// Adds `wake`; an equal one that was there before is replaced.
    pub(super) fn set(&mut self, at: Timestamp, wake: Wake) {
        self.agenda.retain(|_, planned| *planned != wake);
        self.added += 1;
        self.agenda.insert((at, self.added), wake);
    }

    /// Takes note of a reading of the clock. One that is earlier than the last means that the clock was set back: the
    /// driver's own pauses, which have nothing to do with the time of day, move along; the engine's times stay.
    pub(super) fn note(&mut self, now: Timestamp) {
        let back = self.read.since(now);
        self.read = now;
        if back.0 == 0 {
            return;
        }
        for ((at, number), wake) in std::mem::take(&mut self.agenda) {
            let at = match wake {
                Wake::Timer(_) => at,
                Wake::Retry(_) | Wake::Look | Wake::LookAtNode | Wake::Listen => {
                    Timestamp(at.0.saturating_sub(back.0))
                }
            };
            self.agenda.insert((at, number), wake);
        }
    }

    /// When the first entry is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// The names of the effects that wait for another try.
    pub(super) fn retries(&self) -> impl Iterator<Item = String> + '_ {
        self.agenda.values().filter_map(|wake| match wake {
            Wake::Timer(_) => None,
            Wake::Retry(key) => Some(key.to_string()),
            Wake::Look => Some("look at the chain".to_owned()),
            Wake::LookAtNode => Some("look at the node".to_owned()),
            Wake::Listen => Some("acknowledge a Lightning event".to_owned()),
        })
    }

    /// Takes the first entry if it is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Wake> {
        let entry = self.agenda.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Ready when the first entry is due; pending for ever when there is none.
    pub(super) fn poll_due(&mut self, clock: &dyn Clock, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.next() else {
            self.sleep = None;
            return Poll::Pending;
        };
        if self.sleep.as_ref().is_none_or(|(until, _)| *until != next) {
            self.sleep = Some((next, clock.sleep_until(next)));
        }
        let (_, sleep) = self.sleep.as_mut().expect("set above");
        let polled = sleep.as_mut().poll(cx);
        if polled.is_ready() {
            self.sleep = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(name: &str) -> Wake {
        Wake::Timer(IdempotencyKey(name.to_owned()))
    }

    #[test]
    fn entries_come_out_in_order_of_time_and_not_before() {
        let mut timers = Timers::default();
        timers.set(Timestamp(30), timer("c"));
        timers.set(Timestamp(10), timer("a"));
        timers.set(Timestamp(10), timer("b"));
        assert_eq!(timers.next(), Some(Timestamp(10)));
        assert_eq!(timers.pop_due(Timestamp(9)), None);
        assert_eq!(timers.pop_due(Timestamp(10)), Some(timer("a")));
        assert_eq!(timers.pop_due(Timestamp(10)), Some(timer("b")));
        assert_eq!(timers.pop_due(Timestamp(29)), None);
        assert_eq!(timers.pop_due(Timestamp(31)), Some(timer("c")));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn the_same_timer_set_again_moves() {
        let mut timers = Timers::default();
        timers.set(Timestamp(10), timer("a"));
        timers.set(Timestamp(20), timer("a"));
        assert_eq!(timers.pop_due(Timestamp(19)), None);
        assert_eq!(timers.pop_due(Timestamp(20)), Some(timer("a")));
        assert_eq!(timers.pop_due(Timestamp(99)), None);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_pauses() {
        let mut timers = Timers::default();
        timers.note(Timestamp(1_000));
        timers.set(Timestamp(1_010), Wake::Look);
        timers.set(Timestamp(1_005), timer("a"));
        timers.note(Timestamp(1_001));
        assert_eq!(timers.next(), Some(Timestamp(1_005)), "time went on");
        timers.note(Timestamp(401));
        assert_eq!(timers.pop_due(Timestamp(409)), None);
        assert_eq!(timers.pop_due(Timestamp(410)), Some(Wake::Look));
        assert_eq!(timers.next(), Some(Timestamp(1_005)), "the engine's time");
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 1_000]
            .iter()
            .map(|n| pause_after(*n).0)
            .collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }
}
