//! Owns the symbolic names of things whose real names differ between runs or worlds: transaction ids, payment hashes,
//! node ids, invoices, addresses. Does not own who gives them (whoever learns of the thing first).

use serde_json::Value;
use std::collections::BTreeMap;

/// Real text to symbolic name.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, String>);

/// Left out of canonical events: points in time, which differ between worlds by latencies,
/// and numbers that count across subjects.
const LEFT_OUT: [&str; 5] = ["at", "expires_at", "created_at", "deadline_at", "number"];

impl Names {
    /// From now on `real` is called `symbolic`; the first name given stays.
    pub fn give(&mut self, real: impl Into<String>, symbolic: impl Into<String>) {
        self.0.entry(real.into()).or_insert_with(|| symbolic.into());
    }

    /// The same for one of several things that are called alike: `name`, `name#2`, `name#3` and so on.
    pub fn give_next(&mut self, real: impl Into<String>, symbolic: &str) {
        let taken = |name: &String| self.0.values().any(|given| given == name);
        let mut name = symbolic.to_owned();
        let mut number = 1;
        while taken(&name) {
            number += 1;
            name = format!("{symbolic}#{number}");
        }
        self.give(real, name);
    }

    /// The symbolic name, if one was given.
    pub fn of(&self, real: &str) -> Option<&str> {
        self.0.get(real).map(String::as_str)
    }

    /// Replaces every named text in `value` and drops points in time.
    pub fn make_symbolic(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(name) = self.of(text) {
                    *text = name.to_owned();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.make_symbolic(item)),
            Value::Object(fields) => {
                fields.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
                fields
                    .values_mut()
                    .for_each(|field| self.make_symbolic(field));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_replace_texts_at_any_depth_and_times_go() {
        let mut names = Names::default();
        names.give("ab12", "funding:a-b");
        names.give("ab12", "later name");
        let mut value = json!({ "inputs": [{ "txid": "ab12" }], "at": 5, "other": "ab1" });
        names.make_symbolic(&mut value);
        assert_eq!(
            value,
            json!({ "inputs": [{ "txid": "funding:a-b" }], "other": "ab1" })
        );
    }
}
