//! Channels: opening, policy, closing; and the wallet's public face.
//!
//! Owns the checks `ldk-node` makes before it opens a channel. Does not own funding (`handler`) or views (`view`).

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, Txid};
use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;
use lightning::util::config::ChannelConfigUpdate;
use lightning::util::errors::APIError;

use crate::background::Effect;
use crate::config::{ANCHOR_RESERVE_PER_CHANNEL_SAT, ForwardingPolicy, open_channel_config};
use crate::node::{Inner, Node};
use crate::wallet::{WalletBalance, WalletError};

/// A channel to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenChannel {
    /// The other end; must be connected.
    pub peer: PublicKey,
    /// The channel's size.
    pub capacity_sat: u64,
    /// What the peer gets of it at once, as a present.
    pub push_msat: u64,
    /// Whether the channel is announced to the network.
    pub announce: bool,
    /// What this end asks for forwarding.
    pub forwarding: ForwardingPolicy,
    /// The owner's id of the channel.
    pub user_channel_id: u128,
}

/// Why a channel operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The peer is not connected.
    #[error("peer is not connected")]
    PeerNotConnected,
    /// The wallet does not cover capacity and anchor reserve.
    #[error("insufficient funds: {required_sat} sat required, {spendable_sat} sat spendable")]
    InsufficientFunds {
        /// Capacity and reserve, in satoshi.
        required_sat: u64,
        /// What the wallet may spend, in satoshi.
        spendable_sat: u64,
    },
    /// This node has no open channel of that id.
    #[error("no channel with id {user_channel_id}")]
    UnknownChannel {
        /// The owner's id that was asked for.
        user_channel_id: u128,
    },
    /// LDK refused.
    #[error("refused: {cause}")]
    Refused {
        /// LDK's words.
        cause: String,
    },
}

impl From<APIError> for ChannelError {
    fn from(error: APIError) -> Self {
        ChannelError::Refused {
            cause: format!("{error:?}"),
        }
    }
}

/// LDK's id of a channel (BOLT 2: funding txid and output index), for channels that were opened in the usual way.
pub fn channel_id_of(funding: bitcoin::OutPoint) -> ChannelId {
    ChannelId::v1_from_funding_txid(funding.txid.as_ref(), funding.vout as u16)
}

/// What the wallet must keep back for the open anchor channels.
pub(crate) fn anchor_reserve_sat(inner: &Inner) -> u64 {
    let anchor = |channel: &ChannelDetails| {
        channel.channel_shutdown_state != Some(ChannelShutdownState::ShutdownComplete)
            && channel
                .channel_type
                .as_ref()
                .is_none_or(|kind| kind.requires_anchors_zero_fee_htlc_tx())
    };
    let channels = inner
        .channels
        .list_channels()
        .iter()
        .filter(|channel| anchor(channel))
        .count();
    channels as u64 * ANCHOR_RESERVE_PER_CHANNEL_SAT
}

impl Node {
    /// Begins to open a channel. [`crate::NodeEvent::ChannelPending`] or `ChannelClosed` tells how it went on; a stop before
    /// the funding transaction is signed loses the attempt without a trace.
    pub fn open_channel(&self, open: OpenChannel) -> Result<(), ChannelError> {
        let inner = &self.inner;
        let peer = inner
            .peers
            .peer_by_node_id(&open.peer)
            .ok_or(ChannelError::PeerNotConnected)?;
        let reserve_sat = match peer.init_features.supports_anchors_zero_fee_htlc_tx() {
            true => ANCHOR_RESERVE_PER_CHANNEL_SAT,
            false => 0,
        };
        let spendable_sat = self.wallet_balance().spendable_sat;
        let required_sat = open.capacity_sat.saturating_add(reserve_sat);
        if spendable_sat < required_sat {
            return Err(ChannelError::InsufficientFunds {
                required_sat,
                spendable_sat,
            });
        }
        inner.channels.create_channel(
            open.peer,
            open.capacity_sat,
            open.push_msat,
            open.user_channel_id,
            None,
            Some(open_channel_config(open.announce, open.forwarding)),
        )?;
        Ok(())
    }

    /// Changes what this end asks for forwarding over an open channel.
    pub fn set_forwarding(
        &self,
        user_channel_id: u128,
        policy: ForwardingPolicy,
    ) -> Result<(), ChannelError> {
        let channel = self.find_channel(user_channel_id)?;
        let update = ChannelConfigUpdate {
            forwarding_fee_base_msat: Some(policy.fee_base_msat),
            forwarding_fee_proportional_millionths: Some(policy.fee_proportional_millionths),
            cltv_expiry_delta: Some(policy.cltv_expiry_delta),
            ..ChannelConfigUpdate::default()
        };
        let peer = channel.counterparty.node_id;
        self.inner
            .channels
            .update_partial_channel_config(&peer, &[channel.channel_id], &update)?;
        Ok(())
    }

    /// Begins a mutual close (BOLT 2); pending HTLCs are settled first.
    pub fn close_channel(&self, user_channel_id: u128) -> Result<(), ChannelError> {
        let channel = self.find_channel(user_channel_id)?;
        self.inner
            .channels
            .close_channel(&channel.channel_id, &channel.counterparty.node_id)?;
        Ok(())
    }

    /// Closes a channel with this end's latest commitment transaction (BOLT 5).
    pub fn force_close_channel(&self, user_channel_id: u128) -> Result<(), ChannelError> {
        let channel = self.find_channel(user_channel_id)?;
        self.inner.channels.force_close_broadcasting_latest_txn(
            &channel.channel_id,
            &channel.counterparty.node_id,
            "closed by its owner".to_owned(),
        )?;
        Ok(())
    }

    fn find_channel(&self, user_channel_id: u128) -> Result<ChannelDetails, ChannelError> {
        self.inner
            .channels
            .list_channels()
            .into_iter()
            .find(|channel| channel.user_channel_id == user_channel_id)
            .ok_or(ChannelError::UnknownChannel { user_channel_id })
    }

    /// An on-chain address that was never handed out before.
    pub fn new_address(&self) -> Result<Address, WalletError> {
        self.inner.wallet.new_address()
    }

    /// The on-chain balance.
    pub fn wallet_balance(&self) -> WalletBalance {
        self.inner.wallet.balance(anchor_reserve_sat(&self.inner))
    }

    /// Pays `amount_sat` on chain and keeps the anchor reserve; the transaction leaves with the next [`Node::process`].
    ///
    /// Not idempotent: a stop after it may or may not have sent the transaction, which the chain will show.
    pub fn send_to_address(&self, address: &Address, amount_sat: u64) -> Result<Txid, WalletError> {
        let reserve_sat = anchor_reserve_sat(&self.inner);
        let tx = self
            .inner
            .wallet
            .pay(address, amount_sat, reserve_sat, self.inner.now_secs())?;
        let txid = tx.compute_txid();
        self.inner.outbox.push(Effect::Broadcast(vec![tx]));
        Ok(txid)
    }
}
