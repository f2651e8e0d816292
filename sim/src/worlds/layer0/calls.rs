//! Owns Layer 0's HTTP interface: authorisation, routes, idempotency keys, answers, and what the transport is to do with them.
//! Does not own sockets.

use super::book::Entering;
use super::{DidState, Layer0};
use crate::worlds::gateway::{Fate, Request, Response};
use serde_json::{Value, json};

/// Longest body that is read, in bytes.
const BODY_LIMIT: usize = 65_536;

/// An answer that is given again for the same key.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    body: Vec<u8>,
    status: u16,
    answer: String,
    running_until_ms: u64,
}

pub(super) fn handle(layer0: &mut Layer0, now_ms: u64, request: &Request) -> Response {
    let about = about(request);
    if layer0.faults.loses_request(&about) {
        return Response {
            status: 0,
            headers: Vec::new(),
            body: String::new(),
            fate: Fate::RefuseConnection,
        };
    }
    let expected = format!("Bearer {}", layer0.token);
    if request.header("authorization") != Some(expected.as_str()) {
        return error(401, "unauthorised", "the bearer token is missing or wrong");
    }
    let path: Vec<&str> = request.path.split('/').collect();
    match (request.method.as_str(), &path[..]) {
        ("GET", ["", "v1", "dids", did]) => {
            question(layer0, &about, |layer0| identity(layer0, &unescaped(did)))
        }
        ("GET", ["", "v1", "reputation", did]) => question(layer0, &about, |layer0| {
            reputation(layer0, &unescaped(did), now_ms)
        }),
        ("POST", ["", "v1", "reputation", "events"]) => post_event(layer0, now_ms, request, &about),
        (_, ["", "v1", "dids" | "reputation", _]) => {
            error(405, "method_not_allowed", "not with this method")
        }
        _ => error(404, "not_found", "there is nothing here"),
    }
}

fn unescaped(did: &str) -> String {
    did.replace("%25", "%")
}

/// What faults are armed for: the payment in an idempotency key, or the DID in a path.
fn about(request: &Request) -> String {
    let key = request.header("idempotency-key");
    let payment = key.and_then(|key| key.split('/').next());
    let did = request.path.rsplit('/').next().map(unescaped);
    payment.map_or(did.unwrap_or_default(), str::to_owned)
}

/// A refusal that a fault brings about before anything is looked at.
fn troubled(layer0: &mut Layer0, about: &str) -> Option<Response> {
    if layer0.faults.fails(about) {
        return Some(error(500, "internal", "try again"));
    }
    layer0
        .faults
        .limits(about)
        .then(|| error(429, "too_many_requests", "slow down"))
}

/// What becomes of an answer.
fn fate(layer0: &mut Layer0, about: &str) -> Fate {
    let faults = &mut layer0.faults;
    let ms = |secs: u64| secs.saturating_mul(1_000);
    if faults.loses_response(about) {
        Fate::LoseResponse
    } else if faults.cuts_body(about) {
        Fate::CutBody
    } else if let Some(secs) = faults.slows_response_secs(about) {
        let delay_ms = ms(secs);
        Fate::DeliverAfter { delay_ms }
    } else if let Some(secs) = faults.slows_body_secs(about) {
        let delay_ms = ms(secs);
        Fate::SlowBody { delay_ms }
    } else {
        Fate::Deliver
    }
}

fn question(
    layer0: &mut Layer0,
    about: &str,
    answer: impl FnOnce(&Layer0) -> Response,
) -> Response {
    if let Some(troubled) = troubled(layer0, about) {
        return troubled;
    }
    let mut response = answer(layer0);
    response.fate = fate(layer0, about);
    response
}

fn identity(layer0: &Layer0, did: &str) -> Response {
    match layer0.identities.get(did) {
        Some(known) => {
            let record = json!({ "did": did, "state": known.state, "keys": known.keys });
            answer(200, &record)
        }
        None => error(404, "not_found", "no such identity"),
    }
}

fn reputation(layer0: &Layer0, did: &str, now_ms: u64) -> Response {
    if !layer0.identities.contains_key(did) {
        return error(404, "not_found", "no such identity");
    }
    let events = layer0.book.counted(did).count();
    let score = layer0.score(did, now_ms);
    answer(
        200,
        &json!({ "did": did, "events": events, "score": score }),
    )
}

fn post_event(layer0: &mut Layer0, now_ms: u64, request: &Request, about: &str) -> Response {
    if request.body.len() > BODY_LIMIT {
        return error(413, "body_too_large", "the body is too large");
    }
    let Some(key) = request.header("idempotency-key") else {
        return error(
            400,
            "idempotency_key_missing",
            "an Idempotency-Key is needed",
        );
    };
    if layer0.remembered.contains_key(key) && layer0.faults.forgets_key(about) {
        layer0.remembered.remove(key);
    }
    if let Some(known) = layer0.remembered.get(key) {
        let mut response = again(known, now_ms, &request.body);
        response.fate = fate(layer0, about);
        return response;
    }
    if let Some(troubled) = troubled(layer0, about) {
        return troubled;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let Some(statement) = body["statement"].as_str() else {
        return error(400, "invalid_json", "a `statement` is needed");
    };
    let mut response = enter(layer0, statement, key);
    response.fate = fate(layer0, about);
    let running = match response.fate {
        Fate::DeliverAfter { delay_ms } => delay_ms,
        _ => 0,
    };
    let remembered = Remembered {
        body: request.body.clone(),
        status: response.status,
        answer: response.body.clone(),
        running_until_ms: now_ms.saturating_add(running),
    };
    layer0.remembered.insert(key.to_owned(), remembered);
    response
}

fn enter(layer0: &mut Layer0, statement: &str, key: &str) -> Response {
    let identities = &layer0.identities;
    let keys = |did: &str| {
        let known = identities.get(did);
        known.map_or_else(Vec::new, |known| known.keys.clone())
    };
    let knows = |did: &str| {
        let known = identities.get(did);
        known.is_some_and(|known| known.state != DidState::Revoked)
    };
    match layer0.book.enter((statement, key), keys, knows) {
        Entering::Entered(id) => answer(201, &json!({ "id": id })),
        Entering::Known(id) => answer(200, &json!({ "id": id })),
        Entering::Refused(code, message) => error(422, code, message),
    }
}

fn again(known: &Remembered, now_ms: u64, body: &[u8]) -> Response {
    if known.body != body {
        return error(
            409,
            "idempotency_key_reused",
            "that key came with another body",
        );
    }
    if now_ms < known.running_until_ms {
        let message = "the first request with that key is still running";
        return error(409, "idempotency_key_in_use", message);
    }
    let mut response = answer(known.status, &Value::Null);
    response.body.clone_from(&known.answer);
    let replayed = ("Idempotent-Replayed".to_owned(), "true".to_owned());
    response.headers.push(replayed);
    response
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
        fate: Fate::Deliver,
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let error = json!({ "code": code, "message": message });
    answer(status, &json!({ "error": error }))
}
