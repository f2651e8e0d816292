//! Owns writing a checked scenario as the file that a person would have written: set-up as dotted keys, one step a line,
//! amounts in the unit that fits, defaults left out. What is read back is the same scenario, lines apart.
//! Does not own reading (`read`, `check`) nor which names are good ones (`shrink`).

mod amounts;
mod bindings;
mod escrow;
mod steps;
mod trouble;

#[cfg(test)]
mod tests;

use super::model::{
    Channel, Depth, Forwarding, Operator, Pace, PayingOverrides, PolicyOverrides, Scenario,
    Shortfall, Stray, World,
};
use super::own_wallets::{
    CosignedBy, HOT, OwnedWallet, ScriptKind, USUAL_GAP_LIMIT, WalletPurpose,
};
use std::collections::BTreeMap;

/// What a name stands for. Nodes, wallets and accounts share one space: a payout names them without saying which it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameSpace {
    /// Parties.
    Party,
    /// Nodes, wallets and bank accounts.
    Outside,
    /// Channels.
    Channel,
    /// Charges and payouts.
    Payment,
    /// Reconciliations.
    Run,
}

/// New names for old ones; a name that is not in it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming(BTreeMap<(NameSpace, String), String>);

impl Renaming {
    /// From now on `old` is called `new`.
    pub fn rename(&mut self, space: NameSpace, old: &str, new: impl Into<String>) {
        self.0.insert((space, old.to_owned()), new.into());
    }

    /// What `old` is called.
    pub fn of<'a>(&'a self, space: NameSpace, old: &'a str) -> &'a str {
        self.0
            .get(&(space, old.to_owned()))
            .map_or(old, String::as_str)
    }
}

/// Writes one scenario under other names.
struct Writer<'a> {
    names: &'a Renaming,
}

/// An inline table in the making.
#[derive(Default)]
struct Inline(Vec<String>);

impl Inline {
    fn put(&mut self, key: &str, value: impl AsRef<str>) {
        self.0.push(format!("{key} = {}", value.as_ref()));
    }

    /// With text as value.
    fn text(&mut self, key: &str, value: impl AsRef<str>) {
        self.put(key, quoted(value.as_ref()));
    }

    /// With text as value, if it is there.
    fn maybe(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// `key = true`, if it is.
    fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.put(key, "true");
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(self) -> String {
        if self.0.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {} }}", self.0.join(", "))
        }
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts.
fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

/// A part of a dotted key; names may hold a dot.
fn key(name: &str) -> String {
    let is_bare = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_bare {
        name.to_owned()
    } else {
        quoted(name)
    }
}

impl Scenario {
    /// The text of a file that says the same: `Scenario::parse` gives this scenario again, but for the lines of its steps.
    pub fn to_toml(&self) -> String {
        self.to_toml_renamed(&Renaming::default())
    }

    /// The same under other names. Whether they are legal and apart is for `Scenario::parse` to say.
    pub fn to_toml_renamed(&self, names: &Renaming) -> String {
        let writer = Writer { names };
        let blocks = [
            head(self),
            writer.set_up(self),
            writer.fundables(self),
            writer.channels(self),
            writer.steps(self),
        ];
        let blocks: Vec<String> = blocks
            .into_iter()
            .filter(|lines| !lines.is_empty())
            .map(|lines| lines.join("\n"))
            .collect();
        blocks.join("\n\n") + "\n"
    }
}

fn head(scenario: &Scenario) -> Vec<String> {
    let mut lines = vec![format!("title = {}", quoted(&scenario.title))];
    let worlds = World::ALL
        .iter()
        .filter(|world| scenario.worlds.contains(world));
    lines.push(format!(
        "worlds = {}",
        list(worlds.map(|world| world.as_str()))
    ));
    if !scenario.why_not.is_empty() {
        let mut reasons = Inline::default();
        for (world, reason) in &scenario.why_not {
            reasons.text(world.as_str(), reason);
        }
        lines.push(format!("why_not = {}", reasons.end()));
    }
    if !scenario.covers.is_empty() {
        let rows = scenario.covers.iter().map(String::as_str);
        lines.push(format!("covers = {}", list(rows)));
    }
    if scenario.seed != 1 {
        lines.push(format!("seed = {}", scenario.seed));
    }
    if scenario.pace == Pace::Free {
        lines.push(format!("pace = {}", quoted(Pace::Free.as_str())));
    }
    lines
}

