//! Owns the report of on-chain fees: every satoshi that our transactions paid to miners, and who bears it, read from a
//! trace: what the chain showed on one side, what the engine told on the other. Does not own the trace nor files (`cli`).

use super::page::lines::Line;
use super::words::count;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Who bears what no payment bears.
const OPERATOR: &str = "operator";

/// One part of one transaction's fee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The transaction's name in traces.
    pub transaction: String,
    /// Height of its block.
    pub block: u64,
    /// What the miner got for the whole transaction, satoshi.
    pub fee_sat: u64,
    /// Who bears this part: a payment, or the operator.
    pub borne_by: String,
    /// This part, satoshi.
    pub share_sat: u64,
}

/// Fees of the transactions of ours in the best chain at the end of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fees {
    /// By block, transaction, and bearer.
    pub rows: Vec<Row>,
    /// What the chain shows that our transactions paid.
    pub chain_sat: u64,
    /// What is attributed.
    pub attributed_sat: u64,
    /// Transactions whose parts do not sum to their fee.
    pub wrong: Vec<String>,
}

#[derive(Default)]
struct Told {
    /// By id: (payment, what it bears with the parent's fee, the parent).
    shares: BTreeMap<String, BTreeMap<String, (u64, Option<String>)>>,
    /// Moves between our own wallets: the operator bears what they cost.
    moves: BTreeSet<String>,
    /// Name by id.
    names: BTreeMap<String, String>,
    /// Fee and whether it spends our coins, by name.
    seen: BTreeMap<String, (u64, bool)>,
    /// Height by name.
    blocks: BTreeMap<String, u64>,
}

