//! Owns what the `World` trait asks of the simulated world. Does not own its parts (one file each).

use super::rest::SETTLE_LIMIT;
use super::sites::disks::open_store;
use super::truth::{self, SimulatedTruth};
use super::{SimulatedWorld, virtual_now};
use crate::faults::FaultId;
use crate::scenario::Trouble;
use crate::vtime::Epoch;
use crate::worlds::http_system::SharedLayer0;
use crate::worlds::service::{OpenStore, Service, ServiceParts, Switch, error_chain};
use crate::worlds::{
    ChannelPlan, ChannelSight, ChannelState, CloseOrder, ForwardingFees, HashTruth, OfferedHtlc,
    Reorg, Route, SharedGateway, TruthSource, World, WorldError, WorldKind, keys,
};
use bitcoin::{Address, Block, OutPoint, ScriptBuf, Transaction, Txid};
use lockstep_engine::rail::BlockId;
use lockstep_engine::time::Timestamp;
use lockstep_host::ports::{ChainSource, Store};
use lockstep_lightning::{
    ForwardingPolicy, InvoiceDescription, InvoiceRequest, NodeEvent, OpenChannel, PayAlong,
    PayInvoice, PaymentId,
};
use madsim::time::sleep;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// Gossip of a few hundred channels takes some virtual minutes.
const GOSSIP_LIMIT: Duration = Duration::from_secs(1_800);

/// An outsider's invoice is good for an hour, as `ldk-node`'s default.
const INVOICE_EXPIRY_SECS: u32 = 3_600;

/// As long as `ldk-node` tries a payment again.
const PAYMENT_RETRY_SECS: u64 = 10;

