//! Owns the table of what ran, and the summary of many seeds. Does not own what failed in detail (`failure`).

use super::words::{count, duration, ratio, short_hash};
use crate::run::outcome::{Outcome, Verdict};
use crate::worlds::WorldKind;
use std::collections::BTreeMap;

const HEADINGS: [&str; 8] = [
    "scenario", "world", "verdict", "virtual", "wall", "ratio", "records", "trace",
];

/// Columns of numbers, which stand to the right.
const RIGHT: [usize; 4] = [3, 4, 5, 6];

/// One row for each run.
pub fn runs(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(outcomes.iter().map(|outcome| {
        [
            outcome.scenario.clone(),
            outcome.world.to_string(),
            outcome.verdict.word().to_owned(),
            duration(outcome.virtual_ms),
            duration(outcome.wall_ms),
            ratio(outcome.virtual_ms, outcome.wall_ms),
            outcome.records.to_string(),
            short_hash(&outcome.trace_hash).to_owned(),
        ]
    }));
    aligned(&rows)
}

fn aligned(rows: &[[String; 8]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .enumerate()
            .map(|(column, cell)| match RIGHT.contains(&column) {
                true => format!("{cell:>width$}", width = widths[column]),
                false => format!("{cell:<width$}", width = widths[column]),
            });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line for each scenario and world that ran with many seeds.
pub fn seeds(outcomes: &[Outcome]) -> String {
    let mut groups: BTreeMap<(&str, WorldKind), Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        groups
            .entry((&outcome.scenario, outcome.world))
            .or_default()
            .push(outcome);
    }
    let mut text = String::new();
    for ((scenario, world), outcomes) in groups {
        let failed: Vec<&&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.verdict != Verdict::Pass)
            .collect();
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(|outcome| of(outcome)).sum::<u64>();
        let (virtual_ms, wall_ms) = (
            sum(|outcome| outcome.virtual_ms),
            sum(|outcome| outcome.wall_ms),
        );
        let seeds = count(outcomes.len(), "seed");
        let verdict = match failed.first() {
            None => format!("{seeds} passed"),
            Some(first) => format!(
                "{} of {seeds} failed, first {} ({})",
                failed.len(),
                first.seed,
                first.verdict.word()
            ),
        };
        let times = format!(
            "{} in {} ({})",
            duration(virtual_ms),
            duration(wall_ms),
            ratio(virtual_ms, wall_ms)
        );
        text.push_str(&format!("{scenario}, {world}: {verdict}; {times}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::failure::tests::outcome;

    #[test]
    fn columns_are_aligned() {
        let mut long = outcome(Verdict::Liveness {
            line: None,
            step: String::new(),
            what: String::new(),
        });
        long.scenario = "scenarios/a-long-name.toml".to_owned();
        let text = runs(&[outcome(Verdict::Pass), long]);
        let columns: Vec<usize> = text
            .lines()
            .map(|line| line.find("simulated").or(line.find("world")).unwrap())
            .collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{text}");
    }

    #[test]
    fn many_seeds_are_one_line_with_the_first_failure() {
        let mut failed = outcome(Verdict::NonDeterministic {
            what: String::new(),
        });
        failed.seed = 9;
        let text = seeds(&[outcome(Verdict::Pass), failed]);
        assert!(
            text.contains("1 of 2 seeds failed, first 9 (non-deterministic)"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
