//! Owns the tests of reconciliation: books that agree have no breaks, and each planted disagreement is found, alone.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    reason = "tests state plain sums"
)]

mod outside;

use lockstep_engine::api::{Break, BreakKind, Command, Event};
use lockstep_engine::id::ReconciliationId;
use lockstep_engine::money::{Msat, Rail};
use lockstep_engine::rail::{Fact, HttpFailure};
use outside::*;

const OPENING: i64 = 1_000_000;

/// A payout of 12.50 EUR has settled, the day's report is asked for.
fn asked() -> Outside {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    o.responds("p1/transfer", 201, &transfer("p1", 1_250, "accepted", 1));
    let settled = o.webhook(&transfer("p1", 1_250, "settled", 2));
    o.tell(settled);
    ask(&mut o);
    o
}

fn ask(o: &mut Outside) {
    let run = ReconciliationId::new("r1").expect("an id");
    o.ok(Command::Reconcile {
        run,
        report_day: DAY.to_owned(),
    });
}

fn entry(id: &str, reference: &str, kind: &str, amount: i64) -> String {
    format!(
        r#"{{"id":"{id}","transfer":null,"reference":"{reference}","kind":"{kind}","amount":{amount},"booked_at":1700000000}}"#
    )
}

fn report(opening: i64, complete: bool, entries: &[(&str, &str, i64)]) -> String {
    let closing = opening + entries.iter().map(|(_, _, amount)| amount).sum::<i64>();
    let lines: Vec<String> = (0..)
        .zip(entries)
        .map(|(n, (reference, kind, amount)): (u32, _)| {
            entry(&format!("en_{n}"), reference, kind, *amount)
        })
        .collect();
    format!(
        r#"{{"day":"{DAY}","currency":"EUR","opening_balance":{opening},"closing_balance":{closing},"complete":{complete},"entries":[{}]}}"#,
        lines.join(",")
    )
}

/// Answers all three; the breaks.
fn breaks(o: &mut Outside, local_msat: u64, report: &str) -> Vec<Break> {
    o.tell(look(branch("a", 0..=1), vec![]));
    assert_eq!(o.outstanding("r1/chain"), None);
    let balance = Fact::LightningBalance {
        key: key("r1/lightning"),
        local_msat: Msat(local_msat),
        outgoing_htlcs_msat: Msat(0),
    };
    o.tell(balance);
    let out = o.responds("r1/report", 200, report);
    o.check();
    told(&out.events)
}

fn told(events: &[Event]) -> Vec<Break> {
    let Some((Event::Reconciled { breaks, .. }, found)) = events.split_last() else {
        panic!("not reconciled: {events:?}")
    };
    assert_eq!(usize::try_from(*breaks).expect("few"), found.len());
    let found = found.iter().map(|event| {
        let Event::BreakFound { found, .. } = event else {
            panic!("not a break: {event:?}")
        };
        found.clone()
    });
    found.collect()
}

fn check(local_msat: u64, report: &str, expected: &[(Rail, BreakKind, i128, i128)]) {
    let found = breaks(&mut asked(), local_msat, report);
    let found: Vec<_> = found
        .iter()
        .map(|b| (b.rail, b.kind, b.ledger, b.outside))
        .collect();
    assert_eq!(found, expected, "{report}");
}

const CHANNELS: u64 = 1_000_000_000;
const PAID: (&str, &str, i64) = ("p1", "transfer", -1_250);

#[test]
fn books_that_agree_have_no_breaks() {
    check(CHANNELS, &report(OPENING, true, &[PAID]), &[]);
    check(CHANNELS, &report(OPENING, false, &[PAID]), &[]);
}

#[test]
fn each_disagreement_at_the_gateway_is_found_alone() {
    use BreakKind::*;
    let sepa = |kind, ledger, outside| [(Rail::Sepa, kind, ledger, outside)];
    check(
        CHANNELS,
        &report(OPENING, true, &[]),
        &sepa(MissingEntry, -1_250, 0),
    );
    check(
        CHANNELS,
        &report(OPENING, true, &[PAID, PAID]),
        &sepa(DuplicateEntry, 0, -1_250),
    );
    check(
        CHANNELS,
        &report(OPENING, true, &[("p1", "transfer", -1_251)]),
        &sepa(AmountDiffers, -1_250, -1_251),
    );
    check(
        CHANNELS,
        &report(OPENING, true, &[PAID, ("x", "deposit", 500)]),
        &sepa(UnknownEntry, 0, 500),
    );
    check(
        CHANNELS,
        &report(OPENING, true, &[PAID, ("p1", "return", 1_250)]),
        &sepa(UnknownEntry, 0, 1_250),
    );
    check(
        CHANNELS,
        &report(OPENING + 1, true, &[PAID]),
        &sepa(BalanceDiffers, 998_750, 998_751),
    );
}

