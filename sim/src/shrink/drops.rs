//! Owns dropping steps with everything that depends on them: which steps name a payment, a run, a party, a node, a wallet,
//! an account or a channel. Does not own the set-up (`setup`).

use super::Edit;
use crate::scenario::{About, ChannelStep, EscrowDecision, EscrowVerdict, OwnStep};
use crate::scenario::{
    Action, BindingStep, ChainFaultKind, Charge, Endpoint, Expectation, Pay, Payee, Payer,
    PeerFaultKind, Scenario, Step, Trouble,
};
use std::collections::BTreeSet;

/// Drops these steps, named by their identity, and what cannot be without them.
pub(super) fn steps(ids: &[usize]) -> Edit {
    let ids: BTreeSet<usize> = ids.iter().copied().collect();
    Box::new(move |plan| without(plan, |step| ids.contains(&step.line)))
}

/// Drops what comes after this step.
pub(super) fn after(id: usize) -> Edit {
    Box::new(move |plan| without(plan, |step| step.line > id))
}

/// All steps of a kind at once, for plans in which only few matter.
pub(super) fn whole_kinds(plan: &Scenario) -> Vec<Edit> {
    let expects = |step: &Step| matches!(step.action, Action::Expect(_));
    let mut edits: Vec<Edit> = vec![
        Box::new(move |plan| without(plan, |step| expects(step) || is_fault(step))),
        Box::new(move |plan| without(plan, expects)),
        Box::new(|plan| without(plan, is_fault)),
        Box::new(|plan| without(plan, is_routine)),
        Box::new(|plan| without(plan, |step| matches!(step.action, Action::Mine { .. }))),
    ];
    let families: BTreeSet<_> = plan.steps.iter().filter_map(family).collect();
    for name in families {
        edits.push(Box::new(move |plan| {
            without(plan, |step| family(step) == Some(name))
        }));
    }
    edits
}

/// Parties and payments, each with all that concerns it, last ones first.
pub(super) fn by_name(plan: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for party in plan.parties.iter().rev() {
        let name = party.to_string();
        edits.push(Box::new(move |plan| {
            let mut smaller = without(plan, |step| names(step).party == Some(name.as_str()))?;
            smaller.parties.retain(|party| party.as_str() != name);
            smaller.dids.retain(|party, _| party.as_str() != name);
            Some(smaller)
        }));
    }
    let made: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| payment_made(step).map(str::to_owned))
        .collect();
    for name in made.into_iter().rev() {
        edits.push(Box::new(move |plan| {
            without(plan, |step| payment_made(step) == Some(name.as_str()))
        }));
    }
    edits
}

/// What goes on in most plans beside the payments.
fn is_routine(step: &Step) -> bool {
    matches!(
        step.action,
        Action::Reconcile { .. } | Action::Fee { .. } | Action::Wait { .. }
    )
}

fn is_fault(step: &Step) -> bool {
    family(step).is_some()
}

/// The kind of fault that a step is, if it is one.
fn family(step: &Step) -> Option<&'static str> {
    match &step.action {
        Action::Trouble(trouble) => Some(trouble.family().as_str()),
        Action::Gateway(_) => Some("gateway"),
        Action::Layer0(_) => Some("layer0"),
        Action::CrashNode { .. } | Action::RestartNode { .. } => Some("node"),
        Action::CrashEngine { .. } => Some("engine"),
        Action::Reorg(_) => Some("reorg"),
        _ => None,
    }
}

/// The payment that a step makes.
pub(super) fn payment_made(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Charge(charge) => Some(charge.id.as_str()),
        Action::Pay(Pay {
            opens: Some(charge),
            ..
        }) => Some(charge.id.as_str()),
        Action::Payout(payout) => Some(payout.id.as_str()),
        Action::Own(OwnStep::Move { id, .. }) => Some(id.as_str()),
        _ => None,
    }
}

fn run_made(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Reconcile { run } => Some(run.as_str()),
        _ => None,
    }
}

fn binding_made(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Binding(BindingStep::Register { id, .. }) => Some(id.as_str()),
        _ => None,
    }
}

/// What a step names.
#[derive(Default)]
pub(super) struct Named<'a> {
    /// A payment that another step may have made.
    pub(super) payment: Option<&'a str>,
    /// A run that another step has started.
    pub(super) run: Option<&'a str>,
    /// A party.
    pub(super) party: Option<&'a str>,
    /// Nodes, wallets, accounts.
    pub(super) outside: Vec<&'a str>,
    /// A binding that another step may have registered.
    pub(super) binding: Option<&'a str>,
    /// A channel.
    pub(super) channel: Option<&'a str>,
}

