//! Owns making the set-up smaller: what nobody names, whole nodes, channels, wallets, accounts and parties, what the policy
//! overrides, funds. Does not own the values of steps (`values`).

use super::values::{below_btc, below_cents, msat_below};
use super::{Edit, drops};
use crate::scenario::{
    Action, Channel, Depth, Expectation, Pace, Payee, Payer, PayingOverrides, PolicyOverrides, Sat,
    Scenario, Step,
};
use std::collections::BTreeSet;

/// What no step names, all at once and then kind by kind. Nodes that only forward are not among it.
pub(super) fn unused() -> Vec<Edit> {
    let party = |plan: &mut Scenario| {
        let used = used(plan, |step| drops::names(step).party.into_iter().collect());
        plan.parties.retain(|party| used.contains(party.as_str()));
        plan.dids.retain(|party, _| used.contains(party.as_str()));
    };
    let wallet = |plan: &mut Scenario| {
        let used = used(plan, |step| drops::names(step).outside);
        plan.wallets
            .retain(|wallet| used.contains(wallet.name.as_str()));
    };
    let account = |plan: &mut Scenario| {
        let used = used(plan, |step| drops::names(step).outside);
        plan.accounts
            .retain(|account| used.contains(account.name.as_str()));
    };
    vec![
        change(move |plan| {
            party(plan);
            wallet(plan);
            account(plan);
            plan.covers.clear();
        }),
        change(party),
        change(wallet),
        change(account),
        change(|plan| plan.covers.clear()),
    ]
}

fn change(change: impl Fn(&mut Scenario) + 'static) -> Edit {
    Box::new(move |plan| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        Some(smaller)
    })
}

fn used(plan: &Scenario, of: for<'a> fn(&'a Step) -> Vec<&'a str>) -> BTreeSet<String> {
    plan.steps.iter().flat_map(of).map(str::to_owned).collect()
}

/// Whole parts of the set-up, with the steps that name them.
pub(super) fn drops(plan: &Scenario) -> Vec<Edit> {
    let mut edits = vec![
        change(lightning_unless_used),
        change(|plan| plan.pace = Pace::LockStep),
        change(|plan| plan.policy = PolicyOverrides::default()),
        change(|plan| plan.operator.hot_mut().funds = Sat::default()),
        change(|plan| plan.operator.gateway = Default::default()),
        change(|plan| plan.policy.rate = None),
        change(|plan| plan.policy.depth = None),
        change(|plan| plan.policy.payout_depth = None),
        change(|plan| plan.policy.feerate = None),
        change(|plan| plan.policy.wallet_by_value.clear()),
        change(|plan| plan.policy.cosigner_patience = None),
        change(|plan| plan.policy.hold_margin = None),
        change(|plan| plan.policy.poll_interval = None),
        change(|plan| plan.policy.stray = None),
        change(|plan| plan.policy.tolerance = None),
        change(|plan| plan.policy.shortfall = None),
        change(|plan| plan.policy.max_tip_age = None),
        change(|plan| plan.policy.paying = PayingOverrides::default()),
        change(|plan| plan.policy.paying.bump = None),
        change(|plan| (plan.policy.paying.window, plan.policy.paying.most) = (None, None)),
        change(|plan| plan.policy.paying.consolidate = None),
        change(|plan| plan.policy.paying.budget = None),
        change(|plan| {
            if let Some(Depth { below, .. }) = &mut plan.policy.depth {
                below.clear();
            }
        }),
        change(|plan| plan.seed = 1),
    ];
    for node in plan.nodes.iter().rev() {
        let name = node.name.to_string();
        edits.push(Box::new(move |plan| without_node(plan, &name)));
    }
    for channel in plan.channels.iter().rev() {
        let name = channel.name.to_string();
        edits.push(Box::new(move |plan| {
            without_channels(plan, |channel| channel.name.as_str() == name)
        }));
    }
    edits
}

/// Without any node, if no step needs one.
fn lightning_unless_used(plan: &mut Scenario) {
    let needs = |step: &Step| match &step.action {
        Action::Charge(charge) => match &charge.request {
            crate::scenario::Request::Lightning { .. } => true,
            crate::scenario::Request::Onchain { invoice, .. } => *invoice,
        },
        Action::Pay(pay) => matches!(pay.payer, Payer::Node { .. }),
        Action::Payout(payout) => matches!(payout.payee, Payee::Node { .. }),
        _ => names_lightning(plan, step),
    };
    if plan.steps.iter().any(needs) {
        return;
    }
    plan.nodes.clear();
    plan.channels.clear();
    plan.operator.node = None;
}

fn names_lightning(plan: &Scenario, step: &Step) -> bool {
    let named = drops::names(step);
    let is_node = |name: &&str| plan.nodes.iter().any(|node| node.name.as_str() == *name);
    named.channel.is_some() || named.outside.iter().any(is_node)
}

