//! Owns how traffic with outside HTTP systems is recorded, the same in both worlds. Does not own the systems (`gateway`,
//! `layer0`) nor their transports (each world has its own).

use super::gateway::{Fate, Request, Response, WebhookDelivery};
use crate::trace::{SharedTrace, Subsystem};
use serde_json::{Value, json};

/// Records a call and what became of it.
pub fn record_call(trace: &SharedTrace, request: &Request, response: &Response) {
    let header = |headers: &[(String, String)], wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.clone())
    };
    let key = header(&request.headers, "idempotency-key");
    let mut trace = trace.lock();
    let path = trace
        .names
        .of(&request.path)
        .unwrap_or(&request.path)
        .to_owned();
    let event = json!({
        "call": request.method,
        "path": request.path,
        "key": key,
        "status": response.status,
        "replayed": header(&response.headers, "idempotent-replayed").is_some(),
        "lost": response.fate == Fate::LoseResponse,
    });
    let subject = key.unwrap_or(path);
    trace.record_canonical(Subsystem::Http, &subject, event);
}

/// Records a webhook and the answer to it (`None`: no answer).
pub fn record_webhook(trace: &SharedTrace, delivery: &WebhookDelivery, status: Option<u16>) {
    let body: Value = serde_json::from_str(&delivery.body).unwrap_or(Value::Null);
    let reference = body["data"]["reference"].as_str().unwrap_or("?").to_owned();
    let event = json!({
        "webhook": body["type"],
        "id": delivery.id,
        "attempt": delivery.attempt,
        "status": status,
    });
    trace
        .lock()
        .record_canonical(Subsystem::Http, &reference, event);
}
