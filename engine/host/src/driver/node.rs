//! Owns when the driver looks at the engine's own Lightning node: at the start, when the node says that something changed, when
//! somebody asks, and again after a look that failed. Does not own what a view means (`payments`).
//!
//! A view is compared with what the engine was told of payments, so none may come between the look and its input: if one
//! did, the driver looks again. A look leaves no trace outside, so a stop before or after it loses nothing.

use super::timers::{Wake, pause_after};
use super::{Done, Driver, Then};
use crate::ports::LightningUnavailable;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use lockstep_engine::rail::{Fact, NodeView};

/// The state of looking.
pub(super) struct NodeWatch {
    /// The node's next change.
    pub(super) changed: Fuse<BoxFuture<'static, ()>>,
    looking: bool,
    /// Something asked for a look while one was under way.
    again: bool,
    failures: u32,
    /// The latest view that the engine was given.
    given: Option<NodeView>,
    /// Facts of payments that were handed to the engine since the start.
    payments_told: u64,
}

impl Default for NodeWatch {
    fn default() -> Self {
        Self {
            changed: Fuse::terminated(),
            looking: false,
            again: false,
            failures: 0,
            given: None,
            payments_told: 0,
        }
    }
}

impl NodeWatch {
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }

    /// Takes note of what the engine is about to be told.
    pub(super) fn note(&mut self, fact: &Fact) {
        let of_payment = matches!(
            fact,
            Fact::LightningReceived { .. }
                | Fact::LightningSent { .. }
                | Fact::LightningFailed { .. }
                | Fact::LightningHeld { .. }
                | Fact::HeldFailed { .. }
        );
        self.payments_told += u64::from(of_payment);
    }
}

impl Driver {
    /// Looks now, or once more after the look that is under way; not at all if the engine leaves the node's channels alone.
    pub(super) fn look_at_node(&mut self) {
        if !self.shared.engine().manages_channels() {
            return;
        }
        if self.node.looking {
            self.node.again = true;
            return;
        }
        (self.node.looking, self.node.again) = (true, false);
        let told = self.node.payments_told;
        self.in_flight.push(
            self.ports
                .lightning
                .view()
                .map(move |view| Done::Node(told, view))
                .boxed(),
        );
        // Asked for after `view` was called, so that no change falls between.
        self.node.changed = self.ports.lightning.changed().fuse();
    }

    pub(super) fn on_node_view(&mut self, told: u64, view: Result<NodeView, LightningUnavailable>) {
        match view {
            Err(_) => {
                self.node.failures += 1;
                let at = self.ports.clock.now().plus(pause_after(self.node.failures));
                self.timers.set(at, Wake::LookAtNode);
                self.finish_look_at_node();
            }
            Ok(_) if told != self.node.payments_told => {
                self.node.again = true;
                self.finish_look_at_node();
            }
            Ok(view) if self.node.given.as_ref() == Some(&view) => {
                self.node.failures = 0;
                self.finish_look_at_node();
            }
            Ok(view) => {
                self.node.failures = 0;
                self.node.given = Some(view.clone());
                self.enqueue(Fact::Node(view), Then::SawNode);
            }
        }
    }

    pub(super) fn finish_look_at_node(&mut self) {
        self.node.looking = false;
        if self.node.again {
            self.look_at_node();
        }
    }
}
