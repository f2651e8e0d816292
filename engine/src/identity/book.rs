//! Owns the list of all bindings: the checks of orders about them, and the question which wallet a script belongs to.
//! Does not own the states (`binding`) nor what a payment does with the answer.

use super::binding::{Binding, BindingState, Claim, Confirmed, NotBound, RevokedBy};
use super::challenge::{Challenge, Subject, rotation_text};
use super::did::{DidKey, KeyRefused, SignatureRefused, own_key};
use super::proof::{ProofRefused, verify_proof};
use super::wallet::{OwnWallet, Purpose, WalletRefused, scripts_of};
use crate::id::{BindingId, Did, PartyId};
use crate::layer0::DidRecord;
use crate::planted::Bug;
use crate::policy::BindingPolicy;
use crate::rail::Entropy;
use crate::time::{Span, Timestamp};
use bitcoin::{Network, Script};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The order to bind a wallet; answered by a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterWallet {
    /// New.
    pub binding: BindingId,
    /// Whose wallet.
    pub party: PartyId,
    /// The DID that shall speak for it.
    pub did: Did,
    /// Which wallet.
    pub wallet: OwnWallet,
    /// What for.
    pub purpose: Purpose,
    /// For how long.
    pub valid_for: Span,
}

/// The answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveWallet {
    /// Which binding.
    pub binding: BindingId,
    /// BIP 322, over the challenge, by the wallet's address (of a descriptor: its first).
    pub wallet_proof: String,
    /// 64 bytes in hexadecimal, over the challenge, by the DID's key.
    pub did_signature: String,
}

/// The order to pass a binding on to another DID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateDid {
    /// Which binding.
    pub binding: BindingId,
    /// The DID that shall speak for the wallet from now on.
    pub to: Did,
    /// Of the DID until now, over [`rotation_text`]; not needed once Layer 0 has named the new one.
    pub old_signature: Option<String>,
    /// Of the new DID, over the same text.
    pub new_signature: String,
}

/// Why a wallet is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefused {
    /// There is no such party.
    #[error("there is no party `{party}`")]
    UnknownParty {
        /// Who.
        party: PartyId,
    },
    /// The name was used.
    #[error("the binding id `{binding}` was used")]
    IdUsed {
        /// Which.
        binding: BindingId,
    },
    /// A `did:key` whose key cannot be used.
    #[error("the DID cannot sign: {cause}")]
    Did {
        /// Why.
        #[from]
        cause: KeyRefused,
    },
    /// Not a wallet that can be bound.
    #[error("{cause}")]
    Wallet {
        /// Why.
        #[from]
        cause: WalletRefused,
    },
    /// Zero, or longer than the policy allows.
    #[error("a binding holds for more than zero and at most {most}, not {valid_for}")]
    SpanOutOfRange {
        /// As given.
        valid_for: Span,
        /// Of the policy.
        most: Span,
    },
    /// A script of it belongs to a binding that is not final.
    #[error("the wallet shares an address with binding `{binding}`")]
    AlreadyBound {
        /// Which.
        binding: BindingId,
    },
    /// The party has as many as the policy allows.
    #[error("the party has {most} bindings already")]
    TooMany {
        /// Of the policy.
        most: u32,
    },
}

/// Why an answer to a challenge does not count. The challenge still waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveRefused {
    /// There is no such binding.
    #[error("there is no binding `{binding}`")]
    Unknown {
        /// Which.
        binding: BindingId,
    },
    /// No challenge waits.
    #[error("binding `{binding}` is {state} and waits for no answer")]
    NotProposed {
        /// Which.
        binding: BindingId,
        /// Where it stands.
        state: &'static str,
    },
    /// Too late.
    #[error("the challenge of binding `{binding}` was to be answered before {answer_before}")]
    ChallengeExpired {
        /// Which.
        binding: BindingId,
        /// Until when.
        answer_before: Timestamp,
    },
    /// The wallet's proof.
    #[error("the wallet's proof is refused: {cause}")]
    Proof {
        /// Why.
        #[from]
        cause: ProofRefused,
    },
    /// The DID's signature.
    #[error("{cause}")]
    Signature {
        /// Why.
        #[from]
        cause: SignatureRefused,
    },
}

