//! Owns the tests of limits and of moments: what holds exactly at a limit and one unit beyond it, and what late, repeated or
//! needless timers and words must not set off. Does not own the ways of payments (`charges`, `payouts`).
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one event among many"
)]

mod outside;

use lockstep_engine::api::{
    Command, Destination, Engine, EngineConfig, Event, Payout, Refusal, Status,
};
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::payments::{ChargeRefused, PayoutRefused};
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{Effect, Fact, HttpFailure};
use lockstep_engine::time::Span;
use outside::*;

fn payout_refused(o: &mut Outside, order: Payout) -> PayoutRefused {
    match o.command(Command::CreatePayout(order)) {
        Err(Refusal::Payout { cause }) => cause,
        other => panic!("{other:?}"),
    }
}

/// An outside whose engine has another policy. Its `check` folds with the usual one and is not for it.
fn under(policy: Policy) -> Outside {
    let mut o = Outside::funded();
    o.engine = Engine::new(EngineConfig { policy, ..config() }).expect("a usable configuration");
    for (at, input) in o.accepted.clone() {
        o.engine.step_recorded(at, &input).expect("accepted before");
    }
    o
}

#[test]
fn a_party_that_is_opened_is_told_of_once() {
    let mut o = Outside::new();
    let open = |name: &str| Command::OpenParty { party: party(name) };
    let out = o.ok(open("bob"));
    let told = Event::PartyOpened {
        party: party("bob"),
    };
    assert_eq!(out.events, [told]);
    assert!(matches!(o.command(open("bob")), Err(Refusal::Party { .. })));
    o.check();
}

#[test]
fn a_payout_of_the_most_is_a_matter_of_money_and_one_unit_more_of_the_limit() {
    let mut o = Outside::funded();
    let policy = Policy::regtest_default();
    let most = policy.max_payout_cents;
    let cause = payout_refused(&mut o, sepa("p1", most));
    assert!(matches!(cause, PayoutRefused::Hold { .. }), "{cause:?}");
    for cents in [0, most + 1] {
        let cause = payout_refused(&mut o, sepa("p1", cents));
        let is_limit =
            matches!(&cause, PayoutRefused::AmountOutOfRange { most: told, .. } if *told == most);
        assert!(is_limit, "{cents}: {cause:?}");
    }
    let most = policy.max_payout_msat.0;
    let in_bitcoin = |units: u64, now| {
        let destination = Destination::Invoice(invoice(hash_of([3; 32]), units.max(1), now));
        payout("p1", destination, Quantity::btc(Msat(units)))
    };
    let order = in_bitcoin(most, o.now);
    let cause = payout_refused(&mut o, order);
    assert!(matches!(cause, PayoutRefused::Hold { .. }), "{cause:?}");
    let order = in_bitcoin(most + 1, o.now);
    let cause = payout_refused(&mut o, order);
    let is_limit = matches!(&cause, PayoutRefused::AmountOutOfRange { .. });
    assert!(is_limit, "{cause:?}");
}

#[test]
fn the_longest_deadline_and_expiry_are_taken_and_a_millisecond_more_is_not() {
    let mut o = Outside::funded();
    let policy = Policy::regtest_default();
    let within = |deadline| Payout {
        deadline,
        ..sepa("p1", 1_250)
    };
    for deadline in [Span(0), Span(policy.max_payout_deadline.0 + 1)] {
        let cause = payout_refused(&mut o, within(deadline));
        let is_limit = matches!(cause, PayoutRefused::DeadlineOutOfRange { .. });
        assert!(is_limit, "{cause:?}");
    }
    o.ok(Command::CreatePayout(within(policy.max_payout_deadline)));
    let mut order = charge("c1", Rail::Lightning, 1_000);
    for expires_in in [Span(0), Span(policy.max_charge_expiry.0 + 1)] {
        order.expires_in = expires_in;
        let refused = o.command(Command::CreateCharge(order.clone()));
        let is_limit = matches!(
            refused,
            Err(Refusal::Charge {
                cause: ChargeRefused::ExpiryOutOfRange { .. }
            })
        );
        assert!(is_limit, "{refused:?}");
    }
    order.expires_in = policy.max_charge_expiry;
    o.ok(Command::CreateCharge(order));
    o.check();
}

#[test]
fn no_more_payments_are_open_than_the_policy_allows_and_a_final_one_makes_room() {
    let mut o = under(Policy {
        max_open_payments: 2,
        ..Policy::regtest_default()
    });
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.ok(Command::CreatePayout(sepa("p2", 1_250)));
    let cause = payout_refused(&mut o, sepa("p3", 1_250));
    assert!(
        matches!(cause, PayoutRefused::TooManyOpen { open: 2 }),
        "{cause:?}"
    );
    let order = charge("c1", Rail::Lightning, 1_000);
    let refused = o.command(Command::CreateCharge(order));
    assert!(
        matches!(
            refused,
            Err(Refusal::Charge {
                cause: ChargeRefused::TooManyOpen { open: 2 }
            })
        ),
        "{refused:?}"
    );
    let rejected = r#"{"error":{"code":"invalid_iban","message":""}}"#;
    o.responds("p1/transfer", 422, rejected);
    o.ok(Command::CreatePayout(sepa("p3", 1_250)));
}

