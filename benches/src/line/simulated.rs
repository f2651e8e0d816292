//! Owns the line in the simulated world: links, trace and scheduler as in every scenario; blocks, funds and channels are
//! made through the `World` trait as the runner does. Does not own the engine's part (`engine`).

use super::engine::Books;
use super::{
    AMOUNT_MSAT, CLTV_EXPIRY_DELTA, FEE_BASE_MSAT, FEE_PROPORTIONAL_MILLIONTHS, FUNDS_SAT, Form,
    Load, NODES, PUSH_MSAT, Pair, WARM_UP_PAYMENTS, channels, node_name, payment_id, rounds,
};
use crate::child::Marks;
use bitcoin::{Amount, TxOut};
use lockstep::faults::Faults;
use lockstep::invariants;
use lockstep::prng::RootSeed;
use lockstep::run::recorder::Recorder;
use lockstep::trace::{SharedTrace, Trace};
use lockstep::worlds::chain_book::ChainBook;
use lockstep::worlds::cosigners::EmulatedCosigners;
use lockstep::worlds::gateway::GatewayConfig;
use lockstep::worlds::keys::{self, NETWORK};
use lockstep::worlds::purse::Purse;
use lockstep::worlds::simulated::SimulatedWorld;
use lockstep::worlds::simulated::journal_disk::JournalDisk;
use lockstep::worlds::{Blueprint, ChannelPlan, ForwardingFees, NodeDisks, World};
use lockstep_engine::api::EngineConfig;
use lockstep_engine::policy::Policy;
use lockstep_engine::time::Span;
use lockstep_host::adapters::software_signer::SoftwareSigner;
use lockstep_lightning::{OutgoingStatus, PaymentId};
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const SEED: RootSeed = RootSeed(1);

/// A coinbase is spendable 100 blocks later; the miner leaves a margin.
const BLOCKS_TO_MATURITY: u32 = 103;

/// Confirmations after which a channel is announced (BOLT 7).
const ANNOUNCE_DEPTH: u32 = 6;

/// 2 sat/vB, in satoshi per 1,000 weight units.
const FUNDING_FEERATE: u64 = 500;

/// No batch takes longer in virtual time.
const BATCH_LIMIT: Span = Span::secs(600);

pub(super) fn run(load: &Load, marks: &Marks) {
    lockstep::scheduler::simulate(SEED, || simulation(load, marks))
        .expect("the first simulation of this process");
}

/// The line in its world.
pub(super) struct Line {
    pub(super) world: SimulatedWorld,
    pub(super) recorder: Arc<Recorder>,
}

async fn simulation(load: &Load, marks: &Marks) {
    let mut line = Line::build(load).await;
    let mut books = match load.form {
        Form::Engine => Some(Books::open(&mut line).await),
        Form::Bare | Form::Simulated => None,
    };
    for size in load.batches(WARM_UP_PAYMENTS) {
        line.pay_by(&mut books, size).await;
    }
    marks.begin();
    for size in load.batches(load.payments) {
        line.pay_by(&mut books, size).await;
    }
    marks.end();
    if let Some(violation) = line.recorder.violation() {
        panic!("{violation}");
    }
}

impl Line {
    async fn build(load: &Load) -> Line {
        let trace = SharedTrace::new(Trace::new(false));
        let faults = Arc::new(Mutex::new(Faults::default()));
        let recorder = Arc::new(Recorder::new(
            trace.clone(),
            invariants::all(),
            faults.clone(),
        ));
        let blueprint = blueprint(load, trace, recorder.clone(), faults);
        let mut world =
            SimulatedWorld::build(blueprint, JournalDisk::default()).expect("a plain world");
        let miner = Purse::new(SEED, "the miner");
        world
            .mine(BLOCKS_TO_MATURITY, miner.script())
            .await
            .expect("mined");
        world.settle().await.expect("settled");
        fund(&mut world, &miner, load.nodes).await;
        for round in rounds(load.nodes) {
            for pair in round {
                let opened = world.open_channel(&plan(pair)).await;
                opened.expect("the opener has coins");
            }
            let mined = world.mine(ANNOUNCE_DEPTH, miner.script()).await;
            mined.expect("mined");
            world.settle().await.expect("settled");
        }
        let gossip = world.await_gossip(channels(load.nodes)).await;
        gossip.expect("gossip spreads");
        world.settle().await.expect("settled");
        Line { world, recorder }
    }

