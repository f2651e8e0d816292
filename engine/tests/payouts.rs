//! Owns the tests of payouts through the engine's door: each way to pay, its failures, and what is told
//! twice, late or out of order.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one event among many"
)]

mod outside;

use lockstep_engine::api::{Command, Destination, Event, FailureReason, Refusal, Status};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::payments::{FactRefused, PayoutRefused};
use lockstep_engine::rail::{Fact, HttpFailure, LightningFailure};
use outside::*;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;

const HASH: [u8; 32] = [1; 32];

fn suspense(rail: Rail) -> Account {
    Account::Suspense { rail }
}

fn pay_invoice(
    o: &mut Outside,
    name: &str,
    msat: u64,
) -> Result<lockstep_engine::api::Output, Refusal> {
    let destination = Destination::Invoice(invoice(hash_of(HASH), msat, o.now));
    o.command(Command::CreatePayout(payout(
        name,
        destination,
        Quantity::btc(Msat(100_000)),
    )))
}

#[test]
fn a_lightning_payout_needs_its_proof_and_pays_once() {
    let mut o = Outside::funded();
    assert_eq!(
        names(&pay_invoice(&mut o, "p1", 100_000).expect("accepted")),
        ["payout_reserved", "payout_dispatched"]
    );
    assert_eq!(o.available(), 1_000_000_000 - 110_000);
    let sent = |preimage| Fact::LightningSent {
        payment_hash: hash_of(HASH),
        preimage,
        fee_msat: Msat(30),
    };
    let refused = o.fact(sent([2; 32]));
    assert!(
        matches!(
            refused,
            Err(Refusal::Fact {
                cause: FactRefused::WrongProof { .. }
            })
        ),
        "{refused:?}"
    );
    assert_eq!(
        names(&o.tell(sent(HASH))),
        ["payment_proven", "payment_settled"]
    );
    assert_eq!(o.tell(sent(HASH)), Default::default());
    o.tell(Fact::LightningFailed {
        payment_hash: hash_of(HASH),
        reason: LightningFailure::Other,
    });
    assert_eq!(
        (o.status("p1"), o.available()),
        (Status::Settled, 1_000_000_000 - 100_030)
    );
    let refused = pay_invoice(&mut o, "p2", 100_000);
    assert!(
        matches!(
            refused,
            Err(Refusal::Payout {
                cause: PayoutRefused::InvoiceUsed { .. }
            })
        ),
        "{refused:?}"
    );
    o.check();
}

#[test]
fn an_unknown_lightning_payout_is_never_compensated() {
    let mut o = Outside::funded();
    pay_invoice(&mut o, "p1", 100_000).expect("accepted");
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/deadline")), ["outcome_unknown"]);
    assert_eq!(
        (o.status("p1"), o.available()),
        (Status::Unknown, 1_000_000_000 - 110_000)
    );
    assert_eq!(o.engine.payments().overdue(o.now).count(), 1);
    let failed = Fact::LightningFailed {
        payment_hash: hash_of(HASH),
        reason: LightningFailure::RetriesExhausted,
    };
    assert_eq!(names(&o.tell(failed)), ["payment_failed"]);
    assert_eq!(o.available(), 1_000_000_000);
    let sent = Fact::LightningSent {
        payment_hash: hash_of(HASH),
        preimage: HASH,
        fee_msat: Msat(5),
    };
    o.tell(sent.clone());
    o.tell(sent);
    assert_eq!(
        o.balance(&suspense(Rail::Lightning)),
        100_005,
        "sent after failure, once"
    );
    o.check();
}

