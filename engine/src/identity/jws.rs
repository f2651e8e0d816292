//! Owns statements that a did:key has signed: JWS in compact form (RFC 7515), by EdDSA (RFC 8037) or ES256K (RFC 8812). The
//! header has one form, so that each statement has one text. Does not own what is stated, nor any private key.

use super::did::{DidKey, own_key};
use crate::id::Did;
use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitcoin::hex::DisplayHex as _;

/// The longest statement that is read: some thirty invoices of the usual length.
pub const MAX_JWS_CHARS: usize = 16 << 10;

/// Why a text is not somebody's statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsRefused {
    /// Too long, not three parts of base64url, or no text in it.
    #[error("it is no JWS in compact form")]
    Malformed,
    /// The DID holds no key.
    #[error("the signer is no did:key")]
    NoKey,
    /// Another algorithm, key or field than that signer's header has.
    #[error("its header names another key than the signer's")]
    OtherSigner,
    /// No signature of that key over this text.
    #[error("its signature is wrong")]
    WrongSignature,
}

/// What the signer of `payload` signs (RFC 7515, section 5.1). The key's id is the one that did:key gives it.
///
/// # Errors
/// When the DID holds no key.
pub fn jws_input(signer: &Did, payload: &str) -> Result<String, JwsRefused> {
    let key = key_of(signer)?;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    Ok(format!("{}.{}", part(&header(signer, &key)), part(payload)))
}

/// The whole statement, of what was signed and its signature.
pub fn jws_compact(input: &str, signature: &[u8; 64]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What a statement says, whoever says so.
///
/// # Errors
/// When it is no statement.
pub fn jws_payload(jws: &str) -> Result<String, JwsRefused> {
    parts(jws).map(|parts| parts.payload)
}

/// What a statement says, if `signer` says so.
///
/// # Errors
/// When it is no statement, or not that signer's.
pub fn open_jws(signer: &Did, jws: &str) -> Result<String, JwsRefused> {
    let key = key_of(signer)?;
    let parts = parts(jws)?;
    if parts.header != header(signer, &key) {
        return Err(JwsRefused::OtherSigner);
    }
    let verified = key.verify(parts.signed, &parts.signature.to_lower_hex_string());
    verified.map_err(|_| JwsRefused::WrongSignature)?;
    Ok(parts.payload)
}

struct Parts<'a> {
    header: String,
    payload: String,
    /// Header and payload as they were signed.
    signed: &'a str,
    signature: Vec<u8>,
}

fn parts(jws: &str) -> Result<Parts<'_>, JwsRefused> {
    if jws.len() > MAX_JWS_CHARS {
        return Err(JwsRefused::Malformed);
    }
    let bytes = |part: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(part);
        decoded.map_err(|_| JwsRefused::Malformed)
    };
    let text = |part| String::from_utf8(bytes(part)?).map_err(|_| JwsRefused::Malformed);
    let (signed, signature) = jws.rsplit_once('.').ok_or(JwsRefused::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsRefused::Malformed)?;
    Ok(Parts {
        header: text(header)?,
        payload: text(payload)?,
        signed,
        signature: bytes(signature)?,
    })
}

fn key_of(did: &Did) -> Result<DidKey, JwsRefused> {
    own_key(did).ok().flatten().ok_or(JwsRefused::NoKey)
}

fn header(signer: &Did, key: &DidKey) -> String {
    let algorithm = match key {
        DidKey::Ed25519(_) => "EdDSA",
        DidKey::Secp256k1(_) => "ES256K",
    };
    let fragment = key.to_multibase();
    format!(r#"{{"alg":"{algorithm}","kid":"{signer}#{fragment}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::{Hash as _, sha256};
    use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
    use ed25519_dalek::{Signer as _, SigningKey};

    fn ed25519(byte: u8) -> (SigningKey, Did) {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let did = DidKey::Ed25519(key.verifying_key()).to_did();
        (key, did)
    }

    fn signed_by(byte: u8, payload: &str) -> (Did, String) {
        let (key, did) = ed25519(byte);
        let input = jws_input(&did, payload).expect("a key");
        let signature = key.sign(input.as_bytes()).to_bytes();
        let jws = jws_compact(&input, &signature);
        (did, jws)
    }

    #[test]
    fn both_kinds_of_keys_sign() {
        let (did, jws) = signed_by(7, "{}");
        assert_eq!(open_jws(&did, &jws).as_deref(), Ok("{}"));
        let key = SecretKey::from_slice(&[7; 32]).expect("below the order");
        let did = DidKey::Secp256k1(key.public_key(&Secp256k1::new())).to_did();
        let input = jws_input(&did, "{}").expect("a key");
        let digest = sha256::Hash::hash(input.as_bytes()).to_byte_array();
        let signature = Secp256k1::new().sign_ecdsa(&Message::from_digest(digest), &key);
        let jws = jws_compact(&input, &signature.serialize_compact());
        assert_eq!(open_jws(&did, &jws).as_deref(), Ok("{}"));
    }

    #[test]
    fn a_statement_is_its_signers_and_unaltered() {
        let (did, jws) = signed_by(7, "{}");
        let (other, others) = signed_by(8, "{}");
        assert_eq!(open_jws(&did, &others), Err(JwsRefused::OtherSigner));
        assert_eq!(open_jws(&other, &jws), Err(JwsRefused::OtherSigner));
        let (_, elsewhere) = signed_by(7, "[]");
        let (signed, _) = jws.rsplit_once('.').expect("three parts");
        let (_, signature) = elsewhere.rsplit_once('.').expect("three parts");
        let mixed = format!("{signed}.{signature}");
        assert_eq!(open_jws(&did, &mixed), Err(JwsRefused::WrongSignature));
        assert_eq!(open_jws(&did, signed), Err(JwsRefused::Malformed));
        let padded = format!("{jws}=");
        assert_eq!(open_jws(&did, &padded), Err(JwsRefused::Malformed));
        let long = format!("{}.{jws}", "A".repeat(MAX_JWS_CHARS));
        assert_eq!(open_jws(&did, &long), Err(JwsRefused::Malformed));
        let web = Did::new("did:web:judge.example").expect("a DID");
        assert_eq!(open_jws(&web, &jws), Err(JwsRefused::NoKey));
    }
}
