//! Owns the short text of a record: one line that a person reads at a mark, in a list, or in the terminal. Does not own
//! where it stands nor what it belongs to (`story`).

use super::amounts::{btc, by_asset, cents};
use super::lines::Line;
use serde_json::Value;

/// The short text of a record.
pub(super) fn text(line: &Line) -> String {
    let event = &line.event;
    match line.subsystem.as_str() {
        "stimulus" => stimulus(event),
        "engine" => engine(event),
        "ledger" => ledger(event),
        "http" => http(event),
        "chain" => chain(event),
        "lightning" => lightning(event),
        "links" => link(event),
        "faults" => fault(event),
        "balances" => format!("{}: {}", line.actor, brief(event)),
        "invariants" => format!("broken: {}: {}", word(event, "broken"), word(event, "what")),
        _ => named(event),
    }
}

/// A field as text; empty if it is not there.
pub(super) fn word<'a>(event: &'a Value, field: &str) -> &'a str {
    event.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn number(event: &Value, field: &str) -> i128 {
    let value = event.get(field);
    value
        .and_then(|value| value.as_i64().map(i128::from))
        .or_else(|| value.and_then(Value::as_u64).map(i128::from))
        .unwrap_or(0)
}

fn stimulus(event: &Value) -> String {
    if let Some(step) = event.get("step").and_then(Value::as_str) {
        return step.to_owned();
    }
    if event.get("invoice").is_some() {
        return format!("invoice for {}", word(event, "payment"));
    }
    named(event)
}

fn quantity(value: &Value) -> String {
    by_asset(word(value, "asset"), number(value, "units"))
}

fn engine(event: &Value) -> String {
    if let Some(why) = event.get("refused").and_then(Value::as_str) {
        return format!("refused: {why}");
    }
    let kind = word(event, "event");
    let plain = kind.replace('_', " ");
    match kind {
        "charge_created" => {
            let amount = btc(number(event, "amount_msat"));
            format!("charge created: {amount} over {}", word(event, "rail"))
        }
        "payment_seen" => format!("{plain}: {}", btc(number(event, "amount_sat") * 1_000)),
        "payment_held" => format!("{plain}: {}", btc(number(event, "amount_msat"))),
        "payment_settled" => format!("settled: {}", quantity(&event["quantity"])),
        "party_enrolled" => format!("enrolled as {}", word(event, "did")),
        "outcome_stated" => format!("stated: {}", word(event, "outcome")),
        "payment_failed" => format!("failed: {}", reason(&event["reason"])),
        "payment_undone" => "undone".to_owned(),
        "payout_reserved" => {
            let amount = quantity(&event["quantity"]);
            format!("payout reserved: {amount} over {}", word(event, "rail"))
        }
        "transfer_accepted" => format!("{plain}: {}", word(event, "gateway_reference")),
        "transaction_built" => {
            format!(
                "{plain}, fee {}",
                btc(number(event, "fee_sat").saturating_mul(1_000))
            )
        }
        "converted" => format!(
            "converted {} into {}",
            btc(number(event, "sold_msat")),
            cents(number(event, "bought"))
        ),
        "reconciled" => format!("reconciled: {} breaks", number(event, "breaks")),
        "webhook_ignored" => format!("{plain}: {}", word(event, "reason")),
        "party_opened" => format!("party opened: {}", word(event, "party")),
        "charge_issued" | "payout_dispatched" | "outcome_unknown" | "payment_vanished" => plain,
        _ => named(event),
    }
}

fn reason(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('_', " "),
        other => brief(other),
    }
}

fn ledger(event: &Value) -> String {
    if word(event, "event") == "posted" {
        return format!("posted: {}", word(event, "memo"));
    }
    let change = event.get("change").and_then(Value::as_object);
    let Some((change, amounts)) = change.and_then(|change| change.iter().next()) else {
        return named(event);
    };
    let amount = by_asset(word(event, "asset"), number(amounts, "units"));
    format!("hold {change}: {amount}")
}

