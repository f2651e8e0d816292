//! Owns the form of signed statements: JWS in compact form (RFC 7515) with ES256K (RFC 8812), and the secp256k1 keys of
//! did:key. Does not own what is stated, nor any private key.

use crate::id::Did;
use bitcoin::base58;
use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};

/// Multicodec `secp256k1-pub` as an unsigned varint.
const SECP256K1_PUB: [u8; 2] = [0xe7, 0x01];

/// Why a signed statement is not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementUnsound {
    /// The issuer has no key that could be checked here.
    #[error("the issuer's DID is no did:key of a secp256k1 key")]
    UnknownKey,
    /// Not three parts, or another header or payload than asked for.
    #[error("it does not state what was asked for")]
    Altered,
    /// No signature of the issuer's key.
    #[error("its signature is wrong")]
    WrongSignature,
}

/// The did:key of a secp256k1 key (multibase base58btc).
pub fn did_of_key(key: &PublicKey) -> Did {
    let bytes: Vec<u8> = SECP256K1_PUB.into_iter().chain(key.serialize()).collect();
    let text = format!("did:key:z{}", base58::encode(&bytes));
    Did::new(text).expect("base58 has letters and digits only")
}

/// The secp256k1 key of a did:key.
pub fn key_of_did(did: &Did) -> Option<PublicKey> {
    let text = did.as_str().strip_prefix("did:key:z")?;
    let bytes = base58::decode(text).ok()?;
    PublicKey::from_slice(bytes.strip_prefix(&SECP256K1_PUB)?).ok()
}

/// What is signed: header and payload (RFC 7515, section 5.1). The key's id is the one that did:key gives it.
pub fn signing_input(issuer: &Did, payload: &str) -> String {
    let fragment = issuer.as_str().trim_start_matches("did:key:");
    let header = format!(r#"{{"alg":"ES256K","kid":"{issuer}#{fragment}"}}"#);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}", part(&header), part(payload))
}

/// The digest that ES256K signs.
pub fn digest(signing_input: &str) -> Message {
    Message::from_digest(sha256::Hash::hash(signing_input.as_bytes()).to_byte_array())
}

/// The whole statement.
pub fn compact(signing_input: &str, signature: &Signature) -> String {
    let signature = URL_SAFE_NO_PAD.encode(signature.serialize_compact());
    format!("{signing_input}.{signature}")
}

/// Whether this is the issuer's statement of that payload.
pub fn verify(issuer: &Did, payload: &str, statement: &str) -> Result<(), StatementUnsound> {
    let key = key_of_did(issuer).ok_or(StatementUnsound::UnknownKey)?;
    let (signed, signature) = statement
        .rsplit_once('.')
        .ok_or(StatementUnsound::Altered)?;
    if signed != signing_input(issuer, payload) {
        return Err(StatementUnsound::Altered);
    }
    let bytes = URL_SAFE_NO_PAD.decode(signature).ok();
    let signature = bytes.and_then(|bytes| Signature::from_compact(&bytes).ok());
    let verified = signature.is_some_and(|signature| {
        Secp256k1::verification_only()
            .verify_ecdsa(&digest(signed), &signature, &key)
            .is_ok()
    });
    if verified {
        Ok(())
    } else {
        Err(StatementUnsound::WrongSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::SecretKey;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).expect("below the curve's order")
    }

    fn did(byte: u8) -> Did {
        did_of_key(&key(byte).public_key(&Secp256k1::new()))
    }

    fn sign(byte: u8, input: &str) -> String {
        compact(
            input,
            &Secp256k1::new().sign_ecdsa(&digest(input), &key(byte)),
        )
    }

    #[test]
    fn keys_and_their_dids_name_each_other() {
        // From the did:key specification's secp256k1 test vectors.
        let text = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
        let known = Did::new(text).expect("a DID");
        let key = key_of_did(&known).expect("a secp256k1 key");
        assert_eq!(did_of_key(&key), known);
        let ed25519 = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        for other in [
            ed25519,
            "did:web:shop.example",
            "did:key:zQ3sh",
            "did:key:z0OIl",
        ] {
            assert_eq!(
                key_of_did(&Did::new(other).expect("a DID")),
                None,
                "{other}"
            );
        }
    }

    #[test]
    fn a_statement_is_its_issuers_and_says_what_was_asked_for() {
        let (issuer, payload) = (did(7), r#"{"id":"p1/outcome-1"}"#);
        let input = signing_input(&issuer, payload);
        let statement = sign(7, &input);
        assert_eq!(
            statement,
            sign(7, &input),
            "signing again gives the same bytes"
        );
        assert_eq!(verify(&issuer, payload, &statement), Ok(()));
        let altered = Err(StatementUnsound::Altered);
        assert_eq!(verify(&issuer, "{}", &statement), altered);
        assert_eq!(verify(&issuer, payload, "a.b"), altered);
        assert_eq!(verify(&issuer, payload, ""), altered);
        let wrong = Err(StatementUnsound::WrongSignature);
        assert_eq!(verify(&issuer, payload, &sign(8, &input)), wrong);
        assert_eq!(verify(&issuer, payload, &format!("{input}.")), wrong);
        assert_eq!(verify(&issuer, payload, &format!("{statement}AA")), wrong);
        let web = Did::new("did:web:shop.example").expect("a DID");
        let unknown = Err(StatementUnsound::UnknownKey);
        assert_eq!(verify(&web, payload, &statement), unknown);
    }
}
