//! Owns how a node process follows the chain: blocks in order over any reorganisation, and the mempool. Does not own what
//! the node makes of them.

use super::super::backend::{self, Backend};
use super::super::chain::Chain;
use super::life::Life;
use super::{Incoming, Surroundings};
use async_channel::Sender;
use bitcoin::{BlockHash, Txid};
use futures_util::{FutureExt, pin_mut, select_biased};
use lockstep_lightning::Node;
use madsim::time::sleep;
use std::time::Duration;

/// How often a notice that is on its way looks whether the process is still there.
const END_POLL: Duration = Duration::from_secs(1);

/// Tells the process of chain changes after the link's latency.
pub(super) async fn follow_chain(world: Surroundings, name: String, inbox: Sender<Incoming>) {
    let changes = world.backend.subscribe();
    loop {
        if inbox.send(Incoming::ChainChanged).await.is_err() || changes.recv().await.is_err() {
            return;
        }
        world.backend.wait_while_stopped().await;
        let notice = world.network.travel_surely(backend::ENDPOINT, &name).fuse();
        let end = ended(&inbox).fuse();
        pin_mut!(notice, end);
        let copies = select_biased! {
            copies = notice => copies,
            () = end => return,
        };
        for _ in 1..copies {
            if inbox.send(Incoming::ChainChanged).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until the process has ended by itself: then nobody waits for a notice any more.
async fn ended(inbox: &Sender<Incoming>) {
    while !inbox.is_closed() {
        sleep(END_POLL).await;
    }
}

/// Brings a node to the chain's tip.
pub(super) fn bring_to_tip(node: &Node, backend: &Backend) {
    let best: Vec<(BlockHash, u32)> = node.best_blocks();
    let shown = backend.look_height();
    let (fork, blocks) = backend.read(|chain| {
        let on_chain = |(hash, height): &(BlockHash, u32)| chain.hash_at(*height) == Some(*hash);
        let stale: Vec<&(BlockHash, u32)> = best.iter().filter(|block| !on_chain(block)).collect();
        let fork = stale
            .iter()
            .filter_map(|(hash, _)| fork_of(chain, *hash))
            .min_by_key(|(_, height)| *height);
        let from = fork.map_or(u32::MAX, |(_, height)| height);
        let from = best
            .iter()
            .map(|(_, height)| *height)
            .min()
            .unwrap_or(0)
            .min(from);
        let blocks: Vec<_> = (from + 1..=shown)
            .filter_map(|height| Some((chain.block_at(height)?, height)))
            .collect();
        (fork, blocks)
    });
    if let Some(fork) = fork {
        node.blocks_disconnected(fork);
    }
    for (block, height) in blocks {
        node.block_connected(&block, height);
    }
}

impl Life {
    /// Brings the node to the chain's tip and shows it what is new in the mempool.
    pub(super) fn follow(&mut self) {
        bring_to_tip(&self.node, &self.process.world.backend);
        self.show_mempool();
    }

    fn show_mempool(&mut self) {
        let (now, fresh) = self
            .process
            .world
            .backend
            .mempool_beside(&self.told_mempool);
        let left: Vec<Txid> = self
            .told_mempool
            .difference(&now)
            .copied()
            .filter(|txid| {
                self.process
                    .world
                    .backend
                    .read(|chain| chain.transaction(txid).is_none())
            })
            .collect();
        let shown = self
            .node
            .mempool(&fresh)
            .and_then(|()| self.node.evicted(&left));
        if let Err(error) = shown {
            self.process.state().failure = Some(error.to_string());
        }
        self.told_mempool = now;
    }
}

/// The last block of the best chain from which the branch of `hash` grew.
fn fork_of(chain: &Chain, mut hash: BlockHash) -> Option<(BlockHash, u32)> {
    while !chain.is_in_best_chain(&hash) {
        hash = chain.header(&hash)?.prev_blockhash;
    }
    Some((hash, chain.height_of(&hash)?))
}
