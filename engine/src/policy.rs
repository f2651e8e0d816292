//! Owns the operator's parameters: limits, rates, depths, retry spans, each with its unit and the reason for its number.
//! Does not own the decisions that are made with them.

mod paying;
mod receiving;
mod reputation;

pub use paying::{Batching, Bumping, Consolidation, FeeEstimation, Paying};
pub use receiving::{Disposal, Shortfall, Stray};
pub use reputation::{Outcome, ReputationPolicy, ScoreRule};

use crate::id::WalletId;
use crate::money::{Msat, Sat};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Euro cents per bitcoin as a ratio of integers: `cents` cents are worth `btc` whole bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Euro cents.
    pub cents: u64,
    /// Whole bitcoin.
    pub btc: u64,
}

/// From this amount on, an on-chain payment must be this deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthStep {
    /// The least amount for which the step holds.
    pub from_sat: Sat,
    /// Confirmations: 1 is the tip itself.
    pub confirmations: u32,
}

/// The most that may be spent on a Lightning payment's routing fees (see `lightning::max_fee`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightningFeeLimit {
    /// Allowed for any amount.
    pub floor_msat: Msat,
    /// Parts per million of the amount, if that is more.
    pub parts_per_million: u32,
}

/// What a wallet is for. Coins of different purposes are never spent in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Pays and is paid day by day.
    Hot,
    /// Keeps what the day does not need.
    Savings,
    /// High value, with keys of several people.
    Multisig,
    /// Funds channels.
    Lightning,
    /// Takes what charges bring in.
    Deposits,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 5] = [
        Purpose::Hot,
        Purpose::Savings,
        Purpose::Multisig,
        Purpose::Lightning,
        Purpose::Deposits,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Hot => "hot",
            Purpose::Savings => "savings",
            Purpose::Multisig => "multisig",
            Purpose::Lightning => "lightning",
            Purpose::Deposits => "deposits",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From this amount on, an on-chain payout leaves this wallet or one of a later step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletStep {
    /// The least amount for which the step holds.
    pub from_sat: Sat,
    /// Which.
    pub wallet: WalletId,
}

/// Exponential backoff: `first`, then doubled each time, at most `max_attempts` attempts in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The span before the second attempt.
    pub first: Span,
    /// Attempts in all.
    pub max_attempts: u32,
}

/// Which payments must go to, or come from, wallets that are bound to a DID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingAsked {
    /// None.
    #[default]
    Off,
    /// On-chain payouts go to bound wallets only.
    Payouts,
    /// That, and only money from bound wallets is credited to on-chain charges.
    Both,
}

/// The binding of parties' wallets to DIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingPolicy {
    /// What needs a binding.
    pub asked: BindingAsked,
    /// A challenge must be answered within this span.
    pub challenge_valid_for: Span,
    /// The longest that a binding may hold.
    pub longest: Span,
    /// Bindings of one party that are bound or may still become so, at one time.
    pub most_per_party: u32,
}

