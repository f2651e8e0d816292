//! Owns checking the steps and expectations about Layer 0: enrolments, what it says of DIDs, what it does wrong, what it was
//! told. Does not own what Layer 0 does (`worlds::layer0`).

use super::count;
use super::names::{Kind, When};
use super::quantity;
use super::right_or_absent;
use super::steps::StepChecker;
use crate::scenario::BindingStep;
use crate::scenario::choice::Layer0Fault as Fault;
use crate::scenario::model::{Action, Expectation, PartyName};
use crate::scenario::read::{At, Optional};
use crate::scenario::text;
use crate::scenario::trouble::{About, Layer0Fault, Layer0FaultKind};
use crate::scenario::units::Millis;
use std::ops::Range;

impl StepChecker<'_> {
    /// A party that is named in a step's own value.
    pub(super) fn enrol(&mut self, name: &str, span: &Range<usize>) -> Option<Action> {
        let name = At {
            value: name.to_owned(),
            span: span.clone(),
        };
        let party = self.party_with_did(&name)?;
        Some(Action::Enrol { party })
    }

    /// A party that has a DID.
    pub(super) fn party_with_did(&mut self, name: &At<String>) -> Option<PartyName> {
        let party = self
            .names
            .resolve(Kind::Party, PartyName, Some(name), self.problems)?;
        if !self.dids.contains_key(&party) {
            self.problems.at(
                &name.span,
                format!("`{party}` has no DID"),
                "Layer 0 does not know it",
                format!("define it as `parties.{party} = {{ did = \"key\" }}`"),
            );
        }
        Some(party)
    }

    pub(super) fn layer0(&mut self, typed: &text::Layer0, span: &Range<usize>) -> Option<Action> {
        match (&typed.state, &typed.rotates_to, &typed.fault) {
            (Some(state), None, None) => {
                let party = self.decided_about(typed, span)?;
                let state = state.value;
                Some(Action::Binding(BindingStep::Decide { party, state }))
            }
            (None, Some(by), None) => {
                let party = self.decided_about(typed, span);
                let by = self.party_with_did(by);
                Some(Action::Binding(BindingStep::Replace {
                    party: party?,
                    by: by?,
                }))
            }
            (None, None, Some(fault)) => {
                let about = self.about(typed, span);
                let kind = self.layer0_kind(fault.value, typed, span);
                if fault.value == Fault::ForgetKey && typed.party.is_some() {
                    let help = "write `on = \"…\"` with a payment";
                    self.problems
                        .at(span, "a question has no key", "nothing to forget", help);
                }
                Some(Action::Layer0(Layer0Fault {
                    about: about?,
                    kind: kind?,
                }))
            }
            (None, None, None) => {
                let help = "write `state = \"revoked\"`, `rotates_to = \"…\"` or `fault = \"server-error\"`";
                self.problems
                    .at(span, "nothing says what Layer 0 does", "one of three", help);
                None
            }
            _ => {
                let help = "write one of `state`, `rotates_to` and `fault`";
                let label = "more than one thing";
                self.problems
                    .at(span, "Layer 0 does one thing in a step", label, help);
                None
            }
        }
    }

    /// Whose DID Layer 0 decides about.
    fn decided_about(&mut self, typed: &text::Layer0, span: &Range<usize>) -> Option<PartyName> {
        let what = "a decision about a DID";
        let why = "nothing goes wrong here";
        self.refuse_parameter(&typed.on, "on", what, why);
        self.refuse_parameter(&typed.by, "by", what, why);
        self.refuse_parameter(&typed.times, "times", what, why);
        let Some(name) = &typed.party else {
            let help = "add `party = \"…\"`";
            self.problems
                .at(span, "nothing says whose DID it is", "whose?", help);
            return None;
        };
        self.party_with_did(name)
    }

    fn about(&mut self, typed: &text::Layer0, span: &Range<usize>) -> Option<About> {
        match (&typed.party, &typed.on) {
            (Some(party), None) => self.party_with_did(party).map(About::Party),
            (None, Some(on)) => {
                if self.dids.is_empty() {
                    let help = "give a party a DID: `parties.NAME = { did = \"key\" }`";
                    self.problems
                        .at(&on.span, "there is no Layer 0", "nobody has a DID", help);
                }
                let found = self.names.payment(Some(on), When::Any, self.problems);
                found.map(|(payment, _)| About::Payment(payment))
            }
            _ => {
                let help = "write `party = \"…\"` for questions about its DID, or `on = \"…\"` for statements about a payment";
                let label = "exactly one of `party` and `on`";
                self.problems.at(
                    span,
                    "nothing says what Layer 0 is called about",
                    label,
                    help,
                );
                None
            }
        }
    }

    fn layer0_kind(
        &mut self,
        fault: Fault,
        typed: &text::Layer0,
        span: &Range<usize>,
    ) -> Option<Layer0FaultKind> {
        let what = format!("\"{fault}\"");
        let why = "it means nothing to this fault";
        let late = matches!(fault, Fault::SlowResponse | Fault::SlowBody);
        if !late {
            self.refuse_parameter(&typed.by, "by", &what, why);
        }
        if late || fault == Fault::ForgetKey {
            self.refuse_parameter(&typed.times, "times", &what, why);
        }
        Some(match fault {
            Fault::LoseRequest => Layer0FaultKind::LoseRequest {
                times: self.times(&typed.times)?,
            },
            Fault::LoseResponse => Layer0FaultKind::LoseResponse {
                times: self.times(&typed.times)?,
            },
            Fault::CutBody => Layer0FaultKind::CutBody {
                times: self.times(&typed.times)?,
            },
            Fault::ServerError => Layer0FaultKind::ServerError {
                times: self.times(&typed.times)?,
            },
            Fault::TooManyRequests => Layer0FaultKind::TooManyRequests {
                times: self.times(&typed.times)?,
            },
            Fault::SlowResponse => Layer0FaultKind::SlowResponse {
                by: self.needed_span(&typed.by, "by", &what, span)?,
            },
            Fault::SlowBody => Layer0FaultKind::SlowBody {
                by: self.needed_span(&typed.by, "by", &what, span)?,
            },
            Fault::ForgetKey => Layer0FaultKind::ForgetKey,
        })
    }

    /// `Some(None)` if it is left out, `None` if it is wrong.
    fn limit(&mut self, typed: &Optional<text::Duration>) -> Option<Option<Millis>> {
        right_or_absent(typed.as_ref().map(|within| {
            quantity(
                &within.value.0,
                &within.span,
                "how long it may take",
                Millis::parse,
                self.problems,
            )
        }))
    }

    pub(super) fn expect_enrolment(
        &mut self,
        typed: &text::ExpectEnrolment,
    ) -> Option<Expectation> {
        let party = self.party_with_did(typed.enrolment.0.as_ref()?);
        let within = self.limit(&typed.within);
        Some(Expectation::Enrolment {
            party: party?,
            state: typed.state.0.as_ref()?.value,
            within: within?,
        })
    }

    pub(super) fn expect_stated(&mut self, typed: &text::ExpectStated) -> Option<Expectation> {
        let name = typed.stated.0.as_ref();
        let found = self
            .names
            .payment(name, When::Before(self.index), self.problems);
        let within = self.limit(&typed.within);
        let times = match &typed.times {
            Some(times) => count(times, self.problems),
            None => Some(1),
        };
        Some(Expectation::Stated {
            payment: found?.0,
            outcome: typed.outcome.0.as_ref()?.value,
            times: times?,
            within: within?,
        })
    }

    pub(super) fn expect_reputation(
        &mut self,
        typed: &text::ExpectReputation,
    ) -> Option<Expectation> {
        let party = self.party_with_did(typed.reputation.0.as_ref()?);
        Some(Expectation::Reputation {
            party: party?,
            score: typed.score.0.as_ref()?.value,
        })
    }
}
