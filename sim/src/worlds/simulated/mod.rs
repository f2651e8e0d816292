//! Owns the simulated world: chain, Lightning nodes, gateway and engine as tasks of one madsim runtime, joined by links.
//! Everything is in virtual time, which skips idle spans. Does not own the runtime (`scheduler`) nor the scenario.

pub mod backend;
pub mod chain;
mod chain_faults;
pub mod channels;
mod clocks;
mod engine_chain;
mod engine_process;
mod http_process;
pub mod journal_disk;
pub mod node_process;
mod own_channels;
mod ports;
mod rest;
mod routes;
mod sites;
mod stream;
mod told;
mod truth;
mod world;

use super::gateway::Gateway;
use super::http_system::{HttpSystem, SharedLayer0};
use super::layer0::Layer0;
use super::service::{Service, Switch};
use super::{Blueprint, ChannelPlan, ChannelState, FaultSite, SharedGateway, WorldError};
use crate::entropy_shim;
use crate::links::Network;
use crate::trace::Subsystem;
use crate::vtime::Epoch;
use crate::worlds::no_layer0::NoLayer0;
use crate::worlds::no_node::NoNode;
use backend::{Backend, BackendParts};
use bitcoin::OutPoint;
use chain::Chain;
use clocks::Clocks;
use engine_chain::EngineChain;
use engine_process::EngineProcess;
use http_process::HttpProcess;
pub(crate) use http_process::webhook_request;
use journal_disk::JournalDisk;
use lockstep_engine::time::Timestamp;
use lockstep_host::ports::{HttpTransport, LightningNode, Ports};
use lockstep_lightning::{ChannelView, HtlcDirection};
use madsim::runtime::NodeHandle;
use node_process::{Directory, NodeProcess, Surroundings};
use ports::{LinkHttp, OperatorNode, SeededEntropy, VirtualClock};
use serde_json::json;
use sites::disks::{Disks, DyingSwitch};
use sites::nodes::Nodes;
use sites::peers::Peers;
use sites::processes::{GatedChain, Processes};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The name of the engine's endpoint.
pub const ENGINE: &str = "engine";

