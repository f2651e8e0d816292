//! Owns the tests of faults in answering, each with its count of effects.

use super::*;

fn about(reference: &str) -> String {
    reference.to_owned()
}

#[test]
fn a_lost_response_has_had_its_effect() {
    let mut gateway = gateway();
    gateway.arm(GatewayFault::LoseResponse {
        reference: about("p1"),
    });
    assert_eq!(pay(&mut gateway, T0, "p2", 1).fate, Fate::Deliver);
    assert_eq!(effects(&gateway), [0]);
    let lost = pay(&mut gateway, T0, "p1", 1_250);
    assert_eq!(
        (lost.fate, gateway.executed_count("p1")),
        (Fate::LoseResponse, 1)
    );
    let again = pay(&mut gateway, after(1), "p1", 1_250);
    assert_eq!(
        (again.status, again.fate, is_replayed(&again)),
        (201, Fate::Deliver, true)
    );
    assert_eq!(
        (gateway.executed_count("p1"), effects(&gateway)),
        (1, vec![1])
    );
    assert_eq!(gateway.exchanges()[1].fate, Fate::LoseResponse);
}

#[test]
fn a_slow_response_keeps_its_key_in_use() {
    let mut gateway = gateway();
    gateway.arm(GatewayFault::SlowResponse {
        reference: about("p1"),
        secs: 30,
    });
    assert_eq!(
        pay(&mut gateway, T0, "p1", 1_250).fate,
        Fate::DeliverAfter { delay_ms: 30_000 }
    );
    let early = pay(&mut gateway, after(29), "p1", 1_250);
    assert_eq!(code(&early), refused(409, "idempotency_key_in_use"));
    assert!(is_replayed(&pay(&mut gateway, after(30), "p1", 1_250)));
    assert_eq!(
        (gateway.executed_count("p1"), effects(&gateway)),
        (1, vec![1])
    );
}

#[test]
fn server_errors_and_refused_connections_have_no_effect() {
    let mut gateway = gateway();
    gateway.arm(GatewayFault::RefuseConnection { times: 1 });
    gateway.arm(GatewayFault::ServerError {
        reference: about("p1"),
        times: 2,
    });
    let mut answers = Vec::new();
    for _ in 0..4 {
        let response = pay(&mut gateway, T0, "p1", 1_250);
        answers.push((response.status, response.fate, gateway.executed_count("p1")));
    }
    let failed = (500, Fate::Deliver, 0);
    assert_eq!(
        answers,
        [
            (0, Fate::RefuseConnection, 0),
            failed,
            failed,
            (201, Fate::Deliver, 1)
        ]
    );
    assert_eq!(effects(&gateway), [1, 2]);
    assert_eq!(gateway.exchanges()[0].status, None);
}

#[test]
fn a_rejected_transfer_stays_rejected() {
    let mut gateway = gateway();
    gateway.arm(GatewayFault::RejectTransfer {
        reference: about("p1"),
        code: about("account_blocked"),
    });
    assert_eq!(
        code(&pay(&mut gateway, T0, "p1", 1)),
        refused(422, "account_blocked")
    );
    let again = pay(&mut gateway, after(1), "p1", 1);
    assert_eq!(
        (code(&again), is_replayed(&again)),
        (refused(422, "account_blocked"), true)
    );
    assert_eq!(
        (gateway.executed_count("p1"), effects(&gateway)),
        (0, vec![1])
    );
}

#[test]
fn a_transfer_comes_back_after_booking() {
    let mut gateway = gateway();
    gateway.arm(GatewayFault::ReturnTransfer {
        reference: about("p1"),
        reason: about("AC04"),
        after_secs: 3_600,
    });
    pay(&mut gateway, T0, "p1", 1_250);
    get(&mut gateway, after(60), "/v1/balance");
    assert_eq!(gateway.balance_cents(), 98_750);
    assert_eq!(gateway.next_due_ms(), Some(after(60)), "the webhook");
    let (_, transfer) = get(&mut gateway, after(3_600), "/v1/transfers/tr_1");
    let told = (
        &transfer["status"],
        &transfer["version"],
        &transfer["return_reason"],
    );
    assert_eq!(told, (&json!("returned"), &json!(3), &json!("AC04")));
    assert_eq!(gateway.balance_cents(), 100_000);
    let kinds: Vec<EntryKind> = gateway.entries().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Transfer, EntryKind::Return]);
    assert_eq!(effects(&gateway), [1]);
}

#[test]
fn a_transfer_that_comes_back_first_is_never_booked() {
    for after_secs in [0, 59, 60] {
        let mut gateway = gateway();
        gateway.arm(GatewayFault::ReturnTransfer {
            reference: about("p1"),
            reason: about("AC01"),
            after_secs,
        });
        pay(&mut gateway, T0, "p1", 1_250);
        let (_, transfer) = get(&mut gateway, after(100), "/v1/transfers/tr_1");
        assert_eq!(
            (&transfer["status"], &transfer["version"]),
            (&json!("returned"), &json!(2))
        );
        assert_eq!(
            (gateway.entries(), gateway.balance_cents()),
            (&[][..], 100_000)
        );
        assert_eq!(
            get(&mut gateway, after(100), "/v1/balance").1["available"],
            json!(100_000),
            "reserve released"
        );
    }
}
