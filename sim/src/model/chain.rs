//! Owns what a look at the chain means for payments: a charge is paid by what lies on its address, a payout by its one
//! transaction (docs/SPEC.md, "Charge on chain", "Payout on chain"). The look itself is taken as it is told.

use super::books::{Model, unless};
use super::states::{Kind, State};
use super::strays::Outputs;
use bitcoin::{CompressedPublicKey, OutPoint, ScriptBuf, Transaction, TxIn, Txid};
use lockstep_engine::id::PaymentId;
use lockstep_engine::identity::Purpose;
use lockstep_engine::rail::{ChainPosition, ChainView};
use std::collections::BTreeMap;

/// What a look shows: every output by script and every transaction by id, each with its depth (0: unconfirmed).
struct Look {
    outputs: BTreeMap<ScriptBuf, Outputs>,
    /// From which P2WPKH scripts a transaction spends; `None` if an input is of another kind.
    payers: BTreeMap<Txid, Option<Vec<ScriptBuf>>>,
    depths: BTreeMap<Txid, u32>,
}

impl Look {
    fn at(view: &ChainView) -> Look {
        let tip = view.blocks.last().map_or(0, |block| block.height);
        let (mut outputs, mut depths) = (BTreeMap::<_, Outputs>::new(), BTreeMap::new());
        let mut payers = BTreeMap::new();
        for seen in &view.transactions {
            let depth = match seen.position {
                ChainPosition::Mempool => 0,
                ChainPosition::Confirmed { block, .. } => (tip + 1).saturating_sub(block.height),
            };
            let txid = seen.transaction.compute_txid();
            depths.insert(txid, depth);
            payers.insert(txid, payers_of(&seen.transaction));
            for (vout, output) in (0..).zip(&seen.transaction.output) {
                let of_script = outputs.entry(output.script_pubkey.clone()).or_default();
                of_script.insert(OutPoint { txid, vout }, (output.value.to_sat(), depth));
            }
        }
        Look {
            outputs,
            payers,
            depths,
        }
    }

    /// What lies on an address.
    fn on(&self, script: Option<&ScriptBuf>) -> Outputs {
        script
            .and_then(|script| self.outputs.get(script).cloned())
            .unwrap_or_default()
    }
}

fn payers_of(transaction: &Transaction) -> Option<Vec<ScriptBuf>> {
    let of_input = |input: &TxIn| {
        let is_wpkh = input.witness.len() == 2 && input.script_sig.is_empty();
        let key = CompressedPublicKey::from_slice(input.witness.last()?).ok()?;
        is_wpkh.then(|| ScriptBuf::new_p2wpkh(&key.wpubkey_hash()))
    };
    transaction.input.iter().map(of_input).collect()
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
        let look = Look::at(view);
        self.judge_payers(&look);
        self.note_paid(look.outputs.keys());
        self.moves_fit(&look.depths)?;
        for id in &ids {
            match self.payments[id].kind {
                Kind::OnchainCharge => self.charge_fits(id, &look)?,
                _ => self.payout_fits(id, &look)?,
            }
        }
        Ok(())
    }

    /// Outputs that were not seen before are judged by the bindings of now.
    fn judge_payers(&mut self, look: &Look) {
        if !self.terms.asks_bound_payers() {
            return;
        }
        for charge in self.payments.values() {
            for outpoint in look.on(charge.script.as_ref()).keys() {
                let payers = look.payers.get(&outpoint.txid).and_then(Option::as_ref);
                let bound = payers.is_some_and(|scripts| {
                    scripts.iter().all(|script| {
                        let bound = self
                            .bindings
                            .is_bound(&charge.party, script, Purpose::Charges);
                        bound != Some(false)
                    })
                });
                self.payers.entry(*outpoint).or_insert(bound);
            }
        }
    }

    fn charge_fits(&mut self, id: &PaymentId, look: &Look) -> Result<(), String> {
        let mut outputs = look.on(self.payment(id)?.script.as_ref());
        outputs.retain(|outpoint, _| self.payers.get(outpoint) != Some(&false));
        let charge = self.payment(id)?;
        let fresh = std::mem::take(&mut charge.fresh);
        let gone = charge.money.look_at(outputs);
        let charge = &self.payments[id];
        let there = |depth| charge.money.at_depth(depth) * 1_000;
        // What the agent of an escrow has sent back was part of what paid it.
        let refunded = (charge.money.refunded * 1_000).saturating_sub(self.goes_back(id));
        let escrow = charge.escrow.is_some();
        let paid = if escrow {
            charge.money.whole
        } else {
            charge.money.paid
        };
        let refused = charge.money.refused;
        let depth = self.terms.depth(charge.amount / 1_000);
        let deep = there(depth).saturating_sub(refunded);
        let enough = self.terms.enough(charge.amount);
        let credited = match self.terms.stray {
            None => deep,
            Some(_) => deep.min(charge.amount),
        };
        let right = match charge.state {
            State::Settled | State::Held if fresh => paid == credited,
            State::Settled | State::Held => there(1) >= paid,
            State::Failed if refused => true,
            State::Seen => there(0) > 0 && (deep < enough || self.tip_is_stale),
            State::Failed => deep < enough || !charge.was_settled || self.tip_is_stale,
            _ => there(0) == 0,
        };
        unless(right, || {
            let all = there(0);
            format!(
                "charge {id} is {:?} with {all} msat on its address, {deep} of it deep",
                charge.state
            )
        })?;
        if fresh {
            self.payment(id)?.money.paid_at(depth);
        }
        self.gone_is_told(id, gone)?;
        self.dispose(id)
    }

    /// The money leaves the party when the transaction is first seen, whatever becomes of it later.
    fn payout_fits(&mut self, id: &PaymentId, look: &Look) -> Result<(), String> {
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
        let keeps = payout.bumps && !payout.was_settled;
        let reserve = payout.reserve;
        let right = match state {
            State::Settled => depth.is_some_and(|depth| depth > 0),
            State::Dispatched => {
                self.tip_is_stale || depth.is_none_or(|depth| depth < self.terms.payout_depth)
            }
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
