//! Owns the targets of Layer 0: DIDs as typed, its answers, and signed statements. A file of an answer is the status in the first
//! line and the body below.

use crate::attack::Verdict;
use lockstep::prng::RootSeed;
use lockstep::worlds::keys;
use lockstep_engine::id::Did;
use lockstep_engine::layer0::{self, DidAnswer};

/// Whom the answers of the corpus are about.
const ASKED: &str = "did:web:ann.example";

/// What the statements of the corpus say.
const PAYLOAD: &str = r#"{"id":"c1/outcome-1"}"#;

/// A DID is a legal part of a path, and of a JSON text, as it stands.
pub(crate) fn did(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let read = Did::new(text);
    if let Ok(did) = &read {
        assert_eq!(did.as_str(), text);
        let path = layer0::did_request(did).path;
        assert!(!path.contains([' ', '?', '#', '"', '\\']) && path.matches('/').count() == 3);
        assert_eq!(path.matches("%25").count(), text.matches('%').count());
        if let Some(key) = layer0::key_of_did(did) {
            assert_eq!(&layer0::did_of_key(&key), did);
        }
    }
    Verdict::from(&read)
}

/// What is known is about the DID asked for.
pub(crate) fn did_answer(bytes: &[u8]) -> Verdict {
    let asked = Did::new(ASKED).expect("a DID");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let Some((status, body)) = text.split_once('\n') else {
        return Verdict::Refused;
    };
    let Ok(status) = status.parse() else {
        return Verdict::Refused;
    };
    match layer0::parse_did(&asked, status, body) {
        DidAnswer::Known(record) => {
            assert_eq!((status, &record.did), (200, &asked));
            let again = serde_json::to_string(&record).expect("JSON");
            let read = layer0::parse_did(&asked, 200, &again);
            assert_eq!(read, DidAnswer::Known(record));
            Verdict::Accepted
        }
        DidAnswer::Unknown => {
            assert_eq!(status, 404);
            Verdict::Accepted
        }
        DidAnswer::Unclear => Verdict::Refused,
    }
}

/// Only the operator's own signature under the words asked for is good; base64url has one form for each statement.
pub(crate) fn statement(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let issuer = keys::operator_did(RootSeed(1));
    let read = layer0::verify(&issuer, PAYLOAD, text);
    if read.is_ok() {
        assert!(text.starts_with(&layer0::signing_input(&issuer, PAYLOAD)));
        assert_eq!(text.matches('.').count(), 2);
    }
    Verdict::from(&read)
}
