//! Owns who a party's own wallet belongs to: the keys of identifiers, the challenge that is signed, the two proofs over
//! it, and the states of a binding. Pure. Does not own the calls to Layer 0 (`payments` issues them), nor which payments need
//! a binding (`policy` says so, `payments` asks here).
//!
//! A wallet is bound when its key (BIP 322) and the DID's key have both signed the same challenge, and Layer 0 has said
//! that the DID is active. It stays so until it expires, is revoked, or its DID is rotated.

mod binding;
mod book;
mod challenge;
mod did;
mod jws;
mod news;
mod proof;
mod wallet;

pub use binding::{Binding, BindingState, Confirmed, Ended, NotBound, RevokedBy};
pub use book::{
    Bindings, ProveRefused, ProveWallet, RegisterRefused, RegisterWallet, RevokeRefused, RotateDid,
    RotateRefused,
};
pub use challenge::{Challenge, rotation_text};
pub use did::{DidKey, KeyRefused, SignatureRefused, own_key};
pub use jws::{JwsRefused, MAX_JWS_CHARS, jws_compact, jws_input, jws_payload, open_jws};
pub use news::DidNews;
pub use proof::{MAX_PROOF_CHARS, ProofRefused, verify_proof};
pub use wallet::{DESCRIPTOR_SCRIPTS, OwnWallet, Purpose, WalletRefused};

#[cfg(test)]
mod tests;
