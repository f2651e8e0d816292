//! Owns reading a trace file back: JSON lines -> records, with file and line of what cannot be read. Does not own what
//! they mean (`describe`, `story`).

use serde::Deserialize;
use serde_json::Value;

/// One record of a trace, as far as a report needs it. Fields that it does not know are left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Line {
    /// Position in the whole trace, from 0.
    pub n: u64,
    /// Virtual time in ms since the scenario's start (0 during warm-up).
    pub at_ms: u64,
    /// Which part. A text, so that traces with newer parts can be shown, too.
    pub subsystem: String,
    /// Who.
    pub actor: String,
    /// What.
    pub event: Value,
}

/// A file is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrace {
    /// A line that is no record.
    #[error(
        "{file}:{line}: this is not a record of a trace: {cause}\nRemedy: {}",
        REMEDY
    )]
    NotARecord {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// Why not.
        cause: String,
    },
    /// No line at all.
    #[error("{file}: there is no record in it\nRemedy: {}", REMEDY)]
    Empty {
        /// Which file.
        file: String,
    },
}

const REMEDY: &str = "write the trace with `lockstep run SCENARIO --trace FILE`, and name that file; if it was cut off, write it again.";

/// Reads all records; blank lines are passed over.
pub fn read(file: &str, text: &str) -> Result<Vec<Line>, BadTrace> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let record = serde_json::from_str(line).map_err(|cause| BadTrace::NotARecord {
            file: file.to_owned(),
            line: index + 1,
            cause: cause.to_string(),
        })?;
        lines.push(record);
    }
    match lines.is_empty() {
        true => Err(BadTrace::Empty {
            file: file.to_owned(),
        }),
        false => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_named_by_file_and_line() {
        let good = r#"{"n":0,"at_ms":5,"subsystem":"engine","actor":"p1","event":{},"later":1}"#;
        let read_good = read("t.jsonl", &format!("{good}\n\n{good}\n")).expect("two records");
        assert_eq!(read_good.len(), 2);
        let error = read("t.jsonl", &format!("{good}\n{{\"n\":1,")).expect_err("cut off");
        let text = error.to_string();
        assert!(text.starts_with("t.jsonl:2: "), "{text}");
        assert!(text.contains("Remedy: write the trace with"), "{text}");
        let empty = read("t.jsonl", "\n").expect_err("empty").to_string();
        assert!(empty.contains("no record"), "{empty}");
    }
}
