//! Owns where a scenario happens: the `World` trait that both worlds implement, and the parts that both share (the
//! gateway model, the engine's service, outside wallets, the view of the chain). Does not own what is asked of a world
//! (`run`) nor what must hold in it (`invariants`).

pub mod chain_book;
pub mod cosigners;
pub mod gateway;
pub mod http_system;
pub mod http_traffic;
pub mod keys;
pub mod layer0;
pub mod no_layer0;
pub mod no_node;
pub mod purse;
pub mod regtest;
pub mod service;
pub mod simulated;

use crate::faults::{FaultId, Faults};
use crate::prng::RootSeed;
use crate::scenario::{DiskFaultKind, Endpoint, PeerFaultKind, ProcessFaultKind, Trouble};
use crate::trace::SharedTrace;
use crate::vtime::Epoch;
use bitcoin::{Address, Block, OutPoint, ScriptBuf, Transaction, Txid};
use cosigners::EmulatedCosigners;
use http_system::SharedLayer0;
use lockstep_engine::api::EngineConfig;
use lockstep_engine::onchain::Descriptors;
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::BlockId;
use lockstep_engine::time::{Span, Timestamp};
use lockstep_host::adapters::software_signer::SoftwareSigner;
use lockstep_host::ports::{ChainSource, Observer, Store};
use serde::{Deserialize, Serialize};
use service::{OpenStore, Service, Switch};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorldKind {
    /// Everything in one process under a seeded scheduler.
    Simulated,
    /// Real bitcoind, electrs, ldk-node and HTTP on loopback.
    Regtest,
}

impl fmt::Display for WorldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorldKind::Simulated => "simulated",
            WorldKind::Regtest => "regtest",
        })
    }
}

/// Why a world could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A part of the harness or a server did not work: nothing is said about the engine.
    #[error("failed to {doing}: {reason}")]
    Harness {
        /// What was being done.
        doing: String,
        /// Why not.
        reason: String,
    },
    /// The world did not come to rest.
    #[error("not settled after {waited}: still waiting for {}", .waiting_for.join(", "))]
    Unsettled {
        /// How long was waited, in the world's time (regtest: real time).
        waited: Span,
        /// For what.
        waiting_for: Vec<String>,
    },
    /// The stimulus was refused by the part that it was for.
    #[error("{who} refused to {doing}: {reason}")]
    Refused {
        /// The part.
        who: String,
        /// What it was asked.
        doing: String,
        /// Its reason.
        reason: String,
    },
    /// Somebody asked the run to stop (Ctrl-C).
    #[error("interrupted")]
    Interrupted,
}

impl WorldError {
    /// A failure of the harness.
    pub fn harness(doing: impl Into<String>, reason: impl fmt::Display) -> WorldError {
        WorldError::Harness {
            doing: doing.into(),
            reason: reason.to_string(),
        }
    }

    /// A refused stimulus.
    pub fn refused(
        who: impl Into<String>,
        doing: impl Into<String>,
        reason: impl fmt::Display,
    ) -> WorldError {
        WorldError::Refused {
            who: who.into(),
            doing: doing.into(),
            reason: reason.to_string(),
        }
    }
}

/// What a node charges for forwarding over its end of a channel (BOLT 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardingFees {
    /// msat for each payment.
    pub base_msat: u32,
    /// Millionths of the amount.
    pub proportional_millionths: u32,
    /// Blocks between incoming and outgoing expiry.
    pub cltv_expiry_delta: u16,
}

/// A channel to be opened.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    /// Its name in the scenario.
    pub name: String,
    /// Opener.
    pub from: String,
    /// Acceptor.
    pub to: String,
    /// Size.
    pub capacity_sat: u64,
    /// Given to the acceptor at the start.
    pub push_msat: u64,
    /// Whether it is gossiped.
    pub announced: bool,
    /// What the opener's end charges.
    pub fees_from: ForwardingFees,
    /// What the acceptor's end charges.
    pub fees_to: ForwardingFees,
}

/// A prescribed route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Forwarding nodes, in order.
    pub via: Vec<String>,
    /// Blocks between the payee's HTLC and the next block.
    pub final_cltv: u32,
}

/// A part of a world in which faults can be brought about: links, processes, disks, clocks, the chain, peers. A rail that
/// has kinds of its own adds a site.
pub trait FaultSite {
    /// Brings the trouble about, if it is for this part to do; `Ok(false)` if it is not. Its effects are counted under
    /// `fault`.
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError>;

    /// Ends what was begun under `fault`, if it was begun here and has not ended by itself. Another fault of the same kind
    /// at the same place goes on.
    fn end(&self, fault: FaultId) -> Result<(), WorldError>;
}

