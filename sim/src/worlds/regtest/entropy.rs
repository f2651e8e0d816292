//! Owns the engine's entropy in the regtest world: a stream of the root seed. Does not own any other draw.

use crate::prng::Stream;
use lockstep_engine::rail::Entropy;
use lockstep_host::ports::EntropySource;
use std::sync::Mutex;

/// A stream of the root seed as the engine's entropy.
pub(super) struct SeededEntropy(pub(super) Mutex<Stream>);

impl EntropySource for SeededEntropy {
    fn draw(&self) -> Entropy {
        Entropy(self.0.lock().expect("no holder panics").bytes())
    }
}
