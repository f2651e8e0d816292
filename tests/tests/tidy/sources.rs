//! Owns the rules about source texts: headers, names, sizes, leftovers, and that production code never names the harness.

use crate::Text;
use std::path::Path;

/// More lines than this in one file are two files.
const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const DRAWERS: [&str; 4] = ["common", "utils", "helpers", "types"];

/// Put together here, so that this file does not find itself.
const LEFTOVERS: [&str; 6] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("//! place", "holder"),
];

/// Files that do not open with what they own.
pub(crate) fn without_header(sources: &[Text]) -> Vec<String> {
    let bare = sources
        .iter()
        .filter(|source| !source.text.starts_with("//! "));
    bare.map(|source| format!("{}: does not open with `//!` and what it owns", source.path))
        .collect()
}

/// Modules that are drawers, as files, folders or inline.
pub(crate) fn drawers(sources: &[Text]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let path = Path::new(&source.path).with_extension("");
        let parts = path.iter().filter_map(|part| part.to_str());
        let inline = source.text.lines().filter_map(|line| {
            let line = line.trim_start();
            let line = line
                .strip_prefix("pub ")
                .or(line.strip_prefix("pub(crate) "))
                .unwrap_or(line);
            line.strip_prefix("mod ")?.split([' ', ';', '{']).next()
        });
        for name in parts.chain(inline).filter(|name| DRAWERS.contains(name)) {
            found.push(format!(
                "{}: a module called `{name}` holds anything; name it for what it owns",
                source.path
            ));
        }
    }
    found
}

/// Files with too many lines.
pub(crate) fn too_long(sources: &[Text]) -> Vec<String> {
    let lines = sources
        .iter()
        .map(|source| (source, source.text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(source, lines)| format!("{}: {lines} lines, at most {LINES_MAX}", source.path))
        .collect()
}

/// Marks of unfinished work.
pub(crate) fn leftovers(sources: &[Text]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(mark) = LEFTOVERS.iter().find(|mark| line.contains(**mark)) {
                found.push(format!("{}:{}: `{mark}`", source.path, number + 1));
            }
        }
    }
    found
}

/// Production code that names the harness's crates.
pub(crate) fn naming_the_harness(sources: &[Text]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if ["lockstep::", "lockstep_lightning", "madsim"]
                .iter()
                .any(|name| code.contains(name))
            {
                found.push(format!(
                    "{}:{}: names the harness: {}",
                    source.path,
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    found
}

fn one(path: &str, text: &str) -> [Text; 1] {
    [Text {
        path: path.to_owned(),
        text: text.to_owned(),
    }]
}

#[test]
fn a_file_without_header_is_found() {
    assert!(without_header(&one("a.rs", "//! Owns a.\nfn f() {}")).is_empty());
    assert_eq!(without_header(&one("a.rs", "use x;\n//! late")).len(), 1);
    assert_eq!(without_header(&one("a.rs", "")).len(), 1);
}

#[test]
fn drawers_are_found_as_files_folders_and_inline() {
    assert!(drawers(&one("sim/src/links.rs", "mod commonplace;")).is_empty());
    for (path, text) in [
        ("a/utils.rs", ""),
        ("a/common/mod.rs", ""),
        ("a.rs", "pub mod helpers;"),
        ("a.rs", "mod types {"),
    ] {
        assert_eq!(drawers(&one(path, text)).len(), 1, "{path} {text}");
    }
}

#[test]
fn long_files_and_leftovers_are_found() {
    assert!(too_long(&one("a.rs", &"x\n".repeat(LINES_MAX))).is_empty());
    assert_eq!(
        too_long(&one("a.rs", &"x\n".repeat(LINES_MAX + 1))).len(),
        1
    );
    for mark in LEFTOVERS {
        assert_eq!(
            leftovers(&one("a.rs", &format!("fn f() {{}}\n    {mark}"))).len(),
            1,
            "{mark}"
        );
    }
    assert!(leftovers(&one("a.rs", "fn f() {}")).is_empty());
}

#[test]
fn naming_the_harness_is_found() {
    assert!(
        naming_the_harness(&one("a.rs", "use lockstep_engine::api; // as madsim does")).is_empty()
    );
    for text in ["use lockstep::run;", "fn f() { madsim::time::sleep(d) }"] {
        assert_eq!(naming_the_harness(&one("a.rs", text)).len(), 1, "{text}");
    }
}
