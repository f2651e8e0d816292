//! Owns the Lightning port over a running `ldk_node::Node`. Does not own the node's configuration, channels or start.
//!
//! One payment hash is paid at most once: the node's payment store is asked first, and what it does not know yet
//! LDK's channel manager refuses as a duplicate. Events stay with the node until acknowledged, across restarts.
//!
//! Balances: ldk-node shows no channel's balance itself, only capacities (LDK: balance less reserve, pending HTLCs left
//! out). `local_balance` undoes that. Not exact: a side below its reserve (its capacity is cut off at zero) while
//! HTLCs are pending.

mod channels;

use crate::adapters::blocking::blocking;
use crate::ports::{
    ClaimOrder, ClaimTaken, CloseChannelOrder, FailOrder, InvoiceOrder, LightningBalance,
    LightningError, LightningEvent, LightningNode, LightningUnavailable, OpenChannelOrder,
    PayError, PayOrder, PayTaken,
};
use bitcoin::hashes::{Hash, sha256};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ldk_node::lightning::events::PaymentFailureReason;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Sha256};
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{ChannelDetails, Event, Node, NodeError};
use lockstep_engine::money::Msat;
use lockstep_engine::rail::{Description, LightningFailure, NodeView};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Both anchor outputs (BOLT 3: 330 sat each), which the channel's funder pays for out of his balance.
const ANCHORS_MSAT: u64 = 660_000;

/// How often the node is looked at for what it does not tell.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Pause before an event that the port does not tell is acknowledged again after a failure.
const ACKNOWLEDGE_AGAIN: Duration = Duration::from_secs(1);

/// A Lightning node.
#[derive(Clone)]
pub struct LdkNode {
    node: Arc<Node>,
    /// Amounts held on hold invoices, as told by events since the start: they are in no capacity.
    held: Arc<Mutex<BTreeMap<[u8; 32], Msat>>>,
}

impl LdkNode {
    /// Over a node that runs.
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            held: Arc::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Msat>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create_invoice_now(&self, order: InvoiceOrder) -> Result<String, LightningError> {
        let description = described(order.description)?;
        let (expiry, payments) = (order.expiry_secs, self.node.bolt11_payment());
        let hash = order.hold_hash.map(PaymentHash);
        let invoice = match (order.amount_msat, hash) {
            (Some(Msat(amount)), None) => payments.receive(amount, &description, expiry),
            (Some(Msat(amount)), Some(hash)) => {
                payments.receive_for_hash(amount, &description, expiry, hash)
            }
            (None, None) => payments.receive_variable_amount(&description, expiry),
            (None, Some(hash)) => {
                payments.receive_variable_amount_for_hash(&description, expiry, hash)
            }
        };
        invoice
            .map(|invoice| invoice.to_string())
            .map_err(|error| match error {
                NodeError::InvoiceCreationFailed => LightningError::Refused {
                    reason: error.to_string(),
                },
                _ => LightningError::Unavailable {
                    reason: error.to_string(),
                },
            })
    }

    fn pay_now(&self, order: &PayOrder) -> Result<PayTaken, PayError> {
        let invoice =
            Bolt11Invoice::from_str(&order.invoice).map_err(|error| PayError::Unavailable {
                reason: format!("not an invoice: {error}"),
            })?;
        let payment_hash = invoice.payment_hash().to_byte_array();
        let refused = |reason| {
            Err(PayError::Refused {
                payment_hash,
                reason,
            })
        };
        if let Some(known) = self.node.payment(&PaymentId(payment_hash)) {
            return known_payment(&known, payment_hash);
        }
        let limits =
            RouteParametersConfig::default().with_max_total_routing_fee_msat(order.max_fee_msat.0);
        let payments = self.node.bolt11_payment();
        let sent = match order.amount_msat {
            None => payments.send(&invoice, Some(limits)),
            Some(amount) => payments.send_using_amount(&invoice, amount.0, Some(limits)),
        };
        match sent {
            // A duplicate that the store does not know: the process stopped between the channel manager and the store.
            Ok(_) | Err(NodeError::DuplicatePayment) => Ok(PayTaken::Pending),
            Err(NodeError::PaymentSendingFailed) if invoice.is_expired() => {
                refused(LightningFailure::InvoiceExpired)
            }
            Err(NodeError::PaymentSendingFailed) => refused(LightningFailure::RouteNotFound),
            Err(NodeError::InvalidInvoice | NodeError::InvalidAmount) => {
                refused(LightningFailure::Refused)
            }
            Err(error) => Err(PayError::Unavailable {
                reason: error.to_string(),
            }),
        }
    }

