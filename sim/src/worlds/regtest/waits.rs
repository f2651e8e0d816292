//! Owns what waiting is made of in the regtest world: the flag that ends it (Ctrl-C), the account of where real time went,
//! and the one loop that waits for a condition. Does not own the conditions (`rest`).

use crate::worlds::WorldError;
use lockstep_engine::time::Span;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a condition is looked at, in real time.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Asks a run to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// `Interrupted` if somebody asked.
    pub(super) fn check(&self) -> Result<(), WorldError> {
        if self.is_cancelled() {
            Err(WorldError::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Real time by what was waited for; clones share it, and it outlives the world.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<BTreeMap<String, Duration>>>);

impl Waits {
    /// Milliseconds by what was waited for.
    pub fn in_ms(&self) -> BTreeMap<String, u64> {
        let waits = self.0.lock().expect("no holder panics");
        waits
            .iter()
            .map(|(what, spent)| (what.clone(), spent.as_millis() as u64))
            .collect()
    }

    /// Adds the time since `start`.
    pub(super) fn add(&self, what: &str, start: Instant) {
        *self
            .0
            .lock()
            .expect("no holder panics")
            .entry(what.to_owned())
            .or_default() += start.elapsed();
    }
}

/// How a condition is waited for.
pub(super) struct Patience<'a> {
    /// The account's entry.
    pub(super) what: &'a str,
    /// Real time.
    pub(super) limit: Duration,
    /// Ends it early.
    pub(super) cancel: &'a Cancel,
    /// The account.
    pub(super) waits: &'a Waits,
}

impl Patience<'_> {
    /// Waits until `missing` finds nothing missing any more.
    pub(super) async fn wait(
        &self,
        mut missing: impl FnMut() -> Result<Vec<String>, WorldError>,
    ) -> Result<(), WorldError> {
        let start = Instant::now();
        let result = loop {
            self.cancel.check()?;
            let waiting_for = missing()?;
            if waiting_for.is_empty() {
                break Ok(());
            }
            if start.elapsed() >= self.limit {
                break Err(WorldError::Unsettled {
                    waited: Span(start.elapsed().as_millis() as u64),
                    waiting_for,
                });
            }
            sleep(POLL).await;
        };
        self.waits.add(self.what, start);
        result
    }
}
