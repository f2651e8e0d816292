//! Owns checking the steps that cause trouble by verbs of their own: reorganisations, crashes, the gateway.
//! Does not own the families of faults (`trouble`) nor what the trouble does (the worlds).

use super::names::{Kind, When};
use super::steps::StepChecker;
use super::{count, positive, quantity};
use crate::scenario::choice::{self, Rail, RejectCode};
use crate::scenario::model::{
    Action, GatewayFault, GatewayFaultKind, NodeName, PaymentName, Reorg,
};
use crate::scenario::problem::Problem;
use crate::scenario::read::{At, Optional, Required};
use crate::scenario::text;
use crate::scenario::units::{Blocks, Millis};
use std::ops::Range;

/// ISO 20022 ExternalReturnReason1Code for "closed account number".
const ACCOUNT_CLOSED: &str = "AC04";

impl StepChecker<'_> {
    pub(super) fn blocks(
        &mut self,
        typed: &Required<text::BlockCount>,
        place: &str,
    ) -> Option<Blocks> {
        let typed = typed.0.as_ref()?;
        positive(
            &typed.value.0,
            &typed.span,
            place,
            Blocks::parse,
            self.problems,
        )
    }

    pub(super) fn reorg(&mut self, typed: &text::Reorg, span: &Range<usize>) -> Option<Reorg> {
        let depth = self.blocks(&typed.depth, "blocks to disconnect");
        let then = self.blocks(&typed.then, "blocks in their place");
        if let (Some(depth), Some(then)) = (depth, then)
            && then <= depth
        {
            let place = typed.then.0.as_ref().map_or(span, |then| &then.span);
            let help = format!(
                "write `then = {}` or more: nodes only leave a chain for one with more work",
                depth.get() + 1
            );
            self.problems.at(
                place,
                "the new branch is not longer",
                format!("replaces {depth}"),
                help,
            );
        }
        let mut dropped = Vec::new();
        for name in typed.drop.iter().flat_map(|names| &names.value) {
            dropped.extend(self.onchain_payment(name));
        }
        Some(Reorg {
            depth: depth?,
            then: then?,
            drop: dropped,
            keep: typed.keep.as_ref().is_some_and(|keep| keep.value),
        })
    }

    /// A payment made before that has a transaction.
    pub(super) fn onchain_payment(&mut self, name: &At<String>) -> Option<PaymentName> {
        let (payment, facts) =
            self.names
                .payment(Some(name), When::Before(self.index), self.problems)?;
        if facts.rail.is_some_and(|rail| rail != Rail::Onchain) {
            self.problems.add(Problem {
                title: format!("`{payment}` is not an on-chain payment"),
                span: name.span.clone(),
                label: "it has no transaction of its own".to_owned(),
                also: Some((facts.span.clone(), "made here".to_owned())),
                help: "name a payment over \"onchain\"".to_owned(),
            });
        }
        Some(payment)
    }

    pub(super) fn crash(&mut self, typed: &text::Crash, span: &Range<usize>) -> Option<Action> {
        match (&typed.node, &typed.engine) {
            (Some(node), None) => self.crash_node(node, typed),
            (None, Some(point)) => {
                self.refuse_parameter(
                    &typed.span,
                    "for",
                    "a crash of the engine",
                    "the engine is started again at once",
                );
                let Some(on) = &typed.on else {
                    let help = "add `on = \"…\"`, the payment whose next input it is";
                    self.problems.at(
                        span,
                        "the crash of the engine lacks `on`",
                        "when shall it die?",
                        help,
                    );
                    return None;
                };
                let (on, _) = self.names.payment(Some(on), When::Any, self.problems)?;
                Some(Action::CrashEngine {
                    point: point.value,
                    on,
                })
            }
            (node, _) => {
                let title = if node.is_some() {
                    "a crash of a node and of the engine"
                } else {
                    "nothing says who crashes"
                };
                let help =
                    "write either `node = \"…\"`, or `engine = \"journaled\"` and `on = \"…\"`";
                self.problems
                    .at(span, title, "exactly one of `node` and `engine`", help);
                None
            }
        }
    }

    fn crash_node(&mut self, name: &At<String>, typed: &text::Crash) -> Option<Action> {
        self.refuse_parameter(&typed.on, "on", "a crash of a node", "a node dies at once");
        let node = self
            .names
            .resolve(Kind::Node, NodeName, Some(name), self.problems)?;
        let down_for = self.optional_span(&typed.span, "how long the node is down")?;
        if let Some(before) = self.down.get(&node) {
            self.problems.add(Problem {
                title: format!("`{node}` is down already"),
                span: name.span.clone(),
                label: "crashed again".to_owned(),
                also: Some((
                    before.clone(),
                    "crashed here and not restarted since".to_owned(),
                )),
                help: "restart it first, or give the first crash a `for`".to_owned(),
            });
        } else if down_for.is_none() {
            self.down.insert(node.clone(), name.span.clone());
        }
        Some(Action::CrashNode { node, down_for })
    }

    pub(super) fn restart(&mut self, typed: &text::Restart) -> Option<Action> {
        let name = typed.node.0.as_ref()?;
        let node = self
            .names
            .resolve(Kind::Node, NodeName, Some(name), self.problems)?;
        if self.down.remove(&node).is_none() {
            let help = "crash it without `for` before; with `for` it comes back by itself";
            self.problems.at(
                &name.span,
                format!("`{node}` is not down"),
                "nothing to restart",
                help,
            );
        }
        Some(Action::RestartNode { node })
    }

    /// `Some(None)` if it is left out, `None` if it is wrong.
    pub(super) fn optional_span(
        &mut self,
        typed: &Optional<text::Duration>,
        place: &str,
    ) -> Option<Option<Millis>> {
        let Some(typed) = typed else {
            return Some(None);
        };
        positive(
            &typed.value.0,
            &typed.span,
            place,
            Millis::parse,
            self.problems,
        )
        .map(Some)
    }

    pub(super) fn needed_span(
        &mut self,
        typed: &Optional<text::Duration>,
        key: &str,
        what: &str,
        verb: &Range<usize>,
    ) -> Option<Millis> {
        if typed.is_none() {
            self.problems.at(
                verb,
                format!("{what} lacks `{key}`"),
                "how long?",
                format!("add `{key} = \"30 s\"`"),
            );
        }
        self.optional_span(typed, what)?
    }

    pub(super) fn refuse_parameter<T>(
        &mut self,
        typed: &Optional<T>,
        key: &str,
        what: &str,
        why: &str,
    ) {
        if let Some(typed) = typed {
            self.problems.at(
                &typed.span,
                format!("{what} takes no `{key}`"),
                why,
                format!("remove `{key}`"),
            );
        }
    }

    pub(super) fn gateway(
        &mut self,
        typed: &text::Gateway,
        span: &Range<usize>,
    ) -> Option<GatewayFault> {
        let on = typed.on.0.as_ref().and_then(|name| self.sepa_payout(name));
        let kind = typed.fault.0.as_ref().and_then(|fault| {
            self.refuse_gateway_parameters(fault.value, typed);
            self.gateway_kind(fault.value, typed, span)
        });
        Some(GatewayFault {
            on: on?,
            kind: kind?,
        })
    }

    fn sepa_payout(&mut self, name: &At<String>) -> Option<PaymentName> {
        let (payment, facts) = self.names.payment(Some(name), When::Any, self.problems)?;
        if !facts.payout || facts.rail.is_some_and(|rail| rail != Rail::Sepa) {
            self.problems.add(Problem {
                title: format!("`{payment}` does not pass the gateway"),
                span: name.span.clone(),
                label: "not a SEPA payout".to_owned(),
                also: Some((facts.span.clone(), "made here".to_owned())),
                help: "name a payout to a bank account".to_owned(),
            });
        }
        Some(payment)
    }

    fn refuse_gateway_parameters(
        &mut self,
        fault: choice::GatewayFaultKind,
        typed: &text::Gateway,
    ) {
        use choice::GatewayFaultKind as Fault;
        let (what, why) = (format!("\"{fault}\""), "it means nothing to this fault");
        let late = matches!(
            fault,
            Fault::DelayWebhook | Fault::SlowResponse | Fault::SlowBody
        );
        if !late {
            self.refuse_parameter(&typed.by, "by", &what, why);
        }
        if fault != Fault::Reject {
            self.refuse_parameter(&typed.code, "code", &what, why);
        }
        if fault != Fault::Return {
            self.refuse_parameter(&typed.reason, "reason", &what, why);
            self.refuse_parameter(&typed.after, "after", &what, why);
        }
        let in_a_row = matches!(
            fault,
            Fault::LoseRequest
                | Fault::LoseResponse
                | Fault::CutBody
                | Fault::ServerError
                | Fault::TooManyRequests
        );
        if !in_a_row {
            self.refuse_parameter(&typed.times, "times", &what, why);
        }
    }

    fn gateway_kind(
        &mut self,
        fault: choice::GatewayFaultKind,
        typed: &text::Gateway,
        span: &Range<usize>,
    ) -> Option<GatewayFaultKind> {
        use choice::GatewayFaultKind as Fault;
        Some(match fault {
            Fault::LoseResponse => GatewayFaultKind::LoseResponse {
                times: self.times(&typed.times)?,
            },
            Fault::LoseRequest => GatewayFaultKind::LoseRequest {
                times: self.times(&typed.times)?,
            },
            Fault::CutBody => GatewayFaultKind::CutBody {
                times: self.times(&typed.times)?,
            },
            Fault::TooManyRequests => GatewayFaultKind::TooManyRequests {
                times: self.times(&typed.times)?,
            },
            Fault::SlowResponse => GatewayFaultKind::SlowResponse {
                by: self.needed_span(&typed.by, "by", "\"slow-response\"", span)?,
            },
            Fault::SlowBody => GatewayFaultKind::SlowBody {
                by: self.needed_span(&typed.by, "by", "\"slow-body\"", span)?,
            },
            Fault::ForgetKey => GatewayFaultKind::ForgetKey,
            Fault::ReorderWebhooks => GatewayFaultKind::ReorderWebhooks,
            Fault::WrongAmount => GatewayFaultKind::WrongAmount,
            Fault::DuplicateWebhook => GatewayFaultKind::DuplicateWebhook,
            Fault::DelayWebhook => GatewayFaultKind::DelayWebhook {
                by: self.needed_span(&typed.by, "by", "\"delay-webhook\"", span)?,
            },
            Fault::DropWebhook => GatewayFaultKind::DropWebhook,
            Fault::WrongSignature => GatewayFaultKind::WrongSignature,
            Fault::ForgedWebhook => GatewayFaultKind::ForgedWebhook,
            Fault::Reject => GatewayFaultKind::Reject {
                code: typed
                    .code
                    .as_ref()
                    .map_or(RejectCode::InsufficientFunds, |code| code.value),
            },
            Fault::Return => self.returned(typed)?,
            Fault::ServerError => GatewayFaultKind::ServerError {
                times: self.times(&typed.times)?,
            },
        })
    }

    pub(super) fn times(&mut self, typed: &Optional<u64>) -> Option<u32> {
        let Some(typed) = typed else { return Some(1) };
        if typed.value == 0 {
            self.problems.at(
                &typed.span,
                "a fault that never happens",
                "zero times",
                "write at least 1, or remove the step",
            );
        }
        count(typed, self.problems)
    }

    fn returned(&mut self, typed: &text::Gateway) -> Option<GatewayFaultKind> {
        let reason = typed
            .reason
            .as_ref()
            .map_or(ACCOUNT_CLOSED, |reason| reason.value.as_str());
        if let Some(place) = &typed.reason
            && !(reason.len() == 4
                && reason
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
        {
            let help = "write four capitals or digits, such as \"AC04\" (ISO 20022 ExternalReturnReason1Code)";
            self.problems.at(
                &place.span,
                format!("`{reason}` is not a return reason"),
                "not a code",
                help,
            );
        }
        let (text, span) = typed.after.as_ref().map_or(("1 min", 0..0), |after| {
            (after.value.0.as_str(), after.span.clone())
        });
        let after = quantity(
            text,
            &span,
            "how long after the settlement",
            Millis::parse,
            self.problems,
        )?;
        Some(GatewayFaultKind::Return {
            reason: reason.to_owned(),
            after,
        })
    }
}
