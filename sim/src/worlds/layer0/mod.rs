//! Owns Layer 0 of both worlds: one stateful model of the system that knows identities, reached over HTTP. Pure and
//! synchronous: time comes in, bytes come in and go out, and nothing is drawn at random. Does not own sockets and waiting
//! (the worlds' transports) nor who has which identity (`run`).
//!
//! Fault model: none of its own yet; its process and its link can be troubled as every other one.

mod calls;
mod news;
#[cfg(test)]
mod tests;

use super::gateway::{Request, Response, WebhookDelivery};
use serde_json::json;
use std::collections::BTreeMap;

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
    webhook_secret: String,
    news: news::News,
    identities: BTreeMap<String, Known>,
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
            webhook_secret: config.webhook_secret,
            news: news::News::default(),
            identities: config.identities.into_iter().map(known).collect(),
        }
    }

    /// Changes an identity's state; false if it is not known.
    pub fn set_state(&mut self, did: &str, state: DidState) -> bool {
        let known = self.identities.get_mut(did);
        known.map(|known| known.state = state).is_some()
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
    pub fn handle(&mut self, _now_ms: u64, request: &Request) -> Response {
        calls::handle(self, request)
    }
}
