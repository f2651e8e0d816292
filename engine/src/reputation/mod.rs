//! Owns which party stands behind which decentralised identifier, as far as Layer 0 vouches for it. Does not own payments,
//! the words of Layer 0 (`layer0`) nor what a DID's keys prove.

mod enrolment;

pub use enrolment::{Enrolment, EnrolmentRefused};

use crate::event::Consequences;
use crate::id::{Did, IdempotencyKey, PartyId};
use crate::policy::Policy;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What Layer 0 did when it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// An HTTP response.
    Responded {
        /// Status code.
        status: u16,
        /// Body.
        body: &'a str,
    },
    /// None.
    Failed,
}

/// Everything that is between us and Layer 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reputation {
    enrolments: BTreeMap<PartyId, Enrolment>,
}

impl Reputation {
    /// Nobody is enrolled.
    pub fn new() -> Reputation {
        Reputation::default()
    }

    /// Whether an instruction key belongs here: `<party>/did-…`.
    pub fn owns(&self, key: &IdempotencyKey) -> bool {
        matches!(split(key), Some((_, what)) if what.starts_with("did-"))
    }

    /// The party's DID, if Layer 0 vouched for it.
    pub fn did_of(&self, party: &PartyId) -> Option<&Did> {
        self.enrolments.get(party).and_then(Enrolment::did)
    }

    /// Whether a party could be enrolled now.
    pub fn check_enrolment(&self, party: &PartyId) -> Result<(), EnrolmentRefused> {
        match self.enrolments.get(party) {
            Some(enrolment) => enrolment.check_again(party),
            None => Ok(()),
        }
    }

    /// Asks Layer 0 for the party's DID; it was checked by `check_enrolment`.
    pub fn enrol(&mut self, party: &PartyId, did: &Did) -> Consequences {
        let asked = self.enrolments.get(party).map_or(0, Enrolment::asked);
        let (enrolment, out) = Enrolment::begin(party, did, asked.saturating_add(1));
        self.enrolments.insert(party.clone(), enrolment);
        out
    }

    /// Layer 0 answered, or did not.
    pub fn on_answer(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        key: &IdempotencyKey,
        answer: Answer<'_>,
    ) -> Consequences {
        self.with_enrolment(key, |party, enrolment| {
            enrolment.on_answer(now, policy, party, answer)
        })
    }

    /// Time to call Layer 0 again.
    pub fn on_timer(&mut self, key: &IdempotencyKey) -> Consequences {
        self.with_enrolment(key, |party, enrolment| enrolment.on_timer(party))
    }

    fn with_enrolment(
        &mut self,
        key: &IdempotencyKey,
        act: impl FnOnce(&PartyId, &mut Enrolment) -> Consequences,
    ) -> Consequences {
        let party = split(key).and_then(|(party, _)| PartyId::new(party).ok());
        let found = party.and_then(|party| {
            let enrolment = self.enrolments.get_mut(&party)?;
            Some((party, enrolment))
        });
        found.map_or_else(Consequences::default, |(party, enrolment)| {
            act(&party, enrolment)
        })
    }
}

fn split(key: &IdempotencyKey) -> Option<(&str, &str)> {
    key.0.split_once('/')
}
