//! Owns the comparison of criterion's measurements with a baseline. Times differ from machine to machine, so only ratios of
//! two benches of one session are compared, with their confidence intervals. Does not own the benches.
//!
//! A baseline is a JSON file: `{"tolerance_percent": 10, "ratios": [{"name": "...", "of": "group/bench", "to": "group/bench",
//! "at_most": 1.25}]}`. `of` and `to` are folders below criterion's, `at_most` is the highest ratio of their median times
//! that was accepted.

use super::output::Failure;
use super::{BAD_USAGE, HARNESS};
use crate::report::results::Case;
use serde::Deserialize;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    tolerance_percent: f64,
    ratios: Vec<Ratio>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    name: String,
    of: String,
    to: String,
    at_most: f64,
}

/// What criterion writes of a bench, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// A case for each ratio of the baseline.
pub(super) fn compare(file: &Path, criterion: &Path) -> Result<Vec<Case>, Failure> {
    let baseline: Baseline = read(file, "write it as docs/PERFORMANCE.md says")?;
    baseline
        .ratios
        .iter()
        .map(|ratio| judge(ratio, baseline.tolerance_percent, file, criterion))
        .collect()
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path, remedy: &str) -> Result<T, Failure> {
    let bad = |what: String| {
        let text = format!("{}: {what}\nRemedy: {remedy}.", file.display());
        Failure::new(BAD_USAGE, text)
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| bad(format!("failed to read it: {error}")))?;
    serde_json::from_str(&text).map_err(|error| bad(error.to_string()))
}

fn judge(
    ratio: &Ratio,
    tolerance_percent: f64,
    file: &Path,
    criterion: &Path,
) -> Result<Case, Failure> {
    let estimate = |bench: &str| {
        let path = criterion.join(bench).join("new").join("estimates.json");
        let remedy = "run `cargo bench --package lockstep-benches` first, or name its folder with --criterion DIR";
        read::<Estimates>(&path, remedy).map(|estimates| estimates.median)
    };
    let (of, to) = (estimate(&ratio.of)?, estimate(&ratio.to)?);
    if !(to.point_estimate > 0.0 && to.confidence_interval.lower_bound > 0.0) {
        let text = format!("criterion measured no time for {}", ratio.to);
        return Err(Failure::new(HARNESS, text));
    }
    let (value, lowest) = (
        of.point_estimate / to.point_estimate,
        of.confidence_interval.lower_bound / to.confidence_interval.upper_bound,
    );
    let limit = ratio.at_most * (1.0 + tolerance_percent / 100.0);
    let worse = lowest > limit;
    let text = format!(
        "{}: {value:.3} (at least {lowest:.3}), accepted up to {:.3} and {tolerance_percent} %\n",
        ratio.name, ratio.at_most
    );
    Ok(Case {
        name: ratio.name.clone(),
        file: Some(file.display().to_string()),
        line: None,
        verdict: if worse { "slower" } else { "pass" }.to_owned(),
        exit_code: u8::from(worse),
        wall_ms: 0,
        virtual_ms: 0,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(folder: &Path, bench: &str, (low, mid, high): (f64, f64, f64)) {
        let new = folder.join(bench).join("new");
        std::fs::create_dir_all(&new).expect("made");
        let text = format!(
            r#"{{"median":{{"point_estimate":{mid},"standard_error":1.0,"confidence_interval":{{"confidence_level":0.95,"lower_bound":{low},"upper_bound":{high}}}}}}}"#
        );
        std::fs::write(new.join("estimates.json"), text).expect("written");
    }

    fn exit_code(of: (f64, f64, f64)) -> u8 {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        std::fs::write(
            &file,
            r#"{"tolerance_percent": 10, "ratios": [{"name": "r", "of": "g/a", "to": "g/b", "at_most": 1.2}]}"#,
        )
        .expect("written");
        measured(folder.path(), "g/a", of);
        measured(folder.path(), "g/b", (95.0, 100.0, 105.0));
        compare(&file, folder.path()).expect("compared")[0].exit_code
    }

    #[test]
    fn only_what_is_beyond_the_noise_is_slower() {
        assert_eq!(exit_code((115.0, 120.0, 125.0)), 0, "as accepted");
        assert_eq!(exit_code((120.0, 140.0, 160.0)), 0, "within the noise");
        assert_eq!(exit_code((150.0, 155.0, 160.0)), 1, "beyond it");
    }

    #[test]
    fn a_bench_that_was_not_run_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        std::fs::write(
            &file,
            r#"{"tolerance_percent": 10, "ratios": [{"name": "r", "of": "g/a", "to": "g/b", "at_most": 1}]}"#,
        )
        .expect("written");
        let refused = compare(&file, folder.path())
            .expect_err("nothing there")
            .text;
        assert!(
            refused.contains("estimates.json") && refused.contains("cargo bench"),
            "{refused}"
        );
    }
}
