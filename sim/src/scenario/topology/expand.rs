//! Owns what becomes of a topology: its nodes and channels stand before those that the file lists, with funds for all that
//! they open, as if a person had written them. Everything that could be wrong with them is told here, at the topology or at
//! the place in the imported file. Does not own the shapes nor the formats.

use super::located::Wrong;
use super::shapes::{self, MILLION, SmallWorldPlan};
use super::{
    Asked, Edge, Files, MAX_CAPACITY_SAT, MAX_CHANNELS, MAX_NODES, MAX_PREFIX_CHARS,
    MIN_CAPACITY_SAT, Network, SmallWorld, Topology, USUAL_CAPACITY_SAT, lnd, sim_ln,
};
use crate::scenario::check::{self, MARGIN_PER_CHANNEL_SAT};
use crate::scenario::problem::{Problem, Problems};
use crate::scenario::read::{At, Named, Optional, Required};
use crate::scenario::text::{self, Amount, BlockCount};
use crate::scenario::units::{Msat, Sat};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The file that a network came from.
struct Import<'a> {
    /// As the scenario names it.
    path: &'a At<String>,
    text: String,
}

/// What is said of all channels alike.
struct Common {
    capacity_sat: Option<u64>,
    push_msat: Option<u64>,
    fees: Optional<text::Forwarding>,
}

/// Puts the network that the scenario describes, if it does, among what it lists; false if that cannot be.
pub(in crate::scenario) fn expand(
    typed: &mut text::Scenario,
    files: &dyn Files,
    problems: &mut Problems,
) -> bool {
    let Some(topology) = typed.topology.take() else {
        return true;
    };
    let expanded = build(&topology, typed, files, problems);
    expanded
        .map(|(network, common)| add(typed, &topology.span, network, &common))
        .is_some()
}

fn build(
    topology: &At<Topology>,
    typed: &text::Scenario,
    files: &dyn Files,
    problems: &mut Problems,
) -> Option<(Network, Common)> {
    let common = common(topology, problems)?;
    let (network, import) = network(topology, typed, files, problems)?;
    check_size(topology, &network, problems)?;
    check_names(topology, &network, typed, problems)?;
    for edge in &network.channels {
        if let Err(wrong) = check_edge(edge, &common) {
            tell(topology, import.as_ref(), wrong, problems);
            return None;
        }
    }
    check_duplicates(topology, import.as_ref(), &network, problems)?;
    check_whole(topology, &network, typed, problems)?;
    Some((network, common))
}

fn common(topology: &At<Topology>, problems: &mut Problems) -> Option<Common> {
    let typed = &topology.value;
    let capacity_sat = typed.capacity.as_ref().map(|capacity| {
        let sat = check::amount(&capacity.value.0, &capacity.span, problems, Sat::parse)?.get();
        if let Err(wrong) = check_capacity(sat, &(0..0)) {
            problems.at(&capacity.span, wrong.title, wrong.label, wrong.help);
            return None;
        }
        Some(sat)
    });
    let push_msat = typed
        .push
        .as_ref()
        .map(|push| check::amount(&push.value.0, &push.span, problems, Msat::parse).map(Msat::get));
    let fees = check::forwarding(typed.fees.as_ref(), problems).map(|_| typed.fees.clone());
    Some(Common {
        capacity_sat: capacity_sat.map_or(Some(None), |found| found.map(Some))?,
        push_msat: push_msat.map_or(Some(None), |found| found.map(Some))?,
        fees: fees?,
    })
}

type Found<'a> = (Network, Option<Import<'a>>);

