//! Owns a trace as a picture: lanes, and a mark for each record with its place, its arrow and its payments. Does not own
//! how it is drawn (the page, `explain`) nor texts (`describe`).

use super::describe::{self, word};
use super::lines::Line;
use super::money::{self, Series};
use super::payments::Payments;
use super::spans::{self, Span};
use crate::run::outcome::{Outcome, Verdict};
use serde_json::Value;
use std::collections::BTreeMap;

/// One record in the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which record, by its place in the lines.
    pub line: usize,
    /// Virtual ms.
    pub at_ms: u64,
    /// When it began, for what travels.
    pub from_ms: Option<u64>,
    /// Lane; of an arrow, where it begins.
    pub lane: usize,
    /// Where an arrow ends.
    pub to: Option<usize>,
    /// One line.
    pub text: String,
    /// Indices into [`Story::payments`].
    pub payments: Vec<usize>,
    /// Who gets room for a label first: 0 none at all, 9 before all others.
    pub weight: u8,
    /// What was sent and never arrived, or an answer that was lost.
    pub lost: bool,
    /// Whether something is wrong here.
    pub bad: bool,
}

/// A trace as lanes and marks.
#[derive(Clone, Debug)]
pub struct Story {
    /// Names of the lanes, from top to bottom.
    pub lanes: Vec<String>,
    /// Names of the payments, in order of appearance.
    pub payments: Vec<String>,
    /// One for each record, in order.
    pub marks: Vec<Mark>,
    /// How many of the first marks belong to the warm-up.
    pub warm_up: usize,
    /// The first mark at which something is wrong.
    pub bad: Option<usize>,
    /// Faults.
    pub spans: Vec<Span>,
    /// Money over time.
    pub money: Vec<Series>,
}

const FIRST_LANES: [&str; 1] = ["scenario"];
const LAST_LANES: [&str; 5] = ["engine", "ledger", "gateway", "chain", "invariants"];

/// Makes the picture; `outcome` tells what failed, if it is known.
pub fn build(lines: &[Line], outcome: Option<&Outcome>) -> Story {
    let payments = Payments::find(lines);
    let mut lanes = Lanes::find(lines, &payments);
    let mut arrows = Arrows::default();
    let mut marks: Vec<Mark> = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let mut mark = plain(index, line, &mut lanes);
        if let ("faults", Some(lane)) = (
            line.subsystem.as_str(),
            lanes.of_fault(line, &payments).first(),
        ) {
            mark.lane = *lane;
        }
        mark.payments = payments.of(line);
        arrows.aim(&mut mark, line, &mut lanes, &marks);
        marks.push(mark);
    }
    for index in arrows.offered.into_values().flatten() {
        marks[index].weight = 5;
        marks[index].text.push_str(" (did not arrive)");
    }
    let warm_up = warm_up(lines);
    let bad = first_bad(lines, &marks, outcome);
    if let Some(bad) = bad {
        marks[bad].bad = true;
        marks[bad].weight = 9;
    }
    let spans = spans::spans(lines, |line| lanes.of_fault(line, &payments));
    Story {
        lanes: lanes.names,
        payments: payments.names,
        marks,
        warm_up,
        bad,
        spans,
        money: money::series(lines),
    }
}

/// How many records belong to the warm-up: all up to its end, and what was observed then, before anything was asked.
pub(super) fn warm_up(lines: &[Line]) -> usize {
    let is_end = |line: &Line| word(&line.event, "event") == "warmed up";
    let Some(end) = lines.iter().position(is_end) else {
        return 0;
    };
    let begins = |line: &Line| line.at_ms > 0 || line.event.get("step").is_some();
    let first = lines[end..].iter().position(begins);
    first.map_or(lines.len(), |first| end + first)
}

