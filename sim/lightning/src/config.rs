//! What a node is told when it starts, and the LDK configuration that follows from it.
//!
//! Owns the numbers that must equal those of `ldk-node` 0.7.1 (`config.rs` there). Does not own feerates (see `fees`).

use std::time::Duration;

use bitcoin::{BlockHash, Network};
use lightning::routing::gossip::NodeAlias;
use lightning::util::config::{ChannelConfig, UserConfig};

/// Satoshi kept on chain for each anchor channel, so that its closing can be paid for.
pub(crate) const ANCHOR_RESERVE_PER_CHANNEL_SAT: u64 = 25_000;

/// Updates of one channel monitor that are stored before the whole monitor is written again.
pub(crate) const MONITOR_UPDATES_BEFORE_FULL_WRITE: u64 = 100;

/// A channel monitor is looked at for archiving each time the height is a multiple of this.
pub(crate) const MONITOR_ARCHIVAL_INTERVAL_BLOCKS: u32 = 6;

/// Everything a node needs to know before it reads its disk.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The name in the node announcement: UTF-8, cut after 32 bytes (BOLT 7).
    pub alias: String,
    /// The seed of the wallet and of all channel keys; must be the same for every start of one node.
    pub key_seed: [u8; 32],
    /// How often this node was started before. Each start needs its own number, else random bytes repeat.
    pub restart_count: u32,
    /// The time of the start since the Unix epoch.
    pub now: Duration,
    /// The Bitcoin network.
    pub network: Network,
    /// Where the chain stands for a node without a past; a restored node resumes from its disk instead.
    pub tip: (BlockHash, u32),
    /// Whether channel monitors reach the disk only when the owner says so ([`crate::Node::finish_stores`]), in this life.
    pub deferred_stores: bool,
    /// Whether payments are forwarded into unannounced channels; `ldk-node` does so for nodes that serve others.
    pub forwards_to_private: bool,
}

/// What a node asks for forwarding a payment over one channel (BOLT 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardingPolicy {
    /// The fixed part of the fee, in millisatoshi.
    pub fee_base_msat: u32,
    /// The proportional part of the fee, in millionths of the forwarded amount.
    pub fee_proportional_millionths: u32,
    /// Blocks between the expiry of the incoming and of the outgoing HTLC; LDK takes no less than 48.
    pub cltv_expiry_delta: u16,
}

impl Default for ForwardingPolicy {
    /// LDK's defaults: 1000 msat, nothing proportional, 72 blocks.
    fn default() -> Self {
        let ldk = ChannelConfig::default();
        ForwardingPolicy {
            fee_base_msat: ldk.forwarding_fee_base_msat,
            fee_proportional_millionths: ldk.forwarding_fee_proportional_millionths,
            cltv_expiry_delta: ldk.cltv_expiry_delta,
        }
    }
}

/// The configuration for the whole node.
pub(crate) fn node_config(node: &NodeConfig) -> UserConfig {
    UserConfig {
        accept_forwards_to_priv_channels: node.forwards_to_private,
        ..user_config()
    }
}

/// The configuration of an `ldk-node` that has an alias and a listening address.
fn user_config() -> UserConfig {
    let mut config = UserConfig::default();
    config
        .channel_handshake_limits
        .force_announced_channel_preference = false;
    config.manually_accept_inbound_channels = true;
    config
        .channel_handshake_config
        .negotiate_anchors_zero_fee_htlc_tx = true;
    config.reject_inbound_splices = false;
    config
}

/// The configuration for one channel that this node opens.
///
/// An unannounced channel lets the peer have the whole channel in flight; an announced one keeps LDK's ten percent.
pub(crate) fn open_channel_config(announce: bool, policy: ForwardingPolicy) -> UserConfig {
    let mut config = user_config();
    config.channel_handshake_config.announce_for_forwarding = announce;
    config.channel_config.forwarding_fee_base_msat = policy.fee_base_msat;
    config.channel_config.forwarding_fee_proportional_millionths =
        policy.fee_proportional_millionths;
    config.channel_config.cltv_expiry_delta = policy.cltv_expiry_delta;
    if !announce {
        config
            .channel_handshake_config
            .max_inbound_htlc_value_in_flight_percent_of_channel = 100;
    }
    config
}

/// The alias as it stands in a node announcement: at most 32 bytes, zero padded.
pub(crate) fn announced_alias(alias: &str) -> NodeAlias {
    let mut bytes = [0u8; 32];
    let kept = alias.len().min(bytes.len());
    bytes[..kept].copy_from_slice(&alias.as_bytes()[..kept]);
    NodeAlias(bytes)
}
