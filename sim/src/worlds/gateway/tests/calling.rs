//! Owns the tests of the HTTP interface without faults.

use super::*;

#[test]
fn a_transfer_is_accepted_booked_and_reported() {
    let mut gateway = gateway();
    let response = pay(&mut gateway, T0, "p1", 1_250);
    let expected = r#"{"id":"tr_1","reference":"p1","amount":1250,"currency":"EUR","status":"accepted","version":1,"return_reason":null}"#;
    assert_eq!(
        (response.status, response.body.as_str(), response.fate),
        (201, expected, Fate::Deliver)
    );
    assert_eq!(gateway.balance_cents(), 100_000, "accepted is not booked");
    assert_eq!(
        get(&mut gateway, T0, "/v1/balance"),
        (200, json!({"currency": "EUR", "available": 98_750}))
    );
    assert_eq!(gateway.next_due_ms(), Some(after(60)));
    let (status, transfer) = get(&mut gateway, after(60), "/v1/transfers/tr_1");
    assert_eq!(
        (status, &transfer["status"], &transfer["version"]),
        (200, &json!("settled"), &json!(2))
    );
    assert_eq!(gateway.balance_cents(), 98_750);
    let (_, list) = get(&mut gateway, after(60), "/v1/transfers?reference=p1");
    assert_eq!(list, json!({ "data": [transfer] }));
    assert_eq!(
        get(&mut gateway, after(60), "/v1/transfers?reference=p2").1,
        json!({"data": []})
    );
    assert_eq!(get(&mut gateway, after(60), "/v1/transfers/tr_2").0, 404);
}

