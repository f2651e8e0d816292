//! Owns how a Lightning node's news and the HTLCs in its channels are written into the trace: as fields with names, so
//! that a report can join them by channel and payment hash. Does not own when that is (`node_process`).

use bitcoin::hex::DisplayHex;
use lockstep_lightning::{ChannelView, HtlcDirection, NodeEvent, Notice};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a node tells its owner.
pub(super) fn notice(notice: &Notice) -> Value {
    let mut value = event(&notice.event);
    value["seq"] = notice.seq.into();
    value
}

fn event(event: &NodeEvent) -> Value {
    match event {
        NodeEvent::ChannelPending {
            channel_id,
            peer,
            funding,
            ..
        } => {
            json!({ "event": "channel_pending", "channel_id": hex(&channel_id.0), "peer": peer.to_string(),
                "funding": funding.to_string() })
        }
        NodeEvent::ChannelReady {
            channel_id, peer, ..
        } => {
            json!({ "event": "channel_ready", "channel_id": hex(&channel_id.0), "peer": peer.to_string() })
        }
        NodeEvent::ChannelClosed {
            channel_id, reason, ..
        } => {
            json!({ "event": "channel_closed", "channel_id": hex(&channel_id.0), "reason": reason })
        }
        NodeEvent::PaymentReceivable {
            payment_hash,
            amount_msat,
            claim_deadline,
        } => {
            json!({ "event": "payment_receivable", "payment_hash": hex(&payment_hash.0),
                "amount_msat": amount_msat, "claim_deadline": claim_deadline })
        }
        NodeEvent::PaymentReceived {
            payment_hash,
            amount_msat,
        } => {
            json!({ "event": "payment_received", "payment_hash": hex(&payment_hash.0), "amount_msat": amount_msat })
        }
        NodeEvent::HoldReleased { payment_hash } => {
            json!({ "event": "hold_released", "payment_hash": hex(&payment_hash.0) })
        }
        NodeEvent::PaymentSent {
            payment_hash,
            preimage,
            fee_paid_msat,
            ..
        } => {
            json!({ "event": "payment_sent", "payment_hash": hex(&payment_hash.0), "preimage": hex(&preimage.0),
                "fee_paid_msat": fee_paid_msat })
        }
        NodeEvent::PaymentFailed {
            payment_hash,
            reason,
            ..
        } => {
            json!({ "event": "payment_failed", "payment_hash": payment_hash.map(|hash| hex(&hash.0)),
                "reason": format!("{reason:?}") })
        }
        NodeEvent::PaymentForwarded {
            prev_channel,
            next_channel,
            fee_msat,
            amount_msat,
            claimed_on_chain,
        } => {
            json!({ "event": "payment_forwarded", "prev_channel": prev_channel.map(|id| hex(&id.0)),
                "next_channel": next_channel.map(|id| hex(&id.0)), "fee_msat": fee_msat,
                "amount_msat": amount_msat, "claimed_on_chain": claimed_on_chain })
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.to_lower_hex_string()
}

/// Channel, way, payment hash, amount in msat, height of expiry. Parts of one payment that agree in all of these are
/// told apart by their number.
type Key = ([u8; 32], bool, [u8; 32], u64, u32);

/// The HTLCs of one node at the latest look.
#[derive(Default)]
pub(super) struct HtlcBook(BTreeMap<Key, u32>);

impl HtlcBook {
    /// What has come and gone since the last look, as records.
    pub(super) fn changes(&mut self, channels: &[ChannelView]) -> Vec<Value> {
        let mut now: BTreeMap<Key, u32> = BTreeMap::new();
        for channel in channels {
            for htlc in &channel.htlcs {
                let outgoing = htlc.direction == HtlcDirection::Outgoing;
                let key = (
                    channel.channel_id.0,
                    outgoing,
                    htlc.payment_hash.0,
                    htlc.amount_msat,
                    htlc.cltv_expiry,
                );
                *now.entry(key).or_insert(0) += 1;
            }
        }
        let before = std::mem::replace(&mut self.0, now);
        if before == self.0 {
            return Vec::new();
        }
        let count = |of: &BTreeMap<Key, u32>, key: &Key| of.get(key).copied().unwrap_or(0);
        let gone = before
            .iter()
            .flat_map(|(key, n)| (count(&self.0, key)..*n).map(move |_| record("gone", key)));
        let added = self
            .0
            .iter()
            .flat_map(|(key, n)| (count(&before, key)..*n).map(move |_| record("added", key)));
        gone.chain(added).collect()
    }
}

fn record(change: &str, (channel, outgoing, hash, amount_msat, cltv_expiry): &Key) -> Value {
    json!({
        "htlc": change,
        "way": if *outgoing { "out" } else { "in" },
        "channel_id": hex(channel),
        "payment_hash": hex(hash),
        "amount_msat": amount_msat,
        "cltv_expiry": cltv_expiry,
    })
}
