//! Owns reconciliation: the ledger is compared with the chain, the channels and the gateway's daily report, and every
//! disagreement is named. It proposes and never posts. Does not own the rails' reading (host) nor payments, of which it
//! is told what is in flight.
//!
//! Each of the three is compared when its answer comes, with the books of that moment; the breaks are told when all three
//! have answered. What is in flight is no break: payments whose fate is unknown, and movements of open payouts.

pub use crate::event::{Break, BreakKind};

use crate::event::{Consequences, Event};
use crate::fiat::{self, Day, DayRefused, Entry, EntryKind, Report, ReportRefused};
use crate::id::{IdempotencyKey, ReconciliationId, WalletId};
use crate::ledger::{Account, Ledger};
use crate::money::{Msat, Rail, Sat};
use crate::policy::Policy;
use crate::rail::{Effect, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::{Span, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What one comparison sees of the inside.
#[derive(Clone, Debug)]
pub struct Books<'a> {
    /// The accounts.
    pub ledger: &'a Ledger,
    /// What each wallet holds.
    pub chain_totals: BTreeMap<WalletId, Sat>,
    /// What Lightning payments may have moved without our knowledge yet.
    pub lightning: LightningInFlight,
    /// Every payout over SEPA.
    pub transfers: Vec<BookedTransfer>,
}

/// Lightning money whose fate is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LightningInFlight {
    /// Dispatched payouts with their largest fees: at most so much may have left.
    pub outgoing: Msat,
    /// Claims on their way: at most so much may have come.
    pub incoming: Msat,
    /// Unpaid invoices: exactly one of them may just have been paid.
    pub invoices: Vec<Msat>,
}

/// A payout over SEPA as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookedTransfer {
    /// Our reference.
    pub reference: String,
    /// Cents.
    pub cents: u64,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When the ledger booked it.
    pub settled_at: Option<Timestamp>,
    /// When the ledger booked its return.
    pub returned_at: Option<Timestamp>,
    /// Its fate is not final, or it went out and came back between two looks: movements on the report are no surprise.
    pub may_have_moved: bool,
}

/// Why a run is refused, in this order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileRefused {
    /// A run id is used once.
    #[error("reconciliation `{run}` was asked for before")]
    RunIdUsed {
        /// Which.
        run: ReconciliationId,
    },
    /// The day is none.
    #[error("the report's day cannot be used: {cause}")]
    Day {
        /// Why.
        #[from]
        cause: DayRefused,
    },
    /// Too many runs wait for answers.
    #[error("{open} reconciliations wait for answers, no more are begun")]
    TooManyOpen {
        /// How many.
        open: u32,
    },
}

/// All runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    open: BTreeMap<ReconciliationId, Run>,
    finished: BTreeMap<ReconciliationId, Vec<Break>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Run {
    day: Day,
    /// Breaks of each rail that has answered.
    onchain: Option<Vec<Break>>,
    lightning: Option<Vec<Break>>,
    sepa: Option<Vec<Break>>,
    report_attempts: u32,
    report_asked_at: Timestamp,
}

/// What the gateway did when asked for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportAnswer<'a> {
    /// An HTTP response.
    Responded {
        /// Status code.
        status: u16,
        /// Body.
        body: &'a str,
    },
    /// None.
    Failed,
}

impl Reconciliation {
    /// No runs.
    pub fn new() -> Reconciliation {
        Reconciliation::default()
    }

    /// Whether an instruction key belongs to a run.
    pub fn owns(&self, key: &IdempotencyKey) -> bool {
        matches!(split(key), Some((_, what)) if matches!(what, "chain" | "lightning" | "report") || what.starts_with("report-wait-"))
    }

    /// The breaks of a finished run.
    pub fn finished(&self, run: &ReconciliationId) -> Option<&[Break]> {
        self.finished.get(run).map(Vec::as_slice)
    }

    /// Whether a run would be accepted.
    pub fn check_begin(
        &self,
        policy: &Policy,
        run: &ReconciliationId,
        day: &str,
    ) -> Result<Day, ReconcileRefused> {
        if self.open.contains_key(run) || self.finished.contains_key(run) {
            return Err(ReconcileRefused::RunIdUsed { run: run.clone() });
        }
        let day = Day::parse(day)?;
        let open = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        if open >= policy.max_open_runs {
            Err(ReconcileRefused::TooManyOpen { open })
        } else {
            Ok(day)
        }
    }

