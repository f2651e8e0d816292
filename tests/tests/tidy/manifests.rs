//! Owns the rules about manifests: what the engine may depend on, and that the workspace's lints are on everywhere.

use toml::{Table, Value};

/// All that the engine may depend on: data structures, encodings, wallet and invoice formats, signatures to check. No
/// runtime, no source of randomness, no clock, no network.
const ALLOWED: [&str; 8] = [
    "bdk_wallet",
    "bip322",
    "bitcoin",
    "ed25519-dalek",
    "lightning-invoice",
    "serde",
    "serde_json",
    "thiserror",
];

/// The crate with the entropy shim denies unsafe code instead of forbidding it: one file allows it again.
const UNSAFE_EXCEPTION: (&str, &str) = ("sim/Cargo.toml", "unsafe_code");

fn parse(path: &str, text: &str) -> Table {
    text.parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dependencies(manifest: &Table) -> Vec<&String> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let tables = targets.filter_map(Value::as_table).chain([manifest]);
    let kinds =
        tables.flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")]);
    kinds
        .flatten()
        .filter_map(Value::as_table)
        .flat_map(Table::keys)
        .collect()
}

/// Dependencies of the engine that are not on the list.
pub(crate) fn not_allowed_in_the_engine(text: &str) -> Vec<String> {
    let manifest = parse("engine/Cargo.toml", text);
    let strange = dependencies(&manifest)
        .into_iter()
        .filter(|name| !ALLOWED.contains(&name.as_str()));
    strange.map(|name| format!("engine/Cargo.toml: `{name}` is not on the allow-list (tests/tests/tidy/manifests.rs)")).collect()
}

/// Dependencies on the harness.
pub(crate) fn depends_on_the_harness(path: &str, text: &str) -> Vec<String> {
    let manifest = parse(path, text);
    let harness = dependencies(&manifest)
        .into_iter()
        .filter(|name| ["lockstep", "lockstep-lightning", "madsim"].contains(&name.as_str()));
    harness
        .map(|name| format!("{path}: production code depends on `{name}`"))
        .collect()
}

/// The packages of the workspace.
pub(crate) fn members(workspace: &str) -> Vec<String> {
    let manifest = parse("Cargo.toml", workspace);
    let members = manifest["workspace"]["members"]
        .as_array()
        .expect("a list of members");
    members
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Lints of the workspace that a crate neither inherits nor repeats.
pub(crate) fn missing_lints(workspace: &str, path: &str, text: &str) -> Vec<String> {
    let (workspace, manifest) = (parse("Cargo.toml", workspace), parse(path, text));
    let Some(lints) = manifest.get("lints").and_then(Value::as_table) else {
        return vec![format!(
            "{path}: has no lints; add `[lints] workspace = true`"
        )];
    };
    if lints.get("workspace") == Some(&Value::Boolean(true)) {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for (tool, wanted) in workspace["workspace"]["lints"]
        .as_table()
        .expect("lints by tool")
    {
        for (lint, level) in wanted.as_table().expect("levels by lint") {
            let own = lints.get(tool).and_then(|lints| lints.get(lint));
            let excepted = (path, lint.as_str()) == UNSAFE_EXCEPTION
                && own == Some(&Value::String("deny".to_owned()));
            if own != Some(level) && !excepted {
                missing.push(format!(
                    "{path}: lint {tool}::{lint} is not as in the workspace"
                ));
            }
        }
    }
    missing
}

#[test]
fn impure_dependencies_are_found_wherever_they_stand() {
    assert!(
        not_allowed_in_the_engine(
            "[dependencies]\nserde = '1'\n[dev-dependencies]\nproptest = '1'"
        )
        .is_empty()
    );
    for manifest in [
        "[dependencies]\ntokio = '1'",
        "[dependencies.rand]\nversion = '1'",
        "[target.'cfg(unix)'.dependencies]\ntokio = '1'",
        "[build-dependencies]\nreqwest = '1'",
    ] {
        assert_eq!(not_allowed_in_the_engine(manifest).len(), 1, "{manifest}");
    }
    assert_eq!(
        depends_on_the_harness("x", "[dependencies]\nlockstep.workspace = true").len(),
        1
    );
}

#[test]
fn a_crate_without_lints_is_found() {
    let workspace = "[workspace]\nmembers = ['a']\n[workspace.lints.rust]\nunsafe_code = 'forbid'\n[workspace.lints.clippy]\ntodo = 'deny'";
    let missing = |path: &str, text: &str| missing_lints(workspace, path, text).len();
    assert_eq!(members(workspace), ["a"]);
    assert_eq!(missing("a/Cargo.toml", "[lints]\nworkspace = true"), 0);
    assert_eq!(missing("a/Cargo.toml", "[package]\nname = 'a'"), 1);
    assert_eq!(
        missing("a/Cargo.toml", "[lints.rust]\nunsafe_code = 'forbid'"),
        1
    );
    let denied = "[lints.rust]\nunsafe_code = 'deny'\n[lints.clippy]\ntodo = 'deny'";
    assert_eq!(missing("sim/Cargo.toml", denied), 0);
    assert_eq!(missing("a/Cargo.toml", denied), 1);
}
