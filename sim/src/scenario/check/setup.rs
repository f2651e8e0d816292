//! Owns checking what is there before the first step: head, operator, policy, nodes, wallets, accounts, channels.
//! Does not own the steps.

use super::names::{Kind, Names};
use super::own_wallets::own_wallets;
use super::{count, positive, quantity};
use crate::scenario::choice::{DidMethod, Pace, World};
use crate::scenario::model::{
    Account, AccountName, Channel, ChannelName, Forwarding, Node, NodeName, Operator, PartyName,
    Wallet, WalletName,
};
use crate::scenario::own_wallets::{OwnedWallet, ScriptKind};
use crate::scenario::problem::{Problem, Problems};
use crate::scenario::read::{At, Optional};
use crate::scenario::text;
use crate::scenario::units::{Blocks, Cents, Msat, Sat};
use std::collections::{BTreeMap, BTreeSet};

/// What stands at the top of the file.
pub(super) struct Head {
    pub(super) title: Option<String>,
    pub(super) worlds: BTreeSet<World>,
    pub(super) why_not: BTreeMap<World, String>,
    pub(super) covers: Vec<String>,
    pub(super) seed: u64,
    pub(super) pace: Pace,
}

pub(super) fn head(typed: &At<text::Scenario>, problems: &mut Problems) -> Head {
    let file = &typed.value;
    let worlds = worlds(file, problems);
    let pace = file.pace.as_ref().map_or(Pace::LockStep, |pace| pace.value);
    if let Some(typed) = &file.pace
        && pace == Pace::Free
        && worlds.contains(&World::Regtest)
    {
        let help = "write `pace = \"lock-step\"`, or leave \"regtest\" out of `worlds` and say why in `why_not`";
        problems.at(
            &typed.span,
            "a free pace needs the simulated world alone",
            "the regtest world runs in lock step",
            help,
        );
    }
    if let Some(title) = file
        .title
        .0
        .as_ref()
        .filter(|title| title.value.trim().is_empty())
    {
        problems.at(
            &title.span,
            "the title is empty",
            "nothing here",
            "say in one sentence what the scenario shows",
        );
    }
    Head {
        title: file.title.0.as_ref().map(|title| title.value.clone()),
        why_not: why_not(file, &worlds, problems),
        covers: covers(file, problems),
        seed: file.seed.as_ref().map_or(1, |seed| seed.value),
        worlds,
        pace,
    }
}

fn worlds(file: &text::Scenario, problems: &mut Problems) -> BTreeSet<World> {
    let mut found = BTreeSet::new();
    let Some(typed) = &file.worlds.0 else {
        return found;
    };
    for world in &typed.value {
        if !found.insert(world.value) {
            problems.at(
                &world.span,
                format!("world \"{}\" is named twice", world.value),
                "again",
                "remove it",
            );
        }
    }
    if typed.value.is_empty() {
        problems.at(
            &typed.span,
            "a scenario must run somewhere",
            "no world",
            "write `worlds = [\"simulated\", \"regtest\"]`",
        );
    }
    found
}

fn why_not(
    file: &text::Scenario,
    worlds: &BTreeSet<World>,
    problems: &mut Problems,
) -> BTreeMap<World, String> {
    let mut reasons = BTreeMap::new();
    let Some(named) = &file.worlds.0 else {
        return reasons;
    };
    for world in World::ALL.iter().copied() {
        let table = file.why_not.as_ref().map(|table| &table.value);
        let reason = table.and_then(|table| match world {
            World::Simulated => table.simulated.as_ref(),
            World::Regtest => table.regtest.as_ref(),
        });
        match reason {
            Some(reason) if worlds.contains(&world) => {
                let title =
                    format!("the scenario runs in the {world} world and says why it does not");
                problems.at(
                    &reason.span,
                    title,
                    "contradicts `worlds`",
                    format!("remove the reason, or remove \"{world}\" from `worlds`"),
                );
            }
            Some(reason) if reason.value.trim().is_empty() => {
                problems.at(
                    &reason.span,
                    "the reason is empty",
                    "nothing here",
                    "say what this world cannot do",
                );
            }
            Some(reason) => drop(reasons.insert(world, reason.value.clone())),
            None if worlds.contains(&world) || named.value.is_empty() => {}
            None => {
                let help =
                    format!("add \"{world}\", or say why not: `why_not = {{ {world} = \"…\" }}`");
                problems.at(
                    &named.span,
                    format!("nothing says why the scenario does not run in the {world} world"),
                    "one world is missing",
                    help,
                );
            }
        }
    }
    reasons
}

