//! Owns the books: accounts, postings that sum to zero per asset, balances, and the holds upon parties' accounts.
//! Does not own why anything is posted (`payments`) nor what the outside holds (rails).
//!
//! A posting line adds `amount` to its account: assets are positive, liabilities negative, so that a party to whom we
//! owe 5 has a balance of -5. The asset account of a rail equals what the outside holds, up to what is in flight.

mod account;
mod holds;

pub use account::Account;
pub use holds::{Hold, HoldChange, HoldEvent, HoldOrder, HoldRefused};

use crate::id::{PartyId, PaymentId};
use crate::money::Asset;
use crate::planted::Bug;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// One change of one account, in the smallest unit of its asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub account: Account,
    /// Added to its balance (msat or cents).
    pub amount: i128,
}

/// A booked transaction: its lines sum to zero per asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Counts from 0 without gaps.
    pub number: u64,
    /// When it was booked.
    pub at: Timestamp,
    /// The payment it is for; none for openings and money that nobody can be named for.
    pub payment: Option<PaymentId>,
    /// What it books, in a few fixed words.
    pub memo: String,
    /// At least two, none of them zero.
    pub lines: Vec<Line>,
}

/// A transaction to be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Now.
    pub at: Timestamp,
    /// The payment it is for.
    pub payment: Option<PaymentId>,
    /// In a few fixed words.
    pub memo: &'static str,
    /// Account and amount; zero amounts are left out.
    pub lines: Vec<(Account, i128)>,
}

/// A party has accounts already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("party `{party}` is open already")]
pub struct PartyExists {
    /// Who.
    pub party: PartyId,
}

/// The books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    parties: BTreeSet<PartyId>,
    #[serde(serialize_with = "as_pairs")]
    balances: BTreeMap<Account, i128>,
    holds: BTreeMap<PaymentId, Hold>,
    posted: u64,
    #[serde(skip)]
    planted: Option<Bug>,
}

/// JSON objects have text keys only; accounts are structured.
fn as_pairs<S: Serializer>(
    balances: &BTreeMap<Account, i128>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(balances)
}

impl Ledger {
    /// Empty books.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Makes the books wrong on purpose; see [`Bug`].
    #[doc(hidden)]
    pub fn plant(&mut self, bug: Bug) {
        self.planted = Some(bug);
    }

    /// Opens a party's accounts.
    pub fn open_party(&mut self, party: &PartyId) -> Result<(), PartyExists> {
        if self.parties.insert(party.clone()) {
            Ok(())
        } else {
            Err(PartyExists {
                party: party.clone(),
            })
        }
    }

    /// Whether the party has accounts.
    pub fn has_party(&self, party: &PartyId) -> bool {
        self.parties.contains(party)
    }

    /// All parties, by name.
    pub fn parties(&self) -> impl Iterator<Item = &PartyId> {
        self.parties.iter()
    }

    /// Books a transaction.
    ///
    /// # Panics
    /// If the lines do not sum to zero per asset, or no line is left: both are errors of the program.
    pub fn post(&mut self, posting: Posting) -> Transaction {
        let lines: Vec<Line> = posting
            .lines
            .into_iter()
            .filter(|(_, amount)| *amount != 0)
            .map(line)
            .collect();
        assert!(
            !lines.is_empty(),
            "a transaction without lines: {}",
            posting.memo
        );
        for (asset, sum) in sums(&lines) {
            assert_eq!(
                sum, 0,
                "lines of `{}` do not sum to zero in {asset}: {lines:?}",
                posting.memo
            );
        }
        let booked = if self.planted == Some(Bug::UnbalancedPosting) {
            lines.len().saturating_sub(1)
        } else {
            lines.len()
        };
        for line in lines.iter().take(booked) {
            let balance = self.balances.entry(line.account.clone()).or_insert(0);
            *balance = balance
                .checked_add(line.amount)
                .expect("64-bit amounts do not fill 128 bits");
            if *balance == 0 {
                self.balances.remove(&line.account);
            }
        }
        let number = self.posted;
        self.posted = number
            .checked_add(1)
            .expect("transactions are counted in 64 bits");
        Transaction {
            number,
            at: posting.at,
            payment: posting.payment,
            memo: posting.memo.to_owned(),
            lines,
        }
    }

    /// The balance of an account; zero if nothing was ever booked on it.
    pub fn balance(&self, account: &Account) -> i128 {
        self.balances.get(account).copied().unwrap_or(0)
    }

    /// Every account whose balance is not zero, in the order of [`Account`].
    pub fn accounts(&self) -> impl Iterator<Item = (&Account, i128)> {
        self.balances
            .iter()
            .map(|(account, balance)| (account, *balance))
    }

    /// The sum of all balances per asset: zero, if the books are right.
    pub fn totals(&self) -> BTreeMap<Asset, i128> {
        let mut totals = BTreeMap::from([(Asset::Btc, 0_i128), (Asset::Eur, 0)]);
        for (account, balance) in &self.balances {
            let total = totals.entry(account.asset()).or_insert(0);
            *total = total.saturating_add(*balance);
        }
        totals
    }

    /// What a party can still spend: what we owe it, less what is held. Negative only after a reorganisation has
    /// taken back a credit that was spent already.
    pub fn available(&self, party: &PartyId, asset: Asset) -> i128 {
        let owed = self
            .balance(&Account::Party {
                party: party.clone(),
                asset,
            })
            .saturating_neg();
        owed.saturating_sub(i128::from(self.held(party, asset)))
    }

    /// Transactions booked so far.
    pub fn posted(&self) -> u64 {
        self.posted
    }
}

fn line((account, amount): (Account, i128)) -> Line {
    Line { account, amount }
}

fn sums(lines: &[Line]) -> BTreeMap<Asset, i128> {
    let mut sums = BTreeMap::new();
    for line in lines {
        let sum = sums.entry(line.account.asset()).or_insert(0_i128);
        *sum = sum
            .checked_add(line.amount)
            .expect("64-bit amounts do not fill 128 bits");
    }
    sums
}

#[cfg(test)]
mod tests;
