//! Owns what a look at the chain means for batches: which version is there, what is booked, settled, undone or handed out
//! again. Does not own making transactions (`till`) nor bumps (`bumping`).

use super::batch::{Batch, Sighting};
use super::desk::{in_msat, msat, wallet_account};
use super::payout_onchain::{Coins, OnchainPayoutState as State};
use super::record::Payment;
use super::till::Till;
use crate::event::Event;
use crate::id::{BatchId, PaymentId};
use crate::ledger::{Account, Posting};
use crate::money::{Rail, Sat};
use crate::planted::Bug;
use crate::rare::{Rare, sometimes};
use bitcoin::Txid;

impl Till<'_, '_> {
    /// The chain was looked at and everything booked: there may be coins now, and some transactions may offer too little.
    pub(super) fn on_coins(&mut self) {
        let waiting: Vec<PaymentId> = self
            .payments
            .iter()
            .filter(|(_, p)| matches!(p, Payment::OnchainPayout(o) if o.state == State::Reserved))
            .map(|(id, _)| id.clone())
            .collect();
        self.build_waiting();
        self.each(&waiting, |payout, _| {
            if matches!(payout.state, State::Signing { .. }) {
                sometimes(Rare::CoinsForWaitingPayout);
            }
        });
        self.bump_all();
        self.consolidate();
    }

    /// The chain was looked at: every batch is booked by the version that is there.
    pub(super) fn on_view(&mut self) {
        let ids: Vec<BatchId> = self.batches.by_id.keys().cloned().collect();
        for id in ids {
            let Some(batch) = self.batches.by_id.get(&id) else {
                continue;
            };
            match batch.sighting(|txid| self.desk.onchain.confirmations(txid)) {
                Some(sighting) => self.on_seen(&id, sighting),
                None => self.on_absent(&id),
            }
        }
    }