fn covers(file: &text::Scenario, problems: &mut Problems) -> Vec<String> {
    let rows = file.covers.iter().flat_map(|rows| &rows.value);
    let mut found: Vec<String> = Vec::new();
    for row in rows {
        let number = row.value.strip_prefix(['F', 'L']).unwrap_or_default();
        let legal = !number.starts_with('0')
            && number.len() <= 3
            && number.parse::<u16>().is_ok_and(|number| number > 0);
        if !legal {
            problems.at(
                &row.span,
                format!("`{}` is not a row of the failure atlas", row.value),
                "no such row",
                "write rows as \"F1\" or \"L1\"",
            );
        } else if found.contains(&row.value) {
            problems.at(
                &row.span,
                format!("row `{}` is named twice", row.value),
                "again",
                "remove it",
            );
        } else {
            found.push(row.value.clone());
        }
    }
    found
}

fn funds(amount: &Optional<text::Amount>, place: &str, problems: &mut Problems) -> Option<Sat> {
    amount.as_ref().map_or(Some(Sat::default()), |typed| {
        quantity(&typed.value.0, &typed.span, place, Sat::parse, problems)
    })
}

/// The parties that have a DID.
pub(super) fn dids(file: &text::Scenario) -> BTreeMap<PartyName, DidMethod> {
    let parties = file.parties.iter().flat_map(|table| table.value.entries());
    let with_did = parties.filter_map(|(name, party)| {
        let did = party.value.did.as_ref()?.value;
        Some((PartyName(name.value.clone()), did))
    });
    with_did.collect()
}

pub(super) fn operator(
    file: &text::Scenario,
    names: &Names,
    problems: &mut Problems,
) -> Option<Operator> {
    let Some(typed) = file.operator.as_ref().map(|typed| &typed.value) else {
        return Some(Operator {
            node: None,
            wallets: vec![OwnedWallet::hot(ScriptKind::Wpkh, Sat::default())],
            gateway: Cents::default(),
        });
    };
    let node = names.resolve(Kind::Node, NodeName, typed.node.as_ref(), problems);
    let wallet = funds(
        &typed.wallet,
        "opening funds of the operator's wallet",
        problems,
    );
    let gateway = typed
        .gateway
        .as_ref()
        .map_or(Some(Cents::default()), |gateway| {
            quantity(
                &gateway.value.0,
                &gateway.span,
                "the opening balance at the gateway",
                Cents::parse,
                problems,
            )
        });
    let wallets = own_wallets(typed, wallet.unwrap_or_default(), names, problems);
    wallet?;
    Some(Operator {
        node,
        wallets: wallets?,
        gateway: gateway?,
    })
}

pub(super) fn nodes(file: &text::Scenario, problems: &mut Problems) -> Vec<Node> {
    let entries = file.nodes.iter().flat_map(|nodes| nodes.value.entries());
    let node = |(name, node): (&At<String>, &At<text::Fundable>)| {
        let funds = funds(&node.value.funds, "a node's on-chain funds", problems)?;
        Some(Node {
            name: NodeName(name.value.clone()),
            funds,
        })
    };
    entries.filter_map(node).collect()
}

