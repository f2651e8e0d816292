//! Owns what commands leave for other tools: files with results, JUnit XML and Markdown, annotations for GitHub Actions;
//! taking one shard of the work; and `lockstep merge`, which joins what shards left. Does not own their forms (`report`).

use super::files::write_whole;
use super::output::{Failure, Output};
use super::{BAD_USAGE, HARNESS, most_serious};
use crate::report::results::{self, FORMAT, Results, annotations, junit, markdown};
use clap::Args;
use std::path::{Path, PathBuf};

/// Options of every command that runs something.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ResultArguments {
    /// Write the results as JSON, for `lockstep merge`
    #[arg(long, value_name = "FILE")]
    pub(super) results: Option<PathBuf>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, value_name = "FILE")]
    pub(super) summary: Option<PathBuf>,
}

/// One of several parts of the work, for machines that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: u64,
    of: u64,
}

impl Shard {
    /// More machines than this do not share one gate.
    const MOST: u64 = 1_000;

    /// From `K/N`, K from 1 to N.
    pub(super) fn parse(text: &str) -> Result<Shard, String> {
        const SHAPE: &str = "a shard is written as 1/4, from 1/4 to 4/4";
        let (index, of) = text.split_once('/').ok_or(SHAPE)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| SHAPE.to_owned());
        let (index, of) = (number(index)?, number(of)?);
        if index == 0 || index > of || of > Shard::MOST {
            return Err(SHAPE.to_owned());
        }
        Ok(Shard {
            index: index - 1,
            of,
        })
    }

    /// Whether the piece of work at this position, from 0, is of this shard.
    pub(super) fn has(self, position: u64) -> bool {
        position % self.of == self.index
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

/// Keeps the shard's pieces of `work`.
pub(super) fn take_shard<T>(work: &mut Vec<T>, shard: Option<Shard>) {
    let Some(shard) = shard else { return };
    let mut position = 0;
    work.retain(|_| {
        position += 1;
        shard.has(position - 1)
    });
}

/// Writes the files that were asked for, and annotations where GitHub Actions reads them.
pub(super) fn publish(
    arguments: &ResultArguments,
    results: &Results,
    output: &mut Output,
) -> Result<(), Failure> {
    let files = [
        (&arguments.results, to_json(results)),
        (&arguments.junit, junit::render(results)),
        (&arguments.summary, markdown::render(results)),
    ];
    for (file, text) in files {
        if let Some(file) = file {
            write_whole(file, &text).map_err(|error| Failure::new(HARNESS, error.to_string()))?;
        }
    }
    let on_github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let annotations = annotations::render(results);
    if on_github && !annotations.is_empty() {
        output.say(annotations.trim_end())?;
    }
    Ok(())
}

fn to_json(results: &Results) -> String {
    let text = serde_json::to_string_pretty(results).expect("results have only string keys");
    format!("{text}\n")
}

/// Reads a file that `--results` wrote.
pub(super) fn read(file: &Path) -> Result<Results, Failure> {
    let remedy =
        "Remedy: name files that `--results FILE` of run, fuzz, replay or gate has written.";
    let bad =
        |what: String| Failure::new(BAD_USAGE, format!("{}: {what}\n{remedy}", file.display()));
    let text = std::fs::read_to_string(file)
        .map_err(|error| bad(format!("failed to read it: {error}")))?;
    let results: Results = serde_json::from_str(&text)
        .map_err(|error| bad(format!("not a file with results: {error}")))?;
    if results.format != FORMAT {
        let what = format!(
            "its format is {}, this program reads {FORMAT}",
            results.format
        );
        return Err(bad(what));
    }
    Ok(results)
}

/// What `lockstep merge` is asked.
#[derive(Debug, Args)]
pub(super) struct MergeArguments {
    /// Files that `--results` wrote
    #[arg(required = true, value_name = "FILES")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) written: ResultArguments,
}

/// `lockstep merge`: the exit code is the most serious of all.
pub(super) fn merge(arguments: &MergeArguments, output: &mut Output) -> Result<u8, Failure> {
    let all = arguments
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<Results>, Failure>>()?;
    let merged = Results::merged(all);
    output.say(markdown::render(&merged).trim_end())?;
    publish(&arguments.written, &merged, output)?;
    Ok(exit_code(&merged))
}

/// The most serious of all cases.
pub(super) fn exit_code(results: &results::Results) -> u8 {
    most_serious(results.cases().map(|case| case.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_work_without_overlap() {
        let mut seen: Vec<u64> = Vec::new();
        for k in 1..=3 {
            let shard = Shard::parse(&format!("{k}/3")).expect("legal");
            let mut work: Vec<u64> = (0..10).collect();
            take_shard(&mut work, Some(shard));
            seen.extend(work);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        for bad in ["", "3", "0/3", "4/3", "1/0", "a/b", "1/1001"] {
            assert!(Shard::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.json");
        for (text, says) in [
            ("{}", "not a file with results"),
            (r#"{"format": 9, "suites": []}"#, "its format is 9"),
        ] {
            std::fs::write(&file, text).expect("written");
            let refused = read(&file).expect_err("refused").text;
            assert!(
                refused.contains("x.json") && refused.contains(says) && refused.contains("Remedy"),
                "{refused}"
            );
        }
    }
}
