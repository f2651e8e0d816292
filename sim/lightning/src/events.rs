//! What a node tells its owner, and the queue that loses no event across a crash.
//!
//! Owns [`NodeEvent`] and the queue's encoding. Does not own when the queue is written: `background` stores it in one
//! record with LDK's channel manager, so that an event leaves LDK's queue and enters this one in a single write.

use std::collections::VecDeque;

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::events::PaymentFailureReason;
use lightning::ln::channelmanager::PaymentId;
use lightning::ln::msgs::DecodeError;
use lightning::ln::types::ChannelId;
use lightning::util::ser::{Readable as _, Writeable as _};
use lightning_types::payment::{PaymentHash, PaymentPreimage};

/// Something that happened in a node, in the past tense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A channel's funding transaction was agreed on and is now waited for on chain.
    ChannelPending {
        /// The channel.
        channel_id: ChannelId,
        /// The owner's id of the channel.
        user_channel_id: u128,
        /// The other end.
        peer: PublicKey,
        /// The funding output.
        funding: OutPoint,
    },
    /// A channel can be used.
    ChannelReady {
        /// The channel.
        channel_id: ChannelId,
        /// The owner's id of the channel.
        user_channel_id: u128,
        /// The other end.
        peer: PublicKey,
    },
    /// A channel is no more; its money may still have to be claimed on chain.
    ChannelClosed {
        /// The channel.
        channel_id: ChannelId,
        /// The owner's id of the channel.
        user_channel_id: u128,
        /// The other end.
        peer: Option<PublicKey>,
        /// LDK's words.
        reason: String,
    },
    /// A payment to a hold invoice arrived and waits for `claim_held` or `fail_held`.
    PaymentReceivable {
        /// The hash of the hold invoice.
        payment_hash: PaymentHash,
        /// The amount held.
        amount_msat: u64,
        /// The height before which the payment must be claimed.
        claim_deadline: Option<u32>,
    },
    /// A payment was claimed and is ours.
    PaymentReceived {
        /// The hash of the invoice.
        payment_hash: PaymentHash,
        /// The amount received.
        amount_msat: u64,
    },
    /// A held payment was given back to its payer.
    HoldReleased {
        /// The hash of the hold invoice.
        payment_hash: PaymentHash,
    },
    /// An outgoing payment succeeded.
    PaymentSent {
        /// The payer's id of the payment.
        payment_id: PaymentId,
        /// The hash of the invoice.
        payment_hash: PaymentHash,
        /// The proof of payment.
        preimage: PaymentPreimage,
        /// Fees paid to forwarding nodes.
        fee_paid_msat: u64,
    },
    /// An outgoing payment failed for good.
    PaymentFailed {
        /// The payer's id of the payment.
        payment_id: PaymentId,
        /// The hash of the invoice.
        payment_hash: Option<PaymentHash>,
        /// Why.
        reason: FailureReason,
    },
    /// A payment of others went through this node.
    PaymentForwarded {
        /// The channel the payment came in by.
        prev_channel: Option<ChannelId>,
        /// The channel the payment went out by.
        next_channel: Option<ChannelId>,
        /// The fee earned; unknown when the outgoing HTLC was settled on chain before this node knew.
        fee_msat: Option<u64>,
        /// The amount that went out.
        amount_msat: Option<u64>,
        /// Whether the outgoing HTLC was claimed on chain.
        claimed_on_chain: bool,
    },
}

/// Why an outgoing payment failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The payee refused.
    RecipientRejected,
    /// The payer gave up.
    UserAbandoned,
    /// No time or attempt was left.
    RetriesExhausted,
    /// The invoice expired.
    PaymentExpired,
    /// There is no route within the limits.
    RouteNotFound,
    /// The node stopped before the payment had left it.
    NeverSent,
    /// Anything else.
    Unexpected,
}

impl From<Option<PaymentFailureReason>> for FailureReason {
    fn from(reason: Option<PaymentFailureReason>) -> Self {
        match reason {
            Some(PaymentFailureReason::RecipientRejected) => FailureReason::RecipientRejected,
            Some(PaymentFailureReason::UserAbandoned) => FailureReason::UserAbandoned,
            Some(PaymentFailureReason::RetriesExhausted) => FailureReason::RetriesExhausted,
            Some(PaymentFailureReason::PaymentExpired) => FailureReason::PaymentExpired,
            Some(PaymentFailureReason::RouteNotFound) => FailureReason::RouteNotFound,
            Some(_) | None => FailureReason::Unexpected,
        }
    }
}

/// How these types stand on the disk: LDK's type-length-value records.
#[expect(clippy::drop_non_drop, reason = "LDK's macros drop references")]
mod encoding {
    use lightning::impl_writeable_tlv_based_enum;

    use super::{FailureReason, NodeEvent};

    impl_writeable_tlv_based_enum!(FailureReason,
        (0, RecipientRejected) => {},
        (1, UserAbandoned) => {},
        (2, RetriesExhausted) => {},
        (3, PaymentExpired) => {},
        (4, RouteNotFound) => {},
        (5, NeverSent) => {},
        (6, Unexpected) => {},
    );

