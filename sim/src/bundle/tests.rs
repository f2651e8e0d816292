//! Owns the tests of bundles: what is written reads back, and each kind of damage is named with file and remedy.

use super::{Bundle, Failing, MANIFEST, OUTCOME, PLAN, Symptom, TRACE, expanded, read, write};
use crate::run::outcome::Outcome;
use crate::scenario::Scenario;
use crate::trace::{Subsystem, Trace};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PLAN_TEXT: &str = r#"title = "t"
worlds = ["simulated", "regtest"]
parties.merchant = {}
steps = [{ mine = "1 block" }]
"#;

/// A bundle of a run that broke an invariant at its second record.
fn bundle() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut trace = Trace::new(true);
    trace.record(Subsystem::Engine, "engine", json!({ "event": "a" }));
    trace.record(
        Subsystem::Engine,
        "engine",
        json!({ "broken": "ledger-zero-sum" }),
    );
    trace.record(Subsystem::Engine, "engine", json!({ "event": "b" }));
    let lines: String = trace
        .lines()
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    let file = folder.path().join("lines");
    std::fs::write(&file, lines).expect("written");
    let outcome: Outcome = serde_json::from_value(json!({
        "scenario": "a.toml", "world": "simulated", "seed": 7, "verdict": "violated", "line": 4, "step": "mine 1 block",
        "what": "invariant `ledger-zero-sum` is broken: 5", "virtual_ms": 10, "wall_ms": 20, "records": 3,
        "trace_hash": trace.hash(), "subsystem_hashes": {}, "canonical": [], "faults": [], "waits_ms": {},
    }))
    .expect("an outcome");
    let scenario = Scenario::parse("a.toml", PLAN_TEXT).expect("right");
    let target = folder.path().join("seed-7");
    let failing = Failing {
        plan: &expanded(&scenario, 7),
        outcome: &outcome,
        trace: &file,
        profile: Some("default"),
    };
    write(&target, &failing).expect("written");
    write(&target, &failing).expect("replaced");
    (folder, target)
}

fn refused(folder: &Path) -> String {
    read(folder).expect_err("it is wrong").to_string()
}

fn change(file: &Path, change: impl Fn(&mut Value)) {
    let text = std::fs::read_to_string(file).expect("readable");
    let mut value = serde_json::from_str(&text).expect("JSON");
    change(&mut value);
    std::fs::write(file, value.to_string()).expect("written");
}

#[test]
fn what_is_written_reads_back() {
    let (_folder, target) = bundle();
    let found = read(&target).expect("whole");
    assert!(Bundle::is_at(&target));
    assert_eq!(found.plan.seed, 7);
    assert_eq!(found.plan.to_toml(), found.plan_text);
    assert_eq!(found.manifest.profile.as_deref(), Some("default"));
    assert_eq!(
        found.manifest.symptom,
        Some(Symptom::Invariant("ledger-zero-sum".to_owned()))
    );
    assert_eq!(found.manifest.first_bad.expect("one")["n"], 1);
    assert!(
        found
            .manifest
            .commands
            .run
            .ends_with("seed-7/plan.toml --world simulated --seed 7")
    );
    assert!(found.manifest.build.is_same(&super::Build::this()));
    let mut names: Vec<String> = std::fs::read_dir(&target)
        .expect("listed")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, [MANIFEST, OUTCOME, PLAN, TRACE]);
}

#[test]
fn what_is_no_bundle_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("none")] {
        let text = refused(&path);
        assert!(
            text.contains("no failure bundle") && text.contains("Remedy: "),
            "{text}"
        );
    }
}

#[test]
fn a_later_format_is_said() {
    let (_folder, target) = bundle();
    change(&target.join(MANIFEST), |value| value["format"] = json!(99));
    let text = refused(&target);
    assert!(
        text.contains("bundle.json has format 99") && text.contains("the lockstep that wrote it"),
        "{text}"
    );
}

#[test]
fn damage_is_named_with_its_file() {
    type Damage = fn(&Path);
    let damages: [(&str, &str, Damage); 9] = [
        (MANIFEST, "is damaged: key must be", |folder| {
            std::fs::write(folder.join(MANIFEST), "{ broken").expect("written");
        }),
        (MANIFEST, "format", |folder| {
            change(&folder.join(MANIFEST), |value| value["format"] = json!("x"));
        }),
        (MANIFEST, "missing field `seed`", |folder| {
            change(&folder.join(MANIFEST), |value| {
                value.as_object_mut().expect("a table").remove("seed");
            });
        }),
        (OUTCOME, "another seed", |folder| {
            change(&folder.join(OUTCOME), |value| value["seed"] = json!(8));
        }),
        (OUTCOME, "failed to read", |folder| {
            std::fs::remove_file(folder.join(OUTCOME)).expect("removed");
        }),
        (PLAN, "not a scenario", |folder| {
            std::fs::write(folder.join(PLAN), "title = 1").expect("written");
        }),
        (TRACE, "not UTF-8", |folder| {
            std::fs::write(folder.join(TRACE), [0xff, 0xfe]).expect("written");
        }),
        (TRACE, "2 records", |folder| {
            let text = std::fs::read_to_string(folder.join(TRACE)).expect("read");
            let cut: String = text
                .lines()
                .take(2)
                .map(|line| format!("{line}\n"))
                .collect();
            std::fs::write(folder.join(TRACE), cut).expect("written");
        }),
        (TRACE, "do not give the run's hash", |folder| {
            let text = std::fs::read_to_string(folder.join(TRACE)).expect("read");
            std::fs::write(folder.join(TRACE), text.replace("\"a\"", "\"z\"")).expect("written");
        }),
    ];
    for (file, what, damage) in damages {
        let (_folder, target) = bundle();
        damage(&target);
        let text = refused(&target);
        assert!(
            text.contains(file) && text.contains(what) && text.contains("Remedy: "),
            "{file}, {what}: {text}"
        );
    }
}
