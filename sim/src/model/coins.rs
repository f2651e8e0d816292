//! Owns which coins a transaction of ours may be built on (docs/SPEC.md, "Wallets"): confirmed ones, and outputs of our own
//! transactions. Unconfirmed money of others can be taken back. A coin that an earlier transaction of ours has taken is left out: what
//! replaces that one has to take it again, though it has lost its confirmations since. Does not own whose wallet they lie in (I13).

use super::books::{Checked, Model, unless};
use bitcoin::{OutPoint, Psbt, Txid};
use lockstep_engine::api::{Event, Input, Output};
use lockstep_engine::rail::{ChainPosition, ChainView, Effect, Fact};
use std::collections::BTreeSet;

/// What is known of coins.
#[derive(Clone, Debug, Default)]
pub(super) struct Coins {
    /// Ever built by us.
    ours: BTreeSet<Txid>,
    /// In no block at the last look, and not ours.
    unripe: BTreeSet<Txid>,
    /// Inputs of ours so far.
    taken: BTreeSet<OutPoint>,
}

impl Coins {
    fn look(&mut self, view: &ChainView) {
        let unconfirmed = view
            .transactions
            .iter()
            .filter(|seen| seen.position == ChainPosition::Mempool)
            .map(|seen| seen.transaction.compute_txid());
        self.unripe = unconfirmed
            .filter(|txid| !self.ours.contains(txid))
            .collect();
    }

    fn check(&mut self, psbt: &Psbt) -> Checked {
        let inputs = psbt.unsigned_tx.input.iter();
        let fresh: Vec<OutPoint> = inputs
            .map(|input| input.previous_output)
            .filter(|coin| self.taken.insert(*coin))
            .collect();
        let unripe = fresh.iter().any(|coin| self.unripe.contains(&coin.txid));
        unless(!unripe, || {
            format!(
                "{} spends unconfirmed money of others",
                psbt.unsigned_tx.compute_txid()
            )
        })
    }
}

impl Model {
    /// Transactions are judged when they are built: a coin that loses its confirmations later was right to take.
    pub(super) fn on_coins(&mut self, input: &Input, output: &Output) -> Checked {
        let built = output.events.iter().filter_map(|event| match event {
            Event::TransactionBuilt { txid, .. }
            | Event::TransactionReplaced { txid, .. }
            | Event::ChildBuilt { txid, .. }
            | Event::CoinsConsolidated { txid, .. }
            | Event::SweepBuilt { txid, .. } => Some(*txid),
            _ => None,
        });
        let built: BTreeSet<Txid> = built.collect();
        self.coins.ours.extend(&built);
        if let Input::Fact {
            fact: Fact::Chain(view),
            ..
        } = input
        {
            self.coins.look(view);
        }
        for instruction in &output.instructions {
            let (Effect::SignPsbt { psbt } | Effect::Cosign { psbt, .. }) = &instruction.effect
            else {
                continue;
            };
            let psbt: Psbt = psbt.parse().map_err(|error| format!("{error}"))?;
            if built.contains(&psbt.unsigned_tx.compute_txid()) {
                self.coins.check(&psbt)?;
            }
        }
        Ok(())
    }
}
