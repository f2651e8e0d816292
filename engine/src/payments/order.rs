//! Owns the two orders that make a payment: a charge and a payout, as a caller gives them.
//! Does not own whether they are accepted (`charge`, `payout`).

use crate::escrow::EscrowTerms;
use crate::id::{PartyId, PaymentId, WalletId};
use crate::money::{Asset, Msat, Quantity};
use crate::rail::{Description, Rail};
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
    /// What else it asks.
    #[serde(default, skip_serializing_if = "ChargeTerms::is_usual")]
    pub terms: ChargeTerms,
    /// Its money waits for an agent's decision; over Lightning that makes it a hold invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escrow: Option<EscrowTerms>,
}

impl Charge {
    /// Whether its money waits for a decision when it is there.
    pub(super) fn is_held(&self) -> bool {
        self.hold || self.escrow.is_some()
    }
}

/// What a charge asks beside money, party and time. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChargeTerms {
    /// Over Lightning: the payer says how much, at least the policy's least; `amount_msat` is zero.
    pub any_amount: bool,
    /// What the invoice says that it is for. Default: the payment's id.
    pub description: Option<Description>,
    /// On chain: it may be paid by an invoice as well. Whichever way pays first settles it.
    pub invoice_too: bool,
}

impl ChargeTerms {
    fn is_usual(&self) -> bool {
        *self == ChargeTerms::default()
    }
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
    /// What else is asked of it.
    #[serde(default, skip_serializing_if = "PayoutTerms::is_usual")]
    pub terms: PayoutTerms,
    /// On chain only, where the policy asks for a binding: whose bound wallet is paid. Default `party`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<PartyId>,
    /// On chain only: the wallet whose coins pay. Default `hot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletId>,
}

/// What is asked of a payout beside money, payee and deadline. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PayoutTerms {
    /// Over Lightning: the most for routing fees, in place of the policy's limit.
    pub max_fee_msat: Option<Msat>,
    /// Over Lightning: how long the node looks for other ways when one fails, in whole seconds, begun ones counting in full. Default:
    /// as long as the node does by itself.
    pub retry_for: Option<Span>,
}

impl PayoutTerms {
    fn is_usual(&self) -> bool {
        *self == PayoutTerms::default()
    }
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
