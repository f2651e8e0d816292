//! Owns the tests of escrows over the engine's door: who may decide, what a decision does on each rail and in which order of
//! events, and what is refused. Does not own the words of a decision nor its signature (unit tests).
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one effect among many"
)]

mod outside;

use bitcoin::ScriptBuf;
use ed25519_dalek::{Signer as _, SigningKey};
use lockstep_engine::api::{Charge, Command, Engine, Event, FailureReason, Refusal, Status};
use lockstep_engine::escrow::{Decision, EscrowTerms, Share, Verdict};
use lockstep_engine::id::{Did, EscrowId};
use lockstep_engine::identity::{DidKey, JwsRefused, jws_compact, jws_input};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Rail};
use lockstep_engine::payments::{ChargeRefused, DecisionRefused, EscrowRefused, FactRefused};
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::{Effect, Fact};
use outside::{
    Outside, branch, charge, confirmed, engine_with, hash_of, invoice, key, look, names, party,
    payment, pays, watched,
};

const REFUND: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

fn agent(byte: u8) -> (SigningKey, Did) {
    let key = SigningKey::from_bytes(&[byte; 32]);
    let did = DidKey::Ed25519(key.verifying_key()).to_did();
    (key, did)
}

fn deal() -> EscrowId {
    EscrowId::new("deal").expect("an id")
}

fn escrowed(name: &str, rail: Rail, msat: u64) -> Charge {
    let mut order = charge(name, rail, msat);
    order.escrow = Some(EscrowTerms {
        id: deal(),
        agent: agent(1).1,
    });
    order.refund_to = (rail == Rail::Onchain).then(|| REFUND.to_owned());
    order
}

