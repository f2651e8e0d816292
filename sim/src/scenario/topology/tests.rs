//! Owns the tests of topologies as part of a scenario: names, funds, pushes and fees after the expansion, imports, and that
//! what was expanded reads back the same. Does not own the errors (`tests/errors`) nor the shapes (`shapes`).

use crate::scenario::tests::Beside;
use crate::scenario::{Channel, Scenario};
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/corpus");

fn scenario(set_up: &str) -> Scenario {
    let text = format!(
        "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\n{set_up}\nsteps = [{{ mine = 1 }}]\n"
    );
    Scenario::parse_with("t.toml", &text, &Beside(Path::new(FIXTURES)))
        .unwrap_or_else(|refused| panic!("{refused}"))
}

fn line_of(channel: &Channel) -> String {
    let fees = [&channel.from_forwarding, &channel.to_forwarding].map(|asked| {
        format!(
            "{}+{}/{}",
            asked.base.get(),
            asked.proportional_millionths,
            asked.cltv_delta.get()
        )
    });
    format!(
        "{}: {} to {}, {} + {} msat, {}",
        channel.name,
        channel.from,
        channel.to,
        channel.capacity,
        channel.push.get(),
        fees.join(", ")
    )
}

fn channels(scenario: &Scenario) -> Vec<String> {
    scenario.channels.iter().map(line_of).collect()
}

fn nodes(scenario: &Scenario) -> Vec<(&str, u64)> {
    let nodes = scenario.nodes.iter();
    nodes
        .map(|node| (node.name.as_str(), node.funds.get()))
        .collect()
}

#[test]
fn a_line_stands_before_what_is_listed_and_is_funded_for_both() {
    let scenario = scenario(
        "nodes.shop = {}\nchannels.in = { from = \"n3\", to = \"shop\", capacity = \"1_000_000 sat\" }\n\
         topology = { line = 3, fees = { base = \"1 sat\", ppm = 7 } }",
    );
    assert_eq!(
        nodes(&scenario),
        [
            ("n1", 2_050_000),
            ("n2", 2_075_000),
            ("n3", 1_075_000),
            ("shop", 0)
        ]
    );
    let half = "2000000 sat + 1000000000 msat, 1000+7/80, 1000+7/80";
    assert_eq!(
        channels(&scenario),
        [
            format!("n1-n2: n1 to n2, {half}"),
            format!("n2-n3: n2 to n3, {half}"),
            "in: n3 to shop, 1000000 sat + 0 msat, 1000+100/80, 1000+100/80".to_owned()
        ]
    );
}

#[test]
fn what_is_expanded_reads_back_without_the_topology() {
    for set_up in [
        "topology = { star = 4, prefix = \"s\", push = \"0 sat\" }",
        "seed = 5\ntopology = { small_world = { nodes = 12, neighbours = 4 } }",
        "topology = { lnd = \"lnd-graph/ok-ring.json\" }",
        "topology = { sim_ln = \"sim-ln-network/ok-line.json\" }",
    ] {
        let expanded = scenario(set_up);
        let text = expanded.to_toml();
        assert!(!text.contains("topology"), "{text}");
        let mut again = Scenario::parse("again", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        again.steps[0].line = expanded.steps[0].line;
        assert_eq!(again, expanded, "{text}");
    }
}

#[test]
fn a_graph_of_lnd_has_names_from_aliases_and_channels_from_ids() {
    let scenario = scenario("topology = { lnd = \"lnd-graph/ok-ring.json\" }");
    let names: Vec<&str> = nodes(&scenario).into_iter().map(|(name, _)| name).collect();
    // Two are called Bob, one has no letters, and nobody is joined with the last one.
    assert_eq!(
        names,
        [
            "Alice",
            "030202020202",
            "carol.example",
            "Dave-Sons",
            "020505050505",
            "030606060606"
        ]
    );
    assert_eq!(
        channels(&scenario)[..3],
        [
            "700000x1x0: Alice to 030202020202, 2000000 sat + 1000000000 msat, 1000+100/80, 1000+100/80",
            "700000x2x1: 030202020202 to carol.example, 3000000 sat + 1500000000 msat, 0+500/144, 2000+1/80",
            "700010x7x0: carol.example to Dave-Sons, 1000000 sat + 500000000 msat, 1000+250/80, 1000+100/80"
        ]
    );
    assert_eq!(scenario.channels.len(), 7);
}

#[test]
fn a_file_may_get_other_sizes_and_fees() {
    let scenario = scenario(
        "topology = { lnd = \"lnd-graph/bad-capacity.json\", capacity = \"300_000 sat\", push = \"1 sat\", fees = { ppm = 1 } }",
    );
    assert!(
        channels(&scenario)
            .iter()
            .all(|line| line.ends_with("300000 sat + 1000 msat, 1000+1/80, 1000+1/80"))
    );
}

#[test]
fn a_network_of_sim_ln_is_read() {
    let scenario = scenario("topology = { sim_ln = \"sim-ln-network/ok-line.json\" }");
    assert_eq!(
        channels(&scenario),
        [
            "0x0x1: alice to bob, 2000000 sat + 1000000000 msat, 1000+100/80, 2000+100/80",
            "0x0x2: bob to 020303030303, 1500000 sat + 750000000 msat, 2000+100/80, 3000+100/80",
            "0x0x3: 020303030303 to dave, 1000000 sat + 500000000 msat, 3000+100/80, 4000+100/80"
        ]
    );
}

#[test]
fn the_seed_of_the_scenario_draws_the_network() {
    let drawn = |seed| {
        let topology = "topology = { small_world = { nodes = 20, neighbours = 4 } }";
        channels(&scenario(&format!("seed = {seed}\n{topology}")))
    };
    assert_eq!(drawn(3), drawn(3));
    assert_ne!(drawn(3), drawn(4));
}

/// A text without a folder cannot name files.
#[test]
fn a_text_that_stands_alone_imports_nothing() {
    let text = "title = \"t\"\nworlds = [\"simulated\", \"regtest\"]\ntopology = { lnd = \"a.json\" }\nsteps = [{ mine = 1 }]\n";
    let refused = Scenario::parse("t.toml", text).expect_err("no folder");
    let shown = refused.to_string();
    assert!(shown.contains("`a.json` cannot be read"), "{shown}");
}
