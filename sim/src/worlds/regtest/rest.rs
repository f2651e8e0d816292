//! Owns when the regtest world is at rest: what is still under way, in words, the pushes that bring it on (electrs is
//! woken, nodes sync, the engine looks, webhooks go out), and the wait until nothing is. Waiting is by conditions with a
//! limit in real time; virtual time stands still meanwhile.

use super::RegtestWorld;
use super::balances::EndView;
use super::chain::Sight;
use super::http_server::HttpServer;
use super::nodes::beside;
use super::waits::POLL;
use crate::worlds::{HashTruth, WorldError};
use bitcoin::Txid;
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use lockstep_engine::time::Span;
use lockstep_host::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for rest, in real time: LDK gives a payment ten seconds, a reconnection takes a few, and a busy machine
/// takes many times as long.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);

/// Pause between two looks at balances that must not change.
const STILL_POLL: Duration = Duration::from_millis(40);

/// Looks without a change after Lightning has moved: longer than any message is under way on loopback.
const STILL_LOOKS: u32 = 5;

/// Looks without a change if Lightning did not move at all.
const STILL_LOOKS_UNMOVED: u32 = 2;

/// Looks without a change if a payment is stuck behind a node that is down or a partition.
const STILL_LOOKS_STUCK: u32 = 40;

/// How long the engine's view may stay behind before it is asked to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Whether an effect of the engine gets on without electrs, as the host names effects.
fn needs_no_chain(effect: &str) -> bool {
    !["broadcast", "read chain", "look at the chain"]
        .iter()
        .any(|name| effect.ends_with(name))
}

/// What the world knows of who has seen what.
#[derive(Default)]
pub(super) struct Seen {
    electrs_mempool: BTreeSet<Txid>,
    nodes: BTreeMap<String, Sight>,
    engine: Option<(Sight, u32, Instant)>,
    at_rest: Option<Motion>,
    /// What had moved when the engine last looked at its node.
    looked_at: Option<Motion>,
}

impl Seen {
    /// A node has started anew: it has seen nothing yet.
    pub(super) fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
    }
}

/// Everything that moves when Lightning does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Motion {
    ends: Vec<[Option<EndView>; 2]>,
    held: usize,
    inputs: u64,
}

/// Payments of all running nodes.
#[derive(Default)]
struct Payments {
    /// Under way and not held.
    moving: Vec<String>,
    /// Some payment is under way, held ones included.
    any: bool,
}

/// What is waited for, and under which name its time is accounted.
struct Restless {
    account: &'static str,
    waiting_for: Vec<String>,
}

impl RegtestWorld {
    /// Waits until nothing is on its way but what waits for time, a block or a decision.
    pub(super) async fn come_to_rest(&mut self) -> Result<(), WorldError> {
        let start = Instant::now();
        self.seen.looked_at = None;
        let (mut last, mut still) = (None, 0);
        loop {
            self.cancel.check()?;
            let restless = self.restless().await?;
            let motion = self.motion();
            still = if restless.waiting_for.is_empty() && last.as_ref() == Some(&motion) {
                still + 1
            } else {
                0
            };
            if still >= self.looks_needed(&motion) && self.has_engine_look(&motion) {
                still = 0;
                continue;
            }
            if still >= self.looks_needed(&motion) {
                self.seen.at_rest = Some(motion);
                return Ok(());
            }
            last = Some(motion);
            if start.elapsed() >= SETTLE_LIMIT {
                let waited = Span(start.elapsed().as_millis() as u64);
                let mut waiting_for = restless.waiting_for;
                if waiting_for.is_empty() {
                    waiting_for.push("balances and inputs to stand still".to_owned());
                }
                return Err(WorldError::Unsettled {
                    waited,
                    waiting_for,
                });
            }
            let pause = Instant::now();
            sleep(if restless.waiting_for.is_empty() {
                STILL_POLL
            } else {
                POLL
            })
            .await;
            self.waits.add(restless.account, pause);
        }
    }

