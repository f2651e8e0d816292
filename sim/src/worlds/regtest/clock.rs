//! Owns the lock-step clock: virtual time that stands still until the world moves it, and the port that shows it to the
//! engine. Does not own who moves it (`mod`) nor the servers' own clocks.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::time::Timestamp;
use lockstep_host::ports::Clock;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Virtual time; clones show the same time.
#[derive(Clone)]
pub(super) struct LockStepClock(Arc<watch::Sender<Timestamp>>);

impl LockStepClock {
    /// A clock that stands at `start`.
    pub(super) fn at(start: Timestamp) -> LockStepClock {
        LockStepClock(Arc::new(watch::Sender::new(start)))
    }

    /// The virtual time.
    pub(super) fn time(&self) -> Timestamp {
        *self.0.borrow()
    }

    /// Moves on to `at`, and wakes whoever slept until then; never back.
    pub(super) fn advance(&self, at: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(at));
    }
}

impl Clock for LockStepClock {
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let (clock, mut times) = (self.0.clone(), self.0.subscribe());
        async move {
            // An error would mean that the clock is gone, and `clock` keeps it.
            let reached = times.wait_for(|now| *now >= at).await.is_ok();
            drop(clock);
            if !reached {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}

/// Now, in whole seconds.
#[expect(
    clippy::disallowed_methods,
    reason = "ldk-node lives by the machine's clock, so virtual time begins at it"
)]
pub(super) fn machine_time() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    // Whole seconds: block times know no others.
    Timestamp(since.as_secs() * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_at_their_time_and_not_before() {
        let clock = LockStepClock::at(Timestamp(100));
        let mut sleep = clock.sleep_until(Timestamp(200));
        assert_eq!((&mut sleep).now_or_never(), None);
        clock.advance(Timestamp(199));
        assert_eq!((&mut sleep).now_or_never(), None);
        clock.advance(Timestamp(200));
        assert_eq!(sleep.now_or_never(), Some(()));
        assert_eq!(clock.sleep_until(Timestamp(50)).now_or_never(), Some(()));
    }

    #[test]
    fn time_never_steps_back() {
        let clock = LockStepClock::at(Timestamp(100));
        clock.advance(Timestamp(50));
        assert_eq!(clock.time(), Timestamp(100));
    }
}
