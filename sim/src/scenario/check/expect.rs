//! Owns checking expectations: that what they name exists, in a state it can have, in the unit of its place.
//! Does not own whether they hold (the run).

use super::names::{Kind, Payment, When};
use super::steps::StepChecker;
use super::{count, quantity, right_or_absent};
use crate::scenario::choice::{PaymentState, Rail};
use crate::scenario::display::OPERATOR;
use crate::scenario::model::{
    AccountName, ChannelName, Expectation, NodeName, PartyName, WalletName,
};
use crate::scenario::own_wallets::HOT;
use crate::scenario::problem::Problem;
use crate::scenario::read::{At, Required};
use crate::scenario::text::{self, Expect};
use crate::scenario::units::{Balance, Blocks, Cents, Millis, Msat, Sat, UnitError};
use std::ops::Range;

impl StepChecker<'_> {
    pub(super) fn expect(&mut self, typed: &Expect, span: &Range<usize>) -> Option<Expectation> {
        match typed {
            Expect::Payment(typed) => self.expect_payment(typed),
            Expect::Enrolment(typed) => self.expect_enrolment(typed),
            Expect::Stated(typed) => self.expect_stated(typed),
            Expect::Reputation(typed) => self.expect_reputation(typed),
            Expect::Party(typed) => self.expect_party(typed, span),
            Expect::Channel(typed) => self.expect_channel(typed, span),
            Expect::Node(typed) => self.expect_node(typed),
            Expect::Forwarded(typed) => self.expect_forwarded(typed.forwarded.0.as_ref()?),
            Expect::Htlc(typed) => self.expect_htlc(typed.htlc.0.as_ref()?),
            Expect::Wallet(typed) => self.expect_wallet(typed),
            Expect::Account(typed) => {
                let account = self.or_operator(Kind::Account, AccountName, &typed.account);
                let balance = self.balance(&typed.balance, "an account's balance", Cents::parse);
                Some(Expectation::Account {
                    account: account?,
                    balance: balance?,
                })
            }
            Expect::Run(typed) => {
                let run = self
                    .names
                    .run(typed.run.0.as_ref(), self.index, self.problems);
                let breaks = count(typed.breaks.0.as_ref()?, self.problems);
                Some(Expectation::Run {
                    run: run?,
                    breaks: breaks?,
                })
            }
            Expect::Binding(typed) => self.expect_binding(typed),
            Expect::Executed(typed) => self.expect_executed(typed),
            Expect::Confirmations(typed) => {
                let typed = &typed.confirmations.0.as_ref()?.value;
                let payment = typed
                    .payment
                    .0
                    .as_ref()
                    .and_then(|name| self.onchain_payment(name));
                let at_least = typed
                    .at_least
                    .0
                    .as_ref()
                    .and_then(|number| count(number, self.problems));
                Some(Expectation::Confirmations {
                    payment: payment?,
                    at_least: at_least?,
                })
            }
        }
    }

    fn balance<Q>(
        &mut self,
        typed: &Required<text::Amount>,
        place: &str,
        parse: fn(&str) -> Result<Q, UnitError>,
    ) -> Option<Q> {
        let typed = typed.0.as_ref()?;
        quantity(&typed.value.0, &typed.span, place, parse, self.problems)
    }

    /// "operator" is the wallet `hot`, "operator/NAME" another one of the operator's.
    fn expect_wallet(&mut self, typed: &text::ExpectWallet) -> Option<Expectation> {
        let name = typed.wallet.0.as_ref()?;
        let balance = self.balance(&typed.balance, "an on-chain balance", Sat::parse);
        let own = match name.value.strip_prefix(OPERATOR) {
            Some("") => Some(HOT),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        };
        let Some(own) = own else {
            let wallet = self
                .names
                .resolve(Kind::Wallet, WalletName, Some(name), self.problems);
            return Some(Expectation::Wallet {
                wallet: wallet?,
                balance: balance?,
            });
        };
        let own = At {
            value: own.to_owned(),
            span: name.span.clone(),
        };
        let wallet = self.own_wallet(Some(&own));
        Some(Expectation::OwnWallet {
            wallet: wallet?,
            balance: balance?,
        })
    }

    /// `Some(None)` is the operator.
    fn or_operator<N>(
        &mut self,
        kind: Kind,
        make: fn(String) -> N,
        name: &Required<String>,
    ) -> Option<Option<N>> {
        let name = name.0.as_ref()?;
        if name.value == OPERATOR {
            Some(None)
        } else {
            self.names
                .resolve(kind, make, Some(name), self.problems)
                .map(Some)
        }
    }

    fn expect_payment(&mut self, typed: &text::ExpectPayment) -> Option<Expectation> {
        let found = self.names.payment(
            typed.payment.0.as_ref(),
            When::Before(self.index),
            self.problems,
        );
        let within = match &typed.within {
            Some(within) => Some(quantity(
                &within.value.0,
                &within.span,
                "how long it may take",
                Millis::parse,
                self.problems,
            )?),
            None => None,
        };
        let state = typed.state.0.as_ref()?;
        let reason = typed.reason.as_ref();
        if let Some(reason) = reason.filter(|_| state.value != PaymentState::Failed) {
            self.problems.at(
                &reason.span,
                "only a failed payment has a reason",
                format!("the state is \"{}\"", state.value),
                "remove `reason`",
            );
        }
        let (payment, facts) = found?;
        let facts = facts.clone();
        self.check_reachable(state, &facts);
        Some(Expectation::Payment {
            payment,
            state: state.value,
            within,
            reason: reason.map(|reason| reason.value),
        })
    }

    /// Reports a state that a payment of this rail and direction never has.
    fn check_reachable(&mut self, state: &At<PaymentState>, payment: &Payment) {
        let needed = match state.value {
            PaymentState::Settled | PaymentState::Failed => None,
            PaymentState::Issued => payment.payout.then_some("charges"),
            PaymentState::Dispatched => (!payment.payout).then_some("payouts"),
            PaymentState::Unknown => {
                let routed = payment.payout && payment.rail == Some(Rail::Lightning);
                (!routed).then_some("payouts over Lightning")
            }
            PaymentState::Held => (!payment.hold).then_some("Lightning charges with `hold = true`"),
            PaymentState::Undone => {
                let other = payment.rail.is_some_and(|rail| rail != Rail::Onchain);
                other.then_some("payments on chain")
            }
            PaymentState::Seen
            | PaymentState::Partial
            | PaymentState::Over
            | PaymentState::Late
            | PaymentState::Double
            | PaymentState::Replaced => {
                let wrong =
                    payment.payout || payment.rail.is_some_and(|rail| rail != Rail::Onchain);
                wrong.then_some("on-chain charges")
            }
        };
        if let Some(needed) = needed {
            self.problems.add(Problem {
                title: format!("this payment is never \"{}\"", state.value),
                span: state.span.clone(),
                label: format!("only {needed} can be"),
                also: Some((payment.span.clone(), "the payment is made here".to_owned())),
                help: "expect another state, \"settled\" or \"failed\" for instance".to_owned(),
            });
        }
    }

    fn expect_party(
        &mut self,
        typed: &text::ExpectParty,
        span: &Range<usize>,
    ) -> Option<Expectation> {
        let party = self.names.resolve(
            Kind::Party,
            PartyName,
            typed.party.0.as_ref(),
            self.problems,
        );
        let btc = typed.btc.as_ref().map(|btc| {
            quantity(
                &btc.value.0,
                &btc.span,
                "a party's bitcoin",
                Balance::<Msat>::parse,
                self.problems,
            )
        });
        let eur = typed.eur.as_ref().map(|eur| {
            quantity(
                &eur.value.0,
                &eur.span,
                "a party's euro",
                Balance::<Cents>::parse,
                self.problems,
            )
        });
        if btc.is_none() && eur.is_none() {
            self.problems.at(
                span,
                "an expectation about nothing",
                "neither `btc` nor `eur`",
                "add `btc = \"0 sat\"` or `eur = \"0.00 EUR\"`",
            );
        }
        Some(Expectation::Party {
            party: party?,
            btc: right_or_absent(btc)?,
            eur: right_or_absent(eur)?,
        })
    }

    fn expect_forwarded(&mut self, typed: &At<text::Forwarded>) -> Option<Expectation> {
        let node = self.names.resolve(
            Kind::Node,
            NodeName,
            typed.value.node.0.as_ref(),
            self.problems,
        );
        let fee = self.balance(&typed.value.fee, "forwarding fees", Msat::parse);
        Some(Expectation::Forwarded {
            node: node?,
            fee: fee?,
        })
    }

    fn expect_htlc(&mut self, typed: &At<text::Htlc>) -> Option<Expectation> {
        let channel = self.names.resolve(
            Kind::Channel,
            ChannelName,
            typed.value.channel.0.as_ref(),
            self.problems,
        );
        let amount = self.balance(&typed.value.amount, "an HTLC's amount", Msat::parse);
        let delta = typed.value.cltv_delta.0.as_ref();
        let cltv_delta = delta.and_then(|delta| {
            quantity(
                &delta.value.0,
                &delta.span,
                "an HTLC's expiry",
                Blocks::parse,
                self.problems,
            )
        });
        Some(Expectation::Htlc {
            channel: channel?,
            amount: amount?,
            cltv_delta: cltv_delta?,
        })
    }

    fn expect_executed(&mut self, typed: &text::ExpectExecuted) -> Option<Expectation> {
        let name = typed.executed.0.as_ref();
        let found = self
            .names
            .payment(name, When::Before(self.index), self.problems);
        let times = typed
            .times
            .0
            .as_ref()
            .and_then(|times| count(times, self.problems));
        let (payout, facts) = found?;
        if !facts.payout {
            let help = "name a payout; what comes in for a charge is seen in its state and the party's balance";
            let span = name.map_or(0..0, |name| name.span.clone());
            self.problems.at(
                &span,
                format!("`{payout}` is not a payout"),
                "the outside does not carry out charges",
                help,
            );
        }
        Some(Expectation::Executed {
            payout,
            times: times?,
        })
    }
}
