//! A few nodes joined without a runtime: the speed limit that benches compare the simulation with.
//!
//! Owns instant lossless links, a chain of blocks without any validation, and a mempool in which the later of two conflicting
//! transactions wins. Fault model: a node may crash and restart from its disk, and links close when it does; a disk
//! may be told to refuse, which stops its node; nothing else goes wrong. Misuse panics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash as _, sha256, sha256d};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction,
    TxIn, TxMerkleNode, TxOut, Txid, Witness, absolute, transaction,
};

use crate::{Disk, Effect, LinkId, MemoryDisk, Node, NodeConfig, NodeEvent};

/// Rounds of messages after which a run that does not end is taken for a loop.
const MAX_ROUNDS: u32 = 100_000;

/// One node with what is needed to restart it.
struct Member {
    node: Node,
    disk: Arc<MemoryDisk>,
    config: NodeConfig,
    links: BTreeSet<LinkId>,
    /// The number of the first event that was not seen yet.
    next_event: u64,
}

/// Nodes, links, chain and time.
pub struct Pump {
    members: Vec<Member>,
    /// Where the bytes sent over a link arrive.
    far_ends: BTreeMap<LinkId, (usize, LinkId)>,
    under_way: VecDeque<(usize, LinkId, Vec<u8>)>,
    blocks: Vec<Block>,
    mempool: Vec<Transaction>,
    spent: BTreeSet<OutPoint>,
    events: Vec<(usize, NodeEvent)>,
    now: Duration,
    next_link: u64,
    chunks: u64,
}

impl Pump {
    /// `count` nodes without links, at `now` since the Unix epoch. Outside a simulation `now` must be the real time, because
    /// LDK reads the system clock for gossip and invoices.
    pub fn new(count: u8, now: Duration) -> Pump {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
        let members = (0..count)
            .map(|index| Member::fresh(index, now, genesis))
            .collect();
        Pump {
            members,
            far_ends: BTreeMap::new(),
            under_way: VecDeque::new(),
            blocks: Vec::new(),
            mempool: Vec::new(),
            spent: BTreeSet::new(),
            events: Vec::new(),
            now,
            next_link: 0,
            chunks: 0,
        }
    }

    /// The node with that index.
    pub fn node(&self, index: usize) -> &Node {
        &self.members[index].node
    }

    /// The disk of the node with that index.
    pub fn disk(&self, index: usize) -> &MemoryDisk {
        &self.members[index].disk
    }

    /// From its next start on, the node stores its channel monitors in the deferred way.
    pub fn defer_stores(&mut self, index: usize) {
        self.members[index].config.deferred_stores = true;
    }

    /// What another life of this node would be started with, under a number of its own.
    pub fn config(&self, index: usize, restart_count: u32) -> NodeConfig {
        NodeConfig {
            restart_count,
            now: self.now,
            ..self.members[index].config.clone()
        }
    }

    /// The chain's height.
    pub fn height(&self) -> u32 {
        u32::try_from(self.blocks.len()).expect("a test's chain is short")
    }

    /// Chunks of bytes delivered so far.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// The virtual time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The transactions that wait for a block.
    pub fn mempool(&self) -> &[Transaction] {
        &self.mempool
    }

