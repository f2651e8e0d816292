//! Owns the record of one payment transaction: the payouts that it pays, and its lineage, which is every version of it that
//! was ever built (the original, its replacements, and children that pay for it). Does not own the payouts' money
//! (`payout_onchain`) nor when anything is done (`till`).
//!
//! All versions spend the first one's coins, so exactly one of them can confirm; which one, the chain decides. A batch
//! ends only by being dissolved before anybody can have seen it.

use super::cosigning::Round;
use super::payout_onchain::Used;
use crate::id::{BatchId, PaymentId, WalletId};
use crate::money::Sat;
use crate::planted::Bug;
use crate::rail::BlockId;
use crate::time::Timestamp;
use bitcoin::{Script, Transaction, Txid};
use serde::Serialize;
use std::collections::BTreeMap;

/// A payment transaction with all its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose coins pay.
    pub wallet: WalletId,
    /// By payment; none for a consolidation, whose fee the operator bears.
    pub members: Vec<Member>,
    /// When the first of its payouts is due.
    pub(super) due_at: Timestamp,
    /// The most that all fees together may be.
    pub(super) budget: Sat,
    /// Oldest first; the last one is the one that is wanted.
    pub versions: Vec<Version>,
    /// Children that spend the change of a version and pay for it, oldest first.
    pub children: Vec<Version>,
    /// What is at the signer.
    pub(super) signing: Option<Txid>,
    /// The signatures of several cosigners that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) round: Option<Box<Round>>,
    /// Broadcasts under way, by number.
    pub(super) under_way: BTreeMap<u32, Txid>,
    /// Keys used up.
    pub(super) used: Used,
    /// The version that was deep enough at the last look.
    pub(super) settled: Option<Txid>,
    /// Some version was deep enough once; what was set aside for bumps is given back.
    pub(super) was_settled: bool,
    /// The tip at the latest attempt to bump it.
    pub(super) bumped_at: Option<BlockId>,
    /// Fees booked for a consolidation.
    pub borne: Sat,
    /// The height at which it was first seen that no version is there and that a coin is missing that nothing of ours can bring
    /// back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) coin_gone_at: Option<u32>,
}

/// A payout in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Which.
    pub payment: PaymentId,
    /// What its output weighs: its part of the fee goes by this.
    pub weight_wu: u64,
    /// The most that its part of the fee may be.
    pub max_fee: Sat,
}

/// One transaction of a lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its id.
    pub txid: Txid,
    /// Its own fee.
    pub fee: Sat,
    /// The version whose change it spends; only a child has one.
    pub parent: Option<Txid>,
    /// Signed.
    pub transaction: Option<Transaction>,
    /// Some node took it, or may have: a refusal frees nothing any more.
    pub(super) accepted: bool,
    /// The tip when it was last handed out.
    pub(super) broadcast_at_height: u32,
}

/// What a look shows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The version that is there.
    pub(super) txid: Txid,
    /// Its depth; 0 in the mempool.
    pub(super) confirmations: u32,
    /// Its fee and those of its children that are there.
    pub(super) fee: Sat,
}

/// What an output to this script weighs (BIP 141): value, length, script, four units a byte.
pub(super) fn output_weight(script: &Script) -> u64 {
    let length = u64::try_from(script.len()).unwrap_or(u64::MAX);
    length.saturating_add(9).saturating_mul(4)
}

/// Shares a fee by weight, in whole satoshi: each gets its part rounded down, and what is left goes one by one to the
/// largest remainders; among equals to the first payment by id. The shares sum to the fee.
pub(super) fn shares(fee: Sat, members: &[Member], planted: Option<Bug>) -> Vec<Sat> {
    let total: u128 = members.iter().map(|m| u128::from(m.weight_wu)).sum();
    let part = |member: &Member| {
        let product = u128::from(fee.0).saturating_mul(u128::from(member.weight_wu));
        let whole = product.checked_div(total).unwrap_or(0);
        let rest = product.checked_rem(total).unwrap_or(0);
        (u64::try_from(whole).unwrap_or(u64::MAX), rest)
    };
    let parts: Vec<(u64, u128)> = members.iter().map(part).collect();
    let given: u64 = parts.iter().map(|(whole, _)| *whole).sum();
    let left = usize::try_from(fee.0.saturating_sub(given)).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|at| {
        let rest = parts.get(*at).map_or(0, |(_, rest)| *rest);
        let payment = members.get(*at).map(|member| &member.payment);
        (std::cmp::Reverse(rest), payment)
    });
    let mut shares: Vec<Sat> = parts.iter().map(|(whole, _)| Sat(*whole)).collect();
    if planted != Some(Bug::LoseSharedSatoshi) {
        for at in order.into_iter().take(left) {
            shares[at].0 = shares[at].0.saturating_add(1);
        }
    }
    shares
}

