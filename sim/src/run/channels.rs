//! Owns what steps do with channels (open, close) and how far a channel is, from what its ends and the chain say.
//! Does not own the channels of the set-up (`warm_up`) nor their balances (`observe`).

use super::warm_up::{ANNOUNCE_DEPTH, plan};
use super::{Runner, Stop};
use crate::scenario::{Channel, ChannelStage, ChannelStep};
use crate::worlds::{CloseOrder, World};
use serde_json::json;

impl<W: World> Runner<W> {
    /// Opens or closes a channel.
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
                Ok(self.world.close_channel(&order).await?)
            }
        }
    }

    async fn open_channel(&mut self, name: &str) -> Result<(), Stop> {
        let plan = plan(self.channel_named(name));
        let funding = self.world.open_channel(&plan).await?;
        let mut trace = self.run.trace.lock();
        let called = format!("funding:{name}");
        trace.names.give(funding.txid.to_string(), called);
        drop(trace);
        self.book.refresh(&mut self.world).await?;
        if let Some(output) = self.book.output(&funding) {
            let owner = format!("channel:{name}");
            self.owners.give(output.script_pubkey.clone(), owner);
        }
        self.new_channels.insert(name.to_owned());
        Ok(())
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
