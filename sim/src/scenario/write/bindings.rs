//! Owns writing the steps about bindings. Does not own the others (`steps`).

use super::{Inline, NameSpace, Writer, amounts, quoted};
use crate::scenario::bindings::{BindingPurpose, BindingStep};
use crate::scenario::model::{Millis, PartyName};

/// Default of `valid_for`, in ms.
const ONE_DAY_MS: u64 = 86_400_000;

impl Writer<'_> {
    pub(super) fn binding_step(&self, step: &BindingStep) -> (&'static str, String) {
        let party = |party: &PartyName| self.name(NameSpace::Party, party.as_str());
        let mut table = Inline::default();
        match step {
            BindingStep::Register {
                id,
                party: whose,
                wallet,
                did,
                purpose,
                valid_for,
            } => {
                table.text("id", id.as_str());
                table.text("party", party(whose));
                table.text("wallet", self.name(NameSpace::Outside, wallet.as_str()));
                table.maybe("did", (did != whose).then(|| party(did)));
                let purpose = Some(*purpose).filter(|purpose| *purpose != BindingPurpose::Both);
                table.maybe("purpose", purpose.map(|purpose| purpose.to_string()));
                table.maybe("valid_for", unless_a_day(*valid_for));
                ("register", table.end())
            }
            BindingStep::Prove {
                binding,
                wallet,
                challenge,
                did,
            } => {
                table.text("binding", binding.as_str());
                let wallet = wallet.as_ref();
                table.maybe(
                    "wallet",
                    wallet.map(|name| self.name(NameSpace::Outside, name.as_str())),
                );
                table.maybe("challenge", challenge.as_ref().map(ToString::to_string));
                table.maybe("did", did.as_ref().map(party));
                ("prove", table.end())
            }
            BindingStep::Rotate {
                binding,
                to,
                old_signs,
                new_signs,
            } => {
                table.text("binding", binding.as_str());
                table.text("to", party(to));
                for (key, signs) in [("old_signs", old_signs), ("new_signs", new_signs)] {
                    if !signs {
                        table.put(key, "false");
                    }
                }
                ("rotate", table.end())
            }
            BindingStep::Revoke { binding } => ("revoke", quoted(binding.as_str())),
            BindingStep::Decide {
                party: whose,
                state,
            } => {
                table.text("party", party(whose));
                table.text("state", state.as_str());
                ("layer0", table.end())
            }
            BindingStep::Replace { party: whose, by } => {
                table.text("party", party(whose));
                table.text("rotates_to", party(by));
                ("layer0", table.end())
            }
        }
    }
}

fn unless_a_day(span: Millis) -> Option<String> {
    (span.get() != ONE_DAY_MS).then(|| amounts::span(span))
}