    /// Asks all three rails.
    pub fn begin(&mut self, now: Timestamp, run: &ReconciliationId, day: Day) -> Consequences {
        let request = fiat::report_request(day);
        let instructions = vec![
            instruction(run, "chain", Effect::ReadChain),
            instruction(run, "lightning", Effect::ReadLightningBalance),
            instruction(run, "report", Effect::CallGateway { request }),
        ];
        let empty = Run {
            day,
            onchain: None,
            lightning: None,
            sepa: None,
            report_attempts: 1,
            report_asked_at: now,
        };
        self.open.insert(run.clone(), empty);
        Consequences {
            instructions,
            ..Consequences::default()
        }
    }

    /// The chain was looked at: that answers every run that waits for it.
    pub fn on_chain(&mut self, books: &Books<'_>) -> Consequences {
        let mut out = Consequences::default();
        for (id, run) in &mut self.open {
            if run.onchain.is_none() {
                run.onchain = Some(compare_chain(books));
                out.answered.push(IdempotencyKey(format!("{id}/chain")));
            }
        }
        self.close(&mut out);
        out
    }

    /// The channels were read.
    pub fn on_lightning(
        &mut self,
        key: &IdempotencyKey,
        outside: Msat,
        books: &Books<'_>,
    ) -> Consequences {
        let mut out = Consequences::default();
        if let Some(run) = self.run_of(key) {
            run.lightning = Some(compare_lightning(outside, books));
        }
        self.close(&mut out);
        out
    }

    /// The gateway answered, or did not. A report that is not there yet is asked for again, as often as the policy says.
    pub fn on_report(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        key: &IdempotencyKey,
        answer: ReportAnswer<'_>,
        books: &Books<'_>,
    ) -> Consequences {
        let mut out = Consequences::default();
        let Some((run_id, _)) = split(key) else {
            return out;
        };
        let Some(run) = self.run_of(key) else {
            return out;
        };
        let parsed = match answer {
            ReportAnswer::Failed => Err(true),
            ReportAnswer::Responded { status, body } => {
                fiat::parse_report(run.day, status, body).map_err(|e| is_passing(&e))
            }
        };
        match (parsed, policy.retry.after(run.report_attempts)) {
            (Ok(report), _) => run.sepa = Some(compare_report(&report, run.report_asked_at, books)),
            (Err(true), Some(span)) => out.instructions.push(Instruction {
                key: IdempotencyKey(format!("{run_id}/report-wait-{}", run.report_attempts)),
                effect: Effect::WakeAt { at: now.plus(span) },
            }),
            (Err(_), _) => run.sepa = Some(vec![unavailable(books)]),
        }
        self.close(&mut out);
        out
    }

    /// Time to ask for the report again.
    pub fn on_timer(&mut self, now: Timestamp, key: &IdempotencyKey) -> Consequences {
        let mut out = Consequences::default();
        let Some((run_id, _)) = split(key) else {
            return out;
        };
        let Some(run) = self.run_of(key) else {
            return out;
        };
        sometimes(Rare::ReportAskedAgain);
        run.report_attempts = run.report_attempts.saturating_add(1);
        run.report_asked_at = now;
        let request = fiat::report_request(run.day);
        let key = IdempotencyKey(format!("{run_id}/report"));
        out.instructions.push(Instruction {
            key,
            effect: Effect::CallGateway { request },
        });
        out
    }

    fn run_of(&mut self, key: &IdempotencyKey) -> Option<&mut Run> {
        let run = ReconciliationId::new(split(key)?.0).ok()?;
        self.open.get_mut(&run)
    }

    /// Tells the breaks of every run that all rails have answered.
    fn close(&mut self, out: &mut Consequences) {
        let done =
            |run: &Run| run.onchain.is_some() && run.lightning.is_some() && run.sepa.is_some();
        let ready: Vec<_> = self
            .open
            .iter()
            .filter(|(_, run)| done(run))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ready {
            let Some(run) = self.open.remove(&id) else {
                continue;
            };
            let breaks: Vec<Break> = [run.onchain, run.lightning, run.sepa]
                .into_iter()
                .flatten()
                .flatten()
                .collect();
            out.events
                .extend(breaks.iter().map(|found| Event::BreakFound {
                    run: id.clone(),
                    found: found.clone(),
                }));
            if !breaks.is_empty() {
                sometimes(Rare::BreakFound);
            }
            let count = u32::try_from(breaks.len()).unwrap_or(u32::MAX);
            out.events.push(Event::Reconciled {
                run: id.clone(),
                breaks: count,
            });
            self.finished.insert(id, breaks);
        }
    }
}