/// The webhook of the return is lost for good: the break makes the engine ask, once for each run, and the answer is booked.
#[test]
fn a_return_that_only_the_report_shows_is_asked_about_and_booked() {
    let mut o = asked();
    let returned = [PAID, ("p1", "return", 1_250)];
    let found = breaks(&mut o, CHANNELS, &report(OPENING, false, &returned));
    assert_eq!(found.len(), 1);
    assert!(o.outstanding("p1/status-1").is_some());
    // Not answered: the payout stays as it is, and nothing is asked again by itself.
    o.tell(Fact::HttpFailed {
        key: key("p1/status-1"),
        failure: HttpFailure::TimedOut,
    });
    assert_eq!(o.outstanding("p1/poll-2"), None);
    let run = |name: &str| Command::Reconcile {
        run: ReconciliationId::new(name).expect("an id"),
        report_day: DAY.to_owned(),
    };
    let answer = |o: &mut Outside, name: &str| {
        o.ok(run(name));
        o.tell(look(branch("a", 0..=1), vec![]));
        o.tell(Fact::LightningBalance {
            key: key(&format!("{name}/lightning")),
            local_msat: Msat(CHANNELS),
            outgoing_htlcs_msat: Msat(0),
        });
        let report = report(OPENING, false, &returned);
        told(&o.responds(&format!("{name}/report"), 200, &report).events)
    };
    assert_eq!(answer(&mut o, "r2").len(), 1);
    let transfers = format!(r#"{{"data":[{}]}}"#, transfer("p1", 1_250, "returned", 3));
    let out = o.responds("p1/status-2", 200, &transfers);
    assert!(
        out.events
            .iter()
            .any(|event| matches!(event, Event::PaymentFailed { .. })),
        "{:?}",
        out.events
    );
    assert_eq!(answer(&mut o, "r3"), []);
    o.check();
}

#[test]
fn channels_that_hold_more_or_less_are_found() {
    let all = i128::from(CHANNELS);
    let paid = report(OPENING, true, &[PAID]);
    check(
        CHANNELS - 1,
        &paid,
        &[(Rail::Lightning, BreakKind::BalanceDiffers, all, all - 1)],
    );
    check(
        CHANNELS + 1,
        &paid,
        &[(Rail::Lightning, BreakKind::BalanceDiffers, all, all + 1)],
    );
}

#[test]
fn money_in_suspense_is_a_break() {
    let mut o = asked();
    o.tell(Fact::LightningReceived {
        payment_hash: [77; 32],
        amount_msat: Msat(70),
    });
    let found = breaks(&mut o, CHANNELS + 70, &report(OPENING, true, &[PAID]));
    let found: Vec<_> = found
        .iter()
        .map(|b| (b.rail, b.kind, b.ledger, b.outside))
        .collect();
    assert_eq!(found, [(Rail::Lightning, BreakKind::Unexplained, 0, 70)]);
}

#[test]
fn a_transfer_in_flight_is_no_break() {
    let mut o = Outside::funded();
    o.ok(Command::CreatePayout(sepa("p1", 1_250)));
    ask(&mut o);
    assert_eq!(
        breaks(&mut o, CHANNELS, &report(OPENING, true, &[PAID])),
        []
    );
}

#[test]
fn a_report_that_never_comes_is_asked_for_eight_times() {
    let mut o = asked();
    o.tell(look(branch("a", 0..=1), vec![]));
    o.tell(Fact::LightningBalance {
        key: key("r1/lightning"),
        local_msat: Msat(CHANNELS),
        outgoing_htlcs_msat: Msat(0),
    });
    for attempt in 1..8 {
        o.responds("r1/report", 404, "");
        o.fire(&format!("r1/report-wait-{attempt}"));
    }
    let out = o.tell(Fact::HttpFailed {
        key: key("r1/report"),
        failure: HttpFailure::TimedOut,
    });
    let found = told(&out.events);
    assert_eq!(
        found.iter().map(|b| b.kind).collect::<Vec<_>>(),
        [BreakKind::ReportUnavailable]
    );
    o.check();
}

#[test]
fn run_ids_and_days_are_checked() {
    let mut o = asked();
    let run = |name: &str, day: &str| Command::Reconcile {
        run: ReconciliationId::new(name).expect("an id"),
        report_day: day.to_owned(),
    };
    assert!(o.command(run("r1", DAY)).is_err(), "used");
    assert!(o.command(run("r2", "2023-02-29")).is_err(), "no such day");
    for n in 2..=8 {
        o.ok(run(&format!("r{n}"), DAY));
    }
    assert!(o.command(run("r9", DAY)).is_err(), "too many");
}
