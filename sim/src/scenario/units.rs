//! Owns amounts, spans of time, depths and rates as a scenario writes them: exact integers, their text form and what
//! is wrong with a text that is none. Does not own where which of them is asked for (`check`).

use std::fmt;

/// One unit that a quantity may be written in.
struct Unit {
    name: &'static str,
    /// How many base units one of it is.
    factor: u128,
}

/// What a quantity may look like.
struct Kind {
    /// With its article.
    name: &'static str,
    units: &'static [Unit],
    /// Base units per stored unit: the text must be a whole number of these.
    grain: u128,
    /// The smallest step, in words.
    step: &'static str,
    /// Largest value in stored units, and why.
    most: (u64, &'static str),
    example: &'static str,
}

/// Why a text is not the quantity that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not begin with a number.
    #[error("this is not {kind}")]
    NotANumber {
        /// What is asked for, with its article.
        kind: &'static str,
        /// A right one.
        example: &'static str,
    },
    /// A bare number.
    #[error("the unit is missing")]
    NoUnit {
        /// The number as typed.
        number: String,
        /// Legal units.
        known: Vec<&'static str>,
    },
    /// A unit of something else, or of nothing.
    #[error("`{unit}` is not a unit of {kind}")]
    WrongUnit {
        /// As typed.
        unit: String,
        /// What is asked for, with its article.
        kind: &'static str,
        /// Legal units.
        known: Vec<&'static str>,
        /// A right one.
        example: &'static str,
    },
    /// More digits than the smallest unit has.
    #[error("this is finer than {step}")]
    TooFine {
        /// Smallest step.
        step: &'static str,
        /// The nearest legal text below.
        below: String,
    },
    /// Below zero.
    #[error("{kind} cannot be negative here")]
    Negative {
        /// What is asked for, with its article.
        kind: &'static str,
    },
    /// Above what can exist.
    #[error("this is too much")]
    TooLarge {
        /// Largest legal text.
        most: String,
        /// Why that is the limit.
        reason: &'static str,
    },
}

impl UnitError {
    /// What to write instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotANumber { kind, example } => {
                format!("write {kind} as number, space, unit: \"{example}\"")
            }
            Self::NoUnit { number, known } => format!(
                "write a unit after the number, as in \"{number} {}\" (known: {})",
                known[0],
                known.join(", ")
            ),
            Self::WrongUnit { known, example, .. } => {
                format!("use {}, as in \"{example}\"", known.join(", "))
            }
            Self::TooFine { below, .. } => format!(
                "round it yourself, for instance to \"{below}\"; nothing is rounded silently"
            ),
            Self::Negative { .. } => "remove the minus sign".to_owned(),
            Self::TooLarge { most, reason } => format!("write at most \"{most}\": {reason}"),
        }
    }
}

/// A decimal number as typed: `digits` / 10^`scale`.
struct Decimal {
    negative: bool,
    digits: u128,
    scale: u32,
}

/// Most digits before the point: as many as 2^64 has, so a longer number is too large in any unit and only needs to stay so.
const MAX_WHOLE: usize = 20;

/// Most digits after the point: the finest unit is 10^-11 of the coarsest, so a longer fraction is too fine and only needs
/// to stay so. Together both parts fit 38 digits, which 128 bits hold.
const MAX_FRACTION: usize = 18;

/// Reads `-1_000.50`: underscores only between digits, a point only between digits.
fn decimal(text: &str) -> Option<Decimal> {
    let (negative, magnitude) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
    let well_formed = |part: &str| {
        part.split('_')
            .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()))
    };
    if !well_formed(whole) || !well_formed(fraction) {
        return None;
    }
    let mut whole = whole.replace('_', "").trim_start_matches('0').to_owned();
    let mut fraction = fraction.replace('_', "").trim_end_matches('0').to_owned();
    if whole.len() > MAX_WHOLE {
        whole = "9".repeat(MAX_WHOLE);
    }
    if fraction.len() > MAX_FRACTION {
        fraction.replace_range(MAX_FRACTION - 1.., "1");
    }
    let digits = format!("0{whole}{fraction}").parse().ok()?;
    Some(Decimal {
        negative,
        digits,
        scale: u32::try_from(fraction.len()).ok()?,
    })
}

