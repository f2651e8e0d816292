//! Owns profiles: what plans are drawn from, in numbers; their TOML form, its schema, and the built-in ones. Does not own the
//! drawing.

use super::kinds;
use crate::scenario::{Family, InvalidScenario, Problem};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// What plans are drawn from. Every number of a plan is drawn from the seed within these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, as one sentence.
    pub title: String,
    /// Virtual minutes in which payments begin.
    pub minutes: Bounds,
    /// Payments in a plan, refused ones included.
    pub payments: Bounds,
    /// Lightning nodes, if the plan has any; 2 to 6.
    pub nodes: Bounds,
    /// Parties with accounts in the engine; 1 to 4.
    pub parties: Bounds,
    /// Weights of the kinds of payments; 0: never.
    pub traffic: Traffic,
    /// Chance, in millionths, that a plan does without a whole kind of payments, or without a whole family of faults.
    pub off_ppm: u32,
    /// Chance, in millionths, that in a plan parties have DIDs and Layer 0 is told how their payments end.
    #[serde(default)]
    pub reputation_ppm: u32,
    /// What may break.
    pub faults: Budget,
    /// In so many plans of a million, payouts from some amount on leave a wallet of several keys.
    #[serde(default)]
    pub cosigned_ppm: u32,
    /// So many payouts on chain of a million are of all that the party has.
    #[serde(default)]
    pub all_ppm: u32,
    /// In so many plans of a million the engine manages its node's channels, and channels open and close.
    #[serde(default)]
    pub channels_ppm: u32,
    /// In so many plans of a million, charges are in escrow and an agent decides about them.
    #[serde(default)]
    pub escrow_ppm: u32,
    /// Cells of the coverage matrix that all seeds together must reach, as "rail/state/fault".
    #[serde(default)]
    pub required: Vec<String>,
}

/// A number between two, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// At least.
    pub least: u32,
    /// At most.
    pub most: u32,
}

/// Weights of the kinds of payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Traffic {
    /// Charges over Lightning.
    pub charge_lightning: u32,
    /// Charges over Lightning that wait for a decision.
    pub charge_hold: u32,
    /// Charges on chain.
    pub charge_onchain: u32,
    /// Payouts over Lightning.
    pub payout_lightning: u32,
    /// Payouts on chain.
    pub payout_onchain: u32,
    /// Payouts over SEPA.
    pub payout_sepa: u32,
    /// Commands that must be refused.
    pub refused: u32,
}

/// The fault budget: what may break together, so that each payment can still become final.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Faults in a plan.
    pub count: Bounds,
    /// At most so many at one time.
    pub at_once: u32,
    /// None lasts longer, in seconds. All of them together must be over before the shortest deadline of a payout (30 min).
    pub longest_s: u32,
    /// Most blocks that a reorganisation takes back; 1 to 5 (channels were funded 6 blocks deep).
    pub reorg_depth: u32,
    /// Weights of families; one that is left out is never drawn.
    pub families: BTreeMap<FamilyName, u32>,
    /// Weights of single kinds, as "family/kind", in place of the usual ones.
    #[serde(default)]
    pub kinds: BTreeMap<String, u32>,
}

/// A family of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FamilyName {
    /// Bytes between two endpoints.
    Link,
    /// A process dies, stands still, or comes back wrong.
    Process,
    /// What a process keeps.
    Disk,
    /// What a process takes for the time.
    Clock,
    /// Blocks, mempool and fee market, and the backend that tells of them.
    Chain,
    /// Requests to the gateway and its webhooks.
    Http,
    /// A Lightning node that does not keep to the protocol.
    Peer,
    /// A cosigner who does not do what he is asked to.
    Cosigner,
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Family {
        match name {
            FamilyName::Link => Family::Link,
            FamilyName::Process => Family::Process,
            FamilyName::Disk => Family::Disk,
            FamilyName::Clock => Family::Clock,
            FamilyName::Chain => Family::Chain,
            FamilyName::Http => Family::Http,
            FamilyName::Peer => Family::Peer,
            FamilyName::Cosigner => Family::Cosigner,
        }
    }
}

/// The shortest deadline that a plan gives a payout which is meant to succeed, in seconds.
pub(super) const SHORTEST_DEADLINE_S: u32 = 1_800;

/// The built-in profiles by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("default", include_str!("profiles/default.toml")),
    ("calm", include_str!("profiles/calm.toml")),
    ("chain", include_str!("profiles/chain.toml")),
    ("lightning", include_str!("profiles/lightning.toml")),
    ("fiat", include_str!("profiles/fiat.toml")),
    ("reputation", include_str!("profiles/reputation.toml")),
    ("multisig", include_str!("profiles/multisig.toml")),
    ("paying", include_str!("profiles/paying.toml")),
    ("channels", include_str!("profiles/channels.toml")),
    ("nightly", include_str!("profiles/nightly.toml")),
];