/// A broken invariant that the trace tells; else the last step at the line that failed, or of the step's name.
fn first_bad(lines: &[Line], marks: &[Mark], outcome: Option<&Outcome>) -> Option<usize> {
    if let Some(told) = marks.iter().position(|mark| mark.bad) {
        return Some(told);
    }
    let (line, step) = match &outcome?.verdict {
        Verdict::Violated { line, step, .. } | Verdict::Liveness { line, step, .. } => (line, step),
        Verdict::NonDeterministic { .. } | Verdict::Harness { .. } => return None,
        Verdict::Pass | Verdict::Interrupted => return None,
    };
    let of_step = |record: &Line| {
        let event = &record.event;
        let at = event.get("line").and_then(Value::as_u64);
        let same_line = line.is_some_and(|line| at == Some(line as u64));
        record.subsystem == "stimulus" && (same_line || word(event, "step") == step)
    };
    // What failed at the end failed after the last record.
    lines
        .iter()
        .rposition(of_step)
        .or(lines.len().checked_sub(1))
}

fn plain(index: usize, line: &Line, lanes: &mut Lanes) -> Mark {
    let lane = match line.subsystem.as_str() {
        "stimulus" => "scenario",
        "http" => "engine",
        own @ ("engine" | "ledger" | "chain" | "balances" | "invariants") => own,
        // Those that hit no lane; the others are put on what they hit.
        "faults" => "scenario",
        _ => &line.actor,
    };
    let lane = lanes.lane(lane);
    Mark {
        line: index,
        at_ms: line.at_ms,
        from_ms: None,
        lane,
        to: None,
        text: describe::text(line),
        payments: Vec::new(),
        weight: weight(line),
        lost: line.event.get("lost").and_then(Value::as_bool) == Some(true),
        bad: line.subsystem == "invariants",
    }
}

fn weight(line: &Line) -> u8 {
    let kind = word(&line.event, "event");
    match line.subsystem.as_str() {
        "invariants" => 9,
        // The span has the label.
        "faults" => 1,
        "engine" if kind.starts_with("payment_") => 7,
        "engine" => 6,
        "http" | "lightning" => 5,
        "stimulus" => 4,
        "ledger" => 3,
        "chain" if kind == "tip" => 1,
        "chain" => 3,
        "links" | "balances" => 0,
        _ => 2,
    }
}

/// Lanes by name.
struct Lanes {
    names: Vec<String>,
    index: BTreeMap<String, usize>,
}

impl Lanes {
    /// Scenario, then nodes and others as they appear, then engine, ledger, gateway, chain.
    fn find(lines: &[Line], payments: &Payments) -> Lanes {
        let mut between: Vec<&str> = Vec::new();
        let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
        let fixed = |name: &str| FIRST_LANES.contains(&name) || LAST_LANES.contains(&name);
        let mut present = |name, between: &mut Vec<_>| {
            if seen.insert(name, ()).is_none() && !fixed(name) {
                between.push(name);
            }
        };
        let mut last: Vec<&str> = Vec::new();
        for line in lines {
            match line.subsystem.as_str() {
                "lightning" => present(&line.actor, &mut between),
                "links" => {
                    present(&line.actor, &mut between);
                    present(word(&line.event, "to"), &mut between);
                }
                "http" => last.extend(["gateway", "engine"]),
                own @ ("engine" | "ledger" | "chain" | "invariants") => last.push(own),
                "stimulus" | "faults" | "balances" => {}
                _ if payments.names.contains(&line.actor) => {}
                _ => present(&line.actor, &mut between),
            }
        }
        let mut lanes = Lanes {
            names: Vec::new(),
            index: BTreeMap::new(),
        };
        let last = LAST_LANES.into_iter().filter(|name| last.contains(name));
        for name in FIRST_LANES.into_iter().chain(between).chain(last) {
            lanes.lane(name);
        }
        lanes
    }

