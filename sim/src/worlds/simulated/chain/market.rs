//! A fee market that moves by a plan: what the rest of the world bids for block space.
//!
//! Owns the plan and the two numbers read from it: the floor below which a block has no room, and an estimate for a
//! number of blocks. Fidelity: Core estimates from what it saw confirm; here the plan is the truth, so estimates are
//! never wrong about the present and never know the future.

/// From when a step of the plan counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeeFrom {
    /// Unix seconds.
    Time(u32),
    /// Height of the block being made.
    Height(u32),
}

/// One step of the plan. Feerates are satoshi per 1000 virtual bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeStep {
    /// When it begins.
    pub from: FeeFrom,
    /// Background traffic fills every block down to this feerate; below it nothing is mined.
    pub floor_sat_per_kvb: u64,
    /// What it takes to be in the very next block.
    pub next_block_sat_per_kvb: u64,
}

/// The plan: among the steps that have begun, the last in the list counts. Empty means an idle network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeeSchedule {
    /// The steps, in the order in which later ones override earlier ones.
    pub steps: Vec<FeeStep>,
}

impl FeeSchedule {
    fn step(&self, time: u32, height: u32) -> Option<&FeeStep> {
        self.steps.iter().rev().find(|s| match s.from {
            FeeFrom::Time(from) => time >= from,
            FeeFrom::Height(from) => height >= from,
        })
    }

    /// Least package feerate with room in the block of this time and height, satoshi per 1000 virtual bytes.
    #[must_use]
    pub fn floor(&self, time: u32, height: u32) -> u64 {
        self.step(time, height).map_or(0, |s| s.floor_sat_per_kvb)
    }

    /// Feerate for confirmation within `target_blocks`: the next-block price, whose distance above the floor shrinks
    /// in proportion to the blocks one is ready to wait. Rounded up.
    #[must_use]
    pub fn estimate(&self, time: u32, height: u32, target_blocks: u32) -> u64 {
        self.step(time, height).map_or(0, |s| {
            let above = s.next_block_sat_per_kvb.saturating_sub(s.floor_sat_per_kvb);
            s.floor_sat_per_kvb + above.div_ceil(u64::from(target_blocks.max(1)))
        })
    }
}
