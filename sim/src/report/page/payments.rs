//! Owns which payments a record concerns: by its fields, its idempotency key, the payment hash of an invoice, a
//! transaction's symbolic name, or a word of a step. Does not own what the record says.

use super::describe::word;
use super::lines::Line;
use lightning_invoice::Bolt11Invoice;
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The payments of a trace, in the order in which they first appear, and what leads to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Payments {
    pub(super) names: Vec<String>,
    index: BTreeMap<String, usize>,
    /// Payment hash or transaction id -> payment.
    by_hash: BTreeMap<String, usize>,
}

impl Payments {
    /// Finds the payments of a trace.
    pub(super) fn find(lines: &[Line]) -> Payments {
        let mut found = Payments::default();
        for line in lines {
            let Some(name) = line.event.get("payment").and_then(Value::as_str) else {
                continue;
            };
            let payment = found.add(name);
            for field in ["request", "invoice"] {
                let invoice = Bolt11Invoice::from_str(word(&line.event, field));
                if let Ok(invoice) = invoice {
                    let hash = invoice.payment_hash().to_string();
                    found.by_hash.insert(hash, payment);
                }
            }
            if let Some(txid) = line.event.get("txid").and_then(Value::as_str) {
                found.by_hash.insert(txid.to_owned(), payment);
            }
        }
        found
    }

    fn add(&mut self, name: &str) -> usize {
        if let Some(known) = self.index.get(name) {
            return *known;
        }
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Whom a record concerns, ascending.
    pub(super) fn of(&self, line: &Line) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        match line.subsystem.as_str() {
            "links" | "balances" | "invariants" => return found,
            "stimulus" => found.extend(self.words(word(&line.event, "step"))),
            "chain" => self.mentioned(&line.event, &mut found),
            _ => {}
        }
        for field in ["payment", "payment_hash", "txid"] {
            let value = word(&line.event, field);
            found.extend(self.index.get(value).or(self.by_hash.get(value)));
        }
        // Keys are `<payment>/<what>`; a payment's id has no slash.
        for key in [
            word(&line.event, "key"),
            word(&line.event, "exchange"),
            &line.actor,
        ] {
            let name = key.split('/').next().unwrap_or_default();
            found.extend(self.index.get(name));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Words of a step that are a payment's id.
    fn words<'a>(&'a self, step: &'a str) -> impl Iterator<Item = usize> + 'a {
        step.split([' ', ':', ','])
            .filter_map(|word| self.index.get(word).copied())
    }

    /// Symbolic names such as `pay:PAYMENT`, at any depth.
    fn mentioned(&self, value: &Value, found: &mut Vec<usize>) {
        match value {
            Value::String(text) => {
                let name = text.split_once(':').map_or("", |(_, name)| name);
                found.extend(self.index.get(name).or(self.by_hash.get(text)));
            }
            Value::Array(items) => items.iter().for_each(|item| self.mentioned(item, found)),
            Value::Object(fields) => fields
                .values()
                .for_each(|field| self.mentioned(field, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Made by a node of the simulated world.
    const INVOICE: &str = "lnbcrt4m1p352q59dqvdaexgetj95csnp4qdtjuj7v52dwd22xq3c08knxth77vx428rqelt4mz0pnldgpy9x27pp5ck0ln2kta8thq3mu9qgfkr02999yjkjthzd98wmclylfzpzsp89ssp57ee5n59nh69n4x7al6zxwxlxyx43rt8a4l3zuqsp3phsdaa6rp3q9qyysgqcqzp2xqrrssrzjqf6yu0jv2s9uqtsyv6ayef0u2a3pu3kdsmh6y7fv88a266sdaq3gkqqqqyqqzpqqq5qqqqlgqqqqqeqq2qm6m3dv7hwsssv2chyle6ruk8smu9l25j0pvumances7wvs89yvzqahsqpcxsxg7y76k5smxcprmndgltqregj66ner9xs408uuy7flqphsyc3s";
    const HASH: &str = "c59ff9aacbe9d770477c28109b0dea294a495a4bb89a53bb78f93e91045009cb";

    fn line(subsystem: &str, event: Value) -> Line {
        Line {
            n: 0,
            at_ms: 0,
            subsystem: subsystem.to_owned(),
            actor: "a".to_owned(),
            event,
        }
    }

    #[test]
    fn the_hash_in_an_invoice_leads_to_its_payment() {
        let lines = [
            line("engine", json!({ "payment": "p0" })),
            line("engine", json!({ "payment": "p1", "request": INVOICE })),
        ];
        let payments = Payments::find(&lines);
        let of = |hash: &str| payments.of(&line("lightning", json!({ "payment_hash": hash })));
        assert_eq!(of(HASH), [1]);
        assert!(of("00").is_empty());
    }
}
