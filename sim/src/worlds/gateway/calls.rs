//! Owns the gateway's HTTP interface: authorisation, routes, idempotency keys, answers, and what the transport is to do
//! with them. Does not own sockets.

use super::Gateway;
use super::books::{LedgerEntry, NewTransfer, Transfer};
use super::checks::{self, Order};
use super::faults::GatewayBug;
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

const SECONDS_PER_DAY: u64 = 86_400;

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// As received.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the transport does with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Send it.
    Deliver,
    /// Send it so much later.
    DeliverAfter {
        /// In milliseconds.
        delay_ms: u64,
    },
    /// Send the head, and the body so much later.
    SlowBody {
        /// In milliseconds.
        delay_ms: u64,
    },
    /// The effect has happened: cut the connection in the middle of the body.
    CutBody,
    /// The effect has happened: cut the connection before the first byte of the response.
    LoseResponse,
    /// The request was not seen: refuse or reset the connection.
    RefuseConnection,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code (0 if the connection is refused).
    pub status: u16,
    /// To send.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: String,
    /// What to do with it.
    pub fate: Fate,
}

/// A request and its answer, for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Status code; `None` if the connection was refused.
    pub status: Option<u16>,
    /// As sent.
    pub idempotency_key: Option<String>,
    /// Whether the answer is an earlier one.
    pub replayed: bool,
    /// What became of the answer.
    pub fate: Fate,
}

/// An answer that is given again for the same key.
#[derive(Clone, Debug)]
struct Remembered {
    request_body: Vec<u8>,
    status: u16,
    body: String,
    at_ms: u64,
    running_until_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    remembered: BTreeMap<String, Remembered>,
    exchanges: Vec<Exchange>,
}

impl Calls {
    pub(super) fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    data: Vec<&'a Transfer>,
}

#[derive(Serialize)]
struct Balance {
    currency: &'static str,
    available: i64,
}

#[derive(Serialize)]
struct Report<'a> {
    day: &'a str,
    currency: &'static str,
    opening_balance: i64,
    closing_balance: i64,
    complete: bool,
    entries: Vec<&'a LedgerEntry>,
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of texts and numbers are always JSON")
}

