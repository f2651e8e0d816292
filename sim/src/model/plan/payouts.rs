//! Owns what a scenario's payouts must be answered, and what each takes off its party. Does not own what the party can spend
//! (`plan`).

use super::terms::payout_terms;
use super::{LOST, Move, Plan, id};
use crate::model::orders::{self, Prediction, Read, Why};
use crate::model::terms::MOST_MSAT;
use crate::scenario::{
    self, Action, Asset as PaidIn, InvoiceKind, OnchainAmount, PaidInvoice, Payee,
};
use lockstep_engine::api::{self, Destination, PayoutTerms};
use lockstep_engine::id::{PartyId, WalletId};
use lockstep_engine::money::{Asset, Minor, Msat, Quantity};
use lockstep_engine::time::Span;

/// The dust limit of the P2WPKH addresses that a scenario's wallets have, in satoshi (Bitcoin Core's).
const DUST_SAT: u64 = 294;

/// What a payout takes off its party, in the asset's smallest unit.
struct Takes {
    /// With less it is refused.
    needs: i128,
    least: i128,
    most: i128,
}

impl Takes {
    fn of(units: u64) -> Takes {
        let units = i128::from(units);
        Takes {
            needs: units,
            least: units,
            most: units,
        }
    }

    /// Whatever the party can spend, but for parts of a satoshi.
    fn all(needs: u64, (low, high): (i128, i128)) -> Takes {
        let needs = i128::from(needs);
        Takes {
            needs,
            least: needs.max(low - 999),
            most: needs.max(high),
        }
    }
}

/// The invoice is made when the step is taken, by a node of the scenario; or by nobody, and then it cannot be paid.
fn is_payable(invoice: &PaidInvoice) -> Result<bool, Why> {
    match invoice {
        PaidInvoice::Made(InvoiceKind::Plain | InvoiceKind::Open) => Ok(true),
        PaidInvoice::Made(InvoiceKind::Mistyped) => Err(Why::Malformed),
        PaidInvoice::Made(_) => Err(Why::InvoiceUnusable),
        // Whether it was made, and tried, shows when the step is taken.
        PaidInvoice::Of(_) => Ok(false),
    }
}

fn takes_all(payout: &scenario::Payout) -> bool {
    matches!(
        payout.payee,
        Payee::Wallet {
            amount: OnchainAmount::All,
            ..
        }
    )
}

impl<'a> Plan<'a> {
    pub(super) fn payout(&mut self, payout: &'a scenario::Payout) -> Prediction {
        let order = self.order(payout);
        let readable = match (&payout.payee, &order.destination) {
            (Payee::Node { invoice, .. }, _) => is_payable(invoice),
            (Payee::Wallet { amount, .. }, _) => self.is_sure(payout, *amount),
            (Payee::Account { .. }, _) => orders::destination(&order, bitcoin::Network::Regtest)
                .map(|read| !matches!(read, Read::Doubtful)),
        };
        let fit = match self.terms.wallet_is_fit(&order) {
            true => Ok(()),
            false => Err(Why::WalletUnfit),
        };
        let sure = match orders::payout(&order).and(fit).and(readable) {
            Ok(sure) => sure,
            Err(why) => return Prediction::Refused(why),
        };
        let named = match &payout.payee {
            Payee::Wallet { out_of, .. } => out_of.as_ref(),
            Payee::Node { .. } | Payee::Account { .. } => None,
        };
        if let Err(why) = self.serving(&payout.from, named, self.terms.payouts_from) {
            return Prediction::Refused(why);
        }
        let Some((asset, units)) = self.terms.hold(&order) else {
            return Prediction::Refused(Why::Amount);
        };
        if self.is_unbound(payout) {
            return Prediction::Refused(Why::Unbound);
        }
        let (low, high) = self.spendable(payout.from.as_str(), asset);
        let takes = match order.all {
            false => Takes::of(units),
            true => Takes::all(self.terms.least_of_all(DUST_SAT), (low, high)),
        };
        if high < takes.needs {
            return Prediction::Refused(Why::Funds);
        }
        let prediction = if self.may_get_lost(&payout.id) {
            Prediction::Either(LOST)
        } else if self.may_be_frozen() {
            Prediction::Either("whether the party is frozen")
        } else if low >= takes.needs
            && (!order.all || high <= i128::from(MOST_MSAT))
            && sure
            && !self.needs_binding(payout)
        {
            Prediction::Accepted
        } else {
            Prediction::Either("what the party can spend by then")
        };
        let stays = prediction == Prediction::Accepted && self.cannot_fail(payout);
        let made = Move {
            party: payout.from.as_str(),
            asset,
            low: -takes.most,
            high: if stays { -takes.least } else { 0 },
            amount: match order.all {
                true => takes.least,
                false => i128::from(order.quantity.units),
            },
            rail: payout.payee.rail(),
            is_charge: false,
            coming: 0,
            paid: false,
            held: false,
            escrow: false,
        };
        self.moves.insert(&payout.id, made);
        prediction
    }

