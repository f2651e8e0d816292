//! Owns I4: what both ends of a channel hold, and what is in its HTLCs, is its capacity, to the millisatoshi.

use super::{Invariant, Looks, Settled};

/// I4.
pub(super) struct ChannelConservation;

impl Invariant for ChannelConservation {
    fn name(&self) -> &'static str {
        "channel-conservation"
    }

    fn looks(&self) -> Looks {
        Looks {
            after_step: false,
            after_refusal: false,
            at_rest: true,
        }
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        for channel in settled.channels {
            let held: u64 = channel
                .balance_msat
                .iter()
                .chain(&channel.in_flight_msat)
                .sum();
            let capacity = channel.capacity_sat * 1_000;
            if held != capacity {
                return Err(format!(
                    "channel {} holds {held} msat of its {capacity} msat: {channel:?}",
                    channel.name
                ));
            }
        }
        Ok(())
    }
}
