//! Owns which coins a transaction of ours may be built on (docs/SPEC.md, "Wallets"): confirmed ones, and outputs of our own
//! transactions. Unconfirmed money of others can be taken back. A coin that an earlier transaction of ours has taken is left out: what
//! replaces that one has to take it again, though it has lost its confirmations since. And which coins are lost for good, so that
//! what spends them has failed ("Payout on chain"). Does not own whose wallet they lie in (I13).

use super::books::{Checked, Model, unless};
use bitcoin::{OutPoint, Psbt, Txid};
use lockstep_engine::api::{Event, Input, Output};
use lockstep_engine::id::PaymentId;
use lockstep_engine::rail::{ChainPosition, ChainView, Effect, Fact};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of coins.
#[derive(Clone, Debug, Default)]
pub(super) struct Coins {
    /// Ever built by us.
    ours: BTreeSet<Txid>,
    /// In no block at the last look, and not ours.
    unripe: BTreeSet<Txid>,
    /// Inputs of ours so far.
    taken: BTreeSet<OutPoint>,
    /// What each transaction of ours spends.
    spends: BTreeMap<Txid, Vec<OutPoint>>,
    /// At which height each transaction that ours spend from, or that is ours, was first missing.
    missing_at: BTreeMap<Txid, u32>,
    /// How deep each of ours is.
    depths: BTreeMap<Txid, u32>,
    tip: u32,
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
        self.tip = view.blocks.last().map_or(0, |block| block.height);
        let depth = |position: ChainPosition| match position {
            ChainPosition::Mempool => 0,
            ChainPosition::Confirmed { block, .. } => (self.tip + 1).saturating_sub(block.height),
        };
        let seen = view.transactions.iter();
        self.depths = seen
            .map(|seen| (seen.transaction.compute_txid(), depth(seen.position)))
            .collect();
        let parents = self.spends.values().flatten().map(|coin| coin.txid);
        for txid in parents.chain(self.spends.keys().copied()) {
            match self.depths.contains_key(&txid) {
                true => self.missing_at.remove(&txid),
                false => Some(*self.missing_at.entry(txid).or_insert(self.tip)),
            };
        }
    }

    /// Whether a transaction cannot come back: it is missing for so many blocks and not ours; or another of ours that
    /// spends one of its coins is so deep; or a coin that it spends cannot come back.
    fn is_lost(&self, txid: Txid, blocks: u32) -> bool {
        let Some(missing_at) = self.missing_at.get(&txid) else {
            return false;
        };
        let Some(coins) = self.spends.get(&txid) else {
            return self.tip.saturating_sub(*missing_at) >= blocks;
        };
        let is_deep = |other: &Txid| self.depths.get(other).is_some_and(|depth| *depth >= blocks);
        let mut others = self.spends.iter().filter(|(other, _)| is_deep(other));
        others.any(|(_, theirs)| coins.iter().any(|coin| theirs.contains(coin)))
            || coins.iter().any(|coin| self.is_lost(coin.txid, blocks))
    }

    fn check(&mut self, psbt: &Psbt) -> Checked {
        let inputs = psbt.unsigned_tx.input.iter();
        let coins: Vec<OutPoint> = inputs.map(|input| input.previous_output).collect();
        self.spends
            .insert(psbt.unsigned_tx.compute_txid(), coins.clone());
        let fresh: Vec<OutPoint> = coins
            .into_iter()
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
    /// A look at the chain, before what comes of it.
    pub(super) fn look_at_coins(&mut self, input: &Input) {
        if let Input::Fact {
            fact: Fact::Chain(view),
            ..
        } = input
        {
            self.coins.look(view);
        }
    }

    /// A payout has failed because what it spends is gone. No version of it is there, and for all but a refund the loss
    /// must be as final as a payment: whoever hears of it pays in another way.
    pub(super) fn coins_are_lost(&mut self, id: &PaymentId) -> Checked {
        let payment = self.payment(id)?;
        let versions: Vec<Txid> = payment.versions.iter().map(|(txid, _)| *txid).collect();
        let is_refund = payment.refund_of.is_some();
        let is_there = |txid| self.coins.depths.contains_key(txid);
        unless(!versions.iter().any(is_there), || {
            format!("{id} failed for want of its coins while it is there")
        })?;
        let blocks = self.terms.payout_depth;
        let is_lost = versions
            .first()
            .is_some_and(|first| self.coins.is_lost(*first, blocks));
        unless(is_refund || is_lost && !self.tip_is_stale, || {
            format!("{id} failed for want of coins that can still come back")
        })?;
        self.is_moot(id)
    }

    /// Transactions are judged when they are built: a coin that loses its confirmations later was right to take.
    pub(super) fn on_coins(&mut self, output: &Output) -> Checked {
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