    async fn pay_by(&mut self, books: &mut Option<Books>, count: usize) {
        match books {
            Some(books) => books.charge_and_pay(self, count).await,
            None => self.pay(count).await,
        }
    }

    /// Begins `count` payments together and waits until all are done.
    async fn pay(&mut self, count: usize) {
        let mut begun = Vec::new();
        for _ in 0..count {
            let invoice = self
                .world
                .node_invoice(NODES[NODES.len() - 1], Some(AMOUNT_MSAT))
                .await
                .expect("a plain invoice");
            begun.push(payment_id(&invoice));
            self.world
                .node_pays(NODES[0], &invoice, None)
                .await
                .expect("there is a route");
        }
        let limit = self.world.now().plus(BATCH_LIMIT);
        while !begun.iter().all(|id| self.is_sent(*id)) {
            assert!(self.world.now() < limit, "payments do not end");
            self.world.pass_a_little(limit).await.expect("time passes");
        }
    }

    fn is_sent(&self, id: PaymentId) -> bool {
        let payer = self
            .world
            .process(NODES[0])
            .expect("it is there")
            .node()
            .expect("it runs");
        match payer
            .payment(id)
            .expect("the disk works")
            .expect("begun")
            .status
        {
            OutgoingStatus::Sent { .. } => true,
            OutgoingStatus::Pending => false,
            failed @ OutgoingStatus::Failed { .. } => panic!("a payment ended as {failed:?}"),
        }
    }
}

fn blueprint(
    load: &Load,
    trace: SharedTrace,
    recorder: Arc<Recorder>,
    faults: Arc<Mutex<Faults>>,
) -> Blueprint {
    let keys = keys::engine_keys(SEED);
    let (secret, token) = (keys::webhook_secret(SEED), keys::gateway_token(SEED));
    let private: Vec<_> = keys.private.into_iter().collect();
    Blueprint {
        with_private_channels: BTreeSet::new(),
        seed: SEED,
        nodes: (0..load.nodes).map(node_name).collect(),
        operator: (load.form == Form::Engine).then(|| NODES[NODES.len() - 1].to_owned()),
        gateway: GatewayConfig::new(&token, &secret, 0),
        gateway_token: token,
        layer0: None,
        engine: EngineConfig {
            network: NETWORK,
            descriptors: keys.public.clone(),
            policy: Policy::regtest_default(),
            webhook_secrets: vec![secret],
            layer0_secrets: Vec::new(),
            planted: None,
        },
        wallets: BTreeMap::from([("hot".to_owned(), keys.public)]),
        signer: SoftwareSigner::of_wallets(&private, NETWORK).expect("usable keys"),
        cosigners: EmulatedCosigners::new(SEED, [], faults.clone()),
        observer: recorder,
        trace,
        faults,
        watch_htlcs: false,
        node_disks: NodeDisks::default(),
        planted: None,
    }
}

async fn fund(world: &mut SimulatedWorld, miner: &Purse, nodes: usize) {
    let mut book = ChainBook::default();
    book.refresh(world).await.expect("the chain can be read");
    let mut outputs = Vec::new();
    for node in (0..nodes).map(node_name) {
        let script_pubkey = world
            .node_address(&node)
            .await
            .expect("a fresh address")
            .script_pubkey();
        outputs.push(TxOut {
            value: Amount::from_sat(FUNDS_SAT),
            script_pubkey,
        });
    }
    let transaction = miner
        .pay(&book, &outputs, FUNDING_FEERATE)
        .expect("a mature coinbase");
    world
        .broadcast(&transaction)
        .await
        .expect("a valid transaction");
    world
        .mine(ANNOUNCE_DEPTH, miner.script())
        .await
        .expect("mined");
    world.settle().await.expect("settled");
}

fn plan(pair: Pair) -> ChannelPlan {
    let (from, to) = (node_name(pair.from), node_name(pair.to));
    let fees = ForwardingFees {
        base_msat: FEE_BASE_MSAT,
        proportional_millionths: FEE_PROPORTIONAL_MILLIONTHS,
        cltv_expiry_delta: CLTV_EXPIRY_DELTA,
    };
    ChannelPlan {
        name: format!("{from}-{to}"),
        from,
        to,
        capacity_sat: pair.capacity_sat,
        push_msat: PUSH_MSAT,
        announced: true,
        fees_from: fees,
        fees_to: fees,
    }
}
