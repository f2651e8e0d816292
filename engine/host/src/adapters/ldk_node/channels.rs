//! Owns opening, closing and showing channels of a running `ldk_node::Node`. Does not own when the node is at rest, nor what a
//! side of a channel holds (its parent).

use crate::ports::{CloseChannelOrder, LightningError, OpenChannelOrder};
use bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::{ChannelDetails, LightningBalance, Node, NodeError, PendingSweepBalance};
use lockstep_engine::money::Sat;
use lockstep_engine::rail::{ChannelSeen, NodeView};
use std::collections::BTreeSet;
use std::str::FromStr;

/// ldk-node draws the user channel id of what it opens itself. So what tells a second attempt from a first is the peer and the size of
/// a channel that waits; one that was opened and became ready while nobody looked would be opened twice.
pub(super) fn open(node: &Node, order: &OpenChannelOrder) -> Result<(), LightningError> {
    let refused = |reason: String| LightningError::Refused { reason };
    let (key, address) = order
        .peer
        .split_once('@')
        .ok_or_else(|| refused("the order names no address of the peer".to_owned()))?;
    let peer = PublicKey::from_str(key).map_err(|error| refused(error.to_string()))?;
    let address =
        SocketAddress::from_str(address).map_err(|error| refused(format!("{error:?}")))?;
    let waits = |channel: &ChannelDetails| {
        channel.is_outbound
            && !channel.is_channel_ready
            && channel.counterparty_node_id == peer
            && channel.channel_value_sats == order.capacity_sat
    };
    if node.list_channels().iter().any(waits) {
        return Ok(());
    }
    let opened = match order.announced {
        true => node.open_announced_channel(peer, address, order.capacity_sat, None, None),
        false => node.open_channel(peer, address, order.capacity_sat, None, None),
    };
    match opened {
        Ok(_) => Ok(()),
        Err(NodeError::ConnectionFailed) => Err(LightningError::Unavailable {
            reason: NodeError::ConnectionFailed.to_string(),
        }),
        Err(error) => Err(refused(error.to_string())),
    }
}

pub(super) fn close(node: &Node, order: CloseChannelOrder) -> Result<(), LightningError> {
    let channels = node.list_channels();
    let mut found = channels
        .iter()
        .filter(|channel| channel.funding_txo == Some(order.funding));
    let Some(channel) = found.next() else {
        // Closed already.
        return Ok(());
    };
    let (id, peer) = (&channel.user_channel_id, channel.counterparty_node_id);
    let closed = match order.force {
        true => node.force_close_channel(id, peer, Some("closed by its owner".to_owned())),
        false => node.close_channel(id, peer),
    };
    closed.map_err(|error| LightningError::Refused {
        reason: error.to_string(),
    })
}

/// The wallet and the channels; `ours` says what our side of one holds.
pub(super) fn view(node: &Node, ours: impl Fn(&ChannelDetails) -> u64) -> NodeView {
    let (listed, balances) = (node.list_channels(), node.list_balances());
    let mut channels: Vec<ChannelSeen> = Vec::new();
    for channel in &listed {
        let Some(funding) = channel.funding_txo else {
            continue;
        };
        channels.push(ChannelSeen {
            funding,
            id: channel.user_channel_id.0.to_be_bytes(),
            peer: channel.counterparty_node_id.to_string(),
            funded_by_us: channel.is_outbound,
            capacity: Sat(channel.channel_value_sats),
            ours_msat: ours(channel),
            ready: channel.is_channel_ready,
            // ldk-node does not show that a close was agreed on.
            closing: false,
        });
    }
    channels.sort_by_key(|channel| channel.funding);
    NodeView {
        wallet: Sat(balances.total_onchain_balance_sats),
        channels,
        unswept: unswept(&listed, &balances),
    }
}

/// Closed channels of which something is to come: claims and sweeps of what is not listed any more.
fn unswept(listed: &[ChannelDetails], balances: &ldk_node::BalanceDetails) -> Vec<[u8; 32]> {
    let open: BTreeSet<[u8; 32]> = listed.iter().map(|channel| channel.channel_id.0).collect();
    let claims = balances.lightning_balances.iter();
    let claims = claims.filter_map(|balance| match balance {
        LightningBalance::ClaimableOnChannelClose { channel_id, .. }
        | LightningBalance::ClaimableAwaitingConfirmations { channel_id, .. }
        | LightningBalance::ContentiousClaimable { channel_id, .. }
        | LightningBalance::MaybeTimeoutClaimableHTLC { channel_id, .. }
        | LightningBalance::CounterpartyRevokedOutputClaimable { channel_id, .. } => {
            Some(*channel_id)
        }
        LightningBalance::MaybePreimageClaimableHTLC { .. } => None,
    });
    let sweeps = balances.pending_balances_from_channel_closures.iter();
    let sweeps = sweeps.filter_map(|sweep| match sweep {
        PendingSweepBalance::PendingBroadcast { channel_id, .. }
        | PendingSweepBalance::BroadcastAwaitingConfirmation { channel_id, .. } => *channel_id,
        PendingSweepBalance::AwaitingThresholdConfirmations { .. } => None,
    });
    let left: BTreeSet<[u8; 32]> = claims
        .chain(sweeps)
        .map(|id| id.0)
        .filter(|id| !open.contains(id))
        .collect();
    left.into_iter().collect()
}
