//! Owns the enrolment of one party: Layer 0 is asked whether its DID is known and active. Does not own what is told about
//! enrolled parties.

use super::Answer;
use crate::event::{Consequences, Event};
use crate::id::{Did, IdempotencyKey, PartyId};
use crate::layer0::{self, DidAnswer, DidState};
use crate::policy::Policy;
use crate::rail::{Effect, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;

/// Why a party cannot be enrolled now, in this order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefused {
    /// It has no accounts.
    #[error("party `{party}` is not known")]
    UnknownParty {
        /// Who.
        party: PartyId,
    },
    /// Layer 0 has not answered yet.
    #[error("Layer 0 is being asked about party `{party}` already")]
    UnderWay {
        /// Who.
        party: PartyId,
    },
    /// A party has one DID.
    #[error("party `{party}` is enrolled as `{did}`")]
    Enrolled {
        /// Who.
        party: PartyId,
        /// As whom.
        did: Did,
    },
}

/// A party's DID, and what Layer 0 says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enrolment {
    did: Did,
    /// How often the party was to be enrolled, this time included.
    asked: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Attempt number so much is under way, or is waited for.
    Asking {
        attempt: u32,
    },
    Enrolled,
    /// Not active; `None`: not known.
    Refused {
        state: Option<DidState>,
    },
}

impl Enrolment {
    pub(super) fn begin(party: &PartyId, did: &Did, asked: u32) -> (Enrolment, Consequences) {
        let enrolment = Enrolment {
            did: did.clone(),
            asked,
            state: State::Asking { attempt: 1 },
        };
        let out = enrolment.ask(party);
        (enrolment, out)
    }

    pub(super) fn asked(&self) -> u32 {
        self.asked
    }

    pub(super) fn did(&self) -> Option<&Did> {
        (self.state == State::Enrolled).then_some(&self.did)
    }

    /// Whether the party may be enrolled anew.
    pub(super) fn check_again(&self, party: &PartyId) -> Result<(), EnrolmentRefused> {
        match self.state {
            State::Asking { .. } => Err(EnrolmentRefused::UnderWay {
                party: party.clone(),
            }),
            State::Enrolled => Err(EnrolmentRefused::Enrolled {
                party: party.clone(),
                did: self.did.clone(),
            }),
            State::Refused { .. } => Ok(()),
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        party: &PartyId,
        answer: Answer<'_>,
    ) -> Consequences {
        let State::Asking { attempt } = self.state else {
            return Consequences::default();
        };
        let answer = match answer {
            Answer::Failed => DidAnswer::Unclear,
            Answer::Responded { status, body } => layer0::parse_did(&self.did, status, body),
        };
        match answer {
            DidAnswer::Known(record) if record.state == DidState::Active => {
                self.state = State::Enrolled;
                event(Event::PartyEnrolled {
                    party: party.clone(),
                    did: self.did.clone(),
                })
            }
            DidAnswer::Known(record) => self.refuse(party, Some(record.state)),
            DidAnswer::Unknown => self.refuse(party, None),
            DidAnswer::Unclear => {
                sometimes(Rare::Layer0Unclear);
                let at = now.plus(layer0::pause(policy, attempt));
                self.state = State::Asking {
                    attempt: attempt.saturating_add(1),
                };
                let what = format!("did-{}-retry-{attempt}", self.asked);
                instruction(party, &what, Effect::WakeAt { at })
            }
        }
    }

    pub(super) fn on_timer(&self, party: &PartyId) -> Consequences {
        match self.state {
            State::Asking { .. } => self.ask(party),
            State::Enrolled | State::Refused { .. } => Consequences::default(),
        }
    }

    fn ask(&self, party: &PartyId) -> Consequences {
        let request = layer0::did_request(&self.did);
        let what = format!("did-{}", self.asked);
        instruction(party, &what, Effect::CallLayer0 { request })
    }

    fn refuse(&mut self, party: &PartyId, state: Option<DidState>) -> Consequences {
        sometimes(Rare::EnrolmentRefused);
        self.state = State::Refused { state };
        event(Event::EnrolmentRefused {
            party: party.clone(),
            did: self.did.clone(),
            state,
        })
    }
}

fn event(event: Event) -> Consequences {
    Consequences {
        events: vec![event],
        ..Consequences::default()
    }
}

fn instruction(party: &PartyId, what: &str, effect: Effect) -> Consequences {
    let key = IdempotencyKey(format!("{party}/{what}"));
    Consequences {
        instructions: vec![Instruction { key, effect }],
        ..Consequences::default()
    }
}
