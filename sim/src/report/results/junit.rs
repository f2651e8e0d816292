//! Owns results as JUnit XML, as CI systems read it: a suite for each group, a case for each run. Does not own the results.

use super::{Case, Results, first_line};
use std::fmt::Write;

/// The whole document.
pub fn render(results: &Results) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (cases, failed) = (results.cases().count(), results.failed().count());
    let wall_ms = results.cases().map(|case| case.wall_ms).sum();
    let _ = writeln!(
        text,
        "<testsuites name=\"lockstep\" tests=\"{cases}\" failures=\"{failed}\" time=\"{}\">",
        seconds(wall_ms)
    );
    for suite in &results.suites {
        let failed = suite.cases.iter().filter(|case| case.has_failed()).count();
        let wall_ms = suite.cases.iter().map(|case| case.wall_ms).sum();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" time=\"{}\">",
            escaped(&suite.name),
            suite.cases.len(),
            seconds(wall_ms)
        );
        for case in &suite.cases {
            push_case(&mut text, &suite.name, case);
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn push_case(text: &mut String, suite: &str, case: &Case) {
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escaped(suite),
        escaped(&case.name),
        seconds(case.wall_ms)
    );
    if let Some(file) = &case.file {
        let _ = write!(text, " file=\"{}\"", escaped(file));
    }
    if let Some(line) = case.line {
        let _ = write!(text, " line=\"{line}\"");
    }
    if case.has_failed() {
        let _ = writeln!(
            text,
            ">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>",
            escaped(&case.verdict),
            escaped(first_line(&case.text)),
            escaped(&case.text)
        );
    } else if case.text.is_empty() {
        text.push_str("/>\n");
    } else {
        let _ = writeln!(
            text,
            ">\n      <system-out>{}</system-out>\n    </testcase>",
            escaped(&case.text)
        );
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// As text or as an attribute; what XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn cases_stand_in_their_suite() {
        let text = render(&results());
        assert!(
            text.contains(
                "<testsuite name=\"scenarios\" tests=\"2\" failures=\"1\" time=\"1.000\">"
            ),
            "{text}"
        );
        assert!(
            text.contains("file=\"scenarios/a.toml\" line=\"12\""),
            "{text}"
        );
        assert_eq!(text.matches("<testcase ").count(), 2);
    }

    #[test]
    fn nothing_breaks_the_document() {
        let text = render(&results());
        assert!(
            text.contains("BTC sums to 1 &lt; 2 &amp; &quot;more&quot;"),
            "{text}"
        );
        assert_eq!(escaped("a\u{1b}[0m\u{0}"), "a\u{fffd}[0m\u{fffd}");
    }
}
