//! Owns changes that leave JSON well-formed: one node of a text gets another value, often one of its own kind from another
//! sample. So they reach what stands behind the JSON parser. Does not own changes of bytes (`attack`).

use serde_json::{Value, json};

/// One change; places are fractions of the number of nodes, in 65,536ths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) node: u16,
    pub(crate) from: u16,
    pub(crate) how: u8,
}

/// How many values `how` has.
pub(crate) const WAYS: u8 = 12;

/// The status line of an answer, and the text below it.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let is_status = line > 1 && bytes[..line - 1].iter().all(u8::is_ascii_digit);
    bytes.split_at(if is_status { line } else { 0 })
}

/// Whether there is a node to change.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<Value>(split(bytes).1);
    parsed.is_ok_and(|value| value.is_object())
}

fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    found.push(here.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{here}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(field, &format!("{here}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn pick(value: &Value, fraction: u16, fits: impl Fn(&Value) -> bool) -> Option<(String, Value)> {
    let mut all = Vec::new();
    pointers(value, "", &mut all);
    let node = |pointer: String| value.pointer(&pointer).cloned().map(|node| (pointer, node));
    let fitting: Vec<_> = all
        .into_iter()
        .filter_map(node)
        .filter(|(_, node)| fits(node))
        .collect();
    let at = usize::from(fraction) * fitting.len() / 65_536;
    fitting.into_iter().nth(at)
}

/// What a node may become.
fn other(node: &Value, donor: &Value, change: Change) -> Value {
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(0.5),
        json!(21_000_000_u64 * 100_000_000),
        json!(21_000_000_u64 * 100_000_000 + 1),
    ];
    let texts = [
        "",
        "/",
        "c1/expiry",
        "payout-1/transfer",
        "é\u{0}\u{202e}",
        "0",
        "ann",
        "store-1",
        "day-1/report",
    ];
    let kind = std::mem::discriminant(node);
    let nth = usize::from(change.from);
    match change.how {
        0..=6 => pick(donor, change.from, |other| {
            std::mem::discriminant(other) == kind
        })
        .map_or(Value::Null, |(_, v)| v),
        7 => pick(donor, change.from, |_| true).map_or(Value::Null, |(_, value)| value),
        8 => Value::Null,
        9 if node.is_number() => numbers[nth % numbers.len()].clone(),
        9 => json!(texts[nth % texts.len()]),
        10 => match node {
            Value::Array(items) => Value::Array(items.iter().chain(items).cloned().collect()),
            Value::String(text) => json!(text.repeat(20)),
            other => json!([other]),
        },
        _ => match node {
            Value::Array(items) => Value::Array(items.iter().skip(1).cloned().collect()),
            Value::Object(fields) => Value::Object(fields.clone().into_iter().skip(1).collect()),
            Value::Number(number) => json!(number.as_u64().map_or(0, |n| n.wrapping_add(1))),
            other => other.clone(),
        },
    }
}

/// Changes one node, if the text is JSON; otherwise nothing.
pub(crate) fn apply(change: Change, bytes: &mut Vec<u8>, donor: &[u8]) {
    let (status, body) = split(bytes);
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let donor = serde_json::from_slice::<Value>(split(donor).1).unwrap_or(Value::Null);
    let Some((pointer, node)) = pick(&value, change.node, |_| true) else {
        return;
    };
    let place = value
        .pointer_mut(&pointer)
        .expect("the node that was picked");
    *place = other(&node, &donor, change);
    *bytes = [status, value.to_string().as_bytes()].concat();
}
