//! Outgoing payments: of an invoice by any route, or along a route that the caller fixes.
//!
//! Owns idempotency: one payment id is sent at most once in the life of the node, restarts included. Does not own what
//! happens when a payment ends (`handler`).

use std::time::Duration;

use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::{
    Bolt11PaymentError, PaymentId, RecipientOnionFields, Retry, RetryableSendFailure,
};
use lightning::routing::router::{
    Path, PaymentParameters, Route, RouteHop, RouteParameters, RouteParametersConfig,
};
use lightning_invoice::Bolt11Invoice;
use lightning_types::features::{ChannelFeatures, NodeFeatures};
use lightning_types::payment::PaymentHash;

use crate::disk::DiskError;
use crate::events::FailureReason;
use crate::node::Node;
use crate::records::{self, OutgoingRecord, OutgoingStatus};
use crate::view::PaymentView;

/// A payment of an invoice by whatever route the node finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayInvoice<'a> {
    /// The BOLT 11 invoice.
    pub invoice: &'a str,
    /// What is paid, if the invoice names no amount; or more than it asks for (BOLT 4: a payee takes up to twice as much).
    pub amount_msat: Option<u64>,
    /// The payer's id, under which the payment is made at most once.
    pub payment_id: PaymentId,
    /// The most that may be paid in fees; `None` for LDK's default of one percent plus 50 satoshi.
    pub max_total_fee_msat: Option<u64>,
    /// How long failed attempts are tried again; `ldk-node` takes ten seconds.
    pub retry_timeout_secs: u64,
}

/// One hop of a fixed route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node this hop leads to.
    pub node_id: PublicKey,
    /// The channel this hop takes.
    pub short_channel_id: u64,
    /// What that node keeps for forwarding further; 0 for the last hop.
    pub fee_msat: u64,
    /// The blocks that node wants between its incoming and outgoing HTLC; for the last hop the invoice's final delta.
    pub cltv_expiry_delta: u32,
}

/// A payment of an invoice along one fixed route, tried once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayAlong<'a> {
    /// The BOLT 11 invoice; must name an amount.
    pub invoice: &'a str,
    /// The payer's id, under which the payment is made at most once.
    pub payment_id: PaymentId,
    /// The route, from the payer's first channel to the payee.
    pub hops: &'a [Hop],
}

/// What asking for a payment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayOutcome {
    /// The payment was begun.
    Started,
    /// A payment of this id was begun before and not again now; see [`Node::payment`].
    AlreadyKnown,
}