pub(super) fn names(step: &Step) -> Named<'_> {
    let mut named = Named {
        payment: payment_made(step),
        run: run_made(step),
        ..Named::default()
    };
    match &step.action {
        Action::Charge(charge) => name_charge(charge, &mut named),
        Action::Pay(pay) => name_pay(pay, &mut named),
        Action::Payout(payout) => {
            named.party = Some(payout.from.as_str());
            named.outside.push(match &payout.payee {
                Payee::Node { node, .. } => node.as_str(),
                Payee::Wallet { wallet, .. } => wallet.as_str(),
                Payee::Account { account, .. } => account.as_str(),
            });
        }
        Action::Binding(step) => {
            named.party = step.party().map(|party| party.as_str());
            named.binding = step.binding().map(|binding| binding.as_str());
            if let BindingStep::Register { wallet, .. } = step {
                named.outside.push(wallet.as_str());
            }
        }
        Action::Channel(step) => {
            named.channel = Some(step.channel().as_str());
            if let ChannelStep::Close { by, .. } = step {
                named.outside.push(by.as_str());
            }
        }
        Action::Own(step) => named.payment = step.payment().map(|name| name.as_str()),
        Action::Enrol { party } => named.party = Some(party.as_str()),
        Action::Release { charge } | Action::Refuse { charge } => {
            named.payment = Some(charge.as_str());
        }
        Action::Decide(decision) => name_decision(decision, &mut named),
        Action::CrashNode { node, .. } | Action::RestartNode { node } => {
            named.outside.push(node.as_str());
        }
        Action::CrashEngine { on, .. } => named.payment = Some(on.as_str()),
        Action::Gateway(fault) => named.payment = Some(fault.on.as_str()),
        Action::Layer0(fault) => match &fault.about {
            About::Party(party) => named.party = Some(party.as_str()),
            About::Payment(payment) => named.payment = Some(payment.as_str()),
        },
        Action::Trouble(trouble) => name_trouble(trouble, &mut named),
        Action::Expect(expectation) => name_expectation(expectation, &mut named),
        Action::Sweep { .. }
        | Action::Mine { .. }
        | Action::Reorg(_)
        | Action::Fee { .. }
        | Action::Wait { .. } => {}
        Action::Reconcile { .. } => {}
    }
    named
}

fn name_pay<'a>(pay: &'a Pay, named: &mut Named<'a>) {
    named.payment = Some(pay.charge.as_str());
    named.party = pay.opens.as_ref().map(|charge| charge.party.as_str());
    match &pay.payer {
        Payer::Node { node, route, .. } => {
            let via = route.iter().flat_map(|route| &route.via);
            named.outside.push(node.as_str());
            named.outside.extend(via.map(|node| node.as_str()));
        }
        Payer::Wallet { wallet, .. } => named.outside.push(wallet.as_str()),
    }
}

fn name_charge<'a>(charge: &'a Charge, named: &mut Named<'a>) {
    named.party = Some(charge.party.as_str());
    let refund_to = charge.refund_to.as_ref();
    named
        .outside
        .extend(refund_to.map(|wallet| wallet.as_str()));
}

/// A decision stays with the charges that it names, and its signer with it.
fn name_decision<'a>(decision: &'a EscrowDecision, named: &mut Named<'a>) {
    named.party = Some(decision.signer.as_ref().unwrap_or(&decision.agent).as_str());
    if let EscrowVerdict::Split(shares) = &decision.verdict {
        let to = shares.iter().filter_map(|share| share.to.as_ref());
        named.outside.extend(to.map(|node| node.as_str()));
        named.payment = shares.first().map(|share| share.charge.as_str());
    }
}

fn name_trouble<'a>(trouble: &'a Trouble, named: &mut Named<'a>) {
    let node = |endpoint: &'a Endpoint| match endpoint {
        Endpoint::Node(name) => Some(name.as_str()),
        Endpoint::Engine | Endpoint::Gateway | Endpoint::Layer0 | Endpoint::Chain => None,
    };
    match trouble {
        Trouble::Link { between, .. } => {
            named.outside.extend(node(&between.0));
            named.outside.extend(node(&between.1));
        }
        Trouble::Process { of, .. } | Trouble::Disk { of, .. } | Trouble::Clock { of, .. } => {
            named.outside.extend(node(of));
        }
        Trouble::Chain(ChainFaultKind::Evict { on } | ChainFaultKind::Replace { on }) => {
            named.payment = Some(on.as_str());
        }
        Trouble::Chain(_) | Trouble::Cosigner { .. } => {}
        Trouble::Peer { of, kind } => {
            named.outside.push(of.as_str());
            if let PeerFaultKind::Revoked { channel } = kind {
                named.channel = Some(channel.as_str());
            }
        }
    }
}

fn name_expectation<'a>(expectation: &'a Expectation, named: &mut Named<'a>) {
    match expectation {
        Expectation::Payment { payment, .. } | Expectation::Confirmations { payment, .. } => {
            named.payment = Some(payment.made_by_step());
        }
        Expectation::Binding { binding, .. } => named.binding = Some(binding.as_str()),
        Expectation::Executed { payout, .. } => named.payment = Some(payout.made_by_step()),
        Expectation::Run { run, .. } => named.run = Some(run.as_str()),
        Expectation::Stated { payment, .. } => named.payment = Some(payment.as_str()),
        Expectation::Party { party, .. }
        | Expectation::Enrolment { party, .. }
        | Expectation::Reputation { party, .. } => named.party = Some(party.as_str()),
        Expectation::Channel { channel, end, .. } => {
            named.channel = Some(channel.as_str());
            named.outside.push(end.as_str());
        }
        Expectation::Htlc { channel, .. } => named.channel = Some(channel.as_str()),
        Expectation::ChannelStage { channel, .. } => named.channel = Some(channel.as_str()),
        Expectation::Forwarded { node, .. } | Expectation::Node { node, .. } => {
            named.outside.push(node.as_str());
        }
        Expectation::Wallet { wallet, .. } => named.outside.push(wallet.as_str()),
        Expectation::OwnWallet { .. } => {}
        Expectation::Account { account, .. } => {
            named
                .outside
                .extend(account.as_ref().map(|name| name.as_str()));
        }
    }
}

