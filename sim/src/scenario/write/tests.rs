//! Owns the tests of the writer: every scenario file of the workspace, and everything that the format can say, is written
//! and read back; the text is as a person would have written it.

use super::{NameSpace, Renaming};
use crate::scenario::model::Scenario;
use crate::scenario::tests::{Beside, EVERYTHING};
use std::path::{Path, PathBuf};

fn parsed(file: &str, text: &str) -> Scenario {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut scenario = Scenario::parse_with(file, text, &Beside(folder))
        .unwrap_or_else(|refused| panic!("{refused}\n{text}"));
    for step in &mut scenario.steps {
        step.line = 0;
    }
    scenario
}

fn scenario_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join("scenarios"), root.join("tests/planted")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_written_reads_back_the_same() {
    let files = scenario_files();
    assert!(files.len() >= 20, "{files:?}");
    let texts = files.iter().map(|path| {
        let text = std::fs::read_to_string(path).expect("readable");
        (path.display().to_string(), text)
    });
    for (file, text) in texts.chain([("everything".to_owned(), EVERYTHING.to_owned())]) {
        let scenario = parsed(&file, &text);
        let written = scenario.to_toml();
        assert_eq!(parsed(&file, &written), scenario, "{file}:\n{written}");
        assert_eq!(
            parsed(&file, &written).to_toml(),
            written,
            "{file}: written twice"
        );
    }
}

/// Names, titles and reasons may hold what TOML gives a meaning to.
#[test]
fn odd_texts_read_back_the_same() {
    let text = "title = 'It \"says\" \\\\ and\ttabs'\nworlds = [\"simulated\"]\nwhy_not = { regtest = \"\"\"two\nlines\"\"\" }\n\
                parties.\"a.b\" = {}\nsteps = [{ expect = { party = \"a.b\", btc = \"0 sat\" } }]\n";
    let scenario = parsed("odd", text);
    assert_eq!(parsed("odd", &scenario.to_toml()), scenario);
}

#[test]
fn the_text_is_as_a_person_writes_it() {
    let text = r#"
title = "A charge"
worlds = ["regtest", "simulated"]
operator.wallet = "10000000 sat"
wallets.alice.funds = "50000000 sat"
parties.merchant = {}
steps = [{ at = "10000 ms", pay = { id = "p1", from = "alice", to = "merchant", amount = "0.01 BTC", over = "onchain" } },
  { mine = 6 }, { payout = { id = "o1", from = "merchant", to = "alice", amount = "400000 sat", deadline = "3600 s" } }]
"#;
    let expected = r#"title = "A charge"
worlds = ["simulated", "regtest"]

operator = { wallet = "0.1 BTC" }
parties.merchant = {}

wallets.alice = { funds = "0.5 BTC" }

steps = [
  { at = "10 s", pay = { id = "p1", from = "alice", to = "merchant", amount = "1_000_000 sat" } },
  { mine = "6 blocks" },
  { payout = { id = "o1", from = "merchant", to = "alice", amount = "400_000 sat" } },
]
"#;
    assert_eq!(parsed("charge", text).to_toml(), expected);
}

#[test]
fn names_are_changed_wherever_they_stand() {
    let scenario = parsed("everything", EVERYTHING);
    let mut names = Renaming::default();
    names.rename(NameSpace::Outside, "B", "hub");
    names.rename(NameSpace::Outside, "merchant-bank", "bank");
    names.rename(NameSpace::Channel, "buyer-B", "buyer-hub");
    names.rename(NameSpace::Payment, "o1", "to-bank");
    names.rename(NameSpace::Party, "merchant", "shop-owner");
    names.rename(NameSpace::Run, "r1", "day-1");
    let written = scenario.to_toml_renamed(&names);
    let renamed = parsed("renamed", &written);
    for old in [
        "\"B\"",
        "\"merchant-bank\"",
        "\"buyer-B\"",
        "\"o1\"",
        "\"merchant\"",
        "\"r1\"",
    ] {
        assert!(!written.contains(old), "{old} is left:\n{written}");
    }
    let mut back = Renaming::default();
    back.rename(NameSpace::Outside, "hub", "B");
    back.rename(NameSpace::Outside, "bank", "merchant-bank");
    back.rename(NameSpace::Channel, "buyer-hub", "buyer-B");
    back.rename(NameSpace::Payment, "to-bank", "o1");
    back.rename(NameSpace::Party, "shop-owner", "merchant");
    back.rename(NameSpace::Run, "day-1", "r1");
    assert_eq!(parsed("back", &renamed.to_toml_renamed(&back)), scenario);
}