    /// The operator bears the fee of what pays nobody.
    fn bear(&mut self, id: &BatchId, fee: Sat) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        if !batch.members.is_empty() || batch.borne == fee {
            return;
        }
        let before = std::mem::replace(&mut batch.borne, fee);
        let more = msat(in_msat(fee)).saturating_sub(msat(in_msat(before)));
        let account = wallet_account(&batch.wallet);
        let rail = Rail::Onchain;
        let posting = Posting {
            at: self.desk.now,
            payment: None,
            memo: "fee of a consolidation",
            lines: vec![
                (account, more.saturating_neg()),
                (Account::Fees { rail }, more),
            ],
        };
        let posted = self.desk.ledger.post(posting);
        self.desk.emit(Event::Posted(posted));
    }

    fn on_seen(&mut self, id: &BatchId, sighting: Sighting) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        if let Some(version) = batch.version_mut(sighting.txid) {
            version.accepted = true;
        }
        batch.coin_gone_at = None;
        let planted = self.desk.planted;
        let shared: Vec<(PaymentId, Sat)> = batch.shared(sighting.fee, planted).collect();
        let before = batch.settled;
        let deep = sighting.confirmations >= self.desk.policy.payout_depth
            && !self.desk.has_bug(Bug::NeverSettle)
            && !self.desk.tip_is_stale();
        let stays = before == Some(sighting.txid) && sighting.confirmations > 0;
        batch.settled = (deep || stays).then_some(sighting.txid);
        batch.was_settled |= batch.settled.is_some();
        let (undone, settles) = (before.is_some() && !stays, deep && !stays);
        self.bear(id, sighting.fee);
        for (payment, fee) in shared {
            if matches!(
                self.payout(&payment).map(|p| &p.state),
                Some(State::Signing { .. })
            ) {
                // The signer handed it out, or a stop came between: it is out all the same.
                self.on_dispatched(id);
            }
            self.each(&[payment], |payout, desk| {
                payout.book(desk, Some(fee));
                if undone {
                    sometimes(Rare::PayoutUndone);
                    payout.undo(desk);
                }
                if settles {
                    payout.settle(desk, fee);
                }
            });
        }
    }

    /// No version is (or no longer) known. The latest is handed out again, once per new tip and without end: it can still
    /// confirm, so its money is not given back.
    fn on_absent(&mut self, id: &BatchId) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        let undone = batch.settled.take().is_some();
        let newest = batch.all().filter(|version| version.transaction.is_some());
        let newest = batch
            .children
            .iter()
            .rfind(|child| child.transaction.is_some())
            .and_then(|child| child.parent)
            .or(newest.last().map(|version| version.txid));
        let out = batch.all().any(|version| version.accepted);
        let at = newest.and_then(|txid| batch.version_mut(txid).map(|v| v.broadcast_at_height));
        let idle = batch.under_way.is_empty();
        let members = self.members(id);
        self.note_coins(id);
        let coins = self.coins(id);
        self.bear(id, Sat(0));
        self.each(&members, |payout, desk| {
            if undone {
                payout.undo(desk);
            }
            payout.book(desk, None);
            payout.weigh(desk, coins);
        });
        let moot = |id: &PaymentId| matches!(self.payments.get(id), Some(Payment::OnchainPayout(p)) if p.is_moot());
        let is_moot = !members.is_empty() && members.iter().all(moot);
        let new_tip = at.is_some_and(|at| at != self.desk.onchain.tip().height);
        let may = !self.desk.has_bug(Bug::NeverRebroadcast);
        if let Some(txid) = newest.filter(|_| out && new_tip && idle && may && !is_moot) {
            sometimes(Rare::Rebroadcast);
            self.hand_out(id, txid);
        }
    }

    /// A payout's time is over: if its transaction is not there, its coins may have been lost before.
    pub(super) fn weigh_overdue(&mut self, payment: &PaymentId, id: &BatchId) {
        let Some(batch) = self.batches.by_id.get(id) else {
            return;
        };
        let is_absent = batch
            .sighting(|txid| self.desk.onchain.confirmations(txid))
            .is_none();
        let coins = self.coins(id);
        if is_absent && coins == Coins::Lost {
            self.each(std::slice::from_ref(payment), |payout, desk| {
                payout.weigh(desk, coins);
            });
        }
    }

    /// What was last seen of the coins that the first version spends.
    fn coins(&self, id: &BatchId) -> Coins {
        let Some(batch) = self.batches.by_id.get(id) else {
            return Coins::There;
        };
        if self.missing_parents(batch).next().is_none() {
            return Coins::There;
        }
        let is_lost = self.has_lost_coins(batch) && !self.desk.tip_is_stale();
        if is_lost { Coins::Lost } else { Coins::Missing }
    }

    /// Remembers since when a coin is missing that nothing of ours can bring back.
    fn note_coins(&mut self, id: &BatchId) {
        let Some(batch) = self.batches.by_id.get(id) else {
            return;
        };
        let is_hopeless = self
            .missing_parents(batch)
            .any(|parent| self.is_lost(parent));
        let height = self.desk.onchain.tip().height;
        if let Some(batch) = self.batches.by_id.get_mut(id) {
            let since = batch.coin_gone_at.unwrap_or(height);
            batch.coin_gone_at = is_hopeless.then_some(since);
        }
    }

    fn missing_parents<'b>(&'b self, batch: &'b Batch) -> impl Iterator<Item = Txid> + 'b {
        let first = batch
            .versions
            .first()
            .and_then(|first| first.transaction.as_ref());
        let inputs = first.into_iter().flat_map(|first| &first.input);
        let parents = inputs.map(|input| input.previous_output.txid);
        parents.filter(|parent| self.desk.onchain.confirmations(*parent).is_none())
    }

    /// A missing coin is lost if nothing of ours can bring it back: it was somebody else's payment, another version of the
    /// transaction that made it is final, or that one has lost its own coins.
    fn is_lost(&self, parent: Txid) -> bool {
        let Some(inputs) = self.desk.onchain.inputs_of(parent) else {
            return true;
        };
        let mut batches = self.batches.by_id.values();
        let other_is_final = batches.any(|batch| {
            let version = batch.version_of(parent);
            version.is_some() && batch.settled.is_some() && batch.settled != version
        });
        let mut missing = inputs
            .into_iter()
            .map(|coin| coin.txid)
            .filter(|parent| self.desk.onchain.confirmations(*parent).is_none());
        other_is_final || missing.any(|parent| self.is_lost(parent))
    }

    fn has_lost_coins(&self, batch: &Batch) -> bool {
        let depth = self.desk.policy.payout_depth;
        let height = self.desk.onchain.tip().height;
        let gone_at = batch.coin_gone_at;
        gone_at.is_some_and(|gone_at| height.saturating_sub(gone_at) >= depth)
    }
}