#[test]
fn reports_add_up_day_by_day() {
    let mut gateway = gateway();
    pay(&mut gateway, T0, "p1", 1_250);
    gateway.deposit(after(120), 400);
    let midnight = 1_700_006_400_000;
    pay(&mut gateway, midnight - 30_000, "p2", 50);
    let (status, first) = get(&mut gateway, midnight, "/v1/reports/2023-11-14");
    assert_eq!(
        (status, &first["complete"], &first["day"]),
        (200, &json!(true), &json!("2023-11-14"))
    );
    assert_eq!(
        (&first["opening_balance"], &first["closing_balance"]),
        (&json!(100_000), &json!(99_150))
    );
    let kinds: Vec<&Value> = first["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| &entry["kind"])
        .collect();
    assert_eq!(kinds, ["transfer", "deposit"]);
    let (_, second) = get(&mut gateway, midnight + 60_000, "/v1/reports/2023-11-15");
    assert_eq!(
        (&second["complete"], &second["opening_balance"]),
        (&json!(false), &first["closing_balance"])
    );
    let booked = json!({"id": "en_3", "transfer": "tr_2", "reference": "p2", "kind": "transfer", "amount": -50, "booked_at": 1_700_006_430});
    assert_eq!(second["entries"], json!([booked]));
    for day in [
        "2023-11-16",
        "2023-02-29",
        "2023-13-01",
        "yesterday",
        "1969-12-31",
    ] {
        assert_eq!(
            get(&mut gateway, midnight, &format!("/v1/reports/{day}")).0,
            404,
            "{day}"
        );
    }
}

#[test]
fn the_same_key_gives_the_same_answer_once_done() {
    let mut gateway = gateway();
    let first = pay(&mut gateway, T0, "p1", 1_250);
    let again = pay(&mut gateway, after(600), "p1", 1_250);
    assert_eq!(
        (again.status, &again.body),
        (first.status, &first.body),
        "as it was then, not as it is now"
    );
    assert!(is_replayed(&again) && !is_replayed(&first));
    let other = post(&mut gateway, after(600), "p1/transfer", &order("p1", 1_251));
    assert_eq!(code(&other), refused(409, "idempotency_key_reused"));
    // Refusals are remembered too: money that comes in later does not turn them into payments.
    let short = pay(&mut gateway, after(600), "p2", 200_000);
    assert_eq!(code(&short), refused(422, "insufficient_funds"));
    gateway.deposit(after(601), 1_000_000);
    let still = pay(&mut gateway, after(602), "p2", 200_000);
    assert_eq!(
        (still.status, still.body, gateway.executed_count("p2")),
        (422, short.body, 0)
    );
    assert_eq!(gateway.executed_count("p1"), 1);
}

#[test]
fn a_forgotten_key_does_not_pay_twice() {
    let mut gateway = gateway();
    pay(&mut gateway, T0, "p1", 1_250);
    assert!(is_replayed(&pay(
        &mut gateway,
        after(86_400) - 1,
        "p1",
        1_250
    )));
    let late = pay(&mut gateway, after(86_400), "p1", 1_250);
    assert_eq!(code(&late), refused(422, "duplicate_reference"));
    assert_eq!(gateway.executed_count("p1"), 1);
}

#[test]
fn a_planted_bug_pays_twice() {
    let mut config = GatewayConfig::new("token", SECRET, 100_000);
    config.bug = Some(GatewayBug::IgnoreIdempotencyKey);
    let mut gateway = Gateway::new(config);
    pay(&mut gateway, T0, "p1", 1_250);
    let again = pay(&mut gateway, T0, "p1", 1_250);
    assert!(again.status == 201 && !is_replayed(&again));
    assert_eq!(gateway.executed_count("p1"), 2);
}

#[test]
fn orders_that_cannot_be_are_refused_by_name() {
    let mut gateway = gateway();
    let good = order("p1", 1_250);
    let cases = [
        ("invalid_body", "{}".to_owned()),
        ("invalid_body", good.replace("\"p1\"", "7")),
        ("invalid_reference", order("", 1)),
        ("invalid_reference", order(&"x".repeat(36), 1)),
        ("invalid_reference", order("a b", 1)),
        ("invalid_amount", order("p1", 0)),
        ("invalid_amount", good.replace("1250", "-1250")),
        ("invalid_amount", good.replace("1250", "12.5")),
        ("invalid_amount", good.replace("1250", "\"1250\"")),
        ("invalid_amount", order("p1", 100_000_000_000)),
        ("invalid_currency", good.replace("EUR", "USD")),
        ("invalid_iban", good.replace("DE89", "DE88")),
        ("invalid_iban", good.replace(IBAN, "DE89 3704")),
        ("invalid_iban", good.replace(IBAN, "äöüäöüäöü")),
        ("invalid_name", good.replace("Ada", "")),
        ("insufficient_funds", order("p1", 100_001)),
    ];
    for (number, (expected, body)) in cases.iter().enumerate() {
        let response = post(&mut gateway, T0, &format!("k{number}"), body);
        assert_eq!(code(&response), refused(422, expected), "{body}");
    }
    assert_eq!(
        code(&post(&mut gateway, T0, "k", "{")),
        refused(400, "invalid_json")
    );
    assert_eq!(gateway.transfers(), []);
    assert_eq!(gateway.next_due_ms(), None);
}

#[test]
fn requests_that_are_no_orders_are_refused_by_status() {
    let mut gateway = gateway();
    let good = request("POST", "/v1/transfers", Some("k"), &order("p1", 1));
    let without = |name: &str| {
        let mut request = good.clone();
        request
            .headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        request
    };
    let with_token = |token: &str| {
        let mut request = without("authorization");
        request
            .headers
            .push(("Authorization".to_owned(), token.to_owned()));
        request
    };
    let plain = {
        let mut request = without("content-type");
        request
            .headers
            .push(("Content-Type".to_owned(), "text/plain".to_owned()));
        request
    };
    let cases = [
        (401, without("authorization")),
        (401, with_token("Bearer other")),
        (401, with_token("token")),
        (404, request("GET", "/", None, "")),
        (404, request("GET", "/v2/balance", None, "")),
        (404, request("GET", "/v1/transfers/", None, "")),
        (405, request("DELETE", "/v1/transfers", None, "")),
        (405, request("POST", "/v1/balance", None, "")),
        (
            413,
            request("POST", "/v1/transfers", Some("k"), &" ".repeat(65_537)),
        ),
        (415, without("content-type")),
        (415, plain),
        (400, without("idempotency-key")),
        (
            400,
            request(
                "POST",
                "/v1/transfers",
                Some(&"k".repeat(256)),
                &order("p1", 1),
            ),
        ),
        (422, request("GET", "/v1/transfers", None, "")),
    ];
    for (expected, request) in &cases {
        assert_eq!(
            gateway.handle(T0, request).status,
            *expected,
            "{} {}",
            request.method,
            request.path
        );
    }
    let refused = gateway.handle(T0, &request("PUT", "/v1/transfers", None, ""));
    assert!(
        refused
            .headers
            .contains(&("Allow".to_owned(), "GET, POST".to_owned()))
    );
    assert_eq!(gateway.executed_count("p1"), 0);
}

#[test]
fn every_exchange_is_recorded() {
    let mut gateway = gateway();
    pay(&mut gateway, T0, "p1", 1_250);
    pay(&mut gateway, after(1), "p1", 1_250);
    get(&mut gateway, after(2), "/v1/balance");
    let seen: Vec<_> = gateway
        .exchanges()
        .iter()
        .map(|e| (e.at_ms, e.method.as_str(), e.status, e.replayed))
        .collect();
    let expected = [
        (T0, "POST", Some(201), false),
        (after(1), "POST", Some(201), true),
        (after(2), "GET", Some(200), false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        gateway.exchanges()[0].idempotency_key.as_deref(),
        Some("p1/transfer")
    );
}

#[test]
fn a_time_falls_on_the_day_whose_report_has_it() {
    for day in [
        "1970-01-01",
        "1999-12-31",
        "2000-02-29",
        "2023-11-14",
        "2024-03-01",
        "2100-02-28",
    ] {
        let begin_ms = checks::day_begins_secs(day).expect("a day") * 1_000;
        assert_eq!(utc_day(begin_ms), day);
        assert_eq!(utc_day(begin_ms + 86_399_999), day);
        assert_ne!(utc_day(begin_ms + 86_400_000), day);
    }
    assert_eq!(utc_day(T0), "2023-11-14");
}