impl Profile {
    /// The text of a built-in profile.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// Reads and checks a profile. `file` is its name as the user knows it.
    pub fn parse(file: &str, text: &str) -> Result<Profile, InvalidScenario> {
        let invalid = |problems| InvalidScenario {
            file: file.to_owned(),
            text: text.to_owned(),
            problems,
            imported: Vec::new(),
        };
        let profile: Profile = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..text.len().min(1));
            let help = "see docs/FUZZING.md for the keys, or `lockstep schema --profile`";
            invalid(vec![problem(
                "this is no profile",
                span,
                error.message(),
                help,
            )])
        })?;
        let problems: Vec<Problem> = profile
            .wrong()
            .into_iter()
            .map(|(key, label, help)| {
                problem("this cannot be drawn", span_of(text, key), &label, &help)
            })
            .collect();
        if problems.is_empty() {
            Ok(profile)
        } else {
            Err(invalid(problems))
        }
    }

    /// What is wrong beyond the form: key, what, remedy.
    fn wrong(&self) -> Vec<(&str, String, String)> {
        let mut found = Vec::new();
        let bounded = [
            ("minutes", self.minutes, 1..=1_440),
            ("payments", self.payments, 1..=200),
            ("nodes", self.nodes, 2..=6),
            ("parties", self.parties, 1..=4),
            ("count", self.faults.count, 0..=50),
        ];
        for (key, bounds, legal) in bounded {
            let inside = legal.contains(&bounds.least) && legal.contains(&bounds.most);
            if !inside || bounds.least > bounds.most {
                let help = format!(
                    "write `{key} = {{ least = …, most = … }}` with numbers from {} to {}, `least` not above `most`",
                    legal.start(),
                    legal.end()
                );
                found.push((key, format!("{} to {}", bounds.least, bounds.most), help));
            }
        }
        if self
            .traffic
            .weights()
            .iter()
            .all(|(_, weight)| *weight == 0)
        {
            let help = "give one kind of payments a weight".to_owned();
            found.push(("traffic", "no payment is ever made".to_owned(), help));
        }
        for (key, ppm) in [
            ("off_ppm", self.off_ppm),
            ("cosigned_ppm", self.cosigned_ppm),
            ("all_ppm", self.all_ppm),
            ("channels_ppm", self.channels_ppm),
            ("escrow_ppm", self.escrow_ppm),
            ("reputation_ppm", self.reputation_ppm),
        ] {
            if ppm > 1_000_000 {
                let help = "write millionths, at most 1_000_000".to_owned();
                found.push((key, "more than always".to_owned(), help));
            }
        }
        self.faults.wrong(&mut found);
        for cell in &self.required {
            if !crate::workload::cells::is_one(cell) {
                let help = "write it as \"lightning/dispatched/partition\"; `lockstep fuzz` prints the matrix".to_owned();
                found.push((cell, "no such cell".to_owned(), help));
            }
        }
        found
    }
}

impl Budget {
    fn wrong<'a>(&'a self, found: &mut Vec<(&'a str, String, String)>) {
        if !(1..=5).contains(&self.reorg_depth) {
            let help = "write 1 to 5: channels were funded 6 blocks deep".to_owned();
            found.push(("reorg_depth", self.reorg_depth.to_string(), help));
        }
        let together = u64::from(self.count.most) * u64::from(self.longest_s);
        if together >= u64::from(SHORTEST_DEADLINE_S) || self.longest_s == 0 {
            let help = format!(
                "keep `count.most` times `longest_s` below {SHORTEST_DEADLINE_S}: no deadline may pass because of faults alone"
            );
            let label = format!("all faults together can last {together} s");
            found.push(("longest_s", label, help));
        }
        if self.count.most > 0 && (self.at_once == 0 || self.families.values().all(|w| *w == 0)) {
            let help = "write `at_once = 1` or more and give a family a weight, or `count = { least = 0, most = 0 }`";
            found.push(("at_once", "no fault may happen".to_owned(), help.to_owned()));
        }
        for key in self.kinds.keys() {
            if kinds::by_key(key).is_none() {
                let help =
                    "write it as \"link/partition\"; docs/FUZZING.md has the kinds".to_owned();
                found.push((key, "no such kind of fault".to_owned(), help));
            }
        }
    }

    /// The weight of a family.
    pub(super) fn family(&self, family: Family) -> u32 {
        let named = self.families.iter();
        named
            .filter(|(name, _)| Family::from(**name) == family)
            .map(|(_, weight)| *weight)
            .sum()
    }
}

/// A kind of payment, for the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    ChargeLightning,
    ChargeHold,
    ChargeOnchain,
    PayoutLightning,
    PayoutOnchain,
    PayoutSepa,
    Refused,
}

impl Sort {
    pub(super) fn needs_nodes(self) -> bool {
        matches!(
            self,
            Sort::ChargeLightning | Sort::ChargeHold | Sort::PayoutLightning
        )
    }

    pub(super) fn is_charge(self) -> bool {
        matches!(
            self,
            Sort::ChargeLightning | Sort::ChargeHold | Sort::ChargeOnchain
        )
    }

    pub(super) fn is_payout(self) -> bool {
        matches!(
            self,
            Sort::PayoutLightning | Sort::PayoutOnchain | Sort::PayoutSepa
        )
    }
}

impl Traffic {
    pub(super) fn weights(&self) -> [(Sort, u32); 7] {
        [
            (Sort::ChargeLightning, self.charge_lightning),
            (Sort::ChargeHold, self.charge_hold),
            (Sort::ChargeOnchain, self.charge_onchain),
            (Sort::PayoutLightning, self.payout_lightning),
            (Sort::PayoutOnchain, self.payout_onchain),
            (Sort::PayoutSepa, self.payout_sepa),
            (Sort::Refused, self.refused),
        ]
    }
}

fn problem(title: &str, span: Range<usize>, label: &str, help: &str) -> Problem {
    Problem {
        title: title.to_owned(),
        span,
        label: label.to_owned(),
        also: None,
        help: help.to_owned(),
    }
}

/// Where a key or value stands, for messages.
fn span_of(text: &str, key: &str) -> Range<usize> {
    text.find(key).map_or(0..0, |at| at..at + key.len())
}

/// The JSON schema of profiles.
pub fn schema() -> serde_json::Value {
    let schema = schemars::schema_for!(Profile);
    serde_json::to_value(schema).expect("a schema is JSON")
}