fn webhook_of(jws: &str) -> Fact {
    Fact::Webhook {
        signature: String::new(),
        body: format!(r#"{{"type":"escrow.decided","data":{{"jws":"{jws}"}}}}"#),
    }
}

fn signed_by(byte: u8, payload: &str) -> String {
    let (key, did) = agent(byte);
    let input = jws_input(&did, payload).expect("a key");
    jws_compact(&input, &key.sign(input.as_bytes()).to_bytes())
}

fn decides(verdict: Verdict) -> Fact {
    let decision = Decision {
        escrow: deal(),
        verdict,
    };
    webhook_of(&signed_by(1, &decision.payload()))
}

fn share(charge: &str, payee: u64, payer: u64, pay_to: Option<String>) -> Share {
    Share {
        charge: payment(charge),
        pay_to,
        payee_msat: Msat(payee),
        payer_msat: Msat(payer),
    }
}

fn why(result: Result<lockstep_engine::api::Output, Refusal>) -> EscrowRefused {
    match result {
        Err(Refusal::Fact {
            cause: FactRefused::Escrow { cause },
        }) => cause,
        other => panic!("{other:?}"),
    }
}

/// A charge over Lightning that can be paid; its payment hash.
fn issued(o: &mut Outside, name: &str, msat: u64) -> [u8; 32] {
    let out = o.ok(Command::CreateCharge(escrowed(name, Rail::Lightning, msat)));
    let hold_hash = out.instructions.iter().find_map(|i| match i.effect {
        Effect::CreateInvoice { hold_hash, .. } => hold_hash,
        _ => None,
    });
    let payment_hash = hold_hash.expect("a hold invoice");
    o.tell(Fact::InvoiceCreated {
        key: key(&format!("{name}/invoice")),
        result: Ok(outside::issued(name, payment_hash, (Some(msat), o.now))),
    });
    payment_hash
}

fn waits(payment_hash: [u8; 32], msat: u64) -> Fact {
    Fact::LightningHeld {
        payment_hash,
        amount_msat: Msat(msat),
        claim_deadline_height: 10,
    }
}

fn received(payment_hash: [u8; 32], msat: u64) -> Fact {
    Fact::LightningReceived {
        payment_hash,
        amount_msat: Msat(msat),
    }
}

/// A charge on chain whose money is one block deep in branch `a`, with its script.
fn deep(o: &mut Outside, name: &str, sat: u64) -> ScriptBuf {
    let order = escrowed(name, Rail::Onchain, sat * 1_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let paid = pays(&script, sat, "coin");
    let at = branch("a", 0..=1);
    let seen = confirmed(&paid, at[1]);
    o.tell(look(at, vec![seen]));
    script
}

fn payers(o: &Outside) -> i128 {
    -o.balance(&Account::Party {
        party: party("payers"),
        asset: Asset::Btc,
    })
}

#[test]
fn one_decision_releases_lightning_and_chain_also_what_is_paid_later() {
    let mut o = Outside::new();
    let first = issued(&mut o, "p1", 5_000);
    let second = issued(&mut o, "p2", 7_000);
    deep(&mut o, "p3", 9_000);
    assert_eq!(names(&o.tell(waits(first, 5_000))), ["payment_held"]);
    assert_eq!((o.status("p3"), o.owed(Asset::Btc)), (Status::Held, 0));
    let out = o.tell(decides(Verdict::Release));
    assert_eq!(names(&out), ["escrow_decided", "payment_settled"]);
    assert!(o.outstanding("p1/claim").is_some());
    assert_eq!(
        (o.status("p3"), o.owed(Asset::Btc)),
        (Status::Settled, 9_000_000)
    );
    o.tell(received(first, 5_000));
    o.tell(waits(second, 7_000));
    assert!(
        o.outstanding("p2/claim").is_some(),
        "paid after the decision"
    );
    o.tell(received(second, 7_000));
    assert_eq!(o.owed(Asset::Btc), 9_012_000);
    let again = o.tell(decides(Verdict::Release));
    assert_eq!(names(&again), ["webhook_ignored"]);
    assert_eq!(
        why(o.fact(decides(Verdict::Refuse))),
        EscrowRefused::AlreadyDecided { escrow: deal() }
    );
    let more = o.command(Command::CreateCharge(escrowed(
        "p4",
        Rail::Lightning,
        5_000,
    )));
    let cause = ChargeRefused::EscrowDecided { escrow: deal() };
    assert_eq!(more, Err(Refusal::Charge { cause }));
    o.check();
}

#[test]
fn a_refusal_fails_the_htlc_and_refunds_the_coins() {
    let mut o = Outside::new();
    let hash = issued(&mut o, "p1", 5_000);
    deep(&mut o, "p3", 9_000);
    o.tell(waits(hash, 5_000));
    let out = o.tell(decides(Verdict::Refuse));
    assert_eq!(
        names(&out),
        [
            "escrow_decided",
            "payment_failed",
            "refund_ordered",
            "payout_reserved",
            "transaction_built"
        ]
    );
    assert!(o.outstanding("p1/fail").is_some());
    o.tell(Fact::HeldFailed { payment_hash: hash });
    assert_eq!(
        (o.status("p1"), o.status("p3")),
        (Status::Failed, Status::Failed)
    );
    assert_eq!((o.owed(Asset::Btc), payers(&o)), (0, 9_000_000));
    let transaction = o.sign("p3.refund-1");
    let script = &transaction.output[0].script_pubkey;
    assert!(transaction.output.len() == 1 && script.is_p2wpkh());
    o.check();
}

#[test]
fn a_split_claims_the_whole_and_pays_the_rest_back() {
    let mut o = Outside::new();
    let hash = issued(&mut o, "p1", 50_000);
    deep(&mut o, "p3", 9_000);
    o.tell(waits(hash, 50_000));
    let back = invoice(hash_of([6; 32]), 20_000, o.now);
    let out = o.tell(decides(Verdict::Split(vec![
        share("p1", 30_000, 20_000, Some(back)),
        share("p3", 4_000_000, 5_000_000, None),
    ])));
    assert!(
        names(&out).contains(&"refund_ordered".to_owned()),
        "{out:?}"
    );
    assert_eq!((o.owed(Asset::Btc), payers(&o)), (4_000_000, 5_000_000));
    let out = o.tell(received(hash, 50_000));
    assert_eq!(
        names(&out),
        [
            "payment_settled",
            "rest_ordered",
            "payout_reserved",
            "payout_dispatched"
        ]
    );
    assert_eq!((o.owed(Asset::Btc), payers(&o)), (4_030_000, 5_020_000));
    o.tell(Fact::LightningSent {
        payment_hash: hash_of([6; 32]),
        preimage: [6; 32],
        fee_msat: Msat(7),
    });
    assert_eq!((o.owed(Asset::Btc), payers(&o)), (4_030_000, 5_000_000));
    let fees = Account::Fees {
        rail: Rail::Lightning,
    };
    assert_eq!(
        (o.balance(&fees), o.status("p1.refund-1")),
        (7, Status::Settled)
    );
    o.check();
}

#[test]
fn a_reorganisation_ends_the_waiting_and_the_decision_is_carried_out_again() {
    let mut o = Outside::new();
    let script = deep(&mut o, "p3", 9_000);
    let paid = pays(&script, 9_000, "coin");
    let out = o.tell(look(branch("b", 0..=2), vec![outside::in_mempool(&paid)]));
    assert!(names(&out).contains(&"payment_undone".to_owned()));
    assert_eq!(o.status("p3"), Status::Seen);
    let out = o.tell(decides(Verdict::Split(vec![share(
        "p3", 4_000_000, 5_000_000, None,
    )])));
    assert_eq!(names(&out), ["escrow_decided"]);
    let at = branch("b", 2..=3);
    let seen = confirmed(&paid, at[1]);
    let out = o.tell(look(at, vec![seen]));
    assert_eq!(names(&out)[..2], ["payment_held", "payment_settled"]);
    assert_eq!((o.owed(Asset::Btc), payers(&o)), (4_000_000, 5_000_000));
    let out = o.tell(look(branch("c", 0..=4), vec![outside::in_mempool(&paid)]));
    assert!(names(&out).contains(&"payment_undone".to_owned()));
    assert_eq!(o.owed(Asset::Btc), 0);
    let at = branch("c", 4..=5);
    let seen = confirmed(&paid, at[1]);
    let out = o.tell(look(at, vec![seen]));
    assert!(
        !names(&out).contains(&"refund_ordered".to_owned()),
        "refunded once"
    );
    assert_eq!(
        (o.owed(Asset::Btc), o.status("p3")),
        (4_000_000, Status::Settled)
    );
    o.check();
}

#[test]
fn what_is_not_the_agents_word_changes_nothing() {
    let mut o = Outside::new();
    let hash = issued(&mut o, "p1", 5_000);
    o.tell(waits(hash, 5_000));
    let release = r#"{"escrow":"deal","verdict":"release"}"#;
    let refuse = r#"{"escrow":"deal","verdict":"refuse"}"#;
    let of = |cause| EscrowRefused::Statement { cause };
    let by_another = webhook_of(&signed_by(2, release));
    assert_eq!(why(o.fact(by_another)), of(JwsRefused::OtherSigner));
    let (right, other) = (signed_by(1, release), signed_by(1, refuse));
    let (signed, _) = right.rsplit_once('.').expect("parts");
    let (_, signature) = other.rsplit_once('.').expect("parts");
    let altered = webhook_of(&format!("{signed}.{signature}"));
    assert_eq!(why(o.fact(altered)), of(JwsRefused::WrongSignature));
    assert_eq!(why(o.fact(webhook_of("a.b"))), of(JwsRefused::Malformed));
    let unknown = r#"{"escrow":"other","verdict":"release"}"#;
    let escrow = EscrowId::new("other").expect("an id");
    assert_eq!(
        why(o.fact(webhook_of(&signed_by(1, unknown)))),
        EscrowRefused::Unknown { escrow }
    );
    let spaced = r#"{"escrow": "deal","verdict":"release"}"#;
    let refused = why(o.fact(webhook_of(&signed_by(1, spaced))));
    assert!(matches!(refused, EscrowRefused::NotADecision { .. }));
    for command in [
        Command::ReleaseHeld {
            payment: payment("p1"),
        },
        Command::RefuseHeld {
            payment: payment("p1"),
        },
    ] {
        let cause = DecisionRefused::InEscrow {
            payment: payment("p1"),
            escrow: deal(),
        };
        assert_eq!(o.command(command), Err(Refusal::Decision { cause }));
    }
    assert_eq!(o.status("p1"), Status::Held);
    o.check();
}

#[test]
fn the_amounts_of_a_split_must_add_up() {
    let mut o = Outside::new();
    issued(&mut o, "p1", 50_000);
    let back = |msat| Some(invoice(hash_of([6; 32]), msat, outside::BEGIN));
    let refused = |o: &mut Outside, shares| why(o.fact(decides(Verdict::Split(shares))));
    let short = refused(&mut o, vec![share("p1", 30_000, 19_999, back(19_999))]);
    assert!(
        matches!(short, EscrowRefused::AmountsDiffer { .. }),
        "{short}"
    );
    let other = refused(&mut o, vec![share("p1", 30_000, 20_000, back(20_001))]);
    assert!(matches!(other, EscrowRefused::Invoice { .. }), "{other}");
    let charge = payment("p1");
    let none = refused(&mut o, vec![share("p1", 30_000, 20_000, None)]);
    assert_eq!(none, EscrowRefused::WayBack { charge });
    let others = refused(&mut o, vec![share("p2", 30_000, 20_000, back(20_000))]);
    assert_eq!(others, EscrowRefused::OtherCharges);
    o.ok(Command::CreateCharge(escrowed(
        "p3",
        Rail::Onchain,
        9_000_000,
    )));
    let left_out = refused(&mut o, vec![share("p1", 30_000, 20_000, back(20_000))]);
    assert_eq!(left_out, EscrowRefused::OtherCharges);
    let parts = refused(
        &mut o,
        vec![
            share("p1", 50_000, 0, None),
            share("p3", 8_999_999, 1, None),
        ],
    );
    assert!(
        matches!(parts, EscrowRefused::NotWholeSatoshi { .. }),
        "{parts}"
    );
    o.check();
}

#[test]
fn the_deadline_fails_it_back_and_then_it_is_too_late() {
    let mut o = Outside::new();
    let hash = issued(&mut o, "p1", 5_000);
    o.tell(waits(hash, 5_000));
    o.tell(look(branch("a", 0..=9), vec![]));
    assert!(o.outstanding("p1/fail").is_some(), "the margin is reached");
    let late = EscrowRefused::TooLate { escrow: deal() };
    assert_eq!(why(o.fact(decides(Verdict::Release))), late);
    let out = o.tell(Fact::HeldFailed { payment_hash: hash });
    assert!(matches!(
        &out.events[..],
        [Event::PaymentFailed {
            reason: FailureReason::Expired,
            ..
        }]
    ));
    assert_eq!(why(o.fact(decides(Verdict::Refuse))), late);
    o.check();

    let mut o = Outside::new();
    let hash = issued(&mut o, "p1", 5_000);
    o.tell(waits(hash, 5_000));
    o.tell(look(branch("a", 0..=8), vec![]));
    o.tell(decides(Verdict::Release));
    o.tell(look(branch("a", 8..=9), vec![]));
    assert!(
        o.outstanding("p1/fail").is_none(),
        "the last block before it"
    );
    o.tell(received(hash, 5_000));
    assert_eq!(o.owed(Asset::Btc), 5_000);
    o.check();
}

#[test]
fn charges_of_an_escrow_fit_together_and_their_agent_can_be_checked() {
    let mut o = Outside::new();
    issued(&mut o, "p1", 5_000);
    let refused = |o: &mut Outside, order| match o.command(Command::CreateCharge(order)) {
        Err(Refusal::Charge { cause }) => cause,
        other => panic!("{other:?}"),
    };
    let escrow = deal();
    let mut order = escrowed("p2", Rail::Lightning, 5_000);
    order.escrow.as_mut().expect("in escrow").agent = agent(2).1;
    let differs = ChargeRefused::EscrowDiffers { escrow };
    assert_eq!(refused(&mut o, order), differs);
    o.ok(Command::OpenParty {
        party: party("bob"),
    });
    let mut order = escrowed("p2", Rail::Lightning, 5_000);
    order.party = party("bob");
    assert_eq!(refused(&mut o, order), differs);
    let mut order = escrowed("p2", Rail::Lightning, 5_000);
    let agent = Did::new("did:web:judge.example").expect("a DID");
    order.escrow.as_mut().expect("in escrow").agent = agent.clone();
    assert_eq!(
        refused(&mut o, order),
        ChargeRefused::AgentWithoutKey { agent }
    );
    let mut order = escrowed("p2", Rail::Onchain, 5_000);
    order.refund_to = None;
    assert_eq!(refused(&mut o, order), ChargeRefused::EscrowWithoutRefund);
    o.check();
}

fn planted(bug: Bug) -> Outside {
    let mut o = Outside::new();
    let engine: Engine = engine_with(Some(bug));
    o.engine = engine;
    o.accepted.clear();
    o.ok(Command::OpenParty {
        party: party("ann"),
    });
    o
}

#[test]
fn planted_bugs_do_what_they_say() {
    let release = r#"{"escrow":"deal","verdict":"release"}"#;
    let mut o = planted(Bug::AcceptAnySigner);
    deep(&mut o, "p3", 9_000);
    o.tell(webhook_of(&signed_by(2, release)));
    assert_eq!(o.owed(Asset::Btc), 9_000_000);

    let mut o = planted(Bug::ReleaseRefused);
    deep(&mut o, "p3", 9_000);
    o.tell(decides(Verdict::Refuse));
    assert_eq!(o.owed(Asset::Btc), 9_000_000);

    let mut o = planted(Bug::SpendHeldEscrow);
    deep(&mut o, "p3", 9_000);
    assert_eq!((o.status("p3"), o.available()), (Status::Held, 9_000_000));
}
