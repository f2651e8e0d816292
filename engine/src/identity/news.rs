//! Owns what Layer 0 tells by itself: the form of its webhooks. Does not own their signatures (`fiat::webhook` checks them,
//! with Layer 0's own secrets) nor what follows (`binding`).

use crate::id::Did;
use serde::Deserialize;

/// Something has happened to a DID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DidNews {
    /// `did.revoked`: nobody may act for it any more.
    Revoked {
        /// Which.
        did: Did,
    },
    /// `did.rotated`: another has taken its place.
    Rotated {
        /// Which.
        did: Did,
        /// The other.
        to: Did,
    },
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    did: Did,
    #[serde(default)]
    to: Option<Did>,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

impl DidNews {
    /// Whether a webhook claims to be Layer 0's: its kind begins with `did.`. Then Layer 0's secrets must have signed it.
    pub fn claims(body: &str) -> bool {
        let kind = serde_json::from_str::<Kind>(body);
        kind.is_ok_and(|envelope| envelope.kind.starts_with("did."))
    }

    /// Reads a webhook; `None` if it is not Layer 0's, or of a kind that is not known.
    pub fn read(body: &str) -> Option<DidNews> {
        let envelope: Envelope = serde_json::from_str(body).ok()?;
        let Data { did, to } = envelope.data;
        match (envelope.kind.as_str(), to) {
            ("did.revoked", _) => Some(DidNews::Revoked { did }),
            ("did.rotated", Some(to)) => Some(DidNews::Rotated { did, to }),
            _ => None,
        }
    }
}
