//! What protects a payment after LDK has forgotten it: LDK refuses an id for seven of its ticks after the payment was resolved,
//! the node's own record for ever.

use super::*;

/// Eight ticks of a minute.
const FORGOTTEN_SECS: u64 = 8 * 60;

/// A line on which D was paid, and how A's own record of it is called.
fn paid() -> (Pump, String, String) {
    let mut pump = line();
    let text = pump.node(3).create_invoice(invoice(50_000_000)).unwrap();
    let started = pump.node(0).pay_invoice(pay(&text, 1)).unwrap();
    assert_eq!(started, PayOutcome::Started);
    pump.run();
    pump.advance(5);
    assert_eq!(openers_msat(&pump), after_payment(50_000_000));
    let records = pump.disk(0).list("payments/out/").unwrap();
    (pump, text, records[0].clone())
}

fn again(pump: &Pump, text: &str) -> PayOutcome {
    pump.node(0).pay_invoice(pay(text, 1)).unwrap()
}

#[test]
fn an_order_is_known_after_ldk_has_forgotten_it() {
    let (mut pump, text, _) = paid();
    pump.advance(FORGOTTEN_SECS);
    assert_eq!(again(&pump, &text), PayOutcome::AlreadyKnown);
    pump.restart(0);
    pump.run();
    assert_eq!(again(&pump, &text), PayOutcome::AlreadyKnown);
    pump.advance(15);
    assert_eq!(openers_msat(&pump), after_payment(50_000_000));
    let view = pump.node(0).payment(PaymentId([1; 32])).unwrap().unwrap();
    assert!(
        matches!(view.status, OutgoingStatus::Sent { .. }),
        "{view:?}"
    );
}

/// Without the record LDK alone decides: it knows the id at first, and takes it for a new one later.
#[test]
fn without_its_record_an_order_is_paid_anew() {
    let (pump, text, record) = paid();
    pump.disk(0).remove(&record).unwrap();
    assert_eq!(again(&pump, &text), PayOutcome::AlreadyKnown, "by LDK");
    let (mut pump, text, record) = paid();
    pump.advance(FORGOTTEN_SECS);
    pump.disk(0).remove(&record).unwrap();
    assert_eq!(again(&pump, &text), PayOutcome::Started);
}
