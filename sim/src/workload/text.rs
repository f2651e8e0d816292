//! Owns the text of a plan while it is made: head lines and steps by their time, and the words of quantities. Does not own what
//! stands in it.

use std::fmt::Write;

/// A step with the earliest time at which it can begin and end, in ms since the start.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) from: u64,
    pub(super) until: u64,
    /// Whether it is written with its time.
    pub(super) timed: bool,
    /// With a time, the verb and its value; without one, the whole inline table.
    pub(super) text: String,
}

/// A plan's text in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Lines above everything.
    pub(super) comments: Vec<String>,
    /// `title` to `channels`.
    pub(super) head: Vec<String>,
    /// In the order of their time.
    pub(super) steps: Vec<Line>,
    /// Payments that are refused anyway: no fault is spent on them.
    pub(super) pointless: Vec<String>,
    /// What brings everything to an end after all faults; the same form as `steps`.
    pub(super) tail: Vec<Line>,
}

impl Draft {
    /// Adds a step at a time, in any order; `sorted` puts them right.
    pub(super) fn at(&mut self, ms: u64, verb: &str) {
        self.steps.push(line(ms, verb));
    }

    /// Adds a wait.
    pub(super) fn wait(&mut self, ms: u64, lasts: u64) {
        let mut wait = line(ms, &format!("wait = \"{}\"", span(lasts)));
        wait.until = ms + lasts;
        self.steps.push(wait);
    }

    /// Puts a step before the first one that begins later, and not before position `after`.
    pub(super) fn insert(&mut self, ms: u64, after: usize, verb: &str) {
        let found = self
            .steps
            .iter()
            .skip(after)
            .position(|step| step.from > ms);
        let index = found.map_or(self.steps.len(), |found| after + found);
        let earliest = self.steps[..index]
            .iter()
            .map(|step| step.until)
            .max()
            .unwrap_or(0);
        self.steps.insert(index, line(ms.max(earliest), verb));
    }

    /// Steps in the order of their time; those of one moment stay as they were added. What would begin during a wait begins after.
    pub(super) fn sort(&mut self) {
        self.steps.sort_by_key(|step| step.from);
        let mut clock = 0;
        for step in &mut self.steps {
            let lasts = step.until - step.from;
            step.from = step.from.max(clock);
            step.until = step.from + lasts;
            clock = step.until;
        }
    }

    /// When the last step before the tail has begun.
    pub(super) fn last(&self) -> u64 {
        self.steps.iter().map(|step| step.until).max().unwrap_or(0)
    }

    /// The file.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            let _ = writeln!(text, "# {comment}");
        }
        for head in &self.head {
            let _ = writeln!(text, "{head}");
        }
        text.push_str("\nsteps = [\n");
        for step in self.steps.iter().chain(&self.tail) {
            let _ = match step.timed {
                true => writeln!(text, "  {{ at = \"{}\", {} }},", span(step.from), step.text),
                false => writeln!(text, "  {},", step.text),
            };
        }
        text.push_str("]\n");
        text
    }
}

/// A step with a time.
pub(super) fn line(ms: u64, verb: &str) -> Line {
    Line {
        from: ms,
        until: ms,
        timed: true,
        text: verb.to_owned(),
    }
}

/// A span in the largest unit that gives a whole number.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0 => "0 s".to_owned(),
        ms if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        ms if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{} s", grouped(ms / 1_000)),
        ms => format!("{} ms", grouped(ms)),
    }
}

/// Bitcoin.
pub(super) fn sat(sat: u64) -> String {
    format!("{} sat", grouped(sat))
}

/// Euro.
pub(super) fn euro(cents: u64) -> String {
    format!("{}.{:02} EUR", grouped(cents / 100), cents % 100)
}

/// `1 block`, `2 blocks`.
pub(super) fn blocks(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} block{plural}")
}

/// With an underscore between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_a_person_would() {
        assert_eq!(span(90_000), "90 s");
        assert_eq!(span(7_200_000), "2 h");
        assert_eq!(span(1_234_567), "1_234_567 ms");
        assert_eq!(sat(1_000_000), "1_000_000 sat");
        assert_eq!(euro(123_405), "1_234.05 EUR");
        assert_eq!(blocks(1), "1 block");
    }

    #[test]
    fn what_is_put_in_stands_at_its_time_and_after_what_it_needs() {
        let mut draft = Draft::default();
        for ms in [3_000, 1_000, 5_000] {
            draft.at(ms, "mine = 1");
        }
        draft.sort();
        draft.insert(2_000, 2, "mine = 2");
        draft.insert(4_000, 0, "mine = 3");
        let times: Vec<u64> = draft.steps.iter().map(|step| step.from).collect();
        assert_eq!(times, [1_000, 3_000, 3_000, 4_000, 5_000]);
        assert!(draft.steps[2].text.contains("mine = 2"));
    }
}
