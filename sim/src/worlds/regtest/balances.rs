//! Owns the channels' balances to the millisatoshi, out of what real nodes show. Does not own when they are at rest.
//!
//! ldk-node shows for each side its balance less HTLCs, reserve and (for the opener) anchors, but not below zero. A side
//! above its reserve is therefore exact; the other one is the rest of the capacity, once nothing is in flight. While
//! something is, a side below its reserve is taken to hold what it held when nothing was: it can offer no HTLC.

use super::nodes::NodeProcess;
use crate::worlds::{ChannelPlan, ChannelState, WorldError};
use bitcoin::OutPoint;
use ldk_node::{ChannelDetails, LightningBalance, Node};

/// Both anchor outputs (BOLT 3, 330 sat each), which the opener pays for out of his balance.
const ANCHORS_MSAT: u64 = 660_000;

/// One end of a channel, as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndView {
    /// Ours, if it is above the reserve.
    pub(super) local_msat: Option<u64>,
    /// The peer's, if it is above the reserve.
    pub(super) remote_msat: Option<u64>,
    /// Deep enough for use.
    pub(super) deep: bool,
    /// In use.
    pub(super) usable: bool,
    /// In HTLCs that we offered, and that the peer offered, rounded down to the satoshi and without dust.
    pub(super) htlcs_sat: (u64, u64),
}

/// One open channel.
#[derive(Clone, Debug)]
pub(super) struct OpenChannel {
    /// As planned.
    pub(super) plan: ChannelPlan,
    /// Funding output.
    pub(super) funding: OutPoint,
    /// What both ends held when nothing was in flight.
    pub(super) quiet_msat: [u64; 2],
    /// Somebody was asked to close it.
    pub(super) asked_to_close: bool,
}

impl OpenChannel {
    /// Just opened.
    pub(super) fn new(plan: ChannelPlan, funding: OutPoint) -> OpenChannel {
        let quiet_msat = [
            (plan.capacity_sat * 1_000).saturating_sub(plan.push_msat),
            plan.push_msat,
        ];
        OpenChannel {
            plan,
            funding,
            quiet_msat,
            asked_to_close: false,
        }
    }

    /// Its ends, opener first.
    pub(super) fn ends(&self) -> [&str; 2] {
        [&self.plan.from, &self.plan.to]
    }

    /// What a node shows of it, if it is up and has it.
    pub(super) fn seen_by(&self, process: &NodeProcess) -> Option<EndView> {
        let node = process.running()?;
        let channel = node
            .list_channels()
            .into_iter()
            .find(|channel| channel.funding_txo == Some(self.funding))?;
        Some(EndView::of(&channel, htlcs_sat(&node, &channel)))
    }

    /// What both ends agree on; `calm` says that no payment is under way anywhere.
    pub(super) fn state(
        &mut self,
        views: &[Option<EndView>; 2],
        calm: bool,
    ) -> Result<ChannelState, WorldError> {
        let capacity_msat = self.plan.capacity_sat * 1_000;
        let failed =
            |reason: &str| WorldError::harness(format!("read channel {}", self.plan.name), reason);
        let balance_msat = match (held_by(views, 0), held_by(views, 1)) {
            (Some(from), Some(to)) => [from, to],
            (Some(from), None) if calm => [from, capacity_msat.saturating_sub(from)],
            (None, Some(to)) if calm => [capacity_msat.saturating_sub(to), to],
            (Some(from), None) => [from, self.quiet_msat[1]],
            (None, Some(to)) => [self.quiet_msat[0], to],
            (None, None) => return Err(failed("both ends are down or have closed it")),
        };
        let under_way = capacity_msat.checked_sub(balance_msat[0] + balance_msat[1]);
        let under_way = under_way.ok_or_else(|| failed("its ends hold more than its capacity"))?;
        let in_flight_msat = self.split(under_way, views, balance_msat);
        if under_way == 0 {
            self.quiet_msat = balance_msat;
        }
        let ends = [self.plan.from.clone(), self.plan.to.clone()];
        let (name, capacity_sat, funding) =
            (self.plan.name.clone(), self.plan.capacity_sat, self.funding);
        Ok(ChannelState {
            name,
            ends,
            capacity_sat,
            balance_msat,
            in_flight_msat,
            funding,
        })
    }