pub(super) fn wallets(file: &text::Scenario, problems: &mut Problems) -> Vec<Wallet> {
    let entries = file
        .wallets
        .iter()
        .flat_map(|wallets| wallets.value.entries());
    let wallet = |(name, wallet): (&At<String>, &At<text::Fundable>)| {
        let funds = funds(&wallet.value.funds, "a wallet's funds", problems)?;
        Some(Wallet {
            name: WalletName(name.value.clone()),
            funds,
        })
    };
    entries.filter_map(wallet).collect()
}

/// Longest name of a creditor in a SEPA credit transfer (ISO 20022 Max70Text as the EPC's rulebook uses it).
const MAX_HOLDER_CHARS: usize = 70;

pub(super) fn accounts(file: &text::Scenario, problems: &mut Problems) -> Vec<Account> {
    let entries = file
        .accounts
        .iter()
        .flat_map(|accounts| accounts.value.entries());
    let mut found = Vec::new();
    for (name, account) in entries {
        let (Some(iban), Some(holder)) = (&account.value.iban.0, &account.value.name.0) else {
            continue;
        };
        if iban.value.trim().is_empty() {
            problems.at(
                &iban.span,
                "the account number is empty",
                "nothing here",
                "write an IBAN, or any text if the scenario needs a wrong one",
            );
        }
        if holder.value.trim().is_empty() || holder.value.chars().count() > MAX_HOLDER_CHARS {
            problems.at(
                &holder.span,
                "this is no account holder",
                "too long or empty",
                format!("write 1 to {MAX_HOLDER_CHARS} characters"),
            );
        }
        found.push(Account {
            name: AccountName(name.value.clone()),
            iban: iban.value.clone(),
            holder: holder.value.clone(),
        });
    }
    found
}

pub(super) fn channels(
    file: &text::Scenario,
    names: &Names,
    problems: &mut Problems,
) -> Vec<Channel> {
    let entries = file
        .channels
        .iter()
        .flat_map(|channels| channels.value.entries());
    entries
        .filter_map(|(name, typed)| channel(name, &typed.value, names, problems))
        .collect()
}

fn channel(
    name: &At<String>,
    typed: &text::Channel,
    names: &Names,
    problems: &mut Problems,
) -> Option<Channel> {
    let from = names.resolve(Kind::Node, NodeName, typed.from.0.as_ref(), problems);
    let to = names.resolve(Kind::Node, NodeName, typed.to.0.as_ref(), problems);
    if let (Some(from), Some(to), Some(place)) = (&from, &to, &typed.to.0)
        && from == to
    {
        problems.at(
            &place.span,
            "a channel needs two nodes",
            format!("`{to}` is at both ends"),
            "name another node",
        );
    }
    let capacity = typed.capacity.0.as_ref().and_then(|amount| {
        positive(
            &amount.value.0,
            &amount.span,
            "a channel's capacity",
            Sat::parse,
            problems,
        )
    });
    let push = typed.push.as_ref().map_or(Some(Msat::ZERO), |push| {
        quantity(
            &push.value.0,
            &push.span,
            "what is pushed",
            Msat::parse,
            problems,
        )
    });
    if let (Some(capacity), Some(push), Some(place)) = (capacity, push, &typed.push) {
        check_push(capacity, push, place, problems);
    }
    let fees = typed.fees.as_ref().map(|fees| &fees.value);
    let from_forwarding = forwarding(fees.and_then(|fees| fees.from.as_ref()), problems);
    let to_forwarding = forwarding(fees.and_then(|fees| fees.to.as_ref()), problems);
    Some(Channel {
        name: ChannelName(name.value.clone()),
        from: from?,
        to: to?,
        capacity: capacity?,
        push: push?,
        announced: typed
            .announced
            .as_ref()
            .is_none_or(|announced| announced.value),
        later: typed.later.as_ref().is_some_and(|later| later.value),
        from_forwarding: from_forwarding?,
        to_forwarding: to_forwarding?,
    })
}

