//! Owns the tests of charges through the engine's door, of what is told twice, late or out of order, of refusals and of
//! commands told again.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one event among many"
)]

mod outside;

use lockstep_engine::api::{Command, Event, FailureReason, Refusal, Status};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Rail};
use lockstep_engine::payments::{ChargeRefused, FactRefused, PayoutRefused};
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::{Effect, Fact, HttpFailure};
use lockstep_engine::time::Span;
use outside::*;

const HASH: [u8; 32] = [1; 32];

fn received(msat: u64) -> Fact {
    Fact::LightningReceived {
        payment_hash: hash_of(HASH),
        amount_msat: Msat(msat),
    }
}

fn suspense(rail: Rail) -> Account {
    Account::Suspense { rail }
}

#[test]
fn a_lightning_charge_is_credited_once() {
    let mut o = Outside::new();
    assert_eq!(
        names(&o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)))),
        ["charge_created"]
    );
    assert_eq!(names(&o.issue("p1", HASH, 5_000)), ["charge_issued"]);
    assert_eq!(names(&o.tell(received(5_000))), ["payment_settled"]);
    assert_eq!(names(&o.tell(received(5_000))), Vec::<String>::new());
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/expiry")), Vec::<String>::new());
    assert_eq!(
        (o.owed(Asset::Btc), o.balance(&Account::LightningChannels)),
        (5_000, 5_000)
    );
    o.check();
}

#[test]
fn late_short_and_stray_receipts_lie_in_suspense_once() {
    let mut o = Outside::new();
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    o.issue("p1", HASH, 5_000);
    o.later(3_600);
    assert_eq!(names(&o.fire("p1/expiry")), ["payment_failed"]);
    o.tell(received(5_000));
    o.tell(received(5_000));
    for _ in 0..2 {
        o.tell(Fact::LightningReceived {
            payment_hash: [77; 32],
            amount_msat: Msat(70),
        });
    }
    assert_eq!(
        (o.owed(Asset::Btc), o.balance(&suspense(Rail::Lightning))),
        (0, -5_070)
    );
    assert_eq!(o.status("p1"), Status::Failed);
    o.check();
}

#[test]
fn an_invoice_that_does_not_fit_is_not_shown() {
    let mut o = Outside::new();
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    let out = o.issue("p1", HASH, 4_999);
    assert!(matches!(
        &out.events[..],
        [Event::PaymentFailed {
            reason: FailureReason::InvoiceNotCreated(_),
            ..
        }]
    ));
    let again = o.fact(Fact::InvoiceCreated {
        key: key("p1/invoice"),
        result: Err("no".to_owned()),
    });
    assert_eq!(
        again,
        Err(Refusal::NotOutstanding {
            key: key("p1/invoice")
        })
    );
}

fn held(o: &mut Outside) -> [u8; 32] {
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
    let waits = Fact::LightningHeld {
        payment_hash,
        amount_msat: Msat(5_000),
        claim_deadline_height: 10,
    };
    assert_eq!(names(&o.tell(waits.clone())), ["payment_held"]);
    assert_eq!(o.tell(waits), Default::default(), "told again");
    payment_hash
}

#[test]
fn a_held_payment_is_released() {
    let mut o = Outside::new();
    let payment_hash = held(&mut o);
    let out = o.ok(Command::ReleaseHeld {
        payment: payment("p1"),
    });
    let Effect::ClaimHeld { preimage, .. } = out.instructions[0].effect else {
        panic!("{out:?}")
    };
    assert_eq!(hash_of(preimage), payment_hash);
    assert!(
        o.command(Command::RefuseHeld {
            payment: payment("p1")
        })
        .is_err(),
        "decided"
    );
    o.tell(Fact::LightningReceived {
        payment_hash,
        amount_msat: Msat(5_000),
    });
    assert_eq!(
        (o.status("p1"), o.outstanding("p1/claim")),
        (Status::Settled, None)
    );
    let again = Fact::LightningHeld {
        payment_hash,
        amount_msat: Msat(5_000),
        claim_deadline_height: 10,
    };
    let out = o.tell(again);
    assert!(
        matches!(out.instructions[0].effect, Effect::FailHeld { .. }),
        "the same hash after the claim"
    );
    o.check();
}