/// The references of movements at the gateway that the ledger lacks.
pub fn unknown_transfers(events: &[Event]) -> BTreeSet<String> {
    let unknown = events.iter().filter_map(|event| {
        let Event::BreakFound { found, .. } = event else {
            return None;
        };
        let is_unknown = found.rail == Rail::Sepa && found.kind == BreakKind::UnknownEntry;
        found.reference.clone().filter(|_| is_unknown)
    });
    unknown.collect()
}

fn instruction(run: &ReconciliationId, what: &str, effect: Effect) -> Instruction {
    Instruction {
        key: IdempotencyKey(format!("{run}/{what}")),
        effect,
    }
}

fn split(key: &IdempotencyKey) -> Option<(&str, &str)> {
    key.0.split_once('/')
}

/// Whether asking again can help.
fn is_passing(refused: &ReportRefused) -> bool {
    match refused {
        ReportRefused::NotYet { .. } | ReportRefused::NoAnswer { .. } => true,
        ReportRefused::Malformed { .. }
        | ReportRefused::OtherDay { .. }
        | ReportRefused::OtherCurrency { .. }
        | ReportRefused::DuplicateEntry { .. }
        | ReportRefused::ImpossibleEntry { .. }
        | ReportRefused::WrongSum { .. } => false,
    }
}

fn found(
    rail: Rail,
    kind: BreakKind,
    reference: Option<&str>,
    ledger: i128,
    outside: i128,
) -> Break {
    Break {
        rail,
        kind,
        reference: reference.map(str::to_owned),
        asset: rail.asset(),
        ledger,
        outside,
    }
}

fn unavailable(books: &Books<'_>) -> Break {
    found(
        Rail::Sepa,
        BreakKind::ReportUnavailable,
        None,
        books.ledger.balance(&Account::Gateway),
        0,
    )
}

/// Money in suspense: the ledger can explain none of it. Positive: more than is explained.
fn unexplained(rail: Rail, ledger: &Ledger) -> Option<Break> {
    let suspended = ledger.balance(&Account::Suspense { rail }).saturating_neg();
    (suspended != 0).then(|| found(rail, BreakKind::Unexplained, None, 0, suspended))
}

fn compare_chain(books: &Books<'_>) -> Vec<Break> {
    let rail = Rail::Onchain;
    let differs = books.chain_totals.iter().filter_map(|(wallet, total)| {
        let account = Account::ChainWallet {
            wallet: wallet.clone(),
        };
        let ledger = books.ledger.balance(&account);
        let outside = i128::from(total.0).saturating_mul(1_000);
        let reference = Some(wallet.as_str());
        (ledger != outside)
            .then(|| found(rail, BreakKind::BalanceDiffers, reference, ledger, outside))
    });
    differs.chain(unexplained(rail, books.ledger)).collect()
}

fn compare_lightning(outside: Msat, books: &Books<'_>) -> Vec<Break> {
    let rail = Rail::Lightning;
    let (ledger, outside) = (
        books.ledger.balance(&Account::LightningChannels),
        i128::from(outside.0),
    );
    let surplus = outside.saturating_sub(ledger);
    let flight = &books.lightning;
    let within = (i128::from(flight.outgoing.0).saturating_neg()..=i128::from(flight.incoming.0))
        .contains(&surplus);
    let just_paid = flight
        .invoices
        .iter()
        .any(|invoice| i128::from(invoice.0) == surplus);
    let differs = (!within && !just_paid)
        .then(|| found(rail, BreakKind::BalanceDiffers, None, ledger, outside));
    differs
        .into_iter()
        .chain(unexplained(rail, books.ledger))
        .collect()
}

/// The comparison of one report. `expected` is what the closing balance should be: the ledger's balance, without what it
/// booked after the report, with what the report has and the ledger does not.
struct ReportComparison<'a> {
    report: &'a Report,
    asked_at: Timestamp,
    ends_at: Timestamp,
    on_report: BTreeSet<(&'a str, EntryKind)>,
    expected: i128,
    breaks: Vec<Break>,
}