/// Reads the fees out of a trace.
pub fn read(lines: &[Line]) -> Fees {
    let mut told = Told::default();
    for line in lines {
        match line.subsystem.as_str() {
            "engine" => told.on_event(&line.event),
            "chain" => told.on_chain(&line.event),
            _ => {}
        }
    }
    told.fees()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

impl Told {
    fn on_event(&mut self, event: &Value) {
        if let (Some("move_started"), Some(id)) = (text(event, "event"), text(event, "payment")) {
            self.moves.insert(id.to_owned());
        }
        let parent = match text(event, "event") {
            Some("transaction_built" | "transaction_replaced") => None,
            Some("child_built") => text(event, "parent").map(str::to_owned),
            _ => return,
        };
        let share = event.get("fee_sat").and_then(Value::as_u64);
        if let (Some(payment), Some(txid), Some(share)) =
            (text(event, "payment"), text(event, "txid"), share)
        {
            let of_transaction = self.shares.entry(txid.to_owned()).or_default();
            of_transaction.insert(payment.to_owned(), (share, parent));
        }
    }

    fn on_chain(&mut self, event: &Value) {
        if let (Some(txid), Some(name)) = (text(event, "txid"), text(event, "called")) {
            self.names.insert(txid.to_owned(), name.to_owned());
        } else if let Some(name) = text(event, "tx") {
            let inputs = event.get("inputs").and_then(Value::as_array);
            let is_ours = |input: &Value| {
                let owner = input.get(1).and_then(Value::as_str).unwrap_or_default();
                owner == "engine" || owner.starts_with("engine/")
            };
            let ours = inputs.is_some_and(|inputs| inputs.iter().any(is_ours));
            let fee = event.get("fee_sat").and_then(Value::as_u64).unwrap_or(0);
            self.seen.insert(name.to_owned(), (fee, ours));
        } else if let Some(height) = event.get("undone").and_then(Value::as_u64) {
            self.blocks.retain(|_, block| *block != height);
        } else if let Some(height) = event.get("block").and_then(Value::as_u64) {
            let names = event.get("transactions").and_then(Value::as_array);
            for name in names.into_iter().flatten().filter_map(Value::as_str) {
                self.blocks.insert(name.to_owned(), height);
            }
        }
    }

    fn fees(&self) -> Fees {
        let ids: BTreeMap<&str, &str> = self
            .names
            .iter()
            .map(|(txid, name)| (name.as_str(), txid.as_str()))
            .collect();
        let mut fees = Fees::default();
        let mut blocks: Vec<(u64, &String)> = self
            .blocks
            .iter()
            .map(|(name, height)| (*height, name))
            .collect();
        blocks.sort();
        for (block, name) in blocks {
            let Some((fee_sat, true)) = self.seen.get(name).copied() else {
                continue;
            };
            let parts = ids.get(name.as_str()).and_then(|txid| self.parts(txid));
            let parts = parts.unwrap_or_else(|| vec![(OPERATOR.to_owned(), fee_sat)]);
            let sum: u64 = parts.iter().map(|(_, share)| share).sum();
            if sum != fee_sat {
                fees.wrong.push(name.clone());
            }
            fees.chain_sat += fee_sat;
            fees.attributed_sat += sum;
            fees.rows
                .extend(parts.into_iter().map(|(borne_by, share_sat)| Row {
                    transaction: name.clone(),
                    block,
                    fee_sat,
                    borne_by,
                    share_sat,
                }));
        }
        fees
    }

    /// Who bears how much of one transaction; a child's parts are told with its parent's.
    fn parts(&self, txid: &str) -> Option<Vec<(String, u64)>> {
        let shares = self.shares.get(txid)?;
        let part = |(payment, (both, parent)): (&String, &(u64, Option<String>))| {
            let of_parent = parent.as_ref().and_then(|parent| {
                let shares = self.shares.get(parent)?;
                shares.get(payment).map(|(share, _)| *share)
            });
            let bearer = match self.moves.contains(payment) {
                true => OPERATOR.to_owned(),
                false => payment.clone(),
            };
            (bearer, both.saturating_sub(of_parent.unwrap_or(0)))
        };
        Some(shares.iter().map(part).collect())
    }
}

impl Fees {
    /// Whether what is attributed is what the chain shows, for each transaction.
    pub fn adds_up(&self) -> bool {
        self.wrong.is_empty() && self.chain_sat == self.attributed_sat
    }

    /// What each bears in all, by name.
    pub fn by_bearer(&self) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for row in &self.rows {
            *sums.entry(row.borne_by.as_str()).or_insert(0) += row.share_sat;
        }
        sums
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "transaction": row.transaction,
                "block": row.block,
                "fee_sat": row.fee_sat,
                "borne_by": row.borne_by,
                "share_sat": row.share_sat,
            })
        };
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "by_bearer": self.by_bearer(),
            "chain_sat": self.chain_sat,
            "attributed_sat": self.attributed_sat,
            "adds_up": self.adds_up(),
            "wrong": self.wrong,
        })
    }

    /// As comma-separated values (RFC 4180); names of traces need no quotes.
    pub fn csv(&self) -> String {
        let mut text = "transaction,block,fee_sat,borne_by,share_sat\r\n".to_owned();
        for row in &self.rows {
            text.push_str(&format!(
                "{},{},{},{},{}\r\n",
                row.transaction, row.block, row.fee_sat, row.borne_by, row.share_sat
            ));
        }
        text
    }

    /// As text.
    pub fn text(&self) -> String {
        let wide = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let first = wide(&mut self.rows.iter().map(|row| row.transaction.len())).max(11);
        let second = wide(&mut self.rows.iter().map(|row| row.borne_by.len())).max(8);
        let mut text = format!(
            "{:first$}  {:>6}  {:>10}  {:second$}  {:>10}\n",
            "transaction", "block", "fee", "borne by", "share"
        );
        for row in &self.rows {
            text.push_str(&format!(
                "{:first$}  {:>6}  {:>6} sat  {:second$}  {:>6} sat\n",
                row.transaction, row.block, row.fee_sat, row.borne_by, row.share_sat
            ));
        }
        let bearers = self.by_bearer().len();
        text.push_str(&format!(
            "\n{} sat on the chain, {} sat borne by {}",
            self.chain_sat,
            self.attributed_sat,
            count(bearers, "bearer")
        ));
        text.push_str(if self.adds_up() {
            ": they add up\n"
        } else {
            ": they do not add up\n"
        });
        for name in &self.wrong {
            text.push_str(&format!("wrong: {name}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(subsystem: &str, event: Value) -> Line {
        Line {
            n: 0,
            at_ms: 0,
            subsystem: subsystem.to_owned(),
            actor: String::new(),
            event,
        }
    }

    fn told(share_of_b: u64) -> Vec<Line> {
        let built = |payment: &str, fee_sat: u64| {
            line(
                "engine",
                json!({ "event": "transaction_built", "payment": payment, "txid": "11", "fee_sat": fee_sat }),
            )
        };
        let child = |payment: &str, fee_sat: u64| {
            line(
                "engine",
                json!({ "event": "child_built", "payment": payment, "parent": "11", "txid": "22", "fee_sat": fee_sat }),
            )
        };
        let seen = |name: &str, owner: &str, fee_sat: u64| {
            line(
                "chain",
                json!({ "tx": name, "inputs": [["x", owner, 1]], "outputs": [], "fee_sat": fee_sat }),
            )
        };
        vec![
            built("a", 60),
            built("b", share_of_b),
            child("a", 160),
            child("b", 141),
            line("chain", json!({ "txid": "11", "called": "tx:a" })),
            line("chain", json!({ "txid": "22", "called": "child:a" })),
            seen("tx:a", "engine/hot", 101),
            seen("child:a", "engine/hot", 200),
            seen("merge:hot", "engine/hot", 7),
            seen("pay:sale", "alice", 300),
            line(
                "chain",
                json!({ "block": 5, "transactions": ["tx:a", "child:a", "pay:sale"] }),
            ),
            line("chain", json!({ "undone": 5 })),
            line(
                "chain",
                json!({ "block": 5, "transactions": ["tx:a", "child:a", "pay:sale"] }),
            ),
            line(
                "chain",
                json!({ "block": 6, "transactions": ["merge:hot"] }),
            ),
        ]
    }

    #[test]
    fn every_satoshi_has_its_bearer() {
        let fees = read(&told(41));
        assert!(fees.adds_up(), "{fees:?}");
        assert_eq!(fees.chain_sat, 308);
        let bearers: Vec<_> = fees.by_bearer().into_iter().collect();
        assert_eq!(bearers, [("a", 160), ("b", 141), ("operator", 7)]);
        assert!(
            fees.csv().contains("child:a,5,200,b,100\r\n"),
            "{}",
            fees.csv()
        );
        assert!(
            fees.text()
                .ends_with("308 sat on the chain, 308 sat borne by 3 bearers: they add up\n"),
            "{}",
            fees.text()
        );
    }

    #[test]
    fn a_lost_satoshi_is_named() {
        let fees = read(&told(40));
        assert!(!fees.adds_up());
        assert_eq!(fees.wrong, ["child:a", "tx:a"]);
        assert_eq!(fees.json()["adds_up"], false);
    }
}