    /// The blocks above genesis, in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The events of one node since the last call, acknowledged.
    pub fn take_events(&mut self, index: usize) -> Vec<NodeEvent> {
        let (taken, kept) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|(owner, _)| *owner == index);
        self.events = kept;
        let taken: Vec<(usize, NodeEvent)> = taken;
        taken.into_iter().map(|(_, event)| event).collect()
    }

    /// Connects two nodes and runs until the handshake and what follows from it are done.
    pub fn connect(&mut self, from: usize, to: usize) {
        let (near, far) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.far_ends.insert(near, (to, far));
        self.far_ends.insert(far, (from, near));
        self.members[from].links.insert(near);
        self.members[to].links.insert(far);
        let first = self
            .node(from)
            .connect_outbound(near, self.id(to))
            .expect("the link is new");
        self.node(to).connect_inbound(far).expect("the link is new");
        self.under_way.push_back((to, far, first));
        self.run();
    }

    /// The public key of the node with that index.
    pub fn id(&self, index: usize) -> PublicKey {
        self.node(index).node_id()
    }

    /// Delivers everything until nothing moves any more.
    pub fn run(&mut self) {
        for _ in 0..MAX_ROUNDS {
            (0..self.members.len()).for_each(|index| self.process(index));
            if self.under_way.is_empty() {
                return;
            }
            for (index, link, bytes) in std::mem::take(&mut self.under_way) {
                self.deliver(index, link, &bytes);
            }
        }
        panic!("nodes still talk after {MAX_ROUNDS} rounds");
    }

    /// Delivers at most `count` chunks of bytes, one at a time, each followed by the receiver's background pass; whether
    /// anything is left. For stopping in the middle of something.
    pub fn run_chunks(&mut self, count: usize) -> bool {
        (0..self.members.len()).for_each(|index| self.process(index));
        for _ in 0..count {
            let Some((index, link, bytes)) = self.under_way.pop_front() else {
                return false;
            };
            self.deliver(index, link, &bytes);
            self.process(index);
        }
        !self.under_way.is_empty()
    }

    fn deliver(&mut self, index: usize, link: LinkId, bytes: &[u8]) {
        if !self.members[index].links.contains(&link) {
            return; // closed while the bytes were under way
        }
        self.chunks += 1;
        if self.node(index).bytes_in(link, bytes).is_err() {
            self.close(index, link);
        }
    }

    fn process(&mut self, index: usize) {
        // A node whose disk refused is dead until it is restarted.
        let Ok(effects) = self.node(index).process(self.now) else {
            return;
        };
        for effect in effects {
            match effect {
                Effect::Send { link, bytes } => {
                    if let Some((to, far)) = self.far_ends.get(&link) {
                        self.under_way.push_back((*to, *far, bytes));
                    }
                }
                Effect::CloseLink { link } => self.close(index, link),
                Effect::Broadcast(transactions) => {
                    transactions.into_iter().for_each(|tx| self.accept(tx))
                }
                Effect::Event(notice) => {
                    self.node(index).acknowledge(notice.seq);
                    if notice.seq >= self.members[index].next_event {
                        self.members[index].next_event = notice.seq + 1;
                        self.events.push((index, notice.event));
                    }
                }
            }
        }
    }

    /// Forgets both ends of a link that `index` has forgotten already.
    fn close(&mut self, index: usize, link: LinkId) {
        self.members[index].links.remove(&link);
        if let Some((to, far)) = self.far_ends.remove(&link) {
            self.far_ends.remove(&far);
            if self.members[to].links.remove(&far) {
                self.node(to).link_closed(far);
            }
        }
    }

    /// Closes all links of a node.
    pub fn disconnect(&mut self, index: usize) {
        for link in std::mem::take(&mut self.members[index].links) {
            self.node(index).link_closed(link);
            self.close(index, link);
        }
    }

    /// Stops a node as a crash would and starts it again from its disk, without links; blocks it missed are fed.
    pub fn restart(&mut self, index: usize) {
        for link in std::mem::take(&mut self.members[index].links) {
            self.close(index, link);
        }
        let member = &mut self.members[index];
        member.config.restart_count += 1;
        member.config.now = self.now;
        // A copy, so that nothing the old node still does reaches the new one.
        member.disk = Arc::new(member.disk.snapshot());
        let disk: Arc<dyn Disk> = member.disk.clone();
        member.node = Node::start(member.config.clone(), disk).expect("the disk holds a node");
        let resume = usize::try_from(member.node.synced_to().1).expect("a test's chain is short");
        for (block, height) in self.blocks[resume..].iter().zip(resume + 1..) {
            member.node.block_connected(
                block,
                u32::try_from(height).expect("a test's chain is short"),
            );
        }
        self.process(index);
    }

    /// Takes a transaction into the mempool, unless a block has spent one of its inputs already.
    pub fn accept(&mut self, tx: Transaction) {
        let txid = tx.compute_txid();
        let inputs: BTreeSet<OutPoint> =
            tx.input.iter().map(|input| input.previous_output).collect();
        if !inputs.is_disjoint(&self.spent)
            || self
                .mempool
                .iter()
                .any(|known| known.compute_txid() == txid)
        {
            return;
        }
        self.mempool.retain(|other| {
            other
                .input
                .iter()
                .all(|input| !inputs.contains(&input.previous_output))
        });
        for member in &self.members {
            let _ = member.node.mempool(std::slice::from_ref(&tx)); // fails on a dead node only
        }
        self.mempool.push(tx);
    }

    /// Pays a node out of nothing and mines it: the way money comes into this world.
    pub fn give_coins(&mut self, index: usize, amount_sat: u64) {
        let address = self
            .node(index)
            .new_address()
            .expect("the disk in memory does not fail");
        let mut seed = self.height().to_be_bytes().to_vec();
        seed.extend(address.script_pubkey().as_bytes());
        let origin = Txid::from_raw_hash(sha256d::Hash::from_byte_array(
            sha256::Hash::hash(&seed).to_byte_array(),
        ));
        self.mempool.push(Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(origin, 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[1u8; 64]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(amount_sat),
                script_pubkey: address.script_pubkey(),
            }],
        });
        self.mine(1);
    }

    /// Mines blocks, the first with all that waits in the mempool, and runs after each.
    pub fn mine(&mut self, count: u32) {
        for _ in 0..count {
            let transactions = std::mem::take(&mut self.mempool);
            self.spent.extend(
                transactions
                    .iter()
                    .flat_map(|tx| tx.input.iter().map(|input| input.previous_output)),
            );
            let block = self.block(transactions);
            self.blocks.push(block);
            let (block, height) = (self.blocks.last().expect("just pushed"), self.height());
            for member in &self.members {
                member.node.block_connected(block, height);
            }
            self.run();
        }
    }

    /// Replaces the last `depth` blocks by `depth + 1` new ones, the first with the transactions of the old.
    pub fn reorganise(&mut self, depth: usize) {
        let kept = self.blocks.len() - depth;
        let old = self.blocks.split_off(kept);
        let fork = (self.tip(), self.height());
        for member in &self.members {
            member.node.blocks_disconnected(fork);
        }
        let mut transactions: Vec<_> = old.into_iter().flat_map(|block| block.txdata).collect();
        transactions.append(&mut self.mempool);
        self.mempool = transactions;
        self.now += Duration::from_secs(1); // another time, another block hash
        self.mine(u32::try_from(depth).expect("a test's chain is short") + 1);
    }

    /// Lets time pass in steps of a second, with everything that is due, and runs.
    pub fn advance(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            for member in &self.members {
                member.node.tick(self.now);
            }
            self.run();
        }
    }

    fn tip(&self) -> BlockHash {
        match self.blocks.last() {
            Some(block) => block.block_hash(),
            None => bitcoin::constants::genesis_block(Network::Regtest).block_hash(),
        }
    }

    /// Neither proof of work nor merkle root is looked at by a node.
    fn block(&self, txdata: Vec<Transaction>) -> Block {
        let header = Header {
            version: Version::NO_SOFT_FORK_SIGNALLING,
            prev_blockhash: self.tip(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: u32::try_from(self.now.as_secs()).expect("before 2106"),
            bits: CompactTarget::from_consensus(42),
            nonce: self.height(),
        };
        Block { header, txdata }
    }
}

impl Member {
    fn fresh(index: u8, now: Duration, genesis: BlockHash) -> Member {
        let config = NodeConfig {
            alias: format!("node {index}"),
            key_seed: [index + 1; 32],
            restart_count: 0,
            now,
            network: Network::Regtest,
            tip: (genesis, 0),
            deferred_stores: false,
            forwards_to_private: false,
        };
        let disk = Arc::new(MemoryDisk::default());
        let port: Arc<dyn Disk> = disk.clone();
        let node = Node::start(config.clone(), port).expect("an empty disk makes a fresh node");
        Member {
            node,
            disk,
            config,
            links: BTreeSet::new(),
            next_event: 0,
        }
    }
}
