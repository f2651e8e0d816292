//! Owns the closing of channels in the regtest world, and how far a channel is at its ends. Does not own their opening
//! (`lightning`) nor what both ends hold (`balances`).

use super::RegtestWorld;
use super::balances::OpenChannel;
use super::lightning::{GOSSIP_LIMIT, GOSSIP_ROUND, GOSSIP_ROUNDS};
use super::nodes::{NodeProcess, beside, channel_config};
use crate::worlds::{ChannelPlan, ChannelSight, ChannelState, CloseOrder, WorldError};
use bitcoin::OutPoint;
use ldk_node::lightning::ln::types::ChannelId;
use ldk_node::{ChannelDetails, LightningBalance, Node, PendingSweepBalance};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// LDK sweeps twice a minute; what it cannot sweep (too little to pay its fee) is not waited for any longer.
const SWEEP_LIMIT: Duration = Duration::from_secs(45);

/// Longest wait for a commitment transaction, in real time.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// Sweeps that are waited for: of which node and channel, and since when.
pub(super) type Sweeps = BTreeMap<(String, Option<ChannelId>, u64), Instant>;

impl RegtestWorld {
    fn opened(&self, channel: &str) -> Option<&OpenChannel> {
        let mut channels = self.channels.iter();
        channels.find(|known| known.plan.name == channel)
    }

    /// How one node reaches another: through the world's link.
    pub(super) fn contact(&self, node: &str, for_whom: &str) -> Result<String, WorldError> {
        let id = self.process(node)?.node()?.node_id();
        Ok(format!("{id}@{}", self.links.door(for_whom, node)?))
    }

