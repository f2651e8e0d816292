//! Owns checking what is done with channels and expected of them: that a step opens what is `later`, once, and closes what is
//! open, by one of its ends. Does not own channels of the set-up (`setup`).

use super::names::Kind;
use super::quantity;
use super::steps::StepChecker;
use crate::scenario::channels::{ChannelStep, CloseChannel, ExpectNode};
use crate::scenario::expectation::Expectation;
use crate::scenario::model::{ChannelName, NodeName};
use crate::scenario::problem::Problem;
use crate::scenario::read::At;
use crate::scenario::text;
use crate::scenario::units::{Millis, Msat, Sat};
use std::collections::BTreeSet;
use std::ops::Range;

/// The channels that the set-up leaves to steps.
pub(super) fn later(file: &text::Scenario) -> BTreeSet<String> {
    let channels = file.channels.iter();
    channels
        .flat_map(|channels| channels.value.entries())
        .filter(|(_, channel)| {
            channel
                .value
                .later
                .as_ref()
                .is_some_and(|later| later.value)
        })
        .map(|(name, _)| name.value.clone())
        .collect()
}

/// Whether the policy has the engine manage its node's channels.
pub(super) fn are_managed(file: &text::Scenario) -> bool {
    let policy = file.policy.as_ref();
    let channels = policy.and_then(|policy| policy.value.channels.as_ref());
    channels.is_some_and(|channels| channels.value)
}

impl StepChecker<'_> {
    /// A channel of `later` that no earlier step opens.
    pub(super) fn open_channel(&mut self, name: &str, span: &Range<usize>) -> Option<ChannelStep> {
        let typed = At {
            value: name.to_owned(),
            span: span.clone(),
        };
        let channel =
            self.names
                .resolve(Kind::Channel, ChannelName, Some(&typed), self.problems)?;
        if !self.later.contains(channel.as_str()) {
            self.problems.at(
                span,
                format!("`{channel}` is open before the scenario begins"),
                "there is nothing to open",
                format!("write `later = true` in `channels.{channel}`, or remove the step"),
            );
        }
        self.must_be_managed(&channel, span);
        if let Some(before) = self.opened.insert(channel.clone(), span.clone()) {
            self.twice(&channel, "opened", span, before);
        }
        Some(ChannelStep::Open { channel })
    }

    /// A channel that is open by then, not closed in the same way before.
    pub(super) fn close_channel(
        &mut self,
        typed: &CloseChannel,
        span: &Range<usize>,
    ) -> Option<ChannelStep> {
        let name = typed.channel.0.as_ref();
        let channel = self
            .names
            .resolve(Kind::Channel, ChannelName, name, self.problems)?;
        let by = match &typed.by {
            Some(by) => self.one_end(&channel, by)?,
            None => NodeName(self.names.ends(channel.as_str())?.0.to_owned()),
        };
        let force = typed.force.as_ref().is_some_and(|force| force.value);
        self.must_be_opened(&channel, span);
        self.must_be_managed(&channel, span);
        let before = self.closed.insert(channel.clone(), (force, span.clone()));
        // What was begun by agreement may be ended by force.
        if let Some((by_force, before)) = before
            && (by_force || !force)
        {
            self.twice(&channel, "closed", span, before);
        }
        Some(ChannelStep::Close { channel, by, force })
    }

    fn twice(
        &mut self,
        channel: &ChannelName,
        what: &str,
        span: &Range<usize>,
        before: Range<usize>,
    ) {
        self.problems.add(Problem {
            title: format!("`{channel}` is {what} twice"),
            span: span.clone(),
            label: "again".to_owned(),
            also: Some((before, "first here".to_owned())),
            help: "remove one of the two steps".to_owned(),
        });
    }

    /// What happens to the operator's channels is for the engine to know.
    fn must_be_managed(&mut self, channel: &ChannelName, span: &Range<usize>) {
        let ends = self.names.ends(channel.as_str());
        let (Some((from, to)), Some(operator)) = (ends, self.operator) else {
            return;
        };
        if !self.manages_channels && (from == operator || to == operator) {
            self.problems.at(
                span,
                format!("the engine knows nothing of the channels of `{operator}`"),
                "a channel of the operator's own node",
                "write `policy.channels = true`",
            );
        }
    }

    fn must_be_opened(&mut self, channel: &ChannelName, span: &Range<usize>) {
        if self.later.contains(channel.as_str()) && !self.opened.contains_key(channel) {
            self.problems.at(
                span,
                format!("`{channel}` is not open yet"),
                "no step before opens it",
                format!("put `{{ open = \"{channel}\" }}` before this step"),
            );
        }
    }

    /// A node that is at one end of the channel.
    fn one_end(&mut self, channel: &ChannelName, typed: &At<String>) -> Option<NodeName> {
        let end = self
            .names
            .resolve(Kind::Node, NodeName, Some(typed), self.problems)?;
        let (from, to) = self.names.ends(channel.as_str())?;
        if end.as_str() != from && end.as_str() != to {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.problems.at(
                &typed.span,
                format!("`{end}` is at neither end of `{channel}`"),
                "not an end of the channel",
                format!("name \"{from}\" or \"{to}\""),
            );
        }
        Some(end)
    }

    pub(super) fn expect_channel(
        &mut self,
        typed: &text::ExpectChannel,
        span: &Range<usize>,
    ) -> Option<Expectation> {
        let name = typed.channel.0.as_ref();
        let channel = self
            .names
            .resolve(Kind::Channel, ChannelName, name, self.problems)?;
        let within = typed.within.as_ref().map(|within| {
            let place = "how long it may take";
            quantity(
                &within.value.0,
                &within.span,
                place,
                Millis::parse,
                self.problems,
            )
        });
        match (&typed.state, &typed.end, &typed.balance) {
            (Some(state), None, None) => Some(Expectation::ChannelStage {
                channel,
                stage: state.value,
                within: super::right_or_absent(within)?,
            }),
            (None, Some(end), Some(balance)) if typed.within.is_none() => {
                let end = self.one_end(&channel, end);
                let place = "a channel's balance";
                let balance = quantity(
                    &balance.value.0,
                    &balance.span,
                    place,
                    Msat::parse,
                    self.problems,
                );
                Some(Expectation::Channel {
                    channel,
                    end: end?,
                    balance: balance?,
                })
            }
            _ => {
                self.problems.at(
                    span,
                    "a channel's state, or what one end holds",
                    "neither, or both",
                    "write `state` and if wanted `within`; or `end` and `balance`",
                );
                None
            }
        }
    }

    pub(super) fn expect_node(&mut self, typed: &ExpectNode) -> Option<Expectation> {
        let node = self
            .names
            .resolve(Kind::Node, NodeName, typed.node.0.as_ref(), self.problems);
        let balance = typed.balance.0.as_ref().and_then(|balance| {
            let place = "what a node's wallet holds";
            quantity(
                &balance.value.0,
                &balance.span,
                place,
                Sat::parse,
                self.problems,
            )
        });
        Some(Expectation::Node {
            node: node?,
            balance: balance?,
        })
    }
}
