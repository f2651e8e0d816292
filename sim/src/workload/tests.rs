//! What every plan must be, and what all plans together must have.

use super::kinds::{Hits, KINDS};
use super::*;
use crate::scenario::{Action, Pace, Rail};
use std::collections::{BTreeMap, BTreeSet};

fn built_in(name: &str) -> Profile {
    Profile::parse(name, Profile::built_in(name).expect("built in"))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn drawn(name: &str, profile: &Profile, seed: u64) -> Scenario {
    let text = plan(name, profile, seed).unwrap_or_else(|error| panic!("{error}"));
    Scenario::parse("plan", &text).expect("checked when it was drawn")
}

#[test]
fn two_thousand_plans_are_scenarios() {
    for (name, _) in BUILT_IN {
        let profile = built_in(name);
        let seeds = if *name == "default" { 2_000 } else { 150 };
        for seed in 0..seeds {
            let scenario = drawn(name, &profile, seed);
            assert_eq!(scenario.pace, Pace::Free);
            assert_eq!(scenario.seed, seed);
        }
    }
}

#[test]
fn a_plan_depends_on_its_seed_alone() {
    let profile = built_in("default");
    let draw = |seed| plan("default", &profile, seed).expect("a plan");
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7).lines().last(), None);
    let titles = |text: String| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(titles(draw(7)), titles(draw(8)));
}

/// Where a fault of a step stands: `family/name`.
fn fault(action: &Action) -> Option<String> {
    match action {
        Action::Trouble(trouble) => {
            Some(format!("{}/{}", trouble.family().as_str(), trouble.name()))
        }
        Action::CrashNode { .. } | Action::CrashEngine { .. } => Some("process/crash".to_owned()),
        Action::Reorg(_) => Some("chain/reorg".to_owned()),
        Action::Layer0(fault) => Some(format!("http/{}", fault.kind.name())),
        Action::Gateway(fault) => {
            let text = format!("{:?}", fault.kind);
            let name = text.split([' ', '{']).next().unwrap_or_default();
            let mut kebab = String::new();
            for (index, letter) in name.chars().enumerate() {
                if letter.is_uppercase() && index > 0 {
                    kebab.push('-');
                }
                kebab.extend(letter.to_lowercase());
            }
            Some(format!("http/{kebab}"))
        }
        _ => None,
    }
}

#[test]
fn every_available_kind_of_fault_and_every_rail_occurs_and_is_left_out() {
    let profile = built_in("default");
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    let mut rails: BTreeMap<Rail, u32> = BTreeMap::new();
    let mut without: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..600 {
        let scenario = drawn("default", &profile, seed);
        let faults: Vec<String> = scenario
            .steps
            .iter()
            .filter_map(|step| fault(&step.action))
            .collect();
        assert!(
            faults.len() <= profile.faults.count.most as usize,
            "seed {seed}: {faults:?}"
        );
        for family in crate::scenario::Family::ALL {
            if !faults.iter().any(|key| key.starts_with(family.as_str())) {
                *without.entry(family.as_str()).or_default() += 1;
            }
        }
        faults
            .into_iter()
            .for_each(|key| *kinds.entry(key).or_default() += 1);
        for step in &scenario.steps {
            let rail = match &step.action {
                Action::Charge(charge) => charge.request.rail(),
                Action::Payout(payout) => payout.payee.rail(),
                _ => continue,
            };
            *rails.entry(rail).or_default() += 1;
        }
    }
    for kind in KINDS.iter().filter(|kind| kind.hits != Hits::Cosigner) {
        let found = kinds.contains_key(&kind.key());
        assert!(found, "{}: {kinds:?}", kind.key());
    }
    assert_eq!(rails.len(), 3, "{rails:?}");
    assert!(without.values().all(|count| *count > 30), "{without:?}");
}

/// Who must sign is asked for in the profile of cosigned wallets alone.
#[test]
fn every_kind_of_cosigners_fault_occurs_where_wallets_are_cosigned() {
    let profile = built_in("multisig");
    let drawn: BTreeSet<String> = (0..300)
        .flat_map(|seed| drawn("multisig", &profile, seed).steps)
        .filter_map(|step| fault(&step.action))
        .collect();
    for kind in KINDS.iter().filter(|kind| kind.hits == Hits::Cosigner) {
        assert!(drawn.contains(&kind.key()), "{}: {drawn:?}", kind.key());
    }
}

