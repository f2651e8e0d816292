//! Owns what the engine's policy becomes by a scenario's `policy.paying`. Does not own the rest of the policy.

use crate::scenario::{self, Feerate, PayingOverrides};
use lockstep_engine::money::Sat;
use lockstep_engine::policy::{Bumping, Consolidation, FeeEstimation, Paying};
use lockstep_engine::time::Span;

/// The engine's default with the scenario's overrides.
pub(super) fn paying(overrides: &PayingOverrides) -> Paying {
    let mut paying = Paying::plainly();
    let between =
        |(floor, ceiling): (Feerate, Feerate)| FeeEstimation::between(floor.get(), ceiling.get());
    paying.estimation = overrides.estimate.map(between);
    paying.fee_budget = overrides.budget.map(|budget| Sat(budget.get()));
    paying.bumping = match overrides.bump {
        None | Some(scenario::Bumping::Off) => Bumping::Off,
        Some(scenario::Bumping::Replace) => Bumping::Replace,
        Some(scenario::Bumping::Child) => Bumping::Child,
    };
    if let Some(window) = overrides.window {
        paying.batching.window = Span(window.get());
    }
    if let Some(most) = overrides.most {
        paying.batching.most = most;
    }
    let consolidation = |(from_coins, cheap): (u32, Feerate)| Consolidation {
        from_coins,
        up_to_sat_per_kwu: cheap.get(),
    };
    paying.consolidation = overrides.consolidate.map(consolidation);
    paying
}
