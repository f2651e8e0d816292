//! Owns the canonical form of a trace: what must be equal in both worlds, line by line. Events are collected between
//! two settled points and then ordered by subsystem and subject, keeping the causal order within a subject: what
//! happens concurrently in different subjects has no order that two worlds could share.
//! Does not own what goes into it (docs/TRACES.md says what is left out and why).

use super::Subsystem;
use serde_json::{Value, json};

/// The canonical form so far.
#[derive(Clone, Debug, Default)]
pub struct Canonical {
    lines: Vec<String>,
    open: Vec<(Subsystem, String, Value)>,
    points: u32,
}

impl Canonical {
    /// Adds an event to the open interval.
    pub fn add(&mut self, subsystem: Subsystem, subject: &str, event: Value) {
        self.open.push((subsystem, subject.to_owned(), event));
    }

    /// Forgets what was collected since the last settled point (warm-up differs between worlds).
    pub fn discard_open(&mut self) {
        self.open.clear();
    }

    /// Ends the interval: everything collected belongs to the step named by `heading`.
    pub fn settle(&mut self, heading: &str) {
        self.points += 1;
        self.lines
            .push(json!({ "point": self.points, "step": heading }).to_string());
        let mut events = std::mem::take(&mut self.open);
        events.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        self.lines
            .extend(events.into_iter().map(|(subsystem, subject, event)| {
                let subsystem =
                    serde_json::to_value(subsystem).expect("a subsystem is a plain name");
                json!({ "sub": subsystem, "of": subject, "is": event }).to_string()
            }));
    }

    /// The lines up to the last settled point.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines as a file.
    pub fn to_text(&self) -> String {
        self.lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_ordered_and_causal_order_within_one_is_kept() {
        let text = |order: &[(&str, u32)]| {
            let mut canonical = Canonical::default();
            for (subject, n) in order {
                canonical.add(Subsystem::Engine, subject, json!({ "n": n }));
            }
            canonical.settle("pay p1");
            canonical.to_text()
        };
        assert_eq!(
            text(&[("b", 1), ("a", 1), ("b", 2)]),
            text(&[("a", 1), ("b", 1), ("b", 2)])
        );
        assert_ne!(text(&[("b", 2), ("b", 1)]), text(&[("b", 1), ("b", 2)]));
    }
}
