//! Owns a second telling of which outside wallet is bound to whom (docs/SPEC.md, "Wallets bound to DIDs"): from commands and
//! facts alone, with signatures checked anew. Does not own payments (`books`), nor descriptors and Ed25519 keys, which it
//! cannot judge.

use super::orders::{Prediction, Why};
use bitcoin::base58;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::FromHex as _;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, ecdsa};
use bitcoin::{Address, ScriptBuf};
use lockstep_engine::api::{Command, Event, Input};
use lockstep_engine::id::{BindingId, PartyId};
use lockstep_engine::identity::{
    Ended, OwnWallet, ProveWallet, Purpose, RegisterWallet, RevokedBy,
};
use lockstep_engine::rail::Fact;
use lockstep_engine::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest that a binding may hold: a year in ms.
const LONGEST_MS: u64 = 31_536_000_000;
/// Bindings of one party at one time.
const MOST: usize = 16;
/// A challenge must be answered within ten minutes.
const ANSWER_MS: u64 = 600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Proposed,
    Checking,
    Bound,
    Rotated,
    Ended,
}

#[derive(Clone, Debug)]
struct Kept {
    party: PartyId,
    did: String,
    /// `None`: a descriptor.
    address: Option<Address>,
    purpose: Purpose,
    valid_for_ms: u64,
    challenge: String,
    answer_before: Timestamp,
    stands: Stands,
    until: Option<Timestamp>,
}

/// All bindings, as far as they can be told.
#[derive(Clone, Debug, Default)]
pub struct BindingBook {
    kept: BTreeMap<BindingId, Kept>,
}

impl BindingBook {
    /// Whether a script is in a wallet that is bound to a party for that; `None` if a descriptor may have it.
    pub fn is_bound(&self, party: &PartyId, script: &ScriptBuf, wanted: Purpose) -> Option<bool> {
        let of_party = self.kept.values().filter(|kept| {
            kept.stands == Stands::Bound
                && kept.party == *party
                && (kept.purpose == Purpose::Both || kept.purpose == wanted)
        });
        let mut doubtful = false;
        for kept in of_party {
            match &kept.address {
                Some(address) if address.script_pubkey() == *script => return Some(true),
                Some(_) => {}
                None => doubtful = true,
            }
        }
        (!doubtful).then_some(false)
    }

    /// What must be answered to a command about a binding; `None` for every other command.
    pub(super) fn predict(
        &self,
        now: Timestamp,
        command: &Command,
        knows: impl Fn(&PartyId) -> bool,
    ) -> Option<Prediction> {
        match command {
            Command::RegisterWallet(order) if !knows(&order.party) => {
                Some(Prediction::Refused(Why::PartyUnknown))
            }
            Command::RegisterWallet(order) => Some(self.registers(order)),
            Command::ProveWallet(order) => Some(self.proves(now, order)),
            Command::RotateDid(order) => {
                let stands = self.kept.get(&order.binding).map(|kept| kept.stands);
                Some(match stands {
                    Some(Stands::Bound | Stands::Rotated) => {
                        Prediction::Either("the model does not judge rotations")
                    }
                    _ => Prediction::Refused(Why::BindingState),
                })
            }
            Command::RevokeWallet { binding } => {
                let live = self.kept.get(binding);
                let live = live.is_some_and(|kept| kept.stands != Stands::Ended);
                Some(if live {
                    Prediction::Accepted
                } else {
                    Prediction::Refused(Why::BindingState)
                })
            }
            _ => None,
        }
    }

