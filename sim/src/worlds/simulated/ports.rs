//! Owns the engine's ports in the simulated world: virtual clock, its Lightning node, HTTP over links, seeded entropy,
//! and a disk for the journal. Does not own the chain's port (`backend`) nor the driver (`lockstep-host`).
//!
//! Fault model: engine and Lightning node share a machine, so calls between them are immediate and fail only when the
//! node is down. The journal's disk keeps what was synced and survives the process.

use super::clocks::Clocks;
use super::http_process::HttpProcess;
use super::node_process::NodeProcess;
use super::own_channels;
use super::stream::LinkStream;
use crate::links::Network;
use crate::prng::Stream;
use crate::worlds::WorldError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::select_biased;
use lockstep_engine::money::Msat;
use lockstep_engine::rail::{Description, Entropy, HttpFailure, LightningFailure, NodeView};
use lockstep_engine::time::Timestamp;
use lockstep_host::adapters::http_client::{self, OutgoingRequest};
use lockstep_host::ports::{
    ClaimOrder, ClaimTaken, Clock, CloseChannelOrder, EntropySource, FailOrder, GatewayCall,
    HttpResponse, HttpTransport, InvoiceOrder, LightningBalance, LightningError, LightningEvent,
    LightningNode, LightningUnavailable, OpenChannelOrder, PayError, PayOrder, PayTaken,
};
use lockstep_lightning::{
    FailureReason, HtlcDirection, IncomingStatus, InvoiceDescription, InvoiceRequest, Node,
    NodeEvent, OutgoingStatus, PayInvoice, PayOutcome, PaymentHash, PaymentId, PaymentPreimage,
};
use madsim::time::sleep;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

/// As long as `ldk-node` tries a payment again.
const PAYMENT_RETRY_SECS: u64 = 10;

/// The engine's clock: virtual time, and what is wrong with it.
pub(crate) struct VirtualClock(pub Clocks);

fn reading(clocks: &Clocks) -> Timestamp {
    Timestamp(clocks.now(super::ENGINE).as_millis() as u64)
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        reading(&self.0)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let clocks = self.0.clone();
        let began = reading(&clocks);
        Box::pin(async move {
            loop {
                let now = reading(&clocks);
                if now >= at || now < began {
                    return;
                }
                let set = clocks.next_setting();
                select_biased! {
                    () = sleep(Duration::from_millis(at.since(now).0)).fuse() => {}
                    () = set.fuse() => {}
                }
            }
        })
    }
}

/// A stream of the root seed as the engine's entropy.
pub(crate) struct SeededEntropy(pub Mutex<Stream>);

impl EntropySource for SeededEntropy {
    fn draw(&self) -> Entropy {
        Entropy(self.0.lock().expect("no holder panics").bytes())
    }
}

/// HTTP to an outside system over a link.
pub(crate) struct LinkHttp {
    /// Links.
    pub network: Network,
    /// The other side.
    pub system: HttpProcess,
    /// Bearer token.
    pub token: String,
}

impl HttpTransport for LinkHttp {
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let endpoint = self.system.endpoint();
        let connected = self.network.connect(super::ENGINE, endpoint);
        let request = OutgoingRequest::gateway(call, endpoint, &self.token);
        let system = self.system.clone();
        Box::pin(async move {
            let (mine, theirs) = connected.map_err(|_| HttpFailure::NotConnected)?;
            system.accept(theirs);
            http_client::exchange_over(
                LinkStream::new(mine),
                request,
                sleep(http_client::EXCHANGE_LIMIT),
            )
            .await
        })
    }
}

/// The operator's Lightning node.
pub(crate) struct OperatorNode(pub NodeProcess);

impl OperatorNode {
    fn node(&self) -> Result<Node, LightningUnavailable> {
        self.0
            .node()
            .map_err(|error: WorldError| LightningUnavailable {
                reason: error.to_string(),
            })
    }

    fn invoice(&self, order: InvoiceOrder) -> Result<String, LightningError> {
        let node = self.node().map_err(|error| LightningError::Unavailable {
            reason: error.reason,
        })?;
        let request = InvoiceRequest {
            amount_msat: order.amount_msat.map(|amount| amount.0),
            description: match order.description {
                Description::Text(text) => InvoiceDescription::Text(text),
                Description::Hash(hash) => InvoiceDescription::Hash(hash),
            },
            expiry_secs: order.expiry_secs,
            min_final_cltv: None,
        };
        let invoice = match order.hold_hash {
            Some(hash) => node.create_hold_invoice(request, PaymentHash(hash)),
            None => node.create_invoice(request),
        };
        self.0.poke();
        invoice.map_err(|error| LightningError::Refused {
            reason: error.to_string(),
        })
    }

