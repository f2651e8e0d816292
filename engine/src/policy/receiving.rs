//! Owns what the operator decides about money on chain that is not as asked, and about money that a reorganisation took back
//! after it was spent. Does not own what is booked (`payments`).

use crate::money::Sat;
use serde::{Deserialize, Serialize};

/// What is done with money that came for a charge and does not pay it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposal {
    /// It is set apart until a person decides.
    Suspense,
    /// The party is credited with it.
    Credit,
    /// It is sent to the charge's refund address, less the miner's fee; without such an address it is set apart.
    Refund,
}

/// What is done with each kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// Came in time and did not suffice.
    pub partial: Disposal,
    /// What a settled charge got beyond its amount.
    pub over: Disposal,
    /// Came after the charge had failed.
    pub late: Disposal,
    /// Came after the charge was settled.
    pub double: Disposal,
}

impl Stray {
    /// The same for every kind.
    pub const fn all(disposal: Disposal) -> Stray {
        Stray {
            partial: disposal,
            over: disposal,
            late: disposal,
            double: disposal,
        }
    }
}

/// Who bears what a party has spent and a reorganisation took back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortfall {
    /// The party owes it, up to a limit; the operator bears the rest.
    Receivable {
        /// The most that one party may owe.
        limit: Sat,
    },
    /// The operator bears all of it.
    Operator,
    /// The party owes all of it and is paid nothing out while it does.
    Freeze,
}
