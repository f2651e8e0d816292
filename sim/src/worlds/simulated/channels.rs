//! Owns the closing of channels in the simulated world, and how far a channel is at its ends. Does not own their opening
//! (`world`) nor what both ends hold (`mod`).

use super::SimulatedWorld;
use super::world::policy;
use crate::worlds::{ChannelPlan, ChannelSight, CloseOrder, WorldError};
use bitcoin::OutPoint;
use lockstep_lightning::{ChannelView, channel_id_of};

impl SimulatedWorld {
    fn opened(&self, channel: &str) -> Option<&(ChannelPlan, OutPoint)> {
        let mut channels = self.channels.iter();
        channels.find(|(plan, _)| plan.name == channel)
    }

    /// Parts the two ends if the order says so.
    pub(super) fn part_for(&self, order: &CloseOrder) -> bool {
        let opened = self.opened(&order.channel).filter(|_| order.unheard);
        if let Some((plan, _)) = opened {
            self.network.disconnect(&plan.from, &plan.to);
        }
        opened.is_some()
    }

    /// A channel that was opened by the engine.
    pub(super) fn adopt(
        &mut self,
        plan: &ChannelPlan,
        funding: OutPoint,
    ) -> Result<(), WorldError> {
        let ends = [(&plan.from, plan.fees_from), (&plan.to, plan.fees_to)];
        for (name, fees) in ends {
            let process = self.process(name)?;
            let Some(view) = own_view(process.channels(), funding) else {
                continue;
            };
            let set = process
                .node()?
                .set_forwarding(view.user_channel_id, policy(fees));
            set.map_err(|error| WorldError::harness("set a channel's fees", error))?;
            process.poke();
        }
        self.peer_site.learn(&plan.name, funding);
        self.channels.push((plan.clone(), funding));
        Ok(())
    }

    /// One end closes the channel; what the other end does then is LDK's.
    pub(super) fn begin_close(&self, order: &CloseOrder) -> Result<(), WorldError> {
        let (channel, by) = (order.channel.as_str(), order.by.as_str());
        let refused = |reason: &dyn std::fmt::Display| {
            WorldError::refused(by, format!("close channel {channel}"), reason)
        };
        let opened = self.opened(channel);
        let (_, funding) = opened.ok_or_else(|| refused(&"it is not open"))?;
        let process = self.process(by)?;
        let node = process.node()?;
        let own = own_view(node.channels(), *funding).ok_or_else(|| refused(&"it is closed"))?;
        let closed = match order.force {
            true => node.force_close_channel(own.user_channel_id),
            false => node.close_channel(own.user_channel_id),
        };
        closed.map_err(|error| refused(&error))?;
        process.poke();
        Ok(())
    }

    /// A node that is down is left out: it can claim nothing, and says nothing.
    pub(super) fn sight_of(&self, channel: &str) -> ChannelSight {
        let Some((plan, funding)) = self.opened(channel) else {
            return ChannelSight::default();
        };
        let mut sight = ChannelSight {
            funding: Some(*funding),
            ready: true,
            ..ChannelSight::default()
        };
        for name in [&plan.from, &plan.to] {
            let Ok(process) = self.process(name) else {
                continue;
            };
            match own_view(process.channels(), *funding) {
                Some(view) => {
                    sight.ready &= view.ready;
                    sight.ending |= view.closing;
                }
                None => sight.ending = true,
            }
            let swept = |node: lockstep_lightning::Node| node.is_swept(channel_id_of(*funding));
            sight.unswept |= !process.running().is_none_or(swept);
        }
        sight
    }

    /// Who cannot use the channel yet, or does not know it, in words.
    pub(super) fn unknown_to(&self, channel: &str) -> Vec<String> {
        let Some((plan, funding)) = self.opened(channel) else {
            return vec![format!("channel {channel} to be opened")];
        };
        let mut missing = Vec::new();
        let mut place = None;
        for name in [&plan.from, &plan.to] {
            let channels = self.process(name).map(|process| process.channels());
            let view = channels
                .ok()
                .and_then(|channels| own_view(channels, *funding));
            match view {
                Some(view) if view.usable => place = view.short_channel_id,
                _ => missing.push(format!("node {name} to use channel {channel}")),
            }
        }
        let Some(place) = place.filter(|_| plan.announced) else {
            return missing;
        };
        for process in &self.nodes {
            let hears = |node: &lockstep_lightning::Node| !node.channels().is_empty();
            let running = process.running().filter(hears);
            let deaf = running.is_some_and(|node| !node.knows_channel(place));
            if deaf {
                missing.push(format!("node {} to know channel {channel}", process.name));
            }
        }
        missing
    }
}

fn own_view(channels: Vec<ChannelView>, funding: OutPoint) -> Option<ChannelView> {
    channels
        .into_iter()
        .find(|view| view.funding == Some(funding))
}
