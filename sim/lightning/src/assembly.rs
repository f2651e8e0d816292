//! LDK's generics, named once, and the parts of a node made from them: fresh, or restored from the disk.
//!
//! Owns the order of restoring: wallet and keys, monitors, graph and scorer, channel manager, then the monitors go to the
//! chain monitor. Does not own what happens afterwards.

use std::sync::{Arc, Mutex};

use bitcoin::bip32::Xpriv;
use bitcoin::{BlockHash, Transaction};
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::chain::channelmonitor::ChannelMonitor;
use lightning::chain::{BestBlock, Filter, chainmonitor};
use lightning::events::bump_transaction::sync::{BumpTransactionEventHandlerSync, WalletSync};
use lightning::ln::channelmanager::{self, ChainParameters, ChannelManagerReadArgs};
use lightning::ln::msgs::DecodeError;
use lightning::ln::peer_handler::{self, IgnoringMessageHandler, MessageHandler};
use lightning::onion_message::messenger::DefaultMessageRouter;
use lightning::routing::gossip::{NetworkGraph, P2PGossipSync};
use lightning::routing::router::DefaultRouter;
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::routing::utxo::UtxoLookup;
use lightning::sign::{EntropySource as _, InMemorySigner, NodeSigner as _};
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::{
    NETWORK_GRAPH_PERSISTENCE_KEY, OUTPUT_SWEEPER_PERSISTENCE_KEY, SCORER_PERSISTENCE_KEY,
};
use lightning::util::ser::ReadableArgs as _;
use lightning::util::sweep::OutputSweeperSync;

use crate::background::{Effect, Outbox};
use crate::config::{MONITOR_UPDATES_BEFORE_FULL_WRITE, NodeConfig, node_config};
use crate::disk::Store;
use crate::events::EventQueue;
use crate::fees::FeeSource;
use crate::keys::WalletKeys;
use crate::links::LinkEnd;
use crate::monitor_store::{MonitorStore, Persister};
use crate::node::StartError;
use crate::wallet::Wallet;

/// The key of the one record that holds the event queue and the channel manager.
pub(crate) const NODE_RECORD_KEY: &str = "node";

/// LDK's log is dropped: a node is observed through its events and views.
pub(crate) struct NoLog;

impl Logger for NoLog {
    fn log(&self, _record: Record) {}
}

/// Puts LDK's transactions among the node's effects.
pub(crate) struct Broadcaster(pub(crate) Arc<Outbox>);

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        self.0.push(Effect::Broadcast(
            transactions.iter().map(|tx| (*tx).clone()).collect(),
        ));
    }
}

pub(crate) type Graph = NetworkGraph<Arc<NoLog>>;
pub(crate) type Scorer = ProbabilisticScorer<Arc<Graph>, Arc<NoLog>>;
type Router = DefaultRouter<
    Arc<Graph>,
    Arc<NoLog>,
    Arc<WalletKeys>,
    Arc<Mutex<Scorer>>,
    ProbabilisticScoringFeeParameters,
    Scorer,
>;
type MessageRouter = DefaultMessageRouter<Arc<Graph>, Arc<NoLog>, Arc<WalletKeys>>;
type DynFilter = Arc<dyn Filter + Send + Sync>;
pub(crate) type ChainMonitor = chainmonitor::ChainMonitor<
    InMemorySigner,
    DynFilter,
    Arc<Broadcaster>,
    Arc<FeeSource>,
    Arc<NoLog>,
    Arc<MonitorStore>,
    Arc<WalletKeys>,
>;
pub(crate) type ChannelManager = channelmanager::ChannelManager<
    Arc<ChainMonitor>,
    Arc<Broadcaster>,
    Arc<WalletKeys>,
    Arc<WalletKeys>,
    Arc<WalletKeys>,
    Arc<FeeSource>,
    Arc<Router>,
    Arc<MessageRouter>,
    Arc<NoLog>,
>;
type Gossip = P2PGossipSync<Arc<Graph>, Arc<dyn UtxoLookup + Send + Sync>, Arc<NoLog>>;
pub(crate) type PeerManager = peer_handler::PeerManager<
    LinkEnd,
    Arc<ChannelManager>,
    Arc<Gossip>,
    Arc<IgnoringMessageHandler>,
    Arc<NoLog>,
    Arc<IgnoringMessageHandler>,
    Arc<WalletKeys>,
    Arc<ChainMonitor>,
>;
pub(crate) type Sweeper = OutputSweeperSync<
    Arc<Broadcaster>,
    Arc<WalletKeys>,
    Arc<FeeSource>,
    DynFilter,
    Arc<Store>,
    Arc<NoLog>,
    Arc<WalletKeys>,
>;
pub(crate) type Bumper = BumpTransactionEventHandlerSync<
    Arc<Broadcaster>,
    Arc<WalletSync<Arc<Wallet>, Arc<NoLog>>>,
    Arc<WalletKeys>,
    Arc<NoLog>,
>;

