//! Owns checking the steps that move money: charges, payments by outsiders, payouts; each rail with its own unit.
//! Does not own what the engine makes of them.

use super::names::{Kind, When};
use super::steps::StepChecker;
use super::{positive, right_or_absent};
use crate::scenario::choice::{Asset, Rail};
use crate::scenario::model::{
    AccountName, Blocks, Charge, NodeName, OnchainAmount, OwnWalletName, PartyName, Pay, Payee,
    Payer, PaymentName, Payout, Request, Route, WalletName,
};
use crate::scenario::read::{At, Optional, Required};
use crate::scenario::text;
use crate::scenario::units::{Cents, Feerate, Millis, Msat, Sat, UnitError};
use std::ops::Range;

/// Default of `expires` and `deadline`.
const ONE_HOUR: &str = "1 h";

impl StepChecker<'_> {
    fn amount<Q: Default + PartialEq>(
        &mut self,
        typed: &Required<text::Amount>,
        place: &str,
        parse: fn(&str) -> Result<Q, UnitError>,
    ) -> Option<Q> {
        let typed = typed.0.as_ref()?;
        positive(&typed.value.0, &typed.span, place, parse, self.problems)
    }

    /// `Some(None)` if it is left out, `None` if it is wrong.
    fn override_amount<Q: Default + PartialEq>(
        &mut self,
        typed: &Optional<text::Amount>,
        place: &str,
        parse: fn(&str) -> Result<Q, UnitError>,
    ) -> Option<Option<Q>> {
        let Some(typed) = typed else {
            return Some(None);
        };
        positive(&typed.value.0, &typed.span, place, parse, self.problems).map(Some)
    }

    fn span_or_hour(&mut self, typed: &Optional<text::Duration>, place: &str) -> Option<Millis> {
        let (text, span) = typed.as_ref().map_or((ONE_HOUR, 0..0), |typed| {
            (typed.value.0.as_str(), typed.span.clone())
        });
        positive(text, &span, place, Millis::parse, self.problems)
    }

    pub(super) fn charge(&mut self, typed: &text::Charge) -> Option<Charge> {
        let id = self.new_payment(typed.id.0.as_ref());
        let party = self.names.resolve(
            Kind::Party,
            PartyName,
            typed.party.0.as_ref(),
            self.problems,
        );
        let hold = typed.hold.as_ref().filter(|hold| hold.value);
        let over = typed.over.0.as_ref();
        let request = over.and_then(|over| self.charged(over, typed, hold));
        let request = self.paid_into(request, typed.wallet.as_ref());
        let expires = self.span_or_hour(&typed.expires, "when the charge expires");
        let refund_to = self.refund_to(typed)?;
        let escrow = self.in_escrow(&typed.escrow)?;
        Some(Charge {
            id: id?,
            party: party?,
            request: request?,
            expires: expires?,
            refund_to,
            escrow,
        })
    }

    /// One of the operator's wallets.
    pub(super) fn own_wallet(&mut self, name: Option<&At<String>>) -> Option<OwnWalletName> {
        self.names
            .resolve(Kind::OwnWallet, OwnWalletName, name, self.problems)
    }

    /// The wallet that was named, if this rail can have one; the outer `None` is a reported problem.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn named_wallet(
        &mut self,
        rail: Rail,
        name: Option<&At<String>>,
    ) -> Option<Option<OwnWalletName>> {
        let Some(name) = name else {
            return Some(None);
        };
        if rail != Rail::Onchain {
            self.problems.at(
                &name.span,
                "only payments on chain have a wallet",
                format!("this one goes over {rail}"),
                "remove `wallet`",
            );
            return None;
        }
        self.own_wallet(Some(name)).map(Some)
    }

    fn paid_into(
        &mut self,
        request: Option<Request>,
        name: Option<&At<String>>,
    ) -> Option<Request> {
        let request = request?;
        let named = self.named_wallet(request.rail(), name)?;
        Some(match request {
            Request::Onchain {
                amount,
                invoice,
                says,
                ..
            } => Request::Onchain {
                amount,
                wallet: named,
                invoice,
                says,
            },
            lightning @ Request::Lightning { .. } => lightning,
        })
    }

    /// `Some(None)` if it is left out, `None` if it is wrong.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn refund_to(&mut self, typed: &text::Charge) -> Option<Option<WalletName>> {
        let Some(wallet) = &typed.refund_to else {
            return Some(None);
        };
        let over = typed.over.0.as_ref().map(|over| over.value);
        if over.is_some_and(|over| over != Rail::Onchain) {
            self.problems.at(
                &wallet.span,
                "only on-chain charges have a refund address",
                "money over other rails comes exactly or not at all",
                "remove `refund_to`",
            );
            return None;
        }
        let names = &self.names;
        let found = names.resolve(Kind::Wallet, WalletName, Some(wallet), self.problems);
        found.map(Some)
    }

    /// The id was checked when the names were collected; a wrong one was reported then.
    fn new_payment(&self, id: Option<&At<String>>) -> Option<PaymentName> {
        id.map(|id| PaymentName(id.value.clone()))
    }

    pub(super) fn request(
        &mut self,
        over: Rail,
        span: &Range<usize>,
        amount: &Required<text::Amount>,
        hold: Option<&At<bool>>,
    ) -> Option<Request> {
        if let Some(hold) = hold.filter(|_| over != Rail::Lightning) {
            self.problems.at(
                &hold.span,
                "only a Lightning charge can be held",
                format!("this one goes over {over}"),
                "remove `hold`",
            );
        }
        match over {
            Rail::Lightning => {
                self.check_operator_node(span);
                let amount =
                    self.amount(amount, "the amount of a Lightning charge", Msat::parse)?;
                Some(Request::Lightning {
                    amount: Some(amount),
                    hold: hold.is_some(),
                    says: None,
                })
            }
            Rail::Onchain => Some(Request::Onchain {
                amount: self.amount(amount, "the amount of an on-chain charge", Sat::parse)?,
                wallet: None,
                invoice: false,
                says: None,
            }),
            Rail::Sepa => {
                self.problems.at(
                    span,
                    "there are no charges over SEPA",
                    "money comes in as bitcoin",
                    "write \"lightning\" or \"onchain\"",
                );
                None
            }
        }
    }

    pub(super) fn check_operator_node(&mut self, span: &Range<usize>) {
        if self.operator.is_none() {
            let help = "add `operator.node = \"…\"` with one of the nodes";
            self.problems.at(
                span,
                "the operator has no Lightning node",
                "this step needs it",
                help,
            );
        }
    }

    pub(super) fn pay(&mut self, typed: &text::Pay, span: &Range<usize>) -> Option<Pay> {
        match (&typed.charge, &typed.id) {
            (Some(charge), None) => self.pay_charge(charge, typed),
            (None, Some(id)) => self.charge_and_pay(id, typed, span),
            (Some(_), Some(id)) => {
                self.problems.at(
                    &id.span,
                    "`pay` has both `charge` and `id`",
                    "a new payment or one that is there?",
                    "remove `id` to pay the charge, or `charge` to make a new one",
                );
                None
            }
            (None, None) => {
                let help = "add `charge = \"…\"` to pay a charge that is there, or `id`, `to` and `amount` to make one and pay it";
                self.problems.at(
                    span,
                    "`pay` lacks what is paid",
                    "neither `charge` nor `id`",
                    help,
                );
                None
            }
        }
    }

    /// Pays what an earlier step charged.
    fn pay_charge(&mut self, charge: &At<String>, typed: &text::Pay) -> Option<Pay> {
        let found = self
            .names
            .payment(Some(charge), When::Before(self.index), self.problems);
        if let Some(to) = &typed.to {
            self.problems.at(
                &to.span,
                "the charge says who is paid",
                "not needed with `charge`",
                "remove `to`",
            );
        }
        let (name, payment) = found?;
        if payment.payout {
            self.problems.at(
                &charge.span,
                format!("`{name}` is a payout"),
                "only charges are paid by outsiders",
                "name a charge",
            );
            return None;
        }
        let rail = match payment.by_invoice && self.is_node(typed.from.0.as_ref()) {
            true => Rail::Lightning,
            false => payment.rail?,
        };
        if let Some(over) = typed.over.as_ref().filter(|over| over.value != rail) {
            self.problems.at(
                &over.span,
                format!("the charge goes over {rail}"),
                "another rail",
                "remove `over`",
            );
        }
        let payer = self.payer(rail, typed, true)?;
        Some(Pay {
            charge: name,
            opens: None,
            payer,
        })
    }

    /// Makes a charge and pays it.
    fn charge_and_pay(
        &mut self,
        id: &At<String>,
        typed: &text::Pay,
        span: &Range<usize>,
    ) -> Option<Pay> {
        let missing: Vec<&str> = [
            ("to", typed.to.is_none()),
            ("amount", typed.amount.is_none()),
        ]
        .into_iter()
        .filter(|(_, missing)| *missing)
        .map(|(key, _)| key)
        .collect();
        if !missing.is_empty() {
            let title = format!("`pay` with a new id lacks `{}`", missing.join("` and `"));
            self.problems.at(
                span,
                title,
                "what shall be charged?",
                "add it, or name a charge that is there by `charge` instead of `id`",
            );
        }
        let party = self
            .names
            .resolve(Kind::Party, PartyName, typed.to.as_ref(), self.problems);
        let from = typed.from.0.as_ref()?;
        let Some(rail) = self.names.rail_of(&typed.over, Some(from)) else {
            self.names
                .kind_of(&[Kind::Node, Kind::Wallet], from, self.problems)?;
            return None;
        };
        let place = typed
            .over
            .as_ref()
            .map_or(from.span.clone(), |over| over.span.clone());
        let request = self.request(rail, &place, &Required(typed.amount.clone()), None);
        let payer = self.payer(rail, typed, false);
        let name = PaymentName(id.value.clone());
        let expires = self.span_or_hour(&None, "")?;
        let charge = Charge {
            id: name.clone(),
            party: party?,
            request: request?,
            expires,
            refund_to: None,
            escrow: None,
        };
        Some(Pay {
            charge: name,
            opens: Some(charge),
            payer: payer?,
        })
    }

    /// Who pays over this rail; `instead`: whether `amount` replaces the charge's.
    fn payer(&mut self, rail: Rail, typed: &text::Pay, instead: bool) -> Option<Payer> {
        let from = typed.from.0.as_ref()?;
        let amount = if instead { typed.amount.clone() } else { None };
        if let Some(feerate) = typed.feerate.as_ref().filter(|_| rail != Rail::Onchain) {
            self.problems.at(
                &feerate.span,
                "only on-chain payments have a feerate",
                format!("this one goes over {rail}"),
                "remove `feerate`",
            );
        }
        match rail {
            Rail::Lightning => {
                let node = self
                    .names
                    .resolve(Kind::Node, NodeName, Some(from), self.problems);
                self.refuse_operator(from, "pay charges");
                let amount =
                    self.override_amount(&amount, "the amount of a Lightning payment", Msat::parse);
                let route = self.route(typed)?;
                Some(Payer::Node {
                    node: node?,
                    amount: amount?,
                    route,
                })
            }
            Rail::Onchain => {
                let wallet =
                    self.names
                        .resolve(Kind::Wallet, WalletName, Some(from), self.problems);
                let amount =
                    self.override_amount(&amount, "the amount of an on-chain payment", Sat::parse);
                let feerate = typed.feerate.as_ref().map(|feerate| {
                    positive(
                        &feerate.value.0,
                        &feerate.span,
                        "the payment's feerate",
                        Feerate::parse,
                        self.problems,
                    )
                });
                let instead_of = self.instead_of(typed, instead)?;
                Some(Payer::Wallet {
                    wallet: wallet?,
                    amount: amount?,
                    feerate: right_or_absent(feerate)?,
                    instead_of,
                })
            }
            Rail::Sepa => None,
        }
    }

    /// The charge whose payment is replaced, if there is one; the outer `None` is a reported problem.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn instead_of(&mut self, typed: &text::Pay, charged: bool) -> Option<Option<PaymentName>> {
        let Some(first) = &typed.instead_of else {
            return Some(None);
        };
        let when = When::Before(self.index);
        let (name, payment) = self.names.payment(Some(first), when, self.problems)?;
        let onchain = !payment.payout && payment.rail == Some(Rail::Onchain);
        if !onchain || !charged {
            self.problems.at(
                &first.span,
                "a payment replaces an earlier one of an on-chain charge",
                "this cannot be replaced here",
                "pay a `charge` that is there, and name an on-chain charge that was paid before",
            );
            return None;
        }
        Some(Some(name))
    }

    /// The prescribed route, if there is one; the outer `None` is a reported problem.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn route(&mut self, typed: &text::Pay) -> Option<Option<Route>> {
        let (via, delta) = match (&typed.via, &typed.final_cltv) {
            (None, None) => return Some(None),
            (Some(via), Some(delta)) => (via, delta),
            (Some(At { span, .. }), None) | (None, Some(At { span, .. })) => {
                let help = "give both: `via = [\"hub\"], final_cltv = \"40 blocks\"`, or neither";
                self.problems.at(
                    span,
                    "half a route",
                    "`via` and `final_cltv` go together",
                    help,
                );
                return None;
            }
        };
        let mut nodes = Vec::new();
        for name in &via.value {
            nodes.push(
                self.names
                    .resolve(Kind::Node, NodeName, Some(name), self.problems)?,
            );
        }
        if nodes.is_empty() {
            self.problems.at(
                &via.span,
                "a route over nobody",
                "no node",
                "name the forwarding nodes, or remove `via`",
            );
            return None;
        }
        let final_cltv = positive(
            &delta.value.0,
            &delta.span,
            "the final CLTV delta",
            Blocks::parse,
            self.problems,
        )?;
        Some(Some(Route {
            via: nodes,
            final_cltv,
        }))
    }

    pub(super) fn payout(&mut self, typed: &text::Payout) -> Option<Payout> {
        let id = self.new_payment(typed.id.0.as_ref());
        let from = self
            .names
            .resolve(Kind::Party, PartyName, typed.from.0.as_ref(), self.problems);
        let deadline = self.span_or_hour(&typed.deadline, "a payout's deadline");
        let payee = typed.to.0.as_ref().and_then(|to| self.payee(to, typed));
        let bound_to = match &typed.payee {
            None => None,
            Some(name) => {
                Some(
                    self.names
                        .resolve(Kind::Party, PartyName, Some(name), self.problems)?,
                )
            }
        };
        Some(Payout {
            id: id?,
            from: from?,
            payee: payee?,
            bound_to,
            deadline: deadline?,
        })
    }

    /// What pays for a payout over this rail.
    fn funded_by(&mut self, rail: Rail, typed: &text::Payout) -> Asset {
        let asset = if rail == Rail::Sepa {
            Asset::Eur
        } else {
            Asset::Btc
        };
        let funded_by = typed
            .funded_by
            .as_ref()
            .map_or(asset, |funded_by| funded_by.value);
        if let Some(place) = typed
            .funded_by
            .as_ref()
            .filter(|_| rail != Rail::Sepa && funded_by != Asset::Btc)
        {
            self.problems.at(
                &place.span,
                "bitcoin payouts are funded by bitcoin",
                "euro do not buy bitcoin here",
                "remove `funded_by`",
            );
        }
        funded_by
    }

    /// An amount in figures.
    fn paid_out<Q: Default + PartialEq>(
        &mut self,
        typed: &Required<text::AmountOrAll>,
        place: &str,
        parse: fn(&str) -> Result<Q, UnitError>,
    ) -> Option<Q> {
        if let Some(all) = is_all(typed) {
            self.problems.at(
                &all.span,
                "only a payout on chain can be of all that a party has",
                format!("{place} is written in figures"),
                "write an amount, or pay a wallet",
            );
            return None;
        }
        let typed = typed.0.as_ref()?;
        positive(&typed.value.0, &typed.span, place, parse, self.problems)
    }

    fn payee(&mut self, to: &At<String>, typed: &text::Payout) -> Option<Payee> {
        let kind = self.names.kind_of(
            &[Kind::Node, Kind::Wallet, Kind::Account],
            to,
            self.problems,
        )?;
        let rail = match kind {
            Kind::Node => Rail::Lightning,
            Kind::Wallet => Rail::Onchain,
            Kind::Account | Kind::Party | Kind::Channel | Kind::OwnWallet | Kind::Cosigner => {
                Rail::Sepa
            }
        };
        let out_of = self.named_wallet(rail, typed.wallet.as_ref())?;
        if let Some(over) = typed.over.as_ref().filter(|over| over.value != rail) {
            let label = format!("`{}` is paid over {rail}", to.value);
            self.problems.at(
                &over.span,
                format!("`{}` cannot be paid over {}", to.value, over.value),
                label,
                "remove `over`, or name another payee",
            );
        }
        let funded_by = self.funded_by(rail, typed);
        self.refuse_routing(rail, typed);
        match rail {
            Rail::Lightning => {
                self.check_operator_node(&to.span);
                self.refuse_operator(to, "are paid");
                let amount = self.paid_out(
                    &typed.amount,
                    "the amount of a Lightning payout",
                    Msat::parse,
                )?;
                Some(Payee::Node {
                    node: NodeName(to.value.clone()),
                    amount,
                    invoice: self.paid_invoice(typed)?,
                    routing: self.routing(typed)?,
                })
            }
            Rail::Onchain => {
                let amount = match is_all(&typed.amount) {
                    Some(_) => OnchainAmount::All,
                    None => OnchainAmount::Exactly(self.paid_out(
                        &typed.amount,
                        "the amount of an on-chain payout",
                        Sat::parse,
                    )?),
                };
                Some(Payee::Wallet {
                    wallet: WalletName(to.value.clone()),
                    amount,
                    out_of,
                })
            }
            Rail::Sepa => {
                let amount =
                    self.paid_out(&typed.amount, "the amount of a SEPA payout", Cents::parse)?;
                Some(Payee::Account {
                    account: AccountName(to.value.clone()),
                    amount,
                    funded_by,
                })
            }
        }
    }
}

/// The word `all` in the place of an amount.
fn is_all(typed: &Required<text::AmountOrAll>) -> Option<&At<text::AmountOrAll>> {
    typed.0.as_ref().filter(|typed| typed.value.0 == "all")
}