    fn registers(&self, order: &RegisterWallet) -> Prediction {
        let live = || {
            self.kept
                .values()
                .filter(|kept| kept.stands != Stands::Ended)
        };
        let of_party = live().filter(|kept| kept.party == order.party).count();
        if self.kept.contains_key(&order.binding) {
            return Prediction::Refused(Why::BindingState);
        }
        if order.valid_for.0 == 0 || order.valid_for.0 > LONGEST_MS || of_party >= MOST {
            return Prediction::Refused(Why::Amount);
        }
        let Some(address) = address_of(&order.wallet) else {
            return Prediction::Either("the model does not read descriptors");
        };
        if live().any(|kept| kept.address.as_ref() == Some(&address)) {
            return Prediction::Refused(Why::BindingState);
        }
        if live().any(|kept| kept.address.is_none()) {
            return Prediction::Either("the model does not read descriptors");
        }
        Prediction::Accepted
    }

    fn proves(&self, now: Timestamp, order: &ProveWallet) -> Prediction {
        let Some(kept) = self.kept.get(&order.binding) else {
            return Prediction::Refused(Why::BindingState);
        };
        if kept.stands != Stands::Proposed || now >= kept.answer_before {
            return Prediction::Refused(Why::BindingState);
        }
        let Some(address) = &kept.address else {
            return Prediction::Either("the model does not read descriptors");
        };
        let address = address.to_string();
        let proof = bip322::verify_simple_encoded(&address, &kept.challenge, &order.wallet_proof);
        if !matches!(proof, Ok(bip322::Verification::Valid { .. })) {
            return Prediction::Refused(Why::Proof);
        }
        match signed(&kept.did, &kept.challenge, &order.did_signature) {
            Some(true) => Prediction::Accepted,
            Some(false) => Prediction::Refused(Why::Proof),
            None if kept.did.starts_with("did:key:") => {
                Prediction::Either("the model knows secp256k1 only")
            }
            None => Prediction::Accepted,
        }
    }

    /// Takes an accepted input in with its events; the error says what of them must not be.
    pub fn on_accepted(
        &mut self,
        now: Timestamp,
        input: &Input,
        events: &[Event],
    ) -> Result<(), String> {
        if let Input::Command { command, .. } = input {
            self.on_command(now, command, events);
        }
        for event in events {
            self.on_event(now, input, event)?;
        }
        let Input::Fact { fact, .. } = input else {
            return Ok(());
        };
        self.on_news(fact);
        Ok(())
    }

    fn on_command(&mut self, now: Timestamp, command: &Command, events: &[Event]) {
        match command {
            Command::RegisterWallet(order) => {
                let challenge = events.iter().find_map(|event| match event {
                    Event::WalletRegistered { challenge, .. } => Some(challenge.clone()),
                    _ => None,
                });
                let kept = Kept {
                    party: order.party.clone(),
                    did: order.did.to_string(),
                    address: address_of(&order.wallet),
                    purpose: order.purpose,
                    valid_for_ms: order.valid_for.0,
                    challenge: challenge.unwrap_or_default(),
                    answer_before: Timestamp(now.0 + ANSWER_MS),
                    stands: Stands::Proposed,
                    until: None,
                };
                self.kept.insert(order.binding.clone(), kept);
            }
            Command::ProveWallet(order) => self.put(&order.binding, Stands::Checking),
            Command::RotateDid(order) => {
                if let Some(kept) = self.kept.get_mut(&order.binding) {
                    kept.did = order.to.to_string();
                }
                self.put(&order.binding, Stands::Checking);
            }
            Command::RevokeWallet { binding } => self.put(binding, Stands::Ended),
            _ => {}
        }
    }

    fn put(&mut self, binding: &BindingId, stands: Stands) {
        if let Some(kept) = self.kept.get_mut(binding) {
            kept.stands = stands;
        }
    }

