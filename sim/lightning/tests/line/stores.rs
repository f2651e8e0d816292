//! Owns what must hold for the line when a disk refuses, is slow, or is put back to what it held before.

use super::*;
use std::sync::Arc;

/// LDK gives a channel up whose monitor was stored and whose channel manager was not. The payment in it is then decided on
/// chain, in favour of both ends or of none.
#[test]
fn a_disk_that_refuses_at_any_write_stops_the_node_and_splits_no_payment() {
    let mut closed = 0;
    for writes in 0..8 {
        let mut pump = line();
        let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
        pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
        pump.disk(1).refuse_after(writes);
        pump.run();
        assert!(
            pump.node(1).process(pump.now()).is_err(),
            "a payment takes more than {writes} writes"
        );
        assert!(pump.node(1).new_address().is_err());
        pump.restart(1);
        pump.run();
        pump.connect(1, 0);
        pump.connect(1, 2);
        pump.advance(12);
        let intact = pump.node(1).channels().len() == 2;
        closed += u32::from(!intact);
        let payment = |pump: &Pump| pump.node(0).payment(PaymentId([1; 32])).unwrap().unwrap();
        for block in 0..600 {
            if payment(&pump).status != OutgoingStatus::Pending {
                break;
            }
            assert!(!intact, "pending in open channels after {writes} writes");
            pump.mine(1);
            if block % 10 == 0 {
                pump.advance(31);
            }
        }
        let view = payment(&pump);
        let receipt = pump.node(3).receipt(view.payment_hash).unwrap().unwrap();
        match view.status {
            // A random shadow route may put the expiry further off than this test waits.
            OutgoingStatus::Pending => assert_eq!(receipt.status, IncomingStatus::Expected),
            OutgoingStatus::Sent { .. } => {
                assert_eq!(
                    receipt.status,
                    IncomingStatus::Received {
                        amount_msat: 1_000_000
                    }
                );
            }
            OutgoingStatus::Failed { .. } => assert_eq!(receipt.status, IncomingStatus::Expected),
        }
        if intact {
            check_conservation(&pump);
        }
    }
    assert!(
        (1..8).contains(&closed),
        "both ways were taken: {closed} of 8 closed a channel"
    );
}

/// The line with its second node started anew in LDK's deferred way of storing.
fn line_with_slow_disk() -> Pump {
    let mut pump = line();
    pump.defer_stores(1);
    pump.restart(1);
    pump.connect(1, 0);
    pump.connect(1, 2);
    pump.advance(12);
    let begun = pump.node(1).stores_begun();
    pump.node(1).finish_stores(begun).unwrap();
    pump.run();
    pump
}

fn status(pump: &Pump) -> OutgoingStatus {
    let payment = pump.node(0).payment(PaymentId([1; 32]));
    payment.unwrap().unwrap().status
}

#[test]
fn nothing_leaves_a_node_before_its_slow_disk_has_taken_the_monitor() {
    let mut pump = line_with_slow_disk();
    let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    assert_eq!(status(&pump), OutgoingStatus::Pending);
    assert!(!pump.node(1).quiet());
    assert_eq!(own(&pump, 1, 2).htlcs, [], "not forwarded yet");
    let mut rounds = 0;
    while status(&pump) == OutgoingStatus::Pending {
        let begun = pump.node(1).stores_begun();
        pump.node(1).finish_stores(begun).unwrap();
        pump.run();
        rounds += 1;
        assert!(rounds < 50, "the payment does not end");
    }
    assert!(rounds > 2, "each step waited for the disk: {rounds}");
    assert!(matches!(status(&pump), OutgoingStatus::Sent { .. }));
    let begun = pump.node(1).stores_begun();
    pump.node(1).finish_stores(begun).unwrap();
    pump.run();
    assert_eq!(openers_msat(&pump), after_payment(1_000_000));
}

/// LDK writes down in the channel manager which updates are under way, and makes them again at the start.
#[test]
fn monitors_that_the_slow_disk_has_not_taken_are_lost_with_the_process_and_made_again() {
    for finished in 0..4 {
        let mut pump = line_with_slow_disk();
        let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
        pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
        pump.run();
        for _ in 0..finished {
            let begun = pump.node(1).stores_begun();
            pump.node(1).finish_stores(begun).unwrap();
            pump.run();
        }
        pump.restart(1);
        pump.connect(1, 0);
        pump.connect(1, 2);
        for _ in 0..50 {
            let begun = pump.node(1).stores_begun();
            pump.node(1).finish_stores(begun).unwrap();
            pump.advance(2);
        }
        assert_eq!(pump.node(1).channels().len(), 2, "after {finished} rounds");
        assert!(matches!(status(&pump), OutgoingStatus::Sent { .. }));
        assert_eq!(openers_msat(&pump), after_payment(1_000_000));
    }
}

#[test]
fn a_withheld_htlc_is_dealt_with_afterwards() {
    let mut pump = line();
    pump.node(1).withhold_htlcs(true);
    let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    pump.advance(30);
    assert_eq!(status(&pump), OutgoingStatus::Pending);
    assert_eq!(own(&pump, 0, 1).htlcs.len(), 1);
    assert_eq!(own(&pump, 1, 2).htlcs, []);
    pump.node(1).withhold_htlcs(false);
    pump.run();
    assert_eq!(openers_msat(&pump), after_payment(1_000_000));
}

#[test]
fn a_snapshot_holds_the_node_as_it_was_and_its_own_changes_stay_with_it() {
    let mut pump = line();
    let before = Arc::new(pump.disk(0).snapshot());
    let text = pump.node(3).create_invoice(invoice(1_000_000)).unwrap();
    pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    pump.run();
    let keys = pump.disk(0).keys();
    let old = Node::start(pump.config(0, 7), before.clone()).unwrap();
    assert_eq!(old.node_id(), pump.id(0));
    assert_eq!(old.channels()[0].local_balance_msat, START_MSAT);
    assert!(old.payment(PaymentId([1; 32])).unwrap().is_none());
    old.force_close_channel(1).unwrap();
    let effects = old.process(pump.now()).unwrap();
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Broadcast(_))),
        "the revoked commitment transaction"
    );
    assert_eq!(pump.disk(0).keys(), keys);
    assert_eq!(pump.node(0).channels().len(), 1);
}
