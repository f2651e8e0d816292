//! Owns what the engine knows of fees: the latest answer of the chain's backend, whether it is still good, and the
//! question that is under way. Does not own the choice of a feerate (`onchain::feerate`).

use super::desk::Desk;
use crate::id::IdempotencyKey;
use crate::onchain::feerate::{self, Feerate};
use crate::rail::{BlockId, Effect, FeesSeen, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;

/// Keys of questions are `fees:<number>/read`; no payment id has a colon.
const KEY: &str = "fees:";

/// What is known of fees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct FeeDesk {
    latest: Option<Known>,
    /// Questions asked so far; the last of them is under way if `waiting`.
    questions: u64,
    waiting: bool,
    /// The backend could not be asked: what there is must do.
    silent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Known {
    seen: FeesSeen,
    at: Timestamp,
    tip: BlockId,
}

impl FeeDesk {
    /// Whether a key is that of a question about fees.
    pub(super) fn owns(key: &IdempotencyKey) -> bool {
        key.0.starts_with(KEY)
    }

    /// The backend has answered.
    pub(super) fn on_answer(&mut self, seen: &FeesSeen, at: Timestamp, tip: BlockId) {
        self.waiting = false;
        self.silent = false;
        self.latest = Some(Known {
            seen: seen.clone(),
            at,
            tip,
        });
    }

    /// The backend cannot be asked now; the host goes on trying.
    pub(super) fn on_silence(&mut self) {
        sometimes(Rare::FeesUnknown);
        self.silent = true;
    }
}

impl Desk<'_> {
    /// The feerate for a payment that is due then; `None`: fees were asked for, and the answer must be waited for.
    pub(super) fn feerate(&mut self, due_at: Timestamp) -> Option<Feerate> {
        let Some(bounds) = self.policy.paying.estimation else {
            return Some(self.feerate_at_once(due_at));
        };
        let tip = self.onchain.tip();
        let good =
            |known: &Known| known.tip == tip && self.now.since(known.at) <= bounds.block_interval;
        let is_good = self.fees.latest.as_ref().is_some_and(good);
        if !is_good {
            self.ask_for_fees();
            if !self.fees.silent {
                return None;
            }
        }
        Some(self.feerate_at_once(due_at))
    }

    /// The feerate for what nobody waits for as for a payment: by what is known, without asking.
    pub(super) fn feerate_at_once(&self, due_at: Timestamp) -> Feerate {
        let fixed = self.policy.onchain_feerate_sat_per_kwu;
        let Some(bounds) = self.policy.paying.estimation else {
            return Feerate::fixed(fixed);
        };
        let blocks = feerate::blocks_left(&bounds, self.now, due_at, self.policy.payout_depth);
        let seen = self.fees.latest.as_ref().map(|known| &known.seen);
        feerate::choose(&bounds, seen, blocks, fixed)
    }

    fn ask_for_fees(&mut self) {
        if self.fees.waiting {
            return;
        }
        self.fees.waiting = true;
        self.fees.silent = false;
        self.fees.questions = self.fees.questions.saturating_add(1);
        let key = IdempotencyKey(format!("{KEY}{}/read", self.fees.questions));
        let effect = Effect::ReadFees;
        self.out.instructions.push(Instruction { key, effect });
    }
}
