//! Owns the tests of IBANs, transfers, webhooks and reports.

mod reports;
mod webhooks;

use super::*;
use crate::id::PaymentId;
use crate::money::{Eur, Minor};
use crate::rail::Method;

fn id(text: &str) -> PaymentId {
    PaymentId::new(text).expect("legal")
}

/// The registry's example numbers.
#[test]
fn ibans_of_the_registry_are_accepted() {
    let examples = [
        "AD1200012030200359100100",
        "AT611904300234573201",
        "BE68539007547034",
        "CH9300762011623852957",
        "CZ6508000000192000145399",
        "DE89370400440532013000",
        "DK5000400440116243",
        "EE382200221020145685",
        "ES9121000418450200051332",
        "FI2112345600000785",
        "FR1420041010050500013M02606",
        "GB29NWBK60161331926819",
        "GI75NWBK000000007099453",
        "GR1601101250000000012300695",
        "HR1210010051863000160",
        "IE29AIBK93115212345678",
        "IT60X0542811101000000123456",
        "LU280019400644750000",
        "MT84MALT011000012345MTLCAST001S",
        "NL91ABNA0417164300",
        "NO9386011117947",
        "PL61109010140000071219812874",
        "PT50000201231234567890154",
        "SE4550000000058398257466",
        "SI56263300012039086",
        "SK3112000000198742637541",
    ];
    for text in examples {
        assert_eq!(Iban::parse(text).map(String::from), Ok(text.to_owned()));
    }
    let printed = Iban::parse("de89 3704 0044 0532 0130 00").expect("printed form");
    assert_eq!(printed.as_str(), "DE89370400440532013000");
}

#[test]
fn wrong_ibans_are_refused_by_name() {
    let refusal = |text: &str| Iban::parse(text).expect_err("wrong");
    for text in [
        "",
        "D",
        "DE8",
        "89DE370400440532013000",
        "DE89-3704-0044-0532-0130-00",
        "DEé9370400440532013000",
    ] {
        assert!(
            matches!(refusal(text), IbanRefused::Malformed { .. }),
            "{text}"
        );
    }
    assert_eq!(
        refusal("US64SVBKUS6S3300958879"),
        IbanRefused::UnknownCountry {
            country: "US".to_owned()
        }
    );
    let short = IbanRefused::WrongLength {
        country: "DE".to_owned(),
        expected: 22,
        found: 21,
    };
    assert_eq!(refusal("DE8937040044053201300"), short);
    for text in [
        "DE88370400440532013000",
        "DE89370400440532013001",
        "DE89370400440523013000",
        "DE98370400440532013000",
    ] {
        assert!(
            matches!(refusal(text), IbanRefused::WrongCheckDigits { .. }),
            "{text}"
        );
    }
}

#[test]
fn every_single_digit_error_is_found() {
    let good = "DE89370400440532013000";
    for place in 2..good.len() {
        for digit in b'0'..=b'9' {
            let mut bytes = good.as_bytes().to_vec();
            bytes[place] = digit;
            let text = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(Iban::parse(&text).is_ok(), text == good, "{text}");
        }
    }
}

fn transfer(status: TransferStatus, version: u64) -> Transfer {
    Transfer {
        id: "tr_1".to_owned(),
        reference: "p1".to_owned(),
        amount: Minor::new(1_250),
        currency: "EUR".to_owned(),
        status,
        version,
        return_reason: None,
    }
}

fn json(transfer: &Transfer) -> String {
    serde_json::to_string(transfer).expect("JSON")
}

#[test]
fn a_transfer_order_has_stable_bytes() {
    let (reference, iban) = (
        id("p1"),
        Iban::parse("DE89370400440532013000").expect("good"),
    );
    let order = TransferOrder {
        reference: &reference,
        amount: Minor::new(1_250),
        iban: &iban,
        name: "Ada \"A\"",
    };
    let request = transfer_request(&order);
    assert_eq!(
        (request.method, request.path.as_str()),
        (Method::Post, "/v1/transfers")
    );
    let expected = r#"{"reference":"p1","amount":1250,"currency":"EUR","creditor":{"iban":"DE89370400440532013000","name":"Ada \"A\""}}"#;
    assert_eq!(request.body, expected);
    let status = status_request(&reference);
    assert_eq!(
        (status.method, status.path.as_str()),
        (Method::Get, "/v1/transfers?reference=p1")
    );
}