/// The network of the one word that says which.
fn network<'a>(
    topology: &'a At<Topology>,
    typed: &text::Scenario,
    files: &dyn Files,
    problems: &mut Problems,
) -> Option<Found<'a>> {
    let said = &topology.value;
    let words = [
        said.line.is_some(),
        said.star.is_some(),
        said.small_world.is_some(),
        said.lnd.is_some(),
        said.sim_ln.is_some(),
    ];
    if words.iter().filter(|is_there| **is_there).count() != 1 {
        problems.at(
            &topology.span,
            "a topology is one thing",
            "none of them, or several",
            "write exactly one of `line`, `star`, `small_world`, `lnd` and `sim_ln`",
        );
        return None;
    }
    let prefix = said.prefix.as_ref().map_or("n", |prefix| &prefix.value);
    if let Some(prefix) = &said.prefix
        && (said.lnd.is_some() || said.sim_ln.is_some())
    {
        let help = "remove it: nodes of a file are called by their alias";
        problems.at(
            &prefix.span,
            "`prefix` is for shapes",
            "of no use here",
            help,
        );
        return None;
    }
    check_prefix(said.prefix.as_ref(), problems)?;
    let shape = |network| Some((network, None));
    if let Some(count) = &said.line {
        shape(shapes::line(prefix, size(count, 2, problems)?))
    } else if let Some(count) = &said.star {
        shape(shapes::star(prefix, size(count, 2, problems)?))
    } else if let Some(world) = &said.small_world {
        let seed = typed.seed.as_ref().map_or(1, |seed| seed.value);
        shape(small_world(prefix, world, seed, problems)?)
    } else if let Some(path) = &said.lnd {
        import(topology, path, files, lnd::read, problems)
    } else {
        let path = said.sim_ln.as_ref()?;
        import(topology, path, files, sim_ln::read, problems)
    }
}

/// Names of channels hold two names of nodes, and no name has more than 35 characters.
fn check_prefix(prefix: Option<&At<String>>, problems: &mut Problems) -> Option<()> {
    let is_legal = |text: &str| {
        let mut letters = text.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && text.len() <= MAX_PREFIX_CHARS
            && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let Some(prefix) = prefix.filter(|prefix| !is_legal(&prefix.value)) else {
        return Some(());
    };
    let title = format!("`{}` cannot begin a name", prefix.value);
    let help = format!(
        "use 1 to {MAX_PREFIX_CHARS} of letters, 0-9, `-`, `_` and `.`, beginning with a letter"
    );
    problems.at(&prefix.span, title, "the number of the node follows", help);
    None
}

fn size(count: &At<u64>, least: u64, problems: &mut Problems) -> Option<usize> {
    if (least..=MAX_NODES).contains(&count.value) {
        return usize::try_from(count.value).ok();
    }
    let (title, label) = match count.value < least {
        true => ("a topology needs more nodes", "too few"),
        false => ("these are too many nodes", "too many"),
    };
    let help = format!("write {least} to {MAX_NODES} nodes");
    problems.at(&count.span, title, label, help);
    None
}

fn small_world(
    prefix: &str,
    world: &At<SmallWorld>,
    seed: u64,
    problems: &mut Problems,
) -> Option<Network> {
    let count = world.value.nodes.0.as_ref()?;
    let nodes = size(count, 3, problems)?;
    let neighbours = world.value.neighbours.0.as_ref()?;
    let is_legal = neighbours.value >= 2
        && neighbours.value.is_multiple_of(2)
        && neighbours.value < count.value;
    if !is_legal {
        let help = format!(
            "write an even number from 2 to {}: half of them on either side",
            (count.value - 1) / 2 * 2
        );
        let title = "this is no number of neighbours";
        problems.at(
            &neighbours.span,
            title,
            "odd, none, or as many as nodes",
            help,
        );
        return None;
    }
    let rewired = world.value.rewired_ppm.as_ref();
    if let Some(rewired) = rewired.filter(|rewired| rewired.value > MILLION) {
        let help = format!("write at most {MILLION}: that is always");
        problems.at(
            &rewired.span,
            "this is no probability",
            "more than a million millionths",
            help,
        );
        return None;
    }
    let rewired_ppm = rewired.map_or(100_000, |rewired| rewired.value);
    Some(shapes::small_world(
        prefix,
        SmallWorldPlan {
            nodes,
            neighbours: usize::try_from(neighbours.value).ok()?,
            rewired_ppm: u32::try_from(rewired_ppm).ok()?,
            seed,
        },
    ))
}

fn import<'a>(
    topology: &At<Topology>,
    path: &'a At<String>,
    files: &dyn Files,
    read: fn(&str) -> Result<Network, Wrong>,
    problems: &mut Problems,
) -> Option<Found<'a>> {
    let text = match files.read(&path.value) {
        Ok(text) => text,
        Err(why) => {
            let help = "name a file by its path from the folder of this scenario";
            let title = format!("`{}` cannot be read: {why}", path.value);
            problems.at(&path.span, title, "this file", help);
            return None;
        }
    };
    let import = Import { path, text };
    match read(&import.text) {
        Ok(network) => Some((network, Some(import))),
        Err(wrong) => {
            tell(topology, Some(&import), wrong, problems);
            None
        }
    }
}