fn answer(status: u16, body: &impl Serialize) -> Response {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Response {
        status,
        headers,
        body: to_json(body),
        fate: Fate::Deliver,
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    answer(
        status,
        &ErrorBody {
            error: ErrorDetail { code, message },
        },
    )
}

pub(super) fn handle(gateway: &mut Gateway, now_ms: u64, request: &Request) -> Response {
    let reference = checks::reference_in(&request.body).unwrap_or_default();
    let is_unseen = gateway.faults.refuses_connection() || gateway.faults.loses_request(&reference);
    let response = if is_unseen {
        Response {
            status: 0,
            headers: Vec::new(),
            body: String::new(),
            fate: Fate::RefuseConnection,
        }
    } else {
        route(gateway, now_ms, request)
    };
    gateway.calls.exchanges.push(Exchange {
        at_ms: now_ms,
        method: request.method.clone(),
        path: request.path.clone(),
        status: (response.fate != Fate::RefuseConnection).then_some(response.status),
        idempotency_key: request.header("Idempotency-Key").map(str::to_owned),
        replayed: response
            .headers
            .iter()
            .any(|(name, _)| name == "Idempotent-Replayed"),
        fate: response.fate,
    });
    response
}

fn route(gateway: &mut Gateway, now_ms: u64, request: &Request) -> Response {
    if request.header("Authorization") != Some(&format!("Bearer {}", gateway.config.token)) {
        return error(401, "unauthorised", "a bearer token is needed");
    }
    if request.body.len() > gateway.config.body_limit_bytes {
        return error(413, "body_too_large", "the body is too large");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let allowed = match segments[..] {
        ["v1", "transfers"] => "GET, POST",
        ["v1", "balance"] | ["v1", "transfers" | "reports", _] => "GET",
        _ => return error(404, "not_found", "no such path"),
    };
    match (request.method.as_str(), &segments[1..]) {
        ("POST", ["transfers"]) => post_transfer(gateway, now_ms, request),
        ("GET", ["transfers"]) => list(gateway, query),
        ("GET", ["transfers", id]) => match gateway
            .transfers()
            .iter()
            .find(|transfer| transfer.id == *id)
        {
            Some(transfer) => answer(200, transfer),
            None => error(404, "not_found", "no such transfer"),
        },
        ("GET", ["balance"]) => answer(
            200,
            &Balance {
                currency: "EUR",
                available: gateway.books.available_cents(),
            },
        ),
        ("GET", ["reports", day]) => report(gateway, now_ms, day),
        _ => {
            let mut refused = error(405, "method_not_allowed", "not with this method");
            refused
                .headers
                .push(("Allow".to_owned(), allowed.to_owned()));
            refused
        }
    }
}

fn list(gateway: &mut Gateway, query: &str) -> Response {
    let Some(reference) = query
        .split('&')
        .find_map(|part| part.strip_prefix("reference="))
    else {
        return error(422, "invalid_reference", "ask for a reference");
    };
    gateway.webhooks.was_told(reference);
    let data = gateway
        .transfers()
        .iter()
        .filter(|transfer| transfer.reference == reference);
    answer(
        200,
        &List {
            data: data.collect(),
        },
    )
}

/// The report of a day that has begun; complete once it is over.
fn report(gateway: &Gateway, now_ms: u64, day: &str) -> Response {
    let now_secs = now_ms / 1_000;
    let Some(begin) = checks::day_begins_secs(day).filter(|begin| *begin <= now_secs) else {
        return error(404, "not_found", "no report of that day");
    };
    let end = begin + SECONDS_PER_DAY;
    let (opening_balance, closing_balance, entries) = gateway.books.statement(begin, end);
    let complete = end <= now_secs;
    answer(
        200,
        &Report {
            day,
            currency: "EUR",
            opening_balance,
            closing_balance,
            complete,
            entries,
        },
    )
}

fn post_transfer(gateway: &mut Gateway, now_ms: u64, request: &Request) -> Response {
    let kind = request
        .header("Content-Type")
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return error(415, "unsupported_media_type", "send application/json");
    }
    let Some(key) = request
        .header("Idempotency-Key")
        .filter(|key| (1..=LONGEST_KEY).contains(&key.len()))
    else {
        return error(
            400,
            "idempotency_key_missing",
            "an Idempotency-Key of 1 to 255 bytes is needed",
        );
    };
    let lifetime_ms = gateway.config.idempotency_secs.saturating_mul(1_000);
    gateway
        .calls
        .remembered
        .retain(|_, known| now_ms < known.at_ms.saturating_add(lifetime_ms));
    let ignores_keys = gateway.config.bug == Some(GatewayBug::IgnoreIdempotencyKey);
    let reference = checks::reference_in(&request.body).unwrap_or_default();
    let is_known = gateway.calls.remembered.contains_key(key);
    if is_known && gateway.faults.forgets_key(&reference) {
        gateway.calls.remembered.remove(key);
    }
    if let Some(known) = gateway.calls.remembered.get(key).filter(|_| !ignores_keys) {
        return repeat(known, now_ms, &request.body);
    }
    if gateway.faults.fails(&reference) {
        return error(500, "internal", "try again");
    }
    if gateway.faults.limits(&reference) {
        let mut limited = error(429, "too_many_requests", "slow down");
        limited
            .headers
            .push(("Retry-After".to_owned(), "1".to_owned()));
        return limited;
    }
    let Ok(value) = serde_json::from_slice(&request.body) else {
        return error(400, "invalid_json", "the body is not JSON");
    };
    let mut response = match checks::check(value) {
        Ok(order) => carry_out(gateway, now_ms, order),
        Err((code, message)) => error(422, code, &message),
    };
    response.fate = fate(gateway, &reference);
    remember(gateway, key, now_ms, request, &response);
    response
}

/// What becomes of the answer to an order that was looked at.
fn fate(gateway: &mut Gateway, reference: &str) -> Fate {
    let faults = &mut gateway.faults;
    if faults.loses_response(reference) {
        return Fate::LoseResponse;
    }
    if faults.cuts_body(reference) {
        return Fate::CutBody;
    }
    if let Some(secs) = faults.slows_response_secs(reference) {
        let delay_ms = secs.saturating_mul(1_000);
        return Fate::DeliverAfter { delay_ms };
    }
    if let Some(secs) = faults.slows_body_secs(reference) {
        let delay_ms = secs.saturating_mul(1_000);
        return Fate::SlowBody { delay_ms };
    }
    Fate::Deliver
}

fn remember(gateway: &mut Gateway, key: &str, now_ms: u64, request: &Request, response: &Response) {
    let running_until_ms = match response.fate {
        Fate::DeliverAfter { delay_ms } => now_ms.saturating_add(delay_ms),
        Fate::Deliver
        | Fate::SlowBody { .. }
        | Fate::CutBody
        | Fate::LoseResponse
        | Fate::RefuseConnection => now_ms,
    };
    let remembered = Remembered {
        request_body: request.body.clone(),
        status: response.status,
        body: response.body.clone(),
        at_ms: now_ms,
        running_until_ms,
    };
    gateway.calls.remembered.insert(key.to_owned(), remembered);
}

fn repeat(known: &Remembered, now_ms: u64, body: &[u8]) -> Response {
    if known.request_body != body {
        return error(
            409,
            "idempotency_key_reused",
            "that key came with another body",
        );
    }
    if now_ms < known.running_until_ms {
        return error(
            409,
            "idempotency_key_in_use",
            "the first request with that key is still running",
        );
    }
    let mut again = answer(known.status, &());
    again.body.clone_from(&known.body);
    again
        .headers
        .push(("Idempotent-Replayed".to_owned(), "true".to_owned()));
    again
}

fn carry_out(gateway: &mut Gateway, now_ms: u64, order: Order) -> Response {
    if let Some(code) = gateway.faults.rejects(&order.reference) {
        return error(422, &code, "the bank refuses it");
    }
    let ignores_repeats = gateway.config.bug == Some(GatewayBug::IgnoreIdempotencyKey);
    if gateway.executed_count(&order.reference) > 0 && !ignores_repeats {
        return error(
            422,
            "duplicate_reference",
            "there is a transfer of that reference",
        );
    }
    let covered = i64::try_from(order.amount_cents)
        .is_ok_and(|cents| cents <= gateway.books.available_cents());
    if !covered {
        return error(422, "insufficient_funds", "the account does not cover it");
    }
    let in_secs = |secs: u64| now_ms.saturating_add(secs.saturating_mul(1_000));
    let comes_back = gateway.faults.returns(&order.reference);
    let transfer = gateway.books.accept(NewTransfer {
        settle_at_ms: in_secs(gateway.config.settle_after_secs),
        comes_back: comes_back.map(|(secs, reason)| (in_secs(secs), reason)),
        reference: order.reference,
        amount_cents: order.amount_cents,
    });
    if gateway.faults.forges_webhook(&transfer.reference) {
        gateway.webhooks.forge(now_ms, &transfer);
    }
    answer(201, &transfer)
}