    fn claim_now(&self, order: &ClaimOrder) -> Result<ClaimTaken, LightningUnavailable> {
        let payment_hash = sha256::Hash::hash(&order.preimage).to_byte_array();
        let known = self.node.payment(&PaymentId(payment_hash));
        match known.map(|payment| payment.status) {
            None | Some(PaymentStatus::Failed) => return Ok(ClaimTaken::Gone { payment_hash }),
            Some(PaymentStatus::Succeeded) => {
                let amount_msat = order.amount_msat;
                return Ok(ClaimTaken::Finished(LightningEvent::Received {
                    payment_hash,
                    amount_msat,
                }));
            }
            Some(PaymentStatus::Pending) => {}
        }
        let preimage = PaymentPreimage(order.preimage);
        let claimed = self.node.bolt11_payment().claim_for_hash(
            PaymentHash(payment_hash),
            order.amount_msat.0,
            preimage,
        );
        claimed.map(|()| ClaimTaken::Claiming).map_err(unavailable)
    }

    fn fail_now(&self, order: &FailOrder) -> Result<(), LightningUnavailable> {
        let known = self.node.payment(&PaymentId(order.payment_hash));
        if known.is_none_or(|payment| payment.status == PaymentStatus::Succeeded) {
            // Nothing is held on it (any more).
            return Ok(());
        }
        self.node
            .bolt11_payment()
            .fail_for_hash(PaymentHash(order.payment_hash))
            .map_err(unavailable)?;
        self.held().remove(&order.payment_hash);
        Ok(())
    }

    fn balance_now(&self) -> LightningBalance {
        let anchors_msat = if self.node.config().anchor_channels_config.is_some() {
            ANCHORS_MSAT
        } else {
            0
        };
        let pending = self.node.list_payments_with_filter(|payment| {
            payment.direction == PaymentDirection::Outbound
                && payment.status == PaymentStatus::Pending
                && matches!(payment.kind, PaymentKind::Bolt11 { .. })
        });
        let pending_msat = pending
            .iter()
            .filter_map(|payment| payment.amount_msat)
            .sum();
        let held_msat = self.held().values().map(|amount| amount.0).sum();
        let capacities: Vec<Capacity> =
            self.node.list_channels().iter().map(Capacity::of).collect();
        total_balance(
            &capacities,
            Pending {
                anchors_msat,
                pending_msat,
                held_msat,
            },
        )
    }

    /// Exact only while nothing is in flight: ldk-node shows no HTLC to the millisatoshi.
    fn view_now(&self) -> Result<NodeView, LightningUnavailable> {
        let busy = |reason: &str| LightningUnavailable {
            reason: reason.to_owned(),
        };
        if self.node.next_event().is_some() {
            return Err(busy("an event of the node was not taken yet"));
        }
        let pending = self.node.list_payments_with_filter(|payment| {
            payment.direction == PaymentDirection::Outbound
                && payment.status == PaymentStatus::Pending
                && matches!(payment.kind, PaymentKind::Bolt11 { .. })
        });
        if !pending.is_empty() || !self.held().is_empty() {
            return Err(busy("a payment is under way"));
        }
        let anchors_msat = match self.node.config().anchor_channels_config {
            Some(_) => ANCHORS_MSAT,
            None => 0,
        };
        let ours = |channel: &ChannelDetails| local_balance(&Capacity::of(channel), anchors_msat).0;
        Ok(channels::view(&self.node, ours))
    }

