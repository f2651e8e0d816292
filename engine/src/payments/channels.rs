//! Owns the channels of our own Lightning node: orders to open them, what the node shows of them, and what both mean for the
//! books (ADR 0015). Does not own payments over channels, nor how the node opens, closes and sweeps.
//!
//! A view of the node is told when nothing of it is ahead of what the engine was told of payments. So the channels that it
//! lists hold what `LightningChannels` says, but for what opened and what closed since the last view. What closed waits in
//! `LightningClosing`; what comes back of it is taken from there, and what is left when nothing more can come was the price.

use super::desk::{in_msat, key, msat};
use super::{FactRefused, Payments};
use crate::event::{Consequences, Event};
use crate::id::PaymentId;
use crate::ledger::{Account, Posting};
use crate::money::{Rail, Sat};
use crate::planted::Bug;
use crate::rail::{ChannelSeen, Effect, Instruction, NodeView};
use crate::time::Timestamp;
use bitcoin::OutPoint;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::PublicKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr as _;

/// The smallest channel that may be ordered; LDK takes no smaller one.
pub(super) const LEAST_CAPACITY_SAT: u64 = 20_000;

/// The largest; below it no node needs BOLT 2's `option_support_large_channel`.
pub(super) const MOST_CAPACITY_SAT: u64 = 16_777_215;

/// An order to open a channel of our node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelOrder {
    /// New; shares its ids with payments.
    pub order: PaymentId,
    /// The other node: `PUBKEY@HOST:PORT`, or `PUBKEY` of one that our node knows how to reach.
    pub peer: String,
    /// Its size, paid by our node's own wallet.
    pub capacity: Sat,
    /// Whether it is gossiped (BOLT 7).
    pub announced: bool,
}

/// Why an order about channels is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelRefused {
    /// The operator's policy leaves channels to somebody else.
    #[error("the engine does not manage the node's channels; set `channels` in the policy")]
    NotManaged,
    /// The id has one.
    #[error("the id `{order}` was used before")]
    IdUsed {
        /// Which.
        order: PaymentId,
    },
    /// It begins with no public key.
    #[error("`{peer}` is no PUBKEY or PUBKEY@HOST:PORT")]
    Peer {
        /// As given.
        peer: String,
    },
    /// Too small or too large.
    #[error(
        "a channel of {capacity} sat is not between {LEAST_CAPACITY_SAT} and {MOST_CAPACITY_SAT} sat"
    )]
    Capacity {
        /// As given.
        capacity: u64,
    },
    /// The node's last view has no such channel open.
    #[error("no open channel has the funding output {funding}")]
    Unknown {
        /// As given.
        funding: OutPoint,
    },
}

/// By what the channel of an order is known again: the node's id of it, or by both of these if the node has given it another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    order: PaymentId,
    /// The other node's public key, in hexadecimal.
    peer: String,
    capacity: Sat,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The node is asked.
    Asked(Asked),
    /// It is funded.
    Opened {
        /// Funding output.
        funding: OutPoint,
    },
    /// Final: it came to nothing.
    Refused {
        /// In the node's words.
        reason: String,
    },
}

/// A channel that was open once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelRecord {
    /// The order that opened it.
    pub order: Option<PaymentId>,
    /// Its size.
    pub capacity: Sat,
    /// What is ours in it, or when it closed; HTLCs that we offered included.
    pub ours_msat: u64,
    /// Where it stands.
    pub stage: ChannelStage,
    /// What it has cost us so far: opening, closing, sweeping (msat).
    pub costs_msat: u64,
}

/// How far a channel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelStage {
    /// Waits for blocks.
    Opening,
    /// Can be used.
    Open,
    /// Begun to close by agreement.
    Closing,
    /// Out of the node's list; so much of it is still to come, or to be lost.
    Closed {
        /// In msat.
        left_msat: i128,
    },
    /// Final: everything has come.
    Swept,
}

/// Our node's channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Channels {
    orders: BTreeMap<PaymentId, OrderState>,
    records: BTreeMap<OutPoint, ChannelRecord>,
    view: Option<NodeView>,
}

/// What one view changes in the books, in msat.
#[derive(Default)]
struct Change {
    wallet: i128,
    channels: i128,
    closing: i128,
    fees: i128,
    suspense: i128,
}

impl Channels {
    /// Whether nothing was ever told of channels.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.view.is_none()
    }

    /// Every channel that was open once.
    pub fn records(&self) -> &BTreeMap<OutPoint, ChannelRecord> {
        &self.records
    }

    /// Where an order stands.
    pub fn order(&self, order: &PaymentId) -> Option<&OrderState> {
        self.orders.get(order)
    }

    /// The funding outputs that the node's last view lists.
    pub fn listed(&self) -> impl Iterator<Item = OutPoint> {
        let channels = self.view.iter().flat_map(|view| &view.channels);
        channels.map(|channel| channel.funding)
    }

    fn is_listed(&self, funding: &OutPoint) -> bool {
        self.listed().any(|listed| listed == *funding)
    }
}

