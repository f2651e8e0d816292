//! Owns one round of signatures of several cosigners under one transaction: who is asked and when, whose answer counts,
//! and when enough have signed. Does not own the checks of an answer (`onchain`) nor the payment that waits for it.
//!
//! As many are asked at first as must sign, in the wallet's order. Whoever refuses, answers wrongly, cannot be reached
//! or takes longer than the policy's patience brings in the next one. Each is asked once, under a key of his own, so a
//! restart repeats what is outstanding, and nobody counts twice. When no more can be reached the round ends; so do all
//! questions when it is over.

use super::desk::Desk;
use crate::event::{CosignerFailure, Event};
use crate::id::{CosignerId, PaymentId, WalletId};
use crate::onchain::{AnswerWrong, Cosigners, Signatures};
use crate::planted::Bug;
use crate::rail::Effect;
use crate::rare::{Rare, sometimes};
use bitcoin::Txid;
use serde::Serialize;
use std::collections::BTreeMap;

/// Who has been asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Round {
    payment: PaymentId,
    wallet: WalletId,
    txid: Txid,
    psbt: String,
    asked: BTreeMap<CosignerId, Standing>,
    /// How often patience was set.
    waits: u32,
}

/// Where one cosigner stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// No answer yet; another one is asked in his place once he is `late`.
    Asked { late: bool },
    /// What he has given, verified.
    Signed(Signatures),
    /// Never counts.
    Out,
}

/// What a round needs to begin.
pub(super) struct Question {
    /// Of whom the keys are.
    pub(super) payment: PaymentId,
    /// Whose coins.
    pub(super) wallet: WalletId,
    /// Which transaction.
    pub(super) txid: Txid,
    /// Base64.
    pub(super) psbt: String,
}

/// What an answer leads to.
pub(super) enum Progress {
    /// Others are waited for.
    Waiting,
    /// Enough: the PSBT with their signatures, base64.
    Complete(String),
    /// Not enough are left.
    Hopeless { signed: u32, threshold: u32 },
}

/// What the key of a question ends with.
const COSIGN: &str = "cosign-";

impl Round {
    /// Asks the first cosigners of the wallet; `None` if it has none.
    pub(super) fn begin(desk: &mut Desk<'_>, question: Question) -> Option<Round> {
        let cosigners = cosigners_of(desk, &question.wallet)?;
        let mut round = Round {
            payment: question.payment,
            wallet: question.wallet,
            txid: question.txid,
            psbt: question.psbt,
            asked: BTreeMap::new(),
            waits: 0,
        };
        for _ in 0..cosigners.threshold {
            round.ask_next(desk, &cosigners);
        }
        round.be_patient(desk, &cosigners);
        Some(round)
    }

    fn ask_next(&mut self, desk: &mut Desk<'_>, cosigners: &Cosigners) {
        let mut all = cosigners.of.iter();
        let Some(next) = all.find(|cosigner| !self.asked.contains_key(&cosigner.name)) else {
            return;
        };
        let cosigner = next.name.clone();
        self.asked
            .insert(cosigner.clone(), Standing::Asked { late: false });
        desk.emit(Event::CosignerAsked {
            payment: self.payment.clone(),
            cosigner: cosigner.clone(),
        });
        let psbt = self.psbt.clone();
        let what = format!("{COSIGN}{cosigner}");
        desk.instruct(&self.payment, &what, Effect::Cosign { cosigner, psbt });
    }

    /// Sets the time at which others are asked, if there are any.
    fn be_patient(&mut self, desk: &mut Desk<'_>, cosigners: &Cosigners) {
        if self.asked.len() >= cosigners.of.len() {
            return;
        }
        self.waits = self.waits.saturating_add(1);
        let at = desk.now.plus(desk.policy.cosigner_patience);
        desk.wake(&self.payment, &self.patience(), at);
    }

    fn patience(&self) -> String {
        format!("patience-{}", self.waits)
    }

    /// A cosigner has answered.
    pub(super) fn on_answer(
        &mut self,
        desk: &mut Desk<'_>,
        what: &str,
        result: &Result<String, String>,
    ) -> Progress {
        let Some((name, cosigners)) = self.addressed(desk, what) else {
            return Progress::Waiting;
        };
        let answer = result
            .as_ref()
            .map_err(|words| CosignerFailure::Refused(words.clone()));
        let given = answer.and_then(|psbt| {
            let checked = self.check(desk, &cosigners, &name, psbt);
            checked.map_err(CosignerFailure::Wrong)
        });
        let payment = self.payment.clone();
        match given {
            Ok(signatures) => {
                self.asked
                    .insert(name.clone(), Standing::Signed(signatures));
                desk.emit(Event::CosignerSigned {
                    payment,
                    cosigner: name,
                });
            }
            Err(how) => {
                sometimes(match &how {
                    CosignerFailure::Wrong(_) => Rare::CosignerWrong,
                    CosignerFailure::Absent
                    | CosignerFailure::Slow
                    | CosignerFailure::Refused(_) => Rare::CosignerRefused,
                });
                let before = self.asked.insert(name.clone(), Standing::Out);
                self.emit_failed(desk, name, how);
                // In the place of one who was late another was asked already.
                if before == Some(Standing::Asked { late: false }) {
                    self.ask_next(desk, &cosigners);
                }
            }
        }
        self.progress(desk, &cosigners)
    }

