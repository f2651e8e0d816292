//! Owns the tests of payouts of all that a party has, through the engine's door: what goes, what is refused, what is free again.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one event among many"
)]

mod outside;

use bitcoin::hashes::Hash as _;
use bitcoin::{Psbt, ScriptBuf};
use lockstep_engine::api::{Command, Destination, Event, Payout, Refusal, Status};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail, Sat};
use lockstep_engine::payments::PayoutRefused;
use lockstep_engine::planted::Bug;
use lockstep_engine::policy::Policy;
use lockstep_engine::rail::{Effect, Fact};
use outside::*;

fn foreign() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]))
}

fn address() -> String {
    bitcoin::Address::from_script(&foreign(), bitcoin::Network::Regtest)
        .expect("an address")
        .to_string()
}

fn all(name: &str, to: &str) -> Payout {
    let nothing = Quantity::btc(Msat(0));
    Payout {
        all: true,
        ..payout(name, Destination::Address(to.to_owned()), nothing)
    }
}

/// Ann has so much on chain, in one coin that is confirmed.
fn with_coin(sat: u64) -> (Outside, bitcoin::Transaction) {
    let mut o = Outside::new();
    let order = charge("fund", Rail::Onchain, sat * 1_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let funding = pays(&script, sat, "coin");
    let blocks = branch("a", 0..=1);
    let seen = vec![confirmed(&funding, blocks[1])];
    o.tell(look(blocks, seen));
    assert_eq!(o.available(), i128::from(sat) * 1_000);
    (o, funding)
}

fn refused(o: &mut Outside, order: Payout) -> PayoutRefused {
    match o.command(Command::CreatePayout(order)) {
        Err(Refusal::Payout { cause }) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_of_it_goes_and_the_fee_comes_out_of_it() {
    let (mut o, funding) = with_coin(100_000);
    let out = o.ok(Command::CreatePayout(all("p1", &address())));
    assert_eq!(names(&out), ["payout_reserved", "transaction_built"]);
    let whole = Quantity::btc(Msat(100_000_000));
    let reserved = Event::PayoutReserved {
        payment: payment("p1"),
        party: party("ann"),
        rail: Rail::Onchain,
        quantity: whole,
        reserved: whole,
    };
    assert!(out.events.contains(&reserved), "{out:?}");
    assert_eq!(o.available(), 0);
    let transaction = o.sign("p1");
    let [output] = &transaction.output[..] else {
        panic!("one coin, no change: {transaction:?}")
    };
    assert_eq!(output.script_pubkey, foreign());
    let paid = output.value.to_sat();
    o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Ok(transaction.compute_txid()),
    });
    let blocks = branch("a", 1..=2);
    let seen = vec![
        confirmed(&funding, blocks[0]),
        confirmed(&transaction, blocks[1]),
    ];
    let out = o.tell(look(blocks, seen));
    let settled = Event::PaymentSettled {
        payment: payment("p1"),
        quantity: Quantity::btc(Msat(paid * 1_000)),
        fee_msat: Msat((100_000 - paid) * 1_000),
    };
    assert!(out.events.contains(&settled), "{out:?}");
    let fees = Account::Fees {
        rail: Rail::Onchain,
    };
    assert_eq!(
        (o.available(), o.owed(Asset::Btc), o.balance(&hot())),
        (0, 0, 0)
    );
    assert_eq!(o.balance(&fees), 0, "the operator bears nothing");
    o.check();
}

#[test]
fn what_is_refused_by_the_signer_is_free_again() {
    let (mut o, _) = with_coin(100_000);
    o.ok(Command::CreatePayout(all("p1", &address())));
    o.tell(Fact::Signed {
        key: key("p1/sign"),
        result: Err("no".to_owned()),
    });
    assert_eq!(
        (o.status("p1"), o.available()),
        (Status::Failed, 100_000_000)
    );
    o.ok(Command::CreatePayout(all("p2", &address())));
    assert_eq!(o.available(), 0);
    o.check();
}

#[test]
fn parts_of_a_satoshi_and_what_is_held_do_not_go() {
    // 1,000,000 sat over Lightning, and no coins: it waits.
    let mut o = Outside::funded();
    let invoice = Destination::Invoice(invoice(hash_of([1; 32]), 100_001, o.now));
    let lightning = payout("p1", invoice, Quantity::btc(Msat(100_001)));
    o.ok(Command::CreatePayout(lightning));
    let held = 1_000_000_000 - o.available();
    let free = o.available();
    assert_ne!(free % 1_000, 0);
    let out = o.ok(Command::CreatePayout(all("p2", &address())));
    assert_eq!(names(&out), ["payout_reserved"]);
    assert_eq!(o.available(), free % 1_000);
    o.later(3_600);
    o.fire("p2/deadline");
    assert_eq!(o.status("p2"), Status::Failed);
    assert_eq!(o.available(), 1_000_000_000 - held);
    o.check();
}

#[test]
fn only_on_chain_and_without_another_amount() {
    let mut o = Outside::funded();
    let invoice = Destination::Invoice(invoice(hash_of([1; 32]), 100_000, o.now));
    let order = Payout {
        destination: invoice,
        ..all("p1", "")
    };
    let cause = refused(&mut o, order);
    let is_rail = matches!(
        cause,
        PayoutRefused::AllNotOffered {
            rail: Rail::Lightning
        }
    );
    assert!(is_rail, "{cause:?}");
    let order = Payout {
        all: true,
        ..sepa("p1", 0)
    };
    let cause = refused(&mut o, order);
    let is_rail = matches!(cause, PayoutRefused::AllNotOffered { rail: Rail::Sepa });
    assert!(is_rail, "{cause:?}");
    let order = Payout {
        quantity: Quantity::btc(Msat(1_000)),
        ..all("p1", &address())
    };
    let cause = refused(&mut o, order);
    let is_amount = matches!(cause, PayoutRefused::AllWithAmount { .. });
    assert!(is_amount, "{cause:?}");
    // Even the very amount that would go.
    let uri = format!("bitcoin:{}?amount=0.01", address());
    let cause = refused(&mut o, all("p1", &uri));
    let is_uri = matches!(
        cause,
        PayoutRefused::UriAmountDiffers {
            uri: Sat(1_000_000),
            ..
        }
    );
    assert!(is_uri, "{cause:?}");
    o.ok(Command::CreatePayout(all(
        "p1",
        &format!("bitcoin:{}", address()),
    )));
    o.check();
}

#[test]
fn the_highest_fee_must_leave_more_than_dust() {
    let dust = foreign().minimal_non_dust().to_sat();
    let least = Policy::regtest_default().onchain_fee_bound().0 + dust;
    for (sat, taken) in [(1_000, false), (least - 1, false), (least, true)] {
        let (mut o, _) = with_coin(sat);
        let result = o.command(Command::CreatePayout(all("p1", &address())));
        match result {
            Ok(_) => assert!(taken, "{sat}"),
            Err(Refusal::Payout {
                cause: PayoutRefused::TooLittleForAll { needed, .. },
            }) => assert!(!taken && needed == Msat(least * 1_000), "{sat}: {needed}"),
            other => panic!("{other:?}"),
        }
        o.check();
    }
}

#[test]
fn planted_the_rest_stays_on_the_account() {
    let fee_bound = Policy::regtest_default().onchain_fee_bound().0;
    let (mut o, _) = with_coin(100_000);
    o.engine = engine_with(Some(Bug::KeepRestOfAll));
    for (at, input) in o.accepted.clone() {
        o.engine.step_recorded(at, &input).expect("accepted before");
    }
    o.ok(Command::CreatePayout(all("p1", &address())));
    let Some(Effect::SignPsbt { psbt }) = o.outstanding("p1/sign").map(|i| i.effect) else {
        panic!("to be signed")
    };
    let unsigned = psbt.parse::<Psbt>().expect("a PSBT").unsigned_tx;
    let to_payee = |output: &&bitcoin::TxOut| output.script_pubkey == foreign();
    let paid = unsigned.output.iter().find(to_payee).expect("paid");
    assert_eq!(paid.value.to_sat(), 100_000 - fee_bound);
}
