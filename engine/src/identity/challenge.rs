//! Owns the texts that are signed: the challenge of a binding and the order of a rotation. Does not own the signatures
//! (`did`, `proof`).

use super::wallet::{OwnWallet, Purpose};
use crate::id::{BindingId, Did, PartyId};
use crate::rail::Entropy;
use crate::time::{Span, Timestamp};
use bitcoin::Network;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};
use serde::{Deserialize, Serialize};

/// A text to be signed by the wallet's key and by the DID's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What is signed, byte for byte (UTF-8).
    pub text: String,
    /// Later answers do not count.
    pub answer_before: Timestamp,
}

/// All that a challenge names, so that a signature over it can serve for nothing else.
pub(super) struct Subject<'a> {
    pub(super) binding: &'a BindingId,
    pub(super) party: &'a PartyId,
    pub(super) did: &'a Did,
    pub(super) wallet: &'a OwnWallet,
    pub(super) purpose: Purpose,
    pub(super) valid_for: Span,
    pub(super) network: Network,
}

impl Challenge {
    /// The challenge for a subject; its nonce is drawn from the input's entropy.
    pub(super) fn new(
        subject: &Subject<'_>,
        entropy: Entropy,
        answer_before: Timestamp,
    ) -> Challenge {
        let text = format!(
            "I bind this wallet to my identity.\n\
             binding: {}\nparty: {}\ndid: {}\nwallet: {}\npurpose: {}\nvalid for: {} ms\nnetwork: {}\nanswer before: {} ms\n\
             nonce: {}",
            subject.binding,
            subject.party,
            subject.did,
            subject.wallet,
            subject.purpose.word(),
            subject.valid_for.0,
            subject.network,
            answer_before.0,
            nonce(subject.binding, entropy),
        );
        Challenge {
            text,
            answer_before,
        }
    }
}

fn nonce(binding: &BindingId, entropy: Entropy) -> sha256::Hash {
    let mut engine = sha256::Hash::engine();
    engine.input(b"lockstep/binding/");
    engine.input(&entropy.0);
    engine.input(binding.as_str().as_bytes());
    sha256::Hash::from_engine(engine)
}

/// What the old and the new DID key sign when a binding passes from one DID to another. `challenge` is the binding's own,
/// `rotations` how many there were before: so no signature serves twice.
pub fn rotation_text(
    binding: &BindingId,
    challenge: &Challenge,
    to: &Did,
    rotations: u32,
) -> String {
    let digest = sha256::Hash::hash(challenge.text.as_bytes());
    format!(
        "I pass this wallet's binding on to another identity.\n\
         binding: {binding}\nchallenge: {digest}\nrotation: {rotations}\nto: {to}"
    )
}