/// Why a binding is not passed on. It is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateRefused {
    /// There is no such binding.
    #[error("there is no binding `{binding}`")]
    Unknown {
        /// Which.
        binding: BindingId,
    },
    /// Only what is bound, or whose DID was rotated, can be passed on.
    #[error("binding `{binding}` is {state}, so there is nothing to pass on")]
    NotBound {
        /// Which.
        binding: BindingId,
        /// Where it stands.
        state: &'static str,
    },
    /// A `did:key` whose key cannot be used.
    #[error("the DID cannot sign: {cause}")]
    Did {
        /// Why.
        #[from]
        cause: KeyRefused,
    },
    /// It is that DID's already.
    #[error("the binding belongs to that DID already")]
    SameDid,
    /// Layer 0 named another.
    #[error("Layer 0 named `{to}` as the new DID")]
    OtherDid {
        /// Which.
        to: Did,
    },
    /// The old DID must sign too.
    #[error("the DID until now has not signed")]
    OldSignatureMissing,
    /// The old DID's signature.
    #[error("old DID: {cause}")]
    OldSignature {
        /// Why.
        cause: SignatureRefused,
    },
    /// The new DID's signature.
    #[error("new DID: {cause}")]
    NewSignature {
        /// Why.
        cause: SignatureRefused,
    },
}

/// Why a binding is not revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeRefused {
    /// There is no such binding.
    #[error("there is no binding `{binding}`")]
    Unknown {
        /// Which.
        binding: BindingId,
    },
    /// It has ended.
    #[error("binding `{binding}` is {state} already")]
    Ended {
        /// Which.
        binding: BindingId,
        /// Where it stands.
        state: &'static str,
    },
}

/// All bindings.
#[derive(Clone, Debug, Serialize)]
pub struct Bindings {
    #[serde(skip)]
    network: Network,
    by_id: BTreeMap<BindingId, Binding>,
    #[serde(skip)]
    planted: Option<Bug>,
}

impl Bindings {
    /// None yet.
    pub fn new(network: Network) -> Bindings {
        Bindings {
            network,
            by_id: BTreeMap::new(),
            planted: None,
        }
    }

