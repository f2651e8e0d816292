//! Owns making one step of two. Does not own dropping steps (`drops`).

use super::Edit;
use crate::scenario::{Action, Charge, Millis, Pay, Payer, Request, Scenario};

/// Default of `expires`, in ms: a `pay` that makes its own charge can say no other.
const ONE_HOUR_MS: u64 = 3_600_000;

/// Each charge that is paid as it asks, made by the step that pays it.
pub(super) fn merges(plan: &Scenario) -> Vec<Edit> {
    let charges = plan
        .steps
        .iter()
        .filter(|step| matches!(step.action, Action::Charge(_)));
    let merge = |id: usize| -> Edit { Box::new(move |plan| merged(plan, id)) };
    charges.map(|step| merge(step.line)).collect()
}

fn merged(plan: &Scenario, id: usize) -> Option<Scenario> {
    let mut smaller = plan.clone();
    let at = smaller.steps.iter().position(|step| step.line == id)?;
    let charging = smaller.steps.remove(at);
    let Action::Charge(charge) = charging.action else {
        return None;
    };
    let paying = smaller
        .steps
        .iter_mut()
        .find(|step| matches!(&step.action, Action::Pay(pay) if pay.charge == charge.id))?;
    let Action::Pay(pay) = &mut paying.action else {
        return None;
    };
    pay.opens = Some(plain(charge, pay)?);
    paying.at = paying.at.or(charging.at);
    Some(smaller)
}

/// The charge as the default has it, if a step that pays it can say it.
fn plain(charge: Charge, pay: &Pay) -> Option<Charge> {
    let pays_what_is_asked = match &pay.payer {
        Payer::Node { amount, .. } => amount.is_none(),
        Payer::Wallet {
            amount, instead_of, ..
        } => amount.is_none() && instead_of.is_none() && charge.refund_to.is_none(),
    };
    let is_held = matches!(charge.request, Request::Lightning { hold: true, .. });
    let expires = Millis::parse(&format!("{ONE_HOUR_MS} ms")).ok()?;
    (pays_what_is_asked && !is_held).then_some(Charge { expires, ..charge })
}
