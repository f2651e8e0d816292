//! One Lightning node without IO: bytes, blocks and ticks go in; bytes, transactions and events come out.
//!
//! Owns the assembly of LDK's parts (channel manager, chain monitor, router, peer manager, sweeper, wallet) and is the only
//! crate in which LDK's generic types are instantiated. It has no clock, no socket, no thread and no runtime: whoever drives
//! a [`Node`] carries its [`Effect`]s out. Does not own the links between nodes, the chain, or any fault.
//!
//! Reading order: [`Node::start`] (`node`, `assembly`), [`Node::process`] (`background`), then one file per subject:
//! `links`, `blocks`, `wallet`, `channels`, `invoices`, `payments`, `view`. [`pump`] joins a few nodes without any runtime.
//!
//! Every choice that is visible on chain or in a balance is the one `ldk-node` 0.7.1 makes (`config`, `fees`, `wallet`), so
//! that one scenario gives equal funding transactions and channel balances here and with real nodes.

mod assembly;
mod background;
mod blocks;
mod channels;
mod config;
mod disk;
mod events;
mod fees;
mod handler;
mod invoices;
mod keys;
mod links;
mod memory_disk;
mod monitor_store;
mod node;
mod payments;
pub mod pump;
mod records;
mod view;
mod wallet;

pub use background::{Effect, ProcessError};
pub use channels::{ChannelError, OpenChannel, channel_id_of};
pub use config::{ForwardingPolicy, NodeConfig};
pub use disk::{Disk, DiskError};
pub use events::{FailureReason, NodeEvent, Notice};
pub use invoices::{InvoiceDescription, InvoiceError, InvoiceRequest};
pub use lightning::ln::channelmanager::PaymentId;
pub use lightning::ln::types::ChannelId;
pub use lightning_types::payment::{PaymentHash, PaymentPreimage};
pub use links::{LinkError, LinkId};
pub use memory_disk::{DiskTrouble, MemoryDisk};
pub use node::{Node, StartError};
pub use payments::{Hop, PayAlong, PayError, PayInvoice, PayOutcome};
pub use records::{IncomingStatus, OutgoingStatus};
pub use view::{
    BalanceKind, ChannelView, ClaimableBalance, GraphView, HtlcDirection, HtlcView, PaymentView,
    ReceiptView, SweepBalance,
};
pub use wallet::{WalletBalance, WalletError};