/// At the place in the imported file, or at the topology of a shape.
fn tell(
    topology: &At<Topology>,
    import: Option<&Import<'_>>,
    wrong: Wrong,
    problems: &mut Problems,
) {
    match import {
        Some(import) => problems.add_imported(
            Problem {
                title: wrong.title,
                span: import.path.span.clone(),
                label: "imported here".to_owned(),
                also: None,
                help: wrong.help,
            },
            (&import.path.value, &import.text),
            (wrong.span, wrong.label),
        ),
        None => problems.at(&topology.span, wrong.title, wrong.label, wrong.help),
    }
}

fn check_size(topology: &At<Topology>, network: &Network, problems: &mut Problems) -> Option<()> {
    let (nodes, channels) = (network.nodes.len() as u64, network.channels.len() as u64);
    if channels == 0 {
        let help = "name a file with at least one channel, or list nodes by hand";
        problems.at(
            &topology.span,
            "this network has no channel",
            "nothing here",
            help,
        );
        return None;
    }
    if nodes <= MAX_NODES && channels <= MAX_CHANNELS {
        return Some(());
    }
    problems.at(
        &topology.span,
        "this network is too large",
        format!("{nodes} nodes and {channels} channels"),
        format!(
            "take a part of it: at most {MAX_NODES} nodes and {MAX_CHANNELS} channels, as every node hears of every channel"
        ),
    );
    None
}

/// No name of the network may stand in the file already.
fn check_names(
    topology: &At<Topology>,
    network: &Network,
    typed: &text::Scenario,
    problems: &mut Problems,
) -> Option<()> {
    let mut is_right = true;
    let nodes: BTreeSet<&String> = network.nodes.iter().collect();
    let channels: BTreeSet<&String> = network.channels.iter().map(|edge| &edge.name).collect();
    let listed_nodes = typed.nodes.iter().flat_map(|nodes| &nodes.value.0);
    let listed_channels = typed.channels.iter().flat_map(|channels| &channels.value.0);
    let of_nodes = listed_nodes.map(|(name, _)| ("node", name, nodes.contains(&name.value)));
    let of_channels =
        listed_channels.map(|(name, _)| ("channel", name, channels.contains(&name.value)));
    for (what, name, is_taken) in of_nodes.chain(of_channels) {
        if !is_taken {
            continue;
        }
        is_right = false;
        problems.add(Problem {
            title: format!("the topology has a {what} `{}` already", name.value),
            span: name.span.clone(),
            label: "the same name again".to_owned(),
            also: Some((topology.span.clone(), "this topology".to_owned())),
            help: "choose another name here, or give the topology another `prefix`".to_owned(),
        });
    }
    is_right.then_some(())
}

/// What is wrong with a channel: a [`Wrong`] at its place.
fn check_edge(edge: &Edge, common: &Common) -> Result<(), Wrong> {
    let place = edge.place.clone().unwrap_or(0..0);
    let wrong = |title: String, label: String, help: String| Wrong {
        title,
        span: place.clone(),
        label,
        help,
    };
    if edge.from == edge.to {
        let title = "a channel needs two nodes".to_owned();
        let label = format!("`{}` is at both ends", edge.to);
        return Err(wrong(title, label, "name another node".to_owned()));
    }
    let capacity = capacity(edge, common);
    check_capacity(capacity, &place)?;
    let most_msat = capacity.saturating_sub(check::reserve_sat(capacity)) * 1_000;
    match common.push_msat {
        Some(push) if push > most_msat => Err(wrong(
            "the push leaves the opener no reserve".to_owned(),
            format!("channel {} holds {capacity} sat", edge.name),
            format!(
                "push at most {} sat, or leave `push` out: then it is half",
                most_msat / 1_000
            ),
        )),
        _ => Ok(()),
    }
}

