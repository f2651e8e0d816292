//! Owns the checking of webhooks: signature, age, and shape. Does not own what they change.
//!
//! Header `Lockstep-Signature: t=<seconds>,v1=<hex>[,v1=<hex>..]`, where each v1 is HMAC-SHA256(secret, `"<t>.<body>"`)
//! over the body's bytes as sent. Several secrets are valid while they are rotated; other schemes than v1 are ignored.

use super::transfer::{Transfer, TransferStatus};
use crate::time::{Span, Timestamp};
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::hex::{DisplayHex, FromHex};
use serde::Deserialize;

/// Name of the header.
pub const SIGNATURE_HEADER: &str = "Lockstep-Signature";

/// What has happened to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    /// `transfer.settled`.
    TransferSettled,
    /// `transfer.returned`.
    TransferReturned,
}

/// A genuine webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The gateway's name for the event; the same in every redelivery.
    pub id: String,
    /// What.
    pub kind: WebhookKind,
    /// When it happened, seconds since 1970.
    pub created_secs: u64,
    /// The transfer at that time.
    pub transfer: Transfer,
}

/// Why a webhook is not believed: header, signature and age are checked before the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefused {
    /// No or several `t`, or it is no number, or a part is not `name=value`.
    #[error("the signature header `{header}` is malformed")]
    MalformedHeader {
        /// As received.
        header: String,
    },
    /// No `v1` at all.
    #[error("the signature header has no v1 signature")]
    NoSignature,
    /// No `v1` fits any secret.
    #[error("no signature fits")]
    WrongSignature,
    /// Genuine, but signed too long ago: perhaps replayed.
    #[error("signed {age} ago, more than the tolerance")]
    TooOld {
        /// How long ago.
        age: Span,
    },
    /// Genuine, but signed in the future: a clock is wrong.
    #[error("signed {lead} ahead of now, more than the tolerance")]
    TooNew {
        /// How far ahead.
        lead: Span,
    },
    /// Genuine, but of a kind that is not known here. It should be acknowledged, else it comes again.
    #[error("unknown kind of event `{kind}`")]
    UnknownKind {
        /// Its `type`.
        kind: String,
    },
    /// Genuine, but not an event as agreed.
    #[error("the body is not an event: {cause}")]
    MalformedBody {
        /// The parser's words.
        cause: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: u64,
    data: serde_json::Value,
}

/// Checks a webhook against every valid secret, then reads it. `tolerance` counts both ways.
pub fn verify_webhook(
    secrets: &[String],
    tolerance: Span,
    now: Timestamp,
    header: &str,
    body: &str,
) -> Result<WebhookEvent, WebhookRefused> {
    verify_webhook_sender(secrets, tolerance, now, header, body)?;
    parse_webhook_body(body)
}

/// The first half of `verify_webhook`: signature and age, whatever the body says.
pub fn verify_webhook_sender(
    secrets: &[String],
    tolerance: Span,
    now: Timestamp,
    header: &str,
    body: &str,
) -> Result<(), WebhookRefused> {
    let (signed_secs, signatures) = parse_header(header)?;
    if signatures.is_empty() {
        return Err(WebhookRefused::NoSignature);
    }
    let mut genuine = false;
    for secret in secrets {
        let expected = mac(secret, signed_secs, body);
        for signature in signatures
            .iter()
            .filter_map(|hex| Vec::<u8>::from_hex(hex).ok())
        {
            genuine |= equal_in_constant_time(&expected, &signature);
        }
    }
    if !genuine {
        return Err(WebhookRefused::WrongSignature);
    }
    check_age(tolerance, now, Timestamp(signed_secs.saturating_mul(1_000)))
}

/// The header value that the holder of `secret` puts on `body` at `now`.
pub fn sign_webhook(secret: &str, now: Timestamp, body: &str) -> String {
    let secs = now.as_secs();
    format!("t={secs},v1={}", mac(secret, secs, body).as_hex())
}

fn parse_header(header: &str) -> Result<(u64, Vec<&str>), WebhookRefused> {
    let malformed = || WebhookRefused::MalformedHeader {
        header: header.to_owned(),
    };
    let mut signed_secs = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or_else(malformed)?;
        match name {
            "t" => {
                let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let secs = value.parse().ok().filter(|_| plain).ok_or_else(malformed)?;
                if signed_secs.replace(secs).is_some() {
                    return Err(malformed());
                }
            }
            "v1" => signatures.push(value),
            // Schemes to come, and old ones.
            _ => {}
        }
    }
    Ok((signed_secs.ok_or_else(malformed)?, signatures))
}

fn mac(secret: &str, signed_secs: u64, body: &str) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(secret.as_bytes());
    engine.input(signed_secs.to_string().as_bytes());
    engine.input(b".");
    engine.input(body.as_bytes());
    Hmac::from_engine(engine).to_byte_array()
}

/// Looks at every byte whatever it finds, so that the time taken tells nothing about where the first difference is.
fn equal_in_constant_time(expected: &[u8; 32], given: &[u8]) -> bool {
    if given.len() != expected.len() {
        return false;
    }
    let difference = expected
        .iter()
        .zip(given)
        .fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    difference == 0
}

fn check_age(tolerance: Span, now: Timestamp, signed: Timestamp) -> Result<(), WebhookRefused> {
    if now.since(signed) > tolerance {
        return Err(WebhookRefused::TooOld {
            age: now.since(signed),
        });
    }
    if signed.since(now) > tolerance {
        return Err(WebhookRefused::TooNew {
            lead: signed.since(now),
        });
    }
    Ok(())
}

/// The second half of `verify_webhook`: reads the body of a webhook whose sender was verified.
pub fn parse_webhook_body(body: &str) -> Result<WebhookEvent, WebhookRefused> {
    let malformed = |cause: String| WebhookRefused::MalformedBody { cause };
    let envelope: Envelope =
        serde_json::from_str(body).map_err(|error| malformed(error.to_string()))?;
    let (kind, status) = match envelope.kind.as_str() {
        "transfer.settled" => (WebhookKind::TransferSettled, TransferStatus::Settled),
        "transfer.returned" => (WebhookKind::TransferReturned, TransferStatus::Returned),
        _ => {
            return Err(WebhookRefused::UnknownKind {
                kind: envelope.kind,
            });
        }
    };
    let transfer: Transfer =
        serde_json::from_value(envelope.data).map_err(|error| malformed(error.to_string()))?;
    if transfer.status != status {
        return Err(malformed(format!(
            "{} with a transfer that is {:?}",
            envelope.kind, transfer.status
        )));
    }
    Ok(WebhookEvent {
        id: envelope.id,
        kind,
        created_secs: envelope.created,
        transfer,
    })
}
