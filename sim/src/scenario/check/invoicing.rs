//! Owns checking what steps say of invoices and of how a way is looked for. Does not own the rest of charges and payouts
//! (`money`).

use super::names::When;
use super::steps::StepChecker;
use super::{positive, quantity};
use crate::scenario::choice::Rail;
use crate::scenario::invoicing::{InvoiceKind, PaidInvoice, Routing, Saying};
use crate::scenario::model::Request;
use crate::scenario::read::{At, Required};
use crate::scenario::text;
use crate::scenario::units::{Millis, Msat};
use std::ops::Range;

/// How an amount is left to the payer.
const ANY: &str = "any";

impl StepChecker<'_> {
    /// What a charge asks for, with what only an invoice can say.
    pub(super) fn charged(
        &mut self,
        over: &At<Rail>,
        typed: &text::Charge,
        hold: Option<&At<bool>>,
    ) -> Option<Request> {
        let says = self.saying(over.value, typed)?;
        let amount = typed.amount.0.as_ref();
        let any = amount.filter(|amount| amount.value.0 == ANY);
        if let Some(any) = any.filter(|_| over.value != Rail::Lightning) {
            self.problems.at(
                &any.span,
                "only an invoice can leave the amount to the payer",
                format!("this charge goes over {}", over.value),
                "write an amount, or charge over lightning",
            );
            return None;
        }
        let plain = Required(amount.map(|amount| At {
            value: text::Amount(match any {
                Some(_) => "1 sat".to_owned(),
                None => amount.value.0.clone(),
            }),
            span: amount.span.clone(),
        }));
        if over.value == Rail::Lightning {
            self.has_invoice(over.value, typed);
        }
        let request = self.request(over.value, &over.span, &plain, hold)?;
        Some(match request {
            Request::Lightning { amount, hold, .. } => Request::Lightning {
                amount: amount.filter(|_| any.is_none()),
                hold,
                says,
            },
            Request::Onchain { amount, wallet, .. } => Request::Onchain {
                amount,
                wallet,
                invoice: self.has_invoice(over.value, typed),
                says,
            },
        })
    }

    /// Whether a charge on chain has an invoice as well.
    fn has_invoice(&mut self, rail: Rail, typed: &text::Charge) -> bool {
        let Some(too) = typed.invoice.as_ref().filter(|too| too.value) else {
            return false;
        };
        if rail != Rail::Onchain {
            self.problems.at(
                &too.span,
                "only a charge on chain has an invoice as well",
                format!("this one goes over {rail}"),
                "remove `invoice`",
            );
        }
        self.check_operator_node(&too.span);
        true
    }

    /// Whether that is a Lightning node.
    pub(super) fn is_node(&self, name: Option<&At<String>>) -> bool {
        name.is_some_and(|name| self.names.rail_of(&None, Some(name)) == Some(Rail::Lightning))
    }

    /// The outer `None` is a reported problem.
    #[allow(clippy::option_option, reason = "absent and wrong differ")]
    fn saying(&mut self, rail: Rail, typed: &text::Charge) -> Option<Option<Saying>> {
        let (words, hash) = (&typed.description, &typed.description_hash);
        let has_invoice = match rail {
            Rail::Lightning => true,
            Rail::Onchain => typed.invoice.as_ref().is_some_and(|too| too.value),
            Rail::Sepa => false,
        };
        let second = match (words, hash) {
            (Some(_), Some(hash)) => Some((&hash.span, "both `description` and its hash")),
            (Some(At { span, .. }), None) | (None, Some(At { span, .. })) => {
                (!has_invoice).then_some((span, "a description without an invoice"))
            }
            (None, None) => None,
        };
        if let Some((span, title)) = second {
            let label = format!("this charge goes over {rail}");
            self.problems.at(
                span,
                title,
                label,
                "an invoice has one of them, other charges have none",
            );
            return None;
        }
        let words = words
            .as_ref()
            .map(|words| Saying::Words(words.value.clone()));
        let hash = hash
            .as_ref()
            .map(|words| Saying::HashOf(words.value.clone()));
        Some(words.or(hash))
    }

    /// Which invoice a payout pays.
    pub(super) fn paid_invoice(&mut self, typed: &text::Payout) -> Option<PaidInvoice> {
        match (&typed.invoice, &typed.invoice_of) {
            (kind, None) => {
                let kind = kind.as_ref().map_or(InvoiceKind::Plain, |kind| kind.value);
                Some(PaidInvoice::Made(kind))
            }
            (None, Some(of)) => {
                let when = When::Before(self.index);
                let (name, payment) = self.names.payment(Some(of), when, self.problems)?;
                if payment.rail != Some(Rail::Lightning) {
                    self.problems.at(
                        &of.span,
                        format!("`{name}` has no invoice"),
                        "not over lightning",
                        "name an earlier charge or payout over lightning",
                    );
                    return None;
                }
                Some(PaidInvoice::Of(name))
            }
            (Some(_), Some(of)) => {
                self.problems.at(
                    &of.span,
                    "a payout pays one invoice",
                    "there is `invoice`, too",
                    "remove one of them",
                );
                None
            }
        }
    }

    /// How a payout's node looks for a way.
    pub(super) fn routing(&mut self, typed: &text::Payout) -> Option<Routing> {
        let max_fee = match &typed.max_fee {
            Some(typed) => Some(quantity(
                &typed.value.0,
                &typed.span,
                "the most for routing fees",
                Msat::parse,
                self.problems,
            )?),
            None => None,
        };
        let retry = match &typed.retry {
            Some(typed) => Some(positive(
                &typed.value.0,
                &typed.span,
                "how long other ways are looked for",
                Millis::parse,
                self.problems,
            )?),
            None => None,
        };
        Some(Routing { max_fee, retry })
    }

    /// What only a payout over Lightning can have.
    pub(super) fn refuse_routing(&mut self, rail: Rail, typed: &text::Payout) {
        let spans: [Option<&Range<usize>>; 4] = [
            typed.invoice.as_ref().map(|typed| &typed.span),
            typed.invoice_of.as_ref().map(|typed| &typed.span),
            typed.max_fee.as_ref().map(|typed| &typed.span),
            typed.retry.as_ref().map(|typed| &typed.span),
        ];
        for span in spans
            .into_iter()
            .flatten()
            .filter(|_| rail != Rail::Lightning)
        {
            self.problems.at(
                span,
                "only payouts over lightning have an invoice and a route",
                format!("this one goes over {rail}"),
                "remove it",
            );
        }
    }
}
