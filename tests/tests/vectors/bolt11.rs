//! BOLT 11 (payment encoding): what each published example says, and the name under which each invalid one is refused.

use bitcoin::Network;
use bitcoin::hex::DisplayHex as _;
use lockstep_engine::lightning::{InvoiceRefused, Payer, check_invoice};
use lockstep_engine::money::Msat;
use lockstep_engine::rail::Description;
use lockstep_engine::time::Timestamp;
use serde_json::Value;
use std::fs;

/// The example whose signature was made to have a high `s`, and the key that is recovered from it then.
const HIGH_S: &str = "signed with a high s";
const OF_HIGH_S: &str = "02d0139ce7427d6dfffd26a326c18be754ef1e64672b42694ba5b23ef6e6e7803d";

/// The key that signed all others.
const PAYEE: &str = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad";

/// The moment at which most of them were made.
const NOW: Timestamp = Timestamp(1_496_314_658_000);

fn vectors(name: &str) -> Vec<Value> {
    let path = lockstep_tests::root()
        .join("fixtures/vectors/bolt11")
        .join(name);
    let text = fs::read_to_string(&path).expect("the vectors are there");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().expect("text")
}

fn network(vector: &Value) -> Network {
    match text(vector, "network") {
        "bitcoin" => Network::Bitcoin,
        "testnet" => Network::Testnet,
        other => panic!("no example is of {other}"),
    }
}

fn payer(network: Network) -> Payer {
    Payer {
        now: NOW,
        network,
        longest_final_delta_blocks: 1_008,
    }
}

#[test]
fn what_is_valid_says_what_the_text_says() {
    let valid = vectors("valid.json");
    assert_eq!(valid.len(), 15);
    for vector in &valid {
        let name = text(vector, "name");
        let read = check_invoice(text(vector, "invoice"), payer(network(vector)));
        let read = read.unwrap_or_else(|refused| panic!("{name}: {refused}"));
        assert_eq!(
            read.asks,
            vector["amount_msat"].as_u64().map(Msat),
            "{name}"
        );
        let expires = vector["expires_secs"].as_u64().expect("a number");
        assert_eq!(read.expires_at, Timestamp(expires * 1_000), "{name}");
        assert_eq!(
            Some(read.final_delta_blocks),
            vector["final_cltv_delta"].as_u64(),
            "{name}"
        );
        let description = match read.description {
            Description::Text(words) => words,
            Description::Hash(hash) => hash.to_lower_hex_string(),
        };
        assert_eq!(description, text(vector, "description"), "{name}");
        let hash = read.payment_hash.to_lower_hex_string();
        assert_eq!(hash, text(vector, "payment_hash"), "{name}");
        let payee = if name == HIGH_S { OF_HIGH_S } else { PAYEE };
        assert_eq!(read.payee.to_string(), payee, "{name}");
    }
}

#[test]
fn what_is_of_another_network_or_over_is_refused() {
    for vector in &vectors("valid.json") {
        let invoice = text(vector, "invoice");
        let foreign = check_invoice(invoice, payer(Network::Regtest));
        assert!(
            matches!(foreign, Err(InvoiceRefused::WrongNetwork { .. })),
            "{foreign:?}"
        );
        let expires = vector["expires_secs"].as_u64().expect("a number") * 1_000;
        let late = |ms| Payer {
            now: Timestamp(ms),
            ..payer(network(vector))
        };
        assert!(check_invoice(invoice, late(expires - 1)).is_ok());
        assert_eq!(
            check_invoice(invoice, late(expires)),
            Err(InvoiceRefused::Expired {
                expired_at: Timestamp(expires)
            })
        );
    }
}

#[test]
fn what_is_invalid_is_refused_by_its_name() {
    let invalid = vectors("invalid.json");
    assert_eq!(invalid.len(), 9);
    for vector in &invalid {
        let refused = check_invoice(text(vector, "invoice"), payer(Network::Bitcoin));
        let name = match refused.expect_err("invalid") {
            InvoiceRefused::BadChecksum => "bad_checksum",
            InvoiceRefused::NotBolt11 { .. } => "not_bolt11",
            InvoiceRefused::BadSignature => "bad_signature",
            InvoiceRefused::UnknownFeature => "unknown_feature",
            InvoiceRefused::TooFine => "too_fine",
            InvoiceRefused::NoPaymentSecret => "no_payment_secret",
            other => panic!("{other}"),
        };
        assert_eq!(name, text(vector, "refused"), "{}", text(vector, "name"));
    }
}