#[test]
fn streams_are_independent() {
    let profile = built_in("default");
    let more = Profile {
        faults: Budget {
            count: Bounds { least: 3, most: 6 },
            ..profile.faults.clone()
        },
        ..profile.clone()
    };
    let without_faults = |profile: &Profile| {
        let mut scenario = drawn("default", profile, 11);
        scenario.steps.retain(|step| fault(&step.action).is_none());
        scenario
            .steps
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(without_faults(&profile), without_faults(&more));
}

#[test]
fn nothing_breaks_in_a_calm_plan() {
    let profile = built_in("calm");
    for seed in 0..100 {
        let scenario = drawn("calm", &profile, seed);
        assert!(
            scenario
                .steps
                .iter()
                .all(|step| fault(&step.action).is_none())
        );
    }
}

#[test]
fn what_may_close_channels_stays_away_from_the_operator() {
    for kind in KINDS.iter().filter(|kind| kind.closes) {
        assert!(
            kind.hits != kinds::Hits::Process,
            "{}: it would hit the operator's node",
            kind.key()
        );
    }
}

#[test]
fn the_table_has_every_fault_of_the_format() {
    let schema = crate::scenario::schema().to_string();
    for (definition, family) in [
        ("LinkFault", "link"),
        ("ProcessFault", "process"),
        ("DiskFault", "disk"),
        ("ClockFault", "clock"),
        ("ChainFault", "chain"),
        ("PeerFault", "peer"),
        ("CosignerFault", "cosigner"),
        ("GatewayFaultKind", "http"),
        ("Layer0Fault", "http"),
    ] {
        let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
        let found = schema["$defs"][definition].to_string();
        let words: Vec<&str> = found
            .split("\"const\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!words.is_empty(), "{definition}: {found}");
        for word in words {
            assert!(
                kinds::by_key(&format!("{family}/{word}")).is_some(),
                "{family}/{word} is not in the table"
            );
        }
    }
}

#[test]
fn a_wrong_profile_is_told_with_its_place_and_remedy() {
    let good = Profile::built_in("default").expect("built in");
    for (from, to, told) in [
        ("minutes", "minuts", "unknown field"),
        (
            "longest_s = 120",
            "longest_s = 900",
            "all faults together can last",
        ),
        (
            "nodes = { least = 2, most = 4 }",
            "nodes = { least = 2, most = 9 }",
            "numbers from 2 to 6",
        ),
        ("at_once = 2", "at_once = 0", "no fault may happen"),
        (
            "[faults]",
            "required = [\"sepa/held/crash\"]\n[faults]",
            "unknown field",
        ),
        (
            "off_ppm = 300_000",
            "off_ppm = 300_000\nrequired = [\"sepa/held/crash\"]",
            "no such cell",
        ),
        (
            "[faults]",
            "[faults]\nkinds = { \"link/gone\" = 3 }",
            "no such kind of fault",
        ),
    ] {
        let error = Profile::parse("mine.toml", &good.replace(from, to)).expect_err(told);
        let shown = error.to_string();
        assert!(
            shown.contains(told) && shown.contains("mine.toml:") && shown.contains("help"),
            "{shown}"
        );
    }
}

#[test]
fn a_scenario_is_taken_without_its_expectations_and_faults() {
    let source = include_str!("../../../scenarios/lightning/forwarding-crash.toml");
    let text = trouble(
        "forwarding-crash.toml",
        source,
        ("default", &built_in("default")),
        3,
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let scenario = Scenario::parse("x", &text).expect("checked");
    assert!(
        scenario
            .steps
            .iter()
            .all(|step| !matches!(step.action, Action::Expect(_)))
    );
    let original = Scenario::parse("y", source).expect("a scenario");
    assert_eq!(scenario.nodes, original.nodes);
    assert_eq!(scenario.channels, original.channels);
    let pays = |scenario: &Scenario| {
        scenario
            .steps
            .iter()
            .filter(|s| matches!(s.action, Action::Pay(_) | Action::Payout(_)))
            .count()
    };
    assert_eq!(pays(&scenario), pays(&original));
}
