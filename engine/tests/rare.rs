//! Owns the proof that rare branches are noted when they are reached, and not before. One test: the notes belong to the
//! process.
#![allow(missing_docs, reason = "a test")]

mod outside;

use lockstep_engine::api::Command;
use lockstep_engine::money::{Msat, Rail};
use lockstep_engine::rail::{Fact, HttpFailure};
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
}
