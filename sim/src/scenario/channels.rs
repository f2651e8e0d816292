//! Owns the words for what is done with channels while a scenario runs, and for how far a channel is: as typed and as
//! checked. Does not own the channels themselves (`outside`) nor what a step does to them (`run`).

use super::model::{ChannelName, NodeName};
use super::read::{Optional, Required, table, word};
use super::text::Amount;
use std::fmt;

table!(
    /// An open channel is closed.
    CloseChannel {
        /// Which.
        "channel" channel: Required<String>,
        /// Which of its two nodes begins it. Default: the one that opened it.
        "by" by: Optional<String>,
        /// By this node's own commitment transaction (BOLT 5), without asking the other. Default false: by agreement (BOLT 2).
        "force" force: Optional<bool>,
    }
);
table!(
    /// What a Lightning node's own wallet holds on chain, unconfirmed outputs included.
    ExpectNode {
        /// Which.
        "node" node: Required<String>,
        /// What its wallet holds.
        "balance" balance: Required<Amount>,
    }
);
word!(
    /// How far a channel is. Each state but "swept" is also true of the moment only: a reorganisation can bring it back.
    pub ChannelStage {
        /// Not opened yet, or its funding transaction is not deep enough.
        "pending" Pending,
        /// Both ends can use it.
        "open" Open,
        /// Its end was begun: by agreement, or with an unconfirmed transaction.
        "closing" Closing,
        /// A block has spent its funding output.
        "closed" Closed,
        /// And everything that came out of it is in the wallets of its ends.
        "swept" Swept,
    }
);

/// What is done with a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelStep {
    /// It is opened now; one of `later`, not opened by an earlier step.
    Open {
        /// Which.
        channel: ChannelName,
    },
    /// Its end begins.
    Close {
        /// Which.
        channel: ChannelName,
        /// One of its nodes.
        by: NodeName,
        /// Without asking the other.
        force: bool,
    },
}

impl ChannelStep {
    /// The channel that it is about.
    pub fn channel(&self) -> &ChannelName {
        match self {
            Self::Open { channel } | Self::Close { channel, .. } => channel,
        }
    }
}

impl fmt::Display for ChannelStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { channel } => write!(f, "open {channel}"),
            Self::Close { channel, by, force } => {
                let how = if *force { "force-close" } else { "close" };
                write!(f, "{how} {channel} by {by}")
            }
        }
    }
}
