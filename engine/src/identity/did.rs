//! Owns the keys that speak for decentralised identifiers, and the check of a signature by such a key. Does not own the
//! identifiers (`id`), which of them are active (Layer 0 says so), nor what is signed (`challenge`).
//!
//! A `did:key` (W3C CCG, did:key method 0.9) holds its key itself: multibase base58btc (`z`) over a multicodec and the key.
//! Two kinds are known: Ed25519 (`0xed`) and secp256k1 (`0xe7`, compressed). Keys of other methods come from a resolver, in
//! the same multibase form.

use crate::id::Did;
use bitcoin::base58;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::FromHex as _;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, ecdsa};
use ed25519_dalek::{Signature as EdSignature, VerifyingKey};

/// Multicodec 0xed (Ed25519 public key) as an unsigned varint.
const ED25519: [u8; 2] = [0xed, 0x01];
/// Multicodec 0xe7 (secp256k1 public key, compressed) as an unsigned varint.
const SECP256K1: [u8; 2] = [0xe7, 0x01];

/// Why a multibase text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// Not base58btc.
    #[error("it is not base58btc in multibase (`z` and base58)")]
    NotMultibase,
    /// Another multicodec.
    #[error("it is neither an Ed25519 nor a secp256k1 key (multicodec 0xed, 0xe7)")]
    UnknownKind,
    /// The right kind, and not a key.
    #[error("its bytes are not a public key")]
    NotAKey,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefused {
    /// Not 64 bytes in hexadecimal.
    #[error("the signature of the DID key is not 64 bytes in hexadecimal")]
    Malformed,
    /// Another key, or another text.
    #[error("the signature is not of the DID key, or not over this text")]
    Wrong,
}

/// The longest multibase text that is read as a key; those of the two kinds have 48 and 49 characters.
const MAX_KEY_CHARS: usize = 64;

/// The key that the identifier itself holds; `None` for every method but `did:key`.
///
/// # Errors
/// When it is a `did:key` whose key cannot be used.
pub fn own_key(did: &Did) -> Result<Option<DidKey>, KeyRefused> {
    let text = did.as_str().strip_prefix("did:key:");
    text.map(DidKey::from_multibase).transpose()
}

/// A public key that speaks for a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DidKey {
    /// RFC 8032; signatures are over the text itself.
    Ed25519(VerifyingKey),
    /// ECDSA; signatures are over the SHA-256 of the text (RFC 8812, ES256K).
    Secp256k1(PublicKey),
}

impl DidKey {
    /// Reads a key in multibase form (`z…`).
    ///
    /// # Errors
    /// When it is not base58btc, of another kind, or not a point of its curve.
    pub fn from_multibase(text: &str) -> Result<DidKey, KeyRefused> {
        let encoded = text.strip_prefix('z').ok_or(KeyRefused::NotMultibase)?;
        if encoded.len() > MAX_KEY_CHARS {
            return Err(KeyRefused::NotMultibase);
        }
        let bytes = base58::decode(encoded).map_err(|_| KeyRefused::NotMultibase)?;
        let (codec, key) = bytes
            .split_at_checked(ED25519.len())
            .ok_or(KeyRefused::UnknownKind)?;
        if codec == ED25519 {
            let key = <&[u8; 32]>::try_from(key).map_err(|_| KeyRefused::NotAKey)?;
            let key = VerifyingKey::from_bytes(key).map_err(|_| KeyRefused::NotAKey)?;
            if key.is_weak() {
                return Err(KeyRefused::NotAKey);
            }
            Ok(DidKey::Ed25519(key))
        } else if codec == SECP256K1 {
            let key = <&[u8; 33]>::try_from(key).map_err(|_| KeyRefused::NotAKey)?;
            let key = PublicKey::from_slice(key).map_err(|_| KeyRefused::NotAKey)?;
            Ok(DidKey::Secp256k1(key))
        } else {
            Err(KeyRefused::UnknownKind)
        }
    }

    /// The key in multibase form, as a `did:key` has it after its prefix.
    pub fn to_multibase(&self) -> String {
        let bytes = match self {
            DidKey::Ed25519(key) => [ED25519.as_slice(), key.as_bytes()].concat(),
            DidKey::Secp256k1(key) => [SECP256K1.as_slice(), &key.serialize()].concat(),
        };
        format!("z{}", base58::encode(&bytes))
    }

    /// The `did:key` of this key.
    ///
    /// # Panics
    /// Never: the text has the form that is checked.
    pub fn to_did(&self) -> Did {
        Did::new(format!("did:key:{}", self.to_multibase())).expect("a key makes a did:key")
    }

    /// Whether `signature_hex` (64 bytes in hexadecimal) is this key's signature over `text`. Each text has one signature by
    /// a key that counts: Ed25519 is checked strictly (no small-order points), ECDSA must have a low s (BIP 146).
    ///
    /// # Errors
    /// When it is malformed, of another key, or over another text.
    pub fn verify(&self, text: &str, signature_hex: &str) -> Result<(), SignatureRefused> {
        let bytes = <[u8; 64]>::from_hex(signature_hex).map_err(|_| SignatureRefused::Malformed)?;
        match self {
            DidKey::Ed25519(key) => key
                .verify_strict(text.as_bytes(), &EdSignature::from_bytes(&bytes))
                .map_err(|_| SignatureRefused::Wrong),
            DidKey::Secp256k1(key) => {
                let signature = ecdsa::Signature::from_compact(&bytes)
                    .map_err(|_| SignatureRefused::Malformed)?;
                let digest = sha256::Hash::hash(text.as_bytes()).to_byte_array();
                // libsecp256k1 takes low s only.
                Secp256k1::verification_only()
                    .verify_ecdsa(&Message::from_digest(digest), &signature, key)
                    .map_err(|_| SignatureRefused::Wrong)
            }
        }
    }
}