    /// Makes it wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
    }

    /// One of them.
    pub fn get(&self, binding: &BindingId) -> Option<&Binding> {
        self.by_id.get(binding)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.by_id.values()
    }

    /// The party's bound wallet that the script belongs to, if it may be used for that.
    pub fn owner(&self, party: &PartyId, script: &Script, wanted: Purpose) -> Option<&Binding> {
        self.by_id.values().find(|binding| {
            binding.is_bound()
                && binding.party == *party
                && binding.purpose.serves(wanted)
                && binding.scripts.all.contains(script)
        })
    }

    /// Whether the order would be taken. That the party exists is checked by the caller.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_register(
        &self,
        policy: &BindingPolicy,
        order: &RegisterWallet,
    ) -> Result<(), RegisterRefused> {
        if self.by_id.contains_key(&order.binding) {
            return Err(RegisterRefused::IdUsed {
                binding: order.binding.clone(),
            });
        }
        own_key(&order.did)?;
        let (valid_for, most) = (order.valid_for, policy.longest);
        if valid_for == Span(0) || valid_for > most {
            return Err(RegisterRefused::SpanOutOfRange { valid_for, most });
        }
        let scripts = scripts_of(&order.wallet, self.network)?;
        let mut live = self.by_id.values().filter(|binding| !binding.is_final());
        let open = live.clone().filter(|binding| binding.party == order.party);
        let most = policy.most_per_party;
        if u32::try_from(open.count()).unwrap_or(u32::MAX) >= most {
            return Err(RegisterRefused::TooMany { most });
        }
        match live.find(|binding| !binding.scripts.all.is_disjoint(&scripts.all)) {
            Some(binding) => Err(RegisterRefused::AlreadyBound {
                binding: binding.id.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Takes the order; gives the challenge.
    ///
    /// # Panics
    /// If the order was not checked.
    pub fn register(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        policy: &BindingPolicy,
        order: &RegisterWallet,
    ) -> Challenge {
        let scripts =
            scripts_of(&order.wallet, self.network).expect("the wallet was checked on admission");
        let subject = Subject {
            binding: &order.binding,
            party: &order.party,
            did: &order.did,
            wallet: &order.wallet,
            purpose: order.purpose,
            valid_for: order.valid_for,
            network: self.network,
        };
        let challenge = Challenge::new(&subject, entropy, now.plus(policy.challenge_valid_for));
        let binding = Binding {
            id: order.binding.clone(),
            party: order.party.clone(),
            did: order.did.clone(),
            wallet: order.wallet.clone(),
            purpose: order.purpose,
            valid_for: order.valid_for,
            challenge: challenge.clone(),
            state: BindingState::Proposed,
            until: None,
            rotations: 0,
            attempts: 0,
            keys: Vec::new(),
            scripts,
        };
        self.by_id.insert(order.binding.clone(), binding);
        challenge
    }

    /// Whether the answer counts. For a `did:key` both proofs are checked here; of other methods the keys are not known yet.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_prove(&self, now: Timestamp, order: &ProveWallet) -> Result<(), ProveRefused> {
        let unknown = || ProveRefused::Unknown {
            binding: order.binding.clone(),
        };
        let binding = self.by_id.get(&order.binding).ok_or_else(unknown)?;
        if binding.state != BindingState::Proposed {
            return Err(ProveRefused::NotProposed {
                binding: order.binding.clone(),
                state: binding.word(),
            });
        }
        let answer_before = binding.challenge.answer_before;
        if now >= answer_before {
            return Err(ProveRefused::ChallengeExpired {
                binding: order.binding.clone(),
                answer_before,
            });
        }
        self.check_wallet_proof(binding, &order.wallet_proof)?;
        match own_key(&binding.did) {
            Ok(Some(key)) if self.planted != Some(Bug::SkipDidSignature) => {
                Ok(key.verify(&binding.challenge.text, &order.did_signature)?)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn check_wallet_proof(&self, binding: &Binding, proof: &str) -> Result<(), ProofRefused> {
        let over = |text: &str| verify_proof(&binding.scripts.proving, text, proof);
        if self.planted == Some(Bug::AcceptOtherChallenge) {
            let mut texts = self.by_id.values().map(|other| &other.challenge.text);
            if texts.any(|text| over(text).is_ok()) {
                return Ok(());
            }
        }
        over(&binding.challenge.text)
    }

    /// Takes the answer: Layer 0 must be asked next.
    pub fn prove(&mut self, order: &ProveWallet) {
        if let Some(binding) = self.by_id.get_mut(&order.binding) {
            let claim = Claim {
                text: binding.challenge.text.clone(),
                signature_hex: order.did_signature.clone(),
            };
            binding.on_answered(claim);
        }
    }

    /// Whether the binding would be passed on.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_rotate(&self, order: &RotateDid) -> Result<(), RotateRefused> {
        let unknown = || RotateRefused::Unknown {
            binding: order.binding.clone(),
        };
        let binding = self.by_id.get(&order.binding).ok_or_else(unknown)?;
        let to = &order.to;
        let key = own_key(to)?;
        if *to == binding.did {
            return Err(RotateRefused::SameDid);
        }
        let text = rotation_text(&binding.id, &binding.challenge, to, binding.rotations);
        match &binding.state {
            BindingState::Bound => check_old_signature(binding, &text, order)?,
            BindingState::Rotated { to: named } if named == to => {}
            BindingState::Rotated { to } => {
                return Err(RotateRefused::OtherDid { to: to.clone() });
            }
            BindingState::Proposed
            | BindingState::Checking(_)
            | BindingState::Expired
            | BindingState::Revoked { .. }
            | BindingState::Refused { .. } => {
                return Err(RotateRefused::NotBound {
                    binding: order.binding.clone(),
                    state: binding.word(),
                });
            }
        }
        match key {
            Some(key) => key
                .verify(&text, &order.new_signature)
                .map_err(|cause| RotateRefused::NewSignature { cause }),
            None => Ok(()),
        }
    }

    /// Passes the binding on: Layer 0 must be asked about the new DID next.
    pub fn rotate(&mut self, order: &RotateDid) {
        if let Some(binding) = self.by_id.get_mut(&order.binding) {
            let to = &order.to;
            let text = rotation_text(&binding.id, &binding.challenge, to, binding.rotations);
            let claim = Claim {
                text,
                signature_hex: order.new_signature.clone(),
            };
            binding.on_passed_on(to.clone(), claim);
        }
    }

    /// Whether the binding can be revoked.
    ///
    /// # Errors
    /// When there is none, or it has ended.
    pub fn check_revoke(&self, binding: &BindingId) -> Result<(), RevokeRefused> {
        match self.by_id.get(binding) {
            None => Err(RevokeRefused::Unknown {
                binding: binding.clone(),
            }),
            Some(found) if found.is_final() => Err(RevokeRefused::Ended {
                binding: binding.clone(),
                state: found.word(),
            }),
            Some(_) => Ok(()),
        }
    }

    /// Ends a binding. Whether that changed anything.
    pub fn revoke(&mut self, binding: &BindingId, by: RevokedBy) -> bool {
        let found = self.by_id.get_mut(binding);
        found.is_some_and(|binding| binding.on_revoked(by))
    }

    /// Counts one more question to Layer 0 about the binding's DID; gives the DID. `None` if nothing is to be asked.
    pub fn ask(&mut self, binding: &BindingId) -> Option<Did> {
        let binding = self.by_id.get_mut(binding)?;
        match binding.state {
            BindingState::Checking(_) => {
                binding.attempts = binding.attempts.saturating_add(1);
                Some(binding.did.clone())
            }
            BindingState::Proposed
            | BindingState::Bound
            | BindingState::Rotated { .. }
            | BindingState::Expired
            | BindingState::Revoked { .. }
            | BindingState::Refused { .. } => None,
        }
    }

    /// Layer 0 has answered about the binding's DID.
    pub fn on_status(
        &mut self,
        now: Timestamp,
        binding: &BindingId,
        status: Result<&DidRecord, NotBound>,
    ) -> Option<Confirmed> {
        self.by_id.get_mut(binding)?.on_status(now, status)
    }

    /// Nobody has answered the challenge in time. Whether that changed anything.
    pub fn on_challenge_over(&mut self, binding: &BindingId) -> bool {
        let found = self.by_id.get_mut(binding);
        found.is_some_and(Binding::on_challenge_over)
    }

    /// The binding's time is over. Whether that changed anything.
    pub fn on_expiry(&mut self, now: Timestamp, binding: &BindingId) -> bool {
        let found = self.by_id.get_mut(binding);
        found.is_some_and(|binding| binding.on_expiry(now))
    }

    /// Layer 0 has revoked a DID: gives the bindings that this ended.
    pub fn on_did_revoked(&mut self, did: &Did) -> Vec<BindingId> {
        self.of_did(did, |binding| binding.on_revoked(RevokedBy::Layer0))
    }

    /// Layer 0 has put `to` in the place of `did`: gives the bindings that this touched.
    pub fn on_did_rotated(&mut self, did: &Did, to: &Did) -> Vec<BindingId> {
        self.of_did(did, |binding| binding.on_rotated(to))
    }

    fn of_did(&mut self, did: &Did, change: impl Fn(&mut Binding) -> bool) -> Vec<BindingId> {
        let mut changed = Vec::new();
        for binding in self.by_id.values_mut().filter(|b| b.did == *did) {
            if change(binding) {
                changed.push(binding.id.clone());
            }
        }
        changed
    }
}

fn check_old_signature(
    binding: &Binding,
    text: &str,
    order: &RotateDid,
) -> Result<(), RotateRefused> {
    let Some(signature) = &order.old_signature else {
        return Err(RotateRefused::OldSignatureMissing);
    };
    let keys = binding.keys.iter();
    let mut keys = keys.filter_map(|key| DidKey::from_multibase(key).ok());
    if keys.any(|key| key.verify(text, signature).is_ok()) {
        Ok(())
    } else {
        Err(RotateRefused::OldSignature {
            cause: SignatureRefused::Wrong,
        })
    }
}
