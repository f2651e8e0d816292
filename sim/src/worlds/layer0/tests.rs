//! Owns the checks of the Layer 0 model: identities, the book of statements, idempotency, scores, faults. Does not own how the
//! engine uses it.

use super::{DidState, Identity, Layer0, Layer0Config};
use crate::prng::RootSeed;
use crate::worlds::gateway::{Fate, GatewayFault, Request, Response};
use crate::worlds::keys;
use bitcoin::secp256k1::Secp256k1;
use lockstep_engine::id::Did;
use lockstep_engine::layer0::{self, Event, Role};
use lockstep_engine::money::Rail;
use lockstep_engine::policy::{Outcome, ScoreRule};
use lockstep_engine::time::{Span, Timestamp};

const DID: &str = "did:web:shop.example%3A3000";
const SEED: RootSeed = RootSeed(1);

fn layer0() -> Layer0 {
    let operator = keys::operator_did(SEED);
    let known = |did: &str, key: &str| Identity {
        did: did.to_owned(),
        keys: vec![key.to_owned()],
    };
    Layer0::new(Layer0Config {
        token: "token".to_owned(),
        webhook_secret: "secret".to_owned(),
        identities: vec![
            known(DID, "zQ3sKey"),
            known(operator.as_str(), keys::multibase(&operator)),
        ],
        rule: ScoreRule::regtest_default(),
    })
}

fn call(layer0: &mut Layer0, method: &str, path: &str, token: &str) -> Response {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: vec![("Authorization".to_owned(), format!("Bearer {token}"))],
        body: Vec::new(),
    };
    layer0.handle(0, &request)
}

fn statement(number: u32, outcome: Outcome, at: u64) -> String {
    let id = |number| format!("c1/outcome-{number}");
    let issuer = keys::operator_did(SEED);
    let payload = layer0::payload(&Event {
        at: Timestamp(at),
        corrects: number.checked_sub(1).filter(|n| *n > 0).map(id),
        id: id(number),
        issuer: issuer.clone(),
        outcome,
        rail: Rail::Onchain,
        role: Role::Payee,
        subject: Did::new(DID).expect("a DID"),
    });
    let input = layer0::signing_input(&issuer, &payload);
    let key = keys::operator_key(SEED);
    let signature = Secp256k1::new().sign_ecdsa(&layer0::digest(&input), &key);
    layer0::compact(&input, &signature)
}

