//! Owns what the model remembers of Layer 0: which party is enrolled as whom (docs/SPEC.md, "Layer 0"). Does not own payments.

use super::books::{Checked, Model};
use super::orders::Why;
use lockstep_engine::id::{Did, PartyId};
use lockstep_engine::layer0::DidState;
use lockstep_engine::rail::Fact;
use serde_json::Value;

/// Where a party's enrolment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enrolment {
    /// Layer 0 has not answered.
    Asked(Did),
    /// Layer 0 vouches for it.
    Enrolled(Did),
}

impl Model {
    /// Whether a party must not be enrolled now.
    pub(super) fn forbids_enrolment(&self, party: &PartyId) -> Result<(), Why> {
        if !self.has_party(party) {
            Err(Why::PartyUnknown)
        } else if self.enrolments.contains_key(party) {
            Err(Why::Enrolled)
        } else {
            Ok(())
        }
    }

    pub(super) fn on_enrolled(
        &mut self,
        party: &PartyId,
        did: &Did,
        fact: Option<&Fact>,
    ) -> Checked {
        self.check_answer(party, did, fact, Some(DidState::Active))?;
        let enrolled = Enrolment::Enrolled(did.clone());
        self.enrolments.insert(party.clone(), enrolled);
        Ok(())
    }

    pub(super) fn on_enrolment_refused(
        &mut self,
        (party, did): (&PartyId, &Did),
        state: Option<DidState>,
        fact: Option<&Fact>,
    ) -> Checked {
        self.check_answer(party, did, fact, state)?;
        self.enrolments.remove(party);
        if state == Some(DidState::Active) {
            return Err(format!(
                "{party} was not enrolled as {did}, which is active"
            ));
        }
        Ok(())
    }

    /// Layer 0 was asked about this party's DID, and its answer says this.
    fn check_answer(
        &self,
        party: &PartyId,
        did: &Did,
        fact: Option<&Fact>,
        state: Option<DidState>,
    ) -> Checked {
        if self.enrolments.get(party) != Some(&Enrolment::Asked(did.clone())) {
            return Err(format!("nobody asked whether {party} is {did}"));
        }
        let Some(Fact::HttpResponded { status, body, .. }) = fact else {
            return Err(format!("Layer 0 has said nothing of {did}"));
        };
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let told = match status {
            200 if body["did"] == did.as_str() => Some(body["state"].clone()),
            404 => None,
            _ => return Err(format!("an unclear answer decided about {did}")),
        };
        let expected = state.map(|state| serde_json::to_value(state).expect("a word"));
        if told == expected {
            Ok(())
        } else {
            Err(format!(
                "Layer 0 says {told:?} of {did}, the engine {expected:?}"
            ))
        }
    }
}