impl World for SimulatedWorld {
    fn kind(&self) -> WorldKind {
        WorldKind::Simulated
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn begin(&mut self) {
        let epoch = Epoch(virtual_now());
        self.epoch = epoch;
        self.blueprint
            .trace
            .lock()
            .use_clock(Box::new(move || epoch.offset(virtual_now())));
    }

    fn now(&self) -> Timestamp {
        virtual_now()
    }

    fn service(&self) -> &Service {
        self.running
            .as_ref()
            .expect("the runner starts the engine during warm-up")
    }

    async fn start_engine(&mut self) -> Result<(), WorldError> {
        let parts = ServiceParts {
            config: self.blueprint.engine.clone(),
            ports: self.ports(),
            open_store: open_store(self.disk.clone()),
            planted: self.blueprint.planted,
        };
        self.gateway.start();
        if let Some((process, _)) = &self.layer0 {
            process.start();
        }
        let service = Service::start(parts, Arc::new(self.engine.clone()))?;
        *self.service.lock().expect("no holder panics") = Some(service.clone());
        self.running = Some(service);
        Ok(())
    }

    fn chain_source(&self) -> Arc<dyn ChainSource> {
        self.ports().chain
    }

    fn audit_store(&self) -> OpenStore {
        open_store(self.disk.copy())
    }

    fn lose_journal(&self) -> Result<Box<dyn Store>, WorldError> {
        self.disk.lose_all();
        open_store(self.disk.clone())()
            .map_err(|error| WorldError::harness("make a new journal", error_chain(&error)))
    }

    fn gateway(&self) -> &SharedGateway {
        &self.gateway_model
    }

    fn layer0(&self) -> Option<&SharedLayer0> {
        self.layer0.as_ref().map(|(_, model)| model)
    }

    fn layer0_has_news(&self) {
        if let Some((process, _)) = &self.layer0 {
            process.wake();
        }
    }

    fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    fn truth_source(&self) -> Option<Arc<dyn TruthSource>> {
        let operator = self
            .blueprint
            .operator
            .as_ref()
            .and_then(|name| self.process(name).ok())
            .cloned();
        let wallets = self.blueprint.wallets.iter();
        let wallets = wallets
            .map(|(name, public)| (name.clone(), keys::wallet_scripts(public)))
            .collect();
        let gateway = self.gateway_model.clone();
        let truth = SimulatedTruth::new(self.backend.clone(), operator, gateway, wallets);
        let own_channels = self.blueprint.engine.policy.channels;
        Some(Arc::new(truth.with_own_channels(own_channels)))
    }

    async fn pass_until(&mut self, at: Timestamp) -> Result<(), WorldError> {
        sleep(Duration::from_millis(at.0.saturating_sub(virtual_now().0))).await;
        Ok(())
    }

    async fn pass_a_little(&mut self, at: Timestamp) -> Result<(), WorldError> {
        let left = at.0.saturating_sub(virtual_now().0);
        sleep(Duration::from_millis(left).min(Duration::from_millis(100))).await;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), WorldError> {
        self.come_to_rest().await
    }

    async fn tip(&mut self) -> Result<BlockId, WorldError> {
        Ok(self.backend.tip())
    }

    async fn block(&mut self, height: u32) -> Result<Block, WorldError> {
        let block = self.backend.read(|chain| chain.block_at(height));
        block
            .map(|block| (*block).clone())
            .ok_or_else(|| WorldError::harness("read a block", format!("none at height {height}")))
    }

    async fn mempool(&mut self) -> Result<Vec<Transaction>, WorldError> {
        Ok(self.backend.mempool())
    }

    async fn mine(&mut self, blocks: u32, payout: ScriptBuf) -> Result<(), WorldError> {
        for _ in 0..blocks {
            self.backend
                .mine(payout.clone())
                .map_err(|reason| WorldError::refused("the chain", "mine", reason))?;
        }
        Ok(())
    }

    async fn set_fee_floor(&mut self, sat_per_kwu: u64) -> Result<(), WorldError> {
        self.backend.set_fee_floor(sat_per_kwu);
        Ok(())
    }

    async fn begin_trouble(&mut self, trouble: &Trouble, fault: FaultId) -> Result<(), WorldError> {
        for site in self.sites() {
            if site.begin(trouble, fault)? {
                return Ok(());
            }
        }
        let reason = "no part of the simulated world can do this";
        Err(WorldError::refused(
            trouble.scope(),
            format!("bring `{}` about", trouble.name()),
            reason,
        ))
    }

    async fn end_trouble(&mut self, fault: FaultId) -> Result<(), WorldError> {
        self.sites()
            .into_iter()
            .try_for_each(|site| site.end(fault))
    }

    async fn evict(&mut self, txid: Txid) -> Result<bool, WorldError> {
        Ok(self.backend.evict(&txid))
    }

    async fn reorg(&mut self, reorg: Reorg, payout: ScriptBuf) -> Result<(), WorldError> {
        self.backend
            .reorg(&reorg, &payout)
            .map_err(|reason| WorldError::refused("the chain", "reorganise", reason))
    }

    async fn broadcast(&mut self, transaction: &Transaction) -> Result<Txid, WorldError> {
        self.backend
            .submit(transaction)
            .map_err(|word| WorldError::refused("the chain", "take a transaction", word))
    }

    async fn node_address(&mut self, node: &str) -> Result<Address, WorldError> {
        let process = self.process(node)?;
        let address = process
            .node()?
            .new_address()
            .map_err(|error| WorldError::refused(node, "give an address", error))?;
        process.poke();
        Ok(address)
    }

    async fn node_wallet_sat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self.process(node)?.node()?.wallet_balance().total_sat)
    }

    async fn open_channel(&mut self, plan: &ChannelPlan) -> Result<OutPoint, WorldError> {
        let (opener, acceptor) = (
            self.process(&plan.from)?.clone(),
            self.process(&plan.to)?.clone(),
        );
        let peer = acceptor.node()?.node_id();
        opener.keep_connected_to(peer, &plan.to);
        let node = opener.node()?;
        let connected = |_: &Self| {
            let missing = format!("{} to connect to {}", plan.from, plan.to);
            Ok(if node.connected_peers().contains(&peer) {
                Vec::new()
            } else {
                vec![missing]
            })
        };
        self.wait_for(SETTLE_LIMIT, connected).await?;
        let user_channel_id = self.channels.len() as u128 + 1;
        let open = OpenChannel {
            peer,
            capacity_sat: plan.capacity_sat,
            push_msat: plan.push_msat,
            announce: plan.announced,
            forwarding: policy(plan.fees_from),
            user_channel_id,
        };
        let refused = |reason: String| {
            WorldError::refused(
                plan.from.clone(),
                format!("open channel {}", plan.name),
                reason,
            )
        };
        node.open_channel(open)
            .map_err(|error| refused(error.to_string()))?;
        opener.poke();
        let outcome = |_: &Self| {
            opener
                .unacknowledged()
                .into_iter()
                .find_map(|notice| channel_outcome(&notice.event, user_channel_id))
        };
        let missing = format!("channel {} to be funded", plan.name);
        self.wait_for(SETTLE_LIMIT, |world| {
            Ok(if outcome(world).is_some() {
                Vec::new()
            } else {
                vec![missing.clone()]
            })
        })
        .await?;
        let funding = outcome(self).expect("just waited for").map_err(refused)?;
        let in_mempool = |world: &Self| {
            let seen = world
                .backend
                .read(|chain| chain.transaction(&funding.txid).is_some());
            Ok(if seen {
                Vec::new()
            } else {
                vec![format!("the funding transaction of {}", plan.name)]
            })
        };
        self.wait_for(SETTLE_LIMIT, in_mempool).await?;
        let far = acceptor.node()?;
        if let Some(view) = far
            .channels()
            .into_iter()
            .find(|view| view.funding == Some(funding))
        {
            far.set_forwarding(view.user_channel_id, policy(plan.fees_to))
                .map_err(|error| refused(error.to_string()))?;
            acceptor.poke();
        }
        self.peer_site.learn(&plan.name, funding);
        self.channels.push((plan.clone(), funding));
        Ok(funding)
    }

    async fn node_contact(&mut self, node: &str, _: &str) -> Result<String, WorldError> {
        let id = self.process(node)?.node()?.node_id();
        Ok(format!("{id}@{node}:9735"))
    }

    async fn adopt_channel(
        &mut self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<(), WorldError> {
        self.adopt(plan, funding)
    }

    async fn before_close(&mut self, order: &CloseOrder) -> Result<bool, WorldError> {
        Ok(self.part_for(order))
    }

    async fn after_close(&mut self, _: &CloseOrder, _: bool) -> Result<(), WorldError> {
        // They connect anew by themselves.
        Ok(())
    }

    async fn close_channel(&mut self, order: &CloseOrder) -> Result<(), WorldError> {
        self.begin_close(order)
    }

    async fn channel_sight(&mut self, channel: &str) -> Result<ChannelSight, WorldError> {
        Ok(self.sight_of(channel))
    }

    async fn await_channel(&mut self, channel: &str) -> Result<(), WorldError> {
        self.wait_for(GOSSIP_LIMIT, |world| Ok(world.unknown_to(channel)))
            .await
    }

    async fn await_gossip(&mut self, channels: usize) -> Result<(), WorldError> {
        // The nodes before this one have been found complete; each look goes on from there.
        let complete = Cell::new(0);
        let missing = |world: &Self| {
            let mut missing = Vec::new();
            for (index, process) in world.nodes.iter().enumerate().skip(complete.get()) {
                complete.set(index);
                if !missing.is_empty() {
                    break;
                }
                let Some(node) = process.running() else {
                    continue;
                };
                let known = node.graph().channels_both_directions;
                // Who has no channel (yet) hears nothing.
                if known < channels && !node.channels().is_empty() {
                    missing.push(format!(
                        "node {} to know {channels} channels (it knows {known})",
                        process.name
                    ));
                }
                if node.channels().iter().any(|channel| !channel.usable) {
                    missing.push(format!(
                        "the channels of node {} to be usable",
                        process.name
                    ));
                }
            }
            Ok(missing)
        };
        self.wait_for(GOSSIP_LIMIT, missing).await
    }

    async fn node_invoice(
        &mut self,
        node: &str,
        amount_msat: Option<u64>,
    ) -> Result<String, WorldError> {
        let request = InvoiceRequest {
            amount_msat,
            description: InvoiceDescription::Text(String::new()),
            expiry_secs: INVOICE_EXPIRY_SECS,
            min_final_cltv: None,
        };
        let process = self.process(node)?;
        let invoice = process.node()?.create_invoice(request);
        process.poke();
        invoice.map_err(|error| WorldError::refused(node, "make an invoice", error))
    }

    async fn node_pays(
        &mut self,
        node: &str,
        invoice: &str,
        amount_msat: Option<u64>,
    ) -> Result<(), WorldError> {
        let process = self.process(node)?;
        let parsed: lightning_invoice::Bolt11Invoice = invoice
            .parse()
            .map_err(|error| WorldError::refused(node, "read an invoice", format!("{error:?}")))?;
        let pay = PayInvoice {
            invoice,
            amount_msat,
            payment_id: PaymentId(*parsed.payment_hash().as_ref()),
            max_total_fee_msat: None,
            retry_timeout_secs: PAYMENT_RETRY_SECS,
        };
        let taken = process.node()?.pay_invoice(pay);
        process.poke();
        taken
            .map(|_| ())
            .map_err(|error| WorldError::refused(node, "pay", error))
    }

    async fn node_pays_along(
        &mut self,
        node: &str,
        invoice: &str,
        route: &Route,
    ) -> Result<(), WorldError> {
        let hops = self.hops(node, route, invoice)?;
        let parsed: lightning_invoice::Bolt11Invoice = invoice
            .parse()
            .map_err(|error| WorldError::refused(node, "read an invoice", format!("{error:?}")))?;
        let payment_id = PaymentId(*parsed.payment_hash().as_ref());
        let process = self.process(node)?;
        let taken = process.node()?.pay_along(PayAlong {
            invoice,
            payment_id,
            hops: &hops,
        });
        process.poke();
        taken
            .map(|_| ())
            .map_err(|error| WorldError::refused(node, "pay", error))
    }

    async fn crash(&mut self, node: &str) -> Result<(), WorldError> {
        let process = self.process(node)?;
        if process.kill() {
            process.set_crashed(true);
            return Ok(());
        }
        Err(WorldError::refused(node, "crash", "it is down already"))
    }

    async fn restart(&mut self, node: &str) -> Result<(), WorldError> {
        let process = self.process(node)?.clone();
        process.set_crashed(false);
        process.start()?;
        for (plan, _) in self.channels.iter().filter(|(plan, _)| plan.from == node) {
            if let Some(peer) = self.process(&plan.to)?.running() {
                process.keep_connected_to(peer.node_id(), &plan.to);
            }
        }
        if process.is_hindered() {
            return Ok(());
        }
        // Channels that LDK has given up, and those with a peer that is down or hindered, are not waited for.
        let usable = |world: &Self| {
            let up = |name: &str| {
                world
                    .process(name)
                    .is_ok_and(|process| process.running().is_some() && !process.is_hindered())
            };
            let missing = process.running().is_some_and(|running| {
                let views = running.channels();
                let waits = |plan: &ChannelPlan, funding: &OutPoint| {
                    let other = if plan.from == node {
                        &plan.to
                    } else {
                        &plan.from
                    };
                    let of_channel = |view: &&lockstep_lightning::ChannelView| {
                        view.funding == Some(*funding) && !view.usable && !view.closing
                    };
                    up(other) && views.iter().any(|view| of_channel(&view))
                };
                let mine = |plan: &ChannelPlan| plan.from == node || plan.to == node;
                let mut channels = world.channels.iter();
                channels.any(|(plan, funding)| mine(plan) && waits(plan, funding))
            });
            Ok(if missing {
                vec![format!("node {node} to re-establish its channels")]
            } else {
                Vec::new()
            })
        };
        self.wait_for(SETTLE_LIMIT, usable).await
    }

    async fn forwarded_msat(&mut self, node: &str) -> Result<u64, WorldError> {
        Ok(self.process(node)?.forwarded_msat())
    }

    async fn offered_htlcs(&mut self, channel: &str) -> Result<Vec<OfferedHtlc>, WorldError> {
        let mut offered = Vec::new();
        for (plan, funding) in self
            .channels
            .iter()
            .filter(|(plan, _)| plan.name == channel)
        {
            for name in [&plan.from, &plan.to] {
                let process = self.process(name)?;
                let Some(node) = process.running() else {
                    continue;
                };
                let view = node
                    .channels()
                    .into_iter()
                    .find(|view| view.funding == Some(*funding));
                offered.extend(
                    view.map(|view| process.offered_over(view.user_channel_id))
                        .unwrap_or_default(),
                );
            }
        }
        Ok(offered)
    }

    fn hash_truth(&self, payment_hash: [u8; 32]) -> Result<HashTruth, WorldError> {
        truth::of_hash(&self.nodes, payment_hash)
            .map_err(|error| WorldError::harness("read a node's payments", error))
    }

    async fn channels(&mut self) -> Result<Vec<ChannelState>, WorldError> {
        self.channel_states()
    }

    async fn shut_down(self) -> Result<(), WorldError> {
        if let Some(service) = &self.running
            && let Ok(handle) = service.handle()
        {
            handle.stop();
        }
        Ok(())
    }
}

pub(super) fn policy(fees: ForwardingFees) -> ForwardingPolicy {
    ForwardingPolicy {
        fee_base_msat: fees.base_msat,
        fee_proportional_millionths: fees.proportional_millionths,
        cltv_expiry_delta: fees.cltv_expiry_delta,
    }
}

/// Whether this event ends the opening of a channel, and how.
fn channel_outcome(event: &NodeEvent, id: u128) -> Option<Result<OutPoint, String>> {
    match event {
        NodeEvent::ChannelPending {
            user_channel_id,
            funding,
            ..
        } if *user_channel_id == id => Some(Ok(*funding)),
        NodeEvent::ChannelClosed {
            user_channel_id,
            reason,
            ..
        } if *user_channel_id == id => Some(Err(reason.clone())),
        _ => None,
    }
}