    /// Whether the wallet that is paid must be bound, which is judged when the command is given.
    fn needs_binding(&self, payout: &scenario::Payout) -> bool {
        self.terms.asks_bound_payouts() && matches!(payout.payee, Payee::Wallet { .. })
    }

    fn order(&self, payout: &scenario::Payout) -> api::Payout {
        let (destination, quantity, funded_by) = match &payout.payee {
            Payee::Node { amount, .. } => {
                let quantity = Quantity::btc(Msat(amount.get()));
                (Destination::Invoice(String::new()), quantity, Asset::Btc)
            }
            Payee::Wallet { amount, .. } => {
                let sat = match amount {
                    OnchainAmount::Exactly(amount) => amount.get(),
                    OnchainAmount::All => 0,
                };
                let quantity = Quantity::btc(Msat(sat.saturating_mul(1_000)));
                (Destination::Address(String::new()), quantity, Asset::Btc)
            }
            Payee::Account {
                account,
                amount,
                funded_by,
            } => {
                let known = self
                    .scenario
                    .accounts
                    .iter()
                    .find(|known| known.name == *account);
                let (iban, name) = known
                    .map(|known| (known.iban.clone(), known.holder.clone()))
                    .unwrap_or_default();
                let funded_by = if *funded_by == PaidIn::Btc {
                    Asset::Btc
                } else {
                    Asset::Eur
                };
                (
                    Destination::Iban { iban, name },
                    Quantity::eur(Minor::new(amount.get())),
                    funded_by,
                )
            }
        };
        api::Payout {
            payment: id(&payout.id),
            party: PartyId::new(payout.from.as_str()).expect("checked with the scenario"),
            destination,
            quantity,
            all: takes_all(payout),
            funded_by,
            payee: None,
            deadline: Span(payout.deadline.get()),
            terms: match &payout.payee {
                Payee::Node { routing, .. } => payout_terms(routing),
                Payee::Wallet { .. } | Payee::Account { .. } => PayoutTerms::default(),
            },
            wallet: match &payout.payee {
                Payee::Wallet { out_of, .. } => out_of.as_ref().and_then(own_wallet),
                Payee::Node { .. } | Payee::Account { .. } => None,
            },
        }
    }

    /// Whether a payout goes to a wallet that nobody has asked to bind although it would have to be bound.
    fn is_unbound(&self, payout: &scenario::Payout) -> bool {
        let Payee::Wallet { wallet, .. } = &payout.payee else {
            return false;
        };
        let mut registered = self.registered.values();
        self.terms.asks_bound_payouts() && !registered.any(|(known, _)| *known == wallet)
    }

    /// A SEPA payout that the operator can fund and that no fault is planned for.
    fn cannot_fail(&mut self, payout: &scenario::Payout) -> bool {
        let Payee::Account { amount, .. } = &payout.payee else {
            return false;
        };
        self.ordered_cents = self.ordered_cents.saturating_add(amount.get());
        let faulty = self.scenario.steps.iter().any(|step| match &step.action {
            Action::Gateway(fault) => fault.on == payout.id,
            Action::CrashEngine { .. } | Action::Trouble(_) => true,
            _ => false,
        });
        !faulty && self.ordered_cents <= self.scenario.operator.gateway.get()
    }

    /// Whether the order by itself is sure to be taken.
    fn is_sure(&self, payout: &scenario::Payout, amount: OnchainAmount) -> Result<bool, Why> {
        match amount {
            OnchainAmount::Exactly(amount) if amount.get() < DUST_SAT => Err(Why::Amount),
            OnchainAmount::Exactly(_) => Ok(true),
            // By how much it is, another wallet may have to pay than the one named.
            OnchainAmount::All => {
                let named = matches!(
                    &payout.payee,
                    Payee::Wallet {
                        out_of: Some(_),
                        ..
                    }
                );
                Ok(!named || !self.terms.looks_at_value())
            }
        }
    }
}

fn own_wallet(name: &scenario::OwnWalletName) -> Option<WalletId> {
    WalletId::new(name.as_str()).ok()
}