#[test]
fn a_payment_uri_is_paid_as_it_says_or_not_at_all() {
    let mut o = Outside::funded();
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
    let address =
        bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest).expect("an address");
    let mut order = |name: &str, uri: String| {
        let quantity = Quantity::btc(Msat(20_000_000));
        o.command(Command::CreatePayout(payout(
            name,
            Destination::Address(uri),
            quantity,
        )))
    };
    for (name, uri) in [
        ("p1", format!("bitcoin:{address}?amount=0.0002&label=Ann")),
        ("p2", format!("BITCOIN:{address}?message=a%20b&other=1")),
    ] {
        assert!(order(name, uri.clone()).is_ok(), "{uri}");
    }
    for uri in [
        format!("bitcoin:{address}?amount=0.00020001"),
        format!("bitcoin:{address}?req-vault=1"),
        format!("bitcoin:{address}?amount=0,0002"),
        "bitcoin:?lightning=lnbcrt1".to_owned(),
    ] {
        assert!(order("p3", uri.clone()).is_err(), "{uri}");
    }
}

#[test]
fn an_onchain_payout_settles_and_survives_a_reorganisation() {
    let (mut o, funding, tx) = payout_on_chain();
    o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Ok(tx.compute_txid()),
    });
    let fee = 100_000
        - tx.output
            .iter()
            .map(|output| output.value.to_sat())
            .sum::<u64>();
    let left = i128::from(100_000 - 20_000 - fee) * 1_000;
    let block = |name: &str, height| branch(name, height..=height)[0];
    let paid = vec![
        confirmed(&funding, block("a", 1)),
        confirmed(&tx, block("a", 2)),
    ];
    assert_eq!(
        names(&o.tell(look(branch("a", 1..=2), paid))),
        ["payment_settled"]
    );
    assert_eq!((o.available(), o.balance(&hot())), (left, left));
    let fork = vec![block("a", 1), block("b", 2), block("b", 3)];
    let out = o.tell(look(fork, vec![confirmed(&funding, block("a", 1))]));
    assert_eq!(
        (names(&out), out.instructions.len()),
        (vec!["payment_undone".to_owned()], 1),
        "handed out again"
    );
    assert_eq!(o.available(), left, "it can still confirm: not given back");
    assert_eq!(o.balance(&hot()), 100_000_000);
    let again = vec![
        confirmed(&funding, block("a", 1)),
        confirmed(&tx, block("b", 4)),
    ];
    assert_eq!(
        names(&o.tell(look(branch("b", 3..=4), again))),
        ["payment_settled"]
    );
    assert_eq!((o.available(), o.balance(&hot())), (left, left));
    o.check();
}

#[test]
fn a_refused_broadcast_frees_money_and_coins() {
    let (mut o, _, _) = payout_on_chain();
    let out = o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Err("min relay fee not met".to_owned()),
    });
    assert_eq!(
        (names(&out), o.available()),
        (vec!["payment_failed".to_owned()], 100_000_000)
    );
    o.check();
}

#[test]
fn a_payout_without_coins_waits_until_its_deadline() {
    let mut o = Outside::funded();
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
    let address = bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest)
        .expect("an address")
        .to_string();
    let order = payout(
        "p1",
        Destination::Address(address),
        Quantity::btc(Msat(20_000_000)),
    );
    assert_eq!(
        names(&o.ok(Command::CreatePayout(order))),
        ["payout_reserved"]
    );
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/deadline")), ["payment_failed"]);
    assert_eq!(o.available(), 1_000_000_000);
    o.check();
}

#[test]
fn a_lost_answer_is_repeated_under_the_same_key_and_the_webhook_may_come_first_and_twice() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    let first = o.outstanding("p1/transfer").expect("ordered");
    let out = o.tell(Fact::HttpFailed {
        key: key("p1/transfer"),
        failure: HttpFailure::ConnectionLost,
    });
    assert_eq!(
        (names(&out), o.status("p1")),
        (vec!["outcome_unknown".to_owned()], Status::Unknown)
    );
    o.later(5);
    o.fire("p1/retry-1");
    assert_eq!(
        o.outstanding("p1/transfer"),
        Some(first),
        "same key, same body"
    );
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    assert_eq!(
        names(&o.tell(settled.clone())),
        ["transfer_accepted", "converted", "payment_settled"]
    );
    assert_eq!(names(&o.tell(settled)), ["webhook_ignored"]);
    assert_eq!(
        names(&o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1))),
        Vec::<String>::new()
    );
    assert_eq!(o.balance(&Account::Gateway), 1_000_000 - 1_250);
    assert_eq!(
        o.available(),
        1_000_000_000 - 20_833_334,
        "12.50 EUR at 60,000, rounded up"
    );
    o.check();
}

