//! Owns what Layer 0 is asked and told: which party stands behind which decentralised identifier, and how each payment of
//! such a party ended, as one signed statement for each outcome. Does not own payments, the words of Layer 0 (`layer0`)
//! nor the operator's key (behind the signer's port).
//!
//! A statement has an id that follows from the payment and the outcome's number, and is told under one key until Layer 0
//! acknowledges it. So it is in Layer 0's book exactly once, whatever is lost on the way.

mod book;
mod enrolment;
mod statement;
mod verdict;

pub use book::Facts;
pub use enrolment::{Enrolment, EnrolmentRefused};
pub use statement::{State, Statement};

use crate::event::{Consequences, Event};
use crate::id::{Did, IdempotencyKey, PartyId, PaymentId};
use crate::planted::Bug;
use crate::policy::Policy;
use crate::time::Timestamp;
use book::{Book, News, OUTCOME};
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
    book: Book,
}

impl Reputation {
    /// Nobody is enrolled, and nothing is stated.
    pub fn new() -> Reputation {
        Reputation::default()
    }

    /// Makes statements wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.book.plant(bug);
    }

    /// Whether an instruction key belongs here: `<party>/did-…` or `<payment>/outcome-…`.
    pub fn owns(&self, key: &IdempotencyKey) -> bool {
        matches!(split(key), Some((_, what)) if what.starts_with(DID) || what.starts_with(OUTCOME))
    }

    /// The party's DID, if Layer 0 vouched for it.
    pub fn did_of(&self, party: &PartyId) -> Option<&Did> {
        self.enrolments.get(party).and_then(Enrolment::did)
    }

    /// What was stated of a payment, in order.
    pub fn statements(&self, payment: &PaymentId) -> &[Statement] {
        self.book.of(payment)
    }

    /// What was stated of all payments, by id.
    pub fn all_statements(&self) -> impl Iterator<Item = (&PaymentId, &[Statement])> {
        self.book.iter()
    }

    /// The score of an enrolled party at `now`, in points, by the policy's rule; as Layer 0 shows it once it was told all.
    pub fn score(&self, policy: &Policy, party: &PartyId, now: Timestamp) -> Option<i64> {
        let did = self.did_of(party)?;
        let rule = &policy.reputation.as_ref()?.score;
        Some(rule.score(self.book.counted(did), now))
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

    /// States what events made of payments, if the policy says so.
    pub fn observe(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        events: &[Event],
        of: impl Fn(&PaymentId) -> Option<Facts>,
    ) -> Consequences {
        let mut out = Consequences::default();
        let Some(rule) = &policy.reputation else {
            return out;
        };
        let Reputation { enrolments, book } = self;
        let subject = |payment: &PaymentId| {
            let facts = of(payment)?;
            let did = enrolments.get(&facts.party)?.did()?;
            Some((did.clone(), facts))
        };
        for event in events {
            out.append(book.observe((now, policy, rule), event, subject));
        }
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
        if is_enrolment(key) {
            return self.with_enrolment(key, |party, enrolment| {
                enrolment.on_answer(now, policy, party, answer)
            });
        }
        self.on_news(now, policy, key, News::Answered(answer))
    }

    /// The signer answered.
    pub fn on_signed(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        key: &IdempotencyKey,
        result: &Result<String, String>,
    ) -> Consequences {
        self.on_news(now, policy, key, News::Signed(result))
    }

    /// Time to try again.
    pub fn on_timer(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        key: &IdempotencyKey,
    ) -> Consequences {
        if is_enrolment(key) {
            return self.with_enrolment(key, |party, enrolment| enrolment.on_timer(party));
        }
        self.on_news(now, policy, key, News::Timer)
    }

    fn on_news(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        key: &IdempotencyKey,
        news: News<'_>,
    ) -> Consequences {
        // Statements were made under the same policy, which is fixed for the engine's life.
        let rule = policy.reputation.as_ref();
        rule.map_or_else(Consequences::default, |rule| {
            self.book.on_news((now, policy, rule), key, news)
        })
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

/// What every key of an enrolment has behind the party's id.
const DID: &str = "did-";

fn is_enrolment(key: &IdempotencyKey) -> bool {
    matches!(split(key), Some((_, what)) if what.starts_with(DID))
}

fn split(key: &IdempotencyKey) -> Option<(&str, &str)> {
    key.0.split_once('/')
}