    /// The port's word for the node's event, if it has one.
    fn told(&self, event: Event) -> Option<LightningEvent> {
        match event {
            Event::PaymentClaimable {
                payment_hash,
                claimable_amount_msat,
                claim_deadline,
                ..
            } => {
                self.held()
                    .insert(payment_hash.0, Msat(claimable_amount_msat));
                Some(LightningEvent::Held {
                    payment_hash: payment_hash.0,
                    amount_msat: Msat(claimable_amount_msat),
                    // Unknown only for events of long ago: then it is too late.
                    claim_deadline_height: claim_deadline.unwrap_or(0),
                })
            }
            Event::PaymentReceived {
                payment_hash,
                amount_msat,
                ..
            } => {
                self.held().remove(&payment_hash.0);
                Some(LightningEvent::Received {
                    payment_hash: payment_hash.0,
                    amount_msat: Msat(amount_msat),
                })
            }
            Event::PaymentSuccessful {
                payment_hash,
                payment_preimage,
                fee_paid_msat,
                ..
            } => payment_preimage.map(|preimage| LightningEvent::Sent {
                payment_hash: payment_hash.0,
                preimage: preimage.0,
                fee_msat: Msat(fee_paid_msat.unwrap_or(0)),
            }),
            Event::PaymentFailed {
                payment_hash,
                reason,
                ..
            } => payment_hash.map(|payment_hash| LightningEvent::Failed {
                payment_hash: payment_hash.0,
                reason: failure(reason),
            }),
            Event::ChannelClosed {
                user_channel_id,
                reason,
                ..
            } => Some(LightningEvent::ChannelEnded {
                id: user_channel_id.0.to_be_bytes(),
                reason: reason.map_or_else(String::new, |reason| reason.to_string()),
            }),
            // Other news of channels shows in the view; forwards are not the engine's business.
            _ => None,
        }
    }
}

fn described(description: Description) -> Result<Bolt11InvoiceDescription, LightningError> {
    match description {
        Description::Text(text) => match ldk_node::lightning_invoice::Description::new(text) {
            Ok(text) => Ok(Bolt11InvoiceDescription::Direct(text)),
            Err(error) => Err(LightningError::Refused {
                reason: error.to_string(),
            }),
        },
        Description::Hash(hash) => Ok(Bolt11InvoiceDescription::Hash(Sha256(
            sha256::Hash::from_byte_array(hash),
        ))),
    }
}

/// The answer for a hash that the node has seen.
fn known_payment(known: &PaymentDetails, payment_hash: [u8; 32]) -> Result<PayTaken, PayError> {
    if known.direction == PaymentDirection::Inbound {
        // Our own invoice.
        return Err(PayError::Refused {
            payment_hash,
            reason: LightningFailure::Refused,
        });
    }
    match (known.status, &known.kind) {
        (PaymentStatus::Pending, _) => Ok(PayTaken::Pending),
        (
            PaymentStatus::Succeeded,
            PaymentKind::Bolt11 {
                preimage: Some(preimage),
                ..
            },
        ) => {
            let fee_msat = Msat(known.fee_paid_msat.unwrap_or(0));
            Ok(PayTaken::Finished(LightningEvent::Sent {
                payment_hash,
                preimage: preimage.0,
                fee_msat,
            }))
        }
        (PaymentStatus::Succeeded, _) => Err(PayError::Unavailable {
            reason: "the node has no proof of a payment that it made".to_owned(),
        }),
        // The node does not keep the reason.
        (PaymentStatus::Failed, _) => Ok(PayTaken::Finished(LightningEvent::Failed {
            payment_hash,
            reason: LightningFailure::Other,
        })),
    }
}

fn failure(reason: Option<PaymentFailureReason>) -> LightningFailure {
    match reason {
        Some(PaymentFailureReason::RouteNotFound) => LightningFailure::RouteNotFound,
        Some(PaymentFailureReason::RecipientRejected) => LightningFailure::RecipientRejected,
        Some(PaymentFailureReason::RetriesExhausted) => LightningFailure::RetriesExhausted,
        Some(PaymentFailureReason::PaymentExpired) => LightningFailure::InvoiceExpired,
        _ => LightningFailure::Other,
    }
}

fn unavailable(error: NodeError) -> LightningUnavailable {
    LightningUnavailable {
        reason: error.to_string(),
    }
}

