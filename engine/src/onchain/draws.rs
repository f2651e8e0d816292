//! Owns the random draws of one build: a stream of SHA-256 blocks from the input's entropy.
//! Does not own entropy itself; the same 32 bytes always give the same stream.

use crate::rail::Entropy;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::rand::{Error, RngCore};

const BLOCK_BYTES: usize = 32;

/// SHA-256(domain, entropy, 0), SHA-256(domain, entropy, 1), ...
pub(super) struct Draws {
    entropy: Entropy,
    next_block: u64,
    block: [u8; BLOCK_BYTES],
    used: usize,
}

impl Draws {
    pub(super) const fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            next_block: 0,
            block: [0; BLOCK_BYTES],
            used: BLOCK_BYTES,
        }
    }

    fn next_byte(&mut self) -> u8 {
        if self.used == BLOCK_BYTES {
            let mut engine = sha256::Hash::engine();
            engine.input(b"lockstep/onchain/draws");
            engine.input(&self.entropy.0);
            engine.input(&self.next_block.to_be_bytes());
            self.block = sha256::Hash::from_engine(engine).to_byte_array();
            self.next_block = self.next_block.wrapping_add(1);
            self.used = 0;
        }
        let byte = self.block[self.used];
        self.used = self.used.saturating_add(1);
        byte
    }
}

impl RngCore for Draws {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        for byte in destination {
            *byte = self.next_byte();
        }
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_follows_from_the_entropy_alone() {
        let draw = |seed: u8| {
            let mut bytes = [0; 80];
            Draws::new(Entropy([seed; 32])).fill_bytes(&mut bytes);
            bytes
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[..32], draw(1)[32..64], "blocks differ");
    }
}
