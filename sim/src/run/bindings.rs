//! Owns carrying out the steps about bindings: the commands with their proofs, right or wrong as the step says, and what
//! Layer 0 decides. Does not own the keys (`worlds::keys`, `worlds::purse`) nor what is expected.

use super::{Runner, Stop, words};
use crate::scenario::{BindingName, BindingState, BindingStep, PartyName};
use crate::worlds::{World, WorldError, keys};
use lockstep_engine::api::Command;
use lockstep_engine::id::{BindingId, PartyId};
use lockstep_engine::identity::{
    Challenge, OwnWallet, ProveWallet, RegisterWallet, RotateDid, rotation_text,
};
use lockstep_engine::time::{Span, Timestamp};

fn id(name: &BindingName) -> BindingId {
    BindingId::new(name.as_str()).expect("checked with the scenario")
}

impl<W: World> Runner<W> {
    pub(super) async fn binding(&mut self, step: &BindingStep) -> Result<(), Stop> {
        match step {
            BindingStep::Register {
                id: name,
                party,
                wallet,
                did,
                purpose,
                valid_for,
            } => {
                let address = self.purses[wallet.as_str()].address();
                let order = RegisterWallet {
                    binding: id(name),
                    party: PartyId::new(party.as_str()).expect("checked with the scenario"),
                    did: self.did_of(did),
                    wallet: OwnWallet::Address(address.to_string()),
                    purpose: words::binding_purpose(*purpose),
                    valid_for: Span(valid_for.get()),
                };
                self.command(Command::RegisterWallet(order)).await
            }
            BindingStep::Prove { .. } => self.prove(step).await,
            BindingStep::Rotate { .. } => self.rotate(step).await,
            BindingStep::Revoke { binding } => {
                let binding = id(binding);
                self.command(Command::RevokeWallet { binding }).await
            }
            BindingStep::Decide { party, state } => {
                let state = words::did_state(*state);
                let did = self.did_of(party);
                let now = self.world.now().0;
                let layer0 = self.world.layer0();
                layer0.map(|layer0| layer0.lock().decide(now, did.as_str(), state));
                self.world.layer0_has_news();
                Ok(())
            }
            BindingStep::Replace { party, by } => {
                let (did, to) = (self.did_of(party), self.did_of(by));
                let now = self.world.now().0;
                let layer0 = self.world.layer0();
                layer0.map(|layer0| layer0.lock().rotate(now, did.as_str(), to.as_str()));
                self.world.layer0_has_news();
                Ok(())
            }
        }
    }

    /// A party's signature by its DID's key.
    fn sign(&self, party: &PartyName, text: &str) -> String {
        let method = self.run.scenario.dids[party];
        keys::sign_as_party(self.run.options.seed, party.as_str(), method, text)
    }

    /// The step that registered a binding.
    fn registration(&self, name: &BindingName) -> Option<&BindingStep> {
        let steps = self.run.scenario.steps.iter();
        let mut about = steps.filter_map(|step| match &step.action {
            crate::scenario::Action::Binding(about) => Some(about),
            _ => None,
        });
        about.find(|about| matches!(about, BindingStep::Register { id, .. } if id == name))
    }

    /// The challenge of a binding; without one (its registration was refused) there is nothing to sign.
    fn challenge(&self, name: &BindingName) -> String {
        let told = self.run.recorder.binding(name.as_str());
        told.map(|told| told.challenge).unwrap_or_default()
    }

    async fn prove(&mut self, step: &BindingStep) -> Result<(), Stop> {
        let BindingStep::Prove {
            binding,
            wallet,
            challenge,
            did,
        } = step
        else {
            return Ok(());
        };
        let Some(BindingStep::Register {
            wallet: own,
            did: holder,
            ..
        }) = self.registration(binding)
        else {
            return Err(no_registration(binding));
        };
        let text = self.challenge(binding);
        let signed = challenge.as_ref().map(|other| self.challenge(other));
        let signer = wallet.as_ref().unwrap_or(own).as_str();
        let wallet_proof = self.purses[signer].prove(signed.as_ref().unwrap_or(&text));
        let did_signature = self.sign(did.as_ref().unwrap_or(holder), &text);
        let order = ProveWallet {
            binding: id(binding),
            wallet_proof,
            did_signature,
        };
        self.command(Command::ProveWallet(order)).await
    }

    async fn rotate(&mut self, step: &BindingStep) -> Result<(), Stop> {
        let BindingStep::Rotate {
            binding,
            to,
            old_signs,
            new_signs,
        } = step
        else {
            return Ok(());
        };
        let told = self.run.recorder.binding(binding.as_str());
        let told = told.unwrap_or_default();
        let Some(BindingStep::Register { did, .. }) = self.registration(binding) else {
            return Err(no_registration(binding));
        };
        let holder = told
            .passed_to
            .last()
            .map_or(did, |(_, party)| party)
            .clone();
        let challenge = Challenge {
            text: told.challenge,
            answer_before: Timestamp(0),
        };
        let new = self.did_of(to);
        let rotations = u32::try_from(told.passed_to.len()).unwrap_or(u32::MAX);
        let text = rotation_text(&id(binding), &challenge, &new, rotations);
        let order = RotateDid {
            binding: id(binding),
            old_signature: old_signs.then(|| self.sign(&holder, &text)),
            new_signature: self.sign(to, if *new_signs { &text } else { "nothing" }),
            to: new.clone(),
        };
        self.run
            .recorder
            .expect_passing(binding.as_str(), new.as_str(), to);
        self.command(Command::RotateDid(order)).await
    }

    /// Whether a binding stands there; the error says where it is.
    pub(super) fn binding_is(&self, name: &BindingName, state: BindingState) -> Result<(), String> {
        let told = self.run.recorder.binding(name.as_str());
        let found = told.map_or("not registered", |told| told.state);
        if found == state.as_str() {
            Ok(())
        } else {
            Err(format!("binding {name} is {found}, not {state}"))
        }
    }
}

fn no_registration(binding: &BindingName) -> Stop {
    WorldError::harness(
        "answer a challenge",
        format!("{binding} was not registered"),
    )
    .into()
}
