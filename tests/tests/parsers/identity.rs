//! Owns the targets of identity: keys of DIDs, proofs of wallets, Layer 0's webhooks.

use crate::attack::Verdict;
use bitcoin::Address;
use lockstep_engine::identity::{DidKey, DidNews, own_key, verify_proof};

/// Whose proofs the corpus holds, and over which text (BIP 322's first vectors).
const ADDRESS: &str = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l";
const TEXT: &str = "Hello World";

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// One form each: what is read is written as it was, and its `did:key` holds it.
pub(crate) fn did_key(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else {
        return Verdict::Refused;
    };
    let key = DidKey::from_multibase(text);
    if let Ok(key) = &key {
        assert_eq!(key.to_multibase(), text);
        assert_eq!(own_key(&key.to_did()), Ok(Some(*key)));
        assert!(key.verify(TEXT, &"00".repeat(64)).is_err());
    }
    Verdict::from(&key)
}

/// What is accepted over one text is not accepted over another, nor for another address.
pub(crate) fn wallet_proof(bytes: &[u8]) -> Verdict {
    let Some(proof) = text(bytes) else {
        return Verdict::Refused;
    };
    let address = |text: &str| {
        let address: Address<_> = text.parse().expect("a literal address");
        address.assume_checked()
    };
    let verified = verify_proof(&address(ADDRESS), TEXT, proof);
    if verified.is_ok() {
        assert!(verify_proof(&address(ADDRESS), "hello world", proof).is_err());
        let other = address("bc1qqthe0hz8klx90e7stf6shclhsvqd5ly96pn53v");
        assert!(verify_proof(&other, TEXT, proof).is_err());
    }
    Verdict::from(&verified)
}

/// What is read as news claims to be Layer 0's, so its own secret is asked for.
pub(crate) fn did_news(bytes: &[u8]) -> Verdict {
    let Some(body) = text(bytes) else {
        return Verdict::Refused;
    };
    match DidNews::read(body) {
        Some(_) => {
            assert!(DidNews::claims(body));
            Verdict::Accepted
        }
        None => Verdict::Refused,
    }
}
