//! Owns what the operator decides about reputation: in whose name outcomes are stated, and the rule by which a party's score
//! follows from them. The rule is data: weights, half-life, bounds. Does not own which outcome a payment has.

use crate::id::Did;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a payment ended, as it is stated about the party whose account it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Paid.
    Settled,
    /// Paid after its deadline.
    Late,
    /// What was stated before does not hold any more, and how it ends is open again.
    Withdrawn,
    /// Paid, and then sent back.
    Reversed,
    /// Not paid, by the party's doing.
    FailedBySubject,
    /// Not paid, by the doing of who stands outside.
    FailedByCounterparty,
    /// Not paid, by the operator's doing.
    FailedByOperator,
    /// Not paid, because no way was found.
    FailedByNetwork,
}

/// How a score follows from outcomes. An outcome counts with its weight, which falls by half in each half-life and in a
/// straight line in between; weights, start and bounds are in points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRule {
    /// Of a party about whom nothing is stated.
    pub start: i64,
    /// No score is lower.
    pub floor: i64,
    /// No score is higher.
    pub ceiling: i64,
    /// Above zero.
    pub half_life: Span,
    /// What is not in it counts nothing.
    pub weights: BTreeMap<Outcome, i64>,
}

/// What Layer 0 is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReputationPolicy {
    /// The operator's DID (did:key, secp256k1), in whose name outcomes are stated.
    pub issuer: Did,
    /// How a score follows from them.
    pub score: ScoreRule,
}

/// Scores are added up in thousandths of a point.
const PARTS: i128 = 1_000;

/// After so many half-lives nothing is left of any weight.
const LONGEST: u64 = 63;

impl ScoreRule {
    /// Values for regtest and simulation; every number's reason is beside it.
    pub fn regtest_default() -> ScoreRule {
        let weights = BTreeMap::from([
            (Outcome::Settled, 10),
            // Paid, but nobody could rely on it.
            (Outcome::Late, 5),
            // As much as a payment had brought.
            (Outcome::Reversed, -10),
            // Two good payments make up for one failure of the party's own.
            (Outcome::FailedBySubject, -20),
            // What others do is not held against the party.
            (Outcome::FailedByCounterparty, 0),
            (Outcome::FailedByOperator, 0),
            (Outcome::FailedByNetwork, 0),
        ]);
        ScoreRule {
            // The middle, as of somebody unknown.
            start: 500,
            floor: 0,
            ceiling: 1_000,
            // 90 days: what is a year old counts a sixteenth.
            half_life: Span::secs(7_776_000),
            weights,
        }
    }

    /// The score at `now` after these outcomes, each with its time; an outcome that was corrected is not among them.
    /// Rounded to the nearest point, halves upwards.
    pub fn score(
        &self,
        outcomes: impl Iterator<Item = (Outcome, Timestamp)>,
        now: Timestamp,
    ) -> i64 {
        let parts = outcomes.fold(0_i128, |sum, (outcome, at)| {
            sum.saturating_add(self.counts(outcome, now.since(at)))
        });
        let nearest = parts.saturating_add(PARTS.checked_div(2).unwrap_or(0));
        let points = i64::try_from(nearest.div_euclid(PARTS)).unwrap_or(i64::MAX);
        // Not `clamp`: it panics on bounds that are the wrong way round.
        let score = self.start.saturating_add(points);
        score.min(self.ceiling).max(self.floor)
    }

    /// In thousandths of a point.
    fn counts(&self, outcome: Outcome, age: Span) -> i128 {
        let weight = self.weights.get(&outcome).copied().unwrap_or(0);
        let halvings = age.0.checked_div(self.half_life.0).unwrap_or(u64::MAX);
        if halvings > LONGEST {
            return 0;
        }
        let rest = age.0.checked_rem(self.half_life.0).unwrap_or(0);
        let twice = i128::from(self.half_life.0).saturating_mul(2);
        let left = twice.saturating_sub(i128::from(rest));
        let whole = i128::from(weight)
            .saturating_mul(PARTS)
            .saturating_mul(left);
        let halved = 1_i128
            .checked_shl(u32::try_from(halvings).unwrap_or(u32::MAX))
            .unwrap_or(i128::MAX);
        whole.checked_div(twice.saturating_mul(halved)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_LIFE: u64 = 1_000;

    fn rule() -> ScoreRule {
        ScoreRule {
            half_life: Span(HALF_LIFE),
            ..ScoreRule::regtest_default()
        }
    }

    fn score(outcomes: &[(Outcome, u64)], now: u64) -> i64 {
        let told = outcomes
            .iter()
            .map(|(outcome, at)| (*outcome, Timestamp(*at)));
        rule().score(told, Timestamp(now))
    }

    #[test]
    fn weights_fall_by_half_and_in_a_straight_line_between() {
        let failed = [(Outcome::FailedBySubject, 0)];
        for (now, expected) in [
            (0, 480),
            (250, 483), // 17.5, and halves go upwards
            (500, 485),
            (1_000, 490),
            (1_500, 493), // 7.5
            (2_000, 495),
            (4_000, 499),
            (64_000, 500),
            (u64::MAX, 500),
        ] {
            assert_eq!(score(&failed, now), expected, "at {now}");
        }
    }

    #[test]
    fn what_counts_adds_up_within_the_bounds() {
        let settled = |times: usize| vec![(Outcome::Settled, 0); times];
        assert_eq!(score(&[], 0), 500);
        assert_eq!(score(&settled(3), 0), 530);
        assert_eq!(score(&settled(70), 0), 1_000);
        assert_eq!(score(&[(Outcome::FailedBySubject, 0); 30], 0), 0);
        let mixed = [
            (Outcome::Settled, 0),
            (Outcome::Late, 1_000),
            (Outcome::FailedByNetwork, 1_000),
            (Outcome::Withdrawn, 1_000),
        ];
        assert_eq!(score(&mixed, 1_000), 510);
        // An outcome from the future, by a clock that was put back, counts whole.
        assert_eq!(score(&[(Outcome::Settled, 5_000)], 0), 510);
    }

    #[test]
    fn a_rule_without_a_half_life_counts_nothing_that_is_over() {
        let rule = ScoreRule {
            half_life: Span(0),
            ..ScoreRule::regtest_default()
        };
        let told = [(Outcome::Settled, Timestamp(0))];
        assert_eq!(rule.score(told.into_iter(), Timestamp(1)), 500);
    }
}