    fn lane(&mut self, name: &str) -> usize {
        if let Some(known) = self.index.get(name) {
            return *known;
        }
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// The lanes of a fault's scope: a lane's name, two of them with a hyphen between (names may have hyphens too), or a
    /// payment: then it is the gateway that errs, or the chain that loses or replaces its transaction.
    fn of_fault(&self, line: &Line, payments: &Payments) -> Vec<usize> {
        let scope = line.actor.as_str();
        let find = |name: &str| self.index.get(name).copied();
        if let Some(lane) = find(scope) {
            return vec![lane];
        }
        let pairs = scope.match_indices(['-', '>', '/', ' ']);
        for (at, separator) in pairs {
            let (a, b) = (&scope[..at], &scope[at + separator.len()..]);
            if let (Some(a), Some(b)) = (find(a), find(b)) {
                return vec![a.min(b), a.max(b)];
            }
        }
        let is_payment = payments.names.iter().any(|name| name == scope);
        let lane = match word(&line.event, "fault") {
            "evict" | "replace" if is_payment => "chain",
            _ if is_payment => "gateway",
            _ => "scenario",
        };
        find(lane).into_iter().collect()
    }
}

/// What is on its way while lines are read.
#[derive(Default)]
struct Arrows {
    /// HTLCs that were offered: channel, hash, amount, expiry -> mark.
    offered: BTreeMap<String, Vec<usize>>,
    /// When the gateway answered, by key or path.
    answered: BTreeMap<String, u64>,
    /// The latest chunk on each path: sent.
    chunks: BTreeMap<(usize, usize), u64>,
}

impl Arrows {
    fn aim(&mut self, mark: &mut Mark, line: &Line, lanes: &mut Lanes, before: &[Mark]) {
        match line.subsystem.as_str() {
            "links" => self.link(mark, line, lanes),
            "lightning" => self.htlc(mark, line, before),
            "http" => self.http(mark, line, lanes),
            _ => {}
        }
    }

    fn link(&mut self, mark: &mut Mark, line: &Line, lanes: &mut Lanes) {
        let to = lanes.lane(word(&line.event, "to"));
        let took = line.event.get("took_us").and_then(Value::as_u64);
        mark.to = Some(to);
        mark.from_ms = took.map(|us| line.at_ms.saturating_sub(us / 1_000));
        let sent = mark.from_ms.unwrap_or(line.at_ms);
        self.chunks.insert((mark.lane, to), sent);
    }

    fn htlc(&mut self, mark: &mut Mark, line: &Line, before: &[Mark]) {
        let event = &line.event;
        if word(event, "htlc") != "added" {
            if event.get("htlc").is_some() {
                mark.weight = 1;
            }
            return;
        }
        let key = format!(
            "{} {} {} {}",
            word(event, "channel_id"),
            word(event, "payment_hash"),
            event["amount_msat"],
            event["cltv_expiry"]
        );
        let waiting = self.offered.entry(key).or_default();
        if word(event, "way") == "out" {
            waiting.push(mark.line);
            // The label stands at the arrow's end.
            mark.weight = 1;
        } else if let Some(offered) = waiting.pop() {
            mark.to = Some(mark.lane);
            mark.lane = before[offered].lane;
            mark.from_ms = Some(before[offered].at_ms);
            mark.text = mark.text.replacen("HTLC in", "HTLC", 1);
        }
    }

    fn http(&mut self, mark: &mut Mark, line: &Line, lanes: &mut Lanes) {
        let (engine, gateway) = (lanes.lane("engine"), lanes.lane("gateway"));
        let event = &line.event;
        let path = word(event, "path");
        if event.get("call").is_some() {
            (mark.lane, mark.to) = (engine, Some(gateway));
            mark.from_ms = self.sent(engine, gateway, mark.at_ms);
            let key = event.get("key").and_then(Value::as_str).unwrap_or(path);
            self.answered.insert(key.to_owned(), mark.at_ms);
            // What is lost is the answer, which has a record of its own.
            mark.lost = false;
        } else if let Some(key) = event.get("exchange").and_then(Value::as_str) {
            (mark.lane, mark.to) = (gateway, Some(engine));
            mark.from_ms = self.answered.remove(key).or(self.answered.remove(path));
            mark.lost = event["answer"].get("failure").is_some();
        } else if event.get("webhook").is_some() {
            (mark.lane, mark.to) = (gateway, Some(engine));
            mark.from_ms = self.sent(gateway, engine, mark.at_ms);
            mark.lost = event["status"].is_null();
        }
    }