/// The plan without the steps that `goes` says, and without those that cannot be without them. `None` if nothing goes, or
/// nothing would be left.
pub(super) fn without(plan: &Scenario, goes: impl Fn(&Step) -> bool) -> Option<Scenario> {
    let mut gone: BTreeSet<usize> = plan
        .steps
        .iter()
        .filter(|step| goes(step))
        .map(|step| step.line)
        .collect();
    if gone.is_empty() {
        return None;
    }
    loop {
        let before = gone.len();
        spread(plan, &mut gone);
        if gone.len() == before {
            break;
        }
    }
    let payments: BTreeSet<String> = plan
        .steps
        .iter()
        .filter(|step| gone.contains(&step.line))
        .filter_map(|step| payment_made(step).map(str::to_owned))
        .collect();
    let mut smaller = plan.clone();
    smaller.steps.retain(|step| !gone.contains(&step.line));
    for step in &mut smaller.steps {
        match &mut step.action {
            Action::Reorg(reorg) => reorg.drop.retain(|name| !payments.contains(name.as_str())),
            Action::Pay(Pay {
                payer: Payer::Wallet { instead_of, .. },
                ..
            }) => {
                instead_of.take_if(|first| payments.contains(first.as_str()));
            }
            _ => {}
        }
    }
    (!smaller.steps.is_empty()).then_some(smaller)
}

/// Adds the steps that name what the gone ones have made, and the restarts of nodes that no longer crash.
fn spread(plan: &Scenario, gone: &mut BTreeSet<usize>) {
    let lost = |step: &&Step| gone.contains(&step.line);
    let payments: BTreeSet<&str> = plan
        .steps
        .iter()
        .filter(lost)
        .filter_map(payment_made)
        .collect();
    let runs: BTreeSet<&str> = plan
        .steps
        .iter()
        .filter(lost)
        .filter_map(run_made)
        .collect();
    let bindings: BTreeSet<&str> = plan
        .steps
        .iter()
        .filter(lost)
        .filter_map(binding_made)
        .collect();
    let mut also = BTreeSet::new();
    let mut up: BTreeSet<&str> = BTreeSet::new();
    for step in &plan.steps {
        let named = names(step);
        let is_orphan = named.payment.is_some_and(|name| payments.contains(name))
            || named.run.is_some_and(|name| runs.contains(name))
            || named.binding.is_some_and(|name| bindings.contains(name));
        if is_orphan {
            also.insert(step.line);
        }
        match &step.action {
            Action::CrashNode {
                node,
                down_for: None,
            } => {
                if gone.contains(&step.line) {
                    up.insert(node.as_str());
                } else {
                    up.remove(node.as_str());
                }
            }
            Action::RestartNode { node } if up.remove(node.as_str()) => {
                also.insert(step.line);
            }
            _ => {}
        }
    }
    gone.extend(also);
}

/// The lines of the steps without which the step at this line would fail for want of a cause: itself; what moves money of
/// the same party, or all that moves money if it is not about one; time, blocks and restarts.
pub(super) fn leading_to(plan: &Scenario, line: Option<usize>) -> BTreeSet<usize> {
    let Some(failing) = plan.steps.iter().find(|step| Some(step.line) == line) else {
        return BTreeSet::new();
    };
    let party_of = |payment: &str| {
        let maker = plan
            .steps
            .iter()
            .find(|step| payment_made(step) == Some(payment));
        maker.and_then(|step| names(step).party)
    };
    let concerns = |step: &Step| -> Option<String> {
        let named = names(step);
        let party = named.party.or_else(|| party_of(named.payment?));
        party.map(str::to_owned)
    };
    let party = concerns(failing);
    let leads = |step: &&Step| match &step.action {
        Action::Mine { .. } | Action::Wait { .. } | Action::RestartNode { .. } => true,
        Action::Channel(_) => true,
        Action::Fee { .. } => true,
        Action::Charge(_)
        | Action::Pay(_)
        | Action::Payout(_)
        | Action::Own(_)
        | Action::Enrol { .. }
        | Action::Binding(_)
        | Action::Release { .. }
        | Action::Refuse { .. }
        | Action::Decide(_) => party.is_none() || concerns(step) == party,
        Action::Reconcile { run } => names(failing).run == Some(run.as_str()),
        _ => false,
    };
    let before = plan
        .steps
        .iter()
        .take_while(|step| step.line != failing.line);
    let mut lines: BTreeSet<usize> = before.filter(leads).map(|step| step.line).collect();
    lines.insert(failing.line);
    lines
}