    impl_writeable_tlv_based_enum!(NodeEvent,
        (0, ChannelPending) => {
            (0, channel_id, required), (2, user_channel_id, required), (4, peer, required), (6, funding, required),
        },
        (1, ChannelReady) => { (0, channel_id, required), (2, user_channel_id, required), (4, peer, required), },
        (2, ChannelClosed) => {
            (0, channel_id, required), (2, user_channel_id, required), (3, peer, option), (4, reason, required),
        },
        (3, PaymentReceivable) => {
            (0, payment_hash, required), (2, amount_msat, required), (3, claim_deadline, option),
        },
        (4, PaymentReceived) => { (0, payment_hash, required), (2, amount_msat, required), },
        (5, HoldReleased) => { (0, payment_hash, required), },
        (6, PaymentSent) => {
            (0, payment_id, required), (2, payment_hash, required), (4, preimage, required), (6, fee_paid_msat, required),
        },
        (7, PaymentFailed) => { (0, payment_id, required), (1, payment_hash, option), (2, reason, required), },
        (8, PaymentForwarded) => {
            (1, prev_channel, option), (3, next_channel, option), (5, fee_msat, option), (7, amount_msat, option),
            (8, claimed_on_chain, required),
        },
    );
}

/// An event with its number. The number is the event's identity: a repetition after a crash carries the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Counts from 0 over the whole life of the node, restarts included.
    pub seq: u64,
    /// What happened.
    pub event: NodeEvent,
}

/// Events that were not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    next_seq: u64,
    waiting: VecDeque<Notice>,
    /// Events below this number were handed out since the start.
    handed_out: u64,
    /// Whether the stored copy is older than this one.
    pub(crate) dirty: bool,
}

impl EventQueue {
    pub(crate) fn push(&mut self, event: NodeEvent) {
        self.waiting.push_back(Notice {
            seq: self.next_seq,
            event,
        });
        self.next_seq += 1;
        self.dirty = true;
    }

    /// Events that were not handed out since the start; only to be called when the queue is on disk.
    pub(crate) fn hand_out(&mut self) -> Vec<Notice> {
        let fresh = self
            .waiting
            .iter()
            .filter(|notice| notice.seq >= self.handed_out)
            .cloned()
            .collect();
        self.handed_out = self.next_seq;
        fresh
    }

    /// Whether this very event waits already.
    pub(crate) fn contains(&self, event: &NodeEvent) -> bool {
        self.waiting.iter().any(|notice| notice.event == *event)
    }

    /// Forgets every event up to and including `seq`. Not worth a write of its own: a crash before the next one repeats
    /// events whose numbers the owner knows.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        while self.waiting.front().is_some_and(|notice| notice.seq <= seq) {
            self.waiting.pop_front();
        }
    }

    /// Whether an event waits to be handed out.
    pub(crate) fn has_fresh(&self) -> bool {
        self.handed_out < self.next_seq && self.waiting.back().is_some()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.next_seq.to_be_bytes().to_vec();
        bytes.extend((self.waiting.len() as u64).to_be_bytes());
        for notice in &self.waiting {
            bytes.extend(notice.seq.to_be_bytes());
            let event = notice.event.encode();
            bytes.extend((event.len() as u64).to_be_bytes());
            bytes.extend(event);
        }
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<EventQueue, DecodeError> {
        let reader = &mut bytes;
        let next_seq = u64::read(reader)?;
        let mut waiting = VecDeque::new();
        for _ in 0..u64::read(reader)? {
            let seq = u64::read(reader)?;
            let length =
                usize::try_from(u64::read(reader)?).map_err(|_| DecodeError::InvalidValue)?;
            let (mut encoded, rest) = reader
                .split_at_checked(length)
                .ok_or(DecodeError::ShortRead)?;
            *reader = rest;
            waiting.push_back(Notice {
                seq,
                event: NodeEvent::read(&mut encoded)?,
            });
        }
        let handed_out = waiting.front().map_or(next_seq, |notice| notice.seq);
        Ok(EventQueue {
            next_seq,
            waiting,
            handed_out,
            dirty: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(n: u8) -> NodeEvent {
        NodeEvent::PaymentReceived {
            payment_hash: PaymentHash([n; 32]),
            amount_msat: u64::from(n),
        }
    }

    #[test]
    fn unacknowledged_events_come_again_with_their_number() {
        let mut queue = EventQueue::default();
        for n in 0..3 {
            queue.push(received(n));
        }
        assert_eq!(queue.hand_out().len(), 3);
        assert!(queue.hand_out().is_empty());
        queue.acknowledge(0);

        let mut restored = EventQueue::decode(&queue.encode()).unwrap();
        assert!(restored.has_fresh());
        let again = restored.hand_out();
        assert_eq!(
            again,
            [
                Notice {
                    seq: 1,
                    event: received(1)
                },
                Notice {
                    seq: 2,
                    event: received(2)
                }
            ]
        );
        restored.push(received(9));
        assert_eq!(restored.hand_out()[0].seq, 3);
    }

    #[test]
    fn every_kind_of_event_survives_the_disk() {
        let mut queue = EventQueue::default();
        let (hash, id) = (PaymentHash([1; 32]), PaymentId([2; 32]));
        queue.push(NodeEvent::ChannelClosed {
            channel_id: ChannelId([3; 32]),
            user_channel_id: u128::MAX,
            peer: None,
            reason: "gone".to_owned(),
        });
        queue.push(NodeEvent::PaymentFailed {
            payment_id: id,
            payment_hash: Some(hash),
            reason: FailureReason::NeverSent,
        });
        queue.push(NodeEvent::PaymentForwarded {
            prev_channel: None,
            next_channel: Some(ChannelId([4; 32])),
            fee_msat: Some(7),
            amount_msat: None,
            claimed_on_chain: true,
        });
        queue.push(NodeEvent::PaymentReceivable {
            payment_hash: hash,
            amount_msat: 1,
            claim_deadline: Some(5),
        });
        let restored = EventQueue::decode(&queue.encode()).unwrap();
        assert_eq!(restored.waiting, queue.waiting);
    }
}