/// Everything that the operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// At which bitcoin is sold for euro payouts.
    pub rate: Rate,
    /// Ascending by amount, the first from zero.
    pub depth_by_value: Vec<DepthStep>,
    /// Whether the engine keeps the books of its node's channels and of the node's own wallet, and opens and closes channels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channels: bool,
    /// What is done with money on chain that does not pay its charge; `None`: what a charge gets when it settles is credited,
    /// all else is set apart, and nobody is told.
    pub stray: Option<Stray>,
    /// A charge on chain that is short by no more than this counts as paid.
    pub charge_tolerance: Sat,
    /// Who bears what was spent and then taken back; `None`: the party's account goes below zero.
    pub shortfall: Option<Shortfall>,
    /// A tip older than this is stale: nothing on chain settles, fails or is refunded by it. `None`: none is.
    pub max_tip_age: Option<Span>,
    /// How deep our own payout transaction must be.
    pub payout_depth: u32,
    /// Routing fees.
    pub lightning_fee: LightningFeeLimit,
    /// A held payment is failed back when no more than this many blocks remain for its claim.
    pub hold_margin_blocks: u32,
    /// An invoice whose payee may keep the money locked for more blocks is not paid.
    pub max_final_delta_blocks: u32,
    /// Feerate of our transactions, satoshi per 1,000 weight units.
    pub onchain_feerate_sat_per_kwu: u64,
    /// What the wallet is for that charges are paid into, unless they name one.
    pub charges_into: Purpose,
    /// What the wallet is for that payouts are paid from, unless they name one.
    pub payouts_from: Purpose,
    /// Ascending by amount; below the first step the wallet is the caller's choice.
    pub wallet_by_value: Vec<WalletStep>,
    /// A cosigner who has not answered for so long is not waited for alone any more.
    pub cosigner_patience: Span,
    /// The heaviest transaction we pay for, in weight units; bounds the fee that a payout reserves.
    pub onchain_max_weight_wu: u64,
    /// Fee estimation, bumping, batches, consolidation.
    pub paying: Paying,
    /// Repetition of a call whose outcome is unknown.
    pub retry: Retry,
    /// Between two questions about an accepted transfer.
    pub poll_interval: Span,
    /// Questions about one transfer in all.
    pub max_polls: u32,
    /// How far a webhook's signed time may lie from ours, either way.
    pub webhook_tolerance: Span,
    /// The smallest charge.
    pub min_charge_msat: Msat,
    /// The largest charge.
    pub max_charge_msat: Msat,
    /// The longest that a charge may stay open.
    pub max_charge_expiry: Span,
    /// The largest payout in bitcoin.
    pub max_payout_msat: Msat,
    /// The largest payout in euro cents.
    pub max_payout_cents: u64,
    /// The longest deadline of a payout.
    pub max_payout_deadline: Span,
    /// Payments that are not final, at one time.
    pub max_open_payments: u32,
    /// Reconciliation runs that have not finished, at one time.
    pub max_open_runs: u32,
    /// Wallets bound to DIDs.
    pub binding: BindingPolicy,
    /// What Layer 0 is told; nothing if it is `None`.
    pub reputation: Option<ReputationPolicy>,
}

/// Why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyInvalid {
    /// A ratio with a zero on either side.
    #[error("rate of {cents} cents per {btc} BTC has a zero")]
    RateZero {
        /// Cents.
        cents: u64,
        /// Bitcoin.
        btc: u64,
    },
    /// No step, first step not from zero, not ascending, or zero confirmations.
    #[error(
        "depth table must begin at 0 sat, ascend, and ask for at least 1 confirmation (step {step})"
    )]
    DepthTable {
        /// Index of the first wrong step.
        step: usize,
    },
    /// A score that starts outside of its bounds.
    #[error("the score begins at {start}, which is not between {floor} and {ceiling}")]
    Score {
        /// Beginning.
        start: i64,
        /// Lowest.
        floor: i64,
        /// Highest.
        ceiling: i64,
    },
    /// Not ascending, or a wallet twice.
    #[error("wallets by value must ascend (step {step})")]
    WalletTable {
        /// Index of the first wrong step.
        step: usize,
    },
    /// A span or count that must be at least one is zero, or something is absent that another parameter needs.
    #[error("`{name}` must not be zero or absent")]
    Zero {
        /// The parameter.
        name: &'static str,
    },
}

