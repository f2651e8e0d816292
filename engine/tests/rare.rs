//! Owns the proof that rare branches are noted when they are reached, and not before. One test: the notes belong to the
//! process.
#![allow(missing_docs, reason = "a test")]

mod outside;

use bitcoin::{Address, Network};
use lockstep_engine::api::{Command, Destination};
use lockstep_engine::money::{Msat, Quantity, Rail};
use lockstep_engine::rail::{Fact, HttpFailure, SeenTransaction};
use lockstep_engine::rare::{self, Rare};
use outside::*;

/// What `act` reaches.
fn reached(o: &mut Outside, act: impl FnOnce(&mut Outside)) -> Vec<Rare> {
    rare::reset();
    act(o);
    rare::reached()
}

#[test]
fn a_branch_is_noted_when_it_is_reached() {
    let mut o = Outside::funded();
    assert_eq!(
        reached(&mut o, |o| drop(
            o.ok(Command::CreatePayout(sepa("p1", 1_250)))
        )),
        []
    );
    let webhook = o.webhook(&transfer("p1", 1_250, "settled", 2));
    assert_eq!(
        reached(&mut o, |o| drop(o.tell(webhook.clone()))),
        [Rare::WebhookBeforeAnswer]
    );
    assert_eq!(reached(&mut o, |o| drop(o.tell(webhook))), [Rare::OldNews]);
    let answer = transfer("p1", 1_250, "accepted", 1);
    assert_eq!(
        reached(&mut o, |o| drop(o.responds("p1/transfer", 201, &answer))),
        [Rare::AnswerAfterWebhook, Rare::OldNews]
    );
    let again = |o: &mut Outside| {
        let key = key("p1/transfer");
        let failure = HttpFailure::TimedOut;
        assert!(o.fact(Fact::HttpFailed { key, failure }).is_err());
    };
    assert_eq!(reached(&mut o, again), [Rare::AnswerToNothing]);
    let back = o.webhook(&transfer("p1", 1_250, "returned", 3));
    assert_eq!(
        reached(&mut o, |o| drop(o.tell(back))),
        [Rare::ReturnedAfterBooking]
    );
    o.ok(Command::CreatePayout(sepa("p3", 1_250)));
    let unanswered = |o: &mut Outside| {
        let key = key("p3/transfer");
        let failure = HttpFailure::TimedOut;
        o.tell(Fact::HttpFailed { key, failure });
        o.fire("p3/deadline");
        o.fire("p3/retry-1");
        o.fire("p3/poll-1");
    };
    assert_eq!(
        reached(&mut o, unanswered),
        [Rare::OutcomeUnknown, Rare::DeadlineWhileUnknown]
    );
    let told = transfer("p3", 1_250, "accepted", 1);
    let twice = format!(r#"{{"data":[{told},{told}]}}"#);
    assert_eq!(
        reached(&mut o, |o| drop(o.responds("p3/status-1", 200, &twice))),
        [Rare::SeveralTransfers]
    );
    o.fire("p3/poll-2");
    let once = format!(r#"{{"data":[{told}]}}"#);
    assert_eq!(
        reached(&mut o, |o| drop(o.responds("p3/status-2", 200, &once))),
        [Rare::UnknownResolvedByAsking]
    );
    let stray = Fact::LightningReceived {
        payment_hash: [77; 32],
        amount_msat: Msat(5),
    };
    assert_eq!(
        reached(&mut o, |o| drop(o.tell(stray))),
        [Rare::StrayReceipt]
    );
    let order = charge("p2", Rail::Onchain, 50_000_000);
    let repeated = reached(&mut o, |o| {
        for _ in 0..2 {
            o.command_as("same", Command::CreateCharge(order.clone()))
                .expect("accepted");
        }
    });
    assert_eq!(repeated, [Rare::CommandRepeated]);
    coins_that_are_late_or_waited_for();
}

/// Coins that come in time are nothing rare, nor is a payout for which there are none yet.
fn coins_that_are_late_or_waited_for() {
    let mut o = Outside::funded();
    let order = charge("p1", Rail::Onchain, 50_000_000);
    let script = watched(&o.ok(Command::CreateCharge(order)));
    let address = Address::from_script(&script, Network::Regtest).expect("an address");
    let quantity = Quantity::btc(Msat(20_000_000));
    let waits = payout("p2", Destination::Address(address.to_string()), quantity);
    o.ok(Command::CreatePayout(waits));
    let blocks = branch("a", 0..=3);
    let see = |o: &mut Outside, tip: usize, coins: Vec<SeenTransaction>| {
        let seen = look(blocks[..=tip].to_vec(), coins);
        reached(o, |o| drop(o.tell(seen)))
    };
    assert_eq!(see(&mut o, 1, vec![]), []);
    let whole = confirmed(&pays(&script, 50_000, "whole"), blocks[2]);
    let told = see(&mut o, 2, vec![whole.clone()]);
    assert_eq!(told, [Rare::CoinsForWaitingPayout]);
    let second = confirmed(&pays(&script, 7_000, "second"), blocks[3]);
    assert_eq!(see(&mut o, 3, vec![whole, second]), [Rare::LateCoins]);
}
