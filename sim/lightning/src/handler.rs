//! What each LDK event does.
//!
//! Owns the reactions, each of which may run again after a crash with the same result. Does not own the queue's storing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::{Amount, ScriptBuf, Transaction};
use lightning::events::{
    Event, FundingInfo, HTLCHandlingFailureType, PathFailure, PaymentPurpose, ReplayEvent,
};
use lightning::ln::channelmanager::PaymentId;
use lightning::ln::types::ChannelId;
use lightning::routing::scoring::ScoreUpdate as _;
use lightning::sign::EntropySource as _;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::channels::anchor_reserve_sat;
use crate::config::ANCHOR_RESERVE_PER_CHANNEL_SAT;
use crate::disk::DiskError;
use crate::events::NodeEvent;
use crate::node::Inner;
use crate::records::{self, IncomingRecord, IncomingStatus, OutgoingStatus};

/// Reacts to one event. An error makes LDK keep the event.
pub(crate) fn handle(inner: &Inner, event: Event, now: Duration) -> Result<(), ReplayEvent> {
    learn(inner, &event, now);
    match event {
        Event::FundingGenerationReady {
            temporary_channel_id,
            counterparty_node_id,
            channel_value_satoshis,
            output_script,
            ..
        } => {
            let amount = Amount::from_sat(channel_value_satoshis);
            fund(
                inner,
                temporary_channel_id,
                counterparty_node_id,
                (output_script, amount),
            );
        }
        Event::OpenChannelRequest {
            temporary_channel_id,
            counterparty_node_id,
            channel_type,
            ..
        } => {
            let anchors = channel_type.requires_anchors_zero_fee_htlc_tx();
            answer_open(inner, temporary_channel_id, counterparty_node_id, anchors);
        }
        Event::SpendableOutputs {
            outputs,
            channel_id,
        } => {
            let tracked = inner
                .sweeper
                .track_spendable_outputs(outputs, channel_id, true, None);
            // The next sweep is at most half a minute away; a static output is the wallet's already.
            inner.sweep_due.store(true, Ordering::Relaxed);
            return tracked.map_err(|()| ReplayEvent());
        }
        Event::BumpTransaction(bump) => inner.bumper.handle_event(&bump),
        Event::DiscardFunding {
            funding_info: FundingInfo::Tx { transaction },
            ..
        } => {
            discard(inner, &transaction);
        }
        other => on_payment_event(inner, other).map_err(|_: DiskError| ReplayEvent())?,
    }
    Ok(())
}

/// Events of payments, and those that are only passed on.
fn on_payment_event(inner: &Inner, event: Event) -> Result<(), DiskError> {
    match event {
        Event::PaymentClaimable {
            payment_hash,
            amount_msat,
            purpose,
            claim_deadline,
            ..
        } => {
            on_claimable(inner, payment_hash, amount_msat, &purpose, claim_deadline)?;
        }
        Event::PaymentClaimed {
            payment_hash,
            amount_msat,
            ..
        } => {
            on_claimed(inner, payment_hash, amount_msat)?;
        }
        Event::PaymentSent {
            payment_id: Some(payment_id),
            payment_hash,
            payment_preimage: preimage,
            fee_paid_msat,
            ..
        } => {
            let fee_paid_msat = fee_paid_msat.unwrap_or(0);
            on_sent(inner, payment_id, (payment_hash, preimage), fee_paid_msat)?;
        }
        Event::PaymentFailed {
            payment_id,
            payment_hash,
            reason,
        } => {
            let reason = reason.into();
            if settle_outgoing(inner, payment_id, OutgoingStatus::Failed { reason })? {
                push(
                    inner,
                    NodeEvent::PaymentFailed {
                        payment_id,
                        payment_hash,
                        reason,
                    },
                );
            }
        }
        Event::HTLCHandlingFailed {
            failure_type: HTLCHandlingFailureType::Receive { payment_hash },
            ..
        } => on_receive_failed(inner, payment_hash)?,
        other => {
            if let Some(event) = told_as_is(other) {
                push(inner, event);
            }
        }
    }
    Ok(())
}