    /// When the latest chunk on this path left, if that was within the last seconds: an exchange takes no longer.
    fn sent(&self, from: usize, to: usize, at_ms: u64) -> Option<u64> {
        const EXCHANGE_MS: u64 = 60_000;
        let sent = self.chunks.get(&(from, to)).copied();
        sent.filter(|sent| at_ms.saturating_sub(*sent) <= EXCHANGE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn lanes_stand_in_order_and_the_warm_up_ends_before_the_first_step() {
        let story = build(&sample::lines(), None);
        let lanes = [
            "scenario", "alice", "bob", "engine", "ledger", "gateway", "chain", "balances",
        ];
        assert_eq!(story.lanes, lanes);
        assert_eq!(story.warm_up, 3);
        assert_eq!(story.payments, ["p-1", "p-2"]);
    }

    #[test]
    fn what_travels_has_two_lanes_and_two_times() {
        let story = build(&sample::lines(), None);
        let arrow = |index: usize| {
            let mark = &story.marks[index];
            let to = mark.to.map(|to| story.lanes[to].as_str());
            (
                story.lanes[mark.lane].as_str(),
                to,
                mark.from_ms,
                mark.at_ms,
                mark.lost,
            )
        };
        assert_eq!(arrow(6), ("alice", Some("bob"), Some(1_000), 1_030, false));
        assert_eq!(
            arrow(13),
            ("engine", Some("gateway"), Some(5_000), 5_020, false)
        );
        assert_eq!(
            arrow(14),
            ("gateway", Some("engine"), Some(5_020), 5_020, true)
        );
        assert_eq!(story.marks[6].text, "HTLC 5.001 sat");
    }

    #[test]
    fn an_htlc_that_nobody_got_says_so() {
        let mut lines = sample::lines();
        lines.remove(6);
        let story = build(&lines, None);
        assert_eq!(story.marks[5].text, "HTLC out 5.001 sat (did not arrive)");
    }

    #[test]
    fn a_record_belongs_to_the_payments_that_it_names() {
        let story = build(&sample::lines(), None);
        let of = |index: usize| story.marks[index].payments.clone();
        assert_eq!(of(3), [0], "a word of a step");
        assert_eq!(of(8), [0], "a field");
        assert_eq!(of(9), [0], "the scope of a fault");
        assert_eq!((of(13), of(14)), (vec![1], vec![1]), "an idempotency key");
        assert_eq!(of(16), [0], "the name of a transaction");
        assert_eq!(
            of(12),
            Vec::<usize>::new(),
            "bytes are not known to be of any"
        );
    }

    #[test]
    fn the_first_bad_event_is_the_step_that_failed_or_what_the_trace_calls_broken() {
        let mut lines = sample::lines();
        assert_eq!(build(&lines, None).bad, None);
        let outcome = sample::outcome();
        assert_eq!(build(&lines, Some(&outcome)).bad, Some(10));
        lines[12].subsystem = "invariants".to_owned();
        assert_eq!(build(&lines, Some(&outcome)).bad, Some(12));
    }

    #[test]
    fn a_fault_lies_on_the_lanes_of_its_scope() {
        let lines = sample::lines();
        let spans = build(&lines, None).spans;
        let gateway = 5;
        assert_eq!(
            spans[0].lanes,
            [gateway],
            "a payment's name: the gateway errs"
        );
        let payments = Payments::find(&lines);
        let lanes = Lanes::find(&lines, &payments);
        let of = |scope: &str, fault: &str| {
            let mut line = lines[9].clone();
            line.actor = scope.to_owned();
            line.event = serde_json::json!({ "fault": fault });
            lanes.of_fault(&line, &payments)
        };
        assert_eq!(of("bob", "crash"), [2]);
        assert_eq!(of("bob-alice", "loss"), [1, 2]);
        assert_eq!(of("p-1", "evict"), [6]);
        assert_eq!(of("nobody", "crash"), [0]);
    }
}