fn compare_report(report: &Report, asked_at: Timestamp, books: &Books<'_>) -> Vec<Break> {
    let begins = u64::try_from(report.day.begins_at_secs()).unwrap_or(0);
    let begins_at = Timestamp(begins.saturating_mul(1_000));
    let mut comparison = ReportComparison {
        report,
        asked_at,
        ends_at: begins_at.plus(Span::secs(86_400)),
        on_report: BTreeSet::new(),
        expected: books.ledger.balance(&Account::Gateway),
        breaks: Vec::new(),
    };
    let by_reference: BTreeMap<&str, &BookedTransfer> = books
        .transfers
        .iter()
        .map(|transfer| (transfer.reference.as_str(), transfer))
        .collect();
    for entry in &report.entries {
        let transfer = entry
            .reference
            .as_deref()
            .and_then(|reference| by_reference.get(reference));
        comparison.entry(entry, transfer.copied());
    }
    for transfer in &books.transfers {
        comparison.transfer(transfer, begins_at);
    }
    let (expected, closing) = (comparison.expected, i128::from(report.closing_cents));
    if expected != closing {
        comparison.breaks.push(found(
            Rail::Sepa,
            BreakKind::BalanceDiffers,
            None,
            expected,
            closing,
        ));
    }
    comparison
        .breaks
        .extend(unexplained(Rail::Sepa, books.ledger));
    comparison.breaks
}

impl<'a> ReportComparison<'a> {
    fn entry(&mut self, entry: &'a Entry, transfer: Option<&BookedTransfer>) {
        let (amount, reference) = (i128::from(entry.amount_cents), entry.reference.as_deref());
        let known = transfer.and_then(|transfer| {
            let cents = i128::from(transfer.cents);
            match entry.kind {
                EntryKind::Transfer => Some((
                    cents.saturating_neg(),
                    transfer.settled_at,
                    transfer.may_have_moved,
                )),
                EntryKind::Return => Some((cents, transfer.returned_at, transfer.may_have_moved)),
                EntryKind::Deposit => None,
            }
        });
        let name = reference.or(Some(entry.id.as_str()));
        let Some((ours, booked_at, may_have_moved)) =
            known.filter(|(_, at, moved)| at.is_some() || *moved)
        else {
            self.expected = self.expected.saturating_add(amount);
            self.breaks
                .push(found(Rail::Sepa, BreakKind::UnknownEntry, name, 0, amount));
            return;
        };
        let again =
            reference.is_some_and(|reference| !self.on_report.insert((reference, entry.kind)));
        if again {
            self.expected = self.expected.saturating_add(amount);
            self.breaks.push(found(
                Rail::Sepa,
                BreakKind::DuplicateEntry,
                name,
                0,
                amount,
            ));
            return;
        }
        if booked_at.is_none() && may_have_moved {
            self.expected = self.expected.saturating_add(ours);
        }
        if ours != amount {
            self.expected = self.expected.saturating_add(amount).saturating_sub(ours);
            self.breaks.push(found(
                Rail::Sepa,
                BreakKind::AmountDiffers,
                name,
                ours,
                amount,
            ));
        }
    }

    fn transfer(&mut self, transfer: &BookedTransfer, begins_at: Timestamp) {
        let cents = i128::from(transfer.cents);
        let reference = transfer.reference.as_str();
        let absent = |kind| !self.on_report.contains(&(reference, kind));
        let later =
            |at: Timestamp| at >= self.ends_at || (!self.report.complete && at >= self.asked_at);
        let absent_transfer = transfer.settled_at.filter(|_| absent(EntryKind::Transfer));
        let absent_return = transfer.returned_at.filter(|_| absent(EntryKind::Return));
        let missing = |at: &Timestamp| {
            self.report.complete && transfer.created_at >= begins_at && *at < self.ends_at
        };
        let (transfer_missing, return_missing) = (
            absent_transfer.as_ref().is_some_and(missing),
            absent_return.as_ref().is_some_and(missing),
        );
        let (transfer_later, return_later) = (
            absent_transfer.is_some_and(later),
            absent_return.is_some_and(later),
        );
        if transfer_missing || transfer_later {
            self.expected = self.expected.saturating_add(cents);
        }
        if return_missing || return_later {
            self.expected = self.expected.saturating_sub(cents);
        }
        let name = Some(reference);
        if transfer_missing {
            self.breaks.push(found(
                Rail::Sepa,
                BreakKind::MissingEntry,
                name,
                cents.saturating_neg(),
                0,
            ));
        }
        if return_missing {
            self.breaks
                .push(found(Rail::Sepa, BreakKind::MissingEntry, name, cents, 0));
        }
    }
}
