//! Owns the line that says, while runs go on, which ones and for how long; only on a terminal.
//! Does not own watching processes.

use super::words::duration;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Between two drawings.
const REDRAW: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    total: usize,
    ended: usize,
    failed: usize,
    drawn_after: Duration,
}

impl Progress {
    /// For so many runs; it stays hidden if standard error is not a terminal.
    pub fn new(total: usize) -> Progress {
        let shown = std::io::stderr().is_terminal();
        Progress {
            shown,
            total,
            ended: 0,
            failed: 0,
            drawn_after: Duration::ZERO,
        }
    }

    /// One more is over.
    pub fn ended(&mut self, passed: bool) {
        self.ended += 1;
        self.failed += usize::from(!passed);
    }

    /// Draws the line; `elapsed` is the time since everything began.
    pub fn draw(&mut self, running: &[(String, Duration)], elapsed: Duration) {
        if !self.shown || elapsed < self.drawn_after {
            return;
        }
        self.drawn_after = elapsed + REDRAW;
        // A terminal that cannot be written to loses nothing but this line.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{}", self.text(running));
        let _ = std::io::stderr().flush();
    }

    fn text(&self, running: &[(String, Duration)]) -> String {
        let failed = if self.failed == 0 {
            String::new()
        } else {
            format!(", {} failed", self.failed)
        };
        let now = match running {
            [] => String::new(),
            [(name, since), others @ ..] => {
                let others = if others.is_empty() {
                    String::new()
                } else {
                    format!(" and {} more", others.len())
                };
                format!(
                    ": {name} for {}{others}",
                    duration(since.as_millis() as u64)
                )
            }
        };
        format!("{} of {} runs{failed}{now}", self.ended, self.total)
    }

    /// Removes the line.
    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            let _ = std::io::stderr().flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_runs_and_for_how_long() {
        let mut progress = Progress {
            shown: false,
            total: 3,
            ended: 0,
            failed: 0,
            drawn_after: Duration::ZERO,
        };
        progress.ended(true);
        progress.ended(false);
        let running = [
            ("a.toml".to_owned(), Duration::from_millis(4_200)),
            ("b.toml".to_owned(), Duration::ZERO),
        ];
        assert_eq!(
            progress.text(&running),
            "2 of 3 runs, 1 failed: a.toml for 4.2 s and 1 more"
        );
    }
}
