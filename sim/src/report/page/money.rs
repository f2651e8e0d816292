//! Owns money over time: the balance of every ledger account after each posting of a trace. Does not own the ledger: it
//! adds up what the trace says was posted. What is owed to a party is shown as positive.

use super::lines::Line;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The balance of one account over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The account as the ledger prints it; for a party its name.
    pub name: String,
    /// `BTC` (millisatoshi) or `EUR` (cents).
    pub asset: &'static str,
    /// Whether it is a party's.
    pub party: bool,
    /// Virtual time in ms, and the balance from then on in smallest units.
    pub points: Vec<(u64, i64)>,
}

/// Whether it is no party's, so that parties come first; name; asset.
type Account = (bool, String, &'static str);

/// Virtual ms, and the balance from then on.
type Points = Vec<(u64, i64)>;

/// Parties first, then the other accounts; accounts of single payments are left out.
pub(super) fn series(lines: &[Line]) -> Vec<Series> {
    let mut all: BTreeMap<Account, Points> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.event["event"] == "posted") {
        let postings = line.event["lines"].as_array();
        for posting in postings.into_iter().flatten() {
            let amount = posting["amount"].as_i64().unwrap_or(0);
            let Some((name, asset, party)) = account(&posting["account"]) else {
                continue;
            };
            let points = all.entry((!party, name, asset)).or_default();
            let before = points.last().map_or(0, |(_, balance)| *balance);
            let now = before.saturating_add(if party { -amount } else { amount });
            match points.last_mut() {
                Some((at, balance)) if *at == line.at_ms => *balance = now,
                _ => points.push((line.at_ms, now)),
            }
        }
    }
    let made = all
        .into_iter()
        .map(|((other, name, asset), points)| Series {
            name,
            asset,
            party: !other,
            points,
        });
    made.collect()
}

fn asset(text: Option<&str>) -> &'static str {
    match text {
        Some("eur" | "EUR") => "EUR",
        _ => "BTC",
    }
}

/// Name, asset, whether it is a party's.
fn account(value: &Value) -> Option<(String, &'static str, bool)> {
    if let Some(name) = value.as_str() {
        let of = if name == "gateway" { "EUR" } else { "BTC" };
        return Some((name.replace('_', "-"), of, false));
    }
    let (kind, fields) = value.as_object()?.iter().next()?;
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    match kind.as_str() {
        "incoming" | "outgoing" => None,
        "party" => Some((field("party")?.to_owned(), asset(field("asset")), true)),
        "fees" | "suspense" => {
            let rail = field("rail")?;
            let of = if rail == "sepa" { "EUR" } else { "BTC" };
            Some((format!("{kind}/{rail}"), of, false))
        }
        _ => Some((kind.clone(), asset(field("asset")), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn balances_add_up_and_what_is_owed_is_positive() {
        let posted = |at_ms, amount: i64| Line {
            n: 0,
            at_ms,
            subsystem: "ledger".to_owned(),
            actor: "p1".to_owned(),
            event: json!({ "event": "posted", "lines": [
                { "account": "lightning_channels", "amount": amount },
                { "account": { "party": { "party": "merchant", "asset": "btc" } }, "amount": -amount },
                { "account": { "incoming": { "payment": "p1" } }, "amount": 1 },
            ] }),
        };
        let series = series(&[posted(0, 5), posted(10, 7), posted(10, -2)]);
        let shown: Vec<_> = series
            .iter()
            .map(|one| (one.name.as_str(), one.asset, one.party, one.points.clone()))
            .collect();
        let points = vec![(0, 5), (10, 10)];
        assert_eq!(
            shown,
            [
                ("merchant", "BTC", true, points.clone()),
                ("lightning-channels", "BTC", false, points)
            ]
        );
    }
}