    /// An engine that manages its node's channels looks at the node once more when all else is at rest: nothing tells it of sweeps.
    fn has_engine_look(&mut self, motion: &Motion) -> bool {
        if !self.blueprint.engine.policy.channels || self.seen.looked_at.as_ref() == Some(motion) {
            return false;
        }
        let asked = self
            .running
            .as_ref()
            .and_then(|service| service.handle().ok());
        let asked = asked.is_some_and(|handle| handle.read_node_now().is_ok());
        self.seen.looked_at = Some(motion.clone());
        asked
    }

    fn looks_needed(&self, motion: &Motion) -> u32 {
        if self.is_broken() && !self.payments().moving.is_empty() {
            return STILL_LOOKS_STUCK;
        }
        let unmoved = self
            .seen
            .at_rest
            .as_ref()
            .is_some_and(|rest| (&rest.ends, rest.held) == (&motion.ends, motion.held));
        if unmoved {
            STILL_LOOKS_UNMOVED
        } else {
            STILL_LOOKS
        }
    }

    /// Whether anything has happened since the world was last at rest.
    pub(super) fn has_moved_since(&self, before: &Motion) -> bool {
        self.motion() != *before
    }

    /// Balances, held payments and the engine's inputs as of now.
    pub(super) fn motion(&self) -> Motion {
        let held = self
            .nodes
            .iter()
            .map(|process| process.told().held.len())
            .sum();
        let status = self
            .running
            .as_ref()
            .and_then(|service| service.status().ok().flatten());
        Motion {
            ends: self.end_views(),
            held,
            inputs: status.map_or(0, |status| status.handled_inputs),
        }
    }

    /// What each channel's ends show.
    pub(super) fn end_views(&self) -> Vec<[Option<EndView>; 2]> {
        let view = |channel: &super::balances::OpenChannel, end: usize| {
            self.process(channel.ends()[end])
                .ok()
                .and_then(|process| channel.seen_by(process))
        };
        self.channels
            .iter()
            .map(|channel| [view(channel, 0), view(channel, 1)])
            .collect()
    }

    async fn restless(&mut self) -> Result<Restless, WorldError> {
        self.gateway_server.deliver_due().await;
        if let Some((server, _)) = &self.layer0 {
            server.deliver_due().await;
        }
        let start = Instant::now();
        let sight = self.servers.sight()?;
        if self.servers.electrs_is_away() {
            self.electrs_misses(&sight);
            return self.restless_without_electrs();
        }
        let waiting_for = self
            .servers
            .electrs_lacks(&sight, &mut self.seen.electrs_mempool)?;
        self.waits.add("electrs to follow bitcoind", start);
        if !waiting_for.is_empty() {
            return Ok(Restless {
                account: "electrs to follow bitcoind",
                waiting_for,
            });
        }
        let waiting_for = self.sync_nodes(&sight).await?;
        if !waiting_for.is_empty() {
            return Ok(Restless {
                account: "nodes to sync",
                waiting_for,
            });
        }
        let waiting_for = self.engine_lacks(&sight)?;
        if !waiting_for.is_empty() {
            return Ok(Restless {
                account: "the engine",
                waiting_for,
            });
        }
        Ok(Restless {
            account: "lightning to settle",
            waiting_for: {
                let mut lacks = self.lightning_lacks();
                lacks.extend(self.sweeps_due());
                lacks
            },
        })
    }

    /// Nobody learns anything of the chain meanwhile, and nobody waits for it.
    fn restless_without_electrs(&self) -> Result<Restless, WorldError> {
        let mut waiting_for = Vec::new();
        if let Some(service) = self.running.as_ref().filter(|service| !service.is_kept()) {
            match service.status()? {
                None => waiting_for.push("the engine to restart".to_owned()),
                Some(status) => waiting_for.extend(self.engine_owes(&status, needs_no_chain)),
            }
        }
        waiting_for.extend(self.lightning_lacks());
        Ok(Restless {
            account: "lightning to settle",
            waiting_for,
        })
    }