#[test]
fn a_held_payment_that_is_claimed_is_credited_to_its_party() {
    let mut o = Outside::new();
    let mut order = charge("p1", Rail::Lightning, 5_000);
    order.hold = true;
    let out = o.ok(Command::CreateCharge(order));
    let hold_hash = out.instructions.iter().find_map(|i| match i.effect {
        Effect::CreateInvoice { hold_hash, .. } => hold_hash,
        _ => None,
    });
    let payment_hash = hold_hash.expect("a hold invoice");
    let result = Ok(issued("p1", payment_hash, (Some(5_000), o.now)));
    o.tell(Fact::InvoiceCreated {
        key: key("p1/invoice"),
        result,
    });
    o.tell(Fact::LightningHeld {
        payment_hash,
        amount_msat: Msat(5_000),
        claim_deadline_height: 100,
    });
    assert_eq!(o.owed(Asset::Btc), 0, "held, not had");
    o.ok(Command::ReleaseHeld {
        payment: payment("p1"),
    });
    assert_eq!(o.owed(Asset::Btc), 0, "released, not had");
    o.tell(Fact::LightningReceived {
        payment_hash,
        amount_msat: Msat(5_000),
    });
    assert_eq!(o.owed(Asset::Btc), 5_000);
    o.check();
}

#[test]
fn a_payout_on_chain_is_settled_from_its_block_on_and_while_it_is_in_one() {
    let mut o = Outside::new();
    let fund = charge("fund", Rail::Onchain, 100_000_000);
    let script = watched(&o.ok(Command::CreateCharge(fund)));
    let funding = pays(&script, 100_000, "coin");
    let blocks = branch("a", 0..=2);
    o.tell(look(
        blocks[..2].to_vec(),
        vec![confirmed(&funding, blocks[1])],
    ));
    let address = bitcoin::Address::from_script(
        &bitcoin::ScriptBuf::new_p2wpkh(&bitcoin::hashes::Hash::from_byte_array([6; 20])),
        bitcoin::Network::Regtest,
    )
    .expect("an address");
    o.ok(Command::CreatePayout(payout(
        "p1",
        Destination::Address(address.to_string()),
        Quantity::btc(Msat(20_000_000)),
    )));
    assert_eq!(o.status("p1"), Status::Reserved);
    let transaction = o.sign("p1");
    assert_eq!(o.status("p1"), Status::Dispatched);
    let funded = confirmed(&funding, blocks[1]);
    let in_block = confirmed(&transaction, blocks[2]);
    o.tell(look(blocks[1..].to_vec(), vec![funded.clone(), in_block]));
    assert_eq!(o.status("p1"), Status::Settled);
    let fork = [vec![blocks[1]], branch("b", 2..=3)].concat();
    o.tell(look(fork, vec![funded, in_mempool(&transaction)]));
    assert_eq!(o.status("p1"), Status::Dispatched);
    o.check();
}

#[test]
fn a_timer_that_is_no_longer_needed_asks_and_orders_nothing() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.tell(Fact::HttpFailed {
        key: key("p1/transfer"),
        failure: HttpFailure::TimedOut,
    });
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    o.tell(settled);
    assert_eq!(o.fire("p1/retry-1").instructions, [], "not ordered again");

    o.ok(Command::CreatePayout(sepa("p2", 1_250)));
    o.responds("p2/transfer", 201, &transfer("p2", 1_250, "accepted", 1));
    let settled = o.webhook(&transfer("p2", 1_250, "settled", 2));
    o.tell(settled);
    assert_eq!(o.fire("p2/poll-1").instructions, [], "nothing to ask");
    o.check();
}

#[test]
fn the_gateway_is_asked_about_one_transfer_by_one_timer_and_not_after_it_is_final() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1));
    let poll = o.outstanding("p1/poll-1");
    assert!(poll.is_some());
    o.later(30);
    let wrong = o.webhook(&transfer("p1", 1_251, "settled", 2));
    let out = o.tell(wrong);
    assert_eq!(out.instructions, [], "it is planned already");
    assert_eq!(o.outstanding("p1/poll-1"), poll);

    o.ok(Command::CreatePayout(sepa("p2", 1_250)));
    let settled = o.webhook(&transfer("p2", 1_250, "settled", 2));
    o.tell(settled);
    assert_eq!(o.outstanding("p2/poll-1"), None, "settled at once");
    o.check();
}

#[test]
fn after_the_last_question_the_gateway_is_not_asked_again() {
    let mut o = under(Policy {
        max_polls: 2,
        ..Policy::regtest_default()
    });
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1));
    for question in 1..=2 {
        o.fire(&format!("p1/poll-{question}"));
        o.responds(&format!("p1/status-{question}"), 503, "");
    }
    assert_eq!(o.outstanding("p1/poll-3"), None);
}

#[test]
fn what_is_booked_without_a_payment_is_told() {
    let posted = |events: &[Event]| {
        let booked = |event: &&Event| matches!(event, Event::Posted(_));
        events.iter().filter(booked).count()
    };
    let mut o = Outside::new();
    let quantity = Quantity::btc(Msat(5_000));
    let rail = Rail::Lightning;
    let out = o.ok(Command::RecordOpening { rail, quantity });
    assert_eq!(posted(&out.events), 1, "an opening");
    let out = o.tell(Fact::LightningReceived {
        payment_hash: [77; 32],
        amount_msat: Msat(70),
    });
    assert_eq!(posted(&out.events), 1, "a receipt that nobody asked for");
    o.check();
}

#[test]
fn a_held_payment_that_nobody_asked_for_is_sent_back_once() {
    let mut o = Outside::new();
    let payment_hash = [77; 32];
    let held = Fact::LightningHeld {
        payment_hash,
        amount_msat: Msat(70),
        claim_deadline_height: 100,
    };
    let out = o.tell(held);
    let [instruction] = &out.instructions[..] else {
        panic!("{out:?}")
    };
    assert_eq!(instruction.effect, Effect::FailHeld { payment_hash });
    let key = instruction.key.to_string();
    assert!(o.outstanding(&key).is_some());
    o.tell(Fact::HeldFailed { payment_hash });
    assert_eq!(o.outstanding(&key), None, "done");
    o.check();
}
