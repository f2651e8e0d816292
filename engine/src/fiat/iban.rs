//! Owns International Bank Account Numbers (ISO 13616): length by country and check digits (ISO 7064, mod 97-10).
//! Does not own national account checks nor whether the account exists.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Lengths by country code: the countries and territories of the SEPA area, from the IBAN registry.
#[rustfmt::skip]
const LENGTHS: [(&str, usize); 42] = [
    ("AD", 24), ("AL", 28), ("AT", 20), ("BE", 16), ("BG", 22), ("CH", 21), ("CY", 28), ("CZ", 24), ("DE", 22),
    ("DK", 18), ("EE", 20), ("ES", 24), ("FI", 18), ("FR", 27), ("GB", 22), ("GI", 23), ("GR", 27), ("HR", 21),
    ("HU", 28), ("IE", 22), ("IS", 26), ("IT", 27), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("MC", 27),
    ("MD", 24), ("ME", 22), ("MK", 19), ("MT", 31), ("NL", 18), ("NO", 15), ("PL", 28), ("PT", 25), ("RO", 24),
    ("RS", 22), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("VA", 22),
];

/// A valid IBAN of the SEPA area in electronic form (no spaces, capitals).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Iban(String);

/// Why a text is not an IBAN that a SEPA transfer can reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IbanRefused {
    /// Something other than letters, digits and spaces, or not two letters and two digits first.
    #[error("`{text}` is not shaped like an IBAN")]
    Malformed {
        /// As given.
        text: String,
    },
    /// Not in the SEPA area.
    #[error("`{country}` is not a country of the SEPA area")]
    UnknownCountry {
        /// The two letters.
        country: String,
    },
    /// Not as long as that country's IBANs.
    #[error("an IBAN of {country} has {expected} characters, not {found}")]
    WrongLength {
        /// The two letters.
        country: String,
        /// By the registry.
        expected: usize,
        /// As given, without spaces.
        found: usize,
    },
    /// A digit is wrong or two are swapped.
    #[error("the check digits of `{text}` do not fit")]
    WrongCheckDigits {
        /// As given.
        text: String,
    },
}

impl Iban {
    /// Reads the printed form (spaces, small letters) or the electronic one.
    pub fn parse(text: &str) -> Result<Self, IbanRefused> {
        let electronic: String = text
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        check_shape(&electronic).ok_or_else(|| IbanRefused::Malformed {
            text: text.to_owned(),
        })?;
        let country = &electronic[..2];
        let known = LENGTHS.iter().find(|(code, _)| *code == country);
        let (_, expected) = known.ok_or_else(|| IbanRefused::UnknownCountry {
            country: country.to_owned(),
        })?;
        if electronic.len() != *expected {
            let found = electronic.len();
            return Err(IbanRefused::WrongLength {
                country: country.to_owned(),
                expected: *expected,
                found,
            });
        }
        if remainder_97(&electronic) != 1 {
            return Err(IbanRefused::WrongCheckDigits {
                text: text.to_owned(),
            });
        }
        Ok(Self(electronic))
    }

    /// The electronic form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_shape(electronic: &str) -> Option<()> {
    let bytes = electronic.as_bytes();
    let (country, rest) = bytes.split_at_checked(2)?;
    let (digits, account) = rest.split_at_checked(2)?;
    // The check digits of a valid number are 02 to 98; 00, 01 and 99 would pass mod 97 a second time (ISO 7064).
    let check = std::str::from_utf8(digits)
        .ok()?
        .parse::<u8>()
        .ok()
        .filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    let shaped = country.iter().all(u8::is_ascii_uppercase)
        && (2..=98).contains(&check)
        && account.iter().all(u8::is_ascii_alphanumeric);
    shaped.then_some(())
}

/// The number that the text spells (A = 10 .. Z = 35, the first four characters last), modulo 97.
#[expect(clippy::arithmetic_side_effects, reason = "below 97 times 100 plus 35")]
fn remainder_97(electronic: &str) -> u32 {
    let (head, account) = electronic.split_at(4);
    account
        .chars()
        .chain(head.chars())
        .filter_map(|c| c.to_digit(36))
        .fold(0, |remainder, value| {
            let shift = if value >= 10 { 100 } else { 10 };
            (remainder * shift + value) % 97
        })
}

impl TryFrom<String> for Iban {
    type Error = IbanRefused;
    fn try_from(text: String) -> Result<Self, IbanRefused> {
        Self::parse(&text)
    }
}

impl From<Iban> for String {
    fn from(iban: Iban) -> String {
        iban.0
    }
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
