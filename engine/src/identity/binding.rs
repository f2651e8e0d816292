//! Owns the states of one binding of a wallet to a DID. Does not own the checks of orders (`book`), timers, nor the calls to
//! Layer 0.
//!
//! ```text
//! Proposed -> Checking -> Bound -> Expired | Revoked
//!     |          |   ^      |
//!     |          |   +------+--- passed on by both keys
//!     |          |   |      v
//!     |          |   +-- Rotated (Layer 0 named another DID; it has not signed yet)
//!     +-> Refused <-+
//! ```
//!
//! `Expired`, `Revoked` and `Refused` are final. Only `Bound` counts; while a new DID is checked the wallet is not bound.

use super::challenge::Challenge;
use super::did::{DidKey, own_key};
use super::wallet::{OwnWallet, Purpose, Scripts};
use crate::id::{BindingId, Did, PartyId};
use crate::layer0::{DidRecord, DidState};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// A party's own wallet and the DID that it is bound to, or shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// Whose wallet it is.
    pub party: PartyId,
    /// The DID that speaks for the wallet.
    pub did: Did,
    /// The wallet as given.
    pub wallet: OwnWallet,
    /// What it may be used for.
    pub purpose: Purpose,
    /// How long it holds once it is bound.
    pub valid_for: Span,
    /// What was to be signed.
    pub challenge: Challenge,
    /// Where it stands.
    pub state: BindingState,
    /// Its end, known since it was first bound; a rotation does not move it.
    pub until: Option<Timestamp>,
    /// How often it was passed on to another DID.
    pub rotations: u32,
    /// How often Layer 0 was asked about the present DID.
    pub attempts: u32,
    /// The keys that spoke for the DID when it was last confirmed, in multibase.
    pub(super) keys: Vec<String>,
    #[serde(skip)]
    pub(super) scripts: Scripts,
}

/// Where a binding stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingState {
    /// The challenge waits for its answer.
    Proposed,
    /// The proofs are there; Layer 0 is asked about the DID.
    Checking(Claim),
    /// It counts.
    Bound,
    /// Layer 0 named another DID, which has not signed yet.
    Rotated {
        /// Which.
        to: Did,
    },
    /// Final: its time is over.
    Expired,
    /// Final.
    Revoked {
        /// On whose word.
        by: RevokedBy,
    },
    /// Final: it never came to count, or a new DID did not pass the check.
    Refused {
        /// Why.
        reason: NotBound,
    },
}

/// A signature of the DID that can only be checked when its keys are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    pub(super) text: String,
    pub(super) signature_hex: String,
}

/// On whose word a binding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBy {
    /// The party's command.
    Party,
    /// Layer 0: the DID's credential was revoked.
    Layer0,
}

/// Why a wallet did not come to be bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotBound {
    /// Nobody answered the challenge in time.
    ChallengeExpired,
    /// Layer 0 does not know the DID.
    DidUnknown,
    /// Layer 0 says that it may not be acted for.
    DidNotActive(DidState),
    /// None of the keys that Layer 0 names made the signature.
    WrongSignature,
}

/// Why a wallet that was bound is so no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its time is over.
    Expired,
    /// Somebody has ended it.
    Revoked(RevokedBy),
    /// Layer 0 has named another DID, which must sign first.
    Rotated {
        /// Which.
        to: Did,
    },
    /// It is being passed on to another DID, about which Layer 0 is asked first.
    PassedOn {
        /// Which.
        to: Did,
    },
}

/// What came of Layer 0's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It counts until then.
    Bound {
        /// Its end.
        until: Timestamp,
    },
    /// It does not.
    Refused {
        /// Why.
        reason: NotBound,
    },
}

use BindingState as State;

impl Binding {
    /// Whether it counts.
    pub fn is_bound(&self) -> bool {
        self.state == State::Bound
    }

    /// Whether nothing more can come of it.
    pub fn is_final(&self) -> bool {
        match self.state {
            State::Expired | State::Revoked { .. } | State::Refused { .. } => true,
            State::Proposed | State::Checking(_) | State::Bound | State::Rotated { .. } => false,
        }
    }

