//! Owns the choice of a feerate: what the node estimates, what our own look at its mempool says, and the policy's floor
//! and ceiling, for a payment that must be confirmed within so many blocks. Pure. Does not own when fees are asked for
//! nor what is done with the rate (`payments`).
//!
//! Nothing outside is trusted: a rate from outside counts only within the policy's bounds, and both sources are used,
//! the higher of the two, because a payment that is late costs more than the difference.

use crate::policy::FeeEstimation;
use crate::rail::{FeeBin, FeesSeen};
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// What one block can hold (BIP 141), in weight units.
const BLOCK_WEIGHT_WU: u64 = 4_000_000;

/// Which source decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeSource {
    /// The node's estimate.
    Node,
    /// Our own look at what waits in the mempool.
    Mempool,
    /// The policy's floor: outside asks for less.
    Floor,
    /// The policy's ceiling: outside asks for more.
    Ceiling,
    /// The policy's fixed feerate: nothing could be learned from outside.
    Fallback,
    /// The policy's fixed feerate: nobody is asked.
    Fixed,
}

/// A feerate with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feerate {
    /// Satoshi per 1,000 weight units.
    pub sat_per_kwu: u64,
    /// Who decided.
    pub source: FeeSource,
    /// The number of blocks that it was chosen for.
    pub blocks: u32,
}

impl Feerate {
    /// Of a policy without estimation.
    pub const fn fixed(sat_per_kwu: u64) -> Feerate {
        Feerate {
            sat_per_kwu,
            source: FeeSource::Fixed,
            blocks: 0,
        }
    }
}

/// Blocks that can still be waited for, so that a transaction is `depth` deep at `due_at`, to the nearest: at least 1.
pub fn blocks_left(bounds: &FeeEstimation, now: Timestamp, due_at: Timestamp, depth: u32) -> u32 {
    let Span(left) = due_at.since(now);
    let half = bounds.block_interval.0.checked_div(2).unwrap_or(0);
    let blocks = left
        .saturating_add(half)
        .checked_div(bounds.block_interval.0);
    let blocks = blocks.unwrap_or(0);
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    blocks
        .saturating_sub(depth.saturating_sub(1))
        .clamp(1, bounds.most_blocks.max(1))
}

/// The feerate for confirmation within `blocks`; `fallback` is what counts if nothing is known.
pub fn choose(
    bounds: &FeeEstimation,
    seen: Option<&FeesSeen>,
    blocks: u32,
    fallback_sat_per_kwu: u64,
) -> Feerate {
    let rate = |sat_per_kwu, source| Feerate {
        sat_per_kwu,
        source,
        blocks,
    };
    let Some(seen) = seen else {
        let within = fallback_sat_per_kwu.clamp(bounds.floor_sat_per_kwu, bounds.ceiling());
        return rate(within, FeeSource::Fallback);
    };
    let mempool = of_mempool(seen, blocks);
    let (outside, source) = match of_node(seen, blocks) {
        Some(node) if node >= mempool => (node, FeeSource::Node),
        Some(_) | None => (mempool, FeeSource::Mempool),
    };
    // Nodes count whole virtual bytes: up to 3 weight units more than there are, below 1 % of the lightest payment.
    let outside = outside.saturating_add(outside.div_ceil(100));
    if outside > bounds.ceiling() {
        rate(bounds.ceiling(), FeeSource::Ceiling)
    } else if outside < bounds.floor_sat_per_kwu {
        rate(bounds.floor_sat_per_kwu, FeeSource::Floor)
    } else {
        rate(outside, source)
    }
}

/// The node's estimate for the longest target that is not too long, else for its shortest.
fn of_node(seen: &FeesSeen, blocks: u32) -> Option<u64> {
    let fitting = seen.estimates.iter().filter(|e| e.blocks <= blocks);
    let best = fitting.max_by_key(|e| (e.blocks, e.sat_per_kwu));
    let best = best.or_else(|| seen.estimates.iter().min_by_key(|e| e.blocks));
    best.map(|estimate| estimate.sat_per_kwu)
}

