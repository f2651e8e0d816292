//! Owns the gateway tests' way of asking: one token, one IBAN, orders by reference.

mod calling;
mod faulty;
mod telling;

use super::*;
use serde_json::{Value, json};

/// 2023-11-14 22:13:20 UTC.
const T0: u64 = 1_700_000_000_000;
const SECRET: &str = "whsec";
const IBAN: &str = "DE89370400440532013000";

fn gateway() -> Gateway {
    Gateway::new(GatewayConfig::new("token", SECRET, 100_000))
}

fn request(method: &str, path: &str, key: Option<&str>, body: &str) -> Request {
    let mut headers = vec![("authorization".to_owned(), "Bearer token".to_owned())];
    if method == "POST" {
        headers.push((
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        ));
    }
    headers.extend(key.map(|key| ("Idempotency-Key".to_owned(), key.to_owned())));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body: body.as_bytes().to_vec(),
    }
}

fn order(reference: &str, cents: u64) -> String {
    let creditor = json!({"iban": IBAN, "name": "Ada"});
    json!({"reference": reference, "amount": cents, "currency": "EUR", "creditor": creditor})
        .to_string()
}

fn post(gateway: &mut Gateway, now_ms: u64, key: &str, body: &str) -> Response {
    gateway.handle(now_ms, &request("POST", "/v1/transfers", Some(key), body))
}

fn pay(gateway: &mut Gateway, now_ms: u64, reference: &str, cents: u64) -> Response {
    post(
        gateway,
        now_ms,
        &format!("{reference}/transfer"),
        &order(reference, cents),
    )
}

fn get(gateway: &mut Gateway, now_ms: u64, path: &str) -> (u16, Value) {
    let response = gateway.handle(now_ms, &request("GET", path, None, ""));
    (
        response.status,
        serde_json::from_str(&response.body).expect("JSON"),
    )
}

fn code(response: &Response) -> (u16, String) {
    let body: Value = serde_json::from_str(&response.body).expect("JSON");
    (
        response.status,
        body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn is_replayed(response: &Response) -> bool {
    response
        .headers
        .contains(&("Idempotent-Replayed".to_owned(), "true".to_owned()))
}

/// Milliseconds at so many seconds after the start.
fn after(secs: u64) -> u64 {
    T0 + secs * 1_000
}

fn effects(gateway: &Gateway) -> Vec<u32> {
    gateway.faults().iter().map(|armed| armed.effects).collect()
}
