//! Owns Layer 0's book of statements: whose signature is good, what may be entered, which statement holds, and the score that
//! follows. It checks signatures and reckons scores by itself, with nothing of the engine's but its words.

use bitcoin::base58;
use bitcoin::base64::Engine as _;
use bitcoin::base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use lockstep_engine::policy::{Outcome, ScoreRule};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A statement in the book.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// `<payment>/outcome-<number>`.
    pub id: String,
    /// About whom.
    pub subject: String,
    /// In whose name.
    pub issuer: String,
    /// How the payment ended.
    pub outcome: Outcome,
    /// When, milliseconds since 1970.
    pub at: u64,
    /// The id of the statement that this one corrects.
    pub corrects: Option<String>,
}

impl Entry {
    /// The payment that it is about.
    pub fn payment(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

/// All statements.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    /// The whole statement and the key under which it first came, by id.
    by_id: BTreeMap<String, (String, String)>,
    duplicates: Vec<String>,
}

/// What becomes of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entering {
    /// It is in the book now.
    Entered(String),
    /// It was there.
    Known(String),
    /// It is not for this book: code and message.
    Refused(&'static str, &'static str),
}

impl Book {
    /// In the order in which they came.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The statements about one payment, in the order in which they came.
    pub fn about<'a>(&'a self, payment: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.payment() == payment)
    }

    /// Ids that came again under another idempotency key: a mistake of whoever states.
    pub fn duplicates(&self) -> &[String] {
        &self.duplicates
    }

    /// Enters a signed statement that comes under an idempotency key. `keys` gives the public keys of an issuer, `knows`
    /// says whether statements about somebody are taken.
    pub(super) fn enter(
        &mut self,
        (statement, key): (&str, &str),
        keys: impl Fn(&str) -> Vec<String>,
        knows: impl Fn(&str) -> bool,
    ) -> Entering {
        let Some(entry) = read(statement) else {
            return Entering::Refused("invalid_statement", "no statement of an outcome");
        };
        if !keys(&entry.issuer)
            .iter()
            .any(|key| is_signed(statement, key))
        {
            return Entering::Refused("invalid_signature", "not signed by its issuer");
        }
        if let Some((known, first_key)) = self.by_id.get(&entry.id) {
            if known != statement {
                return Entering::Refused("id_used", "that id has another statement");
            }
            if first_key != key {
                self.duplicates.push(entry.id.clone());
            }
            return Entering::Known(entry.id);
        }
        if !knows(&entry.subject) {
            return Entering::Refused("unknown_subject", "nobody is known under that DID");
        }
        let corrected = entry.corrects.as_ref();
        if corrected.is_some_and(|id| !self.by_id.contains_key(id)) {
            return Entering::Refused("unknown_correction", "there is nothing to correct");
        }
        let known = (statement.to_owned(), key.to_owned());
        self.by_id.insert(entry.id.clone(), known);
        self.entries.push(entry.clone());
        Entering::Entered(entry.id)
    }

    /// The outcomes that hold about a subject, each with its time.
    pub(super) fn counted<'a>(&'a self, did: &'a str) -> impl Iterator<Item = (Outcome, u64)> + 'a {
        let holds = |entry: &&Entry| {
            let corrects = |other: &Entry| other.corrects.as_deref() == Some(&entry.id);
            !self.entries.iter().any(corrects)
        };
        let about = self
            .entries
            .iter()
            .filter(move |entry| entry.subject == did);
        about.filter(holds).map(|entry| (entry.outcome, entry.at))
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The payload of a JWS in compact form.
fn read(statement: &str) -> Option<Entry> {
    let mut parts = statement.split('.');
    let (header, payload) = (parts.next()?, parts.next()?);
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    let is_es256k = header["alg"] == "ES256K";
    let entry: Entry = serde_json::from_slice(&decode(payload)?).ok()?;
    (is_es256k && parts.next().is_some() && parts.next().is_none()).then_some(entry)
}

fn is_signed(statement: &str, multibase: &str) -> bool {
    let verified = || {
        let key = base58::decode(multibase.strip_prefix('z')?).ok()?;
        let key = PublicKey::from_slice(key.strip_prefix(&[0xe7, 0x01])?).ok()?;
        let (signed, signature) = statement.rsplit_once('.')?;
        let signature = Signature::from_compact(&decode(signature)?).ok()?;
        let digest = sha256::Hash::hash(signed.as_bytes()).to_byte_array();
        Secp256k1::verification_only()
            .verify_ecdsa(&Message::from_digest(digest), &signature, &key)
            .ok()
    };
    verified().is_some()
}

/// In points: the start, and what each outcome counts by now (halved with each half-life, in a straight line between),
/// rounded to the nearest, within the bounds. In exact fractions over two to the number of halvings.
pub(super) fn score(
    rule: &ScoreRule,
    outcomes: impl Iterator<Item = (Outcome, u64)>,
    now_ms: u64,
) -> i64 {
    let half_life = rule.half_life.0.max(1);
    let thousandths = |(outcome, at): (Outcome, u64)| {
        let age = now_ms.saturating_sub(at);
        let (halvings, rest) = (age / half_life, age % half_life);
        let weight = i128::from(rule.weights.get(&outcome).copied().unwrap_or(0));
        if halvings > 63 {
            return 0;
        }
        let straight = i128::from(2 * half_life - rest);
        weight * 1_000 * straight / ((2 * i128::from(half_life)) << halvings)
    };
    let sum: i128 = outcomes.map(thousandths).sum();
    let points = (sum + 500).div_euclid(1_000) as i64;
    (rule.start + points).clamp(rule.floor, rule.ceiling)
}
