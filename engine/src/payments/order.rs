//! Owns the two orders that make a payment: a charge and a payout, as a caller gives them.
//! Does not own whether they are accepted (`charge`, `payout`).

use crate::id::{PartyId, PaymentId, WalletId};
use crate::money::{Asset, Msat, Quantity};
use crate::rail::Rail;
use crate::time::Span;
use serde::{Deserialize, Serialize};

/// A request for money to a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// New.
    pub payment: PaymentId,
    /// Who is credited.
    pub party: PartyId,
    /// How much (bitcoin; whole satoshi on chain).
    pub amount_msat: Msat,
    /// `Onchain` or `Lightning`.
    pub rail: Rail,
    /// Lightning only: keep it held until released or refused.
    pub hold: bool,
    /// Unpaid after this span, it expires.
    pub expires_in: Span,
    /// On chain only: the wallet that is paid. Default `hot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletId>,
    /// On chain only: where money goes back to that does not pay the charge, if the policy says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_to: Option<String>,
}

/// An order to pay somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payout {
    /// New.
    pub payment: PaymentId,
    /// Whose money.
    pub party: PartyId,
    /// Where to.
    pub destination: Destination,
    /// How much the payee gets. Euro over SEPA, bitcoin elsewhere; zero bitcoin with `all`.
    pub quantity: Quantity,
    /// On chain only: all that the party can spend at that moment, in whole satoshi, goes; the payee gets it less the miner's
    /// fee. Parts of a satoshi stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// What pays for it: the same asset, or bitcoin at the policy's rate for a euro payout.
    pub funded_by: Asset,
    /// It must be final by then.
    pub deadline: Span,
    /// On chain only, where the policy asks for a binding: whose bound wallet is paid. Default `party`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<PartyId>,
    /// On chain only: the wallet whose coins pay. Default `hot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletId>,
}

/// Where a payout goes; the rail follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// A BOLT 11 invoice.
    Invoice(String),
    /// A Bitcoin address.
    Address(String),
    /// An account in the SEPA area.
    Iban {
        /// IBAN (ISO 13616), spaces allowed.
        iban: String,
        /// Account holder.
        name: String,
    },
}