#[test]
fn a_returned_transfer_is_reversed_line_by_line() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1));
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    o.tell(settled);
    let returned = o.webhook(&transfer("p1", 1_250, "returned", 3));
    let out = o.tell(returned);
    let reason = FailureReason::Returned("AC04".to_owned());
    assert!(out.events.contains(&Event::PaymentFailed {
        payment: payment("p1"),
        reason
    }));
    assert_eq!(
        (o.available(), o.balance(&Account::Gateway)),
        (1_000_000_000, 1_000_000)
    );
    assert_eq!(o.balance(&Account::Fx { asset: Asset::Btc }), 0);
    o.check();
}

#[test]
fn a_webhook_that_does_not_fit_changes_nothing() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    for wrong in [
        transfer("p1", 1_251, "settled", 2),
        transfer("p9", 1_250, "settled", 2),
    ] {
        let fact = o.webhook(&wrong);
        assert_eq!(names(&o.tell(fact)), ["webhook_ignored"], "{wrong}");
    }
    let Fact::Webhook { body, .. } = o.webhook(&transfer("p1", 1_250, "settled", 2)) else {
        panic!("a webhook")
    };
    let forged = o.fact(Fact::Webhook {
        signature: "t=1700000000,v1=00".to_owned(),
        body,
    });
    assert!(matches!(
        forged,
        Err(Refusal::Fact {
            cause: FactRefused::Webhook { .. }
        })
    ));
    assert_eq!(o.status("p1"), Status::Dispatched);
}

#[test]
fn after_the_last_attempt_the_gateway_is_asked_before_it_is_ordered_again() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    for attempt in 1..8 {
        o.tell(Fact::HttpFailed {
            key: key("p1/transfer"),
            failure: HttpFailure::TimedOut,
        });
        o.fire(&format!("p1/retry-{attempt}"));
    }
    o.responds("p1/transfer", 503, "");
    assert!(o.outstanding("p1/retry-8").is_none());
    o.fire("p1/poll-1");
    assert!(o.outstanding("p1/transfer").is_none());
    o.responds("p1/status-1", 200, r#"{"data":[]}"#);
    assert!(
        o.outstanding("p1/transfer").is_some(),
        "not there: ordered again under its key"
    );
    o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1));
    o.fire("p1/poll-2");
    let list = format!(r#"{{"data":[{}]}}"#, transfer("p1", 1_250, "settled", 2));
    assert_eq!(
        names(&o.responds("p1/status-2", 200, &list)),
        ["converted", "payment_settled"],
        "no webhook came"
    );
    o.check();
}

#[test]
fn a_rejected_or_unseen_transfer_gives_the_money_back() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    let rejected = r#"{"error":{"code":"invalid_iban","message":""}}"#;
    assert_eq!(
        names(&o.responds("p1/transfer", 422, rejected)),
        ["payment_failed"]
    );
    o.ok(Command::CreatePayout(sepa("p2", 1_250)));
    o.tell(Fact::HttpFailed {
        key: key("p2/transfer"),
        failure: HttpFailure::NotConnected,
    });
    o.later(3_600);
    assert_eq!(
        names(&o.fire("p2/deadline")),
        ["payment_failed"],
        "certainly never seen"
    );
    assert_eq!(o.available(), 1_000_000_000);
    o.check();
}

/// As the host tells after a restart.
fn may_have_left(o: &mut Outside, text: &str) {
    let out = o.tell(Fact::Unavailable {
        key: key(text),
        reason: "restarted: an earlier attempt may have left".to_owned(),
    });
    assert_eq!(out, Default::default(), "nothing is told or done");
    assert!(o.outstanding(text).is_some());
}

