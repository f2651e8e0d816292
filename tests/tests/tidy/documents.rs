//! Owns the rules about what must stand beside what: a trace beside each scenario; for each invariant of
//! docs/INVARIANTS.md a checker file and a planted bug. A row of that document begins with `| I` and a number, and has,
//! in backticks, the invariant's name and the path of its checker file.

use crate::Text;
use std::collections::BTreeSet;

/// Scenarios without a trace, and traces without a scenario.
pub(crate) fn traces_that_do_not_match(scenarios: &[String], traces: &[String]) -> Vec<String> {
    let stems = |paths: &[String], end: &str| -> BTreeSet<String> {
        paths
            .iter()
            .map(|path| path.trim_end_matches(end).to_owned())
            .collect()
    };
    let (scenarios, traces) = (stems(scenarios, ".toml"), stems(traces, ".trace"));
    let missing = scenarios.difference(&traces);
    let missing = missing
        .map(|stem| format!("{stem}.toml: no expected trace; lockstep run {stem}.toml --bless"));
    let orphans = traces
        .difference(&scenarios)
        .map(|stem| format!("{stem}.trace: there is no scenario of this name"));
    missing.chain(orphans).collect()
}

/// An invariant as the document has it.
struct Row<'a> {
    name: &'a str,
    checker: &'a str,
}

fn rows(document: &str) -> Vec<Row<'_>> {
    let is_row = |line: &&str| {
        let cell = line
            .trim_start_matches('|')
            .trim_start()
            .trim_start_matches('`');
        line.starts_with('|')
            && cell.starts_with('I')
            && cell[1..].starts_with(|c: char| c.is_ascii_digit())
    };
    document
        .lines()
        .filter(is_row)
        .map(|line| {
            let quoted = || line.split('`').skip(1).step_by(2);
            let is_number = |word: &str| word.len() < 4 && word.starts_with('I');
            let name = quoted()
                .find(|word| !word.ends_with(".rs") && !is_number(word))
                .unwrap_or_default();
            let checker = quoted()
                .find(|word| word.ends_with(".rs"))
                .unwrap_or_default();
            Row { name, checker }
        })
        .collect()
}

/// Invariants without checker or planted bug, and checkers that the document does not know.
pub(crate) fn unproven_invariants(document: &str, checkers: &[Text], planted: &str) -> Vec<String> {
    let rows = rows(document);
    let mut found = Vec::new();
    if rows.is_empty() {
        found.push("docs/INVARIANTS.md has no row that begins with `| I1`".to_owned());
    }
    for Row { name, checker } in &rows {
        match checkers
            .iter()
            .find(|text| !checker.is_empty() && text.path.ends_with(checker))
        {
            None => found.push(format!(
                "invariant `{name}`: there is no checker file `{checker}`"
            )),
            Some(text) if !text.text.contains(&format!("\"{name}\"")) => {
                found.push(format!(
                    "{}: does not name its invariant `{name}`",
                    text.path
                ));
            }
            Some(_) => {}
        }
        if name.is_empty() || !planted.contains(name) {
            found.push(format!(
                "invariant `{name}`: no planted bug names it in tests/tests/planted.rs"
            ));
        }
    }
    let known = |path: &str| {
        rows.iter()
            .any(|row| !row.checker.is_empty() && path.ends_with(row.checker))
    };
    for checker in checkers
        .iter()
        .filter(|text| !text.path.ends_with("/mod.rs") && !known(&text.path))
    {
        found.push(format!(
            "{}: docs/INVARIANTS.md has no invariant with this checker",
            checker.path
        ));
    }
    found
}

#[test]
fn missing_and_orphaned_traces_are_found() {
    let list = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(traces_that_do_not_match(&list(&["s/a.toml"]), &list(&["s/a.trace"])).is_empty());
    assert_eq!(traces_that_do_not_match(&list(&["s/a.toml"]), &[]).len(), 1);
    assert_eq!(
        traces_that_do_not_match(&[], &list(&["s/a.trace"])).len(),
        1
    );
}

#[test]
fn unproven_invariants_are_found() {
    let document = "| no | name | checker |\n|---|---|---|\n| I1 | `zero-sum` | `sim/src/invariants/zero_sum.rs` |\n";
    let checker = |path: &str, text: &str| Text {
        path: format!("sim/src/invariants/{path}"),
        text: text.to_owned(),
    };
    let good = || checker("zero_sum.rs", "name() -> \"zero-sum\"");
    assert!(unproven_invariants(document, &[good(), checker("mod.rs", "")], "zero-sum").is_empty());
    assert_eq!(unproven_invariants(document, &[good()], "nothing").len(), 1);
    assert_eq!(
        unproven_invariants(document, &[checker("zero_sum.rs", "")], "zero-sum").len(),
        1
    );
    assert_eq!(unproven_invariants(document, &[], "zero-sum").len(), 1);
    assert_eq!(
        unproven_invariants(document, &[good(), checker("other.rs", "")], "zero-sum").len(),
        1
    );
    assert_eq!(unproven_invariants("", &[], "").len(), 1);
}