/// The largest fee of which no member's share is above what it has set aside.
pub(super) fn budget(members: &[Member]) -> Sat {
    let total: u128 = members.iter().map(|m| u128::from(m.weight_wu)).sum();
    let most = |member: &Member| {
        let product = u128::from(member.max_fee.0).saturating_mul(total);
        let most = product.checked_div(u128::from(member.weight_wu));
        u64::try_from(most.unwrap_or(0)).unwrap_or(u64::MAX)
    };
    let least = members.iter().map(most).min().unwrap_or(0);
    // The largest remainder may add a satoshi to anyone.
    let others = u64::try_from(members.len())
        .unwrap_or(u64::MAX)
        .saturating_sub(1);
    Sat(least.saturating_sub(others))
}

impl Batch {
    /// Under this name its keys go: the first payout's, or its own.
    pub(super) fn subject(&self) -> String {
        match self.members.first() {
            Some(member) => member.payment.to_string(),
            None => format!("batch:{}", self.id),
        }
    }

    /// The transaction that was wanted last.
    pub(super) fn latest(&self) -> Option<&Version> {
        self.children.last().or(self.versions.last())
    }

    /// Every transaction of the lineage, oldest version first, then children.
    pub(super) fn all(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().chain(&self.children)
    }

    /// One of them.
    pub(super) fn version_mut(&mut self, txid: Txid) -> Option<&mut Version> {
        let mut all = self.versions.iter_mut().chain(&mut self.children);
        all.find(|version| version.txid == txid)
    }

    /// What a look shows of it.
    pub(super) fn sighting(&self, confirmations: impl Fn(Txid) -> Option<u32>) -> Option<Sighting> {
        let mut there = self.versions.iter();
        let (version, depth) =
            there.find_map(|version| Some((version, confirmations(version.txid)?)))?;
        let children = self.children.iter().filter(|child| {
            child.parent == Some(version.txid) && confirmations(child.txid).is_some()
        });
        let fee = children.fold(version.fee.0, |sum, child| sum.saturating_add(child.fee.0));
        Some(Sighting {
            txid: version.txid,
            confirmations: depth,
            fee: Sat(fee),
        })
    }

    /// Each member with its part of a fee.
    pub(super) fn shared(
        &self,
        fee: Sat,
        planted: Option<Bug>,
    ) -> impl Iterator<Item = (PaymentId, Sat)> {
        let shares = shares(fee, &self.members, planted);
        let payments: Vec<PaymentId> = self.members.iter().map(|m| m.payment.clone()).collect();
        payments.into_iter().zip(shares)
    }

    /// Forgets whoever has signed, as a planted bug does.
    pub(super) fn forget_signatures(&mut self) {
        if let Some(round) = &mut self.round {
            round.forget();
        }
    }

    /// The version that a transaction of the lineage belongs to: itself, or the one that it is a child of.
    pub(super) fn version_of(&self, txid: Txid) -> Option<Txid> {
        let found = self.all().find(|version| version.txid == txid)?;
        Some(found.parent.unwrap_or(found.txid))
    }

    /// Whether nobody outside can have seen it.
    pub(super) fn is_unseen(&self) -> bool {
        self.all().all(|version| !version.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, weight_wu: u64, max_fee: u64) -> Member {
        Member {
            payment: PaymentId::new(name).expect("an id"),
            weight_wu,
            max_fee: Sat(max_fee),
        }
    }

    #[test]
    fn shares_sum_to_the_fee_and_the_largest_remainders_get_the_rest() {
        let three = [
            member("a", 124, 0),
            member("b", 124, 0),
            member("c", 172, 0),
        ];
        // 100 * 124 / 420 = 29 rest 220; 100 * 172 / 420 = 40 rest 400: two satoshi are left, c and then a.
        assert_eq!(shares(Sat(100), &three, None), [Sat(30), Sat(29), Sat(41)]);
        for fee in 0..2_000 {
            let sum: u64 = shares(Sat(fee), &three, None).iter().map(|s| s.0).sum();
            assert_eq!(sum, fee);
        }
        let lost: u64 = shares(Sat(100), &three, Some(Bug::LoseSharedSatoshi))
            .iter()
            .map(|share| share.0)
            .sum();
        assert_eq!(lost, 98, "what the planted bug loses");
        assert_eq!(shares(Sat(7), &three[..1], None), [Sat(7)]);
    }

    #[test]
    fn nobody_pays_more_than_he_has_set_aside() {
        let cases = [
            vec![member("a", 124, 5_000)],
            vec![member("a", 124, 5_000), member("b", 172, 5_000)],
            vec![
                member("a", 124, 90),
                member("b", 172, 5_000),
                member("c", 136, 77),
            ],
        ];
        for members in cases {
            let most = budget(&members);
            for (share, member) in shares(most, &members, None).iter().zip(&members) {
                assert!(
                    *share <= member.max_fee,
                    "{share:?} of {most:?}: {member:?}"
                );
            }
        }
        assert_eq!(budget(&[member("a", 124, 5_000)]), Sat(5_000));
    }
}