fn http(event: &Value) -> String {
    if let Some(call) = event.get("call").and_then(Value::as_str) {
        let path = word(event, "path");
        let set = |field: &str| event.get(field).and_then(Value::as_bool) == Some(true);
        let lost = if set("lost") { ", answer lost" } else { "" };
        let again = if set("replayed") { ", replayed" } else { "" };
        // The model's word for a request that never came to be answered.
        let status = match number(event, "status") {
            0 => "no answer".to_owned(),
            status => status.to_string(),
        };
        return format!("{call} {path} → {status}{again}{lost}");
    }
    if let Some(webhook) = event.get("webhook") {
        let status = match &event["status"] {
            Value::Null => "no answer".to_owned(),
            status => brief(status),
        };
        let attempt = match number(event, "attempt") {
            0 | 1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        return format!("webhook {} → {status}{attempt}", brief(webhook));
    }
    if event.get("exchange").is_some() {
        let answer = &event["answer"];
        return match answer.get("failure") {
            Some(failure) => format!("answer: {}", reason(failure)),
            None => format!("answer: {}", brief(&answer["status"])),
        };
    }
    named(event)
}

fn names(value: &Value) -> String {
    let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match names {
        [] => "empty".to_owned(),
        names => names.iter().map(brief).collect::<Vec<_>>().join(", "),
    }
}

fn chain(event: &Value) -> String {
    if event.get("block").is_some() {
        let names = names(&event["transactions"]);
        return format!("block {}: {names}", number(event, "block"));
    }
    if event.get("tx").is_some() {
        let fee = btc(number(event, "fee_sat").saturating_mul(1_000));
        return format!("transaction {}, fee {fee}", word(event, "tx"));
    }
    if let Some(entered) = event.get("entered_mempool") {
        return format!("entered the mempool: {}", names(entered));
    }
    if event.get("left_mempool").is_some() {
        return format!("left the mempool: {}", word(event, "left_mempool"));
    }
    if event.get("undone").is_some() {
        return format!("block {} undone", number(event, "undone"));
    }
    match word(event, "event") {
        "tip" => format!("tip {}", number(event, "height")),
        "offered" => {
            let txid = word(event, "txid");
            let short = txid.get(..8).unwrap_or("package");
            format!("offered {short}: {}", word(event, "answer"))
        }
        _ => named(event),
    }
}

fn lightning(event: &Value) -> String {
    let amount = || btc(number(event, "amount_msat"));
    if let Some(change) = event.get("htlc").and_then(Value::as_str) {
        let way = word(event, "way");
        return match change {
            "added" => format!("HTLC {way} {}", amount()),
            _ => format!("HTLC {way} {change} {}", amount()),
        };
    }
    match word(event, "event") {
        "payment_received" => format!("received {}", amount()),
        "payment_receivable" => format!("holds {}", amount()),
        "payment_sent" => format!("sent, fee {}", btc(number(event, "fee_paid_msat"))),
        "payment_failed" => format!("payment failed: {}", reason(&event["reason"])),
        "payment_forwarded" => format!("forwarded {}", amount()),
        "hold_released" => "gave the held payment back".to_owned(),
        kind @ ("channel_pending" | "channel_ready" | "channel_closed") => kind.replace('_', " "),
        _ => named(event),
    }
}

fn link(event: &Value) -> String {
    let lost = event.get("lost").and_then(Value::as_bool) == Some(true);
    let end = if lost { " lost" } else { "" };
    format!("{} bytes{end}", number(event, "bytes"))
}

fn fault(event: &Value) -> String {
    let name = word(event, "fault");
    match word(event, "phase") {
        "" | "begin" => format!("fault: {name}"),
        "effect" => format!("{name} had an effect"),
        "end" => format!("{name} ended"),
        phase => format!("{name}: {phase}"),
    }
}

/// By its `event` field if it has one, with its other plain fields.
fn named(event: &Value) -> String {
    let Some(fields) = event.as_object() else {
        return brief(event);
    };
    let name = word(event, "event").replace('_', " ");
    let rest = fields
        .iter()
        .filter(|(field, _)| *field != "event" && *field != "payment");
    let rest: Vec<String> = rest
        .map(|(field, value)| format!("{field} {}", brief(value)))
        .collect();
    match (name.is_empty(), rest.is_empty()) {
        (true, _) => rest.join(", "),
        (false, true) => name,
        (false, false) => format!("{name}: {}", rest.join(", ")),
    }
}

/// Plain texts without quotes; long hexadecimal texts by their beginning.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() > 40 && text.is_ascii() => format!("{}…", &text[..12]),
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields
            .iter()
            .map(|(field, value)| format!("{} {}", field.replace('_', " "), brief(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Array(items) if items.len() > 4 => format!("{} items", items.len()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(subsystem: &str, event: Value) -> String {
        text(&Line {
            n: 0,
            at_ms: 0,
            subsystem: subsystem.to_owned(),
            actor: "a".to_owned(),
            event,
        })
    }

    #[test]
    fn records_in_one_line_each() {
        let table = [
            (
                "engine",
                json!({ "event": "payment_settled", "quantity": { "asset": "eur", "units": 12_000 } }),
                "settled: 120.00 EUR",
            ),
            (
                "engine",
                json!({ "event": "payment_failed", "reason": { "gateway_rejected": "invalid_iban" } }),
                "failed: gateway rejected invalid_iban",
            ),
            (
                "ledger",
                json!({ "event": "hold", "asset": "btc", "change": { "placed": { "units": 20_833_334 } } }),
                "hold placed: 20,833.334 sat",
            ),
            (
                "http",
                json!({ "call": "POST", "path": "/v1/transfers", "status": 201, "lost": true, "replayed": false }),
                "POST /v1/transfers → 201, answer lost",
            ),
            (
                "http",
                json!({ "exchange": "p/transfer", "answer": { "failure": "connection_lost" } }),
                "answer: connection lost",
            ),
            (
                "chain",
                json!({ "block": 104, "transactions": ["pay:order-1"] }),
                "block 104: pay:order-1",
            ),
            (
                "lightning",
                json!({ "htlc": "added", "way": "in", "amount_msat": 400_000_000 }),
                "HTLC in 400,000 sat",
            ),
            (
                "links",
                json!({ "bytes": 50, "lost": true }),
                "50 bytes lost",
            ),
            (
                "faults",
                json!({ "fault": "partition", "id": 1, "phase": "end" }),
                "partition ended",
            ),
            (
                "disk",
                json!({ "event": "write_torn", "bytes": 9 }),
                "write torn: bytes 9",
            ),
        ];
        for (subsystem, event, expected) in table {
            assert_eq!(said(subsystem, event), expected);
        }
    }
}
