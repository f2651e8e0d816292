//! Owns what many drawn runs came to, and how that is shown: progress, verdicts, first failures, faults, the coverage matrix.
//! Does not own adding it up (`cli::fuzz`).

use super::results::Case;
use super::words::{count, duration};
use crate::workload::cells::{self, STATES};
use crate::workload::kinds::KINDS;
use lockstep_engine::rare::Rare;
use serde::Serialize;
use std::collections::BTreeMap;

/// What many runs came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Runs that came to an end.
    pub seeds: u64,
    /// Runs by verdict; `inert`: faults were planned and none had an effect.
    pub verdicts: BTreeMap<String, u64>,
    /// Runs that failed.
    pub failed: u64,
    /// Virtual time of all runs.
    pub virtual_ms: u64,
    /// Real time of all runs' processes, added up.
    pub cpu_ms: u64,
    /// Real time since the beginning.
    pub wall_ms: u64,
    /// By `family/kind`: faults planned, and those that had an effect.
    pub faults: BTreeMap<String, (u64, u64)>,
    /// By cell: seeds that reached it.
    pub cells: BTreeMap<String, u64>,
    /// By mark: seeds in which it happened.
    pub rare: BTreeMap<String, u64>,
    /// Cells that the profile requires and nobody reached.
    pub missing: Vec<String>,
    /// The first failures.
    pub failures: Vec<Failed>,
    /// Of every failure.
    #[serde(skip)]
    pub exit_codes: Vec<u8>,
    /// Every run, for other tools.
    #[serde(skip)]
    pub cases: Vec<Case>,
}

/// A failure.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// One word.
    pub verdict: String,
    /// The phase in which it stopped.
    pub phase: Option<String>,
    /// Line of the plan's step.
    pub line: Option<usize>,
    /// The step.
    pub step: String,
    /// What was seen.
    pub what: String,
    /// Where its plan and outcome are.
    pub folder: Option<String>,
}

impl Failed {
    /// One line.
    pub fn in_short(&self) -> String {
        let phase = self.phase.as_deref().unwrap_or("no phase");
        let what = self.what.lines().next().unwrap_or_default();
        format!("seed {}: {} in {phase}: {what}", self.seed, self.verdict)
    }
}

/// Failures that the terminal shows.
const SHOWN: usize = 5;

const MS_PER_YEAR: u64 = 31_557_600_000;

impl Summary {
    /// Cells of the matrix.
    pub fn all_cells() -> usize {
        STATES.iter().map(|(_, states)| states.len()).sum::<usize>() * KINDS.len()
    }

    /// Faults with an effect.
    fn effects(&self) -> u64 {
        self.faults.values().map(|(_, effects)| effects).sum()
    }

    /// Virtual years, with three decimals.
    fn years(&self) -> String {
        let thousandths = self.virtual_ms * 1_000 / MS_PER_YEAR;
        format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
    }

    fn per_minute(&self) -> u64 {
        (self.seeds * 60_000).checked_div(self.wall_ms).unwrap_or(0)
    }

    /// One line, while it goes on.
    pub fn progress(&self, running: usize) -> String {
        format!(
            "{}, {} failed, {} virtual years, {} faults with effect, {} of {} cells, {} seeds per minute, {running} running",
            count(self.seeds as usize, "seed"),
            self.failed,
            self.years(),
            self.effects(),
            self.cells.len(),
            Summary::all_cells(),
            self.per_minute()
        )
    }

    /// Everything, for a terminal; the last lines are the ones that matter.
    pub fn render(&self) -> String {
        let mut parts = vec![
            self.matrix(),
            self.inert_kinds(),
            self.marks(),
            self.failures(),
            self.verdict_lines(),
        ];
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }

    fn verdict_lines(&self) -> String {
        let mut lines: Vec<String> = self
            .verdicts
            .iter()
            .map(|(word, runs)| format!("{word:<18}{runs:>7}"))
            .collect();
        lines.push(format!(
            "{} in {} ({} virtual years, {} of one core each, {} seeds per minute); {} of {} faults had an effect; {} of {} cells reached",
            count(self.seeds as usize, "seed"),
            duration(self.wall_ms),
            self.years(),
            duration(self.cpu_ms.checked_div(self.seeds).unwrap_or(0)),
            self.per_minute(),
            self.effects(),
            self.faults.values().map(|(planned, _)| planned).sum::<u64>(),
            self.cells.len(),
            Summary::all_cells()
        ));
        if !self.missing.is_empty() {
            lines.push(format!(
                "never reached and required by the profile: {}",
                self.missing.join(", ")
            ));
        }
        lines.join("\n")
    }