impl Retry {
    /// The span after attempt number `attempt` (the first is 1), or `None` when no attempt is left.
    pub fn after(&self, attempt: u32) -> Option<Span> {
        if attempt >= self.max_attempts {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(32);
        Some(Span(self.first.0.saturating_mul(
            1_u64.checked_shl(doublings).unwrap_or(u64::MAX),
        )))
    }
}

impl Policy {
    /// Values for regtest and simulation; every number's reason is beside it.
    pub fn regtest_default() -> Policy {
        Policy {
            // 60,000.00 EUR per bitcoin: a round figure, so that amounts in traces can be checked by hand.
            rate: Rate {
                cents: 6_000_000,
                btc: 1,
            },
            // One block for small amounts, 3 from 0.01 BTC, 6 (the customary hour) from 1 BTC.
            depth_by_value: vec![
                DepthStep {
                    from_sat: Sat(0),
                    confirmations: 1,
                },
                DepthStep {
                    from_sat: Sat(1_000_000),
                    confirmations: 3,
                },
                DepthStep {
                    from_sat: Sat(100_000_000),
                    confirmations: 6,
                },
            ],
            // Somebody has to decide first what is done with it.
            stray: None,
            // Amounts are exact, unless the operator says otherwise.
            charge_tolerance: Sat(0),
            // A party's account shows what the party has, whatever that is.
            shortfall: None,
            // Whoever makes the blocks of a test network makes them when he likes.
            max_tip_age: None,
            // Our own transaction is never double-spent by us; one block shows that miners took it.
            payout_depth: 1,
            // 1 %, at least 10 sat: a few hops at ordinary prices (base fees of 1 sat each, BOLT 7).
            lightning_fee: LightningFeeLimit {
                floor_msat: Msat(10_000),
                parts_per_million: 10_000,
            },
            // The deadline in the fact already holds the node's own safety margin.
            hold_margin_blocks: 1,
            // A week: LDK routes no payment whose whole way, forwarding nodes included, may take longer.
            max_final_delta_blocks: 1_008,
            // 2 sat/vB: twice Bitcoin Core's default minimum relay feerate of 1 sat/vB = 250 sat/kwu.
            onchain_feerate_sat_per_kwu: 500,
            // One wallet does both until the operator opens others.
            charges_into: Purpose::Hot,
            payouts_from: Purpose::Hot,
            // Until a wallet of several keys is opened there is nothing to choose from.
            wallet_by_value: Vec::new(),
            // Ten minutes: time for a person to fetch a device, and six such waits within an hour's deadline.
            cosigner_patience: Span::secs(600),
            // About 36 P2WPKH inputs (272 WU each); more than that is left to a consolidation.
            onchain_max_weight_wu: 10_000,
            // Each of its parts is the operator's choice to make.
            channels: false,
            paying: Paying::plainly(),
            // 5 s doubled six times is 320 s: about 11 minutes in all (seven waits), longer than a gateway's restart.
            retry: Retry {
                first: Span::secs(5),
                max_attempts: 8,
            },
            // Webhooks normally come within seconds; a question every 10 minutes is no load.
            poll_interval: Span::secs(600),
            // 30 days of questions, as long as gateways keep events.
            max_polls: 4_320,
            // The customary five minutes.
            webhook_tolerance: Span::secs(300),
            min_charge_msat: Msat(1_000),
            // 10 BTC: above that, regtest wallets run dry.
            max_charge_msat: Msat(1_000_000_000_000),
            // A week: BOLT 11 invoices and addresses do not serve for longer.
            max_charge_expiry: Span::secs(604_800),
            max_payout_msat: Msat(1_000_000_000_000),
            // 999,999,999.99 EUR is the maximum of a SEPA credit transfer (EPC rulebook).
            max_payout_cents: 99_999_999_999,
            // A week, as above.
            max_payout_deadline: Span::secs(604_800),
            // Every chain view walks the open on-chain payments; ten thousand stay below a millisecond each.
            max_open_payments: 10_000,
            // A run needs three answers; more than a few at once means that the outside does not answer.
            max_open_runs: 8,
            binding: BindingPolicy {
                asked: BindingAsked::Off,
                // Ten minutes: long enough for a person with a hardware wallet, short enough that nobody hoards challenges.
                challenge_valid_for: Span::secs(600),
                // A year of 365 days, after which the proof is asked for again.
                longest: Span::secs(31_536_000),
                // One hot and one cold wallet per rail with room to replace each.
                most_per_party: 16,
            },
            // Only operators with a DID can state anything.
            reputation: None,
        }
    }

    /// Whether the parameters make sense together.
    pub fn check(&self) -> Result<(), PolicyInvalid> {
        if self.rate.cents == 0 || self.rate.btc == 0 {
            return Err(PolicyInvalid::RateZero {
                cents: self.rate.cents,
                btc: self.rate.btc,
            });
        }
        check_depths(&self.depth_by_value)?;
        if let Some(reputation) = &self.reputation {
            check_score(&reputation.score)?;
        }
        let steps = self.wallet_by_value.windows(2);
        let descends = |pair: &[WalletStep]| pair[0].from_sat >= pair[1].from_sat;
        if let Some(at) = steps.map(descends).position(|descends| descends) {
            let step = at.saturating_add(1);
            return Err(PolicyInvalid::WalletTable { step });
        }
        let must_not_be_zero = [
            ("payout_depth", u64::from(self.payout_depth)),
            (
                "onchain_feerate_sat_per_kwu",
                self.onchain_feerate_sat_per_kwu,
            ),
            ("onchain_max_weight_wu", self.onchain_max_weight_wu),
            ("retry.first", self.retry.first.0),
            ("retry.max_attempts", u64::from(self.retry.max_attempts)),
            ("poll_interval", self.poll_interval.0),
            ("max_open_payments", u64::from(self.max_open_payments)),
            ("cosigner_patience", self.cosigner_patience.0),
            ("max_open_runs", u64::from(self.max_open_runs)),
            (
                "binding.challenge_valid_for",
                self.binding.challenge_valid_for.0,
            ),
            ("binding.longest", self.binding.longest.0),
            (
                "binding.most_per_party",
                u64::from(self.binding.most_per_party),
            ),
        ];
        let zero = must_not_be_zero.into_iter().find(|(_, value)| *value == 0);
        match zero.map(|(name, _)| name).or(self.paying.senseless()) {
            Some(name) => Err(PolicyInvalid::Zero { name }),
            None => Ok(()),
        }
    }