    /// Whose key it is, and who must sign.
    fn addressed(&self, desk: &Desk<'_>, what: &str) -> Option<(CosignerId, Cosigners)> {
        let name = CosignerId::new(what.strip_prefix(COSIGN)?).ok()?;
        let waits = matches!(self.asked.get(&name), Some(Standing::Asked { .. }));
        let cosigners = cosigners_of(desk, &self.wallet)?;
        waits.then_some((name, cosigners))
    }

    fn check(
        &self,
        desk: &Desk<'_>,
        cosigners: &Cosigners,
        name: &CosignerId,
        psbt: &str,
    ) -> Result<Signatures, AnswerWrong> {
        // The planted mistake: whoever of them has signed, it counts as this one's.
        let anyone = desk.has_bug(Bug::CountCosignerTwice);
        let who = cosigners
            .of
            .iter()
            .filter(|cosigner| anyone || cosigner.name == *name);
        let mut wrong = AnswerWrong::OtherTransaction;
        for cosigner in who {
            let checked = desk
                .onchain
                .check_cosigned(&self.wallet, self.txid, (cosigner, psbt));
            match checked {
                Some(Ok(signatures)) => return Ok(signatures),
                Some(Err(why)) => wrong = why,
                None => {}
            }
        }
        if desk.has_bug(Bug::CountWrongSignature) {
            return Ok(Signatures::none());
        }
        Err(wrong)
    }

    /// A cosigner cannot be reached, or the host does not know whether he was.
    pub(super) fn on_unavailable(&mut self, desk: &mut Desk<'_>, what: &str) {
        let Some((name, cosigners)) = self.addressed(desk, what) else {
            return;
        };
        if self.asked.get(&name) == Some(&Standing::Asked { late: false }) {
            sometimes(Rare::CosignerAbsent);
            self.replace_late(desk, &cosigners, name, CosignerFailure::Absent);
        }
    }

    /// Time is over for those who have not answered.
    pub(super) fn on_patience(&mut self, desk: &mut Desk<'_>, what: &str) {
        let Some(cosigners) = cosigners_of(desk, &self.wallet) else {
            return;
        };
        if what != self.patience() {
            return;
        }
        let waiting = |(name, standing): (&CosignerId, &Standing)| {
            (*standing == Standing::Asked { late: false }).then(|| name.clone())
        };
        let late: Vec<CosignerId> = self.asked.iter().filter_map(waiting).collect();
        for name in late {
            sometimes(Rare::CosignerSlow);
            self.replace_late(desk, &cosigners, name, CosignerFailure::Slow);
        }
        self.be_patient(desk, &cosigners);
    }

    fn replace_late(
        &mut self,
        desk: &mut Desk<'_>,
        cosigners: &Cosigners,
        name: CosignerId,
        how: CosignerFailure,
    ) {
        self.asked
            .insert(name.clone(), Standing::Asked { late: true });
        self.emit_failed(desk, name, how);
        self.ask_next(desk, cosigners);
    }

    fn emit_failed(&self, desk: &mut Desk<'_>, cosigner: CosignerId, how: CosignerFailure) {
        desk.emit(Event::CosignerFailed {
            payment: self.payment.clone(),
            cosigner,
            how,
        });
    }

    fn progress(&mut self, desk: &mut Desk<'_>, cosigners: &Cosigners) -> Progress {
        let signatures = self.asked.values().filter_map(|standing| match standing {
            Standing::Signed(signatures) => Some(signatures),
            Standing::Asked { .. } | Standing::Out => None,
        });
        let signatures: Vec<&Signatures> = signatures.collect();
        let threshold = cosigners.threshold;
        let signed = u32::try_from(signatures.len()).unwrap_or(u32::MAX);
        let enough = match desk.has_bug(Bug::SendBelowThreshold) {
            true => signed > 0,
            false => signed >= threshold,
        };
        if enough {
            let combined = desk.onchain.combine(&self.wallet, self.txid, signatures);
            if let Some(psbt) = combined {
                self.end(desk);
                return Progress::Complete(psbt);
            }
        }
        let is_out = |standing: &&Standing| **standing == Standing::Out;
        let out = self.asked.values().filter(is_out).count();
        let left = cosigners.of.len().saturating_sub(out);
        if u32::try_from(left).unwrap_or(u32::MAX) >= threshold {
            return Progress::Waiting;
        }
        self.end(desk);
        Progress::Hopeless { signed, threshold }
    }

    /// Withdraws all questions.
    pub(super) fn end(&self, desk: &mut Desk<'_>) {
        let waiting = |standing: &Standing| matches!(standing, Standing::Asked { .. });
        for (name, _) in self.asked.iter().filter(|(_, standing)| waiting(standing)) {
            desk.answered(&self.payment, &format!("{COSIGN}{name}"));
        }
        if self.waits > 0 {
            desk.answered(&self.payment, &self.patience());
        }
    }

    /// Forgets whoever has signed, as a planted bug does.
    pub(super) fn forget(&mut self) {
        self.asked
            .retain(|_, standing| !matches!(standing, Standing::Signed(_)));
    }
}

fn cosigners_of(desk: &Desk<'_>, wallet: &WalletId) -> Option<Cosigners> {
    desk.onchain.spec(wallet)?.cosigners().cloned()
}
