//! Owns the test of payment URIs against fixtures/vectors/bip21.

use crate::onchain::bip21::PaymentUri;

#[test]
fn the_examples_of_bip_21_mean_what_it_says() {
    let text = include_str!("../../../../fixtures/vectors/bip21/vectors.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("JSON");
    assert_eq!(vectors.len(), 10);
    for vector in &vectors {
        let (from, uri) = (&vector["from"], vector["uri"].as_str().expect("a URI"));
        let read = PaymentUri::parse(uri);
        let Some(means) = vector.get("means") else {
            assert!(read.is_err(), "{from}: {read:?}");
            continue;
        };
        let read = read.unwrap_or_else(|refused| panic!("{from}: {refused}"));
        let text = |key: &str| means.get(key).and_then(|value| value.as_str());
        assert_eq!(Some(read.address.as_str()), text("address"), "{from}");
        assert_eq!(read.label.as_deref(), text("label"), "{from}");
        assert_eq!(read.message.as_deref(), text("message"), "{from}");
        let amount = means.get("amount_sat").and_then(|value| value.as_u64());
        assert_eq!(read.amount.map(|amount| amount.0), amount, "{from}");
    }
}