#[test]
fn names_are_checked() {
    assert_eq!(check_name("Łukasz Ó Briain"), Ok(()));
    assert_eq!(check_name(&"é".repeat(MAX_NAME_CHARS)), Ok(()));
    for name in ["", "  ", "a\nb", &"x".repeat(MAX_NAME_CHARS + 1)] {
        assert!(check_name(name).is_err(), "{name:?}");
    }
}

#[test]
fn only_a_named_422_is_a_rejection() {
    let accepted = transfer(TransferStatus::Accepted, 1);
    let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
    assert_eq!(
        parse_transfer_response(201, &json(&accepted)),
        TransferAnswer::Accepted(accepted)
    );
    let rejected = TransferAnswer::Rejected {
        code: "invalid_iban".to_owned(),
    };
    assert_eq!(
        parse_transfer_response(422, &error("invalid_iban")),
        rejected
    );
    let open = [
        (422, error("duplicate_reference")),
        (422, "oops".to_owned()),
        (409, error("idempotency_key_in_use")),
        (409, error("idempotency_key_reused")),
        (401, error("unauthorised")),
        (429, String::new()),
        (500, error("internal")),
        (503, "<html>".to_owned()),
        (201, "{}".to_owned()),
        (
            201,
            json(&transfer(TransferStatus::Accepted, 1)).replace("1250", "-1250"),
        ),
        (302, String::new()),
    ];
    for (status, body) in open {
        let answer = parse_transfer_response(status, &body);
        assert!(
            matches!(answer, TransferAnswer::Unclear { .. }),
            "{status} {body}: {answer:?}"
        );
    }
}

#[test]
fn a_question_by_reference_has_four_answers() {
    let (one, mut other) = (
        transfer(TransferStatus::Settled, 2),
        transfer(TransferStatus::Accepted, 1),
    );
    other.id = "tr_2".to_owned();
    let list = |transfers: &[&Transfer]| {
        let data: Vec<String> = transfers.iter().map(|transfer| json(transfer)).collect();
        format!(r#"{{"data":[{}]}}"#, data.join(","))
    };
    let ask = |status, body: &str| parse_status_response(&id("p1"), status, body);
    assert_eq!(ask(200, &list(&[])), StatusAnswer::Unknown);
    assert_eq!(ask(200, &list(&[&one])), StatusAnswer::Known(one.clone()));
    let ids = vec!["tr_1".to_owned(), "tr_2".to_owned()];
    assert_eq!(
        ask(200, &list(&[&one, &other])),
        StatusAnswer::Several { ids }
    );
    assert!(matches!(
        ask(500, &list(&[&one])),
        StatusAnswer::Unclear { .. }
    ));
    assert!(matches!(ask(200, "{}"), StatusAnswer::Unclear { .. }));
    let foreign = list(&[&one]).replace("\"p1\"", "\"p2\"");
    assert!(matches!(ask(200, &foreign), StatusAnswer::Unclear { .. }));
}

#[test]
fn statements_are_ordered_and_matched_exactly() {
    let (old, new) = (
        transfer(TransferStatus::Accepted, 1),
        transfer(TransferStatus::Settled, 2),
    );
    assert!(new.is_newer_than(&old) && !old.is_newer_than(&new) && !new.is_newer_than(&new));
    let stranger = Transfer {
        id: "tr_9".to_owned(),
        ..new.clone()
    };
    assert!(!stranger.is_newer_than(&old), "another transfer");
    let amount: Minor<Eur> = Minor::new(1_250);
    assert_eq!(old.check_matches(&id("p1"), amount), Ok(()));
    assert!(matches!(
        old.check_matches(&id("p2"), amount),
        Err(Mismatch::Reference { .. })
    ));
    assert!(matches!(
        old.check_matches(&id("p1"), Minor::new(1_251)),
        Err(Mismatch::Amount { .. })
    ));
    let dollars = Transfer {
        currency: "USD".to_owned(),
        ..old
    };
    assert!(matches!(
        dollars.check_matches(&id("p1"), amount),
        Err(Mismatch::Currency { .. })
    ));
}
