//! The feerate of each purpose, as `ldk-node` 0.7.1 would have it from one electrum estimate.
//!
//! Owns the translation from the estimate to LDK's confirmation targets. Does not estimate anything itself.
//!
//! On regtest electrum knows no estimate and `ldk-node` falls back to 1 sat/vB = 250 sat/kWU, which is then raised to LDK's
//! floor of 253 wherever it is read; only the maximum that is accepted of a peer becomes 250 * 11 / 10 + 2500 = 2775.

use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::FeeRate;
use lightning::chain::chaininterface::{
    ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};

/// What the electrum back end falls back to: 1 sat/vB, in satoshi per 1000 weight units.
const NO_ESTIMATE_SAT_PER_KWU: u64 = 250;

/// One estimate, in satoshi per 1000 weight units, from which the feerate of every purpose follows.
pub(crate) struct FeeSource {
    estimate_sat_per_kwu: AtomicU64,
}

impl FeeSource {
    pub(crate) fn new() -> Self {
        FeeSource {
            estimate_sat_per_kwu: AtomicU64::new(NO_ESTIMATE_SAT_PER_KWU),
        }
    }

    /// Replaces the estimate; anything below 1 sat/vB counts as no estimate.
    pub(crate) fn set_estimate(&self, sat_per_kwu: u64) {
        self.estimate_sat_per_kwu
            .store(sat_per_kwu.max(NO_ESTIMATE_SAT_PER_KWU), Ordering::Relaxed);
    }

    /// The feerate of funding transactions and of payments on chain: the estimate, at least LDK's floor.
    pub(crate) fn wallet_feerate(&self) -> FeeRate {
        FeeRate::from_sat_per_kwu(self.estimate().max(u64::from(FEERATE_FLOOR_SATS_PER_KW)))
    }

    fn estimate(&self) -> u64 {
        self.estimate_sat_per_kwu.load(Ordering::Relaxed)
    }
}

impl FeeEstimator for FeeSource {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        let adjusted = match target {
            ConfirmationTarget::MaximumFeeEstimate => {
                self.estimate().saturating_mul(11) / 10 + 2500
            }
            ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => {
                self.estimate().saturating_sub(250)
            }
            _ => self.estimate(),
        };
        u32::try_from(adjusted)
            .unwrap_or(u32::MAX)
            .max(FEERATE_FLOOR_SATS_PER_KW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regtest_feerates_equal_those_of_ldk_node_behind_electrum() {
        let fees = FeeSource::new();
        assert_eq!(fees.wallet_feerate().to_sat_per_kwu(), 253);
        for (target, expected) in [
            (ConfirmationTarget::MaximumFeeEstimate, 2775),
            (ConfirmationTarget::UrgentOnChainSweep, 253),
            (ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee, 253),
            (ConfirmationTarget::AnchorChannelFee, 253),
            (ConfirmationTarget::OutputSpendingFee, 253),
        ] {
            assert_eq!(
                fees.get_est_sat_per_1000_weight(target),
                expected,
                "{target:?}"
            );
        }
    }

    #[test]
    fn an_estimate_moves_every_target() {
        let fees = FeeSource::new();
        fees.set_estimate(1000);
        assert_eq!(
            fees.get_est_sat_per_1000_weight(ConfirmationTarget::MaximumFeeEstimate),
            3600
        );
        assert_eq!(
            fees.get_est_sat_per_1000_weight(
                ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee
            ),
            750
        );
        assert_eq!(
            fees.get_est_sat_per_1000_weight(ConfirmationTarget::AnchorChannelFee),
            1000
        );
        assert_eq!(fees.wallet_feerate().to_sat_per_kwu(), 1000);
    }
}