/// Everything a running node consists of.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) broadcaster: Arc<Broadcaster>,
    pub(crate) fees: Arc<FeeSource>,
    pub(crate) wallet: Arc<Wallet>,
    pub(crate) keys: Arc<WalletKeys>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) scorer: Arc<Mutex<Scorer>>,
    pub(crate) monitors: Arc<ChainMonitor>,
    pub(crate) monitor_store: Arc<MonitorStore>,
    pub(crate) channels: Arc<ChannelManager>,
    pub(crate) peers: PeerManager,
    pub(crate) sweeper: Sweeper,
    pub(crate) bumper: Bumper,
    pub(crate) queue: EventQueue,
    pub(crate) restored: bool,
}

/// The parts that exist before anything was read of channels.
struct Base {
    store: Arc<Store>,
    outbox: Arc<Outbox>,
    broadcaster: Arc<Broadcaster>,
    fees: Arc<FeeSource>,
    wallet: Arc<Wallet>,
    keys: Arc<WalletKeys>,
    log: Arc<NoLog>,
}

/// Builds all parts; see the module for the order.
pub(crate) fn assemble(config: &NodeConfig, store: Arc<Store>) -> Result<Parts, StartError> {
    let base = base(config, store)?;
    let monitor_store = monitor_store(&base, config.deferred_stores);
    let stored_monitors = monitor_store
        .persister
        .read_all_channel_monitors_with_updates()
        .map_err(damaged("channel monitors"))?;
    let monitors = Arc::new(ChainMonitor::new(
        None,
        base.broadcaster.clone(),
        base.log.clone(),
        base.fees.clone(),
        monitor_store.clone(),
        base.keys.clone(),
        base.keys.get_peer_storage_key(),
    ));
    let (graph, scorer) = graph_and_scorer(config, &base)?;
    let (queue, channels, restored) = channel_manager(
        config,
        &base,
        &monitors,
        (&graph, &scorer),
        &stored_monitors,
    )?;
    let channels = Arc::new(channels);
    for (_, monitor) in stored_monitors {
        let channel_id = monitor.channel_id();
        monitors
            .load_existing_monitor(channel_id, monitor)
            .map_err(|()| damaged("channel monitors")("loaded twice"))?;
    }
    let peers = peer_manager(config, &base, &monitors, &channels, &graph);
    let sweeper = sweeper(&base, channels.current_best_block())?;
    let bumper = bumper(&base);
    Ok(Parts {
        store: base.store,
        outbox: base.outbox,
        broadcaster: base.broadcaster,
        fees: base.fees,
        wallet: base.wallet,
        keys: base.keys,
        graph,
        scorer,
        monitors,
        monitor_store,
        channels,
        peers,
        sweeper,
        bumper,
        queue,
        restored,
    })
}

fn base(config: &NodeConfig, store: Arc<Store>) -> Result<Base, StartError> {
    let master =
        Xpriv::new_master(config.network, &config.key_seed).map_err(damaged("key seed"))?;
    let outbox = Arc::new(Outbox::default());
    let fees = Arc::new(FeeSource::new());
    let wallet = Arc::new(Wallet::open(config, &master, store.clone(), fees.clone())?);
    let keys = Arc::new(WalletKeys::new(config, &master, wallet.clone()));
    let broadcaster = Arc::new(Broadcaster(outbox.clone()));
    Ok(Base {
        store,
        outbox,
        broadcaster,
        fees,
        wallet,
        keys,
        log: Arc::new(NoLog),
    })
}

fn monitor_store(base: &Base, deferred: bool) -> Arc<MonitorStore> {
    let persister = Persister::new(
        base.store.clone(),
        base.log.clone(),
        MONITOR_UPDATES_BEFORE_FULL_WRITE,
        base.keys.clone(),
        base.keys.clone(),
        base.broadcaster.clone(),
        base.fees.clone(),
    );
    Arc::new(MonitorStore::new(persister, base.store.clone(), deferred))
}

/// Pays for closing transactions out of the wallet (anchors, BOLT 3).
fn bumper(base: &Base) -> Bumper {
    let coins = Arc::new(WalletSync::new(base.wallet.clone(), base.log.clone()));
    Bumper::new(
        base.broadcaster.clone(),
        coins,
        base.keys.clone(),
        base.log.clone(),
    )
}

type GraphAndScorer = (Arc<Graph>, Arc<Mutex<Scorer>>);

fn graph_and_scorer(config: &NodeConfig, base: &Base) -> Result<GraphAndScorer, StartError> {
    let graph = Arc::new(match base.store.get(NETWORK_GRAPH_PERSISTENCE_KEY)? {
        Some(bytes) => Graph::read(&mut bytes.as_slice(), base.log.clone())
            .map_err(undecodable("network graph"))?,
        None => Graph::new(config.network, base.log.clone()),
    });
    let decay = ProbabilisticScoringDecayParameters::default();
    let scorer = match base.store.get(SCORER_PERSISTENCE_KEY)? {
        Some(bytes) => Scorer::read(
            &mut bytes.as_slice(),
            (decay, graph.clone(), base.log.clone()),
        )
        .map_err(undecodable("scorer"))?,
        None => Scorer::new(decay, graph.clone(), base.log.clone()),
    };
    Ok((graph, Arc::new(Mutex::new(scorer))))
}

