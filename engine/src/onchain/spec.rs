//! Owns what one of our wallets is: its name, what it is for, whom it serves, its descriptors, and who has its keys.
//! Does not own what lies in it (`Onchain`).

use super::{Cosigners, Descriptors};
use crate::id::{PartyId, WalletId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a wallet is for. Coins of different purposes are never spent in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Pays and is paid day by day.
    Hot,
    /// Keeps what the day does not need.
    Savings,
    /// High value, with keys of several people.
    Multisig,
    /// Funds channels.
    Lightning,
    /// Takes what charges bring in.
    Deposits,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 5] = [
        Purpose::Hot,
        Purpose::Savings,
        Purpose::Multisig,
        Purpose::Lightning,
        Purpose::Deposits,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Hot => "hot",
            Purpose::Savings => "savings",
            Purpose::Multisig => "multisig",
            Purpose::Lightning => "lightning",
            Purpose::Deposits => "deposits",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a wallet serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The operator: its coins serve every party.
    Operator,
    /// One party: its coins serve that party alone.
    Party(PartyId),
}

/// Who has the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Custody {
    /// The signer behind the host's port.
    Signer,
    /// Several people, of whom some must sign.
    Cosigners(Cosigners),
}

/// A wallet to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletSpec {
    /// New.
    pub name: WalletId,
    /// What it is for.
    pub purpose: Purpose,
    /// Whom it serves.
    pub owner: Owner,
    /// Its public descriptors.
    pub descriptors: Descriptors,
    /// Who has its keys.
    pub custody: Custody,
}

impl WalletSpec {
    /// Who must sign, if several people have the keys.
    pub fn cosigners(&self) -> Option<&Cosigners> {
        match &self.custody {
            Custody::Signer => None,
            Custody::Cosigners(cosigners) => Some(cosigners),
        }
    }

    /// The wallet that the engine begins with.
    pub fn hot(descriptors: Descriptors) -> WalletSpec {
        WalletSpec {
            name: WalletId::hot(),
            purpose: Purpose::Hot,
            owner: Owner::Operator,
            descriptors,
            custody: Custody::Signer,
        }
    }
}