/// What it takes to be among the best-paying `blocks` blocks of what waits now; at least what the mempool takes.
fn of_mempool(seen: &FeesSeen, blocks: u32) -> u64 {
    let room = BLOCK_WEIGHT_WU.saturating_mul(u64::from(blocks));
    let mut bins: Vec<&FeeBin> = seen.mempool.iter().collect();
    bins.sort_by_key(|bin| std::cmp::Reverse(bin.sat_per_kwu));
    let mut above: u64 = 0;
    for bin in bins {
        above = above.saturating_add(bin.weight_wu);
        if above > room {
            return bin
                .sat_per_kwu
                .saturating_add(1)
                .max(seen.minimum_sat_per_kwu);
        }
    }
    seen.minimum_sat_per_kwu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rail::FeeEstimate;

    const BOUNDS: FeeEstimation = FeeEstimation {
        floor_sat_per_kwu: 250,
        ceiling_sat_per_kwu: 10_000,
        block_interval: Span::secs(600),
        most_blocks: 144,
    };

    fn seen(estimates: &[(u32, u64)], mempool: &[(u64, u64)], minimum: u64) -> FeesSeen {
        let estimate = |(blocks, sat_per_kwu): &(u32, u64)| FeeEstimate {
            blocks: *blocks,
            sat_per_kwu: *sat_per_kwu,
        };
        let bin = |(sat_per_kwu, weight_wu): &(u64, u64)| FeeBin {
            sat_per_kwu: *sat_per_kwu,
            weight_wu: *weight_wu,
        };
        FeesSeen {
            estimates: estimates.iter().map(estimate).collect(),
            mempool: mempool.iter().map(bin).collect(),
            minimum_sat_per_kwu: minimum,
        }
    }

    #[test]
    fn the_source_that_decides_is_named() {
        let node = [(1, 4_000), (6, 2_000), (144, 500)];
        let full = [(3_000, 5_000_000), (1_000, 30_000_000)];
        for (name, seen, blocks, rate, source) in [
            (
                "node above mempool",
                seen(&node, &[], 25),
                6,
                2_020,
                FeeSource::Node,
            ),
            (
                "between two targets the faster counts",
                seen(&node, &[], 25),
                7,
                2_020,
                FeeSource::Node,
            ),
            (
                "no target that short: the shortest",
                seen(&node[1..], &[], 25),
                1,
                2_020,
                FeeSource::Node,
            ),
            (
                "a full mempool above a sleepy node",
                seen(&[(1, 300)], &full, 25),
                1,
                3_032,
                FeeSource::Mempool,
            ),
            (
                "who can wait needs less",
                seen(&[], &full, 25),
                4,
                1_012,
                FeeSource::Mempool,
            ),
            (
                "room for all: what the mempool takes",
                seen(&[], &full, 600),
                100,
                606,
                FeeSource::Mempool,
            ),
            (
                "outside asks for less than the floor",
                seen(&[(1, 30)], &[], 25),
                1,
                250,
                FeeSource::Floor,
            ),
            (
                "a lie is bounded",
                seen(&[(1, u64::MAX)], &[], 25),
                1,
                10_000,
                FeeSource::Ceiling,
            ),
        ] {
            let chosen = choose(&BOUNDS, Some(&seen), blocks, 500);
            assert_eq!(
                (chosen.sat_per_kwu, chosen.source),
                (rate, source),
                "{name}"
            );
        }
        let blind = choose(&BOUNDS, None, 3, 500);
        assert_eq!(
            (blind.sat_per_kwu, blind.source),
            (500, FeeSource::Fallback)
        );
        let blind = choose(&BOUNDS, None, 3, 90_000);
        assert_eq!(blind.sat_per_kwu, 10_000, "the fixed rate is bounded, too");
    }

    #[test]
    fn the_nearer_the_deadline_the_fewer_blocks_are_left() {
        let left =
            |secs: u64, depth| blocks_left(&BOUNDS, Timestamp(0), Timestamp(secs * 1_000), depth);
        assert_eq!(left(3_600, 1), 6);
        assert_eq!(left(3_600, 3), 4, "the deadline is that of the depth");
        assert_eq!(left(3_590, 1), 6, "a moment less is no block less");
        assert_eq!(left(299, 1), 1);
        assert_eq!(left(0, 6), 1, "overdue");
        assert_eq!(left(86_400 * 30, 1), 144);
    }
}
