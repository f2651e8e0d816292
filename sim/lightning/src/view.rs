//! What can be seen of a node: channels, HTLCs, balances to be claimed, the graph.
//!
//! Owns the views' shapes and the derivation of exact balances from LDK's figures. Changes nothing.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::chain::channelmonitor::Balance;
use lightning::ln::channel_state::{
    ChannelDetails, ChannelShutdownState, InboundHTLCStateDetails, OutboundHTLCStateDetails,
};
use lightning::ln::channelmanager::{PaymentId, RecentPaymentDetails};
use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use lightning::util::sweep::OutputSpendStatus;
use lightning_types::payment::PaymentHash;

use crate::node::Node;
use crate::records::{self, IncomingStatus, OutgoingStatus};

/// Value of the two anchor outputs, which the opener pays for (BOLT 3), in millisatoshi.
const ANCHORS_MSAT: u64 = 2 * 330_000;

/// Which way an HTLC goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HtlcDirection {
    /// Offered by the peer.
    Incoming,
    /// Offered by this node.
    Outgoing,
}

/// An HTLC that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HtlcView {
    /// Which way it goes.
    pub direction: HtlcDirection,
    /// Its amount.
    pub amount_msat: u64,
    /// The height at which it expires.
    pub cltv_expiry: u32,
    /// Its payment hash.
    pub payment_hash: PaymentHash,
    /// Too small for an output of its own in this node's commitment transaction.
    pub dust: bool,
    /// In both commitment transactions, with nothing under way to change that.
    pub at_rest: bool,
}

/// An open or opening channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// The owner's id of the channel.
    pub user_channel_id: u128,
    /// LDK's id of the channel; changes once, when the channel is funded.
    pub channel_id: ChannelId,
    /// The funding output, once known.
    pub funding: Option<OutPoint>,
    /// The channel's place in the chain, once confirmed.
    pub short_channel_id: Option<u64>,
    /// The other end.
    pub peer: PublicKey,
    /// Whether this node opened (and funded) it.
    pub opener: bool,
    /// Whether it is announced.
    pub announced: bool,
    /// The channel's size.
    pub capacity_sat: u64,
    /// What is this node's alone, to the millisatoshi. The peer's share and all HTLCs make up the rest of the capacity.
    pub local_balance_msat: u64,
    /// What is the peer's alone, to the millisatoshi.
    pub remote_balance_msat: u64,
    /// As `ldk-node` reports it: without reserve, HTLCs and, for the opener, anchors.
    pub outbound_capacity_msat: u64,
    /// As `ldk-node` reports it.
    pub inbound_capacity_msat: u64,
    /// The most a single payment may send now.
    pub next_outbound_htlc_limit_msat: u64,
    /// HTLCs, by direction, hash and amount.
    pub htlcs: Vec<HtlcView>,
    /// Both ends agree that the channel is confirmed.
    pub ready: bool,
    /// Ready, and the peer is connected.
    pub usable: bool,
    /// Confirmations of the funding transaction.
    pub confirmations: Option<u32>,
    /// Confirmations needed.
    pub confirmations_required: Option<u32>,
    /// The feerate of the commitment transaction, in satoshi per 1000 weight units.
    pub feerate_sat_per_kwu: Option<u32>,
    /// A close was begun.
    pub closing: bool,
}

/// An outgoing payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentView {
    /// The payer's id.
    pub payment_id: PaymentId,
    /// The invoice's hash.
    pub payment_hash: PaymentHash,
    /// The amount, without fees.
    pub amount_msat: u64,
    /// How far it is.
    pub status: OutgoingStatus,
}

/// An invoice of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptView {
    /// The invoice's hash.
    pub payment_hash: PaymentHash,
    /// The amount asked for.
    pub amount_msat: Option<u64>,
    /// Whether the owner decides about the payment.
    pub hold: bool,
    /// How far it is.
    pub status: IncomingStatus,
}

/// What is known of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphView {
    /// Channels known.
    pub channels: usize,
    /// Channels of which both directions are known, so that they can be routed over.
    pub channels_both_directions: usize,
    /// Nodes known.
    pub nodes: usize,
}

/// How a balance stands between channel and wallet (LDK's `Balance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BalanceKind {
    /// In an open channel: claimable by closing it.
    OnClose,
    /// On chain and ours after some confirmations or a delay.
    AwaitingConfirmations,
    /// An HTLC we can claim with the preimage, in a race with its timeout.
    Contentious,
    /// An HTLC of ours that comes back if the peer does not claim it.
    MaybeTimeout,
    /// An HTLC to us whose preimage we do not know yet.
    MaybePreimage,
    /// An output of a revoked commitment transaction of the peer.
    Revoked,
}

