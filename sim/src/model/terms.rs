//! Owns the numbers of docs/SPEC.md, "Limits, retries and deadlines", "Holds" and "Money": limits, prices, reserves, depths.
//! They are written down here again, not read from the engine's policy: a changed default must be meant.

use crate::scenario::{Bumping, PolicyOverrides};
use lockstep_engine::api::{Destination, Payout};
use lockstep_engine::money::Asset;

/// The smallest charge, in msat.
pub(super) const LEAST_CHARGE_MSAT: u64 = 1_000;
/// The largest charge and the largest payout in bitcoin: 10 BTC in msat.
pub(super) const MOST_MSAT: u64 = 1_000_000_000_000;
/// The largest payout in euro: 999,999,999.99 EUR in cents.
pub(super) const MOST_CENTS: u64 = 99_999_999_999;
/// The longest expiry and the longest deadline: a week in ms.
pub(super) const LONGEST_MS: u64 = 604_800_000;
/// Payments that are not final, at one time.
pub(super) const MOST_OPEN_PAYMENTS: usize = 10_000;
/// Reconciliations that are not finished, at one time.
pub(super) const MOST_OPEN_RUNS: usize = 8;

/// What the operator has decided, as far as it decides about states and amounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Price of a bitcoin.
    cents_per_btc: u64,
    /// Below so many satoshi (exclusive) a charge must be so many blocks deep; the first that fits.
    depth_below: Vec<(u64, u32)>,
    /// As deep must all other charges be.
    depth_above: u32,
    /// As deep must a payout's transaction be.
    pub(super) payout_depth: u32,
    /// The most that a payout's transaction may cost.
    miner_fee_sat: u64,
    /// Whether a payout's transaction may have successors.
    pub(super) bumps: bool,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            cents_per_btc: 6_000_000,
            depth_below: vec![(1_000_000, 1), (100_000_000, 3)],
            depth_above: 6,
            payout_depth: 1,
            miner_fee_sat: 5_000,
            bumps: false,
        }
    }
}

impl Terms {
    /// The defaults with a scenario's overrides.
    pub fn of(overrides: &PolicyOverrides) -> Terms {
        let mut terms = Terms::default();
        if let Some(rate) = overrides.rate {
            terms.cents_per_btc = rate.get();
        }
        if let Some(depth) = &overrides.depth {
            let below = |(sat, blocks): &(crate::scenario::Sat, crate::scenario::Blocks)| {
                (sat.get(), blocks.get() as u32)
            };
            terms.depth_below = depth.below.iter().map(below).collect();
            terms.depth_above = depth.otherwise.get() as u32;
        }
        if let Some(depth) = overrides.payout_depth {
            terms.payout_depth = depth.get() as u32;
        }
        let paying = &overrides.paying;
        let highest = paying.estimate.map(|(_, ceiling)| ceiling);
        if let Some(feerate) = highest.or(overrides.feerate) {
            // The heaviest transaction is 10,000 weight units; the feerate is satoshi per 1,000 of them.
            terms.miner_fee_sat = feerate.get().saturating_mul(10);
        }
        if let Some(budget) = paying.budget {
            terms.miner_fee_sat = budget.get();
        }
        terms.bumps = !matches!(paying.bump, None | Some(Bumping::Off));
        terms
    }

    /// Confirmations that a charge of this amount needs.
    pub(super) fn depth(&self, sat: u64) -> u32 {
        let fits = |(below, _): &&(u64, u32)| sat < *below;
        self.depth_below
            .iter()
            .find(fits)
            .map_or(self.depth_above, |(_, blocks)| *blocks)
    }

    /// Bitcoin sold for euro, rounded up to the next msat (SPEC, "Money"); `None`: more than can be counted.
    fn sold_msat(&self, cents: u64) -> Option<u64> {
        let msat = (u128::from(cents) * 100_000_000_000).div_ceil(u128::from(self.cents_per_btc));
        u64::try_from(msat).ok()
    }

    /// What a payout sets aside, and of what (SPEC, "Holds").
    pub(super) fn hold(&self, order: &Payout) -> Option<(Asset, u64)> {
        let units = order.quantity.units;
        match &order.destination {
            Destination::Invoice(_) => {
                Some((Asset::Btc, units + (units.div_ceil(100)).max(10_000)))
            }
            Destination::Address(_) => Some((Asset::Btc, units + self.miner_fee_sat * 1_000)),
            Destination::Iban { .. } => match order.funded_by {
                Asset::Eur => Some((Asset::Eur, units)),
                Asset::Btc => Some((Asset::Btc, self.sold_msat(units)?)),
            },
        }
    }
}
