//! Owns the gateway's daily reports: asking for one, and checking that its arithmetic holds.
//! Does not own the comparison with the ledger (`reconcile`).

use crate::rail::{HttpRequest, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

const SECONDS_PER_DAY: i64 = 86_400;

/// A day of the gateway's books: a UTC calendar day, `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

/// Why a text is not a day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a day (YYYY-MM-DD, from 1970 on)")]
pub struct DayRefused {
    /// As given.
    pub text: String,
}

impl Day {
    /// Reads `YYYY-MM-DD` (ISO 8601, Gregorian).
    pub fn parse(text: &str) -> Result<Self, DayRefused> {
        read_day(text).ok_or_else(|| DayRefused {
            text: text.to_owned(),
        })
    }

    /// Seconds since 1970 at which it begins.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "a year has four digits: nothing comes near 64 bits"
    )]
    pub fn begins_at_secs(self) -> i64 {
        // Days before the year, counted from 0000-03-01, so that the leap day comes last.
        let (year, month) = match self.month {
            1 | 2 => (i64::from(self.year) - 1, i64::from(self.month) + 9),
            later => (i64::from(self.year), i64::from(later) - 3),
        };
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
        // 1970-01-01 is day 719,468 of that count.
        (days - 719_468) * SECONDS_PER_DAY
    }
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "at most four decimal digits fit 16 bits"
)]
fn read_day(text: &str) -> Option<Day> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        let part = bytes.get(range)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0')))
    };
    let separated = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let legal =
        separated && year >= 1970 && (1..=12).contains(&month) && (1..=longest).contains(&day);
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    legal.then_some(Day { year, month, day })
}

impl TryFrom<String> for Day {
    type Error = DayRefused;
    fn try_from(text: String) -> Result<Self, DayRefused> {
        Self::parse(&text)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> String {
        day.to_string()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Asks for the report of a day.
pub fn report_request(day: Day) -> HttpRequest {
    HttpRequest {
        method: Method::Get,
        path: format!("/v1/reports/{day}"),
        body: String::new(),
    }
}

/// What moved our account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A transfer was booked (negative).
    Transfer,
    /// A transfer came back (positive).
    Return,
    /// Money came in (positive).
    Deposit,
}

/// One line of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The gateway's name for the line.
    pub id: String,
    /// The transfer that it belongs to, if any.
    pub transfer: Option<String>,
    /// Our name for that transfer, if any.
    pub reference: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// In cents; negative: taken from our account.
    #[serde(rename = "amount")]
    pub amount_cents: i64,
    /// Seconds since 1970.
    #[serde(rename = "booked_at")]
    pub booked_at_secs: i64,
}

/// A day's report whose arithmetic holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which day.
    pub day: Day,
    /// Balance when it began, in cents.
    pub opening_cents: i64,
    /// Balance after the last entry, in cents.
    pub closing_cents: i64,
    /// Whether the day is over and nothing will be added.
    pub complete: bool,
    /// In booking order.
    pub entries: Vec<Entry>,
}

/// Why a report is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportRefused {
    /// 404: ask later.
    #[error("there is no report of {day} yet")]
    NotYet {
        /// Which day.
        day: Day,
    },
    /// Another status.
    #[error("status {status} instead of a report")]
    NoAnswer {
        /// It.
        status: u16,
    },
    /// Not a report as agreed.
    #[error("not a report: {cause}")]
    Malformed {
        /// The parser's words.
        cause: String,
    },
    /// Of another day.
    #[error("asked for {asked}, got the report of {found}")]
    OtherDay {
        /// What was asked for.
        asked: Day,
        /// What came.
        found: Day,
    },
    /// In another currency.
    #[error("the report is in {found}, not in EUR")]
    OtherCurrency {
        /// Which.
        found: String,
    },
    /// A line is listed twice.
    #[error("entry {id} is listed twice")]
    DuplicateEntry {
        /// Which.
        id: String,
    },
    /// A line's sign does not fit its kind, or it was booked on another day.
    #[error("entry {id} cannot be: {reason}")]
    ImpossibleEntry {
        /// Which.
        id: String,
        /// In words.
        reason: &'static str,
    },
    /// Opening balance plus entries is not the closing balance.
    #[error(
        "opening {opening_cents} and entries of {entries_cents} do not make closing {closing_cents} (cents)"
    )]
    WrongSum {
        /// As reported.
        opening_cents: i64,
        /// Sum of the entries.
        entries_cents: i128,
        /// As reported.
        closing_cents: i64,
    },
}

#[derive(Deserialize)]
struct ReportBody {
    day: Day,
    currency: String,
    opening_balance: i64,
    closing_balance: i64,
    complete: bool,
    entries: Vec<Entry>,
}

/// Reads the answer to [`report_request`] for the day that was asked for.
pub fn parse_report(asked: Day, status: u16, body: &str) -> Result<Report, ReportRefused> {
    match status {
        200 => {}
        404 => return Err(ReportRefused::NotYet { day: asked }),
        _ => return Err(ReportRefused::NoAnswer { status }),
    }
    let body: ReportBody =
        serde_json::from_str(body).map_err(|error| ReportRefused::Malformed {
            cause: error.to_string(),
        })?;
    if body.day != asked {
        return Err(ReportRefused::OtherDay {
            asked,
            found: body.day,
        });
    }
    if body.currency != "EUR" {
        return Err(ReportRefused::OtherCurrency {
            found: body.currency,
        });
    }
    check_entries(asked, &body.entries)?;
    let (opening_cents, closing_cents) = (body.opening_balance, body.closing_balance);
    let entries_cents: i128 = body
        .entries
        .iter()
        .map(|entry| i128::from(entry.amount_cents))
        .sum();
    if i128::from(opening_cents).checked_add(entries_cents) != Some(i128::from(closing_cents)) {
        return Err(ReportRefused::WrongSum {
            opening_cents,
            entries_cents,
            closing_cents,
        });
    }
    Ok(Report {
        day: asked,
        opening_cents,
        closing_cents,
        complete: body.complete,
        entries: body.entries,
    })
}

fn check_entries(day: Day, entries: &[Entry]) -> Result<(), ReportRefused> {
    let begin = day.begins_at_secs();
    let end = begin.saturating_add(SECONDS_PER_DAY);
    let mut ids = BTreeSet::new();
    for entry in entries {
        let impossible = |reason| {
            Err(ReportRefused::ImpossibleEntry {
                id: entry.id.clone(),
                reason,
            })
        };
        if !ids.insert(&entry.id) {
            return Err(ReportRefused::DuplicateEntry {
                id: entry.id.clone(),
            });
        }
        match entry.kind {
            EntryKind::Transfer if entry.amount_cents >= 0 => {
                return impossible("a transfer takes money away");
            }
            EntryKind::Return | EntryKind::Deposit if entry.amount_cents <= 0 => {
                return impossible("it brings money");
            }
            EntryKind::Transfer | EntryKind::Return | EntryKind::Deposit => {}
        }
        if !(begin..end).contains(&entry.booked_at_secs) {
            return impossible("it was booked on another day");
        }
    }
    Ok(())
}