#[test]
fn an_order_that_may_have_left_keeps_its_hold_past_the_deadline() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    let held = o.available();
    may_have_left(&mut o, "p1/transfer");
    o.tell(Fact::HttpFailed {
        key: key("p1/transfer"),
        failure: HttpFailure::NotConnected,
    });
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/deadline")), ["outcome_unknown"]);
    assert_eq!((o.status("p1"), o.available()), (Status::Unknown, held));
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    assert_eq!(
        names(&o.tell(settled)),
        ["transfer_accepted", "converted", "payment_settled"]
    );
    assert_eq!(o.balance(&suspense(Rail::Sepa)), 0);
    o.check();
}

#[test]
fn an_overdue_order_that_the_gateway_never_got_is_given_up() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.tell(Fact::HttpFailed {
        key: key("p1/transfer"),
        failure: HttpFailure::TimedOut,
    });
    o.later(3_600);
    o.fire("p1/deadline");
    o.fire("p1/retry-1");
    assert!(
        o.outstanding("p1/transfer").is_none(),
        "overdue: not sent again"
    );
    let nothing = r#"{"data":[]}"#;
    for question in 1..=3 {
        o.fire(&format!("p1/poll-{question}"));
        // The second answer tells nothing: it does not count.
        let (status, body) = if question == 2 {
            (503, "")
        } else {
            (200, nothing)
        };
        let out = o.responds(&format!("p1/status-{question}"), status, body);
        let ended: &[&str] = if question == 3 {
            &["payment_failed"]
        } else {
            &[]
        };
        assert_eq!(names(&out), ended, "question {question}");
    }
    assert_eq!(
        (o.status("p1"), o.available()),
        (Status::Failed, 1_000_000_000)
    );
    o.check();
}

#[test]
fn a_refusal_frees_nothing_of_a_transaction_that_may_be_out() {
    let (mut o, funding, tx) = payout_on_chain();
    let held = o.available();
    may_have_left(&mut o, "p1/broadcast");
    let out = o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Err("bad-txns-inputs-missingorspent".to_owned()),
    });
    assert_eq!((names(&out), o.available()), (vec![], held));
    let block = |height| branch("a", height..=height)[0];
    let paid = vec![confirmed(&funding, block(1)), confirmed(&tx, block(2))];
    assert_eq!(
        names(&o.tell(look(branch("a", 1..=2), paid))),
        ["payment_settled"]
    );
    o.check();
}

#[test]
fn a_vanished_transaction_is_handed_out_at_every_new_tip_one_at_a_time() {
    let (mut o, funding, tx) = payout_on_chain();
    let taken = |n: u32| Fact::Broadcast {
        key: key(&match n {
            1 => "p1/broadcast".to_owned(),
            _ => format!("p1/broadcast-{n}"),
        }),
        result: Ok(tx.compute_txid()),
    };
    o.tell(taken(1));
    let first = branch("a", 1..=1)[0];
    for height in 2..=21 {
        let view = || {
            look(
                branch("a", height - 1..=height),
                vec![confirmed(&funding, first)],
            )
        };
        assert_eq!(o.tell(view()).instructions.len(), 1, "at height {height}");
        assert_eq!(o.tell(view()).instructions, [], "the same tip");
        if height == 21 {
            let next = look(branch("a", 21..=22), vec![confirmed(&funding, first)]);
            assert_eq!(o.tell(next).instructions, [], "one is on its way");
        }
        o.tell(taken(height));
    }
    o.check();
}

#[test]
fn a_journal_is_folded_without_the_secrets_of_its_time() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    o.tell(settled.clone());
    let mut rotated = config();
    rotated.webhook_secrets = vec!["whsec_next".to_owned()];
    let mut folded = lockstep_engine::api::Engine::new(rotated).expect("a usable configuration");
    for (at, input) in &o.accepted {
        if matches!(input, lockstep_engine::api::Input::Fact { fact, .. } if *fact == settled) {
            let refused = folded.step(*at, input);
            assert!(matches!(refused, Err(Refusal::Fact { .. })), "{refused:?}");
        }
        folded.step_recorded(*at, input).expect("accepted before");
    }
    assert_eq!(folded.digest(), o.engine.digest());
}
