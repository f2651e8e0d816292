//! Owns the proof, through the engine's door, that each planted bug which no invariant of the harness sees by itself does
//! what its line says, and that the engine without it does not. Does not own the bugs that the harness catches
//! (`tests/tests/planted.rs`).
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state plain sums and look for one effect among many"
)]

mod outside;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash as _;
use lockstep_engine::api::{Command, Destination, Status};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::{Asset, Msat, Quantity, Rail};
use lockstep_engine::planted::Bug;
use lockstep_engine::rail::Fact;
use outside::*;

/// What `see` sees without the bug, and with it.
fn check<T: std::fmt::Debug + PartialEq>(
    bug: Bug,
    see: impl Fn(Option<Bug>) -> T,
    right: T,
    wrong: T,
) {
    assert_eq!(see(None), right, "without {bug:?}");
    assert_eq!(see(Some(bug)), wrong, "with {bug:?}");
}

fn funded(bug: Option<Bug>) -> Outside {
    let mut o = Outside::funded();
    if let Some(bug) = bug {
        o.engine.plant(bug);
    }
    o
}

fn block(name: &str, height: u32) -> lockstep_engine::rail::BlockId {
    branch(name, height..=height)[0]
}

#[test]
fn the_gateways_amount_takes_the_place_of_the_ordered_one() {
    let see = |bug| {
        let mut o = funded(bug);
        o.ok(Command::CreatePayout(sepa("p1", 1_250)));
        let told = o.webhook(&transfer("p1", 1_300, "settled", 2));
        o.tell(told);
        (o.status("p1"), o.balance(&Account::Gateway))
    };
    check(
        Bug::AcceptWrongAmount,
        see,
        (Status::Dispatched, 1_000_000),
        (Status::Settled, 1_000_000 - 1_300),
    );
}

#[test]
fn a_forged_webhook_is_believed() {
    let see = |bug| {
        let mut o = funded(bug);
        o.ok(Command::CreatePayout(sepa("p1", 1_250)));
        let Fact::Webhook { body, .. } = o.webhook(&transfer("p1", 1_250, "settled", 2)) else {
            panic!("a webhook")
        };
        let forged = Fact::Webhook {
            signature: "t=1700000000,v1=00".to_owned(),
            body,
        };
        (o.fact(forged).is_ok(), o.balance(&Account::Gateway))
    };
    check(
        Bug::SkipSignatureCheck,
        see,
        (false, 1_000_000),
        (true, 1_000_000 - 1_250),
    );
}

#[test]
fn of_two_charges_of_one_amount_the_wrong_one_is_credited() {
    let see = |bug| {
        let mut o = funded(bug);
        for (name, preimage) in [("c1", [1; 32]), ("c2", [2; 32])] {
            o.ok(Command::CreateCharge(charge(name, Rail::Lightning, 5_000)));
            o.issue(name, preimage, 5_000);
        }
        o.tell(Fact::LightningReceived {
            payment_hash: hash_of([2; 32]),
            amount_msat: Msat(5_000),
        });
        (o.status("c1"), o.status("c2"))
    };
    check(
        Bug::CreditWrongParty,
        see,
        (Status::Issued, Status::Settled),
        (Status::Settled, Status::Issued),
    );
}

