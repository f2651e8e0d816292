//! Owns the title of a plan that was made smaller: what must hold, and with what. Does not own the plan.

use crate::scenario::OwnStep;
use crate::scenario::{Action, Asset, Expectation, GatewayFaultKind, Payee, Rail, Scenario};

/// Most parts that a title names; the steps say the rest.
const MOST_PARTS: usize = 4;

/// `ledger-zero-sum holds with a payment on chain and a reorganisation`.
pub fn title(plan: &Scenario, what_holds: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for step in &plan.steps {
        let part = part(&step.action);
        parts.extend(part.filter(|part| !parts.contains(part)));
    }
    let more = parts.len() > MOST_PARTS;
    parts.truncate(MOST_PARTS);
    if more {
        parts.push("more".to_owned());
    }
    match &parts[..] {
        [] => what_holds.to_owned(),
        [one] => format!("{what_holds} with {one}"),
        [first @ .., last] => format!("{what_holds} with {} and {last}", first.join(", ")),
    }
}

fn part(action: &Action) -> Option<String> {
    let over = |rail: Rail| match rail {
        Rail::Onchain => "on chain",
        Rail::Lightning => "over Lightning",
        Rail::Sepa => "over SEPA",
    };
    Some(match action {
        Action::Charge(charge) => format!("a charge {}", over(charge.request.rail())),
        Action::Pay(pay) => {
            let charge = pay.opens.as_ref()?;
            format!("a payment {}", over(charge.request.rail()))
        }
        Action::Payout(payout) => {
            let bought = matches!(
                payout.payee,
                Payee::Account {
                    funded_by: Asset::Btc,
                    ..
                }
            );
            let how = if bought { " from bitcoin" } else { "" };
            format!("a payout {}{how}", over(payout.payee.rail()))
        }
        Action::Binding(_) => "a binding".to_owned(),
        Action::Enrol { .. } => "an enrolment".to_owned(),
        Action::Own(OwnStep::Move { .. }) => "a move of funds".to_owned(),
        Action::Own(OwnStep::Restore) => "a lost database".to_owned(),
        Action::Channel(_) => "a channel".to_owned(),
        Action::Own(_) => "a wallet".to_owned(),
        Action::Sweep { .. } => "a recovery".to_owned(),
        Action::Release { .. } => "a release".to_owned(),
        Action::Refuse { .. } => "a refusal".to_owned(),
        Action::Decide(_) => "a decision about an escrow".to_owned(),
        Action::Reorg(_) => "a reorganisation".to_owned(),
        Action::CrashNode { .. } => "a node that crashes".to_owned(),
        Action::CrashEngine { .. } => "a restart of the engine".to_owned(),
        Action::Trouble(trouble) => {
            format!("{} trouble ({})", trouble.family().as_str(), trouble.name())
        }
        Action::Gateway(fault) => gateway(&fault.kind).to_owned(),
        Action::Layer0(fault) => format!("Layer 0 in trouble ({})", fault.kind.name()),
        Action::Reconcile { .. } => "a reconciliation".to_owned(),
        Action::Expect(Expectation::Payment { state, .. }) => format!("a payment that is {state}"),
        Action::Mine { .. }
        | Action::RestartNode { .. }
        | Action::Fee { .. }
        | Action::Wait { .. }
        | Action::Expect(_) => return None,
    })
}

fn gateway(kind: &GatewayFaultKind) -> &'static str {
    match kind {
        GatewayFaultKind::LoseRequest { .. } => "a lost request",
        GatewayFaultKind::LoseResponse { .. } => "a lost response",
        GatewayFaultKind::SlowResponse { .. } => "a late response",
        GatewayFaultKind::SlowBody { .. } => "a slow response",
        GatewayFaultKind::CutBody { .. } => "a response that is cut off",
        GatewayFaultKind::ServerError { .. } => "server errors",
        GatewayFaultKind::TooManyRequests { .. } => "too many requests",
        GatewayFaultKind::ForgetKey => "a forgotten key",
        GatewayFaultKind::DuplicateWebhook => "a webhook that comes twice",
        GatewayFaultKind::DelayWebhook { .. } => "a late webhook",
        GatewayFaultKind::ReorderWebhooks => "webhooks out of order",
        GatewayFaultKind::DropWebhook => "a webhook that never comes",
        GatewayFaultKind::WrongSignature => "a wrong signature",
        GatewayFaultKind::ForgedWebhook => "a forged webhook",
        GatewayFaultKind::WrongAmount => "a webhook of another amount",
        GatewayFaultKind::Reject { .. } => "a rejection",
        GatewayFaultKind::Return { .. } => "a return",
    }
}
