//! Owns what the engine's port does with the channels of the operator's simulated node: open, close, show. Does not own the rest
//! of the port (`ports`).

use super::node_process::NodeProcess;
use bitcoin::secp256k1::PublicKey;
use lockstep_engine::money::Sat;
use lockstep_engine::rail::{ChannelSeen, NodeView};
use lockstep_host::ports::{
    CloseChannelOrder, LightningError, LightningUnavailable, OpenChannelOrder,
};
use lockstep_lightning::{
    ChannelError, ChannelView, ForwardingPolicy, HtlcDirection, Node, NodeEvent, OpenChannel,
};
use std::str::FromStr;
use std::time::Duration;

/// Longer than two nodes take to exchange the messages of one HTLC.
const STILL: Duration = Duration::from_millis(500);

fn running(process: &NodeProcess) -> Result<Node, LightningError> {
    process.node().map_err(|error| LightningError::Unavailable {
        reason: error.to_string(),
    })
}

/// Idempotent by the order's id, which the node keeps as its own id of the channel.
pub(super) fn open(process: &NodeProcess, order: &OpenChannelOrder) -> Result<(), LightningError> {
    let node = running(process)?;
    let refused = |reason: &dyn std::fmt::Display| LightningError::Refused {
        reason: reason.to_string(),
    };
    let user_channel_id = u128::from_be_bytes(order.id);
    let mut known = node.channels().into_iter().map(|view| view.user_channel_id);
    let told = process.unacknowledged();
    let was_told = told.iter().any(|notice| {
        matches!(&notice.event, NodeEvent::ChannelClosed { user_channel_id: id, .. } if *id == user_channel_id)
    });
    if was_told || known.any(|id| id == user_channel_id) {
        return Ok(());
    }
    let key = order.peer.split('@').next().unwrap_or_default();
    let peer = PublicKey::from_str(key).map_err(|error| refused(&error))?;
    if !process.keep_connected_to_node(peer) {
        return Err(refused(&"nobody knows that node"));
    }
    let opened = node.open_channel(OpenChannel {
        peer,
        capacity_sat: order.capacity_sat,
        push_msat: 0,
        announce: order.announced,
        forwarding: ForwardingPolicy::default(),
        user_channel_id,
    });
    process.poke();
    opened.map_err(|error| match error {
        // It is being called.
        ChannelError::PeerNotConnected => LightningError::Unavailable {
            reason: error.to_string(),
        },
        _ => refused(&error),
    })
}

/// Closing what is closed or closing changes nothing.
pub(super) fn close(process: &NodeProcess, order: CloseChannelOrder) -> Result<(), LightningError> {
    let node = running(process)?;
    let mut channels = node.channels().into_iter();
    let Some(view) = channels.find(|view| view.funding == Some(order.funding)) else {
        return Ok(());
    };
    let closed = match order.force {
        true => node.force_close_channel(view.user_channel_id),
        false if view.closing => Ok(()),
        false => node.close_channel(view.user_channel_id),
    };
    process.poke();
    closed.map_err(|error| LightningError::Refused {
        reason: error.to_string(),
    })
}

/// The node's wallet and channels; `untold` says that the engine does not know yet of every payment that shows in them.
pub(super) fn view(process: &NodeProcess, untold: bool) -> Result<NodeView, LightningUnavailable> {
    let unavailable = |reason: String| LightningUnavailable { reason };
    let node = process.node();
    let node = node.map_err(|error| unavailable(error.to_string()))?;
    let (view, at_rest) = shown(&node);
    // While an HTLC is being offered, LDK takes it from one side before it shows it.
    if untold || !at_rest || process.unchanged_for() < STILL {
        return Err(unavailable("a payment is under way".to_owned()));
    }
    Ok(view)
}

/// What there is to see, and whether no HTLC is between two states.
pub(super) fn shown(node: &Node) -> (NodeView, bool) {
    let views = node.channels();
    let mut htlcs = views.iter().flat_map(|view| &view.htlcs);
    let at_rest = htlcs.all(|htlc| htlc.at_rest);
    let mut channels: Vec<ChannelSeen> = views.iter().filter_map(seen).collect();
    channels.sort_by_key(|channel| channel.funding);
    let unswept = node.unswept().iter().map(|id| id.0).collect();
    let wallet = Sat(node.wallet_balance().total_sat);
    let view = NodeView {
        wallet,
        channels,
        unswept,
    };
    (view, at_rest)
}

fn seen(view: &ChannelView) -> Option<ChannelSeen> {
    let offered = view.htlcs.iter();
    let offered = offered.filter(|htlc| htlc.direction == HtlcDirection::Outgoing);
    let offered: u64 = offered.map(|htlc| htlc.amount_msat).sum();
    Some(ChannelSeen {
        funding: view.funding?,
        id: view.user_channel_id.to_be_bytes(),
        peer: view.peer.to_string(),
        funded_by_us: view.opener,
        capacity: Sat(view.capacity_sat),
        ours_msat: view.local_balance_msat + offered,
        ready: view.ready,
        closing: view.closing,
    })
}
