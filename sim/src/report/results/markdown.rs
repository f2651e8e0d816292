//! Owns results as Markdown: a table of suites, then each failure with what was seen and how to see it again. Does not own
//! the results.

use super::Results;
use crate::report::words::{count, duration};
use std::fmt::Write;

/// Of hundreds of failures, the first ones say it all.
const SHOWN: usize = 20;

/// The whole summary.
pub fn render(results: &Results) -> String {
    let failed = results.failed().count();
    let cases = results.cases().count();
    let verdict = match failed {
        0 => format!("passed: {}", count(cases, "case")),
        n => format!("failed: {n} of {}", count(cases, "case")),
    };
    let mut text = format!(
        "# Lockstep: {verdict}\n\n| suite | cases | failed | wall | virtual |\n|---|---:|---:|---:|---:|\n"
    );
    for suite in &results.suites {
        let sum = |of: fn(&super::Case) -> u64| suite.cases.iter().map(of).sum::<u64>();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            suite.name,
            suite.cases.len(),
            suite.cases.iter().filter(|case| case.has_failed()).count(),
            duration(sum(|case| case.wall_ms)),
            duration(sum(|case| case.virtual_ms)),
        );
    }
    for suite in &results.suites {
        for case in suite
            .cases
            .iter()
            .filter(|case| case.has_failed())
            .take(SHOWN)
        {
            let _ = write!(
                text,
                "\n## {}: {}\n\n```text\n{}\n```\n",
                case.verdict,
                case.name,
                case.text.trim_end().replace("```", "'''")
            );
        }
    }
    if failed > SHOWN {
        let _ = writeln!(
            text,
            "\nOf each suite the first {SHOWN} failures are shown."
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn failures_come_with_their_command() {
        let text = render(&results());
        assert!(
            text.starts_with("# Lockstep: failed: 1 of 2 cases\n"),
            "{text}"
        );
        assert!(text.contains("| scenarios | 2 | 1 | "), "{text}");
        assert!(
            text.contains("again: lockstep run scenarios/a.toml"),
            "{text}"
        );
    }
}
