//! Owns amounts: integers with the unit in the type, and the asset-tagged quantity that the ledger books.
//! Does not own rates or conversion (`fx`) nor balances (`ledger`).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// An amount of bitcoin in millisatoshi (BOLT 2: the unit of HTLCs). 1 sat = 1,000 msat.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Msat(pub u64);

/// An amount of bitcoin in satoshi. 1 BTC = 100,000,000 sat.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sat(pub u64);

/// An ISO 4217 currency known at compile time.
pub trait Currency: Copy + fmt::Debug + Ord + Default {
    /// The asset in which amounts of this currency are booked.
    const ASSET: Asset;
}

/// The euro: two decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Eur;

impl Currency for Eur {
    const ASSET: Asset = Asset::Eur;
}

/// An amount of fiat money in the currency's minor unit (for the euro: cents).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Minor<C: Currency> {
    units: u64,
    #[serde(skip)]
    currency: PhantomData<C>,
}

impl<C: Currency> Minor<C> {
    /// `units` of the minor unit.
    pub const fn new(units: u64) -> Self {
        Self {
            units,
            currency: PhantomData,
        }
    }

    /// The number of minor units.
    pub const fn units(self) -> u64 {
        self.units
    }
}

/// What the ledger can hold. Bitcoin is booked in millisatoshi on every rail, so that one unit sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asset {
    /// Bitcoin, in msat.
    Btc,
    /// Euro, in cents.
    Eur,
}

/// The three ways for money to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rail {
    /// Bitcoin transactions.
    Onchain,
    /// BOLT Lightning.
    Lightning,
    /// SEPA credit transfers through a gateway.
    Sepa,
}

/// An unsigned amount of one asset in its smallest booked unit (msat or cent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quantity {
    /// What it is.
    pub asset: Asset,
    /// How many smallest units.
    pub units: u64,
}

impl Msat {
    /// Whole satoshi, rounded down; the remainder stays with whoever holds the msat.
    pub const fn to_sat_floor(self) -> Sat {
        Sat(self.0 / 1_000)
    }

    /// The exact number of satoshi, if there is no msat remainder.
    pub const fn to_sat_exact(self) -> Option<Sat> {
        if self.0.is_multiple_of(1_000) {
            Some(Sat(self.0 / 1_000))
        } else {
            None
        }
    }

    /// The sum, or `None` on overflow.
    pub fn checked_add(self, other: Msat) -> Option<Msat> {
        self.0.checked_add(other.0).map(Msat)
    }

    /// The difference, or `None` below zero.
    pub fn checked_sub(self, other: Msat) -> Option<Msat> {
        self.0.checked_sub(other.0).map(Msat)
    }
}

impl Sat {
    /// The same amount in msat, or `None` on overflow.
    pub fn to_msat(self) -> Option<Msat> {
        self.0.checked_mul(1_000).map(Msat)
    }

    /// The sum, or `None` on overflow.
    pub fn checked_add(self, other: Sat) -> Option<Sat> {
        self.0.checked_add(other.0).map(Sat)
    }
}

impl Quantity {
    /// Bitcoin.
    pub const fn btc(amount: Msat) -> Self {
        Self {
            asset: Asset::Btc,
            units: amount.0,
        }
    }

    /// Euro.
    pub const fn eur(amount: Minor<Eur>) -> Self {
        Self {
            asset: Asset::Eur,
            units: amount.units(),
        }
    }

    /// The amount as millisatoshi, if it is bitcoin.
    pub const fn as_msat(self) -> Option<Msat> {
        match self.asset {
            Asset::Btc => Some(Msat(self.units)),
            Asset::Eur => None,
        }
    }

    /// The amount as euro, if it is euro.
    pub const fn as_eur(self) -> Option<Minor<Eur>> {
        match self.asset {
            Asset::Btc => None,
            Asset::Eur => Some(Minor::new(self.units)),
        }
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

impl fmt::Display for Sat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat", self.0)
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asset::Btc => "BTC",
            Asset::Eur => "EUR",
        })
    }
}

impl Rail {
    /// What moves there.
    pub const fn asset(self) -> Asset {
        match self {
            Rail::Onchain | Rail::Lightning => Asset::Btc,
            Rail::Sepa => Asset::Eur,
        }
    }
}

impl fmt::Display for Rail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rail::Onchain => "onchain",
            Rail::Lightning => "lightning",
            Rail::Sepa => "sepa",
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asset {
            Asset::Btc => write!(f, "{} msat", self.units),
            Asset::Eur => write!(f, "{}.{:02} EUR", self.units / 100, self.units % 100),
        }
    }
}