/// A balance that a channel monitor watches over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimableBalance {
    /// The channel.
    pub channel_id: ChannelId,
    /// How it stands.
    pub kind: BalanceKind,
    /// The amount, in whole satoshi.
    pub amount_sat: u64,
    /// `OnClose`: what the commitment transaction costs us, not in `amount_sat`. Otherwise 0.
    pub commitment_fee_sat: u64,
    /// `OnClose`: millisatoshi lost to rounding in HTLCs on closing, not in `amount_sat`. Otherwise 0.
    pub rounded_msat: u64,
    /// The height at which it matures, times out or expires, if it has one.
    pub height: Option<u32>,
}

/// An output of a closed channel on its way to the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepBalance {
    /// The channel it comes from.
    pub channel_id: Option<ChannelId>,
    /// The value of the output.
    pub amount_sat: u64,
    /// The height at which the sweep was confirmed, once it is; from then on the wallet counts it, too.
    pub confirmed_at: Option<u32>,
}

impl Node {
    /// All channels that are not closed, sorted by the owner's id.
    pub fn channels(&self) -> Vec<ChannelView> {
        let mut channels: Vec<_> = self
            .inner
            .channels
            .list_channels()
            .iter()
            .map(channel_view)
            .collect();
        channels.sort_by_key(|channel| (channel.user_channel_id, channel.channel_id));
        channels
    }

    /// Whether nothing moves in this node: no HTLC between two states, nothing to forward, send, tell or store.
    ///
    /// HTLCs at rest in both commitment transactions (held ones) do not count. Bytes under way between nodes are not seen.
    pub fn quiet(&self) -> bool {
        let inner = &self.inner;
        let channels = self.channels();
        inner.outbox.len() == 0
            && !inner.sweep_due.load(Ordering::Relaxed)
            && !inner.queue().has_fresh()
            && inner
                .monitors
                .list_pending_monitor_updates()
                .values()
                .all(Vec::is_empty)
            && channels
                .iter()
                .all(|channel| channel.htlcs.iter().all(|htlc| htlc.at_rest))
            && !(inner.channels.needs_pending_htlc_processing() && self.has_work(&channels))
    }

    /// Whether an HTLC waits to be forwarded, or a payment to be sent or given up.
    ///
    /// LDK also asks for processing while a payment in flight may still be retried: that is no work.
    fn has_work(&self, channels: &[ChannelView]) -> bool {
        let hashes = |direction| {
            let htlcs = channels.iter().flat_map(|channel| &channel.htlcs);
            htlcs
                .filter(move |htlc| htlc.direction == direction)
                .map(|htlc| htlc.payment_hash)
        };
        let sent: BTreeSet<PaymentHash> = hashes(HtlcDirection::Outgoing).collect();
        let held = |hash: &PaymentHash| {
            let record = records::incoming(&self.inner.store, hash).ok().flatten();
            record.is_some_and(|record| matches!(record.status, IncomingStatus::Held { .. }))
        };
        let unforwarded =
            hashes(HtlcDirection::Incoming).any(|hash| !sent.contains(&hash) && !held(&hash));
        let unsent = self.inner.channels.list_recent_payments().iter().any(|payment| {
            matches!(payment, RecentPaymentDetails::Pending { payment_hash, .. } if !sent.contains(payment_hash))
        });
        unforwarded || unsent
    }

    /// How much of the network this node knows.
    pub fn graph(&self) -> GraphView {
        let graph = self.inner.graph.read_only();
        let mut view = GraphView {
            channels: 0,
            channels_both_directions: 0,
            nodes: graph.nodes().len(),
        };
        for (_, channel) in graph.channels().unordered_iter() {
            view.channels += 1;
            view.channels_both_directions +=
                usize::from(channel.one_to_two.is_some() && channel.two_to_one.is_some());
        }
        view
    }

    /// What the channel monitors watch over, open channels included, sorted by channel, kind and amount.
    pub fn claimable_balances(&self) -> Vec<ClaimableBalance> {
        let monitors = &self.inner.monitors;
        let mut all = Vec::new();
        for channel_id in monitors.list_monitors() {
            if let Ok(monitor) = monitors.get_monitor(channel_id) {
                all.extend(
                    monitor
                        .get_claimable_balances()
                        .iter()
                        .map(|balance| claimable(channel_id, balance)),
                );
            }
        }
        all.sort_by_key(|balance| {
            (
                balance.channel_id,
                balance.kind,
                balance.amount_sat,
                balance.height,
            )
        });
        all
    }