#[test]
fn a_held_payment_is_refused_by_command_or_by_its_deadline() {
    let mut o = Outside::new();
    let payment_hash = held(&mut o);
    o.ok(Command::RefuseHeld {
        payment: payment("p1"),
    });
    assert!(o.outstanding("p1/fail").is_some());
    let out = o.tell(Fact::HeldFailed { payment_hash });
    assert!(
        matches!(
            &out.events[..],
            [Event::PaymentFailed {
                reason: FailureReason::Refused,
                ..
            }]
        ),
        "{out:?}"
    );
    assert_eq!(o.outstanding("p1/fail"), None);

    let mut o = Outside::new();
    held(&mut o);
    assert_eq!(
        o.tell(look(branch("a", 0..=8), vec![])).instructions,
        vec![]
    );
    let out = o.tell(look(branch("a", 8..=9), vec![]));
    assert!(
        matches!(out.instructions[0].effect, Effect::FailHeld { .. }),
        "one block before the deadline"
    );
    o.check();
}

#[test]
fn an_onchain_charge_follows_the_chain_back_and_forth() {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "p1",
        Rail::Onchain,
        50_000_000,
    ))));
    let tx = pays(&script, 50_000, "coin");
    assert_eq!(
        names(&o.tell(look(branch("a", 0..=1), vec![in_mempool(&tx)]))),
        ["payment_seen"]
    );
    assert_eq!(
        o.balance(&Account::Incoming {
            payment: payment("p1")
        }),
        -50_000_000
    );
    let deep = |name: &str| {
        look(
            branch(name, 0..=2),
            vec![confirmed(&tx, branch(name, 2..=2)[0])],
        )
    };
    assert_eq!(names(&o.tell(deep("a"))), ["payment_settled"]);
    assert_eq!(o.owed(Asset::Btc), 50_000_000);
    let out = o.tell(look(branch("b", 0..=2), vec![in_mempool(&tx)]));
    assert_eq!(
        (names(&out), o.owed(Asset::Btc)),
        (vec!["payment_undone".to_owned()], 0)
    );
    assert_eq!(
        names(&o.tell(look(branch("c", 0..=3), vec![]))),
        ["payment_vanished"]
    );
    assert_eq!(o.balance(&hot()), 0);
    let late = look(
        branch("d", 0..=4),
        vec![confirmed(&tx, branch("d", 4..=4)[0])],
    );
    assert_eq!(names(&o.tell(late)), ["payment_seen", "payment_settled"]);
    assert_eq!(o.status("p1"), Status::Settled);
    o.check();
}

#[test]
fn late_second_and_unasked_coins_lie_in_suspense() {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "p1",
        Rail::Onchain,
        50_000_000,
    ))));
    let other = watched(&o.ok(Command::CreateCharge(charge(
        "p2",
        Rail::Onchain,
        50_000_000,
    ))));
    let (first, second) = (
        pays(&script, 50_000, "first"),
        pays(&script, 7_000, "second"),
    );
    let (short, unasked) = (
        pays(&other, 49_999, "short"),
        pays(&o.engine.watched_scripts()[25], 11, "unasked"),
    );
    let blocks = branch("a", 0..=2);
    o.tell(look(
        blocks[..2].to_vec(),
        vec![confirmed(&first, blocks[1])],
    ));
    o.later(3_600);
    o.tell(look(
        blocks.clone(),
        vec![confirmed(&first, blocks[1]), in_mempool(&short)],
    ));
    assert_eq!(
        names(&o.fire("p2/expiry")),
        ["payment_failed"],
        "short by one satoshi"
    );
    let all = vec![
        confirmed(&first, blocks[1]),
        confirmed(&second, blocks[2]),
        confirmed(&short, blocks[2]),
        confirmed(&unasked, blocks[2]),
    ];
    let fork: Vec<_> = blocks.iter().copied().chain(branch("a", 3..=3)).collect();
    o.tell(look(fork, all));
    assert_eq!(
        o.balance(&suspense(Rail::Onchain)),
        -(7_000 + 49_999 + 11) * 1_000
    );
    assert_eq!(
        (o.owed(Asset::Btc), o.balance(&hot())),
        (50_000_000, 107_010_000)
    );
    o.check();
}

