//! Owns checking the steps about bindings: what they name exists, parties have DIDs, a binding is named once and before it is
//! used. Does not own what becomes of them (the run).

use super::names::{Kind, check_text};
use super::positive;
use super::steps::StepChecker;
use crate::scenario::bindings::{
    BindingName, BindingPurpose, BindingStep, ExpectBinding, Prove, Register, Rotate,
};
use crate::scenario::model::{Action, Expectation, PartyName, WalletName};
use crate::scenario::problem::Problem;
use crate::scenario::read::{At, Optional};
use crate::scenario::text::Duration;
use crate::scenario::units::Millis;
use std::ops::Range;

/// How long a binding holds unless it is said.
const ONE_DAY: &str = "1 d";

impl StepChecker<'_> {
    pub(super) fn register(&mut self, typed: &Register) -> Option<Action> {
        let id = self.new_binding(typed.id.0.as_ref());
        let party = self.binding_party(typed.party.0.as_ref());
        let wallet = self.outside_wallet(typed.wallet.0.as_ref());
        let did = typed.did.as_ref().or(typed.party.0.as_ref());
        let did = self.did_holder(did);
        let (text, span) = typed.valid_for.as_ref().map_or((ONE_DAY, 0..0), |typed| {
            (typed.value.0.as_str(), typed.span.clone())
        });
        let place = "how long a binding holds";
        let valid_for = positive(text, &span, place, Millis::parse, self.problems);
        let purpose = typed
            .purpose
            .as_ref()
            .map_or(BindingPurpose::Both, |purpose| purpose.value);
        Some(Action::Binding(BindingStep::Register {
            id: id?,
            party: party?,
            wallet: wallet?,
            did: did?,
            purpose,
            valid_for: valid_for?,
        }))
    }

    pub(super) fn prove(&mut self, typed: &Prove) -> Option<Action> {
        let binding = self.known_binding(typed.binding.0.as_ref());
        let wallet = self.named_or_none(&typed.wallet, Self::outside_wallet)?;
        let challenge = self.named_or_none(&typed.challenge, Self::known_binding)?;
        let did = self.named_or_none(&typed.did, Self::did_holder)?;
        Some(Action::Binding(BindingStep::Prove {
            binding: binding?,
            wallet,
            challenge,
            did,
        }))
    }

    pub(super) fn rotate(&mut self, typed: &Rotate) -> Option<Action> {
        let binding = self.known_binding(typed.binding.0.as_ref());
        let to = self.did_holder(typed.to.0.as_ref());
        let signs = |typed: &Optional<bool>| typed.as_ref().is_none_or(|signs| signs.value);
        Some(Action::Binding(BindingStep::Rotate {
            binding: binding?,
            to: to?,
            old_signs: signs(&typed.old_signs),
            new_signs: signs(&typed.new_signs),
        }))
    }

    pub(super) fn revoke(&mut self, name: &str, span: &Range<usize>) -> Option<Action> {
        let name = At {
            value: name.to_owned(),
            span: span.clone(),
        };
        let binding = self.known_binding(Some(&name))?;
        Some(Action::Binding(BindingStep::Revoke { binding }))
    }

    pub(super) fn expect_binding(&mut self, typed: &ExpectBinding) -> Option<Expectation> {
        let binding = self.known_binding(typed.binding.0.as_ref());
        let within = self.binding_span(&typed.within)?;
        Some(Expectation::Binding {
            binding: binding?,
            state: typed.state.0.as_ref()?.value,
            within,
        })
    }

    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn binding_span(&mut self, typed: &Optional<Duration>) -> Option<Option<Millis>> {
        let Some(typed) = typed else {
            return Some(None);
        };
        let place = "how long it may take";
        let parsed = positive(
            &typed.value.0,
            &typed.span,
            place,
            Millis::parse,
            self.problems,
        );
        parsed.map(Some)
    }

    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn named_or_none<N>(
        &mut self,
        name: &Optional<String>,
        find: impl FnOnce(&mut Self, Option<&At<String>>) -> Option<N>,
    ) -> Option<Option<N>> {
        match name {
            None => Some(None),
            Some(name) => find(self, Some(name)).map(Some),
        }
    }

    fn binding_party(&mut self, name: Option<&At<String>>) -> Option<PartyName> {
        self.names
            .resolve(Kind::Party, PartyName, name, self.problems)
    }

    fn outside_wallet(&mut self, name: Option<&At<String>>) -> Option<WalletName> {
        self.names
            .resolve(Kind::Wallet, WalletName, name, self.problems)
    }

    fn did_holder(&mut self, name: Option<&At<String>>) -> Option<PartyName> {
        self.party_with_did(name?)
    }

    fn new_binding(&mut self, name: Option<&At<String>>) -> Option<BindingName> {
        let name = name?;
        check_text(name, false, self.problems);
        let binding = BindingName(name.value.clone());
        if let Some(first) = self.bindings.get(&binding) {
            self.problems.add(Problem {
                title: format!("binding id `{binding}` is used twice"),
                span: name.span.clone(),
                label: "used again".to_owned(),
                also: Some((first.clone(), "first used here".to_owned())),
                help: "an id names one thing for ever: choose another".to_owned(),
            });
            return None;
        }
        self.bindings.insert(binding.clone(), name.span.clone());
        Some(binding)
    }

    fn known_binding(&mut self, name: Option<&At<String>>) -> Option<BindingName> {
        let name = name?;
        let binding = BindingName(name.value.clone());
        if self.bindings.contains_key(&binding) {
            return Some(binding);
        }
        let title = format!("there is no binding `{binding}`");
        let help = "register the wallet by an earlier step: `{ register = { id = …, party = …, wallet = … } }`";
        self.problems
            .at(&name.span, title, "no earlier step registers it", help);
        None
    }
}