    /// Whether nothing of a closed channel is left to be claimed on chain or to be brought into the wallet, to the depth at which
    /// LDK takes a transaction for final (6 blocks) or, for a sweep, in a block.
    pub fn is_swept(&self, channel: ChannelId) -> bool {
        let left = self.claimable_balances();
        let left = left.iter().any(|balance| {
            balance.channel_id == channel
                && balance.kind != BalanceKind::OnClose
                && balance.kind != BalanceKind::MaybePreimage
        });
        let unswept = self.sweeps();
        let unswept = unswept
            .iter()
            .any(|sweep| sweep.channel_id == Some(channel) && sweep.confirmed_at.is_none());
        !left && !unswept
    }

    /// Ids of channels that are not listed any more and of which something is still to be claimed or swept, ascending.
    pub fn unswept(&self) -> Vec<ChannelId> {
        let listed: BTreeSet<ChannelId> = self
            .inner
            .channels
            .list_channels()
            .iter()
            .map(|channel| channel.channel_id)
            .collect();
        let claims = self.claimable_balances();
        let claims = claims
            .iter()
            .filter(|balance| balance.kind != BalanceKind::MaybePreimage);
        let sweeps = self.sweeps();
        let sweeps = sweeps.iter().filter(|sweep| sweep.confirmed_at.is_none());
        let ids = claims.map(|balance| balance.channel_id);
        let ids = ids.chain(sweeps.filter_map(|sweep| sweep.channel_id));
        let left: BTreeSet<ChannelId> = ids.filter(|id| !listed.contains(id)).collect();
        left.into_iter().collect()
    }

    /// Whether this node's graph has both directions of a channel, by its place in the chain.
    pub fn knows_channel(&self, short_channel_id: u64) -> bool {
        let graph = self.inner.graph.read_only();
        let known = graph.channel(short_channel_id);
        known.is_some_and(|channel| channel.one_to_two.is_some() && channel.two_to_one.is_some())
    }

    /// Outputs of closed channels that are not swept for good, sorted by channel and amount.
    pub fn sweeps(&self) -> Vec<SweepBalance> {
        let mut sweeps: Vec<_> = self
            .inner
            .sweeper
            .tracked_spendable_outputs()
            .iter()
            .map(|output| SweepBalance {
                channel_id: output.channel_id,
                amount_sat: match &output.descriptor {
                    SpendableOutputDescriptor::StaticOutput { output, .. } => output.value.to_sat(),
                    SpendableOutputDescriptor::DelayedPaymentOutput(delayed) => {
                        delayed.output.value.to_sat()
                    }
                    SpendableOutputDescriptor::StaticPaymentOutput(payment) => {
                        payment.output.value.to_sat()
                    }
                },
                confirmed_at: match &output.status {
                    OutputSpendStatus::PendingThresholdConfirmations {
                        confirmation_height,
                        ..
                    } => Some(*confirmation_height),
                    OutputSpendStatus::PendingInitialBroadcast { .. }
                    | OutputSpendStatus::PendingFirstConfirmation { .. } => None,
                },
            })
            .collect();
        sweeps.sort_by_key(|sweep| (sweep.channel_id, sweep.amount_sat));
        sweeps
    }
}

fn channel_view(details: &ChannelDetails) -> ChannelView {
    let htlcs = htlc_views(details);
    let (local_balance_msat, remote_balance_msat) = balances_msat(details, &htlcs);
    ChannelView {
        user_channel_id: details.user_channel_id,
        channel_id: details.channel_id,
        funding: details
            .funding_txo
            .map(|outpoint| outpoint.into_bitcoin_outpoint()),
        short_channel_id: details.short_channel_id,
        peer: details.counterparty.node_id,
        opener: details.is_outbound,
        announced: details.is_announced,
        capacity_sat: details.channel_value_satoshis,
        local_balance_msat,
        remote_balance_msat,
        outbound_capacity_msat: details.outbound_capacity_msat,
        inbound_capacity_msat: details.inbound_capacity_msat,
        next_outbound_htlc_limit_msat: details.next_outbound_htlc_limit_msat,
        htlcs,
        ready: details.is_channel_ready,
        usable: details.is_usable,
        confirmations: details.confirmations,
        confirmations_required: details.confirmations_required,
        feerate_sat_per_kwu: details.feerate_sat_per_1000_weight,
        closing: details
            .channel_shutdown_state
            .is_some_and(|state| state != ChannelShutdownState::NotShuttingDown),
    }
}

