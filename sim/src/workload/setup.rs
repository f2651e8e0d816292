//! Owns what is there before a plan's first step: topology, parties, wallets, bank accounts, policy, each drawn from a stream of
//! its own. Does not own what happens (`traffic`).

use super::bindings;
use super::channels;
use super::draws::Draws;
use super::escrow;
use super::profile::Profile;
use super::text::{blocks, euro, sat, span};
use crate::prng::RootSeed;

/// Outsiders' nodes; at most 6 nodes with the operator's.
const OUTSIDERS: [&str; 5] = ["ann", "bob", "cleo", "dan", "eve"];
const PARTIES: [&str; 4] = ["merchant", "baker", "studio", "grocer"];

/// The operator's node.
pub(super) const OPERATOR: &str = "shop";

/// Accounts with a right check sum (ISO 13616), and whose they are.
const ACCOUNTS: [(&str, &str, &str); 4] = [
    ("mill-bank", "DE89 3704 0044 0532 0130 00", "Mill GmbH"),
    ("farm-bank", "NL91 ABNA 0417 1643 00", "Farm BV"),
    (
        "atelier-bank",
        "FR14 2004 1010 0505 0001 3M02 606",
        "Atelier SARL",
    ),
    ("vine-bank", "ES91 2100 0418 4502 0005 1332", "Vine SL"),
];

/// One whose check digits are wrong.
pub(super) const BAD_ACCOUNT: (&str, &str, &str) = (
    "nowhere-bank",
    "DE00 3704 0044 0532 0130 00",
    "Nowhere GmbH",
);

/// How the nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Line,
    Star,
    Ring,
}

impl Shape {
    fn word(self) -> &'static str {
        match self {
            Shape::Line => "in a line",
            Shape::Star => "in a star",
            Shape::Ring => "in a ring",
        }
    }
}

