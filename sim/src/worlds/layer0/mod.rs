//! Owns Layer 0 of both worlds: one stateful model of the system that knows identities, reached over HTTP. Pure and
//! synchronous: time comes in, bytes come in and go out, and nothing is drawn at random. Does not own sockets and waiting
//! (the worlds' transports) nor who has which identity (`run`).
//!
//! Fault model: none of its own yet; its process and its link can be troubled as every other one.

mod calls;
#[cfg(test)]
mod tests;

use super::gateway::{Request, Response};
use std::collections::BTreeMap;

pub use lockstep_engine::layer0::DidState;

/// Layer 0's own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer0Config {
    /// Expected after `Authorization: Bearer `.
    pub token: String,
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
            identities: config.identities.into_iter().map(known).collect(),
        }
    }

    /// Changes an identity's state; false if it is not known.
    pub fn set_state(&mut self, did: &str, state: DidState) -> bool {
        let known = self.identities.get_mut(did);
        known.map(|known| known.state = state).is_some()
    }

    /// Answers a request at `now_ms` (milliseconds since 1970).
    pub fn handle(&mut self, _now_ms: u64, request: &Request) -> Response {
        calls::handle(self, request)
    }
}