fn htlc_views(details: &ChannelDetails) -> Vec<HtlcView> {
    let incoming = details.pending_inbound_htlcs.iter().map(|htlc| HtlcView {
        direction: HtlcDirection::Incoming,
        amount_msat: htlc.amount_msat,
        cltv_expiry: htlc.cltv_expiry,
        payment_hash: htlc.payment_hash,
        dust: htlc.is_dust,
        at_rest: htlc.state == Some(InboundHTLCStateDetails::Committed),
    });
    let outgoing = details.pending_outbound_htlcs.iter().map(|htlc| HtlcView {
        direction: HtlcDirection::Outgoing,
        amount_msat: htlc.amount_msat,
        cltv_expiry: htlc.cltv_expiry,
        payment_hash: htlc.payment_hash,
        dust: htlc.is_dust,
        at_rest: htlc.state == Some(OutboundHTLCStateDetails::Committed),
    });
    let mut htlcs: Vec<_> = incoming.chain(outgoing).collect();
    htlcs.sort_by_key(|htlc| {
        (
            htlc.direction,
            htlc.payment_hash,
            htlc.amount_msat,
            htlc.cltv_expiry,
        )
    });
    htlcs
}

/// This node's and the peer's share, without HTLCs.
///
/// LDK does not tell them. It tells each share less the reserve, less the anchors if that side opened the channel, but not
/// below zero. At least one of the two figures is above zero in any channel with money above both reserves; the share it
/// belongs to is exact, and the other share is the rest of the capacity.
fn balances_msat(details: &ChannelDetails, htlcs: &[HtlcView]) -> (u64, u64) {
    let in_htlcs_msat: u64 = htlcs.iter().map(|htlc| htlc.amount_msat).sum();
    let shared_msat = (details.channel_value_satoshis * 1000).saturating_sub(in_htlcs_msat);
    let anchors = details
        .channel_type
        .as_ref()
        .is_some_and(|kind| kind.supports_anchors_zero_fee_htlc_tx());
    let anchors_of = |opener: bool| if anchors && opener { ANCHORS_MSAT } else { 0 };
    if details.outbound_capacity_msat > 0 {
        let reserve_msat = details.unspendable_punishment_reserve.unwrap_or(0) * 1000;
        let local = details.outbound_capacity_msat + reserve_msat + anchors_of(details.is_outbound);
        (local, shared_msat.saturating_sub(local))
    } else {
        let reserve_msat = details.counterparty.unspendable_punishment_reserve * 1000;
        let remote =
            details.inbound_capacity_msat + reserve_msat + anchors_of(!details.is_outbound);
        (shared_msat.saturating_sub(remote), remote)
    }
}

fn claimable(channel_id: ChannelId, balance: &Balance) -> ClaimableBalance {
    let amount_sat = balance.claimable_amount_satoshis();
    let plain = |kind, amount_sat, height| ClaimableBalance {
        channel_id,
        kind,
        amount_sat,
        commitment_fee_sat: 0,
        rounded_msat: 0,
        height,
    };
    match balance {
        Balance::ClaimableOnChannelClose {
            balance_candidates,
            confirmed_balance_candidate_index,
            outbound_payment_htlc_rounded_msat,
            outbound_forwarded_htlc_rounded_msat,
            inbound_claiming_htlc_rounded_msat,
            inbound_htlc_rounded_msat,
        } => ClaimableBalance {
            commitment_fee_sat: balance_candidates
                .get(*confirmed_balance_candidate_index)
                .map_or(0, |candidate| candidate.transaction_fee_satoshis),
            rounded_msat: outbound_payment_htlc_rounded_msat
                + outbound_forwarded_htlc_rounded_msat
                + inbound_claiming_htlc_rounded_msat
                + inbound_htlc_rounded_msat,
            ..plain(BalanceKind::OnClose, amount_sat, None)
        },
        Balance::ClaimableAwaitingConfirmations {
            confirmation_height,
            ..
        } => plain(
            BalanceKind::AwaitingConfirmations,
            amount_sat,
            Some(*confirmation_height),
        ),
        Balance::ContentiousClaimable { timeout_height, .. } => {
            plain(BalanceKind::Contentious, amount_sat, Some(*timeout_height))
        }
        Balance::MaybeTimeoutClaimableHTLC {
            amount_satoshis,
            claimable_height,
            ..
        } => plain(
            BalanceKind::MaybeTimeout,
            *amount_satoshis,
            Some(*claimable_height),
        ),
        Balance::MaybePreimageClaimableHTLC {
            amount_satoshis,
            expiry_height,
            ..
        } => plain(
            BalanceKind::MaybePreimage,
            *amount_satoshis,
            Some(*expiry_height),
        ),
        Balance::CounterpartyRevokedOutputClaimable { .. } => {
            plain(BalanceKind::Revoked, amount_sat, None)
        }
    }
}
