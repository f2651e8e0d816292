//! Owns how two canonical traces that differ are shown: the first differing line, the step it belongs to, and the
//! differences with some lines around them. Does not own what is canonical.

use serde_json::Value;
use similar::{Algorithm, TextDiff};

/// Lines around each difference.
const CONTEXT: usize = 3;

/// Lines of differences that are shown; whoever needs more compares the files.
const SHOWN: usize = 60;

/// Says how `actual` differs from `expected` (each with its name), or `None` if it does not.
pub fn render(expected: (&str, &[String]), actual: (&str, &[String])) -> Option<String> {
    let ((left_name, left), (right_name, right)) = (expected, actual);
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    if common == left.len() && common == right.len() {
        return None;
    }
    let or_end = |lines: &[String]| {
        lines
            .get(common)
            .map_or("(the end)", String::as_str)
            .to_owned()
    };
    let step = step_at(left, common)
        .or_else(|| step_at(right, common))
        .unwrap_or_else(|| "the beginning".to_owned());
    let head = format!(
        "The canonical traces differ first at line {}, in step `{step}`:\n- {}\n+ {}\nAll differences (- {left_name}, + {right_name}):\n",
        common + 1,
        or_end(left),
        or_end(right),
    );
    Some(head + &unified(left, right, (left_name, right_name)))
}

fn unified(left: &[String], right: &[String], (left_name, right_name): (&str, &str)) -> String {
    let text = |lines: &[String]| {
        lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect::<String>()
    };
    let (left, right) = (text(left), text(right));
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Patience)
        .diff_lines(&left, &right);
    let whole = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(left_name, right_name)
        .to_string();
    let mut lines: Vec<&str> = whole.lines().collect();
    let hidden = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    match hidden {
        0 => lines.join("\n"),
        _ => format!("{}\n… and {hidden} more lines", lines.join("\n")),
    }
}

/// The heading of the point that a line belongs to.
fn step_at(lines: &[String], line: usize) -> Option<String> {
    let heading = |line: &String| {
        serde_json::from_str::<Value>(line)
            .ok()?
            .get("step")?
            .as_str()
            .map(str::to_owned)
    };
    lines.iter().take(line + 1).rev().find_map(heading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_first_difference_is_named_with_its_step() {
        let left = lines(&[
            r#"{"point":1,"step":"pay p1"}"#,
            r#"{"is":1}"#,
            r#"{"is":2}"#,
        ]);
        let right = lines(&[
            r#"{"point":1,"step":"pay p1"}"#,
            r#"{"is":1}"#,
            r#"{"is":3}"#,
        ]);
        assert_eq!(render(("a", &left), ("b", &left)), None);
        let text = render(("a", &left), ("b", &right)).expect("they differ");
        assert!(
            text.contains("line 3, in step `pay p1`:\n- {\"is\":2}\n+ {\"is\":3}"),
            "{text}"
        );
        let longer = lines(&[r#"{"point":1,"step":"pay p1"}"#]);
        let text = render(("a", &left), ("b", &longer)).expect("they differ");
        assert!(text.contains("+ (the end)"), "{text}");
    }

    #[test]
    fn long_differences_are_cut() {
        let many = |from: u32| {
            (from..from + 100)
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
        };
        let text = render(("a", &many(0)), ("b", &many(1_000))).expect("they differ");
        assert!(
            text.contains("more lines") && text.lines().count() < 80,
            "{text}"
        );
    }
}