fn check_capacity(sat: u64, place: &Range<usize>) -> Result<(), Wrong> {
    if (MIN_CAPACITY_SAT..=MAX_CAPACITY_SAT).contains(&sat) {
        return Ok(());
    }
    let title = match sat < MIN_CAPACITY_SAT {
        true => "this channel is too small",
        false => "this channel is too large",
    };
    Err(Wrong {
        title: title.to_owned(),
        span: place.clone(),
        label: format!("{sat} sat"),
        help: format!(
            "a channel holds {MIN_CAPACITY_SAT} to {MAX_CAPACITY_SAT} sat; `capacity` of the topology gives all channels one size"
        ),
    })
}

fn capacity(edge: &Edge, common: &Common) -> u64 {
    let said = common.capacity_sat.or(edge.capacity_sat);
    said.unwrap_or(USUAL_CAPACITY_SAT)
}

/// Names of nodes come from aliases and keys, names of channels from ids: a file may have one twice.
fn check_duplicates(
    topology: &At<Topology>,
    import: Option<&Import<'_>>,
    network: &Network,
    problems: &mut Problems,
) -> Option<()> {
    let mut nodes = BTreeSet::new();
    let twice = network.nodes.iter().find(|name| !nodes.insert(*name));
    if let Some(name) = twice {
        let title = format!("two nodes would be called `{name}`");
        let help = "give one of them another alias in the file";
        problems.at(&topology.span, title, "by alias or key", help);
        return None;
    }
    let mut channels = BTreeSet::new();
    let twice = network
        .channels
        .iter()
        .find(|edge| !channels.insert(&edge.name));
    let Some(edge) = twice else {
        return Some(());
    };
    let wrong = Wrong {
        title: format!("channel {} is listed twice", edge.name),
        span: edge.place.clone().unwrap_or(0..0),
        label: "again".to_owned(),
        help: "remove one of the two: a short channel id names one channel".to_owned(),
    };
    tell(topology, import, wrong, problems);
    None
}

/// Nobody hears of channels of another part of the network: it must be one, with what the file lists beside it.
fn check_whole(
    topology: &At<Topology>,
    network: &Network,
    typed: &text::Scenario,
    problems: &mut Problems,
) -> Option<()> {
    let listed = typed
        .channels
        .iter()
        .flat_map(|channels| channels.value.entries());
    let listed = listed.filter_map(|(_, channel)| {
        let (from, to) = (channel.value.from.0.as_ref()?, channel.value.to.0.as_ref()?);
        Some((from.value.as_str(), to.value.as_str()))
    });
    let edges = network.channels.iter();
    let edges = edges.map(|edge| (edge.from.as_str(), edge.to.as_str()));
    let mut near: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges.chain(listed) {
        near.entry(from).or_default().push(to);
        near.entry(to).or_default().push(from);
    }
    let first = network.nodes.first()?.as_str();
    let (mut reached, mut next) = (BTreeSet::from([first]), vec![first]);
    while let Some(node) = next.pop() {
        let new = near.get(node).into_iter().flatten();
        next.extend(new.filter(|node| reached.insert(node)));
    }
    let Some(far) = network
        .nodes
        .iter()
        .find(|name| !reached.contains(name.as_str()))
    else {
        return Some(());
    };
    problems.at(
        &topology.span,
        "this network falls into parts",
        format!("there is no way from `{first}` to `{far}`"),
        "choose another seed or more neighbours, or add channels between the parts: a node hears of no channel elsewhere",
    );
    None
}

