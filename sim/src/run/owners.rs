//! Owns who is called the owner of a script, and what transactions are called, in canonical traces. A script that nobody
//! claimed is the change of whoever funded the transaction. Does not own the chain (`chain_book`).

use crate::trace::names::Names;
use crate::worlds::chain_book::ChainBook;
use bitcoin::{Script, ScriptBuf, Transaction, Txid};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Owners by script, and how often each kind of name was given.
#[derive(Default)]
pub(crate) struct Owners {
    scripts: BTreeMap<ScriptBuf, String>,
    purposes: BTreeMap<ScriptBuf, String>,
    given: BTreeMap<String, u32>,
}

impl Owners {
    /// From now on `script` is `owner`'s; the first owner stays.
    pub(crate) fn give(&mut self, script: ScriptBuf, owner: impl Into<String>) {
        self.scripts.entry(script).or_insert_with(|| owner.into());
    }

    /// A transaction that pays this script is named after what it is for (`pay:c1`).
    pub(crate) fn name_payments_to(&mut self, script: ScriptBuf, purpose: impl Into<String>) {
        self.purposes.insert(script, purpose.into());
    }

    fn of(&self, script: &Script) -> Option<&str> {
        self.scripts.get(script).map(String::as_str)
    }

    /// Names a transaction, if it has no name yet, and its unclaimed outputs.
    pub(crate) fn name(
        &mut self,
        transaction: &Transaction,
        book: &ChainBook,
        names: &mut Names,
    ) -> String {
        let funder = transaction
            .input
            .iter()
            .find_map(|input| {
                book.output(&input.previous_output)
                    .and_then(|output| self.of(&output.script_pubkey))
            })
            .unwrap_or("nobody")
            .to_owned();
        for output in &transaction.output {
            self.give(output.script_pubkey.clone(), funder.clone());
        }
        let txid = transaction.compute_txid().to_string();
        if let Some(name) = names.of(&txid) {
            return name.to_owned();
        }
        let purpose = transaction
            .output
            .iter()
            .find_map(|output| self.purposes.get(&output.script_pubkey));
        let base = purpose.cloned().unwrap_or_else(|| format!("tx:{funder}"));
        let count = self.given.entry(base.clone()).or_insert(0);
        *count += 1;
        let name = if *count == 1 {
            base
        } else {
            format!("{base}#{count}")
        };
        names.give(txid, name.clone());
        name
    }

    /// A transaction in canonical words: inputs and outputs by owner and amount, in an order of their own (wallets
    /// shuffle), and the fee.
    pub(crate) fn describe(
        &mut self,
        transaction: &Transaction,
        book: &ChainBook,
        names: &mut Names,
    ) -> Value {
        let name = self.name(transaction, book, names);
        let input = |input: &bitcoin::TxIn| {
            let from = names
                .of(&input.previous_output.txid.to_string())
                .unwrap_or("a coinbase")
                .to_owned();
            let output = book.output(&input.previous_output);
            let owner = output
                .and_then(|output| self.of(&output.script_pubkey))
                .unwrap_or("nobody")
                .to_owned();
            (
                from,
                owner,
                output.map_or(0, |output| output.value.to_sat()),
            )
        };
        let mut inputs: Vec<_> = transaction.input.iter().map(input).collect();
        inputs.sort();
        let output = |output: &bitcoin::TxOut| {
            (
                self.of(&output.script_pubkey)
                    .unwrap_or("nobody")
                    .to_owned(),
                output.value.to_sat(),
            )
        };
        let mut outputs: Vec<_> = transaction.output.iter().map(output).collect();
        outputs.sort();
        json!({ "tx": name, "inputs": inputs, "outputs": outputs, "fee_sat": book.fee_sat(transaction) })
    }

    /// The names of transactions, sorted, coinbases left out.
    pub(crate) fn names_of(
        &mut self,
        transactions: &[Transaction],
        book: &ChainBook,
        names: &mut Names,
    ) -> Vec<String> {
        let mut called: Vec<String> = transactions
            .iter()
            .filter(|tx| !tx.is_coinbase())
            .map(|tx| self.name(tx, book, names))
            .collect();
        called.sort();
        called
    }
}

/// What a transaction without a name is called.
pub(crate) const NAMELESS: &str = "an unnamed transaction";

/// The name of a transaction by its id.
pub(crate) fn name_of(txid: &Txid, names: &Names) -> String {
    names.of(&txid.to_string()).unwrap_or(NAMELESS).to_owned()
}
