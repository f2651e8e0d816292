//! Owns the tests of webhook signatures; the cases are those that Stripe's client libraries check.

use super::*;
use crate::time::{Span, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const TOLERANCE: Span = Span::secs(300);

fn body() -> String {
    let data = json(&transfer(TransferStatus::Settled, 2));
    format!(r#"{{"id":"evt_1","type":"transfer.settled","created":1700000000,"data":{data}}}"#)
}

fn verify(secrets: &[&str], header: &str, body: &str) -> Result<WebhookEvent, WebhookRefused> {
    let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    verify_webhook(&secrets, TOLERANCE, NOW, header, body)
}

fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp(NOW.0.saturating_add_signed(seconds.saturating_mul(1_000)))
}

#[test]
fn a_signature_is_the_published_construction() {
    // HMAC-SHA256("key", "0.The quick brown fox"), computed with another implementation.
    let header = sign_webhook("key", Timestamp(999), "The quick brown fox");
    assert_eq!(
        header,
        "t=0,v1=10c3ae5bdd0fd5c9ad60a05ea4051bb529622def626c0d64295951b2039454ed"
    );
}

#[test]
fn a_genuine_webhook_is_read() {
    let event = verify(&["s1"], &sign_webhook("s1", NOW, &body()), &body()).expect("genuine");
    assert_eq!(
        (event.id.as_str(), event.kind),
        ("evt_1", WebhookKind::TransferSettled)
    );
    assert_eq!(
        (event.created_secs, event.transfer),
        (1_700_000_000, transfer(TransferStatus::Settled, 2))
    );
}

#[test]
fn a_wrong_secret_or_another_body_is_found() {
    let header = sign_webhook("s1", NOW, &body());
    assert_eq!(
        verify(&["s2"], &header, &body()),
        Err(WebhookRefused::WrongSignature)
    );
    assert_eq!(
        verify(&[], &header, &body()),
        Err(WebhookRefused::WrongSignature)
    );
    assert_eq!(
        verify(&["s1"], &header, &body().replace("1250", "9999")),
        Err(WebhookRefused::WrongSignature)
    );
    // The same JSON written again in another way is another body.
    let value: serde_json::Value = serde_json::from_str(&body()).expect("JSON");
    let again = serde_json::to_string_pretty(&value).expect("JSON");
    assert_eq!(
        verify(&["s1"], &header, &again),
        Err(WebhookRefused::WrongSignature)
    );
    // The time is signed too.
    let redated = header.replace("t=1700000000", "t=1700000001");
    assert_eq!(
        verify(&["s1"], &redated, &body()),
        Err(WebhookRefused::WrongSignature)
    );
}

#[test]
fn age_counts_both_ways() {
    let signed = |seconds| {
        verify(
            &["s1"],
            &sign_webhook("s1", seconds_from_now(seconds), &body()),
            &body(),
        )
    };
    assert!(signed(-300).is_ok() && signed(300).is_ok());
    assert_eq!(
        signed(-301),
        Err(WebhookRefused::TooOld {
            age: Span::secs(301)
        })
    );
    assert_eq!(
        signed(301),
        Err(WebhookRefused::TooNew {
            lead: Span::secs(301)
        })
    );
    let forged = sign_webhook("s2", seconds_from_now(-301), &body());
    assert_eq!(
        verify(&["s1"], &forged, &body()),
        Err(WebhookRefused::WrongSignature)
    );
}

#[test]
fn secrets_can_be_rotated() {
    let (old, new) = (
        sign_webhook("old", NOW, &body()),
        sign_webhook("new", NOW, &body()),
    );
    assert!(verify(&["new", "old"], &old, &body()).is_ok());
    assert!(verify(&["new", "old"], &new, &body()).is_ok());
    assert!(verify(&["new"], &old, &body()).is_err());
    // The sender signs with both.
    let (_, old_part) = old.split_once(',').expect("two parts");
    assert!(verify(&["new"], &format!("{new},{old_part}"), &body()).is_ok());
    assert!(
        verify(
            &["new"],
            &format!("t=1700000000,{old_part},v1={}", &new[16..]),
            &body()
        )
        .is_ok()
    );
}

#[test]
fn odd_headers() {
    let good = sign_webhook("s1", NOW, &body());
    let signature = good.split_once("v1=").expect("signed").1;
    let check = |header: &str| verify(&["s1"], header, &body());
    let malformed = [
        String::new(),
        "nonsense".to_owned(),
        format!("v1={signature}"),
        format!("t=,v1={signature}"),
        format!("t=soon,v1={signature}"),
        format!("t=+1700000000,v1={signature}"),
        format!("t=-1,v1={signature}"),
        format!("t=99999999999999999999,v1={signature}"),
        format!("t=1700000000,t=1700000000,v1={signature}"),
        format!("{good},"),
    ];
    for header in malformed {
        assert_eq!(
            check(&header),
            Err(WebhookRefused::MalformedHeader { header })
        );
    }
    assert_eq!(check("t=1700000000"), Err(WebhookRefused::NoSignature));
    assert_eq!(
        check(&format!("t=1700000000,v0={signature}")),
        Err(WebhookRefused::NoSignature)
    );
    for wrong in [
        "",
        "zz",
        "abc",
        &signature[..62],
        &format!("{signature}00"),
        "é",
    ] {
        assert_eq!(
            check(&format!("t=1700000000,v1={wrong}")),
            Err(WebhookRefused::WrongSignature),
            "{wrong}"
        );
    }
    assert!(
        check(&format!("t=1700000000,v1=zz,v1={signature},v2=x")).is_ok(),
        "one good one is enough"
    );
    assert!(
        check(
            &good
                .to_uppercase()
                .replace("T=", "t=")
                .replace("V1=", "v1=")
        )
        .is_ok(),
        "capital hex"
    );
    assert!(
        check(&good.replace(",v1", ", v1")).is_ok(),
        "a space after the comma"
    );
}

#[test]
fn genuine_but_not_as_agreed() {
    let check = |body: &str| verify(&["s1"], &sign_webhook("s1", NOW, body), body);
    let unknown = check(&body().replace("transfer.settled", "account.closed"));
    assert_eq!(
        unknown,
        Err(WebhookRefused::UnknownKind {
            kind: "account.closed".to_owned()
        })
    );
    for odd in [
        "",
        "{}",
        &body().replace("\"settled\"", "\"returned\""),
        &body().replace("1250", "-1"),
    ] {
        assert!(
            matches!(check(odd), Err(WebhookRefused::MalformedBody { .. })),
            "{odd}"
        );
    }
    let returned = body().replace("settled", "returned");
    assert_eq!(
        check(&returned).expect("agreed").kind,
        WebhookKind::TransferReturned
    );
}
