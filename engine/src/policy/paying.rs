//! Owns the operator's parameters for paying on chain: where feerates come from, what a payout's fee may reach, whether
//! transactions are bumped, batched and consolidated. Does not own the decisions that are made with them.

use crate::money::Sat;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// Feerates are taken from outside, within these bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimation {
    /// Never less, satoshi per 1,000 weight units.
    pub floor_sat_per_kwu: u64,
    /// Never more, satoshi per 1,000 weight units.
    pub ceiling_sat_per_kwu: u64,
    /// How long a block takes: turns a deadline into blocks.
    pub block_interval: Span,
    /// Nobody estimates further ahead.
    pub most_blocks: u32,
}

impl FeeEstimation {
    /// Between these two, with Bitcoin's ten minutes, and a day as the longest target (Core's horizon is a week, but its
    /// estimates beyond a day hardly differ).
    pub const fn between(floor_sat_per_kwu: u64, ceiling_sat_per_kwu: u64) -> FeeEstimation {
        FeeEstimation {
            floor_sat_per_kwu,
            ceiling_sat_per_kwu,
            block_interval: Span::secs(600),
            most_blocks: 144,
        }
    }

    /// The ceiling; never below the floor.
    pub fn ceiling(&self) -> u64 {
        self.ceiling_sat_per_kwu.max(self.floor_sat_per_kwu)
    }
}

/// What is done about a transaction that offers too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bumping {
    /// Nothing: it waits.
    #[default]
    Off,
    /// It is replaced (BIP 125).
    Replace,
    /// Its change is spent by a child that pays for both; without change it is replaced.
    Child,
}

/// Payouts that wait together leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batching {
    /// How long a payout waits for others; zero: each has a transaction of its own.
    pub window: Span,
    /// The most payouts in one transaction.
    pub most: u32,
}

/// Many small coins become one while that is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consolidation {
    /// From so many spendable coins on.
    pub from_coins: u32,
    /// Only at this feerate or below, satoshi per 1,000 weight units.
    pub up_to_sat_per_kwu: u64,
}

/// How the operator pays on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paying {
    /// `None`: the policy's fixed feerate.
    pub estimation: Option<FeeEstimation>,
    /// The most that one payout may cost in miner's fees; `None`: the highest feerate at the greatest weight.
    pub fee_budget: Option<Sat>,
    /// Bumping; needs `estimation`, which alone says that a transaction offers too little.
    pub bumping: Bumping,
    /// Batching.
    pub batching: Batching,
    /// `None`: never.
    pub consolidation: Option<Consolidation>,
}

impl Paying {
    /// One transaction for each payout, at a fixed feerate, never bumped.
    pub const fn plainly() -> Paying {
        Paying {
            estimation: None,
            fee_budget: None,
            bumping: Bumping::Off,
            batching: Batching {
                window: Span(0),
                // 50 P2WPKH outputs (124 WU each) leave room for a dozen inputs in the heaviest transaction of 10,000 WU.
                most: 50,
            },
            consolidation: None,
        }
    }

    /// The name of the first parameter that makes no sense beside the others.
    pub(super) fn senseless(&self) -> Option<&'static str> {
        let bounds = self
            .estimation
            .is_some_and(|e| e.floor_sat_per_kwu == 0 || e.block_interval == Span(0));
        [
            (bounds, "paying.estimation"),
            (self.fee_budget == Some(Sat(0)), "paying.fee_budget"),
            (
                self.bumping != Bumping::Off && self.estimation.is_none(),
                "paying.estimation (bumping needs it)",
            ),
            (self.batching.most == 0, "paying.batching.most"),
            (
                self.consolidation.is_some_and(|c| c.from_coins < 2),
                "paying.consolidation.from_coins",
            ),
        ]
        .into_iter()
        .find_map(|(wrong, name)| wrong.then_some(name))
    }
}
