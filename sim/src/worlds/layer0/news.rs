//! Owns what Layer 0 tells by itself: that a DID was revoked or rotated, and what an escrow's agent has decided, as webhooks that are repeated until they are
//! acknowledged. Does not own their transport.

use crate::worlds::gateway::{WebhookDelivery, sign};
use serde_json::Value;

/// The first pause after an attempt that was not acknowledged, in milliseconds; then doubled.
const FIRST_PAUSE_MS: u64 = 10_000;

/// The longest pause, in milliseconds: an hour, and there is no last attempt.
const LONGEST_PAUSE_MS: u64 = 3_600_000;

#[derive(Clone, Debug)]
struct Queued {
    id: String,
    body: String,
    attempt: u32,
    /// Whether a refusal is an answer to it: what is signed does not become right by telling it again.
    is_final: bool,
    /// `None`: sent, and not answered.
    due_ms: Option<u64>,
}

/// What is not acknowledged yet.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    events: u32,
    queued: Vec<Queued>,
}

impl News {
    /// Queues an event of this kind.
    pub(super) fn tell(&mut self, now_ms: u64, kind: &str, data: &Value) {
        self.events += 1;
        let id = format!("did_evt_{}", self.events);
        let created = now_ms / 1_000;
        let body = serde_json::json!({ "id": id, "type": kind, "created": created, "data": data });
        self.queued.push(Queued {
            id,
            body: body.to_string(),
            attempt: 0,
            is_final: kind.starts_with("escrow."),
            due_ms: Some(now_ms),
        });
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.queued.iter().filter_map(|queued| queued.due_ms).min()
    }

    pub(super) fn clock_was_set(&mut self, by_ms: i64) {
        for due in self
            .queued
            .iter_mut()
            .filter_map(|queued| queued.due_ms.as_mut())
        {
            *due = due.saturating_add_signed(by_ms);
        }
    }

    pub(super) fn take_due(&mut self, now_ms: u64, secret: &str) -> Vec<WebhookDelivery> {
        let due = self.queued.iter_mut();
        let due = due.filter(|queued| queued.due_ms.is_some_and(|due| due <= now_ms));
        due.map(|queued| {
            queued.attempt += 1;
            queued.due_ms = None;
            WebhookDelivery {
                id: queued.id.clone(),
                attempt: queued.attempt,
                signature_header: sign(secret, now_ms / 1_000, &queued.body),
                body: queued.body.clone(),
            }
        })
        .collect()
    }

    pub(super) fn answered(&mut self, id: &str, status: Option<u16>, now_ms: u64) {
        let done = status.is_some_and(|status| (200..300).contains(&status));
        let refused = status == Some(400);
        self.queued
            .retain(|queued| queued.id != id || !(done || refused && queued.is_final));
        for queued in self.queued.iter_mut().filter(|queued| queued.id == id) {
            let doublings = queued.attempt.saturating_sub(1).min(20);
            let pause_ms = (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS);
            queued.due_ms = Some(now_ms.saturating_add(pause_ms));
        }
    }
}