/// The magnitude in stored units and whether a minus sign stood before it.
fn parse(text: &str, kind: &Kind, canonical: fn(u64) -> String) -> Result<(bool, u64), UnitError> {
    let text = text.trim();
    let known = || kind.units.iter().map(|unit| unit.name).collect::<Vec<_>>();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '_' | '.' | '-')))
        .unwrap_or(text.len());
    let (number, unit) = (text[..end].trim(), text[end..].trim());
    let decimal = decimal(number).ok_or(UnitError::NotANumber {
        kind: kind.name,
        example: kind.example,
    })?;
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            number: number.to_owned(),
            known: known(),
        });
    }
    let wrong_unit = || UnitError::WrongUnit {
        unit: unit.to_owned(),
        kind: kind.name,
        known: known(),
        example: kind.example,
    };
    let factor = kind
        .units
        .iter()
        .find(|known| known.name == unit)
        .ok_or_else(wrong_unit)?
        .factor;
    let too_large = || UnitError::TooLarge {
        most: canonical(kind.most.0),
        reason: kind.most.1,
    };
    let scaled = decimal.digits.checked_mul(factor).ok_or_else(too_large)?;
    let divisor = 10_u128.pow(decimal.scale) * kind.grain;
    let stored = u64::try_from(scaled / divisor).map_err(|_| too_large())?;
    if stored > kind.most.0 {
        return Err(too_large());
    }
    if !scaled.is_multiple_of(divisor) {
        return Err(UnitError::TooFine {
            step: kind.step,
            below: canonical(stored),
        });
    }
    Ok((decimal.negative && stored > 0, stored))
}

/// `units` / 10^`places` with at least `least` decimals and no more than needed.
fn fixed(units: u64, places: u32, least: usize) -> String {
    let (whole, rest) = (units / 10_u64.pow(places), units % 10_u64.pow(places));
    let mut decimals = format!("{rest:0width$}", width = places as usize);
    while decimals.len() > least && decimals.ends_with('0') {
        decimals.pop();
    }
    if decimals.is_empty() {
        whole.to_string()
    } else {
        format!("{whole}.{decimals}")
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $kind:expr, |$value:ident| $text:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            const KIND: Kind = $kind;

            /// Reads the text form; a minus sign is refused.
            pub fn parse(text: &str) -> Result<Self, UnitError> {
                match parse(text, &Self::KIND, Self::canonical)? {
                    (true, _) => Err(UnitError::Negative { kind: Self::KIND.name }),
                    (false, units) => Ok(Self(units)),
                }
            }

            /// The number of units.
            pub const fn get(self) -> u64 {
                self.0
            }

            fn canonical($value: u64) -> String {
                $text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&Self::canonical(self.0))
            }
        }
    };
}

const BITCOIN_UNITS: &[Unit] = &[
    Unit {
        name: "sat",
        factor: 1_000,
    },
    Unit {
        name: "msat",
        factor: 1,
    },
    Unit {
        name: "BTC",
        factor: 100_000_000_000,
    },
];
const SUPPLY: &str = "there will never be more than 21 million bitcoin";

