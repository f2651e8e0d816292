//! Owns payment URIs (BIP 21): reading one that a payee gave, and writing the one that a charge shows.
//! Does not own whether the address can be paid (`check_address`) nor what is done with the amount.
//!
//! Where BIP 21 leaves a choice: a parameter of ours that occurs twice is refused, as two readers could take either; an
//! amount finer than a satoshi is refused, never rounded; the address may be absent only beside a `lightning` invoice.

use crate::money::Sat;
use std::fmt::{self, Write as _};

const SCHEME: &str = "bitcoin:";
const SAT_PER_BTC: u64 = 100_000_000;
/// 21 million bitcoin: there never is more.
const MOST_SAT: u64 = 21_000_000 * SAT_PER_BTC;
const DECIMALS: usize = 8;

/// A payment URI, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentUri {
    /// As written; empty if the URI names an invoice only.
    pub address: String,
    /// `amount`, in satoshi.
    pub amount: Option<Sat>,
    /// `label`: for whom.
    pub label: Option<String>,
    /// `message`: what for.
    pub message: Option<String>,
    /// `lightning`: a BOLT 11 invoice for the same payment.
    pub lightning: Option<String>,
}

/// Why a text is no payment URI that can be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriRefused {
    /// Another scheme, or none.
    #[error("`{text}` does not begin with `bitcoin:`")]
    NotBitcoin {
        /// As given.
        text: String,
    },
    /// Neither an address nor an invoice.
    #[error("the payment URI names nobody to pay")]
    NoPayee,
    /// A requirement that is not known here (BIP 21: the entire URI is invalid).
    #[error("the payment URI requires `{key}`, which is not known here")]
    Requires {
        /// The parameter.
        key: String,
    },
    /// A parameter with a meaning occurs twice.
    #[error("the payment URI has `{key}` twice")]
    Twice {
        /// The parameter.
        key: String,
    },
    /// Not a decimal number of bitcoin, finer than a satoshi, or more than there is.
    #[error("`{text}` is not an amount in bitcoin, exact to the satoshi")]
    Amount {
        /// As written.
        text: String,
    },
    /// A percent sign without two hexadecimal digits, or octets that are not UTF-8.
    #[error("`{text}` is not percent-encoded UTF-8")]
    Encoding {
        /// As written.
        text: String,
    },
}

/// Whether the text claims to be a payment URI. The scheme may be written in any case.
pub fn is_uri(text: &str) -> bool {
    text.get(..SCHEME.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

impl PaymentUri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<PaymentUri, UriRefused> {
        let text = text.trim();
        let rest = text.get(SCHEME.len()..).filter(|_| is_uri(text));
        let rest = rest.ok_or_else(|| UriRefused::NotBitcoin {
            text: text.to_owned(),
        })?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = PaymentUri {
            address: address.to_owned(),
            ..PaymentUri::default()
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            uri.take(key, value)?;
        }
        if uri.address.is_empty() && uri.lightning.is_none() {
            return Err(UriRefused::NoPayee);
        }
        Ok(uri)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), UriRefused> {
        let was_there = match key {
            "amount" => self.amount.replace(amount(value)?).is_some(),
            "label" => self.label.replace(decoded(value)?).is_some(),
            "message" => self.message.replace(decoded(value)?).is_some(),
            "lightning" => self.lightning.replace(decoded(value)?).is_some(),
            required if required.starts_with("req-") => {
                return Err(UriRefused::Requires {
                    key: required.to_owned(),
                });
            }
            _ => false,
        };
        if was_there {
            return Err(UriRefused::Twice {
                key: key.to_owned(),
            });
        }
        Ok(())
    }
}

/// The URI, with what it has, in the order of BIP 21.
impl fmt::Display for PaymentUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.address)?;
        let amount = self.amount.map(in_btc);
        let texts = [
            ("label", &self.label),
            ("message", &self.message),
            ("lightning", &self.lightning),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, encoded(text.as_ref()?))));
        let all = amount.map(|amount| ("amount", amount)).into_iter();
        let mut before = '?';
        for (key, value) in all.chain(texts) {
            write!(f, "{before}{key}={value}")?;
            before = '&';
        }
        Ok(())
    }
}