/// Events that change nothing here and are only passed on.
fn told_as_is(event: Event) -> Option<NodeEvent> {
    Some(match event {
        Event::ChannelPending {
            channel_id,
            user_channel_id,
            counterparty_node_id,
            funding_txo,
            ..
        } => NodeEvent::ChannelPending {
            channel_id,
            user_channel_id,
            peer: counterparty_node_id,
            funding: funding_txo,
        },
        Event::ChannelReady {
            channel_id,
            user_channel_id,
            counterparty_node_id,
            ..
        } => NodeEvent::ChannelReady {
            channel_id,
            user_channel_id,
            peer: counterparty_node_id,
        },
        Event::ChannelClosed {
            channel_id,
            user_channel_id,
            counterparty_node_id,
            reason,
            ..
        } => NodeEvent::ChannelClosed {
            channel_id,
            user_channel_id,
            peer: counterparty_node_id,
            reason: reason.to_string(),
        },
        Event::PaymentForwarded {
            prev_channel_id,
            next_channel_id,
            total_fee_earned_msat,
            outbound_amount_forwarded_msat,
            claim_from_onchain_tx,
            ..
        } => NodeEvent::PaymentForwarded {
            prev_channel: prev_channel_id,
            next_channel: next_channel_id,
            fee_msat: total_fee_earned_msat,
            amount_msat: outbound_amount_forwarded_msat,
            claimed_on_chain: claim_from_onchain_tx,
        },
        _ => return None,
    })
}

fn push(inner: &Inner, event: NodeEvent) {
    inner.queue().push(event);
}

/// What graph and scorer learn from an event, as in LDK's background processor.
fn learn(inner: &Inner, event: &Event, now: Duration) {
    if let Event::PaymentPathFailed {
        failure: PathFailure::OnPath {
            network_update: Some(update),
        },
        ..
    } = event
    {
        inner.graph.handle_network_update(update);
    }
    let mut scorer = inner.scorer.lock().expect("no user of this lock panics");
    match event {
        Event::PaymentPathFailed {
            path,
            short_channel_id: Some(channel),
            ..
        } => {
            scorer.payment_path_failed(path, *channel, now);
        }
        Event::PaymentPathFailed {
            path,
            payment_failed_permanently: true,
            ..
        } => scorer.probe_successful(path, now),
        Event::PaymentPathSuccessful { path, .. } => scorer.payment_path_successful(path, now),
        _ => {}
    }
}

/// Builds the funding transaction; a channel that cannot be funded is given up.
///
/// A stop after signing loses only memory: LDK forgets an unfunded channel at a restart, and nothing was broadcast.
fn fund(
    inner: &Inner,
    channel: ChannelId,
    peer: bitcoin::secp256k1::PublicKey,
    (script, amount): (ScriptBuf, Amount),
) {
    let height = inner.channels.current_best_block().height;
    match inner
        .wallet
        .fund_channel(script, amount, height, inner.now_secs())
    {
        Ok(tx) => {
            if inner
                .channels
                .funding_transaction_generated(channel, peer, tx.clone())
                .is_err()
            {
                discard(inner, &tx); // the channel went away meanwhile
            }
        }
        Err(error) => reject(inner, channel, peer, &format!("funding failed: {error}")),
    }
}

/// The coins of a funding transaction that will never be broadcast are free again.
fn discard(inner: &Inner, tx: &Transaction) {
    // A failed write stops the node by itself.
    let _ = inner.wallet.evicted(&[tx.compute_txid()], inner.now_secs());
}

/// Accepts a channel if the anchor reserve for one more is in the wallet, as `ldk-node` does.
fn answer_open(
    inner: &Inner,
    channel: ChannelId,
    peer: bitcoin::secp256k1::PublicKey,
    anchors: bool,
) {
    let spendable_sat = inner
        .wallet
        .balance(anchor_reserve_sat(inner))
        .spendable_sat;
    if anchors && spendable_sat < ANCHOR_RESERVE_PER_CHANNEL_SAT {
        return reject(inner, channel, peer, "Channel request rejected");
    }
    let random = inner.keys.get_secure_random_bytes();
    let user_channel_id =
        u128::from_be_bytes(*random.first_chunk().expect("32 bytes are more than 16"));
    // Fails only when the peer withdrew.
    let _ = inner
        .channels
        .accept_inbound_channel(&channel, &peer, user_channel_id, None);
}

