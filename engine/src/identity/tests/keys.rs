//! Owns the tests of identifiers, their keys and their signatures.

use super::*;

/// The examples of the did:key method's specification.
#[test]
fn published_did_keys_are_read() {
    for text in [
        "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH",
        "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    ] {
        let did = Did::new(text).expect("an Ed25519 key");
        assert!(
            matches!(own_key(&did), Ok(Some(DidKey::Ed25519(_)))),
            "{text}"
        );
        assert_eq!(
            own_key(&did).expect("a key").expect("of its own").to_did(),
            did
        );
    }
    for text in [
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "did:key:zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2",
    ] {
        let did = Did::new(text).expect("a secp256k1 key");
        assert!(
            matches!(own_key(&did), Ok(Some(DidKey::Secp256k1(_)))),
            "{text}"
        );
        assert_eq!(
            own_key(&did).expect("a key").expect("of its own").to_did(),
            did
        );
    }
    let other = Did::new("did:web:merchant.example:user").expect("another method");
    assert_eq!(own_key(&other), Ok(None));
}

#[test]
fn what_is_no_key_is_refused() {
    let key = |text: &str| {
        let did = Did::new(format!("did:key:{text}")).expect("the syntax of a DID");
        own_key(&did).expect_err(text)
    };
    assert_eq!(key("6MkpTHR8VNs"), KeyRefused::NotMultibase);
    assert_eq!(key("z0OIl"), KeyRefused::NotMultibase);
    assert_eq!(
        key(&format!("z{}", "1".repeat(200))),
        KeyRefused::NotMultibase
    );
    // P-256 (multicodec 0x1200).
    let p256 = "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169";
    assert_eq!(key(p256), KeyRefused::UnknownKind);
    let short = bitcoin::base58::encode(&[0xed, 0x01, 7, 7]);
    assert_eq!(key(&format!("z{short}")), KeyRefused::NotAKey);
    // The neutral element: any signature would fit.
    let mut weak = vec![0xed, 0x01, 1];
    weak.resize(34, 0);
    let weak = bitcoin::base58::encode(&weak);
    assert_eq!(key(&format!("z{weak}")), KeyRefused::NotAKey);
}

/// RFC 8032, section 7.1, tests 1 and 2.
#[test]
fn published_ed25519_signatures_count() {
    let cases = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "r",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ];
    for (key, text, signature) in cases {
        let bytes: Vec<u8> = bitcoin::hex::FromHex::from_hex(key).expect("hexadecimal");
        let encoded = bitcoin::base58::encode(&[&[0xed, 0x01], bytes.as_slice()].concat());
        let key = DidKey::from_multibase(&format!("z{encoded}")).expect("a key");
        assert_eq!(key.verify(text, signature), Ok(()));
        let wrong = key.verify(&format!("{text}x"), signature);
        assert_eq!(wrong, Err(SignatureRefused::Wrong));
        let cut = key.verify(text, &signature[2..]);
        assert_eq!(cut, Err(SignatureRefused::Malformed));
    }
}

#[test]
fn an_ecdsa_signature_has_one_form() {
    let holder = Holder::secp(3);
    let signature = holder.sign("text");
    assert_eq!(holder.key().verify("text", &signature), Ok(()));
    // n - s signs the same; libsecp256k1 refuses it.
    let bytes: Vec<u8> = bitcoin::hex::FromHex::from_hex(&signature).expect("hexadecimal");
    let s = SecretKey::from_slice(&bytes[32..])
        .expect("a scalar")
        .negate();
    let other = [&bytes[..32], &s.secret_bytes()].concat();
    let high = holder.key().verify("text", &other.to_lower_hex_string());
    assert_eq!(high, Err(SignatureRefused::Wrong));
}