    /// What the engine has to do, of the effects that are `counted`.
    fn engine_owes(&self, status: &Status, counted: fn(&str) -> bool) -> Vec<String> {
        let mut owes = Vec::new();
        // A call that a held system does not answer waits for time.
        let held = |layer0: bool| {
            let door = self.door_of(layer0).ok();
            let gives_up = door.and_then(|door| door.next_gives_up());
            gives_up.is_some_and(|at| at > self.clock.time())
        };
        let (gateway_is_held, layer0_is_held) = (held(false), held(true));
        let effects = status.in_flight_effects.iter();
        let hangs = |effect: &str| {
            gateway_is_held && effect.ends_with("call gateway")
                || layer0_is_held && effect.ends_with("call Layer 0")
        };
        let effects: Vec<&String> = effects
            .filter(|effect| counted(effect) && !hangs(effect))
            .collect();
        if status.queued_inputs > 0 || !effects.is_empty() {
            owes.push(format!(
                "the engine: {} inputs, {effects:?}",
                status.queued_inputs
            ));
        }
        if status.next_wake.is_some_and(|at| at <= self.clock.time()) {
            owes.push("the engine to do what is due".to_owned());
        }
        owes
    }

    /// Has every running node see what electrs shows.
    async fn sync_nodes(&mut self, sight: &Sight) -> Result<Vec<String>, WorldError> {
        let (start, mut syncing) = (Instant::now(), Vec::new());
        for process in &self.nodes {
            if let Some(node) = process
                .running()
                .filter(|_| self.seen.nodes.get(&process.name) != Some(sight))
            {
                let shared = node.clone();
                syncing.push((
                    process.name.clone(),
                    node,
                    tokio::spawn(beside(move || shared.sync_wallets())),
                ));
            }
        }
        let mut waiting_for = Vec::new();
        for (name, node, task) in syncing {
            let synced = task
                .await
                .map_err(|error| WorldError::harness(format!("sync node {name}"), error))??;
            let best = node.status().current_best_block;
            if let Err(error) = synced {
                waiting_for.push(format!("node {name} to sync ({error})"));
            } else if (best.height, best.block_hash) != (sight.tip.height, sight.tip.hash) {
                waiting_for.push(format!(
                    "node {name} to see block {} (it is at {})",
                    sight.tip.height, best.height
                ));
            } else {
                self.seen.nodes.insert(name, sight.clone());
            }
        }
        self.waits.add("nodes to sync", start);
        Ok(waiting_for)
    }

    /// What the engine has not done yet.
    fn engine_lacks(&mut self, sight: &Sight) -> Result<Vec<String>, WorldError> {
        // Nobody waits for an engine that a fault keeps away.
        let Some(service) = self.running.clone().filter(|service| !service.is_kept()) else {
            return Ok(Vec::new());
        };
        let Some(status) = service.status()? else {
            return Ok(vec!["the engine to restart".to_owned()]);
        };
        let Ok(handle) = service.handle() else {
            return Ok(vec!["the engine to restart".to_owned()]);
        };
        let behind =
            handle.with_engine(|engine| engine.chain_blocks().last().copied()) != Some(sight.tip);
        let looked = self
            .seen
            .engine
            .as_ref()
            .is_some_and(|(seen, restarts, at)| {
                (seen, *restarts) == (sight, service.restarts())
                    && (!behind || at.elapsed() < LOOK_AGAIN)
            });
        if !looked && handle.read_chain_now().is_ok() {
            self.seen.engine = Some((sight.clone(), service.restarts(), Instant::now()));
            return Ok(vec!["the engine to look at the chain".to_owned()]);
        }
        let mut waiting_for = self.engine_owes(&status, |_| true);
        if behind {
            waiting_for.push(format!("the engine to see block {}", sight.tip.height));
        }
        Ok(waiting_for)
    }