/// An HTLC at the moment it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedHtlc {
    /// Amount.
    pub amount_msat: u64,
    /// Expiry height minus the tip's height.
    pub cltv_delta: u32,
}

/// One channel as both ends see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// Its name in the scenario.
    pub name: String,
    /// Both ends, opener first.
    pub ends: [String; 2],
    /// Size.
    pub capacity_sat: u64,
    /// What each end holds, HTLCs apart.
    pub balance_msat: [u64; 2],
    /// Offered and not resolved, of each end.
    pub in_flight_msat: [u64; 2],
    /// Funding output.
    pub funding: OutPoint,
}

/// A channel's end, begun by one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseOrder {
    /// Its name in the scenario.
    pub channel: String,
    /// One of its ends.
    pub by: String,
    /// By its own commitment transaction, without asking.
    pub force: bool,
    /// The two lose each other first, so that it is this end's commitment transaction that gets to the chain. Otherwise both publish
    /// theirs, and whoever is faster has it his way.
    pub unheard: bool,
}

/// How far a channel is at its ends, as far as they are up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelSight {
    /// Funding output; `None` before it is opened.
    pub funding: Option<OutPoint>,
    /// Both ends can use it, or could if they were connected.
    pub ready: bool,
    /// Some end has begun to close it, or has it no more.
    pub ending: bool,
    /// Some end still has something of it to claim on chain, or to bring into its wallet.
    pub unswept: bool,
}

/// Blocks to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// How many blocks are given up.
    pub depth: u32,
    /// How many blocks take their place (more than `depth`).
    pub blocks: u32,
    /// What the first new block holds, parents first; given-up transactions that are not here wait in the mempool, or
    /// are lost if they conflict with these.
    pub include: Vec<Transaction>,
}

/// What the outside really holds of the operator's money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Outputs of each of the engine's wallets, by name, mempool included.
    pub wallets_sat: BTreeMap<String, u64>,
    /// Our side of our node's channels, HTLCs apart.
    pub channels_msat: u64,
    /// In our outgoing HTLCs.
    pub outgoing_msat: u64,
    /// In HTLCs offered to us.
    pub incoming_msat: u64,
    /// Our balance at the gateway.
    pub gateway_cents: i64,
    /// What has come in there since the opening: transfers that came back, and deposits.
    pub came_in_cents: i64,
    /// What has come back there without a word to us.
    pub untold_cents: i64,
    /// Our node's own wallet and channels, if the engine keeps their books.
    pub node: Option<NodeTruth>,
}

/// What our node really has beside the balances of its open channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeTruth {
    /// Coins of its own wallet, unconfirmed ones included.
    pub wallet_sat: u64,
    /// Funding outputs of the channels that it lists, ascending.
    pub listed: Vec<OutPoint>,
    /// Nothing of a closed channel is left to come.
    pub swept: bool,
}

/// What the Lightning nodes know of one payment hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTruth {
    /// Some node has claimed a payment to its invoice.
    pub claimed: bool,
    /// Some payer was given the preimage.
    pub proven: bool,
    /// An HTLC is pending, or a payer still tries.
    pub pending: bool,
    /// A node is down, and what it knows with it.
    pub hidden: bool,
}

/// Tells the truth at any moment, where a world can (the simulated one).
pub trait TruthSource: Send + Sync {
    /// Now.
    fn truth(&self) -> Truth;
}

/// The gateway model, shared between its transport and the scenario.
#[derive(Clone)]
pub struct SharedGateway(Arc<Mutex<gateway::Gateway>>);

impl SharedGateway {
    /// Shares it.
    pub fn new(gateway: gateway::Gateway) -> SharedGateway {
        SharedGateway(Arc::new(Mutex::new(gateway)))
    }

    /// Shares it; the effects of its faults are counted in the run's record.
    pub fn counting(mut gateway: gateway::Gateway, faults: Arc<Mutex<Faults>>) -> SharedGateway {
        gateway.count_in(faults);
        SharedGateway::new(gateway)
    }

    /// Exclusive access; never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, gateway::Gateway> {
        self.0.lock().expect("no holder of the gateway panics")
    }
}

/// What is special about the disks of Lightning nodes, because faults of the scenario need it. The simulated world.
#[derive(Clone, Debug, Default)]
pub struct NodeDisks {
    /// Whose disk remembers what it held: a node that will be started from an old disk, or will publish an old state.
    pub with_history: BTreeSet<String>,
    /// Whose channel monitors are stored in LDK's deferred way: a node whose disk will be slow. LDK panics if the way
    /// changes during a life.
    pub deferred: BTreeSet<String>,
}

