//! Owns the numbers of docs/SPEC.md, "Limits, retries and deadlines", "Holds" and "Money": limits, prices, reserves, depths.
//! They are written down here again, not read from the engine's policy: a changed default must be meant.

use crate::scenario::{BindingAsked, Bumping, PolicyOverrides, Shortfall, Stray, WalletPurpose};
use lockstep_engine::api::{Destination, Payout};
use lockstep_engine::id::WalletId;
use lockstep_engine::money::Asset;
use lockstep_engine::onchain::Purpose;

/// The smallest charge, in msat.
pub(super) const LEAST_CHARGE_MSAT: u64 = 1_000;
/// The most blocks that a payee may want for himself.
pub(super) const MOST_FINAL_DELTA: u64 = 1_008;
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
    /// From so many satoshi on (ascending) a payout leaves this wallet or a later one.
    wallet_from: Vec<(u64, WalletId)>,
    /// The most that a payout's transaction may cost.
    pub(super) miner_fee_sat: u64,
    /// Whether Layer 0 is told how payments end.
    pub(super) reputation: bool,
    /// What is done with money on chain that does not pay its charge; `None`: nothing is told of it.
    pub(super) stray: Option<Stray>,
    /// As much may be lacking of a charge on chain.
    pub(super) tolerance_sat: u64,
    /// A tip older than so many ms decides nothing.
    pub(super) max_tip_age_ms: Option<u64>,
    /// Who bears what was spent and taken back.
    pub(super) shortfall: Option<Shortfall>,
    /// Which on-chain payments need a bound wallet.
    binding: BindingAsked,
    /// What the wallet is for that charges are paid into.
    pub charges_into: Purpose,
    /// What the wallet is for that payouts are paid from.
    pub payouts_from: Purpose,
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
            wallet_from: Vec::new(),
            miner_fee_sat: 5_000,
            reputation: false,
            stray: None,
            tolerance_sat: 0,
            max_tip_age_ms: None,
            shortfall: None,
            binding: BindingAsked::Off,
            charges_into: Purpose::Hot,
            payouts_from: Purpose::Hot,
            bumps: false,
        }
    }
}

impl Terms {
    /// The defaults with a scenario's overrides.
    pub fn of(overrides: &PolicyOverrides) -> Terms {
        let mut terms = Terms {
            reputation: overrides.reputation,
            ..Terms::default()
        };
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
        let by_value = overrides.wallet_by_value.iter();
        terms.wallet_from = by_value
            .filter_map(|(from, wallet)| Some((from.get(), WalletId::new(wallet.as_str()).ok()?)))
            .collect();
        if let Some(depth) = overrides.payout_depth {
            terms.payout_depth = depth.get() as u32;
        }
        if let Some(word) = overrides.charges_into {
            terms.charges_into = purpose(word);
        }
        if let Some(word) = overrides.payouts_from {
            terms.payouts_from = purpose(word);
        }
        if let Some(asked) = overrides.binding {
            terms.binding = asked;
        }
        terms.stray = overrides.stray;
        terms.tolerance_sat = overrides.tolerance.map_or(0, |sat| sat.get());
        terms.max_tip_age_ms = overrides.max_tip_age.map(|age| age.get());
        terms.shortfall = overrides.shortfall;
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

    /// As much counts as paid, in msat.
    pub(super) fn enough(&self, asked_msat: u64) -> u64 {
        (asked_msat.saturating_sub(self.tolerance_sat * 1_000)).max(1_000)
    }

    /// Whether on-chain payouts go to bound wallets only.
    pub fn asks_bound_payouts(&self) -> bool {
        self.binding != BindingAsked::Off
    }

    /// Whether only money from bound wallets is credited on chain.
    pub(super) fn asks_bound_payers(&self) -> bool {
        self.binding == BindingAsked::Both
    }

    /// Confirmations that a charge of this amount needs.
    pub(super) fn depth(&self, sat: u64) -> u32 {
        let fits = |(below, _): &&(u64, u32)| sat < *below;
        self.depth_below
            .iter()
            .find(fits)
            .map_or(self.depth_above, |(_, blocks)| *blocks)
    }

    /// The wallets that may pay so much; none: any may.
    fn wallets_for(&self, order: &Payout) -> &[(u64, WalletId)] {
        let is_onchain = matches!(order.destination, Destination::Address(_));
        let sat = order.quantity.units / 1_000;
        let last = self.wallet_from.iter().rposition(|(from, _)| *from <= sat);
        match last.filter(|_| is_onchain) {
            Some(last) => &self.wallet_from[last..],
            None => &[],
        }
    }

    /// The wallet that the order names, or else the one for such an amount.
    pub(super) fn wallet_by_value(&self, order: &Payout) -> Option<WalletId> {
        let by_value = self.wallets_for(order).first();
        let by_value = by_value.map(|(_, wallet)| wallet.clone());
        order.wallet.clone().or(by_value)
    }

    /// Whether any amount decides which wallet pays.
    pub(super) fn looks_at_value(&self) -> bool {
        !self.wallet_from.is_empty()
    }

    /// The least that a party must have for all of it to go, in msat: what the miner may get, and an output worth sending.
    pub(super) fn least_of_all(&self, dust_sat: u64) -> u64 {
        (self.miner_fee_sat + dust_sat) * 1_000
    }

    /// Whether the wallet that the order names may pay so much.
    pub(super) fn wallet_is_fit(&self, order: &Payout) -> bool {
        let may = self.wallets_for(order);
        let is_one = |named: &WalletId| may.iter().any(|(_, wallet)| wallet == named);
        may.is_empty() || order.wallet.as_ref().is_none_or(is_one)
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
                let usual = units.div_ceil(100).max(10_000);
                let budget = order.terms.max_fee_msat.map_or(usual, |fee| fee.0);
                Some((Asset::Btc, units + budget))
            }
            // The fee comes out of it.
            Destination::Address(_) if order.all => Some((Asset::Btc, units)),
            Destination::Address(_) => Some((Asset::Btc, units + self.miner_fee_sat * 1_000)),
            Destination::Iban { .. } => match order.funded_by {
                Asset::Eur => Some((Asset::Eur, units)),
                Asset::Btc => Some((Asset::Btc, self.sold_msat(units)?)),
            },
        }
    }
}

/// The engine's word for a purpose.
pub const fn purpose(word: WalletPurpose) -> Purpose {
    match word {
        WalletPurpose::Hot => Purpose::Hot,
        WalletPurpose::Savings => Purpose::Savings,
        WalletPurpose::Multisig => Purpose::Multisig,
        WalletPurpose::Lightning => Purpose::Lightning,
        WalletPurpose::Deposits => Purpose::Deposits,
    }
}
