//! Owns making one step of two. Does not own dropping steps (`drops`).

use super::{Edit, drops};
use crate::scenario::{
    Action, Charge, Millis, OwnStep, OwnWalletName, Pay, Payer, Request, Scenario, Step,
};

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

/// What a move brings to a wallet, brought there by a payment before it: the move, and the blocks that it waits for, may go.
pub(super) fn instead_of_moves(plan: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let Action::Own(OwnStep::Move { to, .. }) = &step.action else {
            continue;
        };
        for earlier in &plan.steps[..index] {
            let (to, moving, paying) = (to.clone(), step.line, earlier.line);
            edits.push(Box::new(move |plan| paid_into(plan, (moving, paying), &to)));
        }
    }
    edits
}

fn paid_into(
    plan: &Scenario,
    (moving, paying): (usize, usize),
    wallet: &OwnWalletName,
) -> Option<Scenario> {
    let mut smaller = drops::without(plan, |step| step.line == moving)?;
    let fresh = smaller
        .steps
        .iter()
        .map(|step| step.line)
        .max()?
        .checked_add(1)?;
    let at = smaller.steps.iter().position(|step| step.line == paying)?;
    let step = smaller.steps.get_mut(at)?;
    match &mut step.action {
        Action::Charge(charge) => pay_into(charge, wallet),
        Action::Pay(pay) => {
            let mut charge = pay.opens.take()?;
            pay_into(&mut charge, wallet)?;
            let charging = Step {
                at: step.at.take(),
                only: step.only,
                action: Action::Charge(charge),
                line: fresh,
            };
            smaller.steps.insert(at, charging);
            Some(())
        }
        _ => None,
    }?;
    Some(smaller)
}

fn pay_into(charge: &mut Charge, into: &OwnWalletName) -> Option<()> {
    match &mut charge.request {
        Request::Onchain { wallet, .. } => *wallet = Some(into.clone()),
        Request::Lightning { .. } => return None,
    }
    Some(())
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
    let is_plain = match &charge.request {
        Request::Lightning { amount, hold, says } => amount.is_some() && !hold && says.is_none(),
        Request::Onchain {
            wallet, invoice, ..
        } => wallet.is_none() && !invoice,
    };
    let expires = Millis::parse(&format!("{ONE_HOUR_MS} ms")).ok()?;
    (pays_what_is_asked && is_plain && charge.escrow.is_none())
        .then_some(Charge { expires, ..charge })
}
