//! Owns the tests of enrolments and statements through the engine's door: what is asked and told under which key, in which
//! order, and what is made of every answer. Does not own the rule of scores nor the form of statements (unit tests).
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one effect among many"
)]

mod outside;

use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lockstep_engine::api::{Command, ConfigError, Engine, EngineConfig, Event, Output};
use lockstep_engine::id::Did;
use lockstep_engine::layer0;
use lockstep_engine::money::Rail;
use lockstep_engine::policy::{Outcome, Policy, PolicyInvalid, ReputationPolicy, ScoreRule};
use lockstep_engine::rail::{Effect, Fact, HttpFailure};
use lockstep_engine::time::Span;
use outside::*;

const ANN: &str = "did:web:ann.example";

fn operator_key() -> SecretKey {
    SecretKey::from_slice(&[6; 32]).expect("below the curve's order")
}

fn issuer() -> Did {
    layer0::did_of_key(&operator_key().public_key(&Secp256k1::new()))
}

fn did(text: &str) -> Did {
    Did::new(text).expect("a DID")
}

fn with_reputation() -> EngineConfig {
    let reputation = Some(ReputationPolicy {
        issuer: issuer(),
        score: ScoreRule::regtest_default(),
    });
    EngineConfig {
        policy: Policy {
            reputation,
            ..Policy::regtest_default()
        },
        ..config()
    }
}

/// Ann has accounts, and nothing more.
fn begin() -> Outside {
    let mut o = Outside::new();
    o.engine = Engine::new(with_reputation()).expect("usable");
    o.accepted.clear();
    let ann = party("ann");
    o.ok(Command::OpenParty { party: ann });
    o
}

fn enrol(o: &mut Outside) -> Output {
    o.ok(Command::EnrolParty {
        party: party("ann"),
        did: did(ANN),
    })
}

