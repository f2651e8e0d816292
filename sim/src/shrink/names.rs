//! Owns the names that a person would have given: a merchant, a buyer, a shop, a bank. Does not own writing them
//! (`scenario::Renaming`).

use super::{Edit, drops};
use crate::scenario::{Action, NameSpace, Pay, Payer, Renaming, Scenario};
use std::collections::BTreeSet;

/// All names at once, or else kind by kind: names take part in some draws, and a failure may hang on those.
pub(super) fn simple() -> Vec<Edit> {
    const KINDS: [NameSpace; 5] = [
        NameSpace::Party,
        NameSpace::Outside,
        NameSpace::Channel,
        NameSpace::Payment,
        NameSpace::Run,
    ];
    let all: Edit = Box::new(|plan| renamed(plan, &KINDS));
    let single = KINDS.map(|kind| -> Edit { Box::new(move |plan| renamed(plan, &[kind])) });
    [all].into_iter().chain(single).collect()
}

fn renamed(plan: &Scenario, kinds: &[NameSpace]) -> Option<Scenario> {
    let text = plan.to_toml_renamed(&renaming(plan, kinds));
    Scenario::parse("renamed", &text).ok()
}

/// Gives each new name once, a number behind it from the second on.
struct Names {
    renaming: Renaming,
    taken: BTreeSet<(NameSpace, String)>,
}

impl Names {
    fn give(&mut self, space: NameSpace, old: &str, new: &str) {
        let numbered = (2..).map(|number| format!("{new}-{number}"));
        let free = [new.to_owned()]
            .into_iter()
            .chain(numbered)
            .find(|name| self.taken.insert((space, name.clone())));
        self.renaming.rename(space, old, free.unwrap_or_default());
    }

    /// `p1`, `p2`, …
    fn number(&mut self, space: NameSpace, old: &str, letter: &str) {
        let mut numbered = (1..).map(|number| format!("{letter}{number}"));
        let free = numbered.find(|name| self.taken.insert((space, name.clone())));
        self.renaming.rename(space, old, free.unwrap_or_default());
    }
}

/// New names for these kinds.
fn renaming(plan: &Scenario, kinds: &[NameSpace]) -> Renaming {
    let mut names = Names {
        renaming: Renaming::default(),
        taken: BTreeSet::new(),
    };
    for kind in kinds {
        match kind {
            NameSpace::Party => {
                for party in &plan.parties {
                    names.give(NameSpace::Party, party.as_str(), "merchant");
                }
            }
            NameSpace::Outside => outside(plan, &mut names),
            NameSpace::Channel => channels(plan, &mut names),
            NameSpace::Payment => payments(plan, &mut names),
            NameSpace::Run => {
                for step in &plan.steps {
                    if let Action::Reconcile { run } = &step.action {
                        names.number(NameSpace::Run, run.as_str(), "day-");
                    }
                }
            }
        }
    }
    names.renaming
}

fn outside(plan: &Scenario, names: &mut Names) {
    let operator = plan.operator.node.as_ref();
    let pays = |name: &str| {
        plan.steps.iter().any(|step| match &step.action {
            Action::Pay(Pay {
                payer: Payer::Node { node, .. },
                ..
            }) => node.as_str() == name,
            _ => false,
        })
    };
    let paid = |name: &str| {
        let is_payout = |step: &&crate::scenario::Step| matches!(step.action, Action::Payout(_));
        let mut payouts = plan.steps.iter().filter(is_payout);
        payouts.any(|step| drops::names(step).outside.contains(&name))
    };
    for node in &plan.nodes {
        let name = node.name.as_str();
        let new = match () {
            () if operator == Some(&node.name) => "shop",
            () if pays(name) => "buyer",
            () if paid(name) => "payee",
            () => "hub",
        };
        names.give(NameSpace::Outside, name, new);
    }
    const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
    for (index, wallet) in plan.wallets.iter().enumerate() {
        let person = PEOPLE.get(index).copied().unwrap_or("wallet");
        names.give(NameSpace::Outside, wallet.name.as_str(), person);
    }
    for account in &plan.accounts {
        names.give(NameSpace::Outside, account.name.as_str(), "bank");
    }
}

/// After their ends, as those are called now.
fn channels(plan: &Scenario, names: &mut Names) {
    for channel in &plan.channels {
        let of = |node: &str| names.renaming.of(NameSpace::Outside, node).to_owned();
        let new = format!("{}-{}", of(channel.from.as_str()), of(channel.to.as_str()));
        names.give(NameSpace::Channel, channel.name.as_str(), &new);
    }
}

/// `p` what is paid at once, `c` charges, `o` payouts.
fn payments(plan: &Scenario, names: &mut Names) {
    for step in &plan.steps {
        let Some(old) = drops::payment_made(step) else {
            continue;
        };
        let letter = match step.action {
            Action::Charge(_) => "c",
            Action::Payout(_) => "o",
            _ => "p",
        };
        names.number(NameSpace::Payment, old, letter);
    }
}