    fn failures(&self) -> String {
        let mut lines = Vec::new();
        for failed in self.failures.iter().take(SHOWN) {
            let phase = failed
                .phase
                .as_deref()
                .map_or_else(String::new, |phase| format!(" in {phase}"));
            let line = failed
                .line
                .map_or_else(String::new, |line| format!(", line {line} of the plan"));
            lines.push(format!(
                "seed {}: {}{phase}{line}: {}",
                failed.seed, failed.verdict, failed.step
            ));
            lines.push(format!("  {}", failed.what.replace('\n', "\n  ")));
            if let Some(folder) = &failed.folder {
                lines.push(format!("  go on with: lockstep replay {folder}"));
            }
        }
        if self.failed as usize > SHOWN {
            lines.push(format!("and {} more", self.failed as usize - SHOWN));
        }
        lines.join("\n")
    }

    /// Seeds that reached each cell; kinds that never had an effect are left out here.
    fn matrix(&self) -> String {
        let columns: Vec<(&str, &str)> = STATES
            .iter()
            .flat_map(|(rail, states)| states.iter().map(move |state| (*rail, *state)))
            .collect();
        let mut rows = vec![
            heading(&columns, |(rail, _)| rail),
            heading(&columns, |(_, state)| state),
        ];
        for kind in KINDS {
            let reached: Vec<u64> = columns
                .iter()
                .map(|(rail, state)| {
                    self.cells
                        .get(&cells::name(rail, state, kind.name))
                        .copied()
                        .unwrap_or(0)
                })
                .collect();
            if reached.iter().any(|seeds| *seeds > 0) {
                let shown = reached.iter().map(|seeds| {
                    if *seeds == 0 {
                        "-".to_owned()
                    } else {
                        seeds.to_string()
                    }
                });
                rows.push([kind.key()].into_iter().chain(shown).collect());
            }
        }
        if rows.len() == 2 {
            return String::new();
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells =
                row.iter()
                    .zip(&widths)
                    .enumerate()
                    .map(|(index, (cell, width))| match index {
                        0 => format!("{cell:<width$}"),
                        _ => format!("{cell:>width$}"),
                    });
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Kinds that were planned and never had an effect, or that were never drawn.
    fn inert_kinds(&self) -> String {
        let inert: Vec<&str> = self
            .faults
            .iter()
            .filter(|(_, (_, effects))| *effects == 0)
            .map(|(key, _)| key.as_str())
            .collect();
        match inert.is_empty() {
            true => String::new(),
            false => format!("planned, never with an effect: {}", inert.join(", ")),
        }
    }

    fn marks(&self) -> String {
        let never: Vec<&str> = Rare::ALL
            .iter()
            .map(|rare| rare.name())
            .filter(|name| !self.rare.contains_key(*name))
            .collect();
        let marks: Vec<String> = self
            .rare
            .iter()
            .map(|(mark, seeds)| format!("{mark} ({seeds})"))
            .collect();
        match marks.is_empty() {
            true => String::new(),
            false => format!(
                "rare branches, by seeds: {}\nnever reached: {}",
                marks.join(", "),
                never.join(", ")
            ),
        }
    }
}

fn heading<'a>(
    columns: &[(&'a str, &'a str)],
    of: impl Fn((&'a str, &'a str)) -> &'a str,
) -> Vec<String> {
    let mut row = vec![String::new()];
    row.extend(columns.iter().map(|column| {
        let word = of(*column);
        word.get(..6).unwrap_or(word).to_owned()
    }));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            seeds: 10,
            failed: 1,
            verdicts: BTreeMap::from([
                ("pass".to_owned(), 8),
                ("inert".to_owned(), 1),
                ("violated".to_owned(), 1),
            ]),
            faults: BTreeMap::from([
                ("link/loss".to_owned(), (4, 3)),
                ("http/reject".to_owned(), (2, 0)),
            ]),
            cells: BTreeMap::from([(cells::name("sepa", "unknown", "loss"), 7)]),
            failures: vec![Failed {
                seed: 4,
                verdict: "violated".to_owned(),
                phase: Some("heal".to_owned()),
                line: Some(12),
                step: "mine 1 block".to_owned(),
                what: "invariant".to_owned(),
                folder: Some("out/seed-4".to_owned()),
            }],
            ..Summary::default()
        }
    }

    #[test]
    fn the_matrix_shows_who_was_hit_by_what() {
        let text = summary().render();
        let row = text
            .lines()
            .find(|line| line.starts_with("link/loss"))
            .expect("a row");
        assert!(row.trim_end().ends_with('7'), "{text}");
        assert!(
            text.contains("planned, never with an effect: http/reject"),
            "{text}"
        );
    }

    #[test]
    fn failures_say_how_to_go_on() {
        let text = summary().render();
        assert!(
            text.contains("seed 4: violated in heal, line 12 of the plan"),
            "{text}"
        );
        assert!(text.contains("lockstep replay out/seed-4"), "{text}");
    }
}