fn channel_manager(
    config: &NodeConfig,
    base: &Base,
    monitors: &Arc<ChainMonitor>,
    (graph, scorer): (&Arc<Graph>, &Arc<Mutex<Scorer>>),
    stored: &[(BlockHash, ChannelMonitor<InMemorySigner>)],
) -> Result<(EventQueue, ChannelManager, bool), StartError> {
    let router = Arc::new(Router::new(
        graph.clone(),
        base.log.clone(),
        base.keys.clone(),
        scorer.clone(),
        ProbabilisticScoringFeeParameters::default(),
    ));
    let message_router = Arc::new(MessageRouter::new(graph.clone(), base.keys.clone()));
    let Some(record) = base.store.get(NODE_RECORD_KEY)? else {
        let best_block = BestBlock::new(config.tip.0, config.tip.1);
        let channels = ChannelManager::new(
            base.fees.clone(),
            monitors.clone(),
            base.broadcaster.clone(),
            router,
            message_router,
            base.log.clone(),
            base.keys.clone(),
            base.keys.clone(),
            base.keys.clone(),
            node_config(config),
            ChainParameters {
                network: config.network,
                best_block,
            },
            u32::try_from(config.now.as_secs()).unwrap_or(u32::MAX),
        );
        return Ok((EventQueue::default(), channels, false));
    };
    let (queue_bytes, manager_bytes) =
        split_record(&record).ok_or_else(|| damaged("node record")("cut short"))?;
    let queue = EventQueue::decode(queue_bytes).map_err(undecodable("event queue"))?;
    let args = ChannelManagerReadArgs::new(
        base.keys.clone(),
        base.keys.clone(),
        base.keys.clone(),
        base.fees.clone(),
        monitors.clone(),
        base.broadcaster.clone(),
        router,
        message_router,
        base.log.clone(),
        node_config(config),
        stored.iter().map(|(_, monitor)| monitor).collect(),
    );
    let (_, channels) = <(BlockHash, ChannelManager)>::read(&mut &manager_bytes[..], args)
        .map_err(undecodable("channel manager"))?;
    Ok((queue, channels, true))
}

/// The node record: the length of the queue (8 bytes, big endian), the queue, the channel manager.
pub(crate) fn join_record(queue: &[u8], manager: &[u8]) -> Vec<u8> {
    let length = (queue.len() as u64).to_be_bytes();
    [&length[..], queue, manager].concat()
}

fn split_record(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = record.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    (length <= rest.len()).then(|| rest.split_at(length))
}

fn peer_manager(
    config: &NodeConfig,
    base: &Base,
    monitors: &Arc<ChainMonitor>,
    channels: &Arc<ChannelManager>,
    graph: &Arc<Graph>,
) -> PeerManager {
    let handlers = MessageHandler {
        chan_handler: channels.clone(),
        // No look-up of funding outputs, as with ldk-node on an electrum back end.
        route_handler: Arc::new(Gossip::new(graph.clone(), None, base.log.clone())),
        onion_message_handler: Arc::new(IgnoringMessageHandler {}),
        custom_message_handler: Arc::new(IgnoringMessageHandler {}),
        send_only_message_handler: monitors.clone(),
    };
    let now = u32::try_from(config.now.as_secs()).unwrap_or(u32::MAX);
    let ephemeral = base.keys.get_secure_random_bytes();
    PeerManager::new(
        handlers,
        now,
        &ephemeral,
        base.log.clone(),
        base.keys.clone(),
    )
}

fn sweeper(base: &Base, best_block: BestBlock) -> Result<Sweeper, StartError> {
    let Some(bytes) = base.store.get(OUTPUT_SWEEPER_PERSISTENCE_KEY)? else {
        return Ok(Sweeper::new(
            best_block,
            base.broadcaster.clone(),
            base.fees.clone(),
            None,
            base.keys.clone(),
            base.keys.clone(),
            base.store.clone(),
            base.log.clone(),
        ));
    };
    let args = (
        base.broadcaster.clone(),
        base.fees.clone(),
        None,
        base.keys.clone(),
        base.keys.clone(),
        base.store.clone(),
        base.log.clone(),
    );
    let (_, sweeper) = <(BestBlock, Sweeper)>::read(&mut bytes.as_slice(), args)
        .map_err(undecodable("output sweeper"))?;
    Ok(sweeper)
}

fn damaged<E: ToString>(what: &'static str) -> impl Fn(E) -> StartError {
    move |cause| StartError::Damaged {
        what,
        cause: cause.to_string(),
    }
}

fn undecodable(what: &'static str) -> impl Fn(DecodeError) -> StartError {
    move |cause| StartError::Damaged {
        what,
        cause: format!("{cause:?}"),
    }
}
