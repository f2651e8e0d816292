//! Owns the tests of webhooks.

use super::*;

fn armed(fault: Option<GatewayFault>) -> Gateway {
    let mut gateway = gateway();
    fault.into_iter().for_each(|fault| gateway.arm(fault));
    assert_eq!(pay(&mut gateway, T0, "p1", 1_250).status, 201);
    gateway
}

/// HMAC-SHA256 written out (RFC 2104), so that the signature is checked against another construction.
fn expected_signature(secret: &str, secs: u64, body: &str) -> String {
    use bitcoin::hashes::{Hash, sha256};
    let pad = |with: u8| -> Vec<u8> {
        let mut block = vec![with; 64];
        block
            .iter_mut()
            .zip(secret.bytes())
            .for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = sha256::Hash::hash(&[pad(0x36), format!("{secs}.{body}").into_bytes()].concat());
    let outer = sha256::Hash::hash(&[pad(0x5c), inner.to_byte_array().to_vec()].concat());
    format!("t={secs},v1={outer}")
}

#[test]
fn each_change_is_told_once_and_signed() {
    let mut gateway = armed(None);
    assert_eq!(gateway.take_due(after(59)), []);
    let sent = gateway.take_due(after(60));
    let data = json!({"id": "tr_1", "reference": "p1", "amount": 1_250, "currency": "EUR", "status": "settled", "version": 2, "return_reason": null});
    let body: Value = serde_json::from_str(&sent[0].body).expect("JSON");
    assert_eq!(
        body,
        json!({"id": "evt_1", "type": "transfer.settled", "created": 1_700_000_060, "data": data})
    );
    assert_eq!(
        (sent.len(), sent[0].id.as_str(), sent[0].attempt),
        (1, "evt_1", 1)
    );
    assert_eq!(
        sent[0].signature_header,
        expected_signature(SECRET, 1_700_000_060, &sent[0].body)
    );
    assert_eq!(
        (gateway.take_due(after(60)), gateway.next_due_ms()),
        (vec![], None),
        "in flight"
    );
    gateway.webhook_answered("evt_1", Some(204), after(61));
    assert_eq!(
        (gateway.next_due_ms(), gateway.undelivered_webhooks()),
        (None, 0)
    );
}

#[test]
fn a_forger_tells_of_a_booking_before_there_is_one_and_does_not_come_again() {
    let reference = "p1".to_owned();
    let mut gateway = armed(Some(GatewayFault::ForgedWebhook { reference }));
    assert_eq!(gateway.take_due(after(9)), []);
    let sent = gateway.take_due(after(10));
    let body: Value = serde_json::from_str(&sent[0].body).expect("JSON");
    assert_eq!(
        (&body["data"]["status"], &body["data"]["version"]),
        (&json!("settled"), &json!(2))
    );
    assert_ne!(
        sent[0].signature_header,
        expected_signature(SECRET, 1_700_000_010, &sent[0].body)
    );
    assert_eq!(gateway.balance_cents(), 100_000, "nothing is booked");
    gateway.webhook_answered(&sent[0].id, Some(400), after(10));
    assert_eq!(gateway.take_due(after(60))[0].id, "evt_1");
}

#[test]
fn an_event_tells_the_transfer_as_it_was() {
    let fault = GatewayFault::ReturnTransfer {
        reference: "p1".to_owned(),
        reason: "AC04".to_owned(),
        after_secs: 90,
    };
    let mut gateway = armed(Some(fault));
    let sent = gateway.take_due(after(1_000));
    let told: Vec<Value> = sent
        .iter()
        .map(|sent| serde_json::from_str(&sent.body).expect("JSON"))
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|body| {
            (
                body["type"].clone(),
                body["data"]["version"].clone(),
                body["created"].clone(),
            )
        })
        .collect();
    let settled = (json!("transfer.settled"), json!(2), json!(1_700_000_060));
    assert_eq!(
        told,
        [
            settled,
            (json!("transfer.returned"), json!(3), json!(1_700_000_090))
        ]
    );
}