fn without_node(plan: &Scenario, name: &str) -> Option<Scenario> {
    plan.nodes.iter().find(|node| node.name.as_str() == name)?;
    let apart = |channel: &Channel| channel.from.as_str() == name || channel.to.as_str() == name;
    let mut smaller = without_channels(plan, apart).unwrap_or_else(|| plan.clone());
    if let Some(fewer) = drops::without(&smaller, |step| drops::names(step).outside.contains(&name))
    {
        smaller = fewer;
    }
    smaller.nodes.retain(|node| node.name.as_str() != name);
    if smaller
        .operator
        .node
        .as_ref()
        .is_some_and(|node| node.as_str() == name)
    {
        smaller.operator.node = None;
    }
    Some(smaller)
}

fn without_channels(plan: &Scenario, goes: impl Fn(&Channel) -> bool) -> Option<Scenario> {
    let gone: BTreeSet<String> = plan
        .channels
        .iter()
        .filter(|channel| goes(channel))
        .map(|channel| channel.name.to_string())
        .collect();
    if gone.is_empty() {
        return None;
    }
    let names_one = |step: &Step| {
        drops::names(step)
            .channel
            .is_some_and(|name| gone.contains(name))
    };
    let mut smaller = drops::without(plan, names_one).unwrap_or_else(|| plan.clone());
    smaller
        .channels
        .retain(|channel| !gone.contains(channel.name.as_str()));
    Some(smaller)
}

/// Round numbers and defaults for what is in the set-up.
pub(super) fn values(plan: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for index in 0..plan.channels.len() {
        edits.push(change(move |plan| {
            if let Some(channel) = plan.channels.get_mut(index) {
                channel.announced = true;
            }
        }));
        edits.push(Box::new(move |plan| plain_fees(plan, index)));
        edits.push(change(move |plan| {
            if let Some(channel) = plan.channels.get_mut(index) {
                channel.push = Default::default();
            }
        }));
        for sat in [1_000_000, 10_000_000] {
            edits.push(Box::new(move |plan| {
                let mut smaller = plan.clone();
                let channel = smaller.channels.get_mut(index)?;
                channel.capacity = below_btc(channel.capacity, sat)?;
                Some(smaller)
            }));
        }
        for sat in [100_000, 1_000_000] {
            edits.push(Box::new(move |plan| {
                let mut smaller = plan.clone();
                let channel = smaller.channels.get_mut(index)?;
                channel.push = msat_below(channel.push, sat)?;
                Some(smaller)
            }));
        }
    }
    funds(plan, &mut edits);
    edits
}

/// Fees as the default has them.
fn plain_fees(plan: &Scenario, index: usize) -> Option<Scenario> {
    let mut smaller = plan.clone();
    let channel = smaller.channels.get_mut(index)?;
    let expects_fees = |step: &Step| {
        let action = &step.action;
        matches!(
            action,
            Action::Expect(Expectation::Forwarded { .. } | Expectation::Htlc { .. })
        )
    };
    if plan.steps.iter().any(expects_fees) {
        return None;
    }
    let plain = crate::scenario::Forwarding {
        base: crate::scenario::Msat::parse("1_000 msat").ok()?,
        proportional_millionths: 100,
        cltv_delta: crate::scenario::Blocks::new(80)?,
    };
    (channel.from_forwarding, channel.to_forwarding) = (plain, plain);
    Some(smaller)
}

/// What people write for funds, in sat.
const ROUND_FUNDS_SAT: [u64; 7] = [
    1_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
];

/// What people write for a balance at the gateway, in cents.
const ROUND_CENTS: [u64; 3] = [10_000, 100_000, 1_000_000];

fn funds(plan: &Scenario, edits: &mut Vec<Edit>) {
    for sat in ROUND_FUNDS_SAT {
        edits.push(Box::new(move |plan| {
            let mut smaller = plan.clone();
            let hot = smaller.operator.hot_mut();
            hot.funds = below_btc(hot.funds, sat)?;
            Some(smaller)
        }));
    }
    for cents in ROUND_CENTS {
        edits.push(Box::new(move |plan| {
            let mut smaller = plan.clone();
            smaller.operator.gateway = below_cents(smaller.operator.gateway, cents)?;
            Some(smaller)
        }));
    }
    for index in 0..plan.wallets.len() {
        edits.push(Box::new(move |plan| {
            let mut smaller = plan.clone();
            smaller.wallets.get_mut(index)?.funds = Sat::default();
            Some(smaller)
        }));
        edits.extend(ROUND_FUNDS_SAT.map(|sat| -> Edit {
            Box::new(move |plan| {
                let mut smaller = plan.clone();
                let wallet = smaller.wallets.get_mut(index)?;
                wallet.funds = below_btc(wallet.funds, sat)?;
                Some(smaller)
            })
        }));
    }
    for index in 0..plan.nodes.len() {
        edits.extend(ROUND_FUNDS_SAT.map(|sat| -> Edit {
            Box::new(move |plan| {
                let mut smaller = plan.clone();
                let node = smaller.nodes.get_mut(index)?;
                node.funds = below_btc(node.funds, sat)?;
                Some(smaller)
            })
        }));
    }
}
