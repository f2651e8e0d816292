//! Owns when payment transactions are made and what becomes of them: gathering payouts into batches, signing, handing
//! out, and answers. Does not own building (`onchain`), the record of a batch (`batch`), what a look at the chain means for it
//! (`following`), how it is taken apart (`dissolving`), bumps (`bumping`) nor a payout's money (`payout_onchain`).

use super::batch::{Batch, Member, Version, budget, output_weight};
use super::cosigning::{Progress, Question, Round};
use super::desk::Desk;
use super::payout_onchain::{OnchainPayout, OnchainPayoutState as State, Used};
use super::record::Payment;
use crate::event::{Event, FailureReason};
use crate::id::{BatchId, IdempotencyKey, PaymentId, WalletId};
use crate::money::Sat;
use crate::onchain::feerate::{FeeSource, Feerate};
use crate::onchain::{BuildOrder, BuildRefused, Built, Recipient};
use crate::planted::Bug;
use crate::rail::{Effect, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::Txid;
use serde::Serialize;
use std::collections::BTreeMap;

/// Every batch.
#[derive(Debug, Default, Serialize)]
pub(super) struct Batches {
    pub(super) by_id: BTreeMap<BatchId, Batch>,
    /// Whose keys these are.
    by_subject: BTreeMap<String, BatchId>,
    /// Batches made so far, of each wallet.
    made: BTreeMap<WalletId, u64>,
}

impl Batches {
    /// A fresh id.
    pub(super) fn next_id(&mut self, wallet: &WalletId) -> BatchId {
        let made = self.made.entry(wallet.clone()).or_default();
        *made = made.saturating_add(1);
        BatchId {
            wallet: wallet.clone(),
            number: *made,
        }
    }

    pub(super) fn insert(&mut self, batch: Batch) {
        self.by_subject.insert(batch.subject(), batch.id.clone());
        self.by_id.insert(batch.id.clone(), batch);
    }

    pub(super) fn remove(&mut self, id: &BatchId) -> Option<Batch> {
        let batch = self.by_id.remove(id)?;
        self.by_subject.remove(&batch.subject());
        Some(batch)
    }

    pub(super) fn of_subject(&self, subject: &str) -> Option<BatchId> {
        self.by_subject.get(subject).cloned()
    }
}

/// All that is at hand to make and follow transactions.
pub(super) struct Till<'t, 'd> {
    pub(super) desk: &'t mut Desk<'d>,
    pub(super) payments: &'t mut BTreeMap<PaymentId, Payment>,
    pub(super) batches: &'t mut Batches,
}

/// What a transaction is to be built for.
struct Plan {
    wallet: WalletId,
    members: Vec<Member>,
    recipients: Vec<Recipient>,
    due_at: Timestamp,
    used: Used,
    /// By which its fee was reckoned already.
    feerate: Option<Feerate>,
    /// Its fee comes out of what goes.
    fee_included: bool,
}

pub(super) fn numbered(what: &str, number: u32) -> String {
    if number == 1 {
        what.to_owned()
    } else {
        format!("{what}-{number}")
    }
}

impl Till<'_, '_> {
    pub(super) fn payout(&mut self, id: &PaymentId) -> Option<&mut OnchainPayout> {
        match self.payments.get_mut(id)? {
            Payment::OnchainPayout(payout) => Some(payout),
            Payment::LightningCharge(_)
            | Payment::OnchainCharge(_)
            | Payment::LightningPayout(_)
            | Payment::SepaPayout(_) => None,
        }
    }

    /// Lets each of these payouts act with the desk at hand.
    pub(super) fn each(
        &mut self,
        ids: &[PaymentId],
        mut act: impl FnMut(&mut OnchainPayout, &mut Desk<'_>),
    ) {
        for id in ids {
            if let Some(Payment::OnchainPayout(payout)) = self.payments.get_mut(id) {
                act(payout, self.desk);
            }
        }
    }

    pub(super) fn members(&self, id: &BatchId) -> Vec<PaymentId> {
        let batch = self.batches.by_id.get(id);
        let members = batch.into_iter().flat_map(|batch| &batch.members);
        members.map(|member| member.payment.clone()).collect()
    }

    fn instruct(&mut self, subject: &str, what: &str, effect: Effect) {
        let key = IdempotencyKey(format!("{subject}/{what}"));
        self.desk.out.instructions.push(Instruction { key, effect });
    }

    // Making transactions.

    /// Builds for payouts that have none: each that goes alone for itself, the others together once one of them is ripe.
    pub(super) fn build_waiting(&mut self) {
        let now = self.desk.now;
        let mut alone = Vec::new();
        let mut together: BTreeMap<WalletId, Vec<(Timestamp, PaymentId, bool)>> = BTreeMap::new();
        for (id, payment) in self.payments.iter() {
            let Payment::OnchainPayout(payout) = payment else {
                continue;
            };
            if payout.state != State::Reserved {
                continue;
            }
            if payout.alone {
                alone.push(id.clone());
            } else {
                let of_wallet = together.entry(payout.wallet.clone()).or_default();
                of_wallet.push((payout.due_at, id.clone(), payout.ripe_at <= now));
            }
        }
        for id in alone {
            self.build(vec![id]);
        }
        let most = usize::try_from(self.desk.policy.paying.batching.most).unwrap_or(usize::MAX);
        for mut waiting in together.into_values() {
            if !waiting.iter().any(|(_, _, ripe)| *ripe) {
                continue;
            }
            waiting.sort();
            for some in waiting.chunks(most.max(1)) {
                self.build(some.iter().map(|(_, id, _)| id.clone()).collect());
            }
        }
    }

    /// Builds one transaction for these payouts, or for as many of them as the coins suffice for.
    fn build(&mut self, mut ids: Vec<PaymentId>) {
        loop {
            let Some(plan) = self.plan(&ids) else {
                return;
            };
            let Some(feerate) = plan.feerate.or_else(|| self.desk.feerate(plan.due_at)) else {
                return;
            };
            let order = BuildOrder {
                recipients: plan.recipients.clone(),
                feerate_sat_per_kwu: feerate.sat_per_kwu,
                max_fee_sat: budget(&plan.members),
                confirmed_first: feerate.source != FeeSource::Fixed,
                fee_included: plan.fee_included,
                entropy: self.desk.entropy_for(&ids[0]),
            };
            match self.desk.onchain.build(&plan.wallet, order) {
                Ok(built) => return self.open(plan, &built, feerate),
                Err(BuildRefused::InsufficientFunds { .. }) if ids.len() > 1 => {
                    sometimes(Rare::BatchCutShort);
                    ids.pop();
                }
                Err(BuildRefused::InsufficientFunds { .. } | BuildRefused::MustWait { .. }) => {
                    return;
                }
                Err(
                    refused @ (BuildRefused::Dust { .. }
                    | BuildRefused::FeeTooHigh { .. }
                    | BuildRefused::Unbuildable { .. }),
                ) => return self.on_not_buildable(&ids, &refused),
            }
        }
    }

    fn on_not_buildable(&mut self, ids: &[PaymentId], refused: &BuildRefused) {
        if ids.len() > 1 {
            sometimes(Rare::BatchDissolved);
            self.each(ids, |payout, _| payout.alone = true);
            for id in ids {
                self.build(vec![id.clone()]);
            }
            return;
        }
        sometimes(Rare::NotBuildable);
        self.each(ids, |payout, desk| {
            payout.give_up(desk, FailureReason::NotBuildable(refused.to_string()));
        });
    }

    fn plan(&mut self, ids: &[PaymentId]) -> Option<Plan> {
        let keeps_rest = self.desk.has_bug(Bug::KeepRestOfAll);
        let first = self.payout(ids.first()?)?;
        let mut plan = Plan {
            wallet: first.wallet.clone(),
            members: Vec::new(),
            recipients: Vec::new(),
            due_at: first.due_at,
            used: first.used,
            feerate: first.refund.as_ref().map(|refund| refund.feerate),
            fee_included: first.whole.is_some() && !keeps_rest,
        };
        for id in ids {
            let payout = self.payout(id)?;
            plan.due_at = plan.due_at.min(payout.due_at);
            plan.members.push(Member {
                payment: id.clone(),
                weight_wu: output_weight(&payout.script),
                max_fee: payout.max_fee,
            });
            plan.recipients.push(Recipient {
                script: payout.script.clone(),
                amount_sat: payout
                    .whole
                    .filter(|_| !keeps_rest)
                    .unwrap_or(payout.amount),
            });
        }
        Some(plan)
    }

    /// A transaction was built: its payouts are a batch from now on.
    fn open(&mut self, mut plan: Plan, built: &Built, feerate: Feerate) {
        if plan.fee_included {
            self.fix_fee(&mut plan, built);
        }
        let id = self.batches.next_id(&plan.wallet);
        let batch = Batch {
            id: id.clone(),
            wallet: plan.wallet,
            due_at: plan.due_at,
            budget: budget(&plan.members),
            members: plan.members,
            versions: vec![version(built, None)],
            children: Vec::new(),
            signing: None,
            round: None,
            under_way: BTreeMap::new(),
            used: plan.used,
            settled: None,
            was_settled: false,
            bumped_at: None,
            borne: Sat(0),
            coin_gone_at: None,
        };
        let shared: Vec<(PaymentId, Sat)> =
            batch.shared(built.fee_sat, self.desk.planted).collect();
        self.batches.insert(batch);
        if let [(lead, _), _, ..] = &shared[..] {
            let payments = shared.iter().map(|(payment, _)| payment.clone()).collect();
            self.desk.emit(Event::PayoutsBatched {
                payment: lead.clone(),
                batch: id.clone(),
                payments,
            });
        }
        self.tell_feerate(&id, feerate);
        for (payment, fee_sat) in shared {
            if let Some(payout) = self.payout(&payment) {
                payout.state = State::Signing { batch: id.clone() };
            }
            self.desk.ledger.keep_hold(&payment);
            self.desk.emit(Event::TransactionBuilt {
                payment,
                txid: built.txid,
                fee_sat,
            });
        }
        self.sign(&id, built);
    }

    /// What pays its fee out of itself is sent less that fee, and has nothing to pay another one with.
    fn fix_fee(&mut self, plan: &mut Plan, built: &Built) {
        for member in &mut plan.members {
            member.max_fee = built.fee_sat;
            if let Some(payout) = self.payout(&member.payment) {
                (payout.amount, payout.max_fee) = (built.pays_sat, built.fee_sat);
            }
        }
    }

    pub(super) fn tell_feerate(&mut self, id: &BatchId, feerate: Feerate) {
        let lead = self.members(id).into_iter().next();
        if let Some(payment) = lead.filter(|_| feerate.source != FeeSource::Fixed) {
            self.desk.emit(Event::FeerateChosen { payment, feerate });
        }
    }

    /// Asks for signatures under the version that was built last: the cosigners, if the wallet has any; otherwise the
    /// signer.
    pub(super) fn sign(&mut self, id: &BatchId, built: &Built) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        batch.signing = Some(built.txid);
        if let Some(lead) = batch.members.first() {
            let question = Question {
                payment: lead.payment.clone(),
                wallet: batch.wallet.clone(),
                txid: built.txid,
                psbt: built.psbt_base64.clone(),
            };
            batch.round = Round::begin(self.desk, question).map(Box::new);
            if batch.round.is_some() {
                return;
            }
        }
        batch.used.signings = batch.used.signings.saturating_add(1);
        let (subject, what) = (batch.subject(), numbered("sign", batch.used.signings));
        let psbt = built.psbt_base64.clone();
        self.instruct(&subject, &what, Effect::SignPsbt { psbt });
    }

    // Answers.

    /// The signer has answered.
    pub(super) fn on_signed(&mut self, subject: &str, result: &Result<String, String>) {
        let id = self.batches.of_subject(subject);
        let Some(batch) = id.and_then(|id| self.batches.by_id.get_mut(&id)) else {
            return;
        };
        let Some(txid) = batch.signing.take() else {
            return;
        };
        let (id, is_first) = (batch.id.clone(), batch.all().count() == 1);
        let finalised = result.as_ref().map_err(Clone::clone).and_then(|psbt| {
            let finalised = self.desk.onchain.finalise(psbt);
            finalised.map_err(|refused| refused.to_string())
        });
        let finalised = finalised.and_then(|signed| match signed.compute_txid() {
            same if same == txid => Ok(signed),
            other => Err(format!("the signer gave back transaction {other}")),
        });
        match finalised {
            Ok(signed) => {
                if let Some(version) = batch.version_mut(txid) {
                    version.transaction = Some(signed);
                }
                self.hand_out(&id, txid);
                if is_first {
                    self.on_dispatched(&id);
                }
            }
            Err(cause) if is_first => {
                sometimes(Rare::SigningRefused);
                self.give_up(&id, txid, &FailureReason::SigningRefused(cause));
            }
            Err(_) => {
                sometimes(Rare::SuccessorRefused);
                self.drop_successor(&id, txid);
            }
        }
    }

    /// A cosigner has answered.
    pub(super) fn on_cosigned(
        &mut self,
        subject: &str,
        what: &str,
        result: &Result<String, String>,
    ) {
        let id = self.batches.of_subject(subject);
        let Some(batch) = id.and_then(|id| self.batches.by_id.get_mut(&id)) else {
            return;
        };
        let (Some(mut round), Some(txid)) = (batch.round.take(), batch.signing) else {
            return;
        };
        match round.on_answer(self.desk, what, result) {
            Progress::Waiting => batch.round = Some(round),
            Progress::Complete(psbt) => self.on_signed(subject, &Ok(psbt)),
            Progress::Hopeless { signed, threshold } => {
                sometimes(Rare::TooFewCosigners);
                let id = batch.id.clone();
                let reason = FailureReason::NotCosigned { signed, threshold };
                self.give_up(&id, txid, &reason);
            }
        }
    }

    /// It was time enough for cosigners.
    pub(super) fn on_patience(&mut self, subject: &str, what: &str) {
        let id = self.batches.of_subject(subject);
        let batch = id.and_then(|id| self.batches.by_id.get_mut(&id));
        if let Some(round) = batch.and_then(|batch| batch.round.as_mut()) {
            round.on_patience(self.desk, what);
        }
    }

    pub(super) fn on_dispatched(&mut self, id: &BatchId) {
        let members = self.members(id);
        self.each(&members, |payout, desk| {
            payout.state = State::Sent {
                batch: id.clone(),
                settled: false,
            };
            desk.emit(Event::PayoutDispatched {
                payment: payout.id.clone(),
            });
        });
    }

    /// A successor that the signer refused: as if it had never been built.
    fn drop_successor(&mut self, id: &BatchId, txid: Txid) {
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        if self.desk.onchain.abandon(txid).is_err() {
            return;
        }
        batch.versions.retain(|version| version.txid != txid);
        batch.children.retain(|child| child.txid != txid);
    }

    /// The network has answered. A refusal counts only for a transaction that nobody ever had; a successor's frees
    /// nothing, as its predecessor is out.
    pub(super) fn on_broadcast(
        &mut self,
        subject: &str,
        what: &str,
        result: &Result<Txid, String>,
    ) {
        let id = self.batches.of_subject(subject);
        let Some(batch) = id.and_then(|id| self.batches.by_id.get_mut(&id)) else {
            return;
        };
        let Some(txid) = batch.under_way.remove(&number_of(what)) else {
            return;
        };
        let (id, is_only) = (batch.id.clone(), batch.all().count() == 1);
        let unseen = batch.is_unseen();
        if let Some(version) = batch.version_mut(txid) {
            version.accepted |= result.is_ok();
        }
        let members = self.members(&id);
        let held = |id: &PaymentId| match self.payments.get(id) {
            Some(Payment::OnchainPayout(payout)) => payout.is_held(),
            Some(_) | None => false,
        };
        match result {
            Ok(_) => {}
            Err(word) if is_only && unseen && members.iter().all(held) => {
                sometimes(Rare::BroadcastRefused);
                self.give_up(&id, txid, &FailureReason::BroadcastRefused(word.clone()));
            }
            Err(_) if is_only => sometimes(Rare::LateRefusalIgnored),
            Err(_) => sometimes(Rare::SuccessorRefused),
        }
    }

    /// An effect was not performed to its end as far as the host knows: the transaction may be out all the same.
    pub(super) fn on_unavailable(&mut self, subject: &str, what: &str) {
        let id = self.batches.of_subject(subject);
        let Some(batch) = id.and_then(|id| self.batches.by_id.get_mut(&id)) else {
            return;
        };
        if let Some(round) = &mut batch.round {
            round.on_unavailable(self.desk, what);
        }
        if what.starts_with("broadcast")
            && let Some(txid) = batch.under_way.get(&number_of(what)).copied()
            && let Some(version) = batch.version_mut(txid)
        {
            version.accepted = true;
        }
    }

    /// Hands a signed version to the network.
    pub(super) fn hand_out(&mut self, id: &BatchId, txid: Txid) {
        let height = self.desk.onchain.tip().height;
        let Some(batch) = self.batches.by_id.get_mut(id) else {
            return;
        };
        let number = batch.used.broadcasts.saturating_add(1);
        let Some(version) = batch.version_mut(txid) else {
            return;
        };
        let Some(transaction) = version.transaction.clone() else {
            return;
        };
        version.broadcast_at_height = height;
        batch.used.broadcasts = number;
        batch.under_way.insert(number, txid);
        let (subject, what) = (batch.subject(), numbered("broadcast", number));
        self.instruct(&subject, &what, Effect::Broadcast { transaction });
    }
}

/// The number in `what` or `what-<number>`.
fn number_of(what: &str) -> u32 {
    let number = what.rsplit_once('-').map(|(_, number)| number.parse().ok());
    number.flatten().unwrap_or(1)
}

/// A version as it was built.
pub(super) fn version(built: &Built, parent: Option<Txid>) -> Version {
    Version {
        txid: built.txid,
        fee: built.fee_sat,
        parent,
        transaction: None,
        accepted: false,
        broadcast_at_height: 0,
    }
}
