//! Owns who bears what a party has spent and a reorganisation took back: the party's account is made up to zero from the
//! bearer's, and as soon as the money has come again, in that transaction or in another, the bearer gets it back.
//! Does not own what charges credit (`charge_onchain`).
//!
//! What is borne for a party is never more than what its charges were credited with at most and are not any more. Other
//! income does not make it less: whether a debt is set off is for people to decide.

use super::Payments;
use super::desk::{in_msat, party_btc};
use super::record::Payment;
use crate::event::{Bearer, Consequences, Event};
use crate::id::PartyId;
use crate::ledger::{Account, Posting};
use crate::money::Msat;
use crate::planted::Bug;
use crate::policy::Shortfall;
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Every bearer, the one first that gets back first.
const BEARERS: [Bearer; 3] = [Bearer::Operator, Bearer::Receivable, Bearer::Frozen];

/// Where it is booked.
fn account(by: Bearer, party: &PartyId) -> Account {
    let party = party.clone();
    match by {
        Bearer::Receivable => Account::Receivable { party },
        Bearer::Operator => Account::Loss { party },
        Bearer::Frozen => Account::Frozen { party },
    }
}

impl Payments {
    /// Makes parties' accounts up to zero, and gives back what is borne without need.
    pub(super) fn cover_shortfalls(&mut self, now: Timestamp) -> Consequences {
        let mut out = Consequences::default();
        let Some(shortfall) = self.policy.shortfall else {
            return out;
        };
        let taken_back = self.taken_back();
        let payers = super::refunds::payers();
        let parties: Vec<PartyId> = self.ledger.parties().cloned().collect();
        for party in parties.iter().filter(|party| **party != payers) {
            let lacking = taken_back.get(party).copied().unwrap_or(0);
            self.give_back(now, party, lacking, &mut out);
            self.cover(now, party, (lacking, shortfall), &mut out);
        }
        out
    }

    /// What each party was credited with at most and is not any more, in msat.
    fn taken_back(&self) -> BTreeMap<PartyId, i128> {
        let mut taken_back = BTreeMap::new();
        for payment in self.records.values() {
            if let Payment::OnchainCharge(charge) = payment {
                let more = i128::from(in_msat(charge.taken_back()).0);
                let all = taken_back.entry(charge.party.clone()).or_insert(0_i128);
                *all = all.saturating_add(more);
            }
        }
        taken_back
    }

    fn borne(&self, by: Bearer, party: &PartyId) -> i128 {
        self.ledger.balance(&account(by, party))
    }

    fn all_borne(&self, party: &PartyId) -> i128 {
        let each = BEARERS.into_iter().map(|by| self.borne(by, party));
        each.fold(0, i128::saturating_add)
    }

    fn give_back(
        &mut self,
        now: Timestamp,
        party: &PartyId,
        lacking: i128,
        out: &mut Consequences,
    ) {
        if self.planted == Some(Bug::ForgetReturnedCoins) {
            return;
        }
        for by in BEARERS {
            let needless = self.all_borne(party).saturating_sub(lacking).max(0);
            let back = needless.min(self.borne(by, party));
            self.bear(now, party, by, back.saturating_neg(), out);
        }
    }

    fn cover(
        &mut self,
        now: Timestamp,
        party: &PartyId,
        (lacking, shortfall): (i128, Shortfall),
        out: &mut Consequences,
    ) {
        let most = lacking.saturating_sub(self.all_borne(party)).max(0);
        let needed = self.ledger.balance(&party_btc(party)).clamp(0, most);
        let (first, rest) = match shortfall {
            Shortfall::Operator => (0, needed),
            Shortfall::Freeze => (needed, 0),
            Shortfall::Receivable { limit } => {
                let limit = limit
                    .to_msat()
                    .map_or(i128::MAX, |limit| i128::from(limit.0));
                let room = limit
                    .saturating_sub(self.borne(Bearer::Receivable, party))
                    .max(0);
                let first = needed.min(room);
                (first, needed.saturating_sub(first))
            }
        };
        let by = match shortfall {
            Shortfall::Freeze => Bearer::Frozen,
            Shortfall::Receivable { .. } | Shortfall::Operator => Bearer::Receivable,
        };
        self.bear(now, party, by, first, out);
        self.bear(now, party, Bearer::Operator, rest, out);
    }

    /// Moves `change` msat between a party and who bears for it; below zero: back.
    pub(super) fn bear(
        &mut self,
        now: Timestamp,
        party: &PartyId,
        by: Bearer,
        change: i128,
        out: &mut Consequences,
    ) {
        if change == 0 {
            return;
        }
        let amount = u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX);
        let (party, amount_msat) = (party.clone(), Msat(amount));
        let lines = vec![
            (account(by, &party), change),
            (party_btc(&party), change.saturating_neg()),
        ];
        let (memo, event) = if change > 0 {
            sometimes(Rare::ShortfallCovered);
            let event = Event::ShortfallCovered {
                party,
                by,
                amount_msat,
            };
            ("shortfall covered", event)
        } else {
            sometimes(Rare::ShortfallReturned);
            let event = Event::ShortfallReturned {
                party,
                by,
                amount_msat,
            };
            ("shortfall returned", event)
        };
        let posted = self.ledger.post(Posting {
            at: now,
            payment: None,
            memo,
            lines,
        });
        out.events.push(Event::Posted(posted));
        out.events.push(event);
    }
}
