//! Owns the story of a payment in the terminal: a column for each actor, time downwards, arrows for what travels, and a line of
//! text beside. Does not own what the records mean (`page::story`).

use super::page::lines::Line;
use super::page::story::{Mark, Story};
use super::words::{clock, count, duration};
use serde_json::{Value, json};

/// Columns of a terminal that the story fits into.
pub const WIDTH: usize = 100;

/// The text beside the columns has at least so much room, unless there are very many actors.
const TEXT_MIN: usize = 36;

/// A pause is written down from this on, ms.
const PAUSE_MS: u64 = 1_000;

/// The marks of the story of one payment: its own, what was found broken, and faults while it was under way.
fn chosen(story: &Story, lines: &[Line], payment: usize) -> Vec<usize> {
    let own = |mark: &Mark| mark.payments.contains(&payment) && mark.weight > 1;
    let after_warm_up = |index: &usize| *index >= story.warm_up;
    let first = story
        .marks
        .iter()
        .position(own)
        .unwrap_or(story.marks.len());
    let last = story.marks.iter().rposition(own).unwrap_or(0);
    let others = |index: usize, mark: &Mark| {
        let during = (first..=last).contains(&index);
        mark.bad || during && lines[mark.line].subsystem == "faults"
    };
    (0..story.marks.len())
        .filter(after_warm_up)
        .filter(|index| own(&story.marks[*index]) || others(*index, &story.marks[*index]))
        .collect()
}

/// The story of one payment as JSON.
pub fn json(story: &Story, lines: &[Line], payment: usize) -> Value {
    let events = chosen(story, lines, payment).into_iter().map(|index| {
        let mark = &story.marks[index];
        let line = &lines[mark.line];
        json!({
            "n": line.n,
            "at_ms": mark.at_ms,
            "sent_ms": mark.from_ms,
            "subsystem": line.subsystem,
            "from": story.lanes[mark.lane],
            "to": mark.to.map(|to| &story.lanes[to]),
            "text": mark.text,
            "lost": mark.lost,
            "bad": mark.bad,
        })
    });
    json!({ "payment": story.payments[payment], "events": events.collect::<Vec<_>>() })
}

/// The story of one payment as text.
pub fn text(story: &Story, lines: &[Line], payment: usize) -> String {
    let marks: Vec<&Mark> = chosen(story, lines, payment)
        .into_iter()
        .map(|index| &story.marks[index])
        .collect();
    let name = &story.payments[payment];
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
        return format!("payment {name}: nothing after the warm-up\n");
    };
    let between = format!("{} to {}", clock(first.at_ms), clock(last.at_ms));
    let mut text = format!(
        "payment {name}: {}, {between}\n\n",
        count(marks.len(), "event")
    );
    let sheet = Sheet::new(story, &marks);
    sheet.heading(story, &mut text);
    let mut before = first.at_ms;
    for mark in marks {
        let pause = mark.at_ms.saturating_sub(before);
        if pause >= PAUSE_MS {
            let later = format!("… {} later", duration(pause));
            sheet.row("", &sheet.lifelines('⋮'), &later, &mut text);
        }
        before = mark.at_ms;
        sheet.mark(mark, &mut text);
    }
    text
}

/// Where the columns stand.
struct Sheet {
    /// Lanes of the columns, ascending.
    lanes: Vec<usize>,
    time_width: usize,
    column: usize,
}

impl Sheet {
    fn new(story: &Story, marks: &[&Mark]) -> Sheet {
        let mut lanes: Vec<usize> = marks
            .iter()
            .flat_map(|mark| [Some(mark.lane), mark.to])
            .flatten()
            .collect();
        lanes.sort_unstable();
        lanes.dedup();
        let times = marks.iter().map(|mark| clock(mark.at_ms).len());
        let time_width = times.max().unwrap_or(0);
        let names = lanes.iter().map(|lane| story.lanes[*lane].chars().count());
        let longest = names.max().unwrap_or(0);
        let room = WIDTH.saturating_sub(time_width + 2 + TEXT_MIN) / lanes.len().max(1);
        Sheet {
            column: room.clamp(3, (longest + 2).max(3)),
            lanes,
            time_width,
        }
    }

    fn place(&self, lane: usize) -> usize {
        let column = self.lanes.iter().position(|own| *own == lane);
        column.unwrap_or(0) * self.column
    }

    fn text_width(&self) -> usize {
        let before = self.time_width + 2 + self.lanes.len() * self.column;
        WIDTH.saturating_sub(before).max(20)
    }

