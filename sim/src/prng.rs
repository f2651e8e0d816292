//! Owns the named random sub-streams of the root seed: a new draw in one place does not reshuffle the others.
//! Does not own the scheduler's own draws (madsim takes the same root seed for those).

use bitcoin::hashes::{Hash, sha256};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The seed of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootSeed(pub u64);

/// One named stream of draws.
pub struct Stream(ChaCha20Rng);

impl RootSeed {
    /// 32 bytes that depend on the seed and the name only (keys, for instance).
    pub fn bytes(self, name: &str) -> [u8; 32] {
        let mut message = self.0.to_le_bytes().to_vec();
        message.extend_from_slice(name.as_bytes());
        sha256::Hash::hash(&message).to_byte_array()
    }

    /// The stream of that name, from its beginning.
    pub fn stream(self, name: &str) -> Stream {
        Stream(ChaCha20Rng::from_seed(self.bytes(name)))
    }
}

impl Stream {
    /// A number in `low..=high`, uniform up to a bias below 2^-32 for ranges under 2^32.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range was asked for: {low}..={high}");
        match (high - low).checked_add(1) {
            Some(width) => low + self.0.next_u64() % width,
            None => self.0.next_u64(),
        }
    }

    /// True in `parts_per_million` of a million draws.
    pub fn chance(&mut self, parts_per_million: u32) -> bool {
        self.between(0, 999_999) < u64::from(parts_per_million)
    }

    /// 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_and_repeatable() {
        let draw = |seed, name| RootSeed(seed).stream(name).between(0, u64::MAX);
        assert_eq!(draw(1, "links"), draw(1, "links"));
        assert_ne!(draw(1, "links"), draw(1, "faults"));
        assert_ne!(draw(1, "links"), draw(2, "links"));
    }

    #[test]
    fn between_reaches_both_ends() {
        let mut stream = RootSeed(7).stream("ends");
        let drawn: std::collections::BTreeSet<u64> =
            (0..200).map(|_| stream.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
