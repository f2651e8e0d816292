//! Owns what the scenario has Lightning nodes do in the regtest world: channels, gossip, invoices, payments, restarts.
//! Does not own their processes (`nodes`) nor their balances (`balances`).

use super::RegtestWorld;
use super::balances::OpenChannel;
use super::nodes::{NodeProcess, beside, channel_config};
use super::proxy::Links;
use super::waits::{POLL, Patience};
use crate::worlds::{ChannelPlan, WorldError};
use bitcoin::OutPoint;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use ldk_node::{Node, UserChannelId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for a channel's funding or re-establishment, in real time.
const CHANNEL_LIMIT: Duration = Duration::from_secs(60);

/// Longest wait for a connection, in real time.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// Longest wait for gossip after the last reconnection, in real time: LDK's timer of a minute included.
pub(super) const GOSSIP_LIMIT: Duration = Duration::from_secs(90);

/// How long gossip may take before neighbours are connected anew, times the number of the round.
pub(super) const GOSSIP_ROUND: Duration = Duration::from_millis(500);

/// How often the wait begins anew.
pub(super) const GOSSIP_ROUNDS: u32 = 8;

/// An outsider's invoice is good for an hour.
const INVOICE_EXPIRY_SECS: u32 = 3_600;

impl RegtestWorld {
    /// Starts every node, and the proxies between them.
    pub(super) async fn start_nodes(&mut self) -> Result<(), WorldError> {
        let url = self.electrum_url();
        for name in &self.blueprint.nodes {
            let dir = self.dir.path().join(format!("node-{name}"));
            let process = NodeProcess::new(name, &self.blueprint, dir, &url, &self.waits);
            self.nodes.push(Arc::new(process));
        }
        self.links = Links::between(&self.nodes, &self.blueprint.faults).await?;
        for process in &self.nodes {
            self.cancel.check()?;
            process.start().await?;
            process.pump_events();
        }
        Ok(())
    }

    /// A node's process.
    pub(super) fn process(&self, name: &str) -> Result<&Arc<NodeProcess>, WorldError> {
        let found = self.nodes.iter().find(|process| process.name == name);
        found.ok_or_else(|| {
            WorldError::harness("find a node", format!("there is none called {name}"))
        })
    }

    pub(super) fn patience(&self, what: &'static str, limit: Duration) -> Patience<'_> {
        Patience {
            what,
            limit,
            cancel: &self.cancel,
            waits: &self.waits,
        }
    }

    /// Opens a channel; its funding transaction is in the mempool afterwards.
    pub(super) async fn fund_channel(
        &mut self,
        plan: &ChannelPlan,
    ) -> Result<OutPoint, WorldError> {
        let refused = |reason: String| {
            WorldError::refused(
                plan.from.clone(),
                format!("open channel {}", plan.name),
                reason,
            )
        };
        let (opener, acceptor) = (
            self.process(&plan.from)?.clone(),
            self.process(&plan.to)?.clone(),
        );
        let (node, peer) = (opener.node()?, acceptor.node()?);
        let at = self.door(&plan.from, &plan.to)?;
        let own_id = beside({
            let (node, peer, plan) = (node.clone(), peer.clone(), plan.clone());
            move || open(&node, &peer, at, &plan)
        });
        let own_id = own_id.await?.map_err(refused)?;
        let missing = || {
            let told = opener.told();
            if let Some(reason) = told.closed.get(&own_id.0) {
                return Err(refused(reason.clone()));
            }
            let funded = told.funded.contains_key(&own_id.0);
            Ok(if funded {
                Vec::new()
            } else {
                vec![format!("channel {} to be funded", plan.name)]
            })
        };
        self.patience("channels to be funded", CHANNEL_LIMIT)
            .wait(missing)
            .await?;
        let funding = opener.told().funded.get(&own_id.0).copied();
        let funding = funding.ok_or_else(|| refused("its funding was not told".to_owned()))?;
        self.await_funding(plan, funding, &acceptor).await?;
        self.set_acceptors_fees(plan, funding, &node, &peer, &acceptor)?;
        self.channels.push(OpenChannel::new(plan.clone(), funding));
        Ok(funding)
    }

    async fn await_funding(
        &self,
        plan: &ChannelPlan,
        funding: OutPoint,
        acceptor: &NodeProcess,
    ) -> Result<(), WorldError> {
        let missing = || {
            let mut missing = Vec::new();
            if !acceptor
                .told()
                .funded
                .values()
                .any(|known| *known == funding)
            {
                missing.push(format!("node {} to know channel {}", plan.to, plan.name));
            }
            if !self.servers.sight()?.mempool.contains(&funding.txid) {
                missing.push(format!("the funding transaction of {}", plan.name));
            }
            Ok(missing)
        };
        self.patience("channels to be funded", CHANNEL_LIMIT)
            .wait(missing)
            .await
    }

    fn set_acceptors_fees(
        &self,
        plan: &ChannelPlan,
        funding: OutPoint,
        node: &Node,
        peer: &Node,
        acceptor: &NodeProcess,
    ) -> Result<(), WorldError> {
        let id = acceptor
            .told()
            .funded
            .iter()
            .find(|(_, known)| **known == funding)
            .map(|(id, _)| UserChannelId(*id));
        let id = id.ok_or_else(|| {
            WorldError::harness("set a channel's fees", "its acceptor does not know it")
        })?;
        let set = peer.update_channel_config(&id, node.node_id(), channel_config(plan.fees_to));
        set.map_err(|error| {
            WorldError::refused(
                plan.to.clone(),
                format!("set the fees of channel {}", plan.name),
                error,
            )
        })
    }

    /// Waits until every node can use its channels and knows both directions of all announced ones.
    ///
    /// LDK sends its `channel_update` right after its half of the announcement's signatures. A peer that reads both at
    /// once drops the update of a channel that it has not announced yet, and nobody repeats it before the two connect
    /// anew: so the world has them do that.
    pub(super) async fn spread_gossip(&mut self, channels: usize) -> Result<(), WorldError> {
        let mut rounds = 1;
        loop {
            let limit = if rounds < GOSSIP_ROUNDS {
                GOSSIP_ROUND * rounds
            } else {
                GOSSIP_LIMIT
            };
            match self
                .patience("gossip to spread", limit)
                .wait(|| Ok(self.gossip_lacks(channels)))
                .await
            {
                Err(WorldError::Unsettled { .. }) if rounds < GOSSIP_ROUNDS => rounds += 1,
                other => return other,
            }
            for (from, to) in self.unheard() {
                self.reconnect(&from, &to).await?;
            }
        }
    }

    fn gossip_lacks(&self, channels: usize) -> Vec<String> {
        let mut missing = Vec::new();
        for process in &self.nodes {
            let Some(node) = process.running() else {
                continue;
            };
            let known = known_channels(&node);
            // Who has no channel (yet) hears nothing.
            if known < channels && !node.list_channels().is_empty() {
                missing.push(format!(
                    "node {} to know {channels} channels (it knows {known})",
                    process.name
                ));
            }
            if node
                .list_channels()
                .iter()
                .any(|channel| !channel.is_usable)
            {
                missing.push(format!(
                    "the channels of node {} to be usable",
                    process.name
                ));
            }
        }
        missing
    }

    /// Pairs of neighbours of whom one does not know both directions of their channel; all pairs if there is none.
    fn unheard(&self) -> Vec<(String, String)> {
        let announced = self
            .channels
            .iter()
            .filter(|channel| channel.plan.announced);
        let pairs: Vec<&OpenChannel> = announced.collect();
        let deaf = |channel: &&&OpenChannel| {
            channel.ends().iter().any(|end| {
                self.process(end)
                    .ok()
                    .and_then(|process| process.running())
                    .is_some_and(|node| !knows(&node, channel.funding))
            })
        };
        let unheard: Vec<&OpenChannel> = pairs.iter().filter(deaf).copied().collect();
        let chosen = if unheard.is_empty() { pairs } else { unheard };
        chosen
            .into_iter()
            .map(|channel| (channel.plan.from.clone(), channel.plan.to.clone()))
            .collect()
    }

    /// Where `from` dials to reach `to`.
    fn door(&self, from: &str, to: &str) -> Result<SocketAddress, WorldError> {
        Ok(self.links.door(from, to)?.into())
    }

    /// Has two running nodes lose each other and connect anew.
    pub(super) async fn reconnect(&self, from: &str, to: &str) -> Result<(), WorldError> {
        self.part(from, to).await?;
        self.connect(from, to).await
    }

    /// Has two running nodes lose each other.
    pub(super) async fn part(&self, from: &str, to: &str) -> Result<(), WorldError> {
        let (node, peer) = (self.process(from)?.node()?, self.process(to)?.node()?);
        node.disconnect(peer.node_id())
            .map_err(|error| WorldError::harness(format!("disconnect {from} from {to}"), error))?;
        let still = || {
            Ok(if is_connected(&peer, &node) {
                vec![format!("{to} to lose {from}")]
            } else {
                Vec::new()
            })
        };
        self.patience("gossip to spread", CONNECT_LIMIT)
            .wait(still)
            .await
    }

    /// Connects two running nodes. Tried again: a node turns away whom it still takes for connected, or who connects
    /// at the same moment as itself.
    pub(super) async fn connect(&self, from: &str, to: &str) -> Result<(), WorldError> {
        let (node, peer) = (self.process(from)?.node()?, self.process(to)?.node()?);
        let start = Instant::now();
        while !(is_connected(&node, &peer) && is_connected(&peer, &node)) {
            self.cancel.check()?;
            let (at, dialling, id) = (self.door(from, to)?, node.clone(), peer.node_id());
            let connected = beside(move || dialling.connect(id, at, true)).await?;
            if let Err(error) = connected
                && start.elapsed() >= CONNECT_LIMIT
            {
                return Err(WorldError::harness(
                    format!("connect {from} to {to}"),
                    error,
                ));
            }
            sleep(POLL).await;
        }
        self.waits.add("nodes to connect", start);
        Ok(())
    }

    /// A BOLT 11 invoice of an outside node.
    pub(super) fn make_invoice(
        &self,
        node: &str,
        amount_msat: Option<u64>,
    ) -> Result<String, WorldError> {
        let refused =
            |error: &dyn std::fmt::Display| WorldError::refused(node, "make an invoice", error);
        let description = Description::new(String::new()).map_err(|error| refused(&error))?;
        let description = Bolt11InvoiceDescription::Direct(description);
        let payments = self.process(node)?.node()?.bolt11_payment();
        let invoice = match amount_msat {
            Some(msat) => payments.receive(msat, &description, INVOICE_EXPIRY_SECS),
            None => payments.receive_variable_amount(&description, INVOICE_EXPIRY_SECS),
        };
        let invoice = invoice.map_err(|error| refused(&error))?;
        Ok(invoice.to_string())
    }

    /// Has an outside node pay an invoice.
    pub(super) fn pay_invoice(
        &self,
        node: &str,
        invoice: &str,
        amount_msat: Option<u64>,
    ) -> Result<(), WorldError> {
        let invoice: Bolt11Invoice = invoice
            .parse()
            .map_err(|error| WorldError::refused(node, "read an invoice", format!("{error:?}")))?;
        let payments = self.process(node)?.node()?.bolt11_payment();
        let sent = match amount_msat {
            Some(msat) => payments.send_using_amount(&invoice, msat, None),
            None => payments.send(&invoice, None),
        };
        sent.map(drop)
            .map_err(|error| WorldError::refused(node, "pay", error))
    }

    /// Starts a node again and waits until its channels to running nodes are usable.
    pub(super) async fn restart_node(&mut self, name: &str) -> Result<(), WorldError> {
        self.seen.forget_node(name);
        let process = self.process(name)?.clone();
        process.start().await?;
        let node = process.node()?;
        let mut expected = 0;
        let gone = self.channels_gone()?;
        let channels = self.channels.iter();
        for channel in channels.filter(|channel| !gone.contains(&channel.funding)) {
            let [from, to] = channel.ends();
            let Some(other) = [(from, to), (to, from)]
                .into_iter()
                .find(|(end, _)| *end == name)
                .map(|(_, other)| other)
            else {
                continue;
            };
            if self.process(other)?.running().is_some() && !self.links.is_held(name, other) {
                // One that is being closed is usable no more, but its ends have to talk.
                expected += usize::from(!channel.asked_to_close);
                self.connect(name, other).await?;
            }
        }
        let missing = || {
            let usable = node
                .list_channels()
                .iter()
                .filter(|channel| channel.is_usable)
                .count();
            Ok(if usable < expected {
                vec![format!("node {name} to re-establish its channels")]
            } else {
                Vec::new()
            })
        };
        self.patience("channels to be re-established", CHANNEL_LIMIT)
            .wait(missing)
            .await
    }
}

fn open(
    node: &Arc<Node>,
    peer: &Arc<Node>,
    at: SocketAddress,
    plan: &ChannelPlan,
) -> Result<UserChannelId, String> {
    let (push, config) = (Some(plan.push_msat), Some(channel_config(plan.fees_from)));
    let opened = if plan.announced {
        node.open_announced_channel(peer.node_id(), at, plan.capacity_sat, push, config)
    } else {
        node.open_channel(peer.node_id(), at, plan.capacity_sat, push, config)
    };
    opened.map_err(|error| error.to_string())
}

/// Channels of which both directions are known, so that they can be routed over.
fn known_channels(node: &Node) -> usize {
    let graph = node.network_graph();
    let known = graph
        .list_channels()
        .into_iter()
        .filter_map(|id| graph.channel(id));
    known
        .filter(|channel| channel.one_to_two.is_some() && channel.two_to_one.is_some())
        .count()
}

/// Whether the node's graph has both directions of its own channel.
fn knows(node: &Node, funding: OutPoint) -> bool {
    let own = node
        .list_channels()
        .into_iter()
        .find(|channel| channel.funding_txo == Some(funding));
    let found = own.and_then(|own| node.network_graph().channel(own.short_channel_id?));
    found.is_some_and(|channel| channel.one_to_two.is_some() && channel.two_to_one.is_some())
}

fn is_connected(node: &Node, to: &Node) -> bool {
    node.list_peers()
        .iter()
        .any(|peer| peer.node_id == to.node_id() && peer.is_connected)
}