    /// Who offered what is in flight.
    fn split(
        &self,
        total_msat: u64,
        views: &[Option<EndView>; 2],
        balance_msat: [u64; 2],
    ) -> [u64; 2] {
        let offered_sat = match views {
            [Some(view), _] => [view.htlcs_sat.0, view.htlcs_sat.1],
            [None, Some(view)] => [view.htlcs_sat.1, view.htlcs_sat.0],
            [None, None] => [0, 0],
        };
        match offered_sat {
            // Dust shows nowhere: whoever has less than before has offered it.
            [0, 0] if balance_msat[0] < self.quiet_msat[0] => [total_msat, 0],
            [0, 0] => [0, total_msat],
            [_, 0] => [total_msat, 0],
            [0, _] => [0, total_msat],
            // Both ways at once: the opener's to the satoshi, the rest is the acceptor's.
            [from, _] => [
                (from * 1_000).min(total_msat),
                total_msat.saturating_sub(from * 1_000),
            ],
        }
    }

    /// Where the two ends' views differ, or HTLCs are left though no payment is under way.
    pub(super) fn disagreement(&self, views: &[Option<EndView>; 2], calm: bool) -> Option<String> {
        let [Some(from), Some(to)] = views else {
            return None;
        };
        let name = &self.plan.name;
        if self.asked_to_close {
            return None;
        }
        if (from.deep && !from.usable) || (to.deep && !to.usable) {
            return Some(format!("channel {name} to be usable"));
        }
        let same = |ours: Option<u64>, theirs: Option<u64>| ours == theirs;
        if !same(from.local_msat, to.remote_msat) || !same(from.remote_msat, to.local_msat) {
            return Some(format!("both ends of channel {name} to agree"));
        }
        let sum = from
            .local_msat
            .zip(from.remote_msat)
            .map(|(ours, theirs)| ours + theirs);
        let left = calm
            && (sum.is_some_and(|sum| sum != self.plan.capacity_sat * 1_000)
                || from.htlcs_sat != (0, 0));
        left.then(|| format!("HTLCs of channel {name} to be settled"))
    }
}

impl EndView {
    fn of(channel: &ChannelDetails, htlcs_sat: (u64, u64)) -> EndView {
        let anchors = |opener: bool| if opener { ANCHORS_MSAT } else { 0 };
        let above = |capacity: u64, reserve_sat: u64, opener: bool| {
            (capacity > 0).then(|| capacity + reserve_sat * 1_000 + anchors(opener))
        };
        let our_reserve = channel.unspendable_punishment_reserve.unwrap_or(0);
        let their_reserve = channel.counterparty_unspendable_punishment_reserve;
        let required = channel.confirmations_required.unwrap_or(u32::MAX);
        EndView {
            local_msat: above(
                channel.outbound_capacity_msat,
                our_reserve,
                channel.is_outbound,
            ),
            remote_msat: above(
                channel.inbound_capacity_msat,
                their_reserve,
                !channel.is_outbound,
            ),
            deep: channel
                .confirmations
                .is_some_and(|confirmations| confirmations >= required),
            usable: channel.is_usable,
            htlcs_sat,
        }
    }
}

fn held_by(views: &[Option<EndView>; 2], end: usize) -> Option<u64> {
    let own = views[end].as_ref().and_then(|view| view.local_msat);
    own.or_else(|| views[1 - end].as_ref().and_then(|view| view.remote_msat))
}