/// Virtual time since the Unix epoch. madsim begins somewhere in 2022, depending on the seed.
pub fn virtual_unix_time() -> Duration {
    let now = madsim::time::TimeHandle::current().now_time();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// The same in the engine's words.
pub fn virtual_now() -> Timestamp {
    Timestamp(virtual_unix_time().as_millis() as u64)
}

/// The simulated world.
pub struct SimulatedWorld {
    blueprint: Blueprint,
    epoch: Epoch,
    network: Network,
    clocks: Clocks,
    backend: Backend,
    gateway: HttpProcess,
    gateway_model: SharedGateway,
    /// Layer 0 and its model, if the scenario uses it.
    layer0: Option<(HttpProcess, SharedLayer0)>,
    nodes: Vec<NodeProcess>,
    engine: EngineProcess,
    processes: Processes,
    disks: Disks,
    disk: JournalDisk,
    service: Arc<Mutex<Option<Service>>>,
    running: Option<Service>,
    switch: Arc<Switch>,
    channels: Vec<(ChannelPlan, OutPoint)>,
    node_site: Nodes,
    peer_site: Peers,
}

fn host(name: &str) -> NodeHandle {
    madsim::runtime::Handle::current()
        .create_node()
        .name(name)
        .build()
}

impl SimulatedWorld {
    /// The parts in which faults are brought about.
    fn sites(&self) -> [&dyn FaultSite; 8] {
        [
            &self.network,
            &self.clocks,
            &self.backend,
            &self.processes,
            &self.disks,
            &self.node_site,
            &self.peer_site,
            &self.blueprint.cosigners,
        ]
    }

    /// Builds the world inside a running simulation; Lightning nodes run, the engine does not yet. Its journal is on `disk`.
    pub fn build(blueprint: Blueprint, disk: JournalDisk) -> Result<SimulatedWorld, WorldError> {
        let trace = blueprint.trace.clone();
        let probe = entropy_shim::probe()
            .map_err(|error| WorldError::harness("draw through getrandom 0.2", error))?;
        trace.lock().record(
            Subsystem::Stimulus,
            "scheduler",
            json!({ "entropy_probe": probe }),
        );
        let network = Network::new(
            blueprint.seed,
            host("network"),
            trace.clone(),
            blueprint.faults.clone(),
        );
        let clocks = Clocks::new(blueprint.faults.clone());
        let parts = BackendParts {
            trace: trace.clone(),
            clocks: clocks.clone(),
            faults: blueprint.faults.clone(),
            draws: blueprint.seed.stream("chain backend"),
        };
        let backend = Backend::new(Chain::new(chain::Policy::default()), parts);
        let service = Arc::new(Mutex::new(None));
        let keeper = host("engine's supervisor");
        let engine =
            EngineProcess::new(network.clone(), disk.clone(), keeper.clone(), trace.clone());
        let gateway_model = SharedGateway::counting(
            Gateway::new(blueprint.gateway.clone()),
            blueprint.faults.clone(),
        );
        let process_of = |system: Arc<dyn HttpSystem>| {
            HttpProcess::new(http_process::Parts {
                system,
                network: network.clone(),
                clocks: clocks.clone(),
                trace: trace.clone(),
                engine: engine.clone(),
                service: service.clone(),
            })
        };
        let gateway = process_of(Arc::new(gateway_model.clone()));
        let layer0 = blueprint.layer0.as_ref().map(|plan| {
            let model =
                SharedLayer0::counting(Layer0::new(plan.config.clone()), blueprint.faults.clone());
            (process_of(Arc::new(model.clone())), model)
        });
        let disks = Disks::new(disk.clone(), service.clone(), keeper, &blueprint);
        let layer0_process = layer0.as_ref().map(|(process, _)| process.clone());
        let processes = Processes::new(
            disks.clone(),
            engine.clone(),
            gateway.clone(),
            layer0_process,
        );
        let surroundings = Surroundings {
            seed: blueprint.seed,
            network: network.clone(),
            clocks: clocks.clone(),
            backend: backend.clone(),
            trace,
            directory: Directory::default(),
            next_link: Arc::new(AtomicU64::new(0)),
            watch_htlcs: blueprint.watch_htlcs,
            watch_own_channels: blueprint.engine.policy.channels,
            disks: blueprint.node_disks.clone(),
            with_private_channels: blueprint.with_private_channels.clone(),
            reaction: node_process::reaction(blueprint.nodes.len()),
            faults: blueprint.faults.clone(),
        };
        let mut nodes = Vec::new();
        for name in &blueprint.nodes {
            let operated = blueprint.operator.as_ref() == Some(name);
            let process = NodeProcess::new(name, operated, surroundings.clone());
            surroundings.directory.add(process.clone());
            process.start()?;
            nodes.push(process);
        }
        Ok(SimulatedWorld {
            blueprint,
            epoch: Epoch(virtual_now()),
            network,
            clocks,
            backend,
            gateway,
            gateway_model,
            layer0,
            nodes,
            engine,
            processes,
            disks,
            disk,
            service,
            running: None,
            switch: Arc::new(Switch::default()),
            channels: Vec::new(),
            node_site: Nodes(surroundings.directory.clone()),
            peer_site: Peers::new(surroundings.directory),
        })
    }

    /// The links, for faults on them.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The chain's backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// A node's process.
    pub fn process(&self, name: &str) -> Result<&NodeProcess, WorldError> {
        self.nodes
            .iter()
            .find(|process| process.name == name)
            .ok_or_else(|| {
                WorldError::harness("find a node", format!("there is none called {name}"))
            })
    }

    fn ports(&self) -> Ports {
        let operator = self
            .blueprint
            .operator
            .as_ref()
            .and_then(|name| self.process(name).ok());
        let lightning: Arc<dyn LightningNode> = match operator {
            Some(process) => Arc::new(OperatorNode(process.clone())),
            None => Arc::new(NoNode),
        };
        Ports {
            clock: Arc::new(VirtualClock(self.clocks.clone())),
            chain: Arc::new(GatedChain {
                chain: EngineChain::new(self.backend.clone(), self.network.clone()),
                gate: self.processes.chain_gate(),
            }),
            lightning,
            http: Arc::new(LinkHttp {
                network: self.network.clone(),
                system: self.gateway.clone(),
                token: self.blueprint.gateway_token.clone(),
            }),
            layer0: self.layer0_port(),
            signer: Arc::new(self.blueprint.signer.clone()),
            cosigners: Arc::new(self.blueprint.cosigners.clone()),
            entropy: Arc::new(SeededEntropy(Mutex::new(
                self.blueprint.seed.stream("engine entropy"),
            ))),
            observer: self.blueprint.observer.clone(),
            interruption: Arc::new(DyingSwitch {
                switch: self.switch.clone(),
                disk: self.disk.clone(),
            }),
        }
    }

    fn layer0_port(&self) -> Arc<dyn HttpTransport> {
        match (&self.layer0, &self.blueprint.layer0) {
            (Some((process, _)), Some(plan)) => Arc::new(LinkHttp {
                network: self.network.clone(),
                system: process.clone(),
                token: plan.token.clone(),
            }),
            _ => Arc::new(NoLayer0),
        }
    }

    /// What both ends hold; `None` once the channel is closed or being closed: its funding output is spent, or an end has
    /// given it up. An end that was started from an old disk says nothing before both have agreed on what is.
    /// All channels that are not spent and that both ends have.
    fn channel_states(&self) -> Result<Vec<ChannelState>, WorldError> {
        let mut views: BTreeMap<&str, BTreeMap<OutPoint, ChannelView>> = BTreeMap::new();
        for process in &self.nodes {
            let seen = process.channels().into_iter();
            let seen = seen.filter(|view| view.usable || !process.is_forgetful());
            let funded = seen.filter_map(|view| Some((view.funding?, view)));
            views.insert(&process.name, funded.collect());
        }
        let states = self.channels.iter().map(|(plan, funding)| {
            if self.backend.read(|chain| chain.spender(funding)).is_some() {
                return Ok(None);
            }
            let view = |name: &String| {
                let of_node = views.get(name.as_str());
                let of_node = of_node.ok_or_else(|| {
                    WorldError::harness("find a node", format!("there is none called {name}"))
                })?;
                Ok(of_node.get(funding))
            };
            Ok(channel_state(
                plan,
                *funding,
                [view(&plan.from)?, view(&plan.to)?],
            ))
        });
        states.filter_map(Result::transpose).collect()
    }
}

/// A channel as its ends see it, the opener first; none if one of them has it no more.
fn channel_state(
    plan: &ChannelPlan,
    funding: OutPoint,
    views: [Option<&ChannelView>; 2],
) -> Option<ChannelState> {
    let [Some(near), Some(far)] = views else {
        return None;
    };
    // Each end speaks for itself: its own balance, and the HTLCs that it has offered.
    let offered = |view: &ChannelView| -> u64 {
        let htlcs = view.htlcs.iter();
        htlcs
            .filter(|htlc| htlc.direction == HtlcDirection::Outgoing)
            .map(|htlc| htlc.amount_msat)
            .sum()
    };
    Some(ChannelState {
        name: plan.name.clone(),
        capacity_sat: plan.capacity_sat,
        balance_msat: [near.local_balance_msat, far.local_balance_msat],
        in_flight_msat: [offered(near), offered(far)],
        funding,
        ends: [plan.from.clone(), plan.to.clone()],
    })
}
