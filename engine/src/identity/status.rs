//! Owns what Layer 0 says about a DID: the form of its answer. Does not own the call, nor what follows from it (`binding`).

use super::did::{DidKey, KeyRefused};
use serde::{Deserialize, Serialize};

/// Whether a DID may be acted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DidState {
    /// Yes.
    Active,
    /// Not now.
    Suspended,
    /// Never again.
    Revoked,
}

/// Layer 0's answer to `GET /v1/dids/{did}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DidStatus {
    /// Which DID it is about.
    pub did: String,
    /// Whether it may be acted for.
    pub state: DidState,
    /// The keys that speak for it, in multibase.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// Why an answer cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusRefused {
    /// Not the JSON that is agreed upon.
    #[error("Layer 0's answer cannot be read: {cause}")]
    Malformed {
        /// The parser's words.
        cause: String,
    },
    /// About another DID.
    #[error("Layer 0 answered about `{did}`, which was not asked for")]
    OtherDid {
        /// Which.
        did: String,
    },
    /// A key that cannot be read.
    #[error("Layer 0 names the key `{key}`: {cause}")]
    Key {
        /// As given.
        key: String,
        /// Why.
        cause: KeyRefused,
    },
}

impl DidStatus {
    /// Reads an answer about `did`.
    ///
    /// # Errors
    /// When it is malformed or about another DID.
    pub fn parse(did: &str, body: &str) -> Result<DidStatus, StatusRefused> {
        let status: DidStatus =
            serde_json::from_str(body).map_err(|cause| StatusRefused::Malformed {
                cause: cause.to_string(),
            })?;
        if status.did != did {
            return Err(StatusRefused::OtherDid { did: status.did });
        }
        Ok(status)
    }

    /// The keys, checked.
    ///
    /// # Errors
    /// At the first that cannot be read.
    pub fn checked_keys(&self) -> Result<Vec<DidKey>, StatusRefused> {
        let checked = self.keys.iter().map(|key| {
            DidKey::from_multibase(key).map_err(|cause| StatusRefused::Key {
                key: key.clone(),
                cause,
            })
        });
        checked.collect()
    }
}
