//! Owns the engine's policy in a run: regtest's defaults with the scenario's overrides. Does not own the defaults (the engine).

use super::{paying, words};
use crate::model::purpose;
use crate::prng::RootSeed;
use crate::scenario::{PolicyOverrides, Scenario};
use crate::worlds::keys;
use lockstep_engine::id::WalletId;
use lockstep_engine::money::Sat;
use lockstep_engine::policy::{
    DepthStep, Policy, Rate, ReputationPolicy, ScoreRule, Stray, WalletStep,
};
use lockstep_engine::time::Span;

/// The engine's policy: regtest's defaults with the scenario's overrides.
pub(super) fn policy(scenario: &Scenario, seed: RootSeed) -> Policy {
    let mut policy = Policy::regtest_default();
    let overrides = &scenario.policy;
    policy.channels = overrides.channels;
    policy.reputation = overrides.reputation.then(|| ReputationPolicy {
        issuer: keys::operator_did(seed),
        score: ScoreRule::regtest_default(),
    });
    if let Some(feerate) = overrides.feerate {
        policy.onchain_feerate_sat_per_kwu = feerate.get();
    }
    if let Some(asked) = overrides.binding {
        policy.binding.asked = words::binding_asked(asked);
    }
    let by_value = overrides.wallet_by_value.iter();
    policy.wallet_by_value = by_value
        .map(|(from, wallet)| WalletStep {
            from_sat: Sat(from.get()),
            wallet: WalletId::new(wallet.as_str()).expect("checked with the scenario"),
        })
        .collect();
    if let Some(patience) = overrides.cosigner_patience {
        policy.cosigner_patience = Span(patience.get());
    }
    if let Some(depth) = overrides.payout_depth {
        policy.payout_depth = depth.get() as u32;
    }
    if let Some(word) = overrides.charges_into {
        policy.charges_into = purpose(word);
    }
    if let Some(word) = overrides.payouts_from {
        policy.payouts_from = purpose(word);
    }
    if let Some(margin) = overrides.hold_margin {
        policy.hold_margin_blocks = margin.get() as u32;
    }
    if let Some(interval) = overrides.poll_interval {
        policy.poll_interval = Span(interval.get());
    }
    if let Some(rate) = overrides.rate {
        policy.rate = Rate {
            cents: rate.get(),
            btc: 1,
        };
    }
    if let Some(depth) = &overrides.depth {
        let mut from = 0;
        policy.depth_by_value.clear();
        for (below, blocks) in &depth.below {
            policy.depth_by_value.push(DepthStep {
                from_sat: Sat(from),
                confirmations: blocks.get() as u32,
            });
            from = below.get();
        }
        policy.depth_by_value.push(DepthStep {
            from_sat: Sat(from),
            confirmations: depth.otherwise.get() as u32,
        });
    }
    policy.paying = paying::paying(&overrides.paying);
    receiving(&mut policy, overrides);
    policy
}

/// What becomes of money that is not as asked, or was taken back.
fn receiving(policy: &mut Policy, overrides: &PolicyOverrides) {
    if let Some(stray) = &overrides.stray {
        policy.stray = Some(Stray {
            partial: words::disposal(stray.partial),
            over: words::disposal(stray.over),
            late: words::disposal(stray.late),
            double: words::disposal(stray.double),
        });
    }
    if let Some(tolerance) = overrides.tolerance {
        policy.charge_tolerance = Sat(tolerance.get());
    }
    policy.max_tip_age = overrides.max_tip_age.map(|age| Span(age.get()));
    policy.shortfall = overrides.shortfall.map(words::shortfall);
}
