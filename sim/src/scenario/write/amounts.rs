//! Owns the form in which a person writes an amount or a span: the coarsest unit in which it is exact and short, digits in
//! groups. Does not own what is legal (`units`).

use crate::scenario::units::{Balance, Cents, CentsPerBtc, Millis, Msat, Sat};

/// `1_234_567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// `units` / 10^`places`, without zeros at the end.
fn decimal(units: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let fraction = format!("{:0width$}", units % unit, width = places as usize);
    match fraction.trim_end_matches('0') {
        "" => grouped(units / unit),
        digits => format!("{}.{digits}", grouped(units / unit)),
    }
}

const SAT_PER_BTC: u64 = 100_000_000;

/// What somebody has: in bitcoin, if four decimals say it.
pub(super) fn funds(sat: Sat) -> String {
    if sat.get().is_multiple_of(SAT_PER_BTC / 10_000) {
        format!("{} BTC", decimal(sat.get(), 8))
    } else {
        self::sat(sat)
    }
}

/// What is moved.
pub(super) fn sat(sat: Sat) -> String {
    format!("{} sat", grouped(sat.get()))
}

/// What is moved over Lightning: in satoshi, if they say it.
pub(super) fn msat(msat: Msat) -> String {
    if msat.get().is_multiple_of(1_000) {
        format!("{} sat", grouped(msat.get() / 1_000))
    } else {
        fee(msat)
    }
}

/// A fee over Lightning, always in its own unit.
pub(super) fn fee(msat: Msat) -> String {
    format!("{} msat", grouped(msat.get()))
}

fn hundredths(units: u64) -> String {
    format!("{}.{:02}", grouped(units / 100), units % 100)
}

/// Euro with both decimals.
pub(super) fn cents(cents: Cents) -> String {
    format!("{} EUR", hundredths(cents.get()))
}

/// A price.
pub(super) fn rate(rate: CentsPerBtc) -> String {
    format!("{} EUR/BTC", hundredths(rate.get()))
}

/// A balance of bitcoin, perhaps below zero.
pub(super) fn btc_balance(balance: Balance<Msat>) -> String {
    signed(balance.negative, msat(balance.magnitude))
}

/// A balance of euro, perhaps below zero.
pub(super) fn eur_balance(balance: Balance<Cents>) -> String {
    signed(balance.negative, cents(balance.magnitude))
}

fn signed(negative: bool, text: String) -> String {
    if negative { format!("-{text}") } else { text }
}

/// A span in the largest unit of which it is a whole number; below a minute with decimals of a second.
pub(super) fn span(span: Millis) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
    let ms = span.get();
    let whole = UNITS
        .iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", grouped(ms / unit)),
        None if ms > 0 && ms < 1_000 => format!("{ms} ms"),
        None => format!("{} s", decimal(ms, 3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_as_a_person_writes_them() {
        let of = |text: &str| Sat::parse(text).expect("an amount");
        assert_eq!(funds(of("0.50 BTC")), "0.5 BTC");
        assert_eq!(funds(of("1_000 BTC")), "1_000 BTC");
        assert_eq!(funds(of("1234567 sat")), "1_234_567 sat");
        assert_eq!(sat(of("0.01 BTC")), "1_000_000 sat");
        assert_eq!(
            msat(Msat::parse("4999999 msat").expect("right")),
            "4_999_999 msat"
        );
        assert_eq!(
            cents(Cents::parse("1000 EUR").expect("right")),
            "1_000.00 EUR"
        );
    }

    #[test]
    fn spans_are_as_a_person_writes_them() {
        let written = |text: &str| span(Millis::parse(text).expect("a span"));
        let same = [
            "0 s", "500 ms", "10.2 s", "90 s", "5 min", "90 min", "2 h", "3 d", "36 h",
        ];
        for text in same {
            assert_eq!(written(text), text);
        }
        assert_eq!(written("3600 s"), "1 h");
        assert_eq!(written("172800 s"), "2 d");
        assert_eq!(written("1_000_001 ms"), "1_000.001 s");
    }
}
