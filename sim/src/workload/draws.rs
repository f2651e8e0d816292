//! Owns the few ways in which plans draw: a number, a chance, one of several, one by weight. Does not own the streams (`prng`).

use crate::prng::{RootSeed, Stream};

/// One named stream of a plan's draws.
pub(super) struct Draws(Stream);

impl Draws {
    /// The stream `plan/NAME` of a seed.
    pub(super) fn of(seed: RootSeed, name: &str) -> Draws {
        Draws(seed.stream(&format!("plan/{name}")))
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.between(low, high.max(low))
    }

    /// True in `percent` of a hundred draws.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.0.chance(percent * 10_000)
    }

    /// True in so many of a million draws.
    pub(super) fn ppm(&mut self, ppm: u32) -> bool {
        self.0.chance(ppm)
    }

    /// One of several, if there is any.
    pub(super) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        match all.len() as u64 {
            0 => None,
            count => all.get(self.between(0, count - 1) as usize),
        }
    }

    /// One of several by weight, if any has a weight.
    pub(super) fn weighted<T: Copy>(&mut self, all: &[(T, u32)]) -> Option<T> {
        let sum: u64 = all.iter().map(|(_, weight)| u64::from(*weight)).sum();
        if sum == 0 {
            return None;
        }
        let mut left = self.between(1, sum);
        for (what, weight) in all {
            if left <= u64::from(*weight) {
                return Some(*what);
            }
            left -= u64::from(*weight);
        }
        None
    }
}
