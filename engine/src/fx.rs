//! Owns the conversion between euro and bitcoin at a given rate, with its rounding.
//! Does not own the rate (`policy`) nor the posting of what was converted (`payments`).

use crate::money::{Eur, Minor, Msat};
use crate::policy::Rate;

/// Millisatoshi in one bitcoin.
const MSAT_PER_BTC: u128 = 100_000_000_000;

/// Why an amount cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The rate has a zero.
    #[error("rate has no value")]
    RateZero,
    /// The result does not fit 64 bits.
    #[error("{cents} cents are more bitcoin than can be counted")]
    TooMuch {
        /// What was to be bought.
        cents: u64,
    },
}

/// What must be sold to buy exactly `bought`: rounded up to the next msat, so that the operator never sells below the
/// rate. The remainder (below 1 msat) stays in the operator's `Fx` account, for the whole rounded amount is posted there.
pub fn convert(bought: Minor<Eur>, rate: Rate) -> Result<Msat, ConvertError> {
    if rate.cents == 0 || rate.btc == 0 {
        return Err(ConvertError::RateZero);
    }
    let too_much = ConvertError::TooMuch {
        cents: bought.units(),
    };
    let product = u128::from(bought.units())
        .checked_mul(u128::from(rate.btc))
        .and_then(|n| n.checked_mul(MSAT_PER_BTC));
    let msat = product
        .map(|n| n.div_ceil(u128::from(rate.cents)))
        .and_then(|n| u64::try_from(n).ok());
    msat.map(Msat).ok_or(too_much)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cents: u64, rate: (u64, u64), expected: Result<u64, ConvertError>) {
        let rate = Rate {
            cents: rate.0,
            btc: rate.1,
        };
        assert_eq!(
            convert(Minor::new(cents), rate),
            expected.map(Msat),
            "{cents} at {rate:?}"
        );
    }

    #[test]
    fn rounds_up_to_the_next_millisatoshi() {
        check(0, (6_000_000, 1), Ok(0));
        check(6_000_000, (6_000_000, 1), Ok(100_000_000_000));
        // 1 cent at 60,000 EUR is 16,666.67 msat.
        check(1, (6_000_000, 1), Ok(16_667));
        check(3, (6_000_000, 1), Ok(50_000));
        check(1, (12_000_001, 2), Ok(16_667));
    }

    #[test]
    fn refuses_what_it_cannot_count() {
        check(1, (0, 1), Err(ConvertError::RateZero));
        check(1, (1, 0), Err(ConvertError::RateZero));
        check(
            u64::MAX,
            (1, 1),
            Err(ConvertError::TooMuch { cents: u64::MAX }),
        );
        check(
            u64::MAX,
            (1, u64::MAX),
            Err(ConvertError::TooMuch { cents: u64::MAX }),
        );
    }
}