/// Where a charge of 0.01 BTC, which needs three blocks, stands while its money has none, one, two and three.
fn status_by_depth(bug: Option<Bug>) -> [Status; 4] {
    let mut o = funded(bug);
    let order = charge("c1", Rail::Onchain, 1_000_000_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let tx = pays(&script, 1_000_000, "coin");
    let mut at = |height: u32, seen| {
        o.tell(look(branch("a", 0..=height), vec![seen]));
        o.status("c1")
    };
    [
        at(1, in_mempool(&tx)),
        at(2, confirmed(&tx, block("a", 2))),
        at(3, confirmed(&tx, block("a", 2))),
        at(4, confirmed(&tx, block("a", 2))),
    ]
}

#[test]
fn a_charge_settles_too_early() {
    use Status::{Seen, Settled};
    let right = [Seen, Seen, Seen, Settled];
    check(
        Bug::CreditAtSeen,
        status_by_depth,
        right,
        [Settled, Settled, Settled, Settled],
    );
    check(
        Bug::SettleOneBlockEarly,
        status_by_depth,
        right,
        [Seen, Seen, Settled, Settled],
    );
}

#[test]
fn cents_are_taken_for_millisatoshi() {
    let see = |bug| {
        let mut o = funded(bug);
        o.ok(Command::CreatePayout(sepa("p1", 6_000)));
        let told = o.webhook(&transfer("p1", 6_000, "settled", 2));
        o.tell(told);
        (o.balance(&Account::Gateway), o.available())
    };
    check(
        Bug::HoldWrongUnit,
        see,
        (1_000_000 - 6_000, 900_000_000),
        (1_000_000 - 6_000, 1_000_000_000 - 6_000),
    );
}

/// A payout of 20,000 sat by Ann, who has 100,000 sat on chain: its funding, its transaction, its fee in msat.
fn payout_on_chain(
    bug: Option<Bug>,
) -> (Outside, bitcoin::Transaction, bitcoin::Transaction, i128) {
    let mut o = Outside::new();
    if let Some(bug) = bug {
        o.engine.plant(bug);
    }
    let order = charge("fund", Rail::Onchain, 100_000_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let funding = pays(&script, 100_000, "coin");
    o.tell(look(
        branch("a", 0..=1),
        vec![confirmed(&funding, block("a", 1))],
    ));
    let foreign = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([6; 20]));
    let address =
        bitcoin::Address::from_script(&foreign, bitcoin::Network::Regtest).expect("an address");
    let destination = Destination::Address(address.to_string());
    o.ok(Command::CreatePayout(payout(
        "p1",
        destination,
        Quantity::btc(Msat(20_000_000)),
    )));
    let transaction = o.sign("p1");
    o.tell(Fact::Broadcast {
        key: key("p1/broadcast"),
        result: Ok(transaction.compute_txid()),
    });
    let spent: u64 = transaction.output.iter().map(|o| o.value.to_sat()).sum();
    let fee = i128::from(100_000 - spent) * 1_000;
    (o, funding, transaction, fee)
}

#[test]
fn the_operator_bears_the_miners_fee() {
    let see = |bug| {
        let (mut o, funding, tx, fee) = payout_on_chain(bug);
        let seen = vec![confirmed(&funding, block("a", 1)), in_mempool(&tx)];
        o.tell(look(branch("a", 1..=1), seen));
        let account = Account::Fees {
            rail: Rail::Onchain,
        };
        (
            80_000_000 - o.owed(Asset::Btc) == fee,
            o.balance(&account) == fee,
        )
    };
    check(Bug::FeeToOperator, see, (true, false), (false, true));
}

#[test]
fn what_a_reorganisation_does_to_a_payout() {
    let see = |bug| {
        let (mut o, funding, tx, fee) = payout_on_chain(bug);
        let paid = vec![
            confirmed(&funding, block("a", 1)),
            confirmed(&tx, block("a", 2)),
        ];
        o.tell(look(branch("a", 1..=2), paid));
        let fork = vec![block("a", 1), block("b", 2), block("b", 3)];
        let out = o.tell(look(fork, vec![confirmed(&funding, block("a", 1))]));
        (
            out.instructions.len(),
            100_000_000 - o.owed(Asset::Btc) - fee,
        )
    };
    check(Bug::NeverRebroadcast, see, (1, 20_000_000), (0, 20_000_000));
    let (_, _, _, fee) = payout_on_chain(None);
    check(Bug::ForgetHoldOnReorg, see, (1, 20_000_000), (1, -fee));
}