/// Why a payment was refused. Nothing was sent, except where said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayError {
    /// The invoice cannot be read or names no amount.
    #[error("unusable invoice: {cause}")]
    BadInvoice {
        /// The reason.
        cause: String,
    },
    /// LDK refused, for want of a route, say. The payment is recorded as failed under its id.
    #[error("refused: {reason:?}")]
    Refused {
        /// The reason.
        reason: FailureReason,
    },
    /// The disk refused. Whether the payment is made shows after the next start.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Node {
    /// Pays an invoice. Idempotent by payment id: a repetition, also after a crash, only looks.
    pub fn pay_invoice(&self, pay: PayInvoice<'_>) -> Result<PayOutcome, PayError> {
        let (invoice, amount_msat) = parse(pay.invoice, pay.amount_msat)?;
        let route = RouteParametersConfig {
            max_total_routing_fee_msat: pay.max_total_fee_msat,
            ..RouteParametersConfig::default()
        };
        let retry = Retry::Timeout(Duration::from_secs(pay.retry_timeout_secs));
        let hash = payment_hash(&invoice);
        self.pay_once(pay.payment_id, hash, amount_msat, || {
            match self.inner.channels.pay_for_bolt11_invoice(
                &invoice,
                pay.payment_id,
                pay.amount_msat,
                route,
                retry,
            ) {
                Ok(()) => Ok(()),
                Err(Bolt11PaymentError::SendingFailed(failure)) => Err(failure),
                Err(Bolt11PaymentError::InvalidAmount) => {
                    unreachable!("the amount was checked above")
                }
            }
        })
    }

    /// Pays an invoice along exactly these hops, once. Idempotent like [`Node::pay_invoice`].
    pub fn pay_along(&self, pay: PayAlong<'_>) -> Result<PayOutcome, PayError> {
        let (invoice, amount_msat) = parse(pay.invoice, None)?;
        let hash = payment_hash(&invoice);
        let route = fixed_route(&invoice, amount_msat, pay.hops)?;
        let onion = RecipientOnionFields::secret_only(*invoice.payment_secret());
        self.pay_once(pay.payment_id, hash, amount_msat, || {
            self.inner
                .channels
                .send_payment_with_route(route, hash, onion, pay.payment_id)
        })
    }

    /// What is known of an outgoing payment.
    pub fn payment(&self, payment_id: PaymentId) -> Result<Option<PaymentView>, DiskError> {
        let record = records::outgoing(&self.inner.store, &payment_id)?;
        Ok(record.map(
            |OutgoingRecord {
                 payment_hash,
                 amount_msat,
                 status,
             }| PaymentView {
                payment_id,
                payment_hash,
                amount_msat,
                status,
            },
        ))
    }

    /// Writes the payment down, then sends it. A stop in between shows at the next start as `NeverSent`.
    fn pay_once(
        &self,
        id: PaymentId,
        payment_hash: PaymentHash,
        amount_msat: u64,
        send: impl FnOnce() -> Result<(), RetryableSendFailure>,
    ) -> Result<PayOutcome, PayError> {
        let store = &self.inner.store;
        if records::outgoing(store, &id)?.is_some() {
            return Ok(PayOutcome::AlreadyKnown);
        }
        let mut record = OutgoingRecord {
            payment_hash,
            amount_msat,
            status: OutgoingStatus::Pending,
        };
        records::put_outgoing(store, &id, &record)?;
        let reason = match send() {
            Ok(()) => return Ok(PayOutcome::Started),
            Err(RetryableSendFailure::DuplicatePayment) => return Ok(PayOutcome::AlreadyKnown),
            Err(RetryableSendFailure::PaymentExpired) => FailureReason::PaymentExpired,
            Err(RetryableSendFailure::RouteNotFound) => FailureReason::RouteNotFound,
            Err(RetryableSendFailure::OnionPacketSizeExceeded) => FailureReason::Unexpected,
        };
        record.status = OutgoingStatus::Failed { reason };
        records::put_outgoing(store, &id, &record)?;
        Err(PayError::Refused { reason })
    }
}

fn parse(text: &str, instead: Option<u64>) -> Result<(Bolt11Invoice, u64), PayError> {
    let invoice: Bolt11Invoice = text
        .parse()
        .map_err(|error| bad_invoice(format!("{error}")))?;
    let amount_msat = match (invoice.amount_milli_satoshis(), instead) {
        (Some(asked), None) => asked,
        (None, Some(given)) => given,
        (None, None) => return Err(bad_invoice("no amount")),
        (Some(asked), Some(given)) if given >= asked => given,
        (Some(asked), Some(_)) => return Err(bad_invoice(format!("it asks for {asked} msat"))),
    };
    Ok((invoice, amount_msat))
}

fn bad_invoice(cause: impl Into<String>) -> PayError {
    PayError::BadInvoice {
        cause: cause.into(),
    }
}

fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash(invoice.payment_hash().to_byte_array())
}

fn fixed_route(invoice: &Bolt11Invoice, amount_msat: u64, hops: &[Hop]) -> Result<Route, PayError> {
    let payee = invoice.get_payee_pub_key();
    let Some((last, forwarding)) = hops.split_last().filter(|(last, _)| last.node_id == payee)
    else {
        return Err(bad_invoice("the route does not end at the payee"));
    };
    let hop = |hop: &Hop, fee_msat: u64| RouteHop {
        pubkey: hop.node_id,
        node_features: NodeFeatures::empty(),
        short_channel_id: hop.short_channel_id,
        channel_features: ChannelFeatures::empty(),
        // LDK counts the delivered amount as the last hop's fee.
        fee_msat,
        cltv_expiry_delta: hop.cltv_expiry_delta,
        maybe_announced_channel: true,
    };
    let mut path: Vec<RouteHop> = forwarding
        .iter()
        .map(|forward| hop(forward, forward.fee_msat))
        .collect();
    path.push(hop(last, amount_msat));
    let parameters = PaymentParameters::from_bolt11_invoice(invoice);
    Ok(Route {
        paths: vec![Path {
            hops: path,
            blinded_tail: None,
        }],
        route_params: Some(RouteParameters::from_payment_params_and_value(
            parameters,
            amount_msat,
        )),
    })
}
