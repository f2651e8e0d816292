//! Owns the engine's Lightning port over the operator's node, across its crashes and restarts: the production adapter
//! does the work, and what it would pass over in silence (forwards, channels) is kept for the world first.
//! Does not own the adapter (`lockstep-host`) nor the node's life (`nodes`).

use super::nodes::NodeProcess;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ldk_node::{Event, Node};
use lockstep_engine::rail::NodeView;
use lockstep_host::adapters::ldk_node::LdkNode;
use lockstep_host::ports::{
    ClaimOrder, ClaimTaken, CloseChannelOrder, FailOrder, InvoiceOrder, LightningBalance,
    LightningError, LightningEvent, LightningNode, LightningUnavailable, OpenChannelOrder,
    PayError, PayOrder, PayTaken,
};
use std::sync::{Arc, Mutex};

/// The operator's node as the engine sees it.
#[derive(Clone)]
pub(super) struct OperatorNode {
    process: Arc<NodeProcess>,
    adapter: Arc<Mutex<Kept>>,
}

/// The adapter and the node that it was made for.
type Kept = Option<(Arc<Node>, LdkNode)>;

const DOWN: &str = "the node is down";

impl OperatorNode {
    /// Over this node, whose events nobody else takes any more.
    pub(super) fn new(process: Arc<NodeProcess>) -> OperatorNode {
        OperatorNode {
            process,
            adapter: Arc::default(),
        }
    }

    fn adapter_of(&self, node: Arc<Node>) -> LdkNode {
        let mut kept = self.adapter.lock().expect("no holder panics");
        match &*kept {
            Some((of, adapter)) if Arc::ptr_eq(of, &node) => adapter.clone(),
            _ => {
                let adapter = LdkNode::new(node.clone());
                *kept = Some((node, adapter.clone()));
                adapter
            }
        }
    }

    fn adapter(&self) -> Option<LdkNode> {
        let running = self.process.running();
        if running.is_none() {
            // Not to keep a node that has stopped alive.
            *self.adapter.lock().expect("no holder panics") = None;
        }
        running.map(|node| self.adapter_of(node))
    }

    /// Lets go of the node.
    pub(super) fn release(&self) {
        *self.adapter.lock().expect("no holder panics") = None;
    }

    fn unavailable() -> LightningUnavailable {
        LightningUnavailable {
            reason: DOWN.to_owned(),
        }
    }

    async fn next(self) -> LightningEvent {
        let mut lives = self.process.lives();
        loop {
            let live = lives.borrow_and_update().clone();
            let Some(node) = live else {
                if lives.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let event = tokio::select! {
                biased;
                _ = lives.changed() => continue,
                event = node.next_event_async() => event,
            };
            if is_for_engine(&event) {
                self.process.keep(&event);
                // The same event again: the node tells it until it is acknowledged.
                return self.adapter_of(node).next_event().await;
            }
            self.process.take(&node, &event);
        }
    }
}

fn is_for_engine(event: &Event) -> bool {
    match event {
        Event::PaymentClaimable { .. } | Event::PaymentReceived { .. } => true,
        Event::PaymentSuccessful {
            payment_preimage, ..
        } => payment_preimage.is_some(),
        Event::PaymentFailed { payment_hash, .. } => payment_hash.is_some(),
        Event::ChannelClosed { .. } => true,
        _ => false,
    }
}

impl LightningNode for OperatorNode {
    fn create_invoice(
        &self,
        order: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>> {
        match self.adapter() {
            Some(adapter) => adapter.create_invoice(order),
            None => std::future::ready(Err(LightningError::Unavailable {
                reason: DOWN.to_owned(),
            }))
            .boxed(),
        }
    }

    fn pay(&self, order: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>> {
        match self.adapter() {
            Some(adapter) => adapter.pay(order),
            None => std::future::ready(Err(PayError::Unavailable {
                reason: DOWN.to_owned(),
            }))
            .boxed(),
        }
    }

    fn claim_held(
        &self,
        order: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>> {
        let Some(adapter) = self.adapter() else {
            return std::future::ready(Err(Self::unavailable())).boxed();
        };
        let hash = lockstep_engine::lightning::payment_hash(&order.preimage);
        let (process, claiming) = (self.process.clone(), adapter.claim_held(order));
        async move {
            let taken = claiming.await;
            let mut told = process.told();
            if taken.is_ok() {
                told.held.remove(&hash);
            }
            if matches!(taken, Ok(ClaimTaken::Claiming)) {
                told.claiming.insert(hash);
            }
            drop(told);
            taken
        }
        .boxed()
    }

    fn fail_held(&self, order: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let Some(adapter) = self.adapter() else {
            return std::future::ready(Err(Self::unavailable())).boxed();
        };
        let (process, hash, failing) = (
            self.process.clone(),
            order.payment_hash,
            adapter.fail_held(order),
        );
        async move {
            let failed = failing.await;
            if failed.is_ok() {
                process.told().held.remove(&hash);
            }
            failed
        }
        .boxed()
    }

    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>> {
        match self.adapter() {
            Some(adapter) => adapter.balance(),
            None => std::future::ready(Err(Self::unavailable())).boxed(),
        }
    }

    fn open_channel(
        &self,
        order: OpenChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        match self.adapter() {
            Some(adapter) => adapter.open_channel(order),
            None => std::future::ready(Err(LightningError::Unavailable {
                reason: DOWN.to_owned(),
            }))
            .boxed(),
        }
    }

    fn close_channel(
        &self,
        order: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        match self.adapter() {
            Some(adapter) => adapter.close_channel(order),
            None => std::future::ready(Err(LightningError::Unavailable {
                reason: DOWN.to_owned(),
            }))
            .boxed(),
        }
    }

    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>> {
        match self.adapter() {
            Some(adapter) => adapter.view(),
            None => std::future::ready(Err(Self::unavailable())).boxed(),
        }
    }

    /// The world says when: nothing changes but by a step.
    fn changed(&self) -> BoxFuture<'static, ()> {
        std::future::pending().boxed()
    }

    fn next_event(&self) -> BoxFuture<'static, LightningEvent> {
        self.clone().next().boxed()
    }

    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        match self.adapter() {
            Some(adapter) => adapter.event_handled(),
            None => std::future::ready(Err(Self::unavailable())).boxed(),
        }
    }
}
