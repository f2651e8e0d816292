//! Owns when the driver looks at the chain: at the start, when the backend says that something changed, when the engine
//! asks, and again after a look that failed or was refused. Does not own what a view means (`onchain`).
//!
//! A look leaves no trace outside, so a stop before or after it loses nothing: the driver looks again when it starts.

use super::timers::{Wake, pause_after};
use super::{Done, Driver, Then};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::rail::{ChainView, Effect, Fact};
use lockstep_engine::rare::{Rare, sometimes};

/// The state of looking.
pub(super) struct Watch {
    /// The backend's next change; terminated while another look is wanted anyway.
    pub(super) changed: Fuse<BoxFuture<'static, ()>>,
    looking: bool,
    /// Something asked for a look while one was under way, which may have missed what the asker means.
    again: bool,
    failures: u32,
    /// The latest view that the engine accepted.
    accepted: Option<ChainView>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            changed: Fuse::terminated(),
            looking: false,
            again: false,
            failures: 0,
            accepted: None,
        }
    }
}

impl Watch {
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }
}

impl Driver {
    /// Looks now, or once more after the look that is under way.
    pub(super) fn look(&mut self) {
        if self.chain.looking {
            sometimes(Rare::LookWantedTwice);
            self.chain.again = true;
            return;
        }
        let (scripts, known) = {
            let engine = self.shared.engine();
            (engine.watched_scripts(), engine.chain_blocks())
        };
        self.chain.looking = true;
        self.chain.again = false;
        self.in_flight.push(
            self.ports
                .chain
                .view(scripts, known)
                .map(Done::Look)
                .boxed(),
        );
        // Asked for after `view` was called, so that no change falls between.
        self.chain.changed = self.ports.chain.changed().fuse();
    }

    pub(super) fn on_view(&mut self, view: ChainView) {
        // A view that tells nothing new would only make the journal longer, unless the engine waits for one.
        if self.chain.accepted.as_ref() == Some(&view) && self.awaiting_chain().is_empty() {
            self.chain.failures = 0;
            self.finish_look();
        } else {
            self.enqueue(Fact::Chain(view.clone()), Then::Looked(view));
        }
    }

    pub(super) fn on_no_view(&mut self, reason: &str) {
        if self.chain.failures == 0 {
            for key in self.awaiting_chain() {
                self.enqueue(
                    Fact::Unavailable {
                        key,
                        reason: reason.to_owned(),
                    },
                    Then::Nothing,
                );
            }
        }
        self.look_later();
        self.finish_look();
    }

    /// The engine has accepted or refused the view (a backend that lags behind what the engine knows, for instance).
    pub(super) fn on_looked(&mut self, view: ChainView, accepted: bool) {
        if accepted {
            self.chain.failures = 0;
            self.chain.accepted = Some(view);
        } else {
            self.look_later();
        }
        self.finish_look();
    }

    fn look_later(&mut self) {
        self.chain.failures += 1;
        let at = self
            .ports
            .clock
            .now()
            .plus(pause_after(self.chain.failures));
        self.timers.set(at, Wake::Look);
    }

    fn finish_look(&mut self) {
        self.chain.looking = false;
        if self.chain.again {
            self.look();
        }
    }

    fn awaiting_chain(&self) -> Vec<IdempotencyKey> {
        let engine = self.shared.engine();
        let asked = engine
            .outstanding()
            .filter(|instruction| matches!(instruction.effect, Effect::ReadChain));
        asked.map(|instruction| instruction.key.clone()).collect()
    }
}
