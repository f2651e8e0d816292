//! Owns what one of our wallets is: its name, what it is for, whom it serves, its descriptors, and who has its keys.
//! Does not own what lies in it (`Onchain`).

use super::{Cosigners, Descriptors, LOOKAHEAD_SCRIPTS};
use crate::id::{PartyId, WalletId};
use crate::policy::Purpose;
use serde::{Deserialize, Serialize};

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
    /// Addresses that may be given out in a row without one being paid; a wallet that is restored from its descriptors
    /// looks no further (BIP 44).
    pub gap_limit: u32,
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
            gap_limit: LOOKAHEAD_SCRIPTS,
        }
    }
}