fn add(typed: &mut text::Scenario, span: &Range<usize>, network: Network, common: &Common) {
    let at = |value: String| At {
        value,
        span: span.clone(),
    };
    let funds = funds(typed, &network, common);
    let nodes = network.nodes.iter().map(|name| {
        let funds = funds.get(name).map(|sat| At {
            value: Amount(format!("{sat} sat")),
            span: span.clone(),
        });
        let node = text::Fundable { funds };
        let node = At {
            value: node,
            span: span.clone(),
        };
        (at(name.clone()), Some(node))
    });
    let nodes: Vec<_> = nodes.collect();
    let channels = network.channels.iter().map(|edge| {
        let channel = At {
            value: channel(edge, common, span),
            span: span.clone(),
        };
        (at(edge.name.clone()), Some(channel))
    });
    let channels: Vec<_> = channels.collect();
    put_before(&mut typed.nodes, nodes, span);
    put_before(&mut typed.channels, channels, span);
}

fn put_before<T>(
    table: &mut Optional<Named<T>>,
    mut entries: Vec<(At<String>, Optional<T>)>,
    span: &Range<usize>,
) {
    let table = table.get_or_insert_with(|| At {
        value: Named(Vec::new()),
        span: span.clone(),
    });
    entries.append(&mut table.value.0);
    table.value.0 = entries;
}

/// What a node keeps on chain for a channel that somebody else opened with it (the reserve of ldk-node for anchor outputs).
const RESERVE_PER_CHANNEL_SAT: u64 = 25_000;

/// What each node needs for its channels, those that the file lists beside the topology included.
fn funds(typed: &text::Scenario, network: &Network, common: &Common) -> BTreeMap<String, u64> {
    let listed = typed
        .channels
        .iter()
        .flat_map(|channels| channels.value.entries());
    let listed = listed.filter_map(|(_, channel)| {
        let (from, to) = (channel.value.from.0.as_ref()?, channel.value.to.0.as_ref()?);
        let capacity = channel.value.capacity.0.as_ref()?;
        let capacity = Sat::parse(&capacity.value.0).ok()?.get();
        Some((from.value.clone(), to.value.clone(), capacity))
    });
    let edges = network.channels.iter();
    let edges = edges.map(|edge| (edge.from.clone(), edge.to.clone(), capacity(edge, common)));
    let mut funds: BTreeMap<String, u64> = BTreeMap::new();
    for (from, to, capacity) in edges.chain(listed) {
        let opener = capacity.saturating_add(MARGIN_PER_CHANNEL_SAT);
        for (node, needs) in [(from, opener), (to, RESERVE_PER_CHANNEL_SAT)] {
            let sat = funds.entry(node).or_default();
            *sat = sat.saturating_add(needs);
        }
    }
    funds
}

fn channel(edge: &Edge, common: &Common, span: &Range<usize>) -> text::Channel {
    fn at<T>(value: T, span: &Range<usize>) -> At<T> {
        At {
            value,
            span: span.clone(),
        }
    }
    let capacity = capacity(edge, common);
    let push_msat = common.push_msat.unwrap_or(capacity / 2 * 1_000);
    let asked = |asked: Option<Asked>| {
        let of_file = asked.map(|asked| text::Forwarding {
            base: Some(at(Amount(format!("{} msat", asked.base_msat)), span)),
            ppm: Some(at(asked.ppm, span)),
            cltv: Some(at(BlockCount(format!("{} blocks", asked.cltv_delta)), span)),
        });
        common.fees.clone().or(of_file.map(|fees| at(fees, span)))
    };
    let [from_fees, to_fees] = edge.fees.map(asked);
    let fees = text::Fees {
        from: from_fees,
        to: to_fees,
    };
    text::Channel {
        from: Required(Some(at(edge.from.clone(), span))),
        to: Required(Some(at(edge.to.clone(), span))),
        capacity: Required(Some(at(Amount(format!("{capacity} sat")), span))),
        push: Some(at(Amount(format!("{push_msat} msat")), span)),
        announced: None,
        later: None,
        fees: Some(at(fees, span)),
    }
}
