//! Owns Layer 0 of both worlds: one stateful model of the system that knows identities and keeps a book of signed statements
//! about them, reached over HTTP. Pure and synchronous: time comes in, bytes come in and go out, and nothing is drawn at
//! random. Does not own sockets and waiting (the worlds' transports) nor who has which identity (`run`).
//!
//! Fault model: each fault is armed for the statements about one payment, or for questions about one DID, and counts its
//! effects. Requests can be lost, limited or fail with 500 before any effect; answers can be lost, cut, late or slow after
//! it; idempotency keys can be forgotten. Its process and its link can be troubled as every other one. The book itself is
//! never wrong: it is the ground truth of what was stated.

mod book;
mod calls;
mod news;
#[cfg(test)]
mod tests;

pub use book::{Book, Entry};

use super::gateway::{GatewayFault, HttpFaults, Request, Response, WebhookDelivery};
use crate::faults::FaultId;
use lockstep_engine::policy::ScoreRule;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub use lockstep_engine::layer0::DidState;

/// Layer 0's own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer0Config {
    /// Expected after `Authorization: Bearer `.
    pub token: String,
    /// Signs webhooks.
    pub webhook_secret: String,
    /// Who is known from the start.
    pub identities: Vec<Identity>,
    /// How a score follows from statements.
    pub rule: ScoreRule,
}

/// Somebody with a DID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The DID.
    pub did: String,
    /// Its public keys (multibase, multicodec), current first.
    pub keys: Vec<String>,
}

/// An identity as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    state: DidState,
    keys: Vec<String>,
}

/// Layer 0.
#[derive(Clone, Debug)]
pub struct Layer0 {
    token: String,
    rule: ScoreRule,
    webhook_secret: String,
    news: news::News,
    identities: BTreeMap<String, Known>,
    book: Book,
    /// Answers by idempotency key.
    remembered: BTreeMap<String, calls::Remembered>,
    faults: HttpFaults,
}

impl Layer0 {
    /// One that knows these identities, all of them active.
    pub fn new(config: Layer0Config) -> Layer0 {
        let known = |identity: Identity| {
            let state = DidState::Active;
            let keys = identity.keys;
            (identity.did, Known { state, keys })
        };
        Layer0 {
            token: config.token,
            rule: config.rule,
            webhook_secret: config.webhook_secret,
            news: news::News::default(),
            identities: config.identities.into_iter().map(known).collect(),
            book: Book::default(),
            remembered: BTreeMap::new(),
            faults: HttpFaults::default(),
        }
    }

    /// Where the run counts the effects of faults.
    pub fn count_in(&mut self, run: Arc<Mutex<crate::faults::Faults>>) {
        self.faults.count_in(run);
    }

    /// Arms a fault of an order's exchange whose effects are counted under `id`; its reference is a payment or a DID.
    pub fn arm_counted(&mut self, fault: GatewayFault, id: FaultId) {
        self.faults.arm(fault, Some(id));
    }

    /// Changes an identity's state; false if it is not known.
    pub fn set_state(&mut self, did: &str, state: DidState) -> bool {
        let known = self.identities.get_mut(did);
        known.map(|known| known.state = state).is_some()
    }

    /// Ground truth: what was stated.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The score of a DID at `now_ms`, in points.
    pub fn score(&self, did: &str, now_ms: u64) -> i64 {
        book::score(&self.rule, self.book.counted(did), now_ms)
    }

    /// Changes an identity's state and, if it is revoked, tells the engine; false if it is not known.
    pub fn decide(&mut self, now_ms: u64, did: &str, state: DidState) -> bool {
        let known = self.set_state(did, state);
        if known && state == DidState::Revoked {
            self.news
                .tell(now_ms, "did.revoked", &json!({ "did": did }));
        }
        known
    }

    /// Puts another identity in the place of this one, which is revoked, and tells the engine; false if it is not known.
    pub fn rotate(&mut self, now_ms: u64, did: &str, to: &str) -> bool {
        let known = self.set_state(did, DidState::Revoked);
        if known {
            let data = json!({ "did": did, "to": to });
            self.news.tell(now_ms, "did.rotated", &data);
        }
        known
    }

    /// Tells the engine what the agent of an escrow has signed: the escrow system's word goes the same way.
    pub fn tell_decision(&mut self, now_ms: u64, jws: &str) {
        self.news
            .tell(now_ms, "escrow.decided", &json!({ "jws": jws }));
    }

    /// Webhooks to send now.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<WebhookDelivery> {
        self.news.take_due(now_ms, &self.webhook_secret)
    }

    /// When the next webhook is due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.news.next_due_ms()
    }

    /// What became of a webhook.
    pub fn webhook_answered(&mut self, id: &str, status: Option<u16>, now_ms: u64) {
        self.news.answered(id, status, now_ms);
    }

    /// Its clock was set by so many milliseconds.
    pub fn clock_was_set(&mut self, by_ms: i64) {
        self.news.clock_was_set(by_ms);
    }

    /// Answers a request at `now_ms` (milliseconds since 1970).
    pub fn handle(&mut self, now_ms: u64, request: &Request) -> Response {
        calls::handle(self, now_ms, request)
    }
}