impl NodeDisks {
    /// What this trouble needs is there from now on.
    pub fn prepare_for(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Process {
                of: Endpoint::Node(node),
                kind: ProcessFaultKind::StaleRestart { .. },
            }
            | Trouble::Peer {
                of: node,
                kind: PeerFaultKind::Revoked { .. },
            } => {
                self.with_history.insert(node.to_string());
            }
            Trouble::Disk {
                of: Endpoint::Node(node),
                kind: DiskFaultKind::Slow { .. },
            } => {
                self.deferred.insert(node.to_string());
            }
            _ => {}
        }
    }
}

/// Layer 0 as a world is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer0Plan {
    /// The system.
    pub config: layer0::Layer0Config,
    /// Bearer token that the engine shows to it.
    pub token: String,
}

/// What every world is made from; how much of it a world can do differs.
pub struct Blueprint {
    /// Root of all draws.
    pub seed: RootSeed,
    /// Lightning nodes.
    pub nodes: Vec<String>,
    /// The one that the engine operates.
    pub operator: Option<String>,
    /// The gateway.
    pub gateway: gateway::GatewayConfig,
    /// Bearer token that the engine shows to the gateway.
    pub gateway_token: String,
    /// Layer 0, if the scenario uses it.
    pub layer0: Option<Layer0Plan>,
    /// The engine.
    pub engine: EngineConfig,
    /// The public descriptors of all its wallets, by name.
    pub wallets: BTreeMap<String, Descriptors>,
    /// Its wallets' keys.
    pub signer: SoftwareSigner,
    /// Those who must sign for some of its wallets.
    pub cosigners: EmulatedCosigners,
    /// Watches the engine.
    pub observer: Arc<dyn Observer>,
    /// Trace.
    pub trace: SharedTrace,
    /// Faults.
    pub faults: Arc<Mutex<Faults>>,
    /// Whether to write down every HTLC that is offered (the simulated world).
    pub watch_htlcs: bool,
    /// What faults need of the disks of Lightning nodes.
    pub node_disks: NodeDisks,
    /// Lightning nodes that have an unannounced channel: they forward into it, as who has one serves its other end.
    pub with_private_channels: BTreeSet<String>,
    /// A bug planted in the engine, to show that it is caught. Tests only.
    pub planted: Option<Bug>,
}

/// Where a scenario happens. All waiting is done by the world, in its own kind of time.
#[allow(async_fn_in_trait, reason = "used generically, on one thread")]
pub trait World {
    /// Which of the two.
    fn kind(&self) -> WorldKind;

    /// When the scenario began.
    fn epoch(&self) -> Epoch;

    /// Warm-up is over: the scenario begins now.
    fn begin(&mut self);

    /// The world's time.
    fn now(&self) -> Timestamp;

    /// The engine at work.
    fn service(&self) -> &Service;

    /// Starts the engine.
    async fn start_engine(&mut self) -> Result<(), WorldError>;

    /// The chain as the engine's host is shown it, for somebody else.
    fn chain_source(&self) -> Arc<dyn ChainSource>;

    /// Opens a copy of the journal. Call it at rest.
    fn audit_store(&self) -> OpenStore;

    /// The engine's disk is lost with all that was on it; gives an empty store on a new one. The process is down.
    fn lose_journal(&self) -> Result<Box<dyn Store>, WorldError>;

    /// The fiat gateway.
    fn gateway(&self) -> &SharedGateway;

    /// Layer 0, if the scenario uses it.
    fn layer0(&self) -> Option<&SharedLayer0>;

    /// Layer 0 has something to tell: its process does not wait for its timer.
    fn layer0_has_news(&self) {}

    /// The truth, if it can be told at any moment.
    fn truth_source(&self) -> Option<Arc<dyn TruthSource>>;

    /// Lets time pass to `at`; what is due before happens at its time.
    async fn pass_until(&mut self, at: Timestamp) -> Result<(), WorldError>;

    /// Lets time pass until something may have changed, at most to `at`.
    async fn pass_a_little(&mut self, at: Timestamp) -> Result<(), WorldError>;

    /// Waits, within a limit, until nothing is on its way but what waits for time, a block or a decision.
    async fn settle(&mut self) -> Result<(), WorldError>;

    /// The best chain's tip.
    async fn tip(&mut self) -> Result<BlockId, WorldError>;

    /// The best chain's block at a height.
    async fn block(&mut self, height: u32) -> Result<Block, WorldError>;

    /// Unconfirmed transactions.
    async fn mempool(&mut self) -> Result<Vec<Transaction>, WorldError>;

    /// Mines blocks that pay `payout`, from the mempool.
    async fn mine(&mut self, blocks: u32, payout: ScriptBuf) -> Result<(), WorldError>;

