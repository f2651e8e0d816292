//! BIP 322 (generic signed messages): hashes, valid proofs, proofs that are refused for what they are, and wrong ones.

use bip322::{LockParams, create_to_sign, create_to_spend, tagged_hash};
use bitcoin::Address;
use bitcoin::hex::DisplayHex as _;
use lockstep_engine::identity::{ProofRefused, verify_proof};
use serde_json::Value;
use std::fs;

fn vectors(name: &str) -> Value {
    let path = lockstep_tests::root()
        .join("fixtures/vectors/bip322")
        .join(name);
    let text = fs::read_to_string(&path).expect("the vectors are there");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn list<'a>(vectors: &'a Value, section: &str) -> &'a [Value] {
    let list = vectors[section].as_array();
    list.unwrap_or_else(|| panic!("no section `{section}`"))
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    let text = vector[field].as_str();
    text.unwrap_or_else(|| panic!("no `{field}` in {vector}"))
}

/// The vectors are of the main network.
fn address(vector: &Value) -> Address {
    let address: Address<_> = text(vector, "address").parse().expect("an address");
    address.assume_checked()
}

fn verify(vector: &Value, signature: &str) -> Result<(), ProofRefused> {
    verify_proof(&address(vector), text(vector, "message"), signature)
}

fn signatures(vector: &Value) -> impl Iterator<Item = &str> {
    let list = list(vector, "bip322_signatures").iter();
    list.map(|signature| signature.as_str().expect("text"))
}

#[test]
fn hashes_and_transactions_are_as_published() {
    let vectors = vectors("basic.json");
    for vector in list(&vectors, "tx_hashes") {
        let message = text(vector, "message");
        let hash = tagged_hash("BIP0322-signed-message", message);
        assert_eq!(hash.to_lower_hex_string(), text(vector, "message_hash"));
        let to_spend = create_to_spend(&address(vector), message).expect("is built");
        let txid = to_spend.compute_txid().to_string();
        assert_eq!(txid, text(vector, "to_spend_tx_hash"));
        let to_sign = create_to_sign(&to_spend, None, LockParams::default()).expect("is built");
        let txid = to_sign.unsigned_tx.compute_txid().to_string();
        assert_eq!(txid, text(vector, "to_sign_tx_hash"));
    }
}

#[test]
fn simple_proofs_are_taken() {
    let mut taken = 0;
    for name in ["basic.json", "generated.json"] {
        let vectors = vectors(name);
        for vector in list(&vectors, "simple") {
            for signature in signatures(vector) {
                assert_eq!(verify(vector, signature), Ok(()), "{vector}");
                taken += 1;
            }
        }
    }
    assert_eq!(taken, 10);
}

/// The published full proofs all have a lock time and a sequence, so they hold only from some time on: they are refused for
/// that, whatever their script.
#[test]
fn time_locked_proofs_are_refused_as_such() {
    let vectors = vectors("generated.json");
    let full = list(&vectors, "full");
    assert_eq!(full.len(), 10);
    for vector in full {
        let locked = ProofRefused::TimeLocked {
            lock_time: 2016,
            sequence: 2016,
        };
        for signature in signatures(vector) {
            assert_eq!(verify(vector, signature), Err(locked.clone()), "{vector}");
        }
    }
}

/// Where the library that is used falls short of the standard: of the same full proofs it takes all but those of scripts
/// with a time lock. If a later version takes them too, this fails, and SPEC.md must be changed.
#[test]
fn the_library_takes_full_proofs_but_of_time_locked_scripts() {
    let vectors = vectors("generated.json");
    for vector in list(&vectors, "full") {
        let (address, message) = (text(vector, "address"), text(vector, "message"));
        for signature in signatures(vector) {
            let verdict = bip322::verify_full_encoded(address, message, signature);
            let valid = matches!(verdict, Ok(bip322::Verification::Valid { .. }));
            let time_lock = text(vector, "type").ends_with("time-lock");
            assert_eq!(valid, !time_lock, "{vector}: {verdict:?}");
        }
    }
}

/// A full proof without locks is taken: made with the key of a published simple vector.
#[test]
fn full_proofs_without_a_lock_are_taken() {
    let vectors = vectors("basic.json");
    let vector = &list(&vectors, "simple")[1];
    let key = "L3VFeEujGtevx9w18HD1fhRbCH67Az2dpCymeRE1SoPK6XQtaN2k";
    let (address, message) = (text(vector, "address"), text(vector, "message"));
    let no_lock = LockParams::default();
    let proof = bip322::sign_full_encoded(address, message, &[key], None, no_lock);
    let proof = proof.expect("signs");
    assert_eq!(verify(vector, &proof), Ok(()));
    let other = verify_proof(&self::address(vector), "another text", &proof);
    assert!(
        matches!(other, Err(ProofRefused::Invalid { .. })),
        "{other:?}"
    );
}

#[test]
fn proofs_of_funds_are_refused_as_such() {
    let vectors = vectors("generated.json");
    let proofs = list(&vectors, "proof_of_funds");
    assert!(!proofs.is_empty());
    for vector in proofs {
        for signature in signatures(vector) {
            assert_eq!(verify(vector, signature), Err(ProofRefused::ProofOfFunds));
        }
    }
}

#[test]
fn wrong_proofs_are_refused() {
    let mut refused = 0;
    for name in ["basic.json", "generated.json"] {
        let vectors = vectors(name);
        for vector in list(&vectors, "error") {
            let verdict = verify(vector, text(vector, "signature"));
            assert!(verdict.is_err(), "{vector}");
            refused += 1;
        }
    }
    assert_eq!(refused, 20);
}

/// A script that nobody can interpret here is neither right nor wrong (BIP 322: inconclusive); it does not count.
#[test]
fn what_cannot_be_interpreted_does_not_count() {
    // A witness program of version 2.
    let address: Address<_> = "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"
        .parse()
        .expect("an address");
    let verdict = verify_proof(&address.assume_checked(), "text", "smpAQA=");
    assert_eq!(verdict, Err(ProofRefused::Inconclusive));
}
