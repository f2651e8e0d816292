//! Owns the names of accounts and which asset each one holds. Assets have positive balances, liabilities negative ones.
//! Does not own balances.

use crate::id::{PartyId, PaymentId, WalletId};
use crate::money::{Asset, Rail};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An account of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What we owe a party (liability).
    Party {
        /// Whom.
        party: PartyId,
        /// In what.
        asset: Asset,
    },
    /// The coins of one of our wallets (asset, msat).
    ChainWallet {
        /// Which.
        wallet: WalletId,
    },
    /// On-chain money for a charge that is not deep enough yet (liability, msat).
    Incoming {
        /// The charge.
        payment: PaymentId,
    },
    /// Money of a payout whose transaction has left the chain again (liability, msat).
    Outgoing {
        /// The payout.
        payment: PaymentId,
    },
    /// What a party owes us since a reorganisation took back what it had spent (asset, msat).
    Receivable {
        /// Whose debt.
        party: PartyId,
    },
    /// As `Receivable`, of a party that is paid nothing out meanwhile (asset, msat).
    Frozen {
        /// Whose debt.
        party: PartyId,
    },
    /// What a reorganisation took back after a party had spent it, borne by the operator (expense, msat).
    Loss {
        /// Who had spent it.
        party: PartyId,
    },
    /// Our side of the channels (asset, msat).
    LightningChannels,
    /// What was ours in channels that are closed and has not come into the node's wallet (asset, msat).
    LightningClosing,
    /// What opening, closing and sweeping channels has cost: miners' fees, anchors, dust (expense, msat).
    ChannelCosts,
    /// Coins of our Lightning node's own wallet (asset, msat).
    NodeWallet,
    /// Our account at the gateway (asset, cents).
    Gateway,
    /// The operator's position in bought and sold currency.
    Fx {
        /// In what.
        asset: Asset,
    },
    /// Fees that no party bears (expense).
    Fees {
        /// Where.
        rail: Rail,
    },
    /// The operator's own money (liability).
    Equity {
        /// In what.
        asset: Asset,
    },
    /// Money that nobody can be named for (liability).
    Suspense {
        /// Where it lies.
        rail: Rail,
    },
}

impl Account {
    /// What the account holds.
    pub const fn asset(&self) -> Asset {
        match self {
            Account::Party { asset, .. } | Account::Fx { asset } | Account::Equity { asset } => {
                *asset
            }
            Account::ChainWallet { .. }
            | Account::Incoming { .. }
            | Account::Outgoing { .. }
            | Account::Receivable { .. }
            | Account::Frozen { .. }
            | Account::Loss { .. }
            | Account::LightningChannels
            | Account::LightningClosing
            | Account::ChannelCosts
            | Account::NodeWallet => Asset::Btc,
            Account::Gateway => Asset::Eur,
            Account::Fees { rail } | Account::Suspense { rail } => rail.asset(),
        }
    }
}

/// For instance `party/alice/BTC`, `chain-wallet/hot`, `suspense/onchain`.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Party { party, asset } => write!(f, "party/{party}/{asset}"),
            Account::ChainWallet { wallet } => write!(f, "chain-wallet/{wallet}"),
            Account::Incoming { payment } => write!(f, "incoming/{payment}"),
            Account::Outgoing { payment } => write!(f, "outgoing/{payment}"),
            Account::Receivable { party } => write!(f, "receivable/{party}"),
            Account::Frozen { party } => write!(f, "frozen/{party}"),
            Account::Loss { party } => write!(f, "loss/{party}"),
            Account::LightningChannels => f.write_str("lightning-channels"),
            Account::LightningClosing => f.write_str("lightning-closing"),
            Account::ChannelCosts => f.write_str("fees/channels"),
            Account::NodeWallet => f.write_str("node-wallet"),
            Account::Gateway => f.write_str("gateway"),
            Account::Fx { asset } => write!(f, "fx/{asset}"),
            Account::Fees { rail } => write!(f, "fees/{rail}"),
            Account::Equity { asset } => write!(f, "equity/{asset}"),
            Account::Suspense { rail } => write!(f, "suspense/{rail}"),
        }
    }
}
