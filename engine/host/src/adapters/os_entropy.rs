//! Owns the operating system's random numbers as a port. Does not own seeded streams (the harness).

use crate::ports::EntropySource;
use bitcoin::secp256k1::rand::{RngCore, rngs::OsRng};
use lockstep_engine::rail::Entropy;

/// Draws from the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl EntropySource for OsEntropy {
    fn draw(&self) -> Entropy {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        Entropy(bytes)
    }
}
