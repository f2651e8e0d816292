//! Owns the targets of the gateway's formats: webhooks, answers, reports, days, IBANs. A file of an answer is the status in
//! the first line and the body below.

use crate::attack::Verdict;
use crate::outside::{self, DAY, NOW, PAYOUT, SECRET, id};
use lockstep_engine::fiat::{
    Day, Iban, StatusAnswer, Transfer, TransferAnswer, parse_report, parse_status_response,
    parse_transfer_response, parse_webhook_body, sign_webhook, verify_webhook_sender,
};
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::rail::Fact;
use lockstep_engine::time::{Span, Timestamp};

/// What the headers of the corpus sign.
const SIGNED_BODY: &str = "{}";

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Status and body.
fn answer(bytes: &[u8]) -> Option<(u16, &str)> {
    let (status, body) = text(bytes)?.split_once('\n')?;
    Some((status.parse().ok()?, body))
}

/// Accepted only with the signature that the holder of the secret makes, for a time within the tolerance.
pub(crate) fn webhook_header(bytes: &[u8]) -> Verdict {
    let Some(header) = text(bytes) else {
        return Verdict::Refused;
    };
    let tolerance = Span::secs(300);
    let secrets = [SECRET.to_owned()];
    let verified = verify_webhook_sender(&secrets, tolerance, NOW, header, SIGNED_BODY);
    if verified.is_ok() {
        let genuine = (NOW.as_secs() - 300..=NOW.as_secs() + 300).any(|secs| {
            let own = sign_webhook(SECRET, Timestamp(secs * 1_000), SIGNED_BODY);
            let (_, mac) = own.split_once("v1=").expect("our own header");
            header.to_ascii_lowercase().contains(mac)
        });
        assert!(genuine, "{header} was accepted");
    }
    Verdict::from(&verified)
}

/// What is read can be written and read again; signed, it is taken in or refused by an engine that waits for it.
pub(crate) fn webhook_body(bytes: &[u8]) -> Verdict {
    let Some(body) = text(bytes) else {
        return Verdict::Refused;
    };
    let parsed = parse_webhook_body(body);
    if let Ok(event) = &parsed {
        let kind = match event.kind {
            lockstep_engine::fiat::WebhookKind::TransferSettled => "transfer.settled",
            lockstep_engine::fiat::WebhookKind::TransferReturned => "transfer.returned",
        };
        let rendered = serde_json::json!({
            "id": event.id, "type": kind, "created": event.created_secs, "data": event.transfer,
        });
        assert_eq!(
            parse_webhook_body(&rendered.to_string()).as_ref(),
            Ok(event)
        );
    }
    let fact = Fact::Webhook {
        signature: sign_webhook(SECRET, NOW, body),
        body: body.to_owned(),
    };
    let taken = outside::taken(&fact);
    assert!(
        parsed.is_err() || taken == Verdict::Accepted,
        "a genuine webhook was refused"
    );
    Verdict::from(&parsed)
}

fn rendered(transfer: &Transfer) -> String {
    serde_json::to_string(transfer).expect("plain data")
}

/// `Accepted`: the gateway has the order. Only 200 and 201 say so, and only 422 refuses.
pub(crate) fn transfer_answer(bytes: &[u8]) -> Verdict {
    let Some((status, body)) = answer(bytes) else {
        return Verdict::Refused;
    };
    let fact = Fact::HttpResponded {
        key: IdempotencyKey(format!("{PAYOUT}/transfer")),
        status,
        body: body.to_owned(),
    };
    assert_eq!(
        outside::taken(&fact),
        Verdict::Accepted,
        "an answer was refused that was waited for"
    );
    match parse_transfer_response(status, body) {
        TransferAnswer::Accepted(transfer) => {
            assert!(matches!(status, 200 | 201));
            let again = parse_transfer_response(status, &rendered(&transfer));
            assert_eq!(again, TransferAnswer::Accepted(transfer));
            Verdict::Accepted
        }
        TransferAnswer::Rejected { .. } => {
            assert_eq!(status, 422);
            Verdict::Refused
        }
        TransferAnswer::Unclear { .. } => Verdict::Refused,
    }
}

/// `Accepted`: the question is answered, also with "no such transfer".
pub(crate) fn status_answer(bytes: &[u8]) -> Verdict {
    let Some((status, body)) = answer(bytes) else {
        return Verdict::Refused;
    };
    match parse_status_response(&id(PAYOUT), status, body) {
        StatusAnswer::Known(transfer) => {
            assert_eq!(transfer.reference, PAYOUT);
            let list = format!("{{\"data\":[{}]}}", rendered(&transfer));
            let again = parse_status_response(&id(PAYOUT), 200, &list);
            assert_eq!(again, StatusAnswer::Known(transfer));
            Verdict::Accepted
        }
        StatusAnswer::Unknown => Verdict::Accepted,
        StatusAnswer::Several { ids } => {
            assert!(ids.len() > 1);
            Verdict::Accepted
        }
        StatusAnswer::Unclear { .. } => Verdict::Refused,
    }
}

/// What is believed adds up, and a reconciliation that waits for it takes it.
pub(crate) fn settlement_report(bytes: &[u8]) -> Verdict {
    let Some((status, body)) = answer(bytes) else {
        return Verdict::Refused;
    };
    let asked = Day::parse(DAY).expect("a day");
    let parsed = parse_report(asked, status, body);
    if let Ok(report) = &parsed {
        let entries: i128 = report
            .entries
            .iter()
            .map(|e| i128::from(e.amount_cents))
            .sum();
        assert_eq!(
            i128::from(report.opening_cents) + entries,
            i128::from(report.closing_cents)
        );
        let rendered = serde_json::json!({
            "day": report.day, "currency": "EUR", "opening_balance": report.opening_cents,
            "closing_balance": report.closing_cents, "complete": report.complete, "entries": report.entries,
        });
        assert_eq!(
            parse_report(asked, 200, &rendered.to_string()).as_ref(),
            Ok(report)
        );
    }
    let fact = Fact::HttpResponded {
        key: IdempotencyKey("day-1/report".to_owned()),
        status,
        body: body.to_owned(),
    };
    assert_eq!(
        outside::taken(&fact),
        Verdict::Accepted,
        "an answer was refused that was waited for"
    );
    Verdict::from(&parsed)
}

/// A day has one form.
pub(crate) fn day(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else {
        return Verdict::Refused;
    };
    let parsed = Day::parse(text);
    if let Ok(day) = parsed.as_ref() {
        assert_eq!(day.to_string(), text);
        assert!(day.begins_at_secs() >= 0 && day.begins_at_secs() % 86_400 == 0);
    }
    Verdict::from(&parsed)
}

/// An IBAN is the same printed in groups of four and in small letters.
pub(crate) fn iban(bytes: &[u8]) -> Verdict {
    let Some(text) = text(bytes) else {
        return Verdict::Refused;
    };
    let parsed = Iban::parse(text);
    if let Ok(iban) = &parsed {
        let groups: Vec<&str> = iban
            .as_str()
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).expect("ASCII"))
            .collect();
        assert_eq!(
            Iban::parse(&groups.join(" ").to_lowercase()).as_ref(),
            Ok(iban)
        );
        let json = serde_json::to_string(iban).expect("a text");
        assert_eq!(serde_json::from_str::<Iban>(&json).expect("our own"), *iban);
    }
    Verdict::from(&parsed)
}