    fn lightning_lacks(&self) -> Vec<String> {
        let payments = self.payments();
        let mut waiting_for = Vec::new();
        if !self.is_broken() {
            waiting_for.extend(payments.moving);
        }
        if self.http_servers().any(HttpServer::awaits_answer) {
            waiting_for.push("a webhook to be answered".to_owned());
        }
        let untaken = self
            .blueprint
            .operator
            .as_ref()
            .filter(|_| self.engine_is_away());
        if !self.links.is_quiet() {
            waiting_for.push("delayed messages".to_owned());
        }
        for process in &self.nodes {
            let tells = process
                .running()
                .is_some_and(|node| node.next_event().is_some());
            if tells && untaken != Some(&process.name) {
                waiting_for.push(format!("an event of node {} to be taken", process.name));
            }
            if !process.told().claiming.is_empty() {
                waiting_for.push(format!("node {} to claim a payment", process.name));
            }
        }
        let calm = !payments.any && !self.is_broken();
        let views = self.end_views();
        let apart = |channel: &super::balances::OpenChannel| {
            let [from, to] = channel.ends();
            self.links.is_held(from, to)
        };
        waiting_for.extend(
            self.channels
                .iter()
                .zip(&views)
                .filter(|(channel, _)| !apart(channel))
                .filter_map(|(channel, views)| channel.disagreement(views, calm)),
        );
        waiting_for
    }

    /// Whether some node is down.
    pub(super) fn any_node_down(&self) -> bool {
        self.nodes.iter().any(|process| process.running().is_none())
    }

    /// Whether some node is down or cut off from another, or its events are not taken, so that payments may be stuck.
    fn is_broken(&self) -> bool {
        self.any_node_down() || self.links.any_held() || self.engine_is_away()
    }

    /// Whether no payment is under way, as far as running nodes know.
    pub(super) fn is_calm(&self) -> bool {
        !self.is_broken() && !self.payments().any
    }

    /// What every running node lists about a payment hash.
    pub(super) fn truth_of_hash(&self, payment_hash: [u8; 32]) -> HashTruth {
        let mut truth = HashTruth {
            hidden: self.any_node_down(),
            ..HashTruth::default()
        };
        for node in self.nodes.iter().filter_map(|process| process.running()) {
            let of_hash = |payment: &&PaymentDetails| matches!(&payment.kind, PaymentKind::Bolt11 { hash, .. } if hash.0 == payment_hash);
            for payment in node.list_payments_with_filter(of_hash) {
                match (payment.direction, payment.status) {
                    (PaymentDirection::Inbound, PaymentStatus::Succeeded) => truth.claimed = true,
                    (PaymentDirection::Outbound, PaymentStatus::Succeeded) => truth.proven = true,
                    (PaymentDirection::Outbound, PaymentStatus::Pending) => truth.pending = true,
                    _ => {}
                }
            }
        }
        truth
    }

    fn payments(&self) -> Payments {
        let mut held: BTreeSet<[u8; 32]> = BTreeSet::new();
        let (mut sent, mut under_way, mut expected) = (BTreeSet::new(), Vec::new(), Vec::new());
        for process in &self.nodes {
            held.extend(&process.told().held);
            for payment in process
                .running()
                .map(|node| node.list_payments())
                .unwrap_or_default()
            {
                let PaymentKind::Bolt11 { hash, .. } = payment.kind else {
                    continue;
                };
                match (payment.direction, payment.status) {
                    (PaymentDirection::Outbound, PaymentStatus::Pending) => {
                        under_way.push((&process.name, hash.0))
                    }
                    (PaymentDirection::Inbound, PaymentStatus::Pending) => {
                        expected.push((&process.name, hash.0))
                    }
                    (PaymentDirection::Outbound, PaymentStatus::Succeeded) => {
                        sent.insert(hash.0);
                    }
                    _ => {}
                }
            }
        }
        let any = !under_way.is_empty();
        // What lies in a channel that is closed waits for blocks, like what is held for a decision.
        held.extend(self.hashes_on_chain());
        let paying = under_way
            .into_iter()
            .filter(|(_, hash)| !held.contains(hash));
        let paid = expected.into_iter().filter(|(_, hash)| sent.contains(hash));
        let mut moving: Vec<String> = paying
            .map(|(name, _)| format!("a payment of node {name}"))
            .collect();
        moving.extend(paid.map(|(name, _)| format!("node {name} to receive a payment")));
        Payments { moving, any }
    }
}
