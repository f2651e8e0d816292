//! Blocks: what is connected and disconnected, and from where a restarted node wants to be fed.
//!
//! Owns the catching up of parts that stand at different heights after a restart. Does not own the chain.
//!
//! Wallet, channel manager, sweeper and each channel monitor remember their own best block. A block is given to those that
//! stand at its parent and to no other, so it is safe to feed blocks again from the lowest of them.

use std::sync::atomic::Ordering;

use bitcoin::{Block, BlockHash, Transaction, Txid};
use lightning::chain::{BestBlock, Listen as _};
use lightning::ln::types::ChannelId;

use crate::assembly::NoLog;
use crate::config::MONITOR_ARCHIVAL_INTERVAL_BLOCKS;
use crate::node::Node;
use crate::wallet::WalletError;

impl Node {
    /// Connects `block` at `height`; its parent must have been connected, or be where the node starts.
    ///
    /// A failing disk stops the node: see [`Node::process`].
    pub fn block_connected(&self, block: &Block, height: u32) {
        let inner = &self.inner;
        let parent = block.header.prev_blockhash;
        // An error here is a failed write, which stops the node, or a block that does not connect, a caller's mistake.
        let outcome = inner.wallet.block_connected(block, height);
        assert!(
            !matches!(outcome, Err(WalletError::CannotLoad { .. })),
            "block {height} does not connect"
        );
        if inner.channels.current_best_block().block_hash == parent {
            inner.channels.block_connected(block, height);
        }
        self.connect_monitors(block, height);
        if inner.sweeper.current_best_block().block_hash == parent {
            inner.sweeper.block_connected(block, height);
        }
        if height.is_multiple_of(MONITOR_ARCHIVAL_INTERVAL_BLOCKS) {
            inner.archiving_due.store(true, Ordering::Relaxed);
        }
    }

    fn connect_monitors(&self, block: &Block, height: u32) {
        let inner = &self.inner;
        let parent = block.header.prev_blockhash;
        let behind = self.monitors_where(|best| best.block_hash == parent);
        if behind.len() == inner.monitors.list_monitors().len() {
            inner.monitors.block_connected(block, height);
            return;
        }
        let transactions: Vec<_> = block.txdata.iter().enumerate().collect();
        for channel in behind {
            if let Ok(monitor) = inner.monitors.get_monitor(channel) {
                monitor.block_connected(
                    &block.header,
                    &transactions,
                    height,
                    &*inner.broadcaster,
                    &*inner.fees,
                    &&NoLog,
                );
            }
        }
    }

    /// Disconnects all blocks above `fork_point`, the last block that both branches share.
    pub fn blocks_disconnected(&self, fork_point: (BlockHash, u32)) {
        let inner = &self.inner;
        let fork = BestBlock::new(fork_point.0, fork_point.1);
        if inner.channels.current_best_block().height > fork.height {
            inner.channels.blocks_disconnected(fork);
        }
        for channel in self.monitors_where(|best| best.height > fork.height) {
            if let Ok(monitor) = inner.monitors.get_monitor(channel) {
                monitor.blocks_disconnected(fork, &*inner.broadcaster, &*inner.fees, &&NoLog);
            }
        }
        if inner.sweeper.current_best_block().height > fork.height {
            inner.sweeper.blocks_disconnected(fork);
        }
        // bdk learns of a reorganisation from the first block of the new branch.
    }

    /// The lowest block some part of the node stands at: feed the blocks after it.
    pub fn synced_to(&self) -> (BlockHash, u32) {
        self.best_blocks()
            .into_iter()
            .min_by_key(|(_, height)| *height)
            .expect("the wallet always has a best block")
    }

    /// Every block some part of the node stands at, lowest first. If one of them is not in the chain any more, call
    /// [`Node::blocks_disconnected`] with the last shared block before feeding.
    pub fn best_blocks(&self) -> Vec<(BlockHash, u32)> {
        let inner = &self.inner;
        let mut best = vec![
            inner.wallet.best_block(),
            inner.channels.current_best_block(),
            inner.sweeper.current_best_block(),
        ];
        for channel in inner.monitors.list_monitors() {
            best.extend(
                inner
                    .monitors
                    .get_monitor(channel)
                    .map(|monitor| monitor.current_best_block()),
            );
        }
        let mut best: Vec<_> = best
            .into_iter()
            .map(|block| (block.block_hash, block.height))
            .collect();
        best.sort_by_key(|(hash, height)| (*height, *hash));
        best.dedup();
        best
    }

    /// Shows the wallet transactions that are in the mempool; others' are ignored.
    pub fn mempool(&self, transactions: &[Transaction]) -> Result<(), WalletError> {
        self.inner
            .wallet
            .mempool(transactions, self.inner.now_secs())
    }

    /// Tells the wallet of transactions that left the mempool without being mined.
    pub fn evicted(&self, txids: &[Txid]) -> Result<(), WalletError> {
        self.inner.wallet.evicted(txids, self.inner.now_secs())
    }

    /// Replaces the feerate estimate from which every feerate follows; without one (0) it is 1 sat/vB.
    pub fn set_fee_estimate(&self, sat_per_kwu: u64) {
        self.inner.fees.set_estimate(sat_per_kwu);
    }

    fn monitors_where(&self, wanted: impl Fn(BestBlock) -> bool) -> Vec<ChannelId> {
        let monitors = &self.inner.monitors;
        let mut channels = monitors.list_monitors();
        channels.retain(|id| {
            monitors
                .get_monitor(*id)
                .is_ok_and(|monitor| wanted(monitor.current_best_block()))
        });
        channels.sort();
        channels
    }
}