#[test]
fn what_is_not_acknowledged_is_sent_again_with_growing_pauses_up_to_a_limit() {
    let mut gateway = armed(None);
    let mut pauses = Vec::new();
    let mut now_ms = after(60);
    for attempt in 1..=10 {
        let sent = gateway.take_due(now_ms);
        assert_eq!((sent.len(), sent[0].attempt), (1, attempt));
        assert_eq!(
            sent[0].signature_header,
            expected_signature(SECRET, now_ms / 1_000, &sent[0].body),
            "signed anew"
        );
        gateway.webhook_answered(
            "evt_1",
            [None, Some(500), Some(302)][attempt as usize % 3],
            now_ms,
        );
        let Some(due_ms) = gateway.next_due_ms() else {
            break;
        };
        pauses.push((due_ms - now_ms) / 1_000);
        now_ms = due_ms;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1_280]);
    assert_eq!(
        (gateway.next_due_ms(), gateway.undelivered_webhooks()),
        (None, 1)
    );
}

#[test]
fn an_answer_to_nothing_changes_nothing() {
    let mut gateway = armed(None);
    gateway.webhook_answered("evt_1", Some(200), T0);
    gateway.webhook_answered("evt_9", None, T0);
    assert_eq!(gateway.take_due(after(60)).len(), 1);
}

#[test]
fn duplicates_are_acknowledged_one_by_one() {
    let mut gateway = armed(Some(GatewayFault::DuplicateWebhook {
        reference: "p1".to_owned(),
    }));
    let sent = gateway.take_due(after(60));
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]));
    gateway.webhook_answered("evt_1", Some(200), after(60));
    gateway.webhook_answered("evt_1", None, after(60));
    assert_eq!(gateway.take_due(after(65)).len(), 1, "the second one again");
    assert_eq!(effects(&gateway), [1]);
}

#[test]
fn webhooks_can_be_late_lost_or_wrongly_signed() {
    let mut late = armed(Some(GatewayFault::DelayWebhook {
        reference: "p1".to_owned(),
        secs: 100,
    }));
    assert_eq!(
        (late.take_due(after(159)), late.next_due_ms()),
        (vec![], Some(after(160)))
    );
    assert_eq!(
        (late.take_due(after(160)).len(), effects(&late)),
        (1, vec![1])
    );

    let mut lost = armed(Some(GatewayFault::DropWebhook {
        reference: "p1".to_owned(),
    }));
    assert_eq!(
        (
            lost.take_due(after(10_000)),
            lost.next_due_ms(),
            effects(&lost)
        ),
        (vec![], None, vec![1])
    );
    assert_eq!(
        lost.transfers()[0].status,
        TransferStatus::Settled,
        "settled all the same"
    );

    let mut wrong = armed(Some(GatewayFault::WrongSignature {
        reference: "p1".to_owned(),
    }));
    let sent = wrong.take_due(after(60));
    assert_ne!(
        sent[0].signature_header,
        expected_signature(SECRET, 1_700_000_060, &sent[0].body)
    );
    wrong.webhook_answered("evt_1", Some(400), after(60));
    let sent = wrong.take_due(after(65));
    assert_eq!(
        sent[0].signature_header,
        expected_signature(SECRET, 1_700_000_065, &sent[0].body)
    );
    assert_eq!(effects(&wrong), [1]);
}

#[test]
fn faults_about_others_have_no_effect() {
    let other = || "p2".to_owned();
    let faults = [
        GatewayFault::DuplicateWebhook { reference: other() },
        GatewayFault::DelayWebhook {
            reference: other(),
            secs: 100,
        },
        GatewayFault::DropWebhook { reference: other() },
        GatewayFault::WrongSignature { reference: other() },
        GatewayFault::LoseResponse { reference: other() },
        GatewayFault::SlowResponse {
            reference: other(),
            secs: 1,
        },
        GatewayFault::ServerError {
            reference: other(),
            times: 1,
        },
        GatewayFault::RejectTransfer {
            reference: other(),
            code: other(),
        },
        GatewayFault::ReturnTransfer {
            reference: other(),
            reason: other(),
            after_secs: 1,
        },
    ];
    let mut gateway = gateway();
    faults.into_iter().for_each(|fault| gateway.arm(fault));
    assert_eq!(pay(&mut gateway, T0, "p1", 1).fate, Fate::Deliver);
    assert_eq!(gateway.take_due(after(60)).len(), 1);
    assert_eq!(effects(&gateway), [0; 9]);
}