quantity!(
    /// Bitcoin in millisatoshi, the unit of Lightning (BOLT 2) and of the ledger.
    Msat,
    Kind { name: "an amount of bitcoin", units: BITCOIN_UNITS, grain: 1, step: "1 msat", most: (2_100_000_000_000_000_000, SUPPLY), example: "400_000 sat" },
    |units| if units.is_multiple_of(1_000) { format!("{} sat", units / 1_000) } else { format!("{units} msat") }
);
quantity!(
    /// Bitcoin in satoshi, the unit of the chain.
    Sat,
    Kind { name: "an amount of bitcoin", units: BITCOIN_UNITS, grain: 1_000, step: "1 sat, the chain's smallest amount", most: (2_100_000_000_000_000, SUPPLY), example: "0.5 BTC" },
    |units| format!("{units} sat")
);
quantity!(
    /// Euro in cents.
    Cents,
    Kind {
        name: "an amount of euro",
        units: &[Unit { name: "EUR", factor: 100 }],
        grain: 1,
        step: "1 cent",
        most: (99_999_999_999, "the largest SEPA credit transfer (EPC125-05, AT-T002)"),
        example: "12.50 EUR",
    },
    |units| format!("{} EUR", fixed(units, 2, 2))
);
quantity!(
    /// A span of virtual time in milliseconds.
    Millis,
    Kind {
        name: "a span of time",
        units: &[
            Unit { name: "s", factor: 1_000 },
            Unit { name: "ms", factor: 1 },
            Unit { name: "min", factor: 60_000 },
            Unit { name: "h", factor: 3_600_000 },
            Unit { name: "d", factor: 86_400_000 },
        ],
        grain: 1,
        step: "1 ms",
        most: (315_360_000_000, "a scenario spans ten years at most"),
        example: "30 s",
    },
    |units| format!("{} s", fixed(units, 3, 0))
);
quantity!(
    /// A number of blocks.
    Blocks,
    Kind {
        name: "a number of blocks",
        units: &[Unit { name: "blocks", factor: 1 }, Unit { name: "block", factor: 1 }],
        grain: 1,
        step: "1 block",
        most: (65_535, "a CLTV delta is 16 bits wide (BOLT 7), and no scenario needs a longer chain"),
        example: "6 blocks",
    },
    |units| if units == 1 { "1 block".to_owned() } else { format!("{units} blocks") }
);
quantity!(
    /// A feerate in satoshi per 1,000 weight units. 1 sat/vB = 250 sat/kwu.
    Feerate,
    Kind {
        name: "a feerate",
        units: &[Unit { name: "sat/vB", factor: 250 }],
        grain: 1,
        step: "0.004 sat/vB, 1 sat per 1,000 weight units",
        most: (2_500_000, "10,000 sat/vB is beyond any fee market seen"),
        example: "2 sat/vB",
    },
    |units| format!("{} sat/vB", fixed(units * 4, 3, 0))
);
quantity!(
    /// A price of bitcoin in cents per BTC.
    CentsPerBtc,
    Kind {
        name: "a price of bitcoin",
        units: &[Unit { name: "EUR/BTC", factor: 100 }],
        grain: 1,
        step: "0.01 EUR/BTC",
        most: (100_000_000_000, "a rate above 1,000,000,000 EUR/BTC is a slip"),
        example: "60_000.00 EUR/BTC",
    },
    |units| format!("{} EUR/BTC", fixed(units, 2, 2))
);

/// An account balance in the ledger; only a settled payment that a reorganisation undid takes it below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Balance<Q> {
    /// Owed by the party instead of to it.
    pub negative: bool,
    /// How much.
    pub magnitude: Q,
}

impl Balance<Msat> {
    /// Reads the text form, a minus sign allowed.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (negative, units) = parse(text, &Msat::KIND, Msat::canonical)?;
        Ok(Self {
            negative,
            magnitude: Msat(units),
        })
    }
}

impl Balance<Cents> {
    /// Reads the text form, a minus sign allowed.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (negative, units) = parse(text, &Cents::KIND, Cents::canonical)?;
        Ok(Self {
            negative,
            magnitude: Cents(units),
        })
    }
}

impl<Q: fmt::Display> fmt::Display for Balance<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            if self.negative { "-" } else { "" },
            self.magnitude
        )
    }
}

impl Blocks {
    /// That many blocks; `None` above the limit of the kind.
    pub fn new(number: u64) -> Option<Self> {
        (number <= Self::KIND.most.0).then_some(Self(number))
    }
}

impl Msat {
    /// Nothing.
    pub const ZERO: Msat = Msat(0);

