//! Owns what our wallets' labels say: those that follow from what has happened (which payment an address, an output or a
//! transaction is of) and those that people give. Does not own their form (`onchain::Label`, BIP 329) nor files.
//!
//! What follows from events needs no wallet: so a wallet that was restored from its descriptors is labelled by folding the
//! journal. People's words take the place of the engine's.

use crate::event::Event;
use crate::id::{PartyId, PaymentId};
use crate::onchain::{Label, LabelKind, Onchain, Wallets};
use bitcoin::Txid;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// All that is known for labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabelBook {
    parties: BTreeMap<PaymentId, PartyId>,
    /// What each address was given out for.
    addresses: BTreeMap<String, String>,
    /// What each transaction of ours is for.
    built: BTreeMap<Txid, BTreeSet<String>>,
    #[serde(serialize_with = "as_list")]
    by_people: BTreeMap<(LabelKind, String), Label>,
}

fn as_list<S: serde::Serializer>(
    labels: &BTreeMap<(LabelKind, String), Label>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(labels.values())
}

impl LabelBook {
    /// Learns from what has happened.
    pub fn learn(&mut self, events: &[Event]) {
        for event in events {
            self.learn_one(event);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most events say nothing about addresses or transactions"
    )]
    fn learn_one(&mut self, event: &Event) {
        match event {
            Event::ChargeCreated { payment, party, .. }
            | Event::PayoutReserved { payment, party, .. } => {
                self.parties.insert(payment.clone(), party.clone());
            }
            Event::ChargeIssued { payment, request } => {
                let words = format!("charge {payment}{}", self.of_party(payment));
                self.addresses.insert(request.clone(), words);
            }
            Event::MoveStarted {
                payment,
                from,
                to,
                address,
                ..
            } => {
                let words = format!("move {payment} from {from} to {to}");
                self.addresses.insert(address.clone(), words);
            }
            Event::AddressGiven { wallet, address } => {
                let words = format!("given out of {wallet}");
                self.addresses.insert(address.clone(), words);
            }
            Event::TransactionBuilt { payment, txid, .. } => {
                let words = match self.parties.contains_key(payment) {
                    true => format!("payout {payment}{}", self.of_party(payment)),
                    false => format!("move {payment}"),
                };
                self.built.entry(*txid).or_default().insert(words);
            }
            _ => {}
        }
    }

    fn of_party(&self, payment: &PaymentId) -> String {
        let party = self.parties.get(payment);
        party.map_or_else(String::new, |party| format!(" of {party}"))
    }

    /// A person says this; `None` for the words takes them back.
    pub fn set(&mut self, label: &Label) {
        let key = (label.kind, label.reference.clone());
        if label.label.is_none() && label.spendable.is_none() {
            self.by_people.remove(&key);
        } else {
            self.by_people.insert(key, label.clone());
        }
    }

    /// Every label: of each address that was given out, each transaction and each output of our wallets, and people's own.
    pub fn all(&self, wallets: &Wallets) -> Vec<Label> {
        let mut labels = BTreeMap::new();
        let addresses = self.addresses.iter();
        for (address, words) in addresses.filter(|(text, _)| !text.starts_with("ln")) {
            put(
                &mut labels,
                plain(LabelKind::Addr, address.clone(), words.clone()),
            );
        }
        for (_, wallet) in wallets.iter() {
            self.of_wallet(wallet, &mut labels);
        }
        for (key, said) in &self.by_people {
            let label = labels.entry(key.clone()).or_insert_with(|| said.clone());
            if said.label.is_some() {
                label.label.clone_from(&said.label);
            }
        }
        labels.into_values().collect()
    }

    fn of_wallet(&self, wallet: &Onchain, labels: &mut BTreeMap<(LabelKind, String), Label>) {
        let mut paid: BTreeMap<Txid, BTreeSet<String>> = BTreeMap::new();
        for output in wallet.history() {
            let txid = output.outpoint.txid;
            let given = self.addresses.get(&output.address).cloned();
            let words = given.or_else(|| Some(format!("change of {}", self.payments_of(txid)?)));
            if let Some(words) = &words {
                paid.entry(txid).or_default().insert(words.clone());
            }
            let words = words.unwrap_or_else(|| NO_PAYMENT.to_owned());
            let reference = output.outpoint.to_string();
            put(
                labels,
                Label {
                    spendable: output.spendable,
                    ..plain(LabelKind::Output, reference, words)
                },
            );
        }
        let origin = wallet.origin();
        for txid in wallet.transactions() {
            let incoming = paid.get(&txid).map(joined);
            let words = self.payments_of(txid).or(incoming);
            let words = words.unwrap_or_else(|| NO_PAYMENT.to_owned());
            put(
                labels,
                Label {
                    origin: Some(origin.clone()),
                    ..plain(LabelKind::Tx, txid.to_string(), words)
                },
            );
        }
    }

    fn payments_of(&self, txid: Txid) -> Option<String> {
        self.built.get(&txid).map(joined)
    }
}

/// Of coins that came without a payment.
const NO_PAYMENT: &str = "no payment";

fn joined(words: &BTreeSet<String>) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.join(", ")
}

fn plain(kind: LabelKind, reference: String, words: String) -> Label {
    Label {
        kind,
        reference,
        label: Some(words),
        origin: None,
        spendable: None,
    }
}

/// The first wallet that knows something names it.
fn put(labels: &mut BTreeMap<(LabelKind, String), Label>, label: Label) {
    labels
        .entry((label.kind, label.reference.clone()))
        .or_insert(label);
}
