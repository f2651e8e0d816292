//! Owns the tests of days and reports.

use super::*;

fn day(text: &str) -> Day {
    Day::parse(text).expect("a day")
}

/// 2023-11-14: opening 10.00, a deposit of 50.00, a transfer of 12.50 and its return.
fn report() -> String {
    let entry = |id: u32, kind: &str, amount: i64| {
        format!(
            r#"{{"id":"en_{id}","transfer":null,"reference":"p1","kind":"{kind}","amount":{amount},"booked_at":1700000000}}"#
        )
    };
    let entries = [
        entry(1, "deposit", 5_000),
        entry(2, "transfer", -1_250),
        entry(3, "return", 1_250),
    ]
    .join(",");
    format!(
        r#"{{"day":"2023-11-14","currency":"EUR","opening_balance":1000,"closing_balance":6000,"complete":true,"entries":[{entries}]}}"#
    )
}

fn parse(body: &str) -> Result<Report, ReportRefused> {
    parse_report(day("2023-11-14"), 200, body)
}

#[test]
fn days_are_calendar_days() {
    for text in ["1970-01-01", "2000-02-29", "2024-02-29", "2023-12-31"] {
        assert_eq!(day(text).to_string(), text);
    }
    for text in [
        "2023-02-29",
        "1900-02-29",
        "2023-13-01",
        "2023-00-10",
        "2023-04-31",
        "2023-1-01",
        "2023/01/01",
        "1969-12-31",
        "+023-01-01",
        "2023-01-0é",
    ] {
        assert!(Day::parse(text).is_err(), "{text}");
    }
    // As `date -u -d DAY +%s` has it.
    for (text, secs) in [
        ("1970-01-01", 0),
        ("2000-03-01", 951_868_800),
        ("2024-02-29", 1_709_164_800),
        ("2026-11-22", 1_795_305_600),
    ] {
        assert_eq!(day(text).begins_at_secs(), secs, "{text}");
    }
}

#[test]
fn a_report_that_adds_up_is_read() {
    let read = parse(&report()).expect("adds up");
    assert_eq!(
        (read.opening_cents, read.closing_cents, read.complete),
        (1_000, 6_000, true)
    );
    let amounts: Vec<i64> = read
        .entries
        .iter()
        .map(|entry| entry.amount_cents)
        .collect();
    assert_eq!(amounts, [5_000, -1_250, 1_250]);
    assert_eq!(
        report_request(day("2023-11-14")).path,
        "/v1/reports/2023-11-14"
    );
    assert!(
        !parse(&report().replace("true", "false"))
            .expect("adds up")
            .complete
    );
}

#[test]
fn a_report_that_does_not_add_up_is_refused() {
    let wrong = parse(&report().replace("6000", "6001"));
    let (opening_cents, entries_cents, closing_cents) = (1_000, 5_000, 6_001);
    assert_eq!(
        wrong,
        Err(ReportRefused::WrongSum {
            opening_cents,
            entries_cents,
            closing_cents
        })
    );
    // A missing line and an altered one are found by the same sum.
    assert!(matches!(
        parse(&report().replace("\"amount\":5000", "\"amount\":4999")),
        Err(ReportRefused::WrongSum { .. })
    ));
    // Sums beyond 64 bits are still sums.
    let huge = report()
        .replace("5000", "9223372036854775807")
        .replace("1000", "9223372036854775807");
    assert!(matches!(parse(&huge), Err(ReportRefused::WrongSum { .. })));
}

#[test]
fn other_reports_are_refused_by_name() {
    let asked = day("2023-11-14");
    assert_eq!(
        parse_report(asked, 404, ""),
        Err(ReportRefused::NotYet { day: asked })
    );
    assert_eq!(
        parse_report(asked, 503, &report()),
        Err(ReportRefused::NoAnswer { status: 503 })
    );
    assert!(matches!(parse("{}"), Err(ReportRefused::Malformed { .. })));
    let found = day("2023-11-15");
    assert_eq!(
        parse(&report().replace("2023-11-14", "2023-11-15")),
        Err(ReportRefused::OtherDay { asked, found })
    );
    assert_eq!(
        parse(&report().replace("EUR", "USD")),
        Err(ReportRefused::OtherCurrency {
            found: "USD".to_owned()
        })
    );
    assert_eq!(
        parse(&report().replace("en_3", "en_2")),
        Err(ReportRefused::DuplicateEntry {
            id: "en_2".to_owned()
        })
    );
    for (from, to) in [
        ("\"transfer\",\"amount\":-", "\"transfer\",\"amount\":"),
        ("\"amount\":5000", "\"amount\":-5000"),
        ("1700000000", "1700006400"),
        ("1700000000", "1699919999"),
    ] {
        let odd = report().replace(from, to);
        assert_ne!(odd, report());
        assert!(
            matches!(parse(&odd), Err(ReportRefused::ImpossibleEntry { .. })),
            "{to}"
        );
    }
}