fn record(state: &str) -> String {
    format!(r#"{{"did":"{ANN}","state":"{state}","keys":[]}}"#)
}

/// Ann is enrolled.
fn enrolled() -> Outside {
    let mut o = begin();
    enrol(&mut o);
    o.responds("ann/did-1", 200, &record("active"));
    o
}

fn sign(payload: &str) -> String {
    let input = layer0::signing_input(&issuer(), payload);
    let signature = Secp256k1::new().sign_ecdsa(&layer0::digest(&input), &operator_key());
    layer0::compact(&input, &signature)
}

/// The statement that the signer is asked for under a key.
fn asked(o: &Outside, key: &str) -> layer0::Event {
    match o.outstanding(key).map(|instruction| instruction.effect) {
        Some(Effect::SignStatement {
            issuer: by,
            payload,
        }) if by == issuer() => serde_json::from_str(&payload).expect("canonical JSON"),
        other => panic!("{key}: {other:?}"),
    }
}

/// The signer signs what it was asked for.
fn signs(o: &mut Outside, key: &str) -> Output {
    let payload = layer0::payload(&asked(o, key));
    let (key, result) = (outside::key(key), Ok(sign(&payload)));
    o.tell(Fact::StatementSigned { key, result })
}

fn told(o: &Outside, key: &str) -> Option<String> {
    match o.outstanding(key)?.effect {
        Effect::CallLayer0 { request } => Some(request.body),
        other => panic!("{key}: {other:?}"),
    }
}

fn settle(o: &mut Outside, name: &str, byte: u8) -> Output {
    o.ok(Command::CreateCharge(charge(name, Rail::Lightning, 5_000)));
    o.issue(name, [byte; 32], 5_000);
    o.tell(Fact::LightningReceived {
        payment_hash: hash_of([byte; 32]),
        amount_msat: lockstep_engine::money::Msat(5_000),
    })
}

fn folds(o: &Outside) {
    let mut folded = Engine::new(with_reputation()).expect("usable");
    for (at, input) in &o.accepted {
        folded.step_recorded(*at, input).expect("accepted before");
    }
    assert_eq!(folded.digest(), o.engine.digest());
}

#[test]
fn a_party_is_enrolled_when_layer_0_says_that_its_did_is_active() {
    let mut o = begin();
    let out = enrol(&mut o);
    assert!(out.events.is_empty(), "nothing is known yet");
    let path = match o.outstanding("ann/did-1").expect("asked").effect {
        Effect::CallLayer0 { request } => request.path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path, format!("/v1/dids/{ANN}"));
    assert_eq!(o.engine.reputation().did_of(&party("ann")), None);
    // Unclear answers, each after a longer pause.
    for (attempt, secs) in [(1, 5), (2, 10), (3, 20)] {
        let key = key("ann/did-1");
        let failure = HttpFailure::TimedOut;
        match attempt {
            1 => drop(o.responds("ann/did-1", 500, "{}")),
            2 => drop(o.responds("ann/did-1", 200, "not JSON")),
            _ => drop(o.tell(Fact::HttpFailed { key, failure })),
        }
        let retry = format!("ann/did-1-retry-{attempt}");
        let at = o.now.plus(Span::secs(secs));
        let alarm = o.outstanding(&retry).expect("to be asked again").effect;
        assert_eq!(alarm, Effect::WakeAt { at });
        o.now = at;
        o.fire(&retry);
        assert!(o.outstanding("ann/did-1").is_some(), "the same question");
    }
    let out = o.responds("ann/did-1", 200, &record("active"));
    assert_eq!(names(&out), ["party_enrolled"]);
    assert_eq!(o.engine.reputation().did_of(&party("ann")), Some(&did(ANN)));
    folds(&o);
}

#[test]
fn who_is_not_active_is_not_enrolled_and_may_be_enrolled_later() {
    let mut o = begin();
    let unknown = Command::EnrolParty {
        party: party("bob"),
        did: did(ANN),
    };
    o.command(unknown).expect_err("bob has no accounts");
    for (turn, state) in [(1, Some("suspended")), (2, Some("revoked")), (3, None)] {
        enrol(&mut o);
        let again = Command::EnrolParty {
            party: party("ann"),
            did: did(ANN),
        };
        o.command(again).expect_err("she is being asked about");
        let key = format!("ann/did-{turn}");
        let out = match state {
            Some(state) => o.responds(&key, 200, &record(state)),
            None => o.responds(&key, 404, "{}"),
        };
        assert_eq!(names(&out), ["enrolment_refused"]);
    }
    enrol(&mut o);
    o.responds("ann/did-4", 200, &record("active"));
    let again = Command::EnrolParty {
        party: party("ann"),
        did: did("did:web:other.example"),
    };
    o.command(again).expect_err("she has a DID");
    folds(&o);
}

#[test]
fn an_end_is_signed_and_told_under_one_key_until_it_is_acknowledged() {
    let mut o = enrolled();
    let out = settle(&mut o, "c1", 1);
    assert_eq!(names(&out), ["payment_settled", "outcome_stated"]);
    let statement = asked(&o, "c1/outcome-1-sign");
    assert_eq!(statement.id, "c1/outcome-1");
    assert_eq!(statement.subject, did(ANN));
    assert_eq!(statement.outcome, Outcome::Settled);
    assert_eq!((statement.at, &statement.corrects), (o.now, &None));
    assert_eq!(o.outstanding("c1/outcome-1"), None, "not told unsigned");
    // A refusal and a signature of something else are as good as nothing.
    let payload = layer0::payload(&statement).replace("settled", "late");
    let attempts = [Err("busy".to_owned()), Ok(sign(&payload))];
    for (attempt, result) in (1..).zip(attempts) {
        let key = key("c1/outcome-1-sign");
        o.tell(Fact::StatementSigned { key, result });
        assert_eq!(o.outstanding("c1/outcome-1"), None);
        o.later(600);
        o.fire(&format!("c1/outcome-1-retry-{attempt}"));
    }
    signs(&mut o, "c1/outcome-1-sign");
    let body = told(&o, "c1/outcome-1").expect("told");
    for attempt in 1..12 {
        let key = key("c1/outcome-1");
        let failure = HttpFailure::ConnectionLost;
        match attempt % 3 {
            0 => drop(o.tell(Fact::HttpFailed { key, failure })),
            1 => drop(o.responds("c1/outcome-1", 503, "")),
            _ => drop(o.responds("c1/outcome-1", 409, "")),
        }
        assert_eq!(
            told(&o, "c1/outcome-1"),
            None,
            "not before the pause is over"
        );
        o.later(600);
        o.fire(&format!("c1/outcome-1-retry-{attempt}"));
        assert_eq!(told(&o, "c1/outcome-1").as_ref(), Some(&body));
    }
    let out = o.responds("c1/outcome-1", 201, "{}");
    assert_eq!(names(&out), ["statement_accepted"]);
    assert!(!o.engine.outstanding().any(|i| i.key.0.contains("outcome")));
    folds(&o);
}

#[test]
fn a_correction_waits_for_what_it_corrects() {
    let mut o = enrolled();
    let order = charge("c1", Rail::Onchain, 100_000_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let payment = pays(&script, 100_000, "coin");
    let mined = |o: &mut Outside, branch_name: &str, tip: u32| {
        let blocks = branch(branch_name, 0..=tip);
        let block = *blocks.last().expect("not empty");
        let seen = vec![confirmed(&payment, block)];
        o.tell(look(blocks, seen))
    };
    assert!(names(&mined(&mut o, "a", 1)).contains(&"outcome_stated".to_owned()));
    let out = o.tell(look(branch("b", 0..=2), vec![in_mempool(&payment)]));
    let stated: Vec<_> = out.events.iter().filter_map(stated).collect();
    assert_eq!(stated, [(2, Outcome::Withdrawn, Some(1))]);
    let out = mined(&mut o, "b", 3);
    let again: Vec<_> = out.events.iter().filter_map(self::stated).collect();
    assert_eq!(again, [(3, Outcome::Settled, Some(2))]);
    for number in 1..=3_u32 {
        let key = format!("c1/outcome-{number}");
        let sign = format!("{key}-sign");
        let next = format!("c1/outcome-{}-sign", number + 1);
        let before = number.checked_sub(1).filter(|n| *n > 0);
        let corrects = before.map(|n| format!("c1/outcome-{n}"));
        assert_eq!(asked(&o, &sign).corrects, corrects);
        assert_eq!(o.outstanding(&next), None, "in its order");
        signs(&mut o, &sign);
        o.responds(&key, 201, "{}");
    }
    let score = o
        .engine
        .reputation()
        .score(o.engine.payments().policy(), &party("ann"), o.now);
    assert_eq!(score, Some(510), "the last one counts, once");
    folds(&o);
}

fn stated(event: &Event) -> Option<(u32, Outcome, Option<u32>)> {
    match event {
        Event::OutcomeStated {
            number,
            outcome,
            corrects,
            ..
        } => Some((*number, *outcome, *corrects)),
        _ => None,
    }
}

#[test]
fn what_layer_0_refuses_is_not_told_again_and_does_not_count() {
    let mut o = enrolled();
    settle(&mut o, "c1", 1);
    signs(&mut o, "c1/outcome-1-sign");
    let out = o.responds("c1/outcome-1", 422, "{}");
    assert_eq!(names(&out), ["statement_refused"]);
    assert!(!o.engine.outstanding().any(|i| i.key.0.contains("outcome")));
    let policy = o.engine.payments().policy();
    let score = o.engine.reputation().score(policy, &party("ann"), o.now);
    assert_eq!(score, Some(500));
}

#[test]
fn by_whose_doing_a_payment_failed_is_stated() {
    let mut o = enrolled();
    settle(&mut o, "c1", 1);
    let mut failed = |name: &str, end: &mut dyn FnMut(&mut Outside) -> Output| {
        let out = end(&mut o);
        let stated: Vec<_> = out.events.iter().filter_map(stated).collect();
        assert_eq!(stated.len(), 1, "{name}");
        stated[0].1
    };
    let expired = failed("expired", &mut |o| {
        o.ok(Command::CreateCharge(charge("c2", Rail::Lightning, 5_000)));
        o.issue("c2", [2; 32], 5_000);
        o.later(3_600);
        o.fire("c2/expiry")
    });
    assert_eq!(expired, Outcome::FailedByCounterparty);
    let refused = failed("refused", &mut |o| {
        let order = lockstep_engine::api::Charge {
            hold: true,
            ..charge("c3", Rail::Lightning, 5_000)
        };
        let out = o.ok(Command::CreateCharge(order));
        let hash = out.instructions.iter().find_map(|i| match &i.effect {
            Effect::CreateInvoice { hold_hash, .. } => *hold_hash,
            _ => None,
        });
        let payment_hash = hash.expect("a hold invoice");
        let result = Ok(issued("c3", payment_hash, (Some(5_000), o.now)));
        let key = key("c3/invoice");
        o.tell(Fact::InvoiceCreated { key, result });
        o.tell(Fact::LightningHeld {
            payment_hash,
            amount_msat: lockstep_engine::money::Msat(5_000),
            claim_deadline_height: 100,
        });
        let payment = payment("c3");
        o.ok(Command::RefuseHeld { payment });
        o.tell(Fact::HeldFailed { payment_hash })
    });
    assert_eq!(refused, Outcome::FailedBySubject);
}

#[test]
fn nothing_is_stated_of_others_or_without_a_policy() {
    let mut o = begin();
    let out = settle(&mut o, "c1", 1);
    assert_eq!(names(&out), ["payment_settled"], "ann is not enrolled");
    enrol(&mut o);
    o.responds("ann/did-1", 200, &record("active"));
    assert_eq!(o.engine.reputation().statements(&payment("c1")), []);

    let mut without = Outside::new();
    enrol(&mut without);
    without.responds("ann/did-1", 200, &record("active"));
    let out = settle(&mut without, "c1", 1);
    assert_eq!(names(&out), ["payment_settled"], "the policy is off");
    without.check();
}

#[test]
fn a_policy_that_nobody_can_check_is_refused() {
    let mut config = with_reputation();
    if let Some(reputation) = &mut config.policy.reputation {
        reputation.issuer = did("did:web:shop.example");
    }
    let refused = Engine::new(config).expect_err("no key to check");
    assert!(matches!(refused, ConfigError::Issuer { .. }), "{refused}");
    let mut config = with_reputation();
    if let Some(reputation) = &mut config.policy.reputation {
        reputation.score.half_life = Span(0);
    }
    assert_eq!(
        config.policy.check(),
        Err(PolicyInvalid::Zero {
            name: "reputation.score.half_life"
        })
    );
    if let Some(reputation) = &mut config.policy.reputation {
        reputation.score.half_life = Span(1);
        reputation.score.floor = 501;
    }
    let bounds = PolicyInvalid::Score {
        start: 500,
        floor: 501,
        ceiling: 1_000,
    };
    assert_eq!(config.policy.check(), Err(bounds));
}