    /// Names above their columns, in as many rows as the longest needs.
    fn heading(&self, story: &Story, text: &mut String) {
        // Nothing stands to the right of the last name.
        let last = self.lanes.len().saturating_sub(1);
        let wide = |column: usize| match column == last {
            true => WIDTH,
            false => self.column.saturating_sub(1).max(1),
        };
        let names: Vec<Vec<char>> = self
            .lanes
            .iter()
            .map(|lane| story.lanes[*lane].chars().collect())
            .collect();
        let rows = names
            .iter()
            .enumerate()
            .map(|(column, name)| name.len().div_ceil(wide(column)))
            .max()
            .unwrap_or(0);
        for row in 0..rows {
            let cells = names.iter().enumerate().map(|(column, name)| {
                let wide = wide(column);
                let part: String = name.iter().skip(row * wide).take(wide).collect();
                format!("{part:<width$}", width = self.column)
            });
            let cells: String = cells.collect();
            self.row("", &cells, "", text);
        }
    }

    fn lifelines(&self, line: char) -> String {
        let cell = |_: &usize| format!("{line:<width$}", width = self.column);
        self.lanes.iter().map(cell).collect()
    }

    /// One row; what is too long for it goes on below, beside plain lifelines.
    fn row(&self, time: &str, columns: &str, words: &str, text: &mut String) {
        let mut parts = wrapped(words, self.text_width()).into_iter();
        let first = parts.next().unwrap_or_default();
        let row = format!("{time:>width$}  {columns}{first}", width = self.time_width);
        text.push_str(row.trim_end());
        text.push('\n');
        for part in parts {
            let columns = self.lifelines('│');
            let row = format!("{:width$}  {columns}{part}", "", width = self.time_width);
            text.push_str(row.trim_end());
            text.push('\n');
        }
    }

    fn mark(&self, mark: &Mark, text: &mut String) {
        let mut columns: Vec<char> = self.lifelines('│').chars().collect();
        let from = self.place(mark.lane);
        match mark.to.map(|to| self.place(to)).filter(|to| *to != from) {
            None => columns[from] = if mark.bad { '✗' } else { '●' },
            Some(to) => {
                let line = if mark.lost { '╌' } else { '─' };
                let (low, high) = (from.min(to), from.max(to));
                columns[low..=high].fill(line);
                columns[from] = if to > from { '├' } else { '┤' };
                columns[to] = match (mark.lost, to > from) {
                    (true, _) => '✗',
                    (false, true) => '▶',
                    (false, false) => '◀',
                };
            }
        }
        let columns: String = columns.into_iter().collect();
        let words = match mark.bad {
            true => format!("FIRST BAD EVENT: {}", mark.text),
            false => mark.text.clone(),
        };
        self.row(&clock(mark.at_ms), &columns, &words, text);
    }
}

/// Breaks at blanks; words longer than a line are cut.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in words.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::super::page::{sample, story};
    use super::*;

    fn told(payment: usize) -> String {
        let lines = sample::lines();
        let outcome = sample::outcome();
        text(&story::build(&lines, Some(&outcome)), &lines, payment)
    }

    #[test]
    fn a_story_has_a_column_for_each_actor_and_an_arrow_for_what_travels() {
        let expected = "\
payment p-2: 5 events, 0:05.000 to 0:05.020

          scenario  engine    gateway
0:05.000  ✗         │         │         FIRST BAD EVENT: payout p-2: shop -> bank 1.00 EUR over sepa
0:05.000  │         ●         │         payout dispatched
0:05.020  │         ├─────────▶         POST /v1/transfers → 201, answer lost
0:05.020  │         ✗╌╌╌╌╌╌╌╌╌┤         answer: connection lost
0:05.020  │         ●         │         outcome unknown
";
        assert_eq!(told(1), expected);
    }

    #[test]
    fn pauses_are_said_and_no_line_is_wider_than_the_terminal() {
        let text = told(0);
        assert!(text.contains("… 2.9 s later"), "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= WIDTH), "{text}");
        let many = Sheet {
            lanes: (0..25).collect(),
            column: 3,
            time_width: 12,
        };
        assert_eq!(many.text_width(), 20);
    }

    #[test]
    fn the_same_as_json() {
        let lines = sample::lines();
        let story = story::build(&lines, None);
        let told = json(&story, &lines, 1);
        let events = told["events"].as_array().expect("events");
        let texts: Vec<&str> = events.iter().filter_map(|e| e["text"].as_str()).collect();
        assert_eq!(texts.len(), 5);
        assert_eq!(events[2]["from"], "engine");
        assert_eq!(events[2]["to"], "gateway");
        assert_eq!(events[2]["sent_ms"], 5_000);
        assert_eq!(events[3]["lost"], true);
    }

    #[test]
    fn words_are_wrapped_and_endless_ones_are_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh x", 3), ["abc", "def", "gh", "x"]);
    }
}