    /// From now on a transaction below this feerate (satoshi per 1,000 weight units) is not mined.
    async fn set_fee_floor(&mut self, sat_per_kwu: u64) -> Result<(), WorldError>;

    /// Brings trouble about; its effects are counted under `fault`.
    async fn begin_trouble(&mut self, trouble: &Trouble, fault: FaultId) -> Result<(), WorldError>;

    /// Ends what was begun under `fault`.
    async fn end_trouble(&mut self, fault: FaultId) -> Result<(), WorldError>;

    /// Drops an unconfirmed transaction from mempools (the simulated world only); false if it is not there.
    async fn evict(&mut self, txid: Txid) -> Result<bool, WorldError>;

    /// Replaces blocks.
    async fn reorg(&mut self, reorg: Reorg, payout: ScriptBuf) -> Result<(), WorldError>;

    /// Hands a transaction to the chain's backend.
    async fn broadcast(&mut self, transaction: &Transaction) -> Result<Txid, WorldError>;

    /// A fresh on-chain address of a Lightning node.
    async fn node_address(&mut self, node: &str) -> Result<Address, WorldError>;

    /// What a Lightning node can spend on chain.
    async fn node_wallet_sat(&mut self, node: &str) -> Result<u64, WorldError>;

    /// Opens a channel; its funding transaction is in the mempool afterwards.
    async fn open_channel(&mut self, plan: &ChannelPlan) -> Result<OutPoint, WorldError>;

    /// How somebody else's node names this one to connect to it: `PUBKEY@HOST:PORT`.
    async fn node_contact(&mut self, node: &str, for_whom: &str) -> Result<String, WorldError>;

    /// A channel that the engine has opened is known under its name from now on; both ends ask for what the plan says.
    async fn adopt_channel(
        &mut self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<(), WorldError>;

    /// What has to happen before a channel's end is begun, by the world or by the engine. Gives whether the two were parted.
    async fn before_close(&mut self, order: &CloseOrder) -> Result<bool, WorldError>;

    /// Has an outsider begin a channel's end.
    async fn close_channel(&mut self, order: &CloseOrder) -> Result<(), WorldError>;

    /// What has to happen after it was begun.
    async fn after_close(&mut self, order: &CloseOrder, parted: bool) -> Result<(), WorldError>;

    /// How far a channel is at its ends.
    async fn channel_sight(&mut self, channel: &str) -> Result<ChannelSight, WorldError>;

    /// Waits until both ends can use this channel and, if it is announced, every running node knows it.
    async fn await_channel(&mut self, channel: &str) -> Result<(), WorldError>;

    /// Waits until every node can use its channels and knows all the others' (BOLT 7 gossip).
    async fn await_gossip(&mut self, channels: usize) -> Result<(), WorldError>;

    /// A BOLT 11 invoice of an outside node; without an amount it leaves that to the payer.
    async fn node_invoice(
        &mut self,
        node: &str,
        amount_msat: Option<u64>,
    ) -> Result<String, WorldError>;

    /// Has an outside node pay an invoice: what it asks, or the amount given.
    async fn node_pays(
        &mut self,
        node: &str,
        invoice: &str,
        amount_msat: Option<u64>,
    ) -> Result<(), WorldError>;

    /// Has an outside node pay an invoice of the operator over a prescribed route; the simulated world only.
    async fn node_pays_along(
        &mut self,
        node: &str,
        invoice: &str,
        route: &Route,
    ) -> Result<(), WorldError>;

    /// Kills a Lightning node.
    async fn crash(&mut self, node: &str) -> Result<(), WorldError>;

    /// Starts it again from its disk.
    async fn restart(&mut self, node: &str) -> Result<(), WorldError>;

    /// Fees that a node has earned by forwarding since the world began.
    async fn forwarded_msat(&mut self, node: &str) -> Result<u64, WorldError>;

    /// HTLCs that were offered over a channel since the world began, where they can be seen (the simulated world).
    async fn offered_htlcs(&mut self, channel: &str) -> Result<Vec<OfferedHtlc>, WorldError>;

    /// What the nodes themselves know of a payment, whatever the engine was told.
    fn hash_truth(&self, payment_hash: [u8; 32]) -> Result<HashTruth, WorldError>;

    /// The switch that kills the engine's process.
    fn switch(&self) -> &Arc<Switch>;

    /// All channels, in the order of their opening.
    async fn channels(&mut self) -> Result<Vec<ChannelState>, WorldError>;

    /// Ends everything; nothing of it is left on the machine afterwards.
    async fn shut_down(self) -> Result<(), WorldError>;
}