    /// One word for its state.
    pub const fn word(&self) -> &'static str {
        match self.state {
            State::Proposed => "proposed",
            State::Checking(_) => "checking",
            State::Bound => "bound",
            State::Rotated { .. } => "rotated",
            State::Expired => "expired",
            State::Revoked { .. } => "revoked",
            State::Refused { .. } => "refused",
        }
    }

    /// The challenge was answered, and the wallet's proof was checked.
    pub(super) fn on_answered(&mut self, claim: Claim) {
        if self.state == State::Proposed {
            self.state = State::Checking(claim);
            self.attempts = 0;
        }
    }

    /// The DID that it is passed on to has signed, and so has the old one unless Layer 0 named the new one.
    pub(super) fn on_passed_on(&mut self, to: Did, claim: Claim) {
        match self.state {
            State::Bound | State::Rotated { .. } => {
                self.did = to;
                self.keys.clear();
                self.attempts = 0;
                self.rotations = self.rotations.saturating_add(1);
                self.state = State::Checking(claim);
            }
            State::Proposed
            | State::Checking(_)
            | State::Expired
            | State::Revoked { .. }
            | State::Refused { .. } => {}
        }
    }

    /// Layer 0 has answered. `None` if nothing was asked.
    pub(super) fn on_status(
        &mut self,
        now: Timestamp,
        status: Result<&DidRecord, NotBound>,
    ) -> Option<Confirmed> {
        let State::Checking(claim) = &self.state else {
            return None;
        };
        match status.and_then(|status| keys_that_count(&self.did, status, claim)) {
            Ok(keys) => {
                let until = self.until.unwrap_or(now.plus(self.valid_for));
                self.keys = keys;
                self.until = Some(until);
                self.state = State::Bound;
                Some(Confirmed::Bound { until })
            }
            Err(reason) => {
                self.state = State::Refused {
                    reason: reason.clone(),
                };
                Some(Confirmed::Refused { reason })
            }
        }
    }

    /// Nobody has answered the challenge in time. Whether that changed anything.
    pub(super) fn on_challenge_over(&mut self) -> bool {
        let waited = self.state == State::Proposed;
        if waited {
            self.state = State::Refused {
                reason: NotBound::ChallengeExpired,
            };
        }
        waited
    }

    /// Its time is over. Whether that changed anything.
    pub(super) fn on_expiry(&mut self, now: Timestamp) -> bool {
        let over = !self.is_final() && self.until.is_some_and(|until| until <= now);
        if over {
            self.state = State::Expired;
        }
        over
    }

    /// Whether that changed anything.
    pub(super) fn on_revoked(&mut self, by: RevokedBy) -> bool {
        let changed = !self.is_final();
        if changed {
            self.state = State::Revoked { by };
        }
        changed
    }

    /// Layer 0 says that another DID has taken the place of this one. A binding that was never bound is revoked: nothing is
    /// there to be passed on. Whether that changed anything.
    pub(super) fn on_rotated(&mut self, to: &Did) -> bool {
        match self.state {
            State::Bound | State::Rotated { .. } => {
                self.state = State::Rotated { to: to.clone() };
                true
            }
            State::Checking(_) if self.until.is_some() => {
                self.state = State::Rotated { to: to.clone() };
                true
            }
            State::Proposed | State::Checking(_) => self.on_revoked(RevokedBy::Layer0),
            State::Expired | State::Revoked { .. } | State::Refused { .. } => false,
        }
    }
}

/// The keys that spoke for the DID: its own, or one that Layer 0 names and that made the claim's signature.
fn keys_that_count(did: &Did, status: &DidRecord, claim: &Claim) -> Result<Vec<String>, NotBound> {
    if status.state != DidState::Active {
        return Err(NotBound::DidNotActive(status.state));
    }
    if let Ok(Some(key)) = own_key(did) {
        return Ok(vec![key.to_multibase()]);
    }
    let signed = |key: &DidKey| key.verify(&claim.text, &claim.signature_hex).is_ok();
    let known = status.keys.iter();
    let mut keys = known.filter_map(|key| DidKey::from_multibase(key).ok());
    match keys.find(signed) {
        Some(key) => Ok(vec![key.to_multibase()]),
        None => Err(NotBound::WrongSignature),
    }
}