    fn on_event(&mut self, now: Timestamp, input: &Input, event: &Event) -> Result<(), String> {
        match event {
            Event::WalletBound { binding, .. } => {
                let kept = self.kept.get_mut(binding);
                let kept = kept.ok_or_else(|| format!("binding {binding} was never registered"))?;
                if kept.stands != Stands::Checking || !says_active(input, &kept.did) {
                    return Err(format!(
                        "binding {binding} came to count as {:?}, and Layer 0 has not called its DID active",
                        kept.stands
                    ));
                }
                kept.until
                    .get_or_insert(Timestamp(now.0 + kept.valid_for_ms));
                kept.stands = Stands::Bound;
                Ok(())
            }
            Event::WalletNotBound { binding, .. } => {
                self.put(binding, Stands::Ended);
                Ok(())
            }
            Event::BindingEnded { binding, why } => self.on_ended(now, binding, why),
            _ => Ok(()),
        }
    }

    fn on_ended(&mut self, now: Timestamp, binding: &BindingId, why: &Ended) -> Result<(), String> {
        let kept = self.kept.get_mut(binding);
        let kept = kept.ok_or_else(|| format!("binding {binding} was never registered"))?;
        let (right, stands) = match why {
            Ended::Expired => (kept.until.is_some_and(|until| until <= now), Stands::Ended),
            Ended::Revoked(RevokedBy::Party) => (kept.stands == Stands::Ended, Stands::Ended),
            Ended::Revoked(RevokedBy::Layer0) => (true, Stands::Ended),
            Ended::Rotated { .. } => (true, Stands::Rotated),
            Ended::PassedOn { .. } => (kept.stands == Stands::Checking, Stands::Checking),
        };
        kept.stands = stands;
        if right {
            Ok(())
        } else {
            Err(format!(
                "binding {binding} ended by {why:?}, and nothing led to it"
            ))
        }
    }

    /// What Layer 0 tells by itself holds whatever the engine makes of it.
    fn on_news(&mut self, fact: &Fact) {
        let Fact::Webhook { body, .. } = fact else {
            return;
        };
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let did = body["data"]["did"].as_str().unwrap_or_default();
        let touched = self.kept.values_mut();
        let touched = touched.filter(|kept| kept.did == did && kept.stands != Stands::Ended);
        for kept in touched {
            match body["type"].as_str() {
                Some("did.revoked") => kept.stands = Stands::Ended,
                Some("did.rotated") if kept.until.is_some() => kept.stands = Stands::Rotated,
                Some("did.rotated") => kept.stands = Stands::Ended,
                _ => {}
            }
        }
    }

    /// Bindings that count although their time is over; the engine is told the time by its timers, which may be late.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = &BindingId> {
        let bound = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.stands == Stands::Bound);
        bound.filter_map(move |(id, kept)| (kept.until? <= now).then_some(id))
    }
}

fn address_of(wallet: &OwnWallet) -> Option<Address> {
    match wallet {
        OwnWallet::Address(text) => {
            let address: Address<_> = text.trim().parse().ok()?;
            Some(address.assume_checked())
        }
        OwnWallet::Descriptor(_) => None,
    }
}

/// Whether a secp256k1 `did:key` has signed; `None` for any other DID.
fn signed(did: &str, text: &str, signature_hex: &str) -> Option<bool> {
    let bytes = base58::decode(did.strip_prefix("did:key:z")?).ok()?;
    let key = PublicKey::from_slice(bytes.strip_prefix(&[0xe7, 0x01])?).ok()?;
    let Ok(bytes) = <[u8; 64]>::from_hex(signature_hex) else {
        return Some(false);
    };
    let digest = sha256::Hash::hash(text.as_bytes()).to_byte_array();
    let fits = ecdsa::Signature::from_compact(&bytes).is_ok_and(|signature| {
        let message = Message::from_digest(digest);
        Secp256k1::verification_only()
            .verify_ecdsa(&message, &signature, &key)
            .is_ok()
    });
    Some(fits)
}

fn says_active(input: &Input, did: &str) -> bool {
    let Input::Fact {
        fact: Fact::HttpResponded {
            status: 200, body, ..
        },
        ..
    } = input
    else {
        return false;
    };
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    body["did"] == did && body["state"] == "active"
}
