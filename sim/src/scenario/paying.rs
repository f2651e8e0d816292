//! Owns what a scenario says about how the operator pays on chain (`policy.paying`), checked. Does not own the text that
//! it came from (`text`) nor what the engine makes of it.

use super::choice::Bumping;
use super::units::{Feerate, Millis, Sat};

/// What of the engine's `policy::Paying` the scenario sets; nothing: one transaction for each payout, at a fixed feerate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayingOverrides {
    /// Fees are estimated, between these two, both above zero, ascending.
    pub estimate: Option<(Feerate, Feerate)>,
    /// The most that one payout may cost in miner's fees, above zero.
    pub budget: Option<Sat>,
    /// What is done about a transaction that offers too little; only with `estimate`.
    pub bump: Option<Bumping>,
    /// How long payouts wait for each other, above zero.
    pub window: Option<Millis>,
    /// The most payouts in one transaction, above zero.
    pub most: Option<u32>,
    /// From so many coins on (at least 2), up to this feerate, many become one.
    pub consolidate: Option<(u32, Feerate)>,
}

impl PayingOverrides {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == PayingOverrides::default()
    }
}
