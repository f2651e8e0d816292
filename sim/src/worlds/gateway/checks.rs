//! Owns what the gateway demands of an order, on its own account: nothing here is shared with the engine, so that the
//! two can disagree. Does not own answers.

use serde::Deserialize;
use serde_json::Value;

/// Largest amount of a SEPA credit transfer: 999,999,999.99 EUR.
const LARGEST_AMOUNT_CENTS: u64 = 99_999_999_999;

/// Longest reference (Max35Text) and name (Max70Text).
const LONGEST_REFERENCE: usize = 35;
const LONGEST_NAME: usize = 70;

#[derive(Deserialize)]
struct Typed {
    reference: String,
    amount: Value,
    currency: String,
    creditor: Creditor,
}

#[derive(Deserialize)]
struct Creditor {
    iban: String,
    name: String,
}

/// An order that is well-formed; whether it can be paid is another question.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) reference: String,
    pub(super) amount_cents: u64,
}

/// The reference in a body, however wrong the rest may be.
pub(super) fn reference_in(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("reference")?.as_str().map(str::to_owned)
}

/// Checks a body that is JSON; an error is a code and words.
pub(super) fn check(value: Value) -> Result<Order, (&'static str, String)> {
    let typed: Typed =
        serde_json::from_value(value).map_err(|error| ("invalid_body", error.to_string()))?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let length = typed.reference.len();
    if !(1..=LONGEST_REFERENCE).contains(&length) || !typed.reference.chars().all(legal) {
        return Err((
            "invalid_reference",
            format!("a reference has 1 to {LONGEST_REFERENCE} of a-z, 0-9, - _ ."),
        ));
    }
    let amount_cents = typed
        .amount
        .as_u64()
        .filter(|cents| (1..=LARGEST_AMOUNT_CENTS).contains(cents));
    let amount_cents = amount_cents.ok_or((
        "invalid_amount",
        format!("cents, 1 to {LARGEST_AMOUNT_CENTS}"),
    ))?;
    if typed.currency != "EUR" {
        return Err(("invalid_currency", "EUR only".to_owned()));
    }
    if !is_iban(&typed.creditor.iban) {
        return Err(("invalid_iban", "that account cannot be".to_owned()));
    }
    let name = typed.creditor.name.chars().count();
    if !(1..=LONGEST_NAME).contains(&name) {
        return Err((
            "invalid_name",
            format!("a name has 1 to {LONGEST_NAME} characters"),
        ));
    }
    Ok(Order {
        reference: typed.reference,
        amount_cents,
    })
}

/// ISO 13616: shape and mod 97; lengths by country are left to the banks.
fn is_iban(text: &str) -> bool {
    let shaped = (15..=34).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && text.bytes().take(2).all(|b| b.is_ascii_uppercase())
        && text.bytes().skip(2).take(2).all(|b| b.is_ascii_digit());
    if !shaped {
        return false;
    }
    let spelled: String = text[4..]
        .chars()
        .chain(text[..4].chars())
        .filter_map(|c| c.to_digit(36))
        .map(|n| n.to_string())
        .collect();
    spelled.bytes().fold(0u32, |rest, digit| {
        (rest * 10 + u32::from(digit - b'0')) % 97
    }) == 1
}

/// The seconds at which a UTC day `YYYY-MM-DD` (from 1970 on) begins; `None` if there is no such day.
pub(super) fn day_begins_secs(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return None;
    };
    let number = |part: &str, length: usize| {
        (part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<u64>().ok())
            .flatten()
    };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let years: u64 = (1970..year).map(days_in_year).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Some((years + months + day - 1) * 86_400)
}

/// The UTC day `YYYY-MM-DD` of a time in milliseconds since 1970: the business day on whose report it is booked.
pub fn utc_day(at_ms: u64) -> String {
    let mut days = at_ms / 86_400_000;
    let mut year = 1970;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

const fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
