//! Owns what a look at the chain means for payments: a charge is paid by what lies on its address, a payout by its one
//! transaction (docs/SPEC.md, "Charge on chain", "Payout on chain"). The look itself is taken as it is told.

use super::books::{Model, unless};
use super::states::{Kind, State};
use bitcoin::{ScriptBuf, Txid};
use lockstep_engine::id::PaymentId;
use lockstep_engine::rail::{ChainPosition, ChainView};
use std::collections::BTreeMap;

/// What a look shows: every output by script and every transaction by id, each with its depth (0: unconfirmed).
struct Look {
    outputs: BTreeMap<ScriptBuf, Vec<(u64, u32)>>,
    depths: BTreeMap<Txid, u32>,
}

impl Look {
    fn at(view: &ChainView) -> Look {
        let tip = view.blocks.last().map_or(0, |block| block.height);
        let (mut outputs, mut depths) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for seen in &view.transactions {
            let depth = match seen.position {
                ChainPosition::Mempool => 0,
                ChainPosition::Confirmed { block, .. } => (tip + 1).saturating_sub(block.height),
            };
            depths.insert(seen.transaction.compute_txid(), depth);
            for output in &seen.transaction.output {
                let of_script = outputs.entry(output.script_pubkey.clone()).or_default();
                of_script.push((output.value.to_sat(), depth));
            }
        }
        Look { outputs, depths }
    }

    /// What lies on an address at least so deep, in msat.
    fn msat(&self, script: Option<&ScriptBuf>, depth: u32) -> u64 {
        let outputs = script.and_then(|script| self.outputs.get(script));
        let deep = outputs.into_iter().flatten().filter(|(_, at)| *at >= depth);
        deep.map(|(sat, _)| sat * 1_000).sum()
    }
}

impl Model {
    /// After the events of a look: every on-chain payment stands where the look puts it.
    pub(super) fn on_view(&mut self, view: &ChainView) -> Result<(), String> {
        let is_there = |kind| matches!(kind, Kind::OnchainCharge | Kind::OnchainPayout);
        let ids = self
            .payments
            .iter()
            .filter(|(_, payment)| is_there(payment.kind));
        let ids: Vec<PaymentId> = ids.map(|(id, _)| id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let look = Look::at(view);
        for id in &ids {
            match self.payments[id].kind {
                Kind::OnchainCharge => self.charge_fits(id, &look)?,
                _ => self.payout_fits(id, &look)?,
            }
        }
        Ok(())
    }

    fn charge_fits(&mut self, id: &PaymentId, look: &Look) -> Result<(), String> {
        let fresh = self
            .payments
            .get_mut(id)
            .map(|charge| std::mem::take(&mut charge.fresh));
        let charge = &self.payments[id];
        let there = |depth| look.msat(charge.script.as_ref(), depth);
        let deep = there(self.terms.depth(charge.amount / 1_000));
        let right = match charge.state {
            State::Settled if fresh == Some(true) => charge.moved == deep,
            State::Settled => there(1) >= charge.moved,
            State::Seen => there(0) > 0 && deep < charge.amount,
            State::Failed => deep < charge.amount || !charge.was_settled,
            _ => there(0) == 0,
        };
        unless(right, || {
            let all = there(0);
            format!(
                "charge {id} is {:?} with {all} msat on its address, {deep} of it deep",
                charge.state
            )
        })
    }

    /// The money leaves the party when the transaction is first seen, whatever becomes of it later.
    fn payout_fits(&mut self, id: &PaymentId, look: &Look) -> Result<(), String> {
        let bumps = self.terms.bumps;
        let payout = self.payment(id)?;
        let there = |txid: &Txid| look.depths.get(txid).copied();
        let mut versions = payout.versions.iter();
        let seen = versions.find_map(|(txid, fee)| Some((*txid, *fee, there(txid)?)));
        let with_child = |(version, fee, depth): (Txid, u64, u32)| {
            let mut children = payout.children.iter();
            let child = children
                .find(|(txid, parent, _)| *parent == version && look.depths.contains_key(txid));
            (child.map_or(fee, |(_, _, both)| *both), depth)
        };
        let seen = seen.map(with_child);
        let depth = seen.map(|(_, depth)| depth);
        payout.depth = depth;
        let (state, amount) = (payout.state, payout.amount);
        let keeps = bumps && !payout.was_settled;
        let reserve = payout.reserve;
        let right = match state {
            State::Settled => depth.is_some_and(|depth| depth > 0),
            State::Dispatched => depth.is_none_or(|depth| depth < self.terms.payout_depth),
            _ => true,
        };
        if let (State::Settled | State::Dispatched, Some((fee, _))) = (state, seen) {
            self.book(id, amount + fee)?;
            if keeps {
                self.keep(id, reserve.saturating_sub(amount + fee))?;
            }
        }
        unless(right, || {
            format!("payout {id} is {state:?} and its transaction {depth:?} deep")
        })
    }
}