impl Writer<'_> {
    fn name(&self, space: NameSpace, name: &str) -> String {
        self.names.of(space, name).to_owned()
    }

    fn set_up(&self, scenario: &Scenario) -> Vec<String> {
        let mut lines = Vec::new();
        let operator = self.operator(&scenario.operator);
        if !operator.is_empty() {
            lines.push(format!("operator = {}", operator.end()));
        }
        let policy = policy(&scenario.policy);
        if !policy.is_empty() {
            lines.push(format!("policy = {}", policy.end()));
        }
        for party in &scenario.parties {
            let name = self.name(NameSpace::Party, party.as_str());
            let mut table = Inline::default();
            table.maybe("did", scenario.dids.get(party).map(|did| did.to_string()));
            lines.push(format!("parties.{} = {}", key(&name), table.end()));
        }
        for account in &scenario.accounts {
            let mut table = Inline::default();
            table.text("iban", &account.iban);
            table.text("name", &account.holder);
            let name = self.name(NameSpace::Outside, account.name.as_str());
            lines.push(format!("accounts.{} = {}", key(&name), table.end()));
        }
        lines
    }

    fn operator(&self, operator: &Operator) -> Inline {
        let mut table = Inline::default();
        let node = operator.node.as_ref();
        table.maybe(
            "node",
            node.map(|node| self.name(NameSpace::Outside, node.as_str())),
        );
        if operator.hot().funds.get() > 0 {
            table.text("wallet", amounts::funds(operator.hot().funds));
        }
        let wallets = self.own_wallets(&operator.wallets);
        if !wallets.is_empty() {
            table.put("wallets", wallets.end());
        }
        if operator.gateway.get() > 0 {
            table.text("gateway", amounts::cents(operator.gateway));
        }
        table
    }

    /// `hot` only if it is not as it is by itself.
    fn own_wallets(&self, wallets: &[OwnedWallet]) -> Inline {
        let mut named = Inline::default();
        for wallet in wallets {
            let mut table = Inline::default();
            if wallet.purpose != WalletPurpose::Hot {
                table.text("purpose", wallet.purpose.as_str());
            }
            if wallet.script != ScriptKind::Wpkh {
                table.text("script", wallet.script.as_str());
            }
            let is_hot = wallet.name.as_str() == HOT;
            if wallet.funds.get() > 0 && !is_hot {
                table.text("funds", amounts::funds(wallet.funds));
            }
            let owner = wallet.owner.as_ref();
            table.maybe(
                "owner",
                owner.map(|party| self.name(NameSpace::Party, party.as_str())),
            );
            if wallet.gap_limit != USUAL_GAP_LIMIT {
                table.put("gap_limit", wallet.gap_limit.to_string());
            }
            if let Some(people) = &wallet.cosigners {
                table.put("cosigners", cosigners(people).end());
            }
            if !table.is_empty() || !is_hot {
                named.put(&key(wallet.name.as_str()), table.end());
            }
        }
        named
    }

    /// Wallets and nodes.
    fn fundables(&self, scenario: &Scenario) -> Vec<String> {
        let wallets = scenario
            .wallets
            .iter()
            .map(|wallet| ("wallets", wallet.name.as_str(), wallet.funds));
        let nodes = scenario
            .nodes
            .iter()
            .map(|node| ("nodes", node.name.as_str(), node.funds));
        let line = |(table, name, funds): (&str, &str, super::model::Sat)| {
            let mut fundable = Inline::default();
            if funds.get() > 0 {
                fundable.text("funds", amounts::funds(funds));
            }
            let name = self.name(NameSpace::Outside, name);
            format!("{table}.{} = {}", key(&name), fundable.end())
        };
        wallets.chain(nodes).map(line).collect()
    }

    fn channels(&self, scenario: &Scenario) -> Vec<String> {
        let channels = scenario.channels.iter();
        channels.map(|channel| self.channel(channel)).collect()
    }

    fn channel(&self, channel: &Channel) -> String {
        let mut table = Inline::default();
        table.text("from", self.name(NameSpace::Outside, channel.from.as_str()));
        table.text("to", self.name(NameSpace::Outside, channel.to.as_str()));
        table.text("capacity", amounts::sat(channel.capacity));
        if channel.push.get() > 0 {
            table.text("push", amounts::msat(channel.push));
        }
        if !channel.announced {
            table.put("announced", "false");
        }
        if channel.later {
            table.put("later", "true");
        }
        let ends = [
            ("fees.from", &channel.from_forwarding),
            ("fees.to", &channel.to_forwarding),
        ];
        for (end, asked) in ends {
            let fees = forwarding(asked);
            if !fees.is_empty() {
                table.put(end, fees.end());
            }
        }
        let name = self.name(NameSpace::Channel, channel.name.as_str());
        format!("channels.{} = {}", key(&name), table.end())
    }

    fn steps(&self, scenario: &Scenario) -> Vec<String> {
        let mut lines = vec!["steps = [".to_owned()];
        for step in &scenario.steps {
            lines.push(format!("  {},", self.step(step)));
        }
        lines.push("]".to_owned());
        lines
    }
}