fn post(layer0: &mut Layer0, key: &str, statement: &str) -> Response {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = Request {
        method: "POST".to_owned(),
        path: "/v1/reputation/events".to_owned(),
        headers: vec![
            header("authorization", "Bearer token"),
            header("idempotency-key", key),
        ],
        body: format!(r#"{{"statement":"{statement}"}}"#).into_bytes(),
    };
    layer0.handle(0, &request)
}

#[test]
fn a_did_is_told_with_its_state() {
    let mut layer0 = layer0();
    let path = "/v1/dids/did:web:shop.example%253A3000";
    let known = |state: &str| format!(r#"{{"did":"{DID}","keys":["zQ3sKey"],"state":"{state}"}}"#);
    let response = call(&mut layer0, "GET", path, "token");
    assert_eq!((response.status, response.body), (200, known("active")));
    assert!(layer0.set_state(DID, DidState::Revoked));
    let response = call(&mut layer0, "GET", path, "token");
    assert_eq!((response.status, response.body), (200, known("revoked")));
    assert!(!layer0.set_state("did:web:nobody", DidState::Active));
}

#[test]
fn what_is_not_there_is_refused() {
    let mut layer0 = layer0();
    for (method, path, token, status) in [
        ("GET", "/v1/dids/did:web:nobody", "token", 404),
        ("GET", "/v1/dids", "token", 404),
        ("POST", "/v1/dids/did:web:nobody", "token", 405),
        (
            "GET",
            "/v1/dids/did:web:shop.example%253A3000",
            "wrong",
            401,
        ),
        ("GET", "/v1/reputation/did:web:nobody", "token", 404),
        ("POST", "/v1/reputation/events", "token", 400),
    ] {
        let response = call(&mut layer0, method, path, token);
        assert_eq!(response.status, status, "{method} {path}");
    }
}

#[test]
fn a_statement_is_in_the_book_once_whatever_is_repeated() {
    let mut layer0 = layer0();
    let first = statement(1, Outcome::Settled, 0);
    assert_eq!(post(&mut layer0, "c1/outcome-1", &first).status, 201);
    let again = post(&mut layer0, "c1/outcome-1", &first);
    assert_eq!(again.status, 201);
    assert!(
        again
            .headers
            .iter()
            .any(|(name, _)| name == "Idempotent-Replayed")
    );
    let other = statement(2, Outcome::Withdrawn, 0);
    assert_eq!(post(&mut layer0, "c1/outcome-1", &other).status, 409);
    assert!(layer0.book().duplicates().is_empty());
    assert_eq!(post(&mut layer0, "another key", &first).status, 200);
    assert_eq!(layer0.book().duplicates(), ["c1/outcome-1"]);
    let changed = statement(1, Outcome::Late, 0);
    assert_eq!(post(&mut layer0, "a third key", &changed).status, 422);
    assert_eq!(layer0.book().entries().len(), 1);
}

#[test]
fn what_is_forged_or_about_nobody_is_not_entered() {
    let mut layer0 = layer0();
    let good = statement(1, Outcome::Settled, 0);
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let other = statement(1, Outcome::Late, 0);
    let (_, of_other) = other.rsplit_once('.').expect("three parts");
    for bad in [
        signed.to_owned(),
        format!("{signed}.{of_other}"),
        format!("{good}.{signature}"),
        "not a statement".to_owned(),
        statement(2, Outcome::Withdrawn, 0),
    ] {
        assert_eq!(post(&mut layer0, &bad, &bad).status, 422, "{bad}");
    }
    layer0.set_state(DID, DidState::Revoked);
    assert_eq!(post(&mut layer0, "c1/outcome-1", &good).status, 422);
    assert!(layer0.book().entries().is_empty());
}

#[test]
fn the_last_statement_of_a_payment_counts_by_the_rule() {
    let mut layer0 = layer0();
    let rule = ScoreRule::regtest_default();
    let half_life = rule.half_life.0;
    let mut expected = Vec::new();
    for (number, outcome) in [
        (1, Outcome::Settled),
        (2, Outcome::Withdrawn),
        (3, Outcome::FailedBySubject),
    ] {
        let statement = statement(number, outcome, 0);
        let status = post(&mut layer0, &number.to_string(), &statement).status;
        assert_eq!(status, 201);
        for now in [0, half_life / 3, half_life, 7 * half_life / 2] {
            let own = rule.score([(outcome, Timestamp(0))].into_iter(), Timestamp(now));
            assert_eq!(layer0.score(DID, now), own, "{outcome:?} at {now}");
            expected.push(own);
        }
    }
    expected.dedup();
    assert!(expected.len() > 4, "the scores differ: {expected:?}");
    assert_eq!(Span(half_life), rule.half_life);
}

#[test]
fn faults_hit_the_payment_that_they_are_armed_for() {
    let mut layer0 = layer0();
    let reference = "c1".to_owned();
    let fault = crate::faults::Faults::default().plan("http", "lose-response", "c1");
    layer0.arm_counted(GatewayFault::LoseResponse { reference }, fault);
    let first = statement(1, Outcome::Settled, 0);
    let lost = post(&mut layer0, "c1/outcome-1", &first);
    assert_eq!((lost.status, lost.fate), (201, Fate::LoseResponse));
    let repeated = post(&mut layer0, "c1/outcome-1", &first);
    assert_eq!((repeated.status, repeated.fate), (201, Fate::Deliver));
    assert_eq!(layer0.book().entries().len(), 1);
}
