//! Owns the words of escrow: on what terms money waits, what its agent decides, and the one text of each decision. Does not
//! own the signature (`identity`), which charges are in an escrow, nor what a decision does to them (`payments`).
//!
//! A decision is canonical JSON (RFC 8785): fields in the order of their names, whole numbers that a double holds exactly,
//! shares in the order of their charges. So the same decision has one text.

use crate::id::{Did, EscrowId, PaymentId};
use crate::money::Msat;
use serde::{Deserialize, Serialize};

/// The kind of a webhook that tells a decision.
const KIND: &str = "escrow.decided";

/// RFC 8785 writes numbers as doubles: above 2^53 - 1 not every whole number has one.
const MOST_MSAT: u64 = (1 << 53) - 1;

/// On what terms money of a charge waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowTerms {
    /// Several charges, on several rails, may be in one escrow; one decision moves them all.
    pub id: EscrowId,
    /// Who decides: a did:key.
    pub agent: Did,
}

/// What an agent decides about an escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// About which.
    pub escrow: EscrowId,
    /// What.
    pub verdict: Verdict,
}

/// Who gets the money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The payee, all of it.
    Release,
    /// The payers, all of it.
    Refuse,
    /// Both: of each charge so much.
    Split(Vec<Share>),
}

/// How the money of one charge is split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Which.
    pub charge: PaymentId,
    /// Over Lightning, when both get something: the invoice (BOLT 11) by which the payer's part goes back. On chain it goes to
    /// the charge's refund address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_to: Option<String>,
    /// What the payee gets.
    pub payee_msat: Msat,
    /// What the payer gets back.
    pub payer_msat: Msat,
}

/// Why a text is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADecision {
    /// Not the fields of a decision.
    #[error("it does not have the fields of a decision: {cause}")]
    Malformed {
        /// The parser's words.
        cause: String,
    },
    /// Shares without a split, or a split without shares.
    #[error("a split has shares, and nothing else has")]
    Shares,
    /// Not the one text that this decision has.
    #[error(
        "it is not canonical JSON (RFC 8785), or its shares are not in the order of their charges"
    )]
    NotCanonical,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Release,
    Refuse,
    Split,
}

/// The text; its fields stand in the order of their names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    escrow: EscrowId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shares: Option<Vec<Share>>,
    verdict: Word,
}

impl Decision {
    /// The text that the agent signs.
    ///
    /// # Panics
    /// Never: identifiers, texts and whole numbers are always JSON.
    pub fn payload(&self) -> String {
        let (verdict, shares) = match &self.verdict {
            Verdict::Release => (Word::Release, None),
            Verdict::Refuse => (Word::Refuse, None),
            Verdict::Split(shares) => (Word::Split, Some(shares.clone())),
        };
        let payload = Payload {
            escrow: self.escrow.clone(),
            shares,
            verdict,
        };
        serde_json::to_string(&payload).expect("plain data is always JSON")
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// When it is none, or not the one text of its decision.
    pub fn read(text: &str) -> Result<Decision, NotADecision> {
        let payload: Payload =
            serde_json::from_str(text).map_err(|error| NotADecision::Malformed {
                cause: error.to_string(),
            })?;
        let verdict = match (payload.verdict, payload.shares) {
            (Word::Release, None) => Verdict::Release,
            (Word::Refuse, None) => Verdict::Refuse,
            (Word::Split, Some(shares)) if !shares.is_empty() => Verdict::Split(shares),
            (Word::Release | Word::Refuse | Word::Split, _) => return Err(NotADecision::Shares),
        };
        let decision = Decision {
            escrow: payload.escrow,
            verdict,
        };
        if decision.payload() == text && decision.is_ordered() {
            Ok(decision)
        } else {
            Err(NotADecision::NotCanonical)
        }
    }

    fn is_ordered(&self) -> bool {
        let Verdict::Split(shares) = &self.verdict else {
            return true;
        };
        let exact = |share: &Share| share.payee_msat.0.max(share.payer_msat.0) <= MOST_MSAT;
        let ordered = shares
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.charge < b.charge));
        ordered && shares.iter().all(exact)
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    jws: String,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// Whether a webhook claims to tell a decision. Then the agent must have signed it, and nobody else needs to.
pub fn claims(body: &str) -> bool {
    serde_json::from_str::<Kind>(body).is_ok_and(|envelope| envelope.kind == KIND)
}

/// The statement (JWS) of a webhook that [`claims`] to tell a decision; `None` if it has none.
pub fn statement(body: &str) -> Option<String> {
    let envelope: Envelope = serde_json::from_str(body).ok()?;
    (envelope.kind == KIND).then_some(envelope.data.jws)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: &str = r#"{"escrow":"deal","shares":[{"charge":"c1","pay_to":"lnbcrt1","payee_msat":60000,"payer_msat":40000},{"charge":"c2","payee_msat":1,"payer_msat":0}],"verdict":"split"}"#;

    #[test]
    fn a_decision_has_one_text() {
        for text in [
            r#"{"escrow":"deal","verdict":"release"}"#,
            r#"{"escrow":"deal","verdict":"refuse"}"#,
            SPLIT,
        ] {
            let decision = Decision::read(text).expect("a decision");
            assert_eq!(decision.payload(), text);
        }
        let swapped = SPLIT.replace("\"c1\"", "\"c3\"");
        let large = SPLIT.replace("60000", "9007199254740992");
        for text in [
            r#"{"verdict":"release","escrow":"deal"}"#,
            r#"{"escrow": "deal","verdict":"release"}"#,
            swapped.as_str(),
            large.as_str(),
        ] {
            assert_eq!(
                Decision::read(text),
                Err(NotADecision::NotCanonical),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_decision_is_named() {
        for text in [
            r#"{"escrow":"deal","verdict":"split"}"#,
            r#"{"escrow":"deal","shares":[],"verdict":"split"}"#,
            r#"{"escrow":"deal","shares":[],"verdict":"release"}"#,
        ] {
            assert_eq!(Decision::read(text), Err(NotADecision::Shares), "{text}");
        }
        for text in [
            "",
            r#"{"escrow":"deal","verdict":"keep"}"#,
            r#"{"escrow":"Deal","verdict":"release"}"#,
            r#"{"escrow":"deal","to":"me","verdict":"release"}"#,
            r#"{"escrow":"deal","escrow":"deal","verdict":"release"}"#,
        ] {
            let read = Decision::read(text);
            assert!(
                matches!(read, Err(NotADecision::Malformed { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_webhook_claims_to_tell_a_decision_by_its_kind() {
        let body = r#"{"type":"escrow.decided","data":{"jws":"a.b.c"}}"#;
        assert!(claims(body));
        assert_eq!(statement(body).as_deref(), Some("a.b.c"));
        for other in [
            r#"{"type":"did.revoked","data":{"jws":"a.b.c"}}"#,
            r#"{"data":{"jws":"a.b.c"}}"#,
            "",
        ] {
            assert!(!claims(other));
            assert_eq!(statement(other), None);
        }
        assert!(claims(r#"{"type":"escrow.decided"}"#));
        assert_eq!(statement(r#"{"type":"escrow.decided","data":{}}"#), None);
    }
}
