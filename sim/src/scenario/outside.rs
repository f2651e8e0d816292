//! Owns who is outside in the checked scenario: Lightning nodes with their channels, wallets, bank accounts. Does not own what
//! they do (`model::Action`).

use super::model::{AccountName, Blocks, ChannelName, Msat, NodeName, Sat, WalletName};

/// A Lightning node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Opening on-chain funds; enough for the channels that it opens.
    pub funds: Sat,
}

/// An outside wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Its name.
    pub name: WalletName,
    /// Opening funds.
    pub funds: Sat,
}

/// An outside bank account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// As typed; whether it is one is for the engine and the gateway to say.
    pub iban: String,
    /// Account holder.
    pub holder: String,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// Opens and funds it.
    pub from: NodeName,
    /// Never `from`.
    pub to: NodeName,
    /// Above zero.
    pub capacity: Sat,
    /// Given to `to`; leaves `from` its reserve.
    pub push: Msat,
    /// Whether it is gossiped.
    pub announced: bool,
    /// Whether a step opens it, and not the set-up.
    pub later: bool,
    /// For what leaves `from`.
    pub from_forwarding: Forwarding,
    /// For what leaves `to`.
    pub to_forwarding: Forwarding,
}

/// What one end asks for forwarding (BOLT 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Fee for each HTLC; fits 32 bits.
    pub base: Msat,
    /// Millionths of the amount.
    pub proportional_millionths: u32,
    /// CLTV expiry delta.
    pub cltv_delta: Blocks,
}
