//! BIP 174 (partially signed transactions) with the fields of BIP 371 (taproot): what must be read and written again byte
//! for byte, what must be refused, and the way of the published two-signer example through combiner, finaliser and extractor.
//!
//! These are the library's own answers: engine, signer and cosigners read PSBTs with nothing else.

use bdk_wallet::miniscript::psbt::PsbtExt as _;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hex::{DisplayHex as _, FromHex as _};
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use serde_json::Value;
use std::fs;

fn vectors(name: &str) -> Value {
    let path = lockstep_tests::root()
        .join("fixtures/vectors/bip174")
        .join(name);
    let text = fs::read_to_string(&path).expect("the vectors are there");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn hexes(vectors: &Value, section: &str) -> Vec<String> {
    let list = vectors[section].as_array();
    let list = list.unwrap_or_else(|| panic!("no section `{section}`"));
    let hex = |vector: &Value| vector["hex"].as_str().expect("text").to_owned();
    list.iter().map(hex).collect()
}

fn read(hex: &str) -> Result<Psbt, bitcoin::psbt::Error> {
    Psbt::deserialize(&Vec::from_hex(hex).expect("hexadecimal"))
}

fn written(psbt: &Psbt) -> String {
    psbt.serialize().to_lower_hex_string()
}

#[test]
fn what_is_valid_is_read_and_written_again() {
    for (file, count) in [("vectors.json", 6), ("bip371.json", 6)] {
        let valid = hexes(&vectors(file), "valid");
        assert_eq!(valid.len(), count, "{file}");
        for hex in valid {
            let psbt = read(&hex).unwrap_or_else(|error| panic!("{error}: {hex}"));
            let again = read(&written(&psbt)).expect("what was written");
            assert_eq!(again, psbt);
        }
    }
}

#[test]
fn what_is_invalid_is_refused() {
    for (file, count) in [("vectors.json", 5), ("bip371.json", 10)] {
        let invalid = hexes(&vectors(file), "invalid");
        assert_eq!(invalid.len(), count, "{file}");
        for hex in invalid {
            assert!(read(&hex).is_err(), "{hex}");
        }
    }
}

/// The library reads version 0 only. A PSBT of version 2 (BIP 370) is refused and not misread: a version 0 that says it
/// were version 2 is all that is needed to see it.
#[test]
fn version_2_is_refused() {
    let valid = hexes(&vectors("vectors.json"), "valid").remove(2);
    let global_ends = valid.find("000001").expect("the end of the global map");
    let version = "01fb0402000000";
    let text = format!(
        "{}{version}{}",
        &valid[..global_ends],
        &valid[global_ends..]
    );
    assert!(read(&valid).is_ok());
    assert!(read(&text).is_err(), "{text}");
}

#[test]
fn two_signers_are_combined_finalised_and_extracted() {
    let vectors = vectors("vectors.json");
    let of = |name: &str| vectors["workflow"][name].as_str().expect("text").to_owned();
    let combined = read(&of("combined")).expect("a PSBT");
    // The published example gives each signer's part too; here they are taken apart again.
    let part = |keep: usize| {
        let mut part = combined.clone();
        for input in &mut part.inputs {
            let signatures = std::mem::take(&mut input.partial_sigs).into_iter();
            let signatures: Vec<_> = signatures.collect();
            assert_eq!(signatures.len(), 2);
            input.partial_sigs = signatures.into_iter().skip(keep).take(1).collect();
        }
        part
    };
    for (first, second) in [(0, 1), (1, 0)] {
        let mut together = part(first);
        together
            .combine(part(second))
            .expect("the same transaction");
        assert_eq!(together, combined);
    }
    let secp = Secp256k1::verification_only();
    let mut finalised = combined.clone();
    finalised.finalize_mut(&secp).expect("complete");
    assert_eq!(finalised, read(&of("finalised")).expect("a PSBT"));
    let extracted = finalised.extract(&secp).expect("final");
    assert_eq!(serialize_hex(&extracted), of("extracted"));
    let mut alone = part(0);
    assert!(alone.finalize_mut(&secp).is_err(), "one of two is too few");
}