/// What ldk-node shows of a channel, in msat.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    value: u64,
    outbound: u64,
    our_reserve: u64,
    inbound: u64,
    their_reserve: u64,
    funded_by_us: bool,
}

impl Capacity {
    fn of(channel: &ChannelDetails) -> Self {
        Self {
            value: channel.channel_value_sats * 1_000,
            outbound: channel.outbound_capacity_msat,
            our_reserve: channel.unspendable_punishment_reserve.unwrap_or(0) * 1_000,
            inbound: channel.inbound_capacity_msat,
            their_reserve: channel.counterparty_unspendable_punishment_reserve * 1_000,
            funded_by_us: channel.is_outbound,
        }
    }
}

/// What is in no capacity, over all channels.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Of each channel's funder.
    anchors_msat: u64,
    /// Amounts of our pending payments, without their fees.
    pending_msat: u64,
    /// Incoming, held.
    held_msat: u64,
}

fn total_balance(channels: &[Capacity], pending: Pending) -> LightningBalance {
    let mut local_msat = 0_u64;
    let mut in_htlcs_msat = Some(0_u64);
    for channel in channels {
        let (local, htlcs) = local_balance(channel, pending.anchors_msat);
        local_msat += local;
        in_htlcs_msat = in_htlcs_msat.zip(htlcs).map(|(sum, htlcs)| sum + htlcs);
    }
    // What is in HTLCs and not held is on its way out, fees included; unless nothing of ours is under way.
    let outgoing = in_htlcs_msat.map_or(pending.pending_msat, |sum| {
        sum.saturating_sub(pending.held_msat)
    });
    let outgoing_htlcs_msat = Msat(if pending.pending_msat == 0 {
        0
    } else {
        outgoing
    });
    LightningBalance {
        local_msat: Msat(local_msat),
        outgoing_htlcs_msat,
    }
}

/// Our balance in a channel, and what is in its HTLCs if both capacities tell (neither is cut off at zero).
fn local_balance(channel: &Capacity, anchors_msat: u64) -> (u64, Option<u64>) {
    let (our_anchors, their_anchors) = if channel.funded_by_us {
        (anchors_msat, 0)
    } else {
        (0, anchors_msat)
    };
    let local = channel.outbound + channel.our_reserve + our_anchors;
    let remote = channel.inbound + channel.their_reserve + their_anchors;
    match (channel.outbound > 0, channel.inbound > 0) {
        (true, true) => (local, Some(channel.value.saturating_sub(local + remote))),
        // The other side is below its reserve.
        (true, false) => (local, None),
        // We are: the rest of the channel is ours.
        (false, _) => (channel.value.saturating_sub(remote), None),
    }
}