/// What was drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// Nodes but the operator's; empty without Lightning.
    pub(super) outsiders: Vec<&'static str>,
    pub(super) parties: Vec<&'static str>,
    pub(super) wallets: Vec<&'static str>,
    /// The operator's wallets that coins can be moved between; empty if there is none but `hot`.
    pub(super) own_wallets: Vec<&'static str>,
    /// The second of them gives out one address until that is paid.
    pub(super) few_addresses: bool,
    pub(super) accounts: Vec<&'static str>,
    /// Wallets that are bound, and to whom; empty if the policy does not ask for it.
    pub(super) bound: Vec<(&'static str, &'static str)>,
    /// Parties with a DID, and its method.
    pub(super) dids: Vec<(&'static str, &'static str)>,
    /// Smallest channel, in satoshi.
    pub(super) smallest_channel_sat: u64,
    /// The deepest that any payment must be.
    pub(super) deepest: u64,
    /// Whether parties have DIDs and Layer 0 is told how their payments end.
    pub(super) reputation: bool,
    /// The engine manages its node's channels.
    pub(super) managed: bool,
    /// Channels of the set-up and their ends.
    pub(super) channels: Vec<(String, [&'static str; 2])>,
    /// An agent decides about charges in escrow.
    pub(super) escrows: bool,
    /// Charges on chain have refund addresses.
    refunds: bool,
    /// In words, for the title.
    pub(super) shape: String,
    /// Lines of the file.
    pub(super) lines: Vec<String>,
}

/// Draws it. Without `lightning` there are no nodes.
pub(super) fn draw(profile: &Profile, seed: RootSeed, lightning: bool) -> Setup {
    let mut setup = Setup {
        smallest_channel_sat: u64::MAX,
        reputation: Draws::of(seed, "reputation").ppm(profile.reputation_ppm),
        managed: lightning && channels::are_managed(profile, seed),
        escrows: Draws::of(seed, "escrow").ppm(profile.escrow_ppm),
        ..Setup::default()
    };
    let mut channels = Vec::new();
    if lightning {
        channels = topology(&mut setup, profile, seed);
    }
    let vault = vault(profile, seed);
    operator(&mut setup, seed, lightning, vault.as_ref());
    let mut draws = Draws::of(seed, "people");
    let count = draws.between(profile.parties.least.into(), profile.parties.most.into()) as usize;
    setup.parties = PARTIES[..count].to_vec();
    setup.wallets = ["walt", "wanda"][..draws.between(1, 2) as usize].to_vec();
    let binding = bindings::draw(&mut setup, seed);
    policy(&mut setup, seed, (binding, vault.as_ref()));
    people(&mut setup, draws, seed);
    match vault {
        Some(_) => setup.own_wallets = vec!["hot", VAULT],
        None => own_wallets(&mut setup, seed),
    }
    if lightning {
        nodes(&mut setup, &channels, seed);
    }
    setup
}

/// A channel: its ends, size in satoshi, and line.
struct Channel {
    from: &'static str,
    capacity: u64,
    line: String,
}

fn topology(setup: &mut Setup, profile: &Profile, seed: RootSeed) -> Vec<Channel> {
    let mut draws = Draws::of(seed, "topology");
    let count = draws.between(profile.nodes.least.into(), profile.nodes.most.into()) as usize;
    let mut names: Vec<&'static str> = OUTSIDERS[..count - 1].to_vec();
    setup.outsiders = names.clone();
    let shapes = [
        (Shape::Line, 4),
        (Shape::Star, 3),
        (Shape::Ring, if count > 2 { 3 } else { 0 }),
    ];
    let shape = draws.weighted(&shapes).unwrap_or(Shape::Line);
    // Mostly at the end: routes are longest there.
    let place = if draws.percent(60) {
        count - 1
    } else {
        draws.between(0, count as u64 - 1) as usize
    };
    names.insert(place, OPERATOR);
    setup.shape = format!("{count} nodes {}", shape.word());
    let mut edges: Vec<(usize, usize)> = match shape {
        Shape::Line | Shape::Ring => (1..count).map(|right| (right - 1, right)).collect(),
        Shape::Star => (1..count).map(|leaf| (0, leaf)).collect(),
    };
    if shape == Shape::Ring {
        edges.push((0, count - 1));
    }
    let degree = |node: usize| {
        edges
            .iter()
            .filter(|(a, b)| *a == node || *b == node)
            .count()
    };
    let mut channels = Vec::new();
    for (index, (a, b)) in edges.iter().enumerate() {
        let leaf = degree(*a) == 1 || degree(*b) == 1;
        let mut draws = Draws::of(seed, &format!("channel/{index}"));
        let ends = if draws.percent(50) {
            (*a, *b)
        } else {
            (*b, *a)
        };
        let ends = [names[ends.0], names[ends.1]];
        let name = format!("{}-{}", ends[0], ends[1]);
        setup.channels.push((name, ends));
        channels.push(channel(&mut draws, (ends[0], ends[1]), leaf));
    }
    let sizes = channels.iter().map(|channel| channel.capacity);
    setup.smallest_channel_sat = sizes.min().unwrap_or(u64::MAX);
    channels
}

fn channel(draws: &mut Draws, (from, to): (&'static str, &'static str), leaf: bool) -> Channel {
    let capacity = draws.between(10, 100) * 100_000;
    let push = capacity / 100 * draws.between(25, 60);
    let mut line = format!(
        "channels.{from}-{to} = {{ from = \"{from}\", to = \"{to}\", capacity = \"{}\", push = \"{}\"",
        sat(capacity),
        sat(push)
    );
    // Nobody routes over a channel that is not announced: only at the edge.
    if leaf && draws.percent(15) {
        line.push_str(", announced = false");
    }
    if draws.percent(50) {
        line.push_str(&format!(
            ", fees = {{ from = {}, to = {} }}",
            fees(draws),
            fees(draws)
        ));
    }
    line.push_str(" }");
    Channel {
        from,
        capacity,
        line,
    }
}

fn fees(draws: &mut Draws) -> String {
    let (base, ppm, cltv) = (
        draws.between(0, 3_000),
        draws.between(0, 1_000),
        draws.between(60, 144),
    );
    format!("{{ base = \"{base} msat\", ppm = {ppm}, cltv = \"{cltv} blocks\" }}")
}

/// What a node needs on chain beside what it puts into channels (the format asks for 50,000 sat for each of them).
const SPARE_SAT: u64 = 500_000;

fn nodes(setup: &mut Setup, channels: &[Channel], seed: RootSeed) {
    let own_sat = channels::needs_sat(setup, seed);
    let all = setup.outsiders.iter().copied().chain([OPERATOR]);
    let lines: Vec<String> = all
        .map(|name| {
            let opened = channels.iter().filter(|channel| channel.from == name);
            let mut needed: u64 = opened.map(|channel| channel.capacity + 50_000).sum();
            if name == OPERATOR {
                needed += own_sat;
            }
            format!(
                "nodes.{name} = {{ funds = \"{}\" }}",
                sat(needed + SPARE_SAT)
            )
        })
        .collect();
    setup.lines.extend(lines);
    setup
        .lines
        .extend(channels.iter().map(|channel| channel.line.clone()));
    let own = channels::line(setup, seed);
    setup.lines.extend(own);
}

/// A wallet of several keys: its line among the operator's wallets, and what the policy says of it.
struct Vault {
    wallet: String,
    policy: String,
}

/// The operator's wallet of several keys.
pub(super) const VAULT: &str = "vault";

/// Who may have to sign.
const COSIGNERS: [&str; 5] = ["nora", "otto", "pia", "quinn", "rosa"];

fn vault(profile: &Profile, seed: RootSeed) -> Option<Vault> {
    let mut draws = Draws::of(seed, "vault");
    if !draws.ppm(profile.cosigned_ppm) {
        return None;
    }
    let people = draws.between(1, COSIGNERS.len() as u64) as usize;
    let threshold = draws.between(1, people as u64);
    let names = COSIGNERS[..people].iter().map(|name| format!("\"{name}\""));
    let names: Vec<String> = names.collect();
    let recovery = match draws.percent(70) {
        true => format!(
            ", recovery = \"uma\", after = \"{}\"",
            blocks(draws.between(1, 30))
        ),
        false => String::new(),
    };
    let funds = sat(draws.between(5, 60) * 1_000_000);
    let mut policy = format!(
        "wallet_by_value = [{{ from = \"{}\", wallet = \"{VAULT}\" }}]",
        sat(draws.between(1, 100) * 1_000)
    );
    // Mostly shorter than a cosigner's fault lasts.
    if draws.percent(70) {
        let patience = span(draws.between(2, 90) * 1_000);
        policy.push_str(&format!(", cosigner_patience = \"{patience}\""));
    }
    let cosigners = format!(
        "{{ threshold = {threshold}, of = [{}]{recovery} }}",
        names.join(", ")
    );
    let wallet =
        format!("{{ purpose = \"multisig\", funds = \"{funds}\", cosigners = {cosigners} }}");
    Some(Vault { wallet, policy })
}

fn operator(setup: &mut Setup, seed: RootSeed, lightning: bool, vault: Option<&Vault>) {
    let mut draws = Draws::of(seed, "operator");
    let node = if lightning {
        format!("node = \"{OPERATOR}\", ")
    } else {
        String::new()
    };
    // Now and then there is too little outside for what is ordered.
    let wallet = if draws.percent(15) {
        draws.between(50_000, 400_000)
    } else {
        draws.between(2, 50) * 1_000_000
    };
    let gateway = if draws.percent(15) {
        draws.between(1, 50) * 100
    } else {
        draws.between(200, 5_000) * 100
    };
    let wallets = vault.map_or_else(String::new, |vault| {
        format!(", wallets = {{ {VAULT} = {} }}", vault.wallet)
    });
    setup.lines.push(format!(
        "operator = {{ {node}wallet = \"{}\"{wallets}, gateway = \"{}\" }}",
        sat(wallet),
        euro(gateway)
    ));
}

/// Savings in some plans, and a party with a wallet of its own: its charges are then paid into that one.
fn own_wallets(setup: &mut Setup, seed: RootSeed) {
    let mut draws = Draws::of(seed, "own wallets");
    if !draws.percent(45) {
        return;
    }
    let script = |draws: &mut Draws| if draws.percent(50) { "tr" } else { "wpkh" };
    let mut wallets = Vec::new();
    if draws.percent(80) {
        setup.own_wallets = vec!["hot", "savings"];
        let (script, funds) = (script(&mut draws), sat(draws.between(1, 30) * 1_000_000));
        setup.few_addresses = Draws::of(seed, "gap limits").percent(35);
        let limit = if setup.few_addresses {
            ", gap_limit = 1"
        } else {
            ""
        };
        wallets.push(format!(
            "savings = {{ purpose = \"savings\", script = \"{script}\", funds = \"{funds}\"{limit} }}"
        ));
    }
    if draws.percent(40)
        && let Some(party) = draws.pick(&setup.parties)
    {
        wallets.push(format!(
            "of-{party} = {{ script = \"{}\", owner = \"{party}\" }}",
            script(&mut draws)
        ));
    }
    let mut lines = setup.lines.iter_mut();
    let operator = lines.find(|line| line.starts_with("operator = {"));
    if let (Some(line), false) = (operator, wallets.is_empty()) {
        let rest = line.trim_end_matches(" }").to_owned();
        *line = format!("{rest}, wallets = {{ {} }} }}", wallets.join(", "));
    }
}

fn policy(setup: &mut Setup, seed: RootSeed, (binding, vault): (Option<&str>, Option<&Vault>)) {
    let mut draws = Draws::of(seed, "policy");
    let (small, large) = (draws.between(1, 2), draws.between(1, 4));
    let payout_depth = draws.between(1, 3);
    setup.deepest = small.max(large).max(payout_depth);
    let mut keys = vec![
        format!(
            "depth = [{{ below = \"{}\", blocks = {small} }}, {{ blocks = {large} }}]",
            sat(draws.between(1, 8) * 100_000)
        ),
        format!("payout_depth = \"{}\"", blocks(payout_depth)),
    ];
    if draws.percent(50) {
        keys.push(format!("feerate = \"{} sat/vB\"", draws.between(1, 5)));
    }
    if draws.percent(40) {
        keys.push(format!("hold_margin = \"{}\"", blocks(draws.between(1, 6))));
    }
    if draws.percent(50) {
        keys.push(format!(
            "poll_interval = \"{}\"",
            span(draws.between(1, 12) * 60_000)
        ));
    }
    if draws.percent(40) {
        keys.push(format!(
            "rate = \"{}.{:02} EUR/BTC\"",
            draws.between(20_000, 120_000),
            draws.between(0, 99)
        ));
    }
    if setup.managed {
        keys.push("channels = true".to_owned());
    }
    if setup.reputation {
        keys.push("reputation = true".to_owned());
    }
    if let Some(asked) = binding {
        keys.push(format!("binding = \"{asked}\""));
    }
    receiving(setup, &mut keys, seed);
    keys.extend(vault.map(|vault| vault.policy.clone()));
    keys.extend(paying(seed));
    setup
        .lines
        .push(format!("policy = {{ {} }}", keys.join(", ")));
}

/// How the operator pays on chain: in four plans of ten otherwise than plainly.
fn paying(seed: RootSeed) -> Option<String> {
    let mut draws = Draws::of(seed, "paying");
    if !draws.percent(40) {
        return None;
    }
    let mut keys = Vec::new();
    if draws.percent(70) {
        keys.push(format!("floor = \"{} sat/vB\"", draws.between(1, 3)));
        keys.push(format!("ceiling = \"{} sat/vB\"", draws.between(5, 40)));
        let bump = ["off", "replace", "replace", "child"][draws.between(0, 3) as usize];
        keys.push(format!("bump = \"{bump}\""));
    }
    if draws.percent(60) {
        let window = draws.between(5, 120) * 1_000;
        keys.push(format!("window = \"{}\"", span(window)));
        keys.push(format!("most = {}", draws.between(1, 5)));
    }
    if draws.percent(25) {
        let budget = draws.between(2_000, 30_000);
        keys.push(format!("budget = \"{}\"", sat(budget)));
    }
    if draws.percent(25) {
        keys.push(format!("coins = {}", draws.between(2, 6)));
        keys.push(format!("cheap = \"{} sat/vB\"", draws.between(1, 6)));
    }
    (!keys.is_empty()).then(|| format!("paying = {{ {} }}", keys.join(", ")))
}

/// What becomes of money on chain that is not as asked, or is taken back after it was spent.
fn receiving(setup: &mut Setup, keys: &mut Vec<String>, seed: RootSeed) {
    let mut draws = Draws::of(seed, "receiving");
    if draws.percent(65) {
        setup.refunds = draws.percent(70);
        let disposal = |draws: &mut Draws| {
            let all = ["suspense", "credit", "refund", "refund"];
            draws.pick(&all).copied().unwrap_or("suspense")
        };
        let kinds = ["partial", "over", "late", "double"];
        let kinds = kinds.map(|kind| format!("{kind} = \"{}\"", disposal(&mut draws)));
        keys.push(format!("stray = {{ {} }}", kinds.join(", ")));
    }
    if draws.percent(25) {
        keys.push(format!("tolerance = \"{}\"", sat(draws.between(1, 20_000))));
    }
    if draws.percent(55) {
        let limit = sat(draws.between(1, 300) * 1_000);
        let bearers = [
            format!("by = \"receivable\", limit = \"{limit}\""),
            "by = \"operator\"".to_owned(),
            "by = \"freeze\"".to_owned(),
        ];
        let bearer = draws.pick(&bearers).cloned().unwrap_or_default();
        keys.push(format!("shortfall = {{ {bearer} }}"));
    }
    if draws.percent(20) {
        let age = span(draws.between(10, 60) * 60_000);
        keys.push(format!("max_tip_age = \"{age}\""));
    }
}

impl Setup {
    /// Where the money of a charge goes back to, if anywhere: the end of the charge's text.
    pub(super) fn refund_to(&self, number: usize) -> String {
        match self.wallets.get(number % 3) {
            Some(wallet) if self.refunds => format!(", refund_to = \"{wallet}\""),
            _ => String::new(),
        }
    }
}

/// Goes on with the draws that gave parties and wallets.
fn people(setup: &mut Setup, mut draws: Draws, seed: RootSeed) {
    let known = &ACCOUNTS[..draws.between(1, 4) as usize];
    setup.accounts = known.iter().map(|(name, ..)| *name).collect();
    setup.lines.push(String::new());
    if setup.reputation && setup.dids.is_empty() {
        let method = |party| match Draws::of(seed, &format!("did/{party}")).percent(70) {
            true => (party, "key"),
            false => (party, "web"),
        };
        setup.dids = setup.parties.iter().copied().map(method).collect();
    }
    for party in &setup.parties {
        let did = setup.dids.iter().find(|(known, _)| known == party);
        let did = did.map_or(String::new(), |(_, method)| format!(" did = \"{method}\" "));
        setup.lines.push(format!("parties.{party} = {{{did}}}"));
    }
    if setup.escrows {
        setup.lines.extend(escrow::people());
    }
    for wallet in &setup.wallets {
        let funds = draws.between(50, 500) * 1_000_000;
        setup.lines.push(format!(
            "wallets.{wallet} = {{ funds = \"{}\" }}",
            sat(funds)
        ));
    }
    for (name, iban, holder) in known.iter().chain([&BAD_ACCOUNT]) {
        setup.lines.push(format!(
            "accounts.{name} = {{ iban = \"{iban}\", name = \"{holder}\" }}"
        ));
    }
}
