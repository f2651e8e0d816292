//! Owns the machine-readable report. Its fields are those of `run::outcome::Outcome`, and the command that repeats it.

use super::failure::reproduce;
use crate::run::outcome::Outcome;
use serde_json::{Value, json};

/// A scenario that did not run in a world that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: String,
    /// The world.
    pub world: String,
    /// Why not.
    pub reason: String,
}

/// The whole report.
pub fn render(outcomes: &[Outcome], skipped: &[Skipped], exit_code: u8) -> String {
    let outcomes: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let mut value = serde_json::to_value(outcome).expect("an outcome has only string keys");
            value["exit_code"] = json!(outcome.verdict.exit_code());
            value["reproduce"] = json!(reproduce(outcome));
            value
        })
        .collect();
    let skipped: Vec<Value> = skipped
        .iter()
        .map(|skipped| json!({ "scenario": skipped.file, "world": skipped.world, "reason": skipped.reason }))
        .collect();
    let report = json!({ "exit_code": exit_code, "outcomes": outcomes, "skipped": skipped });
    serde_json::to_string_pretty(&report).expect("a value is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::failure::tests::outcome;
    use crate::run::outcome::Verdict;

    #[test]
    fn it_is_json_with_verdict_and_command() {
        let text = render(&[outcome(Verdict::Pass)], &[], 0);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["outcomes"][0]["verdict"], "pass");
        assert_eq!(
            value["outcomes"][0]["reproduce"],
            "lockstep run scenarios/a.toml --world simulated --seed 7"
        );
    }
}