    /// The same amount as the chain counts it.
    pub const fn of(sat: Sat) -> Msat {
        Msat(sat.0 * 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A walk over the whole range that hits small numbers, round numbers and odd ones alike (SplitMix64, Steele et al. 2014).
    fn walk(most: u64) -> impl Iterator<Item = u64> {
        let mut state = 0_u64;
        let odd = std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) >> (state % 64)
        });
        let round = (0..18).map(|power| 10_u64.pow(power));
        (0..2_000)
            .chain(round)
            .chain(odd.take(20_000))
            .filter(move |units| *units <= most)
            .chain([most])
    }

    #[test]
    fn every_quantity_reads_back_what_it_writes() {
        macro_rules! round_trips {
            ($($name:ident),*) => {$(
                for units in walk($name::KIND.most.0) {
                    let value = $name(units);
                    assert_eq!($name::parse(&value.to_string()), Ok(value), "{value}");
                }
            )*};
        }
        round_trips!(Msat, Sat, Cents, Millis, Blocks, Feerate, CentsPerBtc);
        for text in ["-1 msat", "-400000 sat", "0 sat"] {
            assert_eq!(
                Balance::<Msat>::parse(text).map(|balance| balance.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn texts_are_exact() {
        assert_eq!(Sat::parse("0.5 BTC"), Ok(Sat(50_000_000)));
        assert_eq!(Sat::parse("21_000_000 BTC"), Ok(Sat(Sat::KIND.most.0)));
        assert_eq!(Sat::parse("4_000 msat"), Ok(Sat(4)));
        assert_eq!(Msat::parse("4_999_999 msat"), Ok(Msat(4_999_999)));
        assert_eq!(Msat::parse("0.001 sat"), Ok(Msat(1)));
        assert_eq!(Cents::parse("1_000.00 EUR"), Ok(Cents(100_000)));
        assert_eq!(Cents::parse("12.5 EUR"), Ok(Cents(1_250)));
        assert_eq!(Cents::parse("12.500 EUR"), Ok(Cents(1_250)));
        assert_eq!(Millis::parse("10.2 s"), Ok(Millis(10_200)));
        assert_eq!(Millis::parse("1.5 h"), Ok(Millis(5_400_000)));
        assert_eq!(Blocks::parse("6 blocks"), Ok(Blocks(6)));
        assert_eq!(Feerate::parse("1.5 sat/vB"), Ok(Feerate(375)));
        assert_eq!(
            CentsPerBtc::parse("60_000.00 EUR/BTC"),
            Ok(CentsPerBtc(6_000_000))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let sat = |text| Sat::parse(text).unwrap_err();
        assert!(matches!(sat("0.000000001 BTC"), UnitError::TooFine { .. }));
        assert!(matches!(sat("1 msat"), UnitError::TooFine { .. }));
        assert!(matches!(sat("0.5"), UnitError::NoUnit { .. }));
        assert!(matches!(sat("5 EUR"), UnitError::WrongUnit { .. }));
        assert!(matches!(sat("-1 sat"), UnitError::Negative { .. }));
        assert!(matches!(sat("21_000_001 BTC"), UnitError::TooLarge { .. }));
        assert!(matches!(
            sat("99999999999999999999999999999999999999999999 BTC"),
            UnitError::TooLarge { .. }
        ));
        for text in [
            "", "BTC", "1__0 sat", "_1 sat", "1. sat", ".5 BTC", "--1 sat", "1,5 BTC", "0x10 sat",
            "1e3 sat",
        ] {
            assert!(
                matches!(
                    sat(text),
                    UnitError::NotANumber { .. } | UnitError::WrongUnit { .. }
                ),
                "{text}"
            );
        }
        for text in [
            "0.0000000000000000000000000000000000001 BTC",
            "1.00000000000000000000000000000000000001 BTC",
        ] {
            assert!(
                matches!(
                    sat(text),
                    UnitError::TooFine { .. } | UnitError::TooLarge { .. }
                ),
                "{text}: {:?}",
                sat(text)
            );
        }
    }
}