    /// A channel that was opened by the engine.
    pub(super) fn adopt(
        &mut self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<(), WorldError> {
        for (name, fees) in [(&plan.from, plan.fees_from), (&plan.to, plan.fees_to)] {
            let node = self.process(name)?.node()?;
            if let Some(view) = own_view(&node, funding) {
                let (id, peer) = (view.user_channel_id, view.counterparty_node_id);
                let set = node.update_channel_config(&id, peer, channel_config(fees));
                set.map_err(|error| WorldError::harness("set a channel's fees", error))?;
            }
        }
        self.channels.push(OpenChannel::new(plan.clone(), funding));
        Ok(())
    }

    /// Parts the two ends if the order says so and both are up.
    pub(super) async fn part_for(&mut self, order: &CloseOrder) -> Result<bool, WorldError> {
        let mut channels = self.channels.iter_mut();
        let Some(known) = channels.find(|known| known.plan.name == order.channel) else {
            return Ok(false);
        };
        known.asked_to_close = true;
        let [from, to] = known.ends().map(str::to_owned);
        let runs = |name: &str| {
            self.process(name)
                .is_ok_and(|process| process.running().is_some())
        };
        let parted = order.unheard && runs(&from) && runs(&to);
        if parted {
            self.part(&from, &to).await?;
        }
        Ok(parted)
    }

    /// One end closes the channel; what the other end does then is LDK's.
    pub(super) async fn begin_close(&mut self, order: &CloseOrder) -> Result<(), WorldError> {
        let (channel, by, force) = (order.channel.as_str(), order.by.as_str(), order.force);
        let refused = |reason: &dyn std::fmt::Display| {
            WorldError::refused(by, format!("close channel {channel}"), reason)
        };
        let funding = self.opened(channel).map(|known| known.funding);
        let funding = funding.ok_or_else(|| refused(&"it is not open"))?;
        let node = self.process(by)?.node()?;
        let own = own_view(&node, funding).ok_or_else(|| refused(&"it is closed"))?;
        let (id, peer) = (own.user_channel_id, own.counterparty_node_id);
        let closed = beside(move || match force {
            true => node.force_close_channel(&id, peer, Some("closed by its owner".to_owned())),
            false => node.close_channel(&id, peer),
        });
        closed.await?.map_err(|error| refused(&error))
    }

    /// Waits for the commitment transaction, and has those meet again who were parted.
    pub(super) async fn await_close(
        &mut self,
        order: &CloseOrder,
        parted: bool,
    ) -> Result<(), WorldError> {
        let Some(known) = self
            .opened(&order.channel)
            .filter(|_| order.unheard)
            .cloned()
        else {
            return Ok(());
        };
        let published = || {
            Ok(match self.servers.is_spent(&known.funding)? {
                true => Vec::new(),
                false => vec![format!("the commitment transaction of {}", order.channel)],
            })
        };
        self.patience("channels to be closed", CLOSE_LIMIT)
            .wait(published)
            .await?;
        if parted {
            let [from, to] = known.ends();
            self.connect(from, to).await?;
        }
        Ok(())
    }

    /// A node that is down is left out: it can claim nothing, and says nothing.
    pub(super) fn sight_of(&self, channel: &str) -> Result<ChannelSight, WorldError> {
        let Some(known) = self.opened(channel) else {
            return Ok(ChannelSight::default());
        };
        let mut sight = ChannelSight {
            funding: Some(known.funding),
            ready: true,
            ending: known.asked_to_close,
            unswept: false,
        };
        for name in known.ends() {
            let Some(node) = self.process(name)?.running() else {
                continue;
            };
            match own_view(&node, known.funding) {
                Some(view) => sight.ready &= view.is_channel_ready,
                None => sight.ending = true,
            }
            sight.unswept |= has_unswept(&node, known.funding);
        }
        Ok(sight)
    }

    /// What both ends of each channel hold that has balances.
    pub(super) fn channel_states(&mut self) -> Result<Vec<ChannelState>, WorldError> {
        let (views, calm) = (self.end_views(), self.is_calm());
        let gone = self.channels_gone()?;
        self.channels
            .iter_mut()
            .zip(&views)
            .filter(|(channel, _)| !gone.contains(&channel.funding))
            .map(|(channel, views)| channel.state(views, calm))
            .collect()
    }

    /// Channels without balances: spent, or listed by one end alone.
    pub(super) fn channels_gone(&self) -> Result<BTreeSet<OutPoint>, WorldError> {
        let mut gone = BTreeSet::new();
        for known in &self.channels {
            let listed = |name: &str| {
                let node = self
                    .process(name)
                    .ok()
                    .and_then(|process| process.running());
                node.is_none_or(|node| own_view(&node, known.funding).is_some())
            };
            let all_list_it = known.ends().iter().all(|end| listed(end));
            if !all_list_it || (known.asked_to_close && self.servers.is_spent(&known.funding)?) {
                gone.insert(known.funding);
            }
        }
        Ok(gone)
    }

    /// Payment hashes with an HTLC in a channel that is closed: they wait for blocks.
    pub(super) fn hashes_on_chain(&self) -> BTreeSet<[u8; 32]> {
        let running = self.nodes.iter().filter_map(|process| process.running());
        running.flat_map(|node| htlcs_on_chain(&node)).collect()
    }

    /// Outputs of closed channels that their nodes are about to sweep.
    pub(super) fn sweeps_due(&mut self) -> Vec<String> {
        let mut due = Sweeps::new();
        for process in &self.nodes {
            for (channel, amount) in unbroadcast(process) {
                let key = (process.name.clone(), channel, amount);
                let since = self.sweeps.get(&key).copied();
                due.insert(key, since.unwrap_or_else(Instant::now));
            }
        }
        self.sweeps = due;
        let awaited = self.sweeps.iter();
        awaited
            .filter(|(_, since)| since.elapsed() < SWEEP_LIMIT)
            .map(|((node, _, amount), _)| format!("node {node} to sweep {amount} sat"))
            .collect()
    }

    /// Waits until both ends can use this channel and, if it is announced, all running nodes know it.
    pub(super) async fn spread_news_of(&mut self, channel: &str) -> Result<(), WorldError> {
        let mut rounds = 1;
        loop {
            let limit = if rounds < GOSSIP_ROUNDS {
                GOSSIP_ROUND * rounds
            } else {
                GOSSIP_LIMIT
            };
            let lacks = || Ok(self.unknown_to(channel));
            match self.patience("gossip to spread", limit).wait(lacks).await {
                Err(WorldError::Unsettled { .. }) if rounds < GOSSIP_ROUNDS => rounds += 1,
                other => return other,
            }
            for (from, to) in self.neighbours() {
                self.reconnect(&from, &to).await?;
            }
        }
    }

    /// Pairs of running nodes with a channel that is not closed.
    fn neighbours(&self) -> BTreeSet<(String, String)> {
        let runs = |name: &str| {
            self.process(name)
                .is_ok_and(|process| process.running().is_some())
        };
        let open = self.channels.iter().filter(|known| !known.asked_to_close);
        open.filter(|known| known.ends().iter().all(|end| runs(end)))
            .map(|known| (known.plan.from.clone(), known.plan.to.clone()))
            .collect()
    }

    fn unknown_to(&self, channel: &str) -> Vec<String> {
        let Some(known) = self.opened(channel) else {
            return vec![format!("channel {channel} to be opened")];
        };
        let (mut missing, mut place) = (Vec::new(), None);
        for name in known.ends() {
            let node = self
                .process(name)
                .ok()
                .and_then(|process| process.running());
            match node.and_then(|node| own_view(&node, known.funding)) {
                Some(view) if view.is_usable => place = view.short_channel_id,
                _ => missing.push(format!("node {name} to use channel {channel}")),
            }
        }
        let Some(place) = place.filter(|_| known.plan.announced) else {
            return missing;
        };
        for process in &self.nodes {
            let knows = |node: Arc<Node>| {
                let found = node.network_graph().channel(place);
                found.is_some_and(|found| found.one_to_two.is_some() && found.two_to_one.is_some())
            };
            let hears = |node: &Arc<Node>| !node.list_channels().is_empty();
            if !process.running().filter(hears).is_none_or(knows) {
                missing.push(format!("node {} to know channel {channel}", process.name));
            }
        }
        missing
    }
}

fn own_view(node: &Node, funding: OutPoint) -> Option<ChannelDetails> {
    let mut channels = node.list_channels().into_iter();
    channels.find(|channel| channel.funding_txo == Some(funding))
}

/// LDK's id of a channel (BOLT 2).
fn channel_id(funding: OutPoint) -> ChannelId {
    ChannelId::v1_from_funding_txid(funding.txid.as_ref(), funding.vout as u16)
}

/// Whether something of a closed channel is left for this node to claim or to sweep.
fn has_unswept(node: &Node, funding: OutPoint) -> bool {
    let (id, balances) = (channel_id(funding), node.list_balances());
    let claims = balances
        .lightning_balances
        .iter()
        .any(|balance| match balance {
            LightningBalance::ClaimableAwaitingConfirmations { channel_id, .. }
            | LightningBalance::ContentiousClaimable { channel_id, .. }
            | LightningBalance::MaybeTimeoutClaimableHTLC { channel_id, .. }
            | LightningBalance::CounterpartyRevokedOutputClaimable { channel_id, .. } => {
                *channel_id == id
            }
            LightningBalance::ClaimableOnChannelClose { .. }
            | LightningBalance::MaybePreimageClaimableHTLC { .. } => false,
        });
    let sweeps = balances.pending_balances_from_channel_closures.iter();
    let mut unconfirmed = sweeps.filter_map(|sweep| match sweep {
        PendingSweepBalance::PendingBroadcast { channel_id, .. }
        | PendingSweepBalance::BroadcastAwaitingConfirmation { channel_id, .. } => *channel_id,
        PendingSweepBalance::AwaitingThresholdConfirmations { .. } => None,
    });
    claims || unconfirmed.any(|found| found == id)
}

fn htlcs_on_chain(node: &Node) -> Vec<[u8; 32]> {
    let open: BTreeSet<[u8; 32]> = node
        .list_channels()
        .iter()
        .map(|open| open.channel_id.0)
        .collect();
    let balances = node.list_balances().lightning_balances.into_iter();
    let of_closed = balances.filter_map(|balance| match balance {
        LightningBalance::ContentiousClaimable {
            channel_id,
            payment_hash,
            ..
        }
        | LightningBalance::MaybeTimeoutClaimableHTLC {
            channel_id,
            payment_hash,
            ..
        }
        | LightningBalance::MaybePreimageClaimableHTLC {
            channel_id,
            payment_hash,
            ..
        } => (!open.contains(&channel_id.0)).then_some(payment_hash.0),
        LightningBalance::ClaimableOnChannelClose { .. }
        | LightningBalance::ClaimableAwaitingConfirmations { .. }
        | LightningBalance::CounterpartyRevokedOutputClaimable { .. } => None,
    });
    of_closed.collect()
}

fn unbroadcast(process: &NodeProcess) -> Vec<(Option<ChannelId>, u64)> {
    let sweeps = process.running().map(|node| node.list_balances());
    let sweeps = sweeps.map(|balances| balances.pending_balances_from_channel_closures);
    let unbroadcast = sweeps
        .into_iter()
        .flatten()
        .filter_map(|sweep| match sweep {
            PendingSweepBalance::PendingBroadcast {
                channel_id,
                amount_satoshis,
            } => Some((channel_id, amount_satoshis)),
            PendingSweepBalance::BroadcastAwaitingConfirmation { .. }
            | PendingSweepBalance::AwaitingThresholdConfirmations { .. } => None,
        });
    unbroadcast.collect()
}
