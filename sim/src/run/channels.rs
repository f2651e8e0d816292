//! Owns what steps do with channels (open, close) and how far a channel is, from what its ends and the chain say.
//! Does not own the channels of the set-up (`warm_up`) nor their balances (`observe`).

use super::warm_up::{ANNOUNCE_DEPTH, plan};
use super::{Runner, Stop};
use crate::scenario::{Channel, ChannelStage, ChannelStep};
use crate::worlds::{ChannelPlan, CloseOrder, World, WorldError};
use bitcoin::OutPoint;
use lockstep_engine::api::{Command, Engine};
use lockstep_engine::id::PaymentId;
use lockstep_engine::money::Sat;
use lockstep_engine::payments::{ChannelOrder, OrderState};
use lockstep_engine::time::Span;
use serde_json::json;

/// Longer than two nodes take to agree on a channel.
const OPEN_LIMIT: Span = Span::secs(60);

impl<W: World> Runner<W> {
    /// Opens or closes a channel; one of the operator's node by a command to the engine.
    pub(super) async fn channel_step(&mut self, step: &ChannelStep) -> Result<(), Stop> {
        match step {
            ChannelStep::Open { channel } => self.open_channel(channel.as_str()).await,
            ChannelStep::Close { channel, by, force } => {
                let order = CloseOrder {
                    channel: channel.to_string(),
                    by: by.to_string(),
                    force: *force,
                    unheard: *force && self.is_lock_step(),
                };
                self.close_channel(&order).await
            }
        }
    }

    fn is_operator(&self, node: &str) -> bool {
        let operator = self.run.scenario.operator.node.as_ref();
        operator.is_some_and(|operator| operator.as_str() == node)
    }

    async fn close_channel(&mut self, order: &CloseOrder) -> Result<(), Stop> {
        let sight = self.world.channel_sight(&order.channel).await?;
        let by_engine = self.is_operator(&order.by);
        let Some(funding) = sight.funding else {
            let what = format!("close channel {}", order.channel);
            return Err(WorldError::refused(&order.by, what, "it is not open").into());
        };
        let parted = self.world.before_close(order).await?;
        if by_engine {
            let force = order.force;
            self.command(Command::CloseChannel { funding, force })
                .await?;
        } else {
            self.world.close_channel(order).await?;
        }
        Ok(self.world.after_close(order, parted).await?)
    }

    async fn open_channel(&mut self, name: &str) -> Result<(), Stop> {
        let plan = plan(self.channel_named(name));
        let funding = if self.is_operator(&plan.from) {
            match self.order_channel(&plan).await? {
                Some(funding) => funding,
                // Refused: that is for the expectations.
                None => return Ok(()),
            }
        } else {
            self.world.open_channel(&plan).await?
        };
        self.call(funding.txid.to_string(), format!("funding:{name}"));
        self.call(funding.to_string(), format!("channel:{name}"));
        self.book.refresh(&mut self.world).await?;
        if let Some(output) = self.book.output(&funding) {
            let owner = format!("channel:{name}");
            self.owners.give(output.script_pubkey.clone(), owner);
        }
        self.new_channels.insert(name.to_owned());
        Ok(())
    }

    /// What the canonical trace calls it.
    fn call(&self, what: String, name: String) {
        self.run.trace.lock().names.give(what, name);
    }

    /// Has the engine open a channel, and waits until it is funded or has come to nothing.
    async fn order_channel(&mut self, plan: &ChannelPlan) -> Result<Option<OutPoint>, Stop> {
        let peer = self.world.node_contact(&plan.to, &plan.from).await?;
        self.call(peer.clone(), format!("node:{}", plan.to));
        let names = self.run.scenario.channels.iter();
        let number = names
            .take_while(|known| known.name.as_str() != plan.name)
            .count();
        let order = PaymentId::new(format!("open.{number}")).expect("letters, a dot and digits");
        self.command(Command::OpenChannel(ChannelOrder {
            order: order.clone(),
            peer,
            capacity: Sat(plan.capacity_sat),
            announced: plan.announced,
        }))
        .await?;
        let limit = self.world.now().plus(OPEN_LIMIT);
        loop {
            if self.is_lock_step() {
                self.world.settle().await?;
            }
            let look = |engine: &Engine| engine.payments().channels().order(&order).cloned();
            let state = match self.world.service().handle() {
                Ok(handle) => handle.with_engine(look),
                Err(_) => None,
            };
            match state {
                Some(OrderState::Opened { funding }) => {
                    self.world.adopt_channel(plan, funding).await?;
                    return Ok(Some(funding));
                }
                Some(OrderState::Asked(_)) if self.world.now() < limit => {
                    self.check_recorder()?;
                    self.pass_a_little(limit).await?;
                }
                Some(OrderState::Asked(_) | OrderState::Refused { .. }) | None => return Ok(None),
            }
        }
    }

    fn channel_named(&self, name: &str) -> &Channel {
        let mut channels = self.run.scenario.channels.iter();
        channels
            .find(|channel| channel.name.as_str() == name)
            .expect("checked with the scenario")
    }

    /// A channel that a step has opened is at rest when its blocks have made it usable and, six deep, known to all (BOLT 7).
    pub(super) async fn await_new_channels(&mut self) -> Result<(), Stop> {
        for name in self.new_channels.clone() {
            self.book.refresh(&mut self.world).await?;
            let sight = self.world.channel_sight(&name).await?;
            let Some(funding) = sight.funding.filter(|_| !sight.ending) else {
                self.new_channels.remove(&name);
                continue;
            };
            let depth = self.book.confirmations(|txid| *txid == funding.txid);
            if depth.is_some_and(|depth| depth >= ANNOUNCE_DEPTH) {
                self.world.await_channel(&name).await?;
                self.world.settle().await?;
                self.new_channels.remove(&name);
            }
        }
        Ok(())
    }

    /// How far a channel is; the chain's book must be fresh.
    pub(super) async fn channel_stage(&mut self, name: &str) -> Result<ChannelStage, Stop> {
        let sight = self.world.channel_sight(name).await?;
        let Some(funding) = sight.funding else {
            return Ok(ChannelStage::Pending);
        };
        let spends = |tx: &&bitcoin::Transaction| {
            let mut inputs = tx.input.iter();
            inputs.any(|input| input.previous_output == funding)
        };
        let closing = self.book.transactions().find(spends);
        let closing = closing.map(|transaction| transaction.compute_txid());
        let depth = closing.and_then(|closing| self.book.confirmations(|txid| *txid == closing));
        Ok(match depth {
            Some(0) => ChannelStage::Closing,
            Some(_) if sight.unswept => ChannelStage::Closed,
            Some(_) => ChannelStage::Swept,
            None if sight.ending => ChannelStage::Closing,
            None if sight.ready => ChannelStage::Open,
            None => ChannelStage::Pending,
        })
    }

    /// What is written down of a channel that has no balances (any more): how far it is.
    pub(super) async fn stages_without_balances(
        &mut self,
        with_balances: &[String],
    ) -> Result<Vec<(String, serde_json::Value)>, Stop> {
        let mut stages = Vec::new();
        for channel in self.run.scenario.channels.clone() {
            let name = channel.name.as_str();
            if !with_balances.iter().any(|known| known == name) {
                let stage = self.channel_stage(name).await?;
                let value = json!({ "state": stage.as_str() });
                stages.push((format!("channel/{name}"), value));
            }
        }
        Ok(stages)
    }
}
