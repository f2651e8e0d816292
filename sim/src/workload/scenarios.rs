//! Owns taking the set-up and the traffic out of a scenario's text: its expectations become waits, its own faults are left out.
//! Does not own the format (`scenario`) nor what is added (`faults`).

use super::profile::Profile;
use super::text::{Draft, Line, line, span};
use crate::scenario::{Action, Expectation, Scenario};
use toml::de::{DeTable, DeValue};

/// Keys of the head that a plan has for itself.
const OWN_KEYS: [&str; 7] = [
    "title", "worlds", "why_not", "covers", "seed", "pace", "steps",
];

/// How long a plan waits where the scenario waited for something, at most, if no time says otherwise.
const MOST_WAIT_MS: u64 = 60_000;

/// The draft; `source` is the text of `scenario`, which was read without a problem.
pub(super) fn draft(scenario: &Scenario, source: &str, profile: &Profile) -> Draft {
    let root = DeTable::parse(source).expect("it was read before");
    let mut draft = Draft {
        head: head(root.get_ref()),
        ..Draft::default()
    };
    let typed: Vec<String> = match root.get_ref().get("steps").map(|steps| steps.get_ref()) {
        Some(DeValue::Array(steps)) => steps.iter().map(|step| inline(step.get_ref())).collect(),
        _ => Vec::new(),
    };
    let mut clock = 0;
    for (index, (step, text)) in scenario.steps.iter().zip(typed).enumerate() {
        clock = clock.max(step.at.map_or(0, |at| at.get()));
        let next = scenario.steps[index + 1..]
            .iter()
            .find_map(|later| later.at)
            .map(|at| at.get());
        let (text, lasts) = match &step.action {
            Action::Expect(Expectation::Payment {
                within: Some(within),
                ..
            }) => {
                let room = next.map_or(MOST_WAIT_MS, |next| next.saturating_sub(clock));
                let lasts = within.get().min(room).min(MOST_WAIT_MS);
                (format!("{{ wait = \"{}\" }}", span(lasts)), lasts)
            }
            Action::Wait { span } => (text, span.get()),
            action if is_traffic(action) => (text, 0),
            _ => continue,
        };
        let nothing = lasts == 0 && matches!(step.action, Action::Expect(_));
        if !nothing {
            draft.steps.push(Line {
                from: clock,
                until: clock + lasts,
                timed: false,
                text,
            });
        }
        clock += lasts;
    }
    tail(&mut draft, profile);
    draft
}

/// What is not an expectation and not a fault.
fn is_traffic(action: &Action) -> bool {
    matches!(
        action,
        Action::Charge(_)
            | Action::Pay(_)
            | Action::Payout(_)
            | Action::Own(_)
            | Action::Channel(_)
            | Action::Enrol { .. }
            | Action::Binding(_)
            | Action::Sweep { .. }
            | Action::Release { .. }
            | Action::Refuse { .. }
            | Action::Decide(_)
            | Action::Mine { .. }
            | Action::Fee { .. }
            | Action::Wait { .. }
            | Action::Reconcile { .. }
    )
}

/// As many blocks as the deepest default asks for.
fn tail(draft: &mut Draft, profile: &Profile) {
    let mut at = draft.last() + u64::from(profile.faults.longest_s) * 1_000 + 60_000;
    draft.tail = vec![line(at, "fee = \"1 sat/vB\"")];
    for _ in 0..6 {
        at += 60_000;
        draft.tail.push(line(at, "mine = \"1 block\""));
    }
}

/// The set-up in the order of the file, tables of names as dotted keys.
fn head(root: &DeTable<'_>) -> Vec<String> {
    let mut entries: Vec<_> = root
        .iter()
        .filter(|(key, _)| !OWN_KEYS.contains(&key.get_ref().as_ref()))
        .collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut lines = Vec::new();
    for (key, value) in entries {
        let key = key.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Table(named) if !matches!(key, "operator" | "policy") => {
                let mut named: Vec<_> = named.iter().collect();
                named.sort_by_key(|(name, _)| name.span().start);
                for (name, value) in named {
                    lines.push(format!(
                        "{key}.{} = {}",
                        name.get_ref(),
                        inline(value.get_ref())
                    ));
                }
            }
            other => lines.push(format!("{key} = {}", inline(other))),
        }
    }
    lines
}

/// A value on one line, keys in the order of the file.
fn inline(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(all) => {
            let all: Vec<String> = all.iter().map(|one| inline(one.get_ref())).collect();
            format!("[{}]", all.join(", "))
        }
        DeValue::Table(table) if table.is_empty() => "{}".to_owned(),
        DeValue::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", key.get_ref(), inline(value.get_ref())))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
