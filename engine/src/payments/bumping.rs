//! Owns the bumping of batches: when a transaction offers less than the feerate that its deadline asks for, a successor is
//! built inside the budget, at most one for each tip. Does not own how successors are built (`onchain`).

use super::batch::Batch;
use super::till::{Till, version};
use crate::event::Event;
use crate::id::{BatchId, PaymentId};
use crate::money::Sat;
use crate::onchain::{Built, BumpOrder, BumpRefused};
use crate::planted::Bug;
use crate::policy::Bumping;
use crate::rare::{Rare, sometimes};
use bitcoin::Txid;

/// A successor that was built.
enum Successor {
    /// It takes the place of this version.
    Replaces(Txid, Built),
    /// It spends the change of this version.
    ChildOf(Txid, Built),
}

impl Till<'_, '_> {
    /// Bumps every batch that offers too little.
    pub(super) fn bump_all(&mut self) {
        if self.desk.policy.paying.bumping == Bumping::Off {
            return;
        }
        let ids: Vec<BatchId> = self.batches.by_id.keys().cloned().collect();
        for id in ids {
            self.bump(&id);
        }
    }

    /// Whether a batch is out, waits, and was not looked at for this at this tip.
    fn may_bump(&self, batch: &Batch) -> bool {
        let confirmed = |txid: Txid| self.desk.onchain.confirmations(txid).unwrap_or(0) > 0;
        let waits = !batch.was_settled && !batch.versions.iter().any(|v| confirmed(v.txid));
        let ready = batch.signing.is_none()
            && batch.under_way.is_empty()
            && batch.all().any(|version| version.accepted);
        ready
            && batch.bumped_at != Some(self.desk.onchain.tip())
            && (waits || self.desk.has_bug(Bug::BumpConfirmed))
    }

    fn bump(&mut self, id: &BatchId) {
        let Some(batch) = self.batches.by_id.get(id).filter(|b| self.may_bump(b)) else {
            return;
        };
        let (wallet, due_at) = (batch.wallet.clone(), batch.due_at);
        let Some(latest) = batch.latest().map(|version| version.txid) else {
            return;
        };
        let Some(feerate) = self.desk.feerate(due_at) else {
            return;
        };
        let package = self.desk.onchain.package(&wallet, latest);
        if !package.is_some_and(|package| package.is_below(feerate.sat_per_kwu)) {
            return;
        }
        let tip = self.desk.onchain.tip();
        if let Some(batch) = self.batches.by_id.get_mut(id) {
            batch.bumped_at = Some(tip);
        }
        match self.successor(id, feerate.sat_per_kwu) {
            Ok(successor) => {
                self.tell_feerate(id, feerate);
                self.adopt(id, successor);
            }
            Err(_) => sometimes(Rare::BumpRefused),
        }
    }

    fn successor(&mut self, id: &BatchId, sat_per_kwu: u64) -> Result<Successor, BumpRefused> {
        let nothing = BumpRefused::NotBuiltHere {
            txid: bitcoin::hashes::Hash::all_zeros(),
        };
        let Some(batch) = self.batches.by_id.get(id) else {
            return Err(nothing);
        };
        let Some(newest) = batch.versions.last() else {
            return Err(nothing);
        };
        let (wallet, subject) = (batch.wallet.clone(), batch.subject());
        let (newest, fee, budget) = (newest.txid, newest.fee, batch.budget);
        let child = batch.children.last().map(|child| child.txid);
        let left = Sat(budget.0.saturating_sub(fee.0));
        let order = |desk: &super::desk::Desk<'_>, txid, max_fee_sat| BumpOrder {
            txid,
            feerate_sat_per_kwu: sat_per_kwu,
            max_fee_sat,
            entropy: desk.entropy_of(&subject),
        };
        if let Some(child) = child {
            let order = order(self.desk, child, left);
            let built = self.desk.onchain.replace(&wallet, &order)?;
            return Ok(Successor::ChildOf(newest, built));
        }
        if self.desk.policy.paying.bumping == Bumping::Child {
            let order = order(self.desk, newest, left);
            match self.desk.onchain.child(&wallet, &order) {
                Ok(built) => return Ok(Successor::ChildOf(newest, built)),
                Err(BumpRefused::NoChange { .. }) => {}
                Err(refused) => return Err(refused),
            }
        }
        let order = order(self.desk, newest, budget);
        let built = self.desk.onchain.replace(&wallet, &order)?;
        Ok(Successor::Replaces(newest, built))
    }

    /// The successor belongs to the lineage from now on, and is to be signed.
    fn adopt(&mut self, id: &BatchId, successor: Successor) {
        let planted = self.desk.planted;
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        let built = match successor {
            Successor::Replaces(replaces, built) => {
                sometimes(Rare::Replaced);
                batch.versions.push(version(&built, None));
                let shared: Vec<(PaymentId, Sat)> = batch.shared(built.fee_sat, planted).collect();
                for (payment, fee_sat) in shared {
                    self.desk.emit(Event::TransactionReplaced {
                        payment,
                        replaces,
                        txid: built.txid,
                        fee_sat,
                    });
                }
                built
            }
            Successor::ChildOf(parent, built) => {
                sometimes(Rare::ChildMade);
                batch.children.push(version(&built, Some(parent)));
                let both = batch.versions.last().map_or(0, |version| version.fee.0);
                let both = Sat(both.saturating_add(built.fee_sat.0));
                let shared: Vec<(PaymentId, Sat)> = batch.shared(both, planted).collect();
                for (payment, fee_sat) in shared {
                    self.desk.emit(Event::ChildBuilt {
                        payment,
                        parent,
                        txid: built.txid,
                        fee_sat,
                    });
                }
                built
            }
        };
        self.sign(id, &built);
    }
}