    fn start_payment(&self, order: &PayOrder) -> Result<PayTaken, PayError> {
        let unavailable = |reason: String| PayError::Unavailable { reason };
        let node = self.node().map_err(|error| unavailable(error.reason))?;
        let invoice =
            lightning_invoice::Bolt11Invoice::from_str(&order.invoice).map_err(|error| {
                unavailable(format!("the engine let a bad invoice through: {error:?}"))
            })?;
        let payment_hash: [u8; 32] = *invoice.payment_hash().as_ref();
        let pay = PayInvoice {
            invoice: &order.invoice,
            payment_id: PaymentId(payment_hash),
            amount_msat: order.amount_msat.map(|amount| amount.0),
            max_total_fee_msat: Some(order.max_fee_msat.0),
            retry_timeout_secs: order.retry_secs.map_or(PAYMENT_RETRY_SECS, u64::from),
        };
        let outcome = node.pay_invoice(pay);
        self.0.poke();
        match outcome {
            Ok(PayOutcome::Started) => Ok(PayTaken::Pending),
            Ok(PayOutcome::AlreadyKnown) | Err(_) => {
                let view = node
                    .payment(PaymentId(payment_hash))
                    .map_err(|error| unavailable(error.to_string()))?;
                match (view.map(|view| view.status), outcome) {
                    (Some(OutgoingStatus::Pending), _) => Ok(PayTaken::Pending),
                    (
                        Some(OutgoingStatus::Sent {
                            preimage,
                            fee_paid_msat,
                        }),
                        _,
                    ) => {
                        let (preimage, fee_msat) = (preimage.0, Msat(fee_paid_msat));
                        Ok(PayTaken::Finished(LightningEvent::Sent {
                            payment_hash,
                            preimage,
                            fee_msat,
                        }))
                    }
                    (Some(OutgoingStatus::Failed { reason }), _) => Err(PayError::Refused {
                        payment_hash,
                        reason: failure(reason),
                    }),
                    (None, Err(error)) => Err(unavailable(error.to_string())),
                    (None, Ok(_)) => Err(unavailable(
                        "the node knows and does not know the payment".to_owned(),
                    )),
                }
            }
        }
    }

    fn claim(&self, order: &ClaimOrder) -> Result<ClaimTaken, LightningUnavailable> {
        let node = self.node()?;
        let unavailable = |error: &dyn std::fmt::Display| LightningUnavailable {
            reason: error.to_string(),
        };
        let preimage = PaymentPreimage(order.preimage);
        let hash = PaymentHash::from(preimage);
        let receipt = node.receipt(hash).map_err(|error| unavailable(&error))?;
        match receipt.map(|receipt| receipt.status) {
            Some(IncomingStatus::Received { amount_msat }) => {
                let event = LightningEvent::Received {
                    payment_hash: hash.0,
                    amount_msat: Msat(amount_msat),
                };
                return Ok(ClaimTaken::Finished(event));
            }
            Some(IncomingStatus::Released) => {
                return Ok(ClaimTaken::Gone {
                    payment_hash: hash.0,
                });
            }
            Some(IncomingStatus::Expected | IncomingStatus::Held { .. }) | None => {}
        }
        node.claim_held(preimage)
            .map_err(|error| unavailable(&error))?;
        self.0.poke();
        Ok(ClaimTaken::Claiming)
    }

    fn fail(&self, order: &FailOrder) -> Result<(), LightningUnavailable> {
        let node = self.node()?;
        let hash = PaymentHash(order.payment_hash);
        let result = node.fail_held(hash);
        self.0.poke();
        result.map_err(|error| LightningUnavailable {
            reason: error.to_string(),
        })
    }

    fn read_balance(&self) -> Result<LightningBalance, LightningUnavailable> {
        let channels = self.node()?.channels();
        let local: u64 = channels
            .iter()
            .map(|channel| channel.local_balance_msat)
            .sum();
        let outgoing = channels.iter().flat_map(|channel| &channel.htlcs);
        let outgoing: u64 = outgoing
            .filter(|htlc| htlc.direction == HtlcDirection::Outgoing)
            .map(|htlc| htlc.amount_msat)
            .sum();
        Ok(LightningBalance {
            local_msat: Msat(local),
            outgoing_htlcs_msat: Msat(outgoing),
        })
    }
}