/// The node's own id of a channel that this order opens: the same at every attempt.
pub(super) fn id_of_order(order: &PaymentId) -> [u8; 16] {
    let hash = sha256::Hash::hash(format!("channel/{order}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_byte_array()[..16]);
    id
}

/// BOLT 2 `channel_id`: the funding transaction's id, its last two bytes exclusive-or the output's index.
fn channel_id(funding: &OutPoint) -> [u8; 32] {
    let mut id = funding.txid.to_byte_array();
    let index = funding.vout.to_be_bytes();
    id[30] ^= index[2];
    id[31] ^= index[3];
    id
}

impl Payments {
    /// Our node's channels.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Whether a channel may be ordered.
    pub fn check_open_channel(&self, order: &ChannelOrder) -> Result<(), ChannelRefused> {
        if !self.policy.channels {
            return Err(ChannelRefused::NotManaged);
        }
        if self.is_id_used(&order.order) {
            let order = order.order.clone();
            return Err(ChannelRefused::IdUsed { order });
        }
        let node = order.peer.split('@').next().unwrap_or_default();
        if PublicKey::from_str(node).is_err() {
            let peer = order.peer.clone();
            return Err(ChannelRefused::Peer { peer });
        }
        let capacity = order.capacity.0;
        if !(LEAST_CAPACITY_SAT..=MOST_CAPACITY_SAT).contains(&capacity) {
            return Err(ChannelRefused::Capacity { capacity });
        }
        Ok(())
    }

    /// Asks the node for a channel.
    pub fn open_channel(&mut self, order: &ChannelOrder) -> Consequences {
        let id = order.order.clone();
        let node = order.peer.split('@').next().unwrap_or_default();
        let asked = Asked {
            order: id.clone(),
            peer: node.to_lowercase(),
            capacity: order.capacity,
        };
        self.channels
            .orders
            .insert(id.clone(), OrderState::Asked(asked));
        let effect = Effect::OpenChannel {
            id: id_of_order(&id),
            peer: order.peer.clone(),
            capacity: order.capacity,
            announced: order.announced,
        };
        Consequences {
            events: vec![Event::ChannelOrdered { order: id.clone() }],
            instructions: vec![Instruction {
                key: key(&id, "open"),
                effect,
            }],
            ..Consequences::default()
        }
    }

    /// Whether a channel may be closed.
    pub fn check_close_channel(&self, funding: &OutPoint) -> Result<(), ChannelRefused> {
        if !self.policy.channels {
            return Err(ChannelRefused::NotManaged);
        }
        match self.channels.is_listed(funding) {
            true => Ok(()),
            false => Err(ChannelRefused::Unknown { funding: *funding }),
        }
    }

    /// Asks the node to close a channel.
    pub fn close_channel(&self, funding: OutPoint, force: bool) -> Consequences {
        let what = if force { "force-close" } else { "close" };
        Consequences {
            instructions: vec![Instruction {
                key: close_key(&funding, what),
                effect: Effect::CloseChannel { funding, force },
            }],
            ..Consequences::default()
        }
    }

    /// The node will not open the channel that has this id of ours, or has given it up before it was funded.
    pub(super) fn on_channel_refused(&mut self, id: [u8; 16], reason: &str) -> Consequences {
        let mut out = Consequences::default();
        for (order, state) in &mut self.channels.orders {
            if id_of_order(order) == id && matches!(state, OrderState::Asked(_)) {
                let reason = reason.to_owned();
                *state = OrderState::Refused {
                    reason: reason.clone(),
                };
                let order = order.clone();
                out.answered.push(key(&order, "open"));
                out.events.push(Event::ChannelRefused { order, reason });
            }
        }
        out
    }

    /// Whether a view of the node can be true: each channel holds no more than its size, and is shown once.
    pub(super) fn check_node(&self, view: &NodeView) -> Result<(), FactRefused> {
        let too_much = |seen: &ChannelSeen| seen.ours_msat > in_msat(seen.capacity).0;
        let order = |seen: &ChannelSeen| seen.funding;
        let ascending = view.channels.is_sorted_by(|a, b| order(a) < order(b));
        if !self.policy.channels || !ascending || view.channels.iter().any(too_much) {
            return Err(FactRefused::NodeView);
        }
        if self.channels.view.is_some() && !self.is_any_closed() && self.is_unpaid(view) {
            return Err(FactRefused::NodeView);
        }
        Ok(())
    }

    /// Whether a channel that our wallet pays for is listed and the wallet does not know it yet, as it may be for a moment.
    fn is_unpaid(&self, view: &NodeView) -> bool {
        let known = &self.channels.records;
        let fresh = view.channels.iter();
        let fresh = fresh.filter(|seen| seen.funded_by_us && !known.contains_key(&seen.funding));
        let capacities = fresh.map(|seen| msat(in_msat(seen.capacity)));
        let needed = capacities.fold(0_i128, i128::saturating_add);
        let booked = self.ledger.balance(&Account::NodeWallet);
        needed > 0 && booked.saturating_sub(msat(in_msat(view.wallet))) < needed
    }

    /// The node has been looked at.
    pub(super) fn on_node(&mut self, now: Timestamp, view: &NodeView) -> Consequences {
        let mut out = Consequences::default();
        let first = self.channels.view.is_none();
        let mut change = self.take_wallet(view);
        if first {
            self.begin_books(now, change.wallet, &mut out);
            change = Change::default();
        }
        self.take_opened(view, first, &mut change, &mut out);
        self.take_closed(view, first, &mut change, &mut out);
        if !first {
            self.take_coins(&mut change);
        }
        self.take_swept(view, &mut change, &mut out);
        self.channels.view = Some(view.clone());
        self.post_change(now, &change, &mut out);
        out
    }

    fn take_wallet(&self, view: &NodeView) -> Change {
        let booked = self.ledger.balance(&Account::NodeWallet);
        Change {
            wallet: msat(in_msat(view.wallet)).saturating_sub(booked),
            ..Change::default()
        }
    }

    /// What the node's wallet held before the engine began is the operator's.
    fn begin_books(&mut self, now: Timestamp, wallet: i128, out: &mut Consequences) {
        if wallet == 0 {
            return;
        }
        let asset = Rail::Lightning.asset();
        let lines = vec![
            (Account::NodeWallet, wallet),
            (Account::Equity { asset }, wallet.saturating_neg()),
        ];
        self.post_lines(now, "opening", lines, out);
    }

    /// Channels that are listed for the first time: paid by our wallet, or (what the peer gives us in them) by nobody.
    fn take_opened(
        &mut self,
        view: &NodeView,
        first: bool,
        change: &mut Change,
        out: &mut Consequences,
    ) {
        for seen in &view.channels {
            let stage = stage_of(seen);
            if let Some(record) = self.channels.records.get_mut(&seen.funding) {
                if stage == ChannelStage::Open && record.stage == ChannelStage::Opening {
                    let funding = seen.funding;
                    out.events.push(Event::ChannelUsable { funding });
                }
                (record.stage, record.ours_msat) = (stage, seen.ours_msat);
                continue;
            }
            let order = self.order_of(seen);
            if let Some(order) = &order {
                out.answered.push(key(order, "open"));
            }
            if !first {
                let ours = i128::from(seen.ours_msat);
                change.channels = change.channels.saturating_add(ours);
                if !seen.funded_by_us {
                    change.suspense = change.suspense.saturating_sub(ours);
                }
                out.events.push(Event::ChannelOpened {
                    funding: seen.funding,
                    order: order.clone(),
                    ours_msat: seen.ours_msat,
                });
            }
            let record = ChannelRecord {
                order,
                capacity: seen.capacity,
                ours_msat: seen.ours_msat,
                stage,
                costs_msat: 0,
            };
            self.channels.records.insert(seen.funding, record);
        }
    }

    fn order_of(&mut self, seen: &ChannelSeen) -> Option<PaymentId> {
        let asked = |asked: &Asked| {
            let alike = asked.capacity == seen.capacity && asked.peer == seen.peer;
            id_of_order(&asked.order) == seen.id || (seen.funded_by_us && alike)
        };
        let mut orders = self.channels.orders.values_mut();
        let state =
            orders.find(|state| matches!(state, OrderState::Asked(order) if asked(order)))?;
        let OrderState::Asked(Asked { order, .. }) = state else {
            return None;
        };
        let order = order.clone();
        *state = OrderState::Opened {
            funding: seen.funding,
        };
        Some(order)
    }

    /// Channels that are listed no more. What they held is what is missing in those that are.
    fn take_closed(
        &mut self,
        view: &NodeView,
        first: bool,
        change: &mut Change,
        out: &mut Consequences,
    ) {
        let listed = |funding: &OutPoint| view.channels.iter().any(|seen| seen.funding == *funding);
        let gone = self
            .channels
            .records
            .iter_mut()
            .filter(|(funding, record)| {
                !listed(funding)
                    && !matches!(
                        record.stage,
                        ChannelStage::Closed { .. } | ChannelStage::Swept
                    )
            });
        let mut left = 0_i128;
        for (funding, record) in gone {
            let ours = i128::from(record.ours_msat);
            record.stage = ChannelStage::Closed { left_msat: ours };
            left = left.saturating_add(ours);
            out.events.push(Event::ChannelClosed {
                funding: *funding,
                ours_msat: record.ours_msat,
            });
        }
        if first || !self.is_any_closed() {
            return;
        }
        // Payments that ended in a closed channel moved money between it and the books.
        let held: u64 = view
            .channels
            .iter()
            .fold(0, |sum: u64, seen| sum.saturating_add(seen.ours_msat));
        let booked = self.ledger.balance(&Account::LightningChannels);
        let moved = booked
            .saturating_add(change.channels)
            .saturating_sub(i128::from(held));
        change.channels = change.channels.saturating_sub(moved);
        change.closing = change.closing.saturating_add(moved);
        self.add_to_closed(moved.saturating_sub(left));
    }

    fn is_any_closed(&self) -> bool {
        let mut records = self.channels.records.values();
        records.any(|record| matches!(record.stage, ChannelStage::Closed { .. }))
    }

    /// The oldest record that waits has more or less to come.
    fn add_to_closed(&mut self, more_msat: i128) {
        for record in self.channels.records.values_mut() {
            if let ChannelStage::Closed { left_msat } = &mut record.stage {
                *left_msat = left_msat.saturating_add(more_msat);
                return;
            }
        }
    }

    /// What came into the node's wallet was in closed channels; what left it and is in no channel was a fee.
    fn take_coins(&mut self, change: &mut Change) {
        let funded = change
            .channels
            .saturating_add(change.closing)
            .saturating_add(change.suspense);
        let came = change.wallet.saturating_add(funded);
        if came < 0 {
            if self.planted == Some(Bug::ForgetFundingFee) {
                change.wallet = change.wallet.saturating_sub(came);
                return;
            }
            change.fees = change.fees.saturating_sub(came);
            return;
        }
        let mut rest = came;
        for record in self.channels.records.values_mut() {
            if let ChannelStage::Closed { left_msat } = &mut record.stage {
                let of_this = rest.min((*left_msat).max(0));
                *left_msat = left_msat.saturating_sub(of_this);
                rest = rest.saturating_sub(of_this);
            }
        }
        let taken = came.saturating_sub(rest);
        change.closing = change.closing.saturating_sub(taken);
        change.suspense = change.suspense.saturating_sub(rest);
    }

    /// Closed channels of which nothing is to come any more: what has not come was the price.
    fn take_swept(&mut self, view: &NodeView, change: &mut Change, out: &mut Consequences) {
        for (funding, record) in &mut self.channels.records {
            let ChannelStage::Closed { left_msat } = record.stage else {
                continue;
            };
            if view.unswept.contains(&channel_id(funding)) {
                continue;
            }
            record.stage = ChannelStage::Swept;
            record.costs_msat = u64::try_from(left_msat).unwrap_or(0);
            out.events.push(Event::ChannelSwept {
                funding: *funding,
                costs_msat: record.costs_msat,
            });
            if self.planted == Some(Bug::ForgetClosingFee) {
                continue;
            }
            change.closing = change.closing.saturating_sub(left_msat);
            change.fees = change.fees.saturating_add(left_msat);
        }
    }

    fn post_change(&mut self, now: Timestamp, change: &Change, out: &mut Consequences) {
        let rail = Rail::Lightning;
        let lines = vec![
            (Account::NodeWallet, change.wallet),
            (Account::LightningChannels, change.channels),
            (Account::LightningClosing, change.closing),
            (Account::ChannelCosts, change.fees),
            (Account::Suspense { rail }, change.suspense),
        ];
        self.post_lines(now, "channels", lines, out);
    }

    fn post_lines(
        &mut self,
        at: Timestamp,
        memo: &'static str,
        mut lines: Vec<(Account, i128)>,
        out: &mut Consequences,
    ) {
        lines.retain(|(_, amount)| *amount != 0);
        if lines.is_empty() {
            return;
        }
        let posted = self.ledger.post(Posting {
            at,
            payment: None,
            memo,
            lines,
        });
        out.events.push(Event::Posted(posted));
    }
}

fn stage_of(seen: &ChannelSeen) -> ChannelStage {
    match (seen.closing, seen.ready) {
        (true, _) => ChannelStage::Closing,
        (false, true) => ChannelStage::Open,
        (false, false) => ChannelStage::Opening,
    }
}

fn close_key(funding: &OutPoint, what: &str) -> crate::id::IdempotencyKey {
    crate::id::IdempotencyKey(format!("channel:{funding}/{what}"))
}
