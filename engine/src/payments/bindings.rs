//! Owns what becomes of the bindings of wallets to DIDs: the challenge and its time, the questions to Layer 0, expiry,
//! revocation and rotation, and what they mean for payouts under way. Does not own a binding's states (`identity`).
//!
//! Instruction keys: `binding:B/answer-by`, `binding:B/status-N` (N: how often it was passed on), `binding:B/retry-N-M`,
//! `binding:B/expiry`. A colon is in no payment's id.

use super::Payments;
use crate::event::{Consequences, Event};
use crate::id::{BindingId, IdempotencyKey};
use crate::identity::{
    BindingState, Confirmed, DidNews, Ended, NotBound, ProveRefused, ProveWallet, RegisterRefused,
    RegisterWallet, RevokeRefused, RevokedBy, RotateDid, RotateRefused,
};
use crate::layer0::{self, DidAnswer};
use crate::planted::Bug;
use crate::rail::{Effect, Entropy, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;

const PREFIX: &str = "binding:";

fn key(binding: &BindingId, what: &str) -> IdempotencyKey {
    IdempotencyKey(format!("{PREFIX}{binding}/{what}"))
}

/// The binding and the rest of a key, if it is one of a binding.
fn split(key: &str) -> Option<(BindingId, &str)> {
    let (binding, what) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((BindingId::new(binding).ok()?, what))
}

/// Whether an instruction key belongs to a binding.
pub(super) fn owns(key: &str) -> bool {
    key.starts_with(PREFIX)
}

fn wake(binding: &BindingId, what: &str, at: Timestamp) -> Instruction {
    Instruction {
        key: key(binding, what),
        effect: Effect::WakeAt { at },
    }
}

impl Payments {
    /// Whether the wallet could be registered.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_register(&self, order: &RegisterWallet) -> Result<(), RegisterRefused> {
        if !self.ledger.has_party(&order.party) {
            return Err(RegisterRefused::UnknownParty {
                party: order.party.clone(),
            });
        }
        self.bindings.check_register(&self.policy.binding, order)
    }

    /// Sets the challenge.
    pub fn register_wallet(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        order: &RegisterWallet,
    ) -> Consequences {
        let policy = &self.policy.binding;
        let challenge = self.bindings.register(now, entropy, policy, order);
        let binding = &order.binding;
        Consequences {
            instructions: vec![wake(binding, "answer-by", challenge.answer_before)],
            events: vec![Event::WalletRegistered {
                binding: binding.clone(),
                party: order.party.clone(),
                did: order.did.clone(),
                challenge: challenge.text,
            }],
            ..Consequences::default()
        }
    }

    /// Whether the answer to a challenge counts.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_prove(&self, now: Timestamp, order: &ProveWallet) -> Result<(), ProveRefused> {
        self.bindings.check_prove(now, order)
    }

    /// Takes the answer to a challenge, and asks Layer 0.
    pub fn prove_wallet(&mut self, order: &ProveWallet) -> Consequences {
        self.bindings.prove(order);
        let mut out = self.ask_layer0(&order.binding);
        out.answered.push(key(&order.binding, "answer-by"));
        out
    }

    /// Whether a binding would be passed on.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check_rotate(&self, order: &RotateDid) -> Result<(), RotateRefused> {
        self.bindings.check_rotate(order)
    }

    /// Passes a binding on to another DID, and asks Layer 0 about it. Until it answers, the wallet is not bound.
    pub fn rotate_did(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        order: &RotateDid,
    ) -> Consequences {
        self.bindings.rotate(order);
        let why = Ended::PassedOn {
            to: order.to.clone(),
        };
        let mut out = self.on_ended(now, entropy, &order.binding, why);
        let more = self.ask_layer0(&order.binding);
        out.instructions.extend(more.instructions);
        out
    }

    /// Whether a binding could be revoked.
    ///
    /// # Errors
    /// When there is none, or it has ended.
    pub fn check_revoke(&self, binding: &BindingId) -> Result<(), RevokeRefused> {
        self.bindings.check_revoke(binding)
    }

    /// Ends a binding.
    pub fn revoke_wallet(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        binding: &BindingId,
    ) -> Consequences {
        let by = RevokedBy::Party;
        if self.bindings.revoke(binding, by) {
            self.on_ended(now, entropy, binding, Ended::Revoked(by))
        } else {
            Consequences::default()
        }
    }

    fn ask_layer0(&mut self, binding: &BindingId) -> Consequences {
        let Some(did) = self.bindings.ask(binding) else {
            return Consequences::default();
        };
        let what = format!("status-{}", self.rotations(binding));
        Consequences {
            instructions: vec![Instruction {
                key: key(binding, &what),
                effect: Effect::CallLayer0 {
                    request: layer0::did_request(&did),
                },
            }],
            ..Consequences::default()
        }
    }

    fn rotations(&self, binding: &BindingId) -> u32 {
        self.bindings
            .get(binding)
            .map_or(0, |found| found.rotations)
    }

    /// Layer 0 has answered, or (`None`) has not. An answer about a DID that has been replaced since says nothing.
    pub(super) fn on_binding_answer(
        &mut self,
        now: Timestamp,
        key_text: &str,
        answer: Option<(u16, &str)>,
    ) -> Consequences {
        let Some((binding, what)) = split(key_text) else {
            return Consequences::default();
        };
        let Some(found) = self.bindings.get(&binding) else {
            return Consequences::default();
        };
        if what != format!("status-{}", found.rotations) {
            return Consequences::default();
        }
        let (did, attempts) = (found.did.clone(), found.attempts);
        let read = answer.map_or(DidAnswer::Unclear, |(status, body)| {
            layer0::parse_did(&did, status, body)
        });
        let confirmed = match &read {
            DidAnswer::Known(record) => self.bindings.on_status(now, &binding, Ok(record)),
            DidAnswer::Unknown => {
                let unknown = Err(NotBound::DidUnknown);
                self.bindings.on_status(now, &binding, unknown)
            }
            DidAnswer::Unclear => return self.ask_later(now, &binding, attempts),
        };
        self.on_confirmed(&binding, confirmed)
    }

    fn ask_later(&self, now: Timestamp, binding: &BindingId, attempts: u32) -> Consequences {
        let asks = self
            .bindings
            .get(binding)
            .is_some_and(|found| matches!(found.state, BindingState::Checking(_)));
        if !asks {
            return Consequences::default();
        }
        sometimes(Rare::Layer0Unclear);
        let at = now.plus(layer0::pause(&self.policy, attempts));
        let what = format!("retry-{}-{attempts}", self.rotations(binding));
        Consequences {
            instructions: vec![wake(binding, &what, at)],
            ..Consequences::default()
        }
    }

    fn on_confirmed(&self, binding: &BindingId, confirmed: Option<Confirmed>) -> Consequences {
        let Some(found) = self.bindings.get(binding) else {
            return Consequences::default();
        };
        match confirmed {
            Some(Confirmed::Bound { until }) => Consequences {
                events: vec![Event::WalletBound {
                    binding: binding.clone(),
                    party: found.party.clone(),
                    did: found.did.clone(),
                }],
                instructions: vec![wake(binding, "expiry", until)],
                ..Consequences::default()
            },
            Some(Confirmed::Refused { reason }) => Consequences {
                events: vec![Event::WalletNotBound {
                    binding: binding.clone(),
                    reason,
                }],
                answered: vec![key(binding, "expiry")],
                ..Consequences::default()
            },
            None => Consequences::default(),
        }
    }

    /// A time has come that a binding was waiting for.
    pub(super) fn on_binding_timer(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        key_text: &str,
    ) -> Consequences {
        let Some((binding, what)) = split(key_text) else {
            return Consequences::default();
        };
        match what {
            "answer-by" if self.bindings.on_challenge_over(&binding) => Consequences {
                events: vec![Event::WalletNotBound {
                    binding,
                    reason: NotBound::ChallengeExpired,
                }],
                ..Consequences::default()
            },
            "expiry"
                if self.planted != Some(Bug::DropExpiry)
                    && self.bindings.on_expiry(now, &binding) =>
            {
                self.on_ended(now, entropy, &binding, Ended::Expired)
            }
            "answer-by" | "expiry" => Consequences::default(),
            _ => self.ask_layer0(&binding),
        }
    }

    /// Layer 0 has told something about a DID. `None`: it concerns no binding.
    pub(super) fn on_did_news(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        news: &DidNews,
    ) -> Option<Consequences> {
        let (touched, why) = match news {
            DidNews::Revoked { did } => {
                let touched = self.bindings.on_did_revoked(did);
                (touched, Ended::Revoked(RevokedBy::Layer0))
            }
            DidNews::Rotated { did, to } => {
                let touched = self.bindings.on_did_rotated(did, to);
                (touched, Ended::Rotated { to: to.clone() })
            }
        };
        if touched.is_empty() {
            return None;
        }
        let mut all = Consequences::default();
        for binding in touched {
            let out = self.on_ended(now, entropy, &binding, why.clone());
            all.events.extend(out.events);
            all.instructions.extend(out.instructions);
            all.answered.extend(out.answered);
        }
        Some(all)
    }

    /// A binding does not count any more: payouts that rely on it and have not left fail.
    fn on_ended(
        &mut self,
        now: Timestamp,
        entropy: Entropy,
        binding: &BindingId,
        why: Ended,
    ) -> Consequences {
        let is_final = self.bindings.get(binding).is_some_and(|b| b.is_final());
        let mut out = self.at_till(now, entropy, |till| {
            till.desk.emit(Event::BindingEnded {
                binding: binding.clone(),
                why,
            });
            till.on_binding_ended(binding);
        });
        if is_final {
            out.answered.push(key(binding, "answer-by"));
            out.answered.push(key(binding, "expiry"));
        }
        out
    }
}
