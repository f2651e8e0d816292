//! Owns how payouts lose a transaction that nobody outside can have had: it was refused, too few have signed it, a deadline or the
//! end of a binding came first. Does not own how transactions are made and handed out (`till`).

use super::batch::Batch;
use super::payout_onchain::{OnchainPayout, OnchainPayoutState as State};
use super::record::Payment;
use super::till::{Till, numbered};
use crate::event::{Event, FailureReason};
use crate::id::{BatchId, BindingId, IdempotencyKey, PaymentId};
use crate::planted::Bug;
use crate::rare::{Rare, sometimes};
use bitcoin::Txid;

impl Till<'_, '_> {
    /// Frees coins of a transaction that never left. If the network knows it all the same (the signer handed it out),
    /// nothing is freed: its fate is unknown. One payout alone fails; several get transactions of their own.
    pub(super) fn give_up(&mut self, id: &BatchId, txid: Txid, reason: &FailureReason) {
        let members = self.members(id);
        let Some(batch) = self.abandon(id, txid) else {
            return;
        };
        if let [only] = &members[..] {
            let only = [only.clone()];
            self.each(&only, |payout, desk| payout.give_up(desk, reason.clone()));
            return;
        }
        sometimes(Rare::BatchDissolved);
        self.reserve_again(&batch, |payout| payout.alone = true);
        self.build_waiting();
    }

    /// Takes a batch apart that nobody can have seen; `None` (and its payouts are unknown) if the network knows it.
    fn abandon(&mut self, id: &BatchId, txid: Txid) -> Option<Batch> {
        let wallet = self.batches.by_id.get(id)?.wallet.clone();
        let spec = self.desk.onchain.spec(&wallet);
        let was_shown = spec.is_some_and(|spec| spec.cosigners().is_some());
        let abandoned = match was_shown && !self.desk.has_bug(Bug::ForgetShownTransaction) {
            true => self.desk.onchain.abandon_shown(&wallet, txid),
            false => self.desk.onchain.abandon(txid),
        };
        if abandoned.is_err() {
            sometimes(Rare::GivenUpButOut);
            for payment in self.members(id) {
                self.desk.emit(Event::OutcomeUnknown { payment });
            }
            return None;
        }
        let batch = self.batches.remove(id)?;
        if let Some(lead) = batch.members.first()
            && let Some(payout) = self.payout(&lead.payment)
        {
            payout.used = batch.used;
        }
        Some(batch)
    }

    fn reserve_again(&mut self, batch: &Batch, mut note: impl FnMut(&mut OnchainPayout)) {
        let members: Vec<PaymentId> = batch.members.iter().map(|m| m.payment.clone()).collect();
        self.each(&members, |payout, desk| {
            payout.state = State::Reserved;
            note(payout);
            desk.emit(Event::BatchDissolved {
                payment: payout.id.clone(),
                batch: batch.id.clone(),
            });
        });
    }

    /// A payout's time is over. Before its transaction left, that ends it, and others of its batch begin anew; after,
    /// its fate is watched on.
    pub(super) fn on_deadline(&mut self, payment: &PaymentId) {
        let one = [payment.clone()];
        let Some(state) = self.payout(payment).map(|payout| payout.state.clone()) else {
            return;
        };
        match state {
            State::Reserved => {
                sometimes(Rare::DeadlineWithoutCoins);
                self.each(&one, OnchainPayout::expire);
            }
            State::Signing { batch } => {
                sometimes(Rare::DeadlineWhileSigning);
                self.take_out(payment, &batch, &FailureReason::Expired);
                self.build_waiting();
            }
            State::Sent { batch, .. } => {
                self.each(&one, OnchainPayout::become_overdue);
                self.weigh_overdue(payment, &batch);
            }
            State::Failed { .. } => {}
        }
    }

    /// The binding of the wallet that a payout pays has ended. What has not left fails, and its money is free again; others
    /// of its batch begin anew. What has left completes, and that is told (F69).
    pub(super) fn on_binding_ended(&mut self, ended: &BindingId) {
        if self.desk.has_bug(Bug::PayAfterRevocation) {
            return;
        }
        let by_it = |payment: &Payment| matches!(payment, Payment::OnchainPayout(payout) if payout.binding.as_ref() == Some(ended));
        let paid = self.payments.iter().filter(|(_, payment)| by_it(payment));
        let paid: Vec<PaymentId> = paid.map(|(id, _)| id.clone()).collect();
        let mut is_freed = false;
        for id in paid {
            let Some(state) = self.payout(&id).map(|payout| payout.state.clone()) else {
                continue;
            };
            match state {
                State::Reserved => {
                    sometimes(Rare::UnboundBeforeSigning);
                    self.desk.answered(&id, "deadline");
                    self.each(&[id], |payout, desk| {
                        payout.give_up(desk, FailureReason::BindingEnded);
                    });
                }
                State::Signing { batch } => {
                    sometimes(Rare::UnboundBeforeSigning);
                    self.take_out(&id, &batch, &FailureReason::BindingEnded);
                    is_freed = true;
                }
                State::Sent { settled: false, .. } => {
                    sometimes(Rare::UnboundAfterBroadcast);
                    self.desk.emit(Event::BindingEndedTooLate {
                        payment: id,
                        binding: ended.clone(),
                    });
                }
                State::Sent { .. } | State::Failed { .. } => {}
            }
        }
        if is_freed {
            self.build_waiting();
        }
    }

    /// Fails one payout of a transaction that waits for signatures; the others begin anew.
    fn take_out(&mut self, payment: &PaymentId, id: &BatchId, reason: &FailureReason) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        let (subject, what) = (batch.subject(), numbered("sign", batch.used.signings));
        let Some(txid) = batch.versions.first().map(|version| version.txid) else {
            return;
        };
        match batch.round.take() {
            Some(round) => round.end(self.desk),
            None => {
                let key = IdempotencyKey(format!("{subject}/{what}"));
                self.desk.out.answered.push(key);
            }
        }
        let Some(batch) = self.abandon(id, txid) else {
            return;
        };
        if batch.members.len() > 1 {
            sometimes(Rare::BatchDissolved);
            self.reserve_again(&batch, |_| {});
        }
        self.each(std::slice::from_ref(payment), |payout, desk| {
            payout.give_up(desk, reason.clone());
        });
    }
}