fn reject(inner: &Inner, channel: ChannelId, peer: bitcoin::secp256k1::PublicKey, reason: &str) {
    // Fails only when the channel is gone already.
    let _ = inner
        .channels
        .force_close_broadcasting_latest_txn(&channel, &peer, reason.to_owned());
}

fn on_claimable(
    inner: &Inner,
    payment_hash: PaymentHash,
    amount_msat: u64,
    purpose: &PaymentPurpose,
    claim_deadline: Option<u32>,
) -> Result<(), DiskError> {
    let record = records::incoming(&inner.store, &payment_hash)?;
    if let Some(IncomingRecord {
        status: IncomingStatus::Received { .. },
        ..
    }) = record
    {
        inner.channels.fail_htlc_backwards(&payment_hash); // an invoice is paid once
        return Ok(());
    }
    if let Some(preimage) = purpose.preimage() {
        inner.channels.claim_funds(preimage);
        return Ok(());
    }
    let Some(record) = record.filter(|record| record.hold) else {
        inner.channels.fail_htlc_backwards(&payment_hash);
        return Ok(());
    };
    let held = IncomingRecord {
        status: IncomingStatus::Held { amount_msat },
        ..record
    };
    records::put_incoming(&inner.store, &payment_hash, &held)?;
    push(
        inner,
        NodeEvent::PaymentReceivable {
            payment_hash,
            amount_msat,
            claim_deadline,
        },
    );
    Ok(())
}

fn on_claimed(inner: &Inner, payment_hash: PaymentHash, amount_msat: u64) -> Result<(), DiskError> {
    let known = records::incoming(&inner.store, &payment_hash)?;
    let hold = known.is_some_and(|record| record.hold);
    let asked_msat = known.and_then(|record| record.amount_msat);
    let status = IncomingStatus::Received { amount_msat };
    records::put_incoming(
        &inner.store,
        &payment_hash,
        &IncomingRecord {
            amount_msat: asked_msat,
            hold,
            status,
        },
    )?;
    push(
        inner,
        NodeEvent::PaymentReceived {
            payment_hash,
            amount_msat,
        },
    );
    Ok(())
}

fn on_sent(
    inner: &Inner,
    payment_id: PaymentId,
    (payment_hash, preimage): (PaymentHash, PaymentPreimage),
    fee_paid_msat: u64,
) -> Result<(), DiskError> {
    let sent = OutgoingStatus::Sent {
        preimage,
        fee_paid_msat,
    };
    settle_outgoing(inner, payment_id, sent)?;
    let event = NodeEvent::PaymentSent {
        payment_id,
        payment_hash,
        preimage,
        fee_paid_msat,
    };
    push(inner, event);
    Ok(())
}

/// A held payment went back, on request or because its deadline came near.
fn on_receive_failed(inner: &Inner, payment_hash: PaymentHash) -> Result<(), DiskError> {
    let Some(record) = records::incoming(&inner.store, &payment_hash)? else {
        return Ok(());
    };
    if record.hold && !matches!(record.status, IncomingStatus::Received { .. }) {
        let released = IncomingRecord {
            status: IncomingStatus::Released,
            ..record
        };
        records::put_incoming(&inner.store, &payment_hash, &released)?;
        push(inner, NodeEvent::HoldReleased { payment_hash });
    }
    Ok(())
}

/// Writes down how a payment ended; whether it may be told. A failure after a success is LDK's echo and counts for nothing.
fn settle_outgoing(
    inner: &Inner,
    id: PaymentId,
    status: OutgoingStatus,
) -> Result<bool, DiskError> {
    let Some(mut record) = records::outgoing(&inner.store, &id)? else {
        return Ok(true);
    };
    if matches!(record.status, OutgoingStatus::Sent { .. })
        && matches!(status, OutgoingStatus::Failed { .. })
    {
        return Ok(false);
    }
    record.status = status;
    records::put_outgoing(&inner.store, &id, &record)?;
    Ok(true)
}
