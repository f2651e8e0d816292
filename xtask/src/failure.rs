//! Owns how a task says that it failed: one message, and the exit code that goes with it.
//! Does not decide where the message is printed; `main` does.

use std::fmt;

/// A task that stopped: the text for the person at the terminal, with its remedy, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// A task that could not be done (exit code 1).
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 1,
        }
    }

    /// A command line that makes no sense (exit code 2).
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 2,
        }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns an error into a [`Failure`] that says first what was being done.
pub(crate) trait Doing<T> {
    /// `doing` follows the words "failed to".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(format!("failed to {}: {cause}", doing())))
    }
}