/// What is asked beside the defaults: 1,000 msat + 100 ppm, 80 blocks.
fn forwarding(asked: &Forwarding) -> Inline {
    let mut table = Inline::default();
    if asked.base.get() != 1_000 {
        table.text("base", amounts::fee(asked.base));
    }
    if asked.proportional_millionths != 100 {
        table.put(
            "ppm",
            amounts::grouped(u64::from(asked.proportional_millionths)),
        );
    }
    if asked.cltv_delta.get() != 80 {
        table.text("cltv", asked.cltv_delta.to_string());
    }
    table
}

fn cosigners(people: &CosignedBy) -> Inline {
    let mut table = Inline::default();
    table.put("threshold", people.threshold.to_string());
    table.put("of", list(people.of.iter().map(|name| name.as_str())));
    if let Some((by, after)) = &people.recovery {
        table.text("recovery", by.as_str());
        table.text("after", after.to_string());
    }
    table
}

fn policy(policy: &PolicyOverrides) -> Inline {
    let mut table = Inline::default();
    table.maybe("rate", policy.rate.map(amounts::rate));
    if let Some(rules) = &policy.depth {
        table.put("depth", depth(rules));
    }
    let blocks = |blocks: super::model::Blocks| blocks.to_string();
    table.maybe("payout_depth", policy.payout_depth.map(blocks));
    table.maybe("feerate", policy.feerate.map(|rate| rate.to_string()));
    let purpose = |word: WalletPurpose| word.to_string();
    table.maybe("charges_into", policy.charges_into.map(purpose));
    table.maybe("payouts_from", policy.payouts_from.map(purpose));
    if !policy.wallet_by_value.is_empty() {
        let rules = policy.wallet_by_value.iter().map(|(from, wallet)| {
            let mut rule = Inline::default();
            rule.text("from", amounts::sat(*from));
            rule.text("wallet", wallet.as_str());
            rule.end()
        });
        let rules: Vec<String> = rules.collect();
        table.put("wallet_by_value", format!("[{}]", rules.join(", ")));
    }
    table.maybe(
        "cosigner_patience",
        policy.cosigner_patience.map(amounts::span),
    );
    table.maybe("hold_margin", policy.hold_margin.map(blocks));
    table.maybe("poll_interval", policy.poll_interval.map(amounts::span));
    table.flag("reputation", policy.reputation);
    table.flag("channels", policy.channels);
    if let Some(stray) = &policy.stray {
        table.put("stray", self::stray(stray));
    }
    table.maybe("tolerance", policy.tolerance.map(amounts::sat));
    table.maybe("max_tip_age", policy.max_tip_age.map(amounts::span));
    if let Some(shortfall) = policy.shortfall {
        table.put("shortfall", self::shortfall(shortfall));
    }
    table.maybe("binding", policy.binding.map(|asked| asked.to_string()));
    if !policy.paying.is_empty() {
        table.put("paying", paying(&policy.paying));
    }
    table
}

fn stray(stray: &Stray) -> String {
    let mut kinds = Inline::default();
    kinds.text("partial", stray.partial.as_str());
    kinds.text("over", stray.over.as_str());
    kinds.text("late", stray.late.as_str());
    kinds.text("double", stray.double.as_str());
    kinds.end()
}

fn shortfall(shortfall: Shortfall) -> String {
    let mut table = Inline::default();
    match shortfall {
        Shortfall::Receivable { limit } => {
            table.text("by", "receivable");
            table.text("limit", amounts::sat(limit));
        }
        Shortfall::Operator => table.text("by", "operator"),
        Shortfall::Freeze => table.text("by", "freeze"),
    }
    table.end()
}

fn paying(paying: &PayingOverrides) -> String {
    let mut table = Inline::default();
    if let Some((floor, ceiling)) = paying.estimate {
        table.text("floor", floor.to_string());
        table.text("ceiling", ceiling.to_string());
    }
    table.maybe("budget", paying.budget.map(amounts::sat));
    table.maybe("bump", paying.bump.map(|bump| bump.as_str().to_owned()));
    table.maybe("window", paying.window.map(amounts::span));
    if let Some(most) = paying.most {
        table.put("most", most.to_string());
    }
    if let Some((coins, cheap)) = paying.consolidate {
        table.put("coins", coins.to_string());
        table.text("cheap", cheap.to_string());
    }
    table.end()
}

fn depth(rules: &Depth) -> String {
    let bounded = rules.below.iter().map(|(bound, blocks)| {
        let mut rule = Inline::default();
        rule.text("below", amounts::sat(*bound));
        rule.put("blocks", blocks.get().to_string());
        rule.end()
    });
    let mut last = Inline::default();
    last.put("blocks", rules.otherwise.get().to_string());
    let rules: Vec<String> = bounded.chain([last.end()]).collect();
    format!("[{}]", rules.join(", "))
}