#[test]
fn refusals_follow_their_precedence() {
    let mut o = Outside::funded();
    let mut wrong = charge("fund", Rail::Sepa, 0);
    wrong.party = party("bob");
    wrong.expires_in = Span(0);
    let check = |o: &mut Outside, order: &lockstep_engine::api::Charge, expected: &str| {
        let Err(Refusal::Charge { cause }) = o.command(Command::CreateCharge(order.clone())) else {
            panic!("accepted")
        };
        assert!(
            format!("{cause:?}").starts_with(expected),
            "{cause:?} instead of {expected}"
        );
    };
    check(&mut o, &wrong, "UnknownParty");
    wrong.party = party("ann");
    check(&mut o, &wrong, "PaymentIdUsed");
    wrong.payment = payment("p1");
    check(&mut o, &wrong, "RailNotOffered");
    (wrong.rail, wrong.hold) = (Rail::Onchain, true);
    check(&mut o, &wrong, "HoldNotOffered");
    wrong.hold = false;
    check(&mut o, &wrong, "AmountOutOfRange");
    wrong.amount_msat = Msat(1_001);
    check(&mut o, &wrong, "NotWholeSatoshi");
    wrong.amount_msat = Msat(2_000);
    check(&mut o, &wrong, "ExpiryOutOfRange");
    let poor = o.command(Command::CreatePayout(sepa("p2", 99_999_999)));
    assert!(
        matches!(
            poor,
            Err(Refusal::Payout {
                cause: PayoutRefused::Hold { .. }
            })
        ),
        "{poor:?}"
    );
    let unknown = ChargeRefused::UnknownParty {
        party: party("bob"),
    };
    assert_eq!(unknown.to_string(), "party `bob` is not known");
}

#[test]
fn a_command_is_done_once() {
    let mut o = Outside::new();
    let order = Command::CreateCharge(charge("p1", Rail::Lightning, 5_000));
    let first = o.command_as("x", order.clone()).expect("accepted");
    let again = o.command_as("x", order).expect("accepted");
    assert_eq!((again.events, again.instructions.len()), (first.events, 0));
    let other = o.command_as(
        "x",
        Command::CreateCharge(charge("p1", Rail::Lightning, 5_001)),
    );
    assert!(
        matches!(other, Err(Refusal::CommandIdReused { .. })),
        "{other:?}"
    );
    o.check();
}

#[test]
fn an_unavailable_backend_keeps_its_instruction_outstanding() {
    let mut o = Outside::new();
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    o.tell(Fact::Unavailable {
        key: key("p1/invoice"),
        reason: "down".to_owned(),
    });
    assert!(o.outstanding("p1/invoice").is_some());
}

#[test]
fn planted_bugs_have_the_effect_they_name() {
    let mut o = Outside::new();
    o.engine.plant(Bug::RepeatDuplicates);
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    o.issue("p1", HASH, 5_000);
    o.tell(received(5_000));
    o.tell(received(5_000));
    assert_eq!(o.owed(Asset::Btc), 10_000);

    let mut o = Outside::new();
    o.engine.plant(Bug::DropExpiry);
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    o.fire("p1/expiry");
    assert_eq!(o.status("p1"), Status::Created);

    let mut o = Outside::funded();
    o.engine.plant(Bug::PayTwiceOnRetry);
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.tell(Fact::HttpFailed {
        key: key("p1/transfer"),
        failure: HttpFailure::TimedOut,
    });
    o.fire("p1/retry-1");
    assert!(o.outstanding("p1/transfer-2").is_some());
}

