//! The rules of the house, checked by a machine: layers, dependencies, lints, file headers, expected traces,
//! invariants, names, sizes, leftovers. Owns running each rule on the workspace; each rule is in its own file, with the
//! violation that it must find.

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/sources.rs"]
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with source text.
const SOURCE_FOLDERS: [&str; 5] = ["engine", "sim", "tests", "benches", "xtask"];

/// A text of the workspace, under its path from the root.
pub(crate) struct Text {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the workspace")
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below `folder` whose name ends with `extension`, sorted.
fn texts(folder: &str, extension: &str) -> Vec<Text> {
    let mut paths = Vec::new();
    list(&root().join(folder), &mut paths);
    paths.sort();
    let named = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension));
    named
        .map(|path| {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path
                .strip_prefix(root())
                .expect("listed below the root")
                .display()
                .to_string();
            Text { path, text }
        })
        .collect()
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flatten()
    {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != "target" => list(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn all_sources() -> Vec<Text> {
    SOURCE_FOLDERS
        .into_iter()
        .flat_map(|folder| texts(folder, "rs"))
        .collect()
}

#[track_caller]
fn none(violations: Vec<String>) {
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn imports_of_the_engine_go_downwards() {
    let table = layers::Table::parse(&read("docs/ARCHITECTURE.md"), "Layers of engine")
        .expect("the table of layers");
    none(layers::violations(
        &table,
        &texts("engine/src", "rs"),
        "engine/src",
    ));
}

#[test]
fn imports_of_sim_go_downwards() {
    let table = layers::Table::parse(&read("docs/ARCHITECTURE.md"), "Layers of sim")
        .expect("the table of layers");
    none(layers::violations(
        &table,
        &texts("sim/src", "rs"),
        "sim/src",
    ));
}

#[test]
fn the_engine_and_its_host_do_not_know_the_harness() {
    let sources: Vec<Text> = ["engine/src", "engine/host/src"]
        .into_iter()
        .flat_map(|folder| texts(folder, "rs"))
        .collect();
    none(sources::naming_the_harness(&sources));
    none(manifests::depends_on_the_harness(
        "engine/Cargo.toml",
        &read("engine/Cargo.toml"),
    ));
    none(manifests::depends_on_the_harness(
        "engine/host/Cargo.toml",
        &read("engine/host/Cargo.toml"),
    ));
}

#[test]
fn the_engine_depends_on_nothing_impure() {
    none(manifests::not_allowed_in_the_engine(&read(
        "engine/Cargo.toml",
    )));
}

#[test]
fn lints_are_on_in_every_crate() {
    let workspace = read("Cargo.toml");
    for member in manifests::members(&workspace) {
        let path = format!("{member}/Cargo.toml");
        none(manifests::missing_lints(&workspace, &path, &read(&path)));
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    none(sources::without_header(&all_sources()));
}

#[test]
fn no_module_is_a_drawer() {
    none(sources::drawers(&all_sources()));
}

#[test]
fn no_source_file_is_too_long() {
    none(sources::too_long(&all_sources()));
}

#[test]
fn nothing_is_left_over() {
    none(sources::leftovers(&all_sources()));
}

#[test]
fn every_scenario_has_its_expected_trace() {
    let paths = |extension| {
        texts("scenarios", extension)
            .into_iter()
            .map(|text| text.path)
            .collect::<Vec<_>>()
    };
    let (scenarios, traces) = (paths("toml"), paths("trace"));
    assert!(!scenarios.is_empty(), "there is no scenario");
    none(documents::traces_that_do_not_match(&scenarios, &traces));
}

#[test]
fn every_invariant_has_a_checker_and_a_planted_bug() {
    let checkers = texts("sim/src/invariants", "rs");
    let proofs = ["tests/tests/planted.rs", "tests/tests/planted_model.rs"].map(read);
    none(documents::unproven_invariants(
        &read("docs/INVARIANTS.md"),
        &checkers,
        &proofs.concat(),
    ));
}