/// The engine's word for a node's failure.
pub(crate) fn failure(reason: FailureReason) -> LightningFailure {
    match reason {
        FailureReason::RecipientRejected => LightningFailure::RecipientRejected,
        FailureReason::RetriesExhausted => LightningFailure::RetriesExhausted,
        FailureReason::PaymentExpired => LightningFailure::InvoiceExpired,
        FailureReason::RouteNotFound => LightningFailure::RouteNotFound,
        FailureReason::UserAbandoned | FailureReason::NeverSent | FailureReason::Unexpected => {
            LightningFailure::Other
        }
    }
}

/// What the engine is told of a node's event, if anything.
fn for_engine(event: &NodeEvent) -> Option<LightningEvent> {
    match event {
        NodeEvent::PaymentReceivable {
            payment_hash,
            amount_msat,
            claim_deadline,
        } => Some(LightningEvent::Held {
            payment_hash: payment_hash.0,
            amount_msat: Msat(*amount_msat),
            claim_deadline_height: claim_deadline.unwrap_or(0),
        }),
        NodeEvent::PaymentReceived {
            payment_hash,
            amount_msat,
        } => Some(LightningEvent::Received {
            payment_hash: payment_hash.0,
            amount_msat: Msat(*amount_msat),
        }),
        NodeEvent::PaymentSent {
            payment_hash,
            preimage,
            fee_paid_msat,
            ..
        } => Some(LightningEvent::Sent {
            payment_hash: payment_hash.0,
            preimage: preimage.0,
            fee_msat: Msat(*fee_paid_msat),
        }),
        NodeEvent::PaymentFailed {
            payment_hash: Some(hash),
            reason,
            ..
        } => Some(LightningEvent::Failed {
            payment_hash: hash.0,
            reason: failure(*reason),
        }),
        NodeEvent::ChannelClosed {
            user_channel_id,
            reason,
            ..
        } => Some(LightningEvent::ChannelEnded {
            id: user_channel_id.to_be_bytes(),
            reason: reason.clone(),
        }),
        NodeEvent::PaymentFailed {
            payment_hash: None, ..
        }
        | NodeEvent::HoldReleased { .. }
        | NodeEvent::ChannelPending { .. }
        | NodeEvent::ChannelReady { .. }
        | NodeEvent::PaymentForwarded { .. } => None,
    }
}

impl LightningNode for OperatorNode {
    fn create_invoice(
        &self,
        order: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>> {
        let made = self.invoice(order);
        Box::pin(std::future::ready(made))
    }

    fn pay(&self, order: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>> {
        let taken = self.start_payment(&order);
        Box::pin(std::future::ready(taken))
    }

    fn claim_held(
        &self,
        order: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>> {
        let taken = self.claim(&order);
        Box::pin(std::future::ready(taken))
    }

    fn fail_held(&self, order: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let failed = self.fail(&order);
        Box::pin(std::future::ready(failed))
    }

    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>> {
        let read = self.read_balance();
        Box::pin(std::future::ready(read))
    }

    fn open_channel(
        &self,
        order: OpenChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        let begun = own_channels::open(&self.0, &order);
        Box::pin(std::future::ready(begun))
    }

    fn close_channel(
        &self,
        order: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        let begun = own_channels::close(&self.0, order);
        Box::pin(std::future::ready(begun))
    }

    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>> {
        let told = self.0.unacknowledged();
        let untold = told
            .iter()
            .any(|notice| for_engine(&notice.event).is_some());
        let view = own_channels::view(&self.0, untold);
        Box::pin(std::future::ready(view))
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let changes = self.0.changes();
        Box::pin(async move {
            if changes.recv().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn next_event(&self) -> BoxFuture<'static, LightningEvent> {
        let process = self.0.clone();
        Box::pin(async move {
            let told = process.told();
            loop {
                for notice in process.unacknowledged() {
                    match for_engine(&notice.event) {
                        Some(event) => return event,
                        None => process.acknowledge(notice.seq),
                    }
                }
                if told.recv().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
    }

    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let first = self
            .0
            .unacknowledged()
            .into_iter()
            .find(|notice| for_engine(&notice.event).is_some());
        if let Some(notice) = first {
            self.0.acknowledge(notice.seq);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
