//! Owns the gateway's books: transfers, when they are booked or come back, the account's lines and balance.
//! Does not own who is told about it.

use serde::Serialize;

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferStatus {
    /// Taken, amount reserved.
    Accepted,
    /// Booked.
    Settled,
    /// Sent back; if it had been booked, booked back.
    Returned,
}

/// A transfer as the gateway tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The gateway's name.
    pub id: String,
    /// The caller's name.
    pub reference: String,
    /// In cents.
    pub amount: u64,
    /// ISO 4217.
    pub currency: &'static str,
    /// Where it stands.
    pub status: TransferStatus,
    /// 1 at first, plus one at each change.
    pub version: u64,
    /// ISO 20022 ExternalReturnReason1Code.
    pub return_reason: Option<String>,
}

/// What a line of the account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A transfer was booked.
    Transfer,
    /// A booked transfer came back.
    Return,
    /// Money came in.
    Deposit,
}

/// A line of the operator's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// The gateway's name.
    pub id: String,
    /// The transfer's id.
    pub transfer: Option<String>,
    /// The transfer's reference.
    pub reference: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// In cents; negative: debited.
    pub amount: i64,
    /// Seconds since 1970.
    pub booked_at: u64,
}

/// What will happen to a transfer by itself.
#[derive(Clone, Debug)]
enum Plan {
    Settle,
    Return { reason: String },
}

/// A transfer to be taken.
pub(super) struct NewTransfer {
    pub(super) reference: String,
    pub(super) amount_cents: u64,
    pub(super) settle_at_ms: u64,
    /// When and why it comes back, if it does.
    pub(super) comes_back: Option<(u64, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct Books {
    opening_cents: i64,
    transfers: Vec<Transfer>,
    entries: Vec<LedgerEntry>,
    /// (when, index of the transfer, what).
    plans: Vec<(u64, usize, Plan)>,
}

impl Books {
    pub(super) const fn new(opening_cents: i64) -> Self {
        Self {
            opening_cents,
            transfers: Vec::new(),
            entries: Vec::new(),
            plans: Vec::new(),
        }
    }

    pub(super) fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    pub(super) fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    pub(super) fn balance_cents(&self) -> i64 {
        self.opening_cents + self.entries.iter().map(|entry| entry.amount).sum::<i64>()
    }

    /// Booked, less what is reserved for transfers that are not booked yet.
    pub(super) fn available_cents(&self) -> i64 {
        let pending = self
            .transfers
            .iter()
            .filter(|transfer| transfer.status == TransferStatus::Accepted);
        self.balance_cents() - pending.map(|transfer| signed(transfer.amount)).sum::<i64>()
    }

    /// Opening and closing balance and lines of the time `from..to` (seconds since 1970).
    pub(super) fn statement(&self, from_secs: u64, to_secs: u64) -> (i64, i64, Vec<&LedgerEntry>) {
        let before = self
            .entries
            .iter()
            .filter(|entry| entry.booked_at < from_secs);
        let opening = self.opening_cents + before.map(|entry| entry.amount).sum::<i64>();
        let within = self
            .entries
            .iter()
            .filter(|entry| (from_secs..to_secs).contains(&entry.booked_at));
        let within: Vec<_> = within.collect();
        (
            opening,
            opening + within.iter().map(|entry| entry.amount).sum::<i64>(),
            within,
        )
    }

    pub(super) fn accept(&mut self, new: NewTransfer) -> Transfer {
        let index = self.transfers.len();
        let comes_back_first = new
            .comes_back
            .as_ref()
            .is_some_and(|(at_ms, _)| *at_ms <= new.settle_at_ms);
        if !comes_back_first {
            self.plans.push((new.settle_at_ms, index, Plan::Settle));
        }
        if let Some((at_ms, reason)) = new.comes_back {
            self.plans.push((at_ms, index, Plan::Return { reason }));
        }
        let transfer = Transfer {
            id: format!("tr_{}", index + 1),
            reference: new.reference,
            amount: new.amount_cents,
            currency: "EUR",
            status: TransferStatus::Accepted,
            version: 1,
            return_reason: None,
        };
        self.transfers.push(transfer.clone());
        transfer
    }

    pub(super) fn deposit(&mut self, now_ms: u64, amount_cents: u32) {
        self.book(now_ms, EntryKind::Deposit, i64::from(amount_cents), None);
    }

    pub(super) fn clock_was_set(&mut self, by_ms: i64) {
        for (at_ms, ..) in &mut self.plans {
            *at_ms = at_ms.saturating_add_signed(by_ms);
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.plans.iter().map(|(at_ms, ..)| *at_ms).min()
    }

    /// Does the earliest plan that is due, and gives its time and the transfer after it.
    pub(super) fn advance_one(&mut self, now_ms: u64) -> Option<(u64, Transfer)> {
        let due = self
            .plans
            .iter()
            .enumerate()
            .filter(|(_, (at_ms, ..))| *at_ms <= now_ms);
        let (position, _) = due.min_by_key(|(_, (at_ms, index, _))| (*at_ms, *index))?;
        let (at_ms, index, plan) = self.plans.remove(position);
        let amount = signed(self.transfers[index].amount);
        let was_settled = self.transfers[index].status == TransferStatus::Settled;
        match plan {
            Plan::Settle => {
                self.transfers[index].status = TransferStatus::Settled;
                self.book(at_ms, EntryKind::Transfer, -amount, Some(index));
            }
            Plan::Return { reason } => {
                self.transfers[index].status = TransferStatus::Returned;
                self.transfers[index].return_reason = Some(reason);
                if was_settled {
                    self.book(at_ms, EntryKind::Return, amount, Some(index));
                }
            }
        }
        self.transfers[index].version += 1;
        Some((at_ms, self.transfers[index].clone()))
    }

    fn book(&mut self, at_ms: u64, kind: EntryKind, amount: i64, index: Option<usize>) {
        let transfer = index.map(|index| &self.transfers[index]);
        self.entries.push(LedgerEntry {
            id: format!("en_{}", self.entries.len() + 1),
            transfer: transfer.map(|transfer| transfer.id.clone()),
            reference: transfer.map(|transfer| transfer.reference.clone()),
            kind,
            amount,
            booked_at: at_ms / 1_000,
        });
    }
}

/// Amounts are checked on entry to be far below this limit.
fn signed(cents: u64) -> i64 {
    i64::try_from(cents).expect("an accepted amount fits")
}
