//! Owns the words of Layer 0, the system that knows identities: requests and what its answers mean. Does not own when it
//! is asked (`reputation`), how (the host) nor what a DID's keys prove.
//!
//! An answer that does not settle the question is unclear: it is asked again under the same key.

mod statement;

pub use statement::{
    StatementUnsound, compact, did_of_key, digest, key_of_did, signing_input, verify,
};

use crate::id::{Did, PaymentId};
use crate::policy::{Outcome, Policy};
use crate::rail::{HttpRequest, Method, Rail};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest pause between two attempts: Layer 0 that has come back is used again within ten minutes.
const LONGEST_PAUSE: Span = Span::secs(600);

/// What Layer 0 says of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DidState {
    /// In use.
    Active,
    /// Not to be relied on for now.
    Suspended,
    /// Never to be relied on again.
    Revoked,
}

/// A DID as Layer 0 knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DidRecord {
    /// Which.
    pub did: Did,
    /// Whether it may be relied on.
    pub state: DidState,
    /// Its public keys (multibase, multicodec), current first.
    pub keys: Vec<String>,
}

/// What an answer to the question for a DID means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DidAnswer {
    /// Layer 0 knows it.
    Known(DidRecord),
    /// Layer 0 does not.
    Unknown,
    /// Nothing: ask again.
    Unclear,
}

/// Asks for a DID.
pub fn did_request(did: &Did) -> HttpRequest {
    HttpRequest {
        method: Method::Get,
        // The one character of a DID that means something else in a path (RFC 3986, section 2.1).
        path: format!("/v1/dids/{}", did.as_str().replace('%', "%25")),
        body: String::new(),
    }
}

/// What the answer to [`did_request`] means.
pub fn parse_did(asked: &Did, status: u16, body: &str) -> DidAnswer {
    match status {
        200 => match serde_json::from_str::<DidRecord>(body) {
            Ok(record) if record.did == *asked => DidAnswer::Known(record),
            Ok(_) | Err(_) => DidAnswer::Unclear,
        },
        404 => DidAnswer::Unknown,
        _ => DidAnswer::Unclear,
    }
}

/// What is stated of how a payment ended. The fields stand in the order of their names and hold neither fractions nor
/// anything to be escaped, so that the text is canonical (RFC 8785).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it ended.
    pub at: Timestamp,
    /// The id of the statement that this one corrects.
    pub corrects: Option<String>,
    /// Of this statement: `<payment>/outcome-<number>`.
    pub id: String,
    /// In whose name it is stated.
    pub issuer: Did,
    /// How it ended.
    pub outcome: Outcome,
    /// How money moves.
    pub rail: Rail,
    /// What the subject is in it.
    pub role: Role,
    /// About whom.
    pub subject: Did,
}

/// What a party is in a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its money goes out.
    Payer,
    /// Money comes to it.
    Payee,
}

/// The id of a payment's statement number `number`, from 1.
pub fn event_id(payment: &PaymentId, number: u32) -> String {
    format!("{payment}/outcome-{number}")
}

/// The text that is signed.
pub fn payload(event: &Event) -> String {
    serde_json::to_string(event).expect("a struct of texts and numbers is always JSON")
}

/// Tells Layer 0 a signed statement.
pub fn event_request(statement: &str) -> HttpRequest {
    HttpRequest {
        method: Method::Post,
        path: "/v1/reputation/events".to_owned(),
        // A statement has letters, digits, `-`, `_` and `.` only.
        body: format!(r#"{{"statement":"{statement}"}}"#),
    }
}

/// What the answer to a statement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventAnswer {
    /// It is in Layer 0's book.
    Accepted,
    /// It will never be.
    Refused,
    /// Nothing: tell it again.
    Unclear,
}

/// What an answer to [`event_request`] means. 422 is the one refusal that says something of the statement itself.
pub fn judge_event(status: u16) -> EventAnswer {
    match status {
        200 | 201 => EventAnswer::Accepted,
        422 => EventAnswer::Refused,
        _ => EventAnswer::Unclear,
    }
}

/// How long to wait after attempt number `attempt` (the first is 1): the policy's first pause, doubled, ten minutes at
/// most. Without end: Layer 0 moves no money, so there is no deadline after which it is not told.
pub fn pause(policy: &Policy, attempt: u32) -> Span {
    let doublings = attempt.saturating_sub(1).min(32);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    Span(policy.retry.first.0.saturating_mul(factor)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(text: &str) -> Did {
        Did::new(text).expect("a DID")
    }

    #[test]
    fn only_an_answer_about_the_did_asked_for_counts() {
        let asked = did("did:web:shop.example%3A3000");
        assert_eq!(
            did_request(&asked).path,
            "/v1/dids/did:web:shop.example%253A3000"
        );
        let body = r#"{"did":"did:web:shop.example%3A3000","state":"suspended","keys":["zQ3s"]}"#;
        let record = DidRecord {
            did: asked.clone(),
            state: DidState::Suspended,
            keys: vec!["zQ3s".to_owned()],
        };
        assert_eq!(parse_did(&asked, 200, body), DidAnswer::Known(record));
        assert_eq!(parse_did(&did("did:web:b"), 200, body), DidAnswer::Unclear);
        assert_eq!(parse_did(&asked, 404, "{}"), DidAnswer::Unknown);
        for (status, body) in [(200, "{}"), (500, body), (429, ""), (301, body)] {
            assert_eq!(parse_did(&asked, status, body), DidAnswer::Unclear);
        }
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let policy = Policy::regtest_default();
        let pauses = [1, 2, 7, 8, 40, u32::MAX].map(|attempt| pause(&policy, attempt).0 / 1_000);
        assert_eq!(pauses, [5, 10, 320, 600, 600, 600]);
    }
}