impl LightningNode for LdkNode {
    fn create_invoice(
        &self,
        order: InvoiceOrder,
    ) -> BoxFuture<'static, Result<String, LightningError>> {
        let this = self.clone();
        blocking(move || this.create_invoice_now(order))
            .map(|answer| {
                answer.unwrap_or_else(|reason| Err(LightningError::Unavailable { reason }))
            })
            .boxed()
    }

    fn pay(&self, order: PayOrder) -> BoxFuture<'static, Result<PayTaken, PayError>> {
        let this = self.clone();
        blocking(move || this.pay_now(&order))
            .map(|answer| answer.unwrap_or_else(|reason| Err(PayError::Unavailable { reason })))
            .boxed()
    }

    fn claim_held(
        &self,
        order: ClaimOrder,
    ) -> BoxFuture<'static, Result<ClaimTaken, LightningUnavailable>> {
        let this = self.clone();
        blocking(move || this.claim_now(&order))
            .map(|answer| answer.unwrap_or_else(|reason| Err(LightningUnavailable { reason })))
            .boxed()
    }

    fn fail_held(&self, order: FailOrder) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let this = self.clone();
        blocking(move || this.fail_now(&order))
            .map(|answer| answer.unwrap_or_else(|reason| Err(LightningUnavailable { reason })))
            .boxed()
    }

    fn balance(&self) -> BoxFuture<'static, Result<LightningBalance, LightningUnavailable>> {
        let this = self.clone();
        blocking(move || this.balance_now())
            .map(|answer| answer.map_err(|reason| LightningUnavailable { reason }))
            .boxed()
    }

    fn open_channel(
        &self,
        order: OpenChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        let this = self.clone();
        blocking(move || channels::open(&this.node, &order))
            .map(|answer| {
                answer.unwrap_or_else(|reason| Err(LightningError::Unavailable { reason }))
            })
            .boxed()
    }

    fn close_channel(
        &self,
        order: CloseChannelOrder,
    ) -> BoxFuture<'static, Result<(), LightningError>> {
        let this = self.clone();
        blocking(move || channels::close(&this.node, order))
            .map(|answer| {
                answer.unwrap_or_else(|reason| Err(LightningError::Unavailable { reason }))
            })
            .boxed()
    }

    fn view(&self) -> BoxFuture<'static, Result<NodeView, LightningUnavailable>> {
        let this = self.clone();
        blocking(move || this.view_now())
            .map(|answer| answer.unwrap_or_else(|reason| Err(LightningUnavailable { reason })))
            .boxed()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        // ldk-node tells nothing of its wallet and of sweeps.
        tokio::time::sleep(LOOK_AGAIN_AFTER).boxed()
    }

    fn next_event(&self) -> BoxFuture<'static, LightningEvent> {
        let this = self.clone();
        async move {
            loop {
                let event = this.node.next_event_async().await;
                if let Some(told) = this.told(event) {
                    return told;
                }
                if this.event_handled().await.is_err() {
                    tokio::time::sleep(ACKNOWLEDGE_AGAIN).await;
                }
            }
        }
        .boxed()
    }

    fn event_handled(&self) -> BoxFuture<'static, Result<(), LightningUnavailable>> {
        let this = self.clone();
        blocking(move || this.node.event_handled().map_err(unavailable))
            .map(|answer| answer.unwrap_or_else(|reason| Err(LightningUnavailable { reason })))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel of 1,000,000 sat with 10,000 sat reserves, as LDK shows it when the sides have these balances.
    fn channel(local: u64, htlcs: u64, funded_by_us: bool) -> Capacity {
        let (value, reserve) = (1_000_000_000, 10_000_000);
        let (ours, theirs) = if funded_by_us {
            (ANCHORS_MSAT, 0)
        } else {
            (0, ANCHORS_MSAT)
        };
        Capacity {
            value,
            outbound: local.saturating_sub(ours + reserve),
            our_reserve: reserve,
            inbound: (value - local - htlcs).saturating_sub(theirs + reserve),
            their_reserve: reserve,
            funded_by_us,
        }
    }

    fn total(channels: &[Capacity], pending_msat: u64, held_msat: u64) -> (u64, u64) {
        let balance = total_balance(
            channels,
            Pending {
                anchors_msat: ANCHORS_MSAT,
                pending_msat,
                held_msat,
            },
        );
        (balance.local_msat.0, balance.outgoing_htlcs_msat.0)
    }

    #[test]
    fn a_balance_is_exact_to_the_msat_whoever_funded() {
        assert_eq!(
            total(&[channel(400_000_001, 0, true)], 0, 0),
            (400_000_001, 0)
        );
        assert_eq!(
            total(&[channel(400_000_001, 0, false)], 0, 0),
            (400_000_001, 0)
        );
    }

    #[test]
    fn a_side_below_its_reserve_is_seen_from_the_other() {
        assert_eq!(total(&[channel(5_000_000, 0, false)], 0, 0), (5_000_000, 0));
        assert_eq!(
            total(&[channel(999_000_000, 0, true)], 0, 0),
            (999_000_000, 0)
        );
    }

    #[test]
    fn outgoing_htlcs_are_told_with_their_fees_and_without_what_is_held() {
        let channels = [
            channel(400_000_000, 7_000_000 + 50_123, true),
            channel(300_000_000, 0, false),
        ];
        assert_eq!(total(&channels, 50_000, 7_000_000), (700_000_000, 50_123));
        assert_eq!(total(&channels, 0, 7_000_000), (700_000_000, 0));
    }
}
