//! Owns results as workflow commands of GitHub Actions, which show a failure at its line of a file. Does not own when they
//! are wanted.

use super::{Results, first_line};

/// One line for each case that failed.
pub fn render(results: &Results) -> String {
    let mut text = String::new();
    for case in results.failed() {
        let mut place = Vec::new();
        if let Some(file) = &case.file {
            place.push(format!("file={}", property(file)));
        }
        if let Some(line) = case.line {
            place.push(format!("line={line}"));
        }
        let title = format!("{}: {}", case.verdict, case.name);
        place.push(format!("title={}", property(&title)));
        let message = if case.text.is_empty() {
            first_line(&case.name)
        } else {
            case.text.trim_end()
        };
        text.push_str(&format!("::error {}::{}\n", place.join(","), data(message)));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn a_failure_is_one_line_at_its_place() {
        let text = render(&results());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with(
                "::error file=scenarios/a.toml,line=12,title=violated%3A scenarios/a.toml (simulated%2C seed 7)::"
            ),
            "{text}"
        );
        assert!(text.contains("%0A"), "{text}");
    }
}