/// What the opener must keep: the reserve (BOLT 2 `channel_reserve_satoshis`), 1 % as LDK asks for, at least 1,000 sat.
pub(in crate::scenario) fn reserve_sat(capacity_sat: u64) -> u64 {
    (capacity_sat / 100).max(1_000)
}

fn check_push(capacity: Sat, push: Msat, place: &At<text::Amount>, problems: &mut Problems) {
    let most = capacity.get().saturating_sub(reserve_sat(capacity.get()));
    if push.get() > most * 1_000 {
        let title = if push > Msat::of(capacity) {
            "more is pushed than the channel holds"
        } else {
            "the push leaves the opener no reserve"
        };
        let help = format!("push at most {most} sat: the opener keeps 1 % as reserve (BOLT 2)");
        problems.at(
            &place.span,
            title,
            format!("of a capacity of {capacity}"),
            help,
        );
    }
}

pub(in crate::scenario) fn forwarding(
    typed: Option<&At<text::Forwarding>>,
    problems: &mut Problems,
) -> Option<Forwarding> {
    let base = typed
        .and_then(|typed| typed.value.base.as_ref())
        .map(|base| (base.value.0.as_str(), base.span.clone()));
    let (text, span) = base.unwrap_or(("1_000 msat", 0..0));
    let base = quantity(text, &span, "a base fee", Msat::parse, problems);
    if base.is_some_and(|base| u32::try_from(base.get()).is_err()) {
        problems.at(
            &span,
            "this base fee is too large",
            "more than 32 bits of msat (BOLT 7)",
            format!("write at most \"{} msat\"", u32::MAX),
        );
    }
    let ppm = typed
        .and_then(|typed| typed.value.ppm.as_ref())
        .map_or(Some(100), |ppm| count(ppm, problems));
    let cltv = typed
        .and_then(|typed| typed.value.cltv.as_ref())
        .map(|cltv| (cltv.value.0.as_str(), cltv.span.clone()));
    let (text, span) = cltv.unwrap_or(("80 blocks", 0..0));
    let cltv_delta = quantity(text, &span, "a CLTV expiry delta", Blocks::parse, problems);
    Some(Forwarding {
        base: base?,
        proportional_millionths: ppm?,
        cltv_delta: cltv_delta?,
    })
}

/// What a node needs on chain beside the capacity of each channel that it opens: the funding transaction's fee, and the
/// reserve of 25,000 sat that ldk-node keeps to bump anchor outputs.
pub(in crate::scenario) const MARGIN_PER_CHANNEL_SAT: u64 = 50_000;

/// Reports nodes that cannot pay for the channels that they open.
pub(super) fn check_funds(
    file: &text::Scenario,
    nodes: &[Node],
    channels: &[Channel],
    problems: &mut Problems,
) {
    let entries = file.nodes.iter().flat_map(|nodes| nodes.value.entries());
    for (name, typed) in entries {
        let Some(node) = nodes.iter().find(|node| node.name.as_str() == name.value) else {
            continue;
        };
        // What a step opens may be paid with what has come back by then.
        let opened = channels
            .iter()
            .filter(|channel| channel.from == node.name && !channel.later);
        let needed = opened.clone().fold(0_u64, |sum, channel| {
            sum.saturating_add(channel.capacity.get())
                .saturating_add(MARGIN_PER_CHANNEL_SAT)
        });
        if node.funds.get() >= needed {
            continue;
        }
        problems.add(Problem {
            title: format!("`{}` cannot fund the channels that it opens", name.value),
            span: typed.value.funds.as_ref().map_or(&name.span, |funds| &funds.span).clone(),
            label: format!("it has {} on chain and needs {needed} sat", node.funds),
            also: None,
            help: format!(
                "write `funds = \"{needed} sat\"`: the capacity of what it opens ({}), and {MARGIN_PER_CHANNEL_SAT} sat each for fee and reserve",
                opened.map(|channel| channel.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        });
    }
}
