//! Owns the tests of payouts on chain whose coins are gone: lost for good, or for a while.
#![allow(
    missing_docs,
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one event among many"
)]

mod outside;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use lockstep_engine::api::{Command, Destination, Status};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Msat, Quantity};
use lockstep_engine::rail::Fact;
use outside::*;

fn outgoing(name: &str) -> Account {
    Account::Outgoing {
        payment: self::payment(name),
    }
}

#[test]
fn a_payout_whose_coin_is_lost_has_failed_when_it_is_overdue_and_until_the_coin_comes_back() {
    let (mut o, funding, tx) = payout_on_chain();
    let broadcast = |n: &str| Fact::Broadcast {
        key: key(n),
        result: Ok(tx.compute_txid()),
    };
    o.tell(broadcast("p1/broadcast"));
    let block = |name: &str, height| branch(name, height..=height)[0];
    let there = vec![confirmed(&funding, block("a", 1)), in_mempool(&tx)];
    o.tell(look(branch("a", 1..=2), there.clone()));
    // The funding charge and what it paid for are gone; the depth of this policy is one block.
    let fork = |heights| look(branch("b", heights), Vec::new());
    o.tell(fork(0..=3));
    o.tell(fork(3..=4));
    assert_eq!(o.status("p1"), Status::Dispatched, "it has time yet");
    let out = o.fire("p1/deadline");
    assert_eq!(names(&out), ["outcome_unknown", "payment_failed"]);
    assert_eq!(o.status("p1"), Status::Failed);
    assert_eq!(o.balance(&outgoing("p1")), 0);
    assert_eq!(o.available(), 0, "neither the charge's money nor a debt");
    assert_eq!(o.tell(fork(4..=5)).instructions, [], "nothing to hand out");
    let out = o.tell(look(
        vec![block("b", 5), block("b", 6)],
        vec![confirmed(&funding, block("b", 6)), in_mempool(&tx)],
    ));
    assert!(
        names(&out).contains(&"payout_dispatched".to_owned()),
        "{out:?}"
    );
    assert_eq!(o.status("p1"), Status::Unknown);
    o.check();
}

#[test]
fn a_coin_that_our_own_payout_makes_is_never_lost_while_that_one_may_come_back() {
    let (mut o, funding, first) = payout_on_chain();
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([7; 20]));
    let address =
        bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest).expect("an address");
    o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Ok(first.compute_txid()),
    });
    let block = |height| branch("a", height..=height)[0];
    o.tell(look(
        branch("a", 1..=2),
        vec![confirmed(&funding, block(1)), in_mempool(&first)],
    ));
    let order = payout(
        "p2",
        Destination::Address(address.to_string()),
        Quantity::btc(Msat(20_000_000)),
    );
    o.ok(Command::CreatePayout(order));
    let transaction = o.sign("p2");
    assert_eq!(
        transaction.input[0].previous_output.txid,
        first.compute_txid()
    );
    o.tell(Fact::Broadcast {
        key: key("p2/broadcast"),
        result: Ok(transaction.compute_txid()),
    });
    for height in 3..=9 {
        let blocks = branch("a", height - 1..=height);
        o.tell(look(blocks, vec![confirmed(&funding, block(1))]));
    }
    o.fire("p1/deadline");
    o.fire("p2/deadline");
    assert_eq!(o.status("p1"), Status::Unknown, "its coin is there");
    assert_eq!(o.status("p2"), Status::Unknown, "its coin may come back");
    o.check();
}
