//! Owns the words of orders about our Lightning node's channels. Does not own the port that takes them (its parent).

use bitcoin::OutPoint;

/// A channel to be opened, paid by the node's own wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenChannelOrder {
    /// What the node is to call it: the same at every attempt.
    pub id: [u8; 16],
    /// `PUBKEY@HOST:PORT`, or `PUBKEY` of a node that ours knows how to reach.
    pub peer: String,
    /// Its size, in satoshi.
    pub capacity_sat: u64,
    /// Whether it is gossiped (BOLT 7).
    pub announced: bool,
}

/// A channel to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseChannelOrder {
    /// Its funding output.
    pub funding: OutPoint,
    /// With the node's own commitment transaction (BOLT 5), without asking the other end.
    pub force: bool,
}
