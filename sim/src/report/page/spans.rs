//! Owns faults as spans over the lanes that they hit: from the record of their beginning to that of their end, with each
//! effect between. Does not own faults (`faults`) nor lanes (`story`).
//!
//! A record of the subsystem `faults` has the scope as its actor and `{"fault": name, "id": n, "phase": p}` as its event,
//! `p` being `begin`, `effect` or `end`. Without `id` and `phase` it is a beginning whose end is not told.

use super::describe::word;
use super::lines::Line;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One fault over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its number in the run, if the trace tells it.
    pub id: Option<u64>,
    /// What: `crash`, `partition`, ...
    pub name: String,
    /// Whom it concerns, in the words of the trace.
    pub scope: String,
    /// The lanes that it hits.
    pub lanes: Vec<usize>,
    /// Begin, virtual ms.
    pub from: u64,
    /// End, virtual ms, if it is told.
    pub to: Option<u64>,
    /// When it had an effect, virtual ms.
    pub effects: Vec<u64>,
}

/// All faults, by their beginning. `lanes_of` finds the lanes that the fault of a record hits.
pub(super) fn spans(lines: &[Line], lanes_of: impl Fn(&Line) -> Vec<usize>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut by_id: BTreeMap<u64, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.subsystem == "faults") {
        let id = line.event.get("id").and_then(Value::as_u64);
        let known = id.and_then(|id| by_id.get(&id).copied());
        match (word(&line.event, "phase"), known) {
            ("effect", Some(span)) => spans[span].effects.push(line.at_ms),
            ("end", Some(span)) => spans[span].to = Some(line.at_ms),
            // An effect or end without a beginning: the trace was cut; it is shown as a point.
            (phase, None) => {
                let at = line.at_ms;
                if let Some(id) = id {
                    by_id.insert(id, spans.len());
                }
                spans.push(Span {
                    id,
                    name: word(&line.event, "fault").to_owned(),
                    scope: line.actor.clone(),
                    lanes: lanes_of(line),
                    from: at,
                    to: (phase == "end").then_some(at),
                    effects: if phase == "effect" {
                        vec![at]
                    } else {
                        Vec::new()
                    },
                });
            }
            (_, Some(_)) => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(at_ms: u64, event: Value) -> Line {
        Line {
            n: 0,
            at_ms,
            subsystem: "faults".to_owned(),
            actor: "a-b".to_owned(),
            event,
        }
    }

    #[test]
    fn phases_of_one_id_are_one_span_and_bare_records_begin_one() {
        let phase =
            |at, phase: &str| record(at, json!({ "fault": "loss", "id": 4, "phase": phase }));
        let lines = [
            phase(10, "begin"),
            record(11, json!({ "fault": "crash" })),
            phase(12, "effect"),
            phase(15, "effect"),
            phase(20, "end"),
        ];
        let spans = spans(&lines, |_| vec![1, 2]);
        assert_eq!(spans.len(), 2);
        assert_eq!(
            (spans[0].from, spans[0].to, &spans[0].effects[..]),
            (10, Some(20), &[12, 15][..])
        );
        assert_eq!((spans[1].from, spans[1].to, spans[1].id), (11, None, None));
        assert_eq!(spans[1].lanes, [1, 2]);
    }
}