#[test]
fn an_impossible_output_is_not_believed() {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "p1",
        Rail::Onchain,
        50_000_000,
    ))));
    let tx = pays(&script, bitcoin::Amount::MAX_MONEY.to_sat() + 1, "coin");
    let refused = o.fact(look(branch("a", 0..=1), vec![in_mempool(&tx)]));
    assert!(
        matches!(
            refused,
            Err(Refusal::Fact {
                cause: FactRefused::ImpossibleAmount { .. }
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn a_history_that_cannot_be_booked_is_refused_and_a_long_foreign_one_is_not() {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "p1",
        Rail::Onchain,
        50_000_000,
    ))));
    let most = bitcoin::Amount::MAX_MONEY.to_sat();
    let history = |script: &bitcoin::ScriptBuf| -> Vec<_> {
        (0..9)
            .map(|n| in_mempool(&pays(script, most, &format!("coin {n}"))))
            .collect()
    };
    let refused = o.fact(look(branch("a", 0..=1), history(&script)));
    assert!(
        matches!(
            refused,
            Err(Refusal::Fact {
                cause: FactRefused::ImpossibleAmount { .. }
            })
        ),
        "{refused:?}"
    );
    let foreign = bitcoin::ScriptBuf::new_op_return([7; 4]);
    o.tell(look(branch("a", 0..=1), history(&foreign)));
    let mut eight = history(&script);
    eight.pop();
    o.tell(look(branch("a", 0..=2), eight));
    o.check();
}

#[test]
fn a_charge_does_not_end_before_its_invoice() {
    let mut o = Outside::new();
    o.ok(Command::CreateCharge(charge("p1", Rail::Lightning, 5_000)));
    let asked = o.now.plus(lockstep_engine::time::Span::secs(3_600));
    o.later(10);
    // The invoice is valid for an hour from now.
    o.issue("p1", HASH, 5_000);
    let at = asked.plus(lockstep_engine::time::Span::secs(10));
    let alarm = |o: &Outside| o.outstanding("p1/expiry").map(|i| i.effect);
    assert_eq!(alarm(&o), Some(Effect::WakeAt { at }));
    o.now = asked;
    assert!(names(&o.fire("p1/expiry")).is_empty(), "too early");
    assert_eq!(alarm(&o), Some(Effect::WakeAt { at }));
    o.later(9);
    assert_eq!(names(&o.tell(received(5_000))), ["payment_settled"]);
    assert_eq!(o.balance(&suspense(Rail::Lightning)), 0);
    o.check();
}

#[test]
fn a_credit_undone_after_its_expiry_comes_back_to_its_party() {
    let mut o = Outside::new();
    let script = watched(&o.ok(Command::CreateCharge(charge(
        "p1",
        Rail::Onchain,
        50_000_000,
    ))));
    let tx = pays(&script, 50_000, "coin");
    let deep = |name: &str, height: u32| {
        look(
            branch(name, 0..=height),
            vec![confirmed(&tx, branch(name, height..=height)[0])],
        )
    };
    o.tell(deep("a", 2));
    o.later(3_600);
    assert!(names(&o.fire("p1/expiry")).is_empty());
    let gone = look(branch("b", 0..=3), vec![]);
    assert_eq!(
        names(&o.tell(gone)),
        ["payment_undone", "payment_vanished", "payment_failed"]
    );
    assert_eq!(names(&o.tell(deep("c", 4))), ["payment_settled"]);
    assert_eq!(
        (o.owed(Asset::Btc), o.balance(&suspense(Rail::Onchain))),
        (50_000_000, 0)
    );
    o.check();
}