    /// The wallets that may pay this amount, by the steps that hold from it on; `None`: any.
    pub fn wallets_for(&self, amount: Sat) -> Option<&[WalletStep]> {
        let below = |step: &WalletStep| step.from_sat <= amount;
        let last = self.wallet_by_value.iter().rposition(below)?;
        self.wallet_by_value.get(last..)
    }

    /// Confirmations that a charge of this amount needs.
    pub fn depth_for(&self, amount: Sat) -> u32 {
        let steps = self
            .depth_by_value
            .iter()
            .take_while(|step| step.from_sat <= amount);
        steps.last().map_or(1, |step| step.confirmations)
    }

    /// The most that a payout may cost in miner's fees: the budget, else the highest feerate times the greatest weight,
    /// rounded up.
    pub fn onchain_fee_bound(&self) -> Sat {
        let highest = self
            .paying
            .estimation
            .map_or(self.onchain_feerate_sat_per_kwu, |e| e.ceiling());
        let product = highest.saturating_mul(self.onchain_max_weight_wu);
        self.paying
            .fee_budget
            .unwrap_or(Sat(product.div_ceil(1_000)))
    }
}

fn check_score(rule: &ScoreRule) -> Result<(), PolicyInvalid> {
    let (start, floor, ceiling) = (rule.start, rule.floor, rule.ceiling);
    if rule.half_life.0 == 0 {
        let name = "reputation.score.half_life";
        return Err(PolicyInvalid::Zero { name });
    }
    if floor <= start && start <= ceiling {
        Ok(())
    } else {
        Err(PolicyInvalid::Score {
            start,
            floor,
            ceiling,
        })
    }
}

fn check_depths(steps: &[DepthStep]) -> Result<(), PolicyInvalid> {
    if steps.first().is_none_or(|step| step.from_sat != Sat(0)) {
        return Err(PolicyInvalid::DepthTable { step: 0 });
    }
    let mut previous = None;
    for (index, step) in steps.iter().enumerate() {
        if step.confirmations == 0 || previous.is_some_and(|before| step.from_sat <= before) {
            return Err(PolicyInvalid::DepthTable { step: index });
        }
        previous = Some(step.from_sat);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_ends() {
        let retry = Retry {
            first: Span::secs(5),
            max_attempts: 8,
        };
        assert_eq!(retry.after(1), Some(Span::secs(5)));
        assert_eq!(retry.after(7), Some(Span::secs(320)));
        assert_eq!(retry.after(8), None);
    }

    #[test]
    fn depth_follows_the_table_at_its_edges() {
        let policy = Policy::regtest_default();
        assert_eq!(policy.check(), Ok(()));
        for (sat, depth) in [
            (0, 1),
            (999_999, 1),
            (1_000_000, 3),
            (99_999_999, 3),
            (100_000_000, 6),
        ] {
            assert_eq!(policy.depth_for(Sat(sat)), depth, "{sat} sat");
        }
    }

    #[test]
    fn senseless_policies_are_named() {
        let mut policy = Policy::regtest_default();
        policy.rate.btc = 0;
        assert_eq!(
            policy.check(),
            Err(PolicyInvalid::RateZero {
                cents: 6_000_000,
                btc: 0
            })
        );
        let mut policy = Policy::regtest_default();
        policy.depth_by_value.swap(1, 2);
        assert_eq!(policy.check(), Err(PolicyInvalid::DepthTable { step: 2 }));
        policy.depth_by_value.clear();
        assert_eq!(policy.check(), Err(PolicyInvalid::DepthTable { step: 0 }));
    }
}