/// Decimal bitcoin as satoshi.
fn amount(text: &str) -> Result<Sat, UriRefused> {
    let refused = || UriRefused::Amount {
        text: text.to_owned(),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (kept, finer) = fraction.split_at(fraction.len().min(DECIMALS));
    let readable = digits(whole) && digits(fraction) && finer.bytes().all(|byte| byte == b'0');
    if !readable || whole.len().saturating_add(fraction.len()) == 0 {
        return Err(refused());
    }
    let number = |part: &str| -> Option<u64> {
        if part.is_empty() {
            Some(0)
        } else {
            part.parse().ok()
        }
    };
    let sat = number(whole)
        .and_then(|btc| btc.checked_mul(SAT_PER_BTC))
        .zip(number(&format!("{kept:0<DECIMALS$}")))
        .and_then(|(btc, sat)| btc.checked_add(sat));
    sat.filter(|sat| *sat <= MOST_SAT)
        .map(Sat)
        .ok_or_else(refused)
}

fn in_btc(amount: Sat) -> String {
    let (btc, sat) = (
        amount.0.checked_div(SAT_PER_BTC).unwrap_or(0),
        amount.0.checked_rem(SAT_PER_BTC).unwrap_or(0),
    );
    if sat == 0 {
        return btc.to_string();
    }
    let text = format!("{btc}.{sat:0>DECIMALS$}");
    text.trim_end_matches('0').to_owned()
}

fn decoded(text: &str) -> Result<String, UriRefused> {
    let refused = || UriRefused::Encoding {
        text: text.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2).ok_or_else(refused)?;
        let both = pair.iter().all(u8::is_ascii_hexdigit);
        let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
        let byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        if !both {
            return Err(refused());
        }
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

/// Everything but RFC 3986's unreserved characters, percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (text, sat) in [
            ("20.3", 2_030_000_000),
            ("50", 5_000_000_000),
            ("50.00", 5_000_000_000),
            ("0.00000001", 1),
            (".5", 50_000_000),
            ("1.", 100_000_000),
            ("0.100000000", 10_000_000),
            ("21000000", MOST_SAT),
        ] {
            assert_eq!(amount(text), Ok(Sat(sat)), "{text}");
        }
        for text in [
            "",
            ".",
            "50,000.00",
            "-1",
            "1e3",
            "0.000000001",
            "21000000.00000001",
            "1.2.3",
            "99999999999999999999",
        ] {
            assert!(amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let uri = PaymentUri {
            address: "bcrt1qxyz".to_owned(),
            amount: Some(Sat(123_456_700)),
            label: Some("Müller & Söhne = 100 %".to_owned()),
            message: Some("a b?c#d".to_owned()),
            lightning: Some("lnbcrt1".to_owned()),
        };
        assert_eq!(PaymentUri::parse(&uri.to_string()), Ok(uri.clone()));
        assert_eq!(
            uri.to_string(),
            "bitcoin:bcrt1qxyz?amount=1.234567&label=M%C3%BCller%20%26%20S%C3%B6hne%20%3D%20100%20%25&message=a%20b%3Fc%23d&lightning=lnbcrt1"
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let twice = PaymentUri::parse("bitcoin:x?amount=1&amount=2");
        assert!(matches!(twice, Err(UriRefused::Twice { .. })));
        for text in [
            "bitcoin:x?label=%4",
            "bitcoin:x?label=%zz",
            "bitcoin:x?label=%+1",
            "bitcoin:x?label=%ff",
        ] {
            assert!(
                matches!(PaymentUri::parse(text), Err(UriRefused::Encoding { .. })),
                "{text}"
            );
        }
        assert_eq!(PaymentUri::parse("bitcoin:"), Err(UriRefused::NoPayee));
        assert!(PaymentUri::parse("bitcoin:?lightning=lnbc1").is_ok());
        assert!(matches!(
            PaymentUri::parse("litecoin:x"),
            Err(UriRefused::NotBitcoin { .. })
        ));
    }
}
