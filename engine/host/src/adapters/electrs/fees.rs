//! Owns the question about fees to an Electrum server, and what its answers mean in satoshi per 1,000 weight units. Does not
//! own the connection (`electrs`).

use bdk_electrum::electrum_client::{Client, ElectrumApi, Error as ElectrumError};
use lockstep_engine::rail::{FeeBin, FeeEstimate, FeesSeen};

/// Targets that Bitcoin Core estimates apart: beyond a day its estimates hardly differ.
const TARGETS: [u16; 6] = [2, 3, 6, 12, 36, 144];

/// The node's estimates (`blockchain.estimatefee`; it says -1 or nothing when it has seen too little), the mempool by
/// feerate (`mempool.get_fee_histogram`: pairs of sat/vB and virtual bytes) and the relay minimum.
pub(super) fn ask(client: &Client) -> Result<FeesSeen, ElectrumError> {
    let mut estimates = Vec::new();
    for blocks in TARGETS {
        // A server without an estimate answers in the form of an error or of a number that is none.
        match client.estimate_fee(usize::from(blocks)) {
            Ok(btc_per_kvb) => {
                estimates.extend(per_kwu(btc_per_kvb * 1e5).map(|sat_per_kwu| FeeEstimate {
                    blocks: u32::from(blocks),
                    sat_per_kwu,
                }))
            }
            Err(
                ElectrumError::Protocol(_)
                | ElectrumError::JSON(_)
                | ElectrumError::InvalidResponse(_),
            ) => {}
            Err(error) => return Err(error),
        }
    }
    let histogram = client.raw_call("mempool.get_fee_histogram", std::iter::empty())?;
    let pairs: Vec<(f64, u64)> = serde_json::from_value(histogram).map_err(ElectrumError::JSON)?;
    let bin = |(sat_per_vb, vsize): &(f64, u64)| {
        Some(FeeBin {
            sat_per_kwu: per_kwu(*sat_per_vb)?,
            weight_wu: vsize.saturating_mul(4),
        })
    };
    let minimum = client.relay_fee()?;
    Ok(FeesSeen {
        estimates,
        mempool: pairs.iter().filter_map(bin).collect(),
        minimum_sat_per_kwu: per_kwu(minimum * 1e5).unwrap_or(0),
    })
}

/// sat/vB as satoshi per 1,000 weight units, rounded up; `None` for what is no feerate.
fn per_kwu(sat_per_vb: f64) -> Option<u64> {
    // A thousandth of a unit is the noise of a binary fraction, not a feerate.
    let rounded = (sat_per_vb * 250.0 - 0.001).ceil();
    let is_rate = sat_per_vb.is_finite() && sat_per_vb >= 0.0 && rounded < 1e15;
    is_rate.then_some(rounded.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::per_kwu;

    #[test]
    fn a_feerate_is_rounded_up_and_what_is_none_is_none() {
        assert_eq!(per_kwu(1.0), Some(250));
        assert_eq!(per_kwu(0.000_01 * 1e5), Some(250), "1 sat/vB as BTC/kvB");
        assert_eq!(per_kwu(1.001), Some(251));
        assert_eq!(per_kwu(0.1), Some(25));
        for none in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(per_kwu(none), None, "{none}");
        }
    }
}
