//! Owns what events have told about bindings during a run. Does not own the bindings (`lockstep-engine`).

use super::words;
use crate::scenario::PartyName;
use lockstep_engine::api::Event;
use lockstep_engine::identity::Ended;
use std::collections::BTreeMap;

/// What events told about one binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldBinding {
    /// Where it stands, in the scenario's word.
    pub state: &'static str,
    /// The text that was to be signed.
    pub challenge: String,
    /// The DIDs that it was passed on to, with whose they are.
    pub passed_to: Vec<(String, PartyName)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct ToldBindings {
    told: BTreeMap<String, ToldBinding>,
    /// Whose the DID is that a binding is about to be passed on to.
    names: BTreeMap<(String, String), PartyName>,
}

impl ToldBindings {
    pub(super) fn get(&self, binding: &str) -> Option<ToldBinding> {
        self.told.get(binding).cloned()
    }

    pub(super) fn expect_passing(&mut self, binding: &str, did: &str, party: &PartyName) {
        let key = (binding.to_owned(), did.to_owned());
        self.names.insert(key, party.clone());
    }

    pub(super) fn learn(&mut self, event: &Event) {
        let mut told = |binding: &lockstep_engine::id::BindingId, word: &'static str| {
            let told = self.told.entry(binding.to_string()).or_default();
            told.state = word;
        };
        match event {
            Event::WalletRegistered {
                binding, challenge, ..
            } => {
                told(binding, "proposed");
                let told = self.told.entry(binding.to_string()).or_default();
                told.challenge.clone_from(challenge);
            }
            Event::WalletBound { binding, .. } => told(binding, "bound"),
            Event::WalletNotBound { binding, .. } => told(binding, "refused"),
            Event::BindingEnded { binding, why } => {
                told(binding, words::ended(why));
                if let Ended::PassedOn { to } = why {
                    let key = (binding.to_string(), to.to_string());
                    if let Some(party) = self.names.get(&key) {
                        let told = self.told.entry(binding.to_string()).or_default();
                        told.passed_to.push((to.to_string(), party.clone()));
                    }
                }
            }
            _ => {}
        }
    }
}