fn htlcs_sat(node: &Node, channel: &ChannelDetails) -> (u64, u64) {
    let (mut ours, mut theirs) = (0, 0);
    for balance in node.list_balances().lightning_balances {
        match balance {
            LightningBalance::MaybeTimeoutClaimableHTLC {
                channel_id,
                amount_satoshis,
                ..
            } if channel_id == channel.channel_id => {
                ours += amount_satoshis;
            }
            LightningBalance::MaybePreimageClaimableHTLC {
                channel_id,
                amount_satoshis,
                ..
            }
            | LightningBalance::ContentiousClaimable {
                channel_id,
                amount_satoshis,
                ..
            } if channel_id == channel.channel_id => {
                theirs += amount_satoshis;
            }
            _ => {}
        }
    }
    (ours, theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::ForwardingFees;

    const RESERVE_MSAT: u64 = 10_000_000;

    fn channel() -> OpenChannel {
        let fees = ForwardingFees {
            base_msat: 0,
            proportional_millionths: 0,
            cltv_expiry_delta: 72,
        };
        let (from, to) = ("alice".to_owned(), "bob".to_owned());
        let plan = ChannelPlan {
            name: "ab".to_owned(),
            from,
            to,
            capacity_sat: 1_000_000,
            push_msat: 0,
            announced: true,
            fees_from: fees,
            fees_to: fees,
        };
        OpenChannel::new(plan, OutPoint::null())
    }

    /// As both nodes show these balances.
    fn views(balances: [u64; 2], offered_sat: [u64; 2]) -> [Option<EndView>; 2] {
        let shown = |end: usize| {
            let least = RESERVE_MSAT + if end == 0 { ANCHORS_MSAT } else { 0 };
            (balances[end] > least).then_some(balances[end])
        };
        let view = |end: usize| EndView {
            local_msat: shown(end),
            remote_msat: shown(1 - end),
            deep: true,
            usable: true,
            htlcs_sat: (offered_sat[end], offered_sat[1 - end]),
        };
        [Some(view(0)), Some(view(1))]
    }

    fn read(
        channel: &mut OpenChannel,
        views: &[Option<EndView>; 2],
        calm: bool,
    ) -> ([u64; 2], [u64; 2]) {
        let state = channel.state(views, calm).expect("readable");
        (state.balance_msat, state.in_flight_msat)
    }

    #[test]
    fn balances_are_exact_above_and_below_the_reserve() {
        let mut channel = channel();
        for balances in [
            [1_000_000_000, 0],
            [600_000_001, 399_999_999],
            [5, 999_999_995],
            [995_000_000, 5_000_000],
        ] {
            assert_eq!(
                read(&mut channel, &views(balances, [0, 0]), true),
                (balances, [0, 0])
            );
        }
    }

    #[test]
    fn what_is_in_flight_belongs_to_whoever_offered_it() {
        let mut channel = channel();
        read(&mut channel, &views([1_000_000_000, 0], [0, 0]), true);
        // Held: the payee is below the reserve.
        let held = views([900_000_000, 0], [100_000, 0]);
        assert_eq!(
            read(&mut channel, &held, false),
            ([900_000_000, 0], [100_000_000, 0])
        );
        let back = views([500_000_000, 400_000_000], [0, 100_000]);
        assert_eq!(
            read(&mut channel, &back, false),
            ([500_000_000, 400_000_000], [0, 100_000_000])
        );
        // Dust is in no balance of the monitor.
        read(
            &mut channel,
            &views([500_000_000, 500_000_000], [0, 0]),
            true,
        );
        let dust = views([500_000_000, 499_900_000], [0, 0]);
        assert_eq!(
            read(&mut channel, &dust, false),
            ([500_000_000, 499_900_000], [0, 100_000])
        );
    }

    #[test]
    fn one_end_alone_is_enough_and_none_is_an_error() {
        let mut channel = channel();
        let [from, _] = views([600_000_000, 400_000_000], [0, 0]);
        assert_eq!(
            read(&mut channel, &[from, None], true).0,
            [600_000_000, 400_000_000]
        );
        assert!(channel.state(&[None, None], true).is_err());
    }

    #[test]
    fn a_channel_in_motion_is_noticed() {
        let channel = channel();
        assert_eq!(
            channel.disagreement(&views([600_000_000, 400_000_000], [0, 0]), true),
            None
        );
        let left = views([600_000_000, 300_000_000], [100_000, 0]);
        assert!(
            channel
                .disagreement(&left, true)
                .is_some_and(|what| what.contains("HTLCs"))
        );
        assert_eq!(channel.disagreement(&left, false), None);
        let mut apart = views([600_000_000, 400_000_000], [0, 0]);
        apart[1] = views([500_000_000, 500_000_000], [0, 0])[1].clone();
        assert!(
            channel
                .disagreement(&apart, true)
                .is_some_and(|what| what.contains("agree"))
        );
    }
}
