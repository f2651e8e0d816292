//! Owns the wall clock as a port. Does not own virtual time (the harness).

use crate::ports::Clock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The operating system's clock, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the wall clock"
        )]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        // Asked in steps of at most a minute (the longest pause of the driver), so that a clock that was set is noticed.
        async move {
            let began = SystemClock.now();
            loop {
                let now = SystemClock.now();
                let left = at.since(now);
                if left.0 == 0 || now < began {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left.0.min(60_000))).await;
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_engine::time::Span;

    #[test]
    fn sleeps_until_the_time_has_come() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("runtime");
        let until = SystemClock.now().plus(Span(30));
        runtime.block_on(SystemClock.sleep_until(until));
        assert!(SystemClock.now() >= until);
    }
}
