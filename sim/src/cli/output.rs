//! Owns where texts go: results to standard output, notes to standard error; and the failures of the command line
//! itself, each with its exit code. Does not own the texts.

use super::sources::SourceError;
use super::{BAD_USAGE, HARNESS};
use crate::scenario::Colour;
use std::io::{self, IsTerminal, Write};

/// Why a command could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit_code: u8,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(exit_code: u8, text: impl AsRef<str>) -> Failure {
        Failure {
            exit_code,
            text: format!("error: {}\n", text.as_ref()),
        }
    }

    /// All that is wrong with scenario files.
    pub(super) fn sources(errors: Vec<SourceError>) -> Failure {
        let colour = colour();
        Failure {
            exit_code: BAD_USAGE,
            text: errors.iter().map(|error| error.render(colour)).collect(),
        }
    }
}

/// Whether standard error takes colours.
fn colour() -> Colour {
    let wanted = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted {
        Colour::Always
    } else {
        Colour::Never
    }
}

/// Standard output and standard error of a command.
#[derive(Debug)]
pub(super) struct Output {
    /// Whether standard output is for the machine-readable result alone.
    machine: bool,
}

impl Output {
    pub(super) fn new(machine: bool) -> Output {
        Output { machine }
    }

    /// For people: standard output, unless that is for machines.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.machine {
            self.note(text)
        } else {
            self.result(text)
        }
    }

    /// Beside the results.
    pub(super) fn note(&mut self, text: &str) -> Result<(), Failure> {
        // Nowhere is left to complain about standard error.
        let _ = writeln!(io::stderr(), "{text}");
        Ok(())
    }

    /// The result itself.
    pub(super) fn result(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // Whoever reads has seen enough (`lockstep … | head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                let remedy = "free some space, or send the output elsewhere.";
                Err(Failure::new(
                    HARNESS,
                    format!("failed to write to standard output: {error}\nRemedy: {remedy}"),
                ))
            }
            Ok(()) => Ok(()),
        }
    }
}
