//! The store of old failures (`fixtures/failures`): each bundle tells how it failed, is listed with its cause and its small case,
//! and passes today, by a run in which its faults have an effect. Owns that list. Does not own replaying (`cli::replay`).

use libtest_mimic::{Failed, Trial};
use lockstep::bundle::{self, Bundle};
use lockstep::cli::processes::Setting;
use lockstep::cli::replay::{self, Fate};
use lockstep::run::outcome::Verdict;
use lockstep::worlds::WorldKind;
use std::path::{Path, PathBuf};

const STORE: &str = "fixtures/failures";

/// A row of the table in the store's README.
struct Row {
    bundle: String,
    failed_with: String,
    small_case: String,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("failures::the_store_says_what_failed", || {
        listed(&rows()?, &folders()?)
    })];
    for folder in folders().unwrap_or_default() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        trials.push(Trial::test(format!("failures::{name}"), move || {
            passes_today(&folder)
        }));
    }
    trials
}

fn folders() -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(STORE)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn rows() -> Result<Vec<Row>, Failed> {
    let text = std::fs::read_to_string(format!("{STORE}/README.md"))?;
    let cells = |line: &str| -> Option<Row> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, bundle, failed_with, _cause, small_case, _] = cells[..] else {
            return None;
        };
        let bundle = bundle.strip_prefix('`')?.strip_suffix('`')?;
        let small_case = small_case.strip_prefix('`')?.strip_suffix('`')?;
        Some(Row {
            bundle: bundle.to_owned(),
            failed_with: failed_with.to_owned(),
            small_case: small_case.to_owned(),
        })
    };
    Ok(text.lines().filter_map(cells).collect())
}

/// One row for each bundle and the other way round; a row says the bundle's own symptom, and names a scenario that is there.
fn listed(rows: &[Row], folders: &[PathBuf]) -> Result<(), Failed> {
    if folders.is_empty() {
        return Err(format!("{STORE} is empty: it proves nothing").into());
    }
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let Some(row) = rows.iter().find(|row| row.bundle == name) else {
            return Err(format!("{STORE}/README.md has no row for {name}").into());
        };
        let bundle = bundle::read(folder).map_err(|error| error.to_string())?;
        let symptom = bundle.manifest.symptom.map(|symptom| symptom.to_string());
        if symptom.as_deref() != Some(row.failed_with.as_str()) {
            return Err(format!(
                "{name} failed with {symptom:?}, and the table says `{}`",
                row.failed_with
            )
            .into());
        }
        let expected = format!("scenarios/{}.trace", row.small_case);
        if !Path::new(&expected).is_file() {
            return Err(format!("{name}: there is no {expected}").into());
        }
    }
    let has_bundle = |row: &&Row| !Path::new(STORE).join(&row.bundle).is_dir();
    match rows.iter().find(has_bundle) {
        Some(row) => {
            Err(format!("{STORE}/README.md lists {}, which is not there", row.bundle).into())
        }
        None => Ok(()),
    }
}

/// The plan passes. Another build is no reason to fail: the bundle's own is the one that had the bug.
fn passes_today(folder: &Path) -> Result<(), Failed> {
    let bundle = bundle::read(folder).map_err(|error| error.to_string())?;
    if bundle.manifest.world != WorldKind::Simulated {
        return Err("CI replays the store in the simulated world only".into());
    }
    let setting = Setting {
        slots: 1,
        executables: None,
    };
    let found = replay::replay(&bundle, &replay::job(&bundle), &setting);
    if found.fate != Fate::Gone || found.outcome.verdict != Verdict::Pass {
        return Err(format!(
            "it fails again: {:?}, {:?}",
            found.fate, found.outcome.verdict
        )
        .into());
    }
    had_effect(&bundle, &found)
}

/// A replay in which nothing breaks any more proves nothing about what once broke.
fn had_effect(bundle: &Bundle, found: &replay::Replayed) -> Result<(), Failed> {
    let planned = &found.outcome.faults;
    match planned.iter().find(|fault| fault.effects == 0) {
        Some(fault) => Err(format!(
            "{}: {} of {} has no effect any more; record the failure anew",
            bundle.folder.display(),
            fault.name,
            fault.scope
        )
        .into()),
        None => Ok(()),
    }
}
