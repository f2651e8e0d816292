//! Owns the fiat gateway of both worlds: one stateful model of a bank that takes SEPA credit transfers over HTTP, calls
//! back with webhooks and reports its books by day. Pure and synchronous: time comes in, bytes come in and go out, and
//! nothing is drawn at random. Does not own sockets and waiting (the worlds' transports).
//!
//! Fault model: each fault is armed for one payment reference (or for the next connections) and counts its effects.
//! Requests can be refused at the door, fail with 500 before any effect, be rejected, be answered late, or have their
//! effect and lose the answer. Webhooks can be doubled, late, lost, wrongly signed or forged. Transfers can come back, before or
//! after they were booked. The books themselves are never wrong: they are the ground truth of the fiat rail.

mod books;
mod calls;
mod checks;
mod faults;
mod webhooks;

pub use books::{EntryKind, LedgerEntry, Transfer, TransferStatus};
pub use calls::{Exchange, Fate, Request, Response};
pub use checks::utc_day;
pub(in crate::worlds) use faults::Faults as HttpFaults;
pub use faults::{ArmedFault, GatewayBug, GatewayFault};
pub(in crate::worlds) use webhooks::sign;
pub use webhooks::{SIGNATURE_HEADER, WebhookDelivery};

use crate::faults::FaultId;
use books::Books;
use calls::Calls;
use faults::Faults;
use std::sync::{Arc, Mutex};
use webhooks::Webhooks;

/// The gateway's own rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Expected after `Authorization: Bearer `.
    pub token: String,
    /// Signs webhooks.
    pub webhook_secret: String,
    /// What the operator's account holds at first, in cents.
    pub opening_balance_cents: i64,
    /// From acceptance to booking, in seconds. The account is debited when a transfer is booked, not before; until then
    /// its amount is reserved and not available to other transfers.
    pub settle_after_secs: u64,
    /// How long an idempotency key is remembered, in seconds.
    pub idempotency_secs: u64,
    /// Longest body that is read, in bytes.
    pub body_limit_bytes: usize,
    /// How often a webhook is sent at most.
    pub webhook_attempts: u32,
    /// Wait before the second attempt, in seconds; doubles with each further one.
    pub webhook_backoff_secs: u64,
    /// A planted bug, for tests of the checkers.
    pub bug: Option<GatewayBug>,
}

impl GatewayConfig {
    /// The rules that both worlds use: booking after a minute, keys remembered for a day, 64 KiB bodies, and ten
    /// webhook attempts from 5 s on (about 43 minutes in all, so that a run sees the limit within an hour).
    pub fn new(token: &str, webhook_secret: &str, opening_balance_cents: i64) -> Self {
        Self {
            token: token.to_owned(),
            webhook_secret: webhook_secret.to_owned(),
            opening_balance_cents,
            settle_after_secs: 60,
            idempotency_secs: 86_400,
            body_limit_bytes: 65_536,
            webhook_attempts: 10,
            webhook_backoff_secs: 5,
            bug: None,
        }
    }
}

/// The gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    config: GatewayConfig,
    books: Books,
    calls: Calls,
    webhooks: Webhooks,
    faults: Faults,
}

impl Gateway {
    /// A gateway with an empty book and the opening balance.
    pub fn new(config: GatewayConfig) -> Self {
        let books = Books::new(config.opening_balance_cents);
        Self {
            config,
            books,
            calls: Calls::default(),
            webhooks: Webhooks::default(),
            faults: Faults::default(),
        }
    }

    /// Arms a fault; its effects are counted in [`Gateway::faults`].
    pub fn arm(&mut self, fault: GatewayFault) {
        self.faults.arm(fault, None);
    }

    /// Arms a fault whose effects are counted under `id` in the run's record, too.
    pub fn arm_counted(&mut self, fault: GatewayFault, id: FaultId) {
        self.faults.arm(fault, Some(id));
    }

    /// Where the run counts the effects of faults.
    pub fn count_in(&mut self, run: Arc<Mutex<crate::faults::Faults>>) {
        self.faults.count_in(run);
    }

    /// Every fault ever armed, with how often it took effect, in the order of arming.
    pub fn faults(&self) -> &[ArmedFault] {
        self.faults.all()
    }

    /// Books money that comes in from elsewhere. Our ledger does not hear of it: for reconciliation, a planted break.
    pub fn deposit(&mut self, now_ms: u64, amount_cents: u32) {
        self.advance(now_ms);
        self.books.deposit(now_ms, amount_cents);
    }

    /// When the gateway next does something by itself, or `None`. Milliseconds since 1970.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.books
            .next_due_ms()
            .into_iter()
            .chain(self.webhooks.next_due_ms())
            .min()
    }

    /// Its clock was set by so many milliseconds: what is planned keeps its distance in time.
    pub fn clock_was_set(&mut self, by_ms: i64) {
        self.books.clock_was_set(by_ms);
        self.webhooks.clock_was_set(by_ms);
    }

    /// Does what is due and gives the webhooks to send now. Each must be answered by [`Gateway::webhook_answered`].
    pub fn take_due(&mut self, now_ms: u64) -> Vec<WebhookDelivery> {
        self.advance(now_ms);
        self.webhooks.take_due(now_ms, &self.config.webhook_secret)
    }

    /// Tells what became of a webhook: the status, or `None` if there was no answer. Anything but 2xx means that it is
    /// sent again after a pause, up to the configured number of attempts.
    pub fn webhook_answered(&mut self, id: &str, status: Option<u16>, now_ms: u64) {
        self.webhooks.answered(id, status, now_ms, &self.config);
    }

    /// Events of which the gateway has given up telling us.
    pub fn undelivered_webhooks(&self) -> u32 {
        self.webhooks.given_up()
    }

    /// Answers a request at `now_ms` (milliseconds since 1970) and records the exchange.
    pub fn handle(&mut self, now_ms: u64, request: &Request) -> Response {
        self.advance(now_ms);
        calls::handle(self, now_ms, request)
    }

    /// Each request with its answer, in order.
    pub fn exchanges(&self) -> &[Exchange] {
        self.calls.exchanges()
    }

    /// Ground truth: what is booked on the operator's account, in cents.
    pub fn balance_cents(&self) -> i64 {
        self.books.balance_cents()
    }

    /// Ground truth: what is booked on the operator's account, and what was credited to it since the opening, in cents.
    pub fn account(&self) -> (i64, i64) {
        let credits = self.entries().iter().map(|entry| entry.amount.max(0));
        (self.balance_cents(), credits.sum())
    }

    /// Ground truth: what came back to the operator's account without a word: the webhook is lost, and nobody has asked since.
    /// In cents.
    pub fn untold_cents(&self) -> i64 {
        let returns = self
            .entries()
            .iter()
            .filter(|entry| entry.kind == EntryKind::Return);
        let untold = returns.filter(|entry| {
            let reference = entry.reference.as_deref();
            reference.is_some_and(|reference| self.webhooks.is_silent(reference))
        });
        untold.map(|entry| entry.amount).sum()
    }

    /// Ground truth: every transfer in order of acceptance.
    pub fn transfers(&self) -> &[Transfer] {
        self.books.transfers()
    }

    /// Ground truth: every line of the operator's account.
    pub fn entries(&self) -> &[LedgerEntry] {
        self.books.entries()
    }

    /// Ground truth: how many transfers were accepted for this reference. More than one is a double payment.
    pub fn executed_count(&self, reference: &str) -> usize {
        self.books
            .transfers()
            .iter()
            .filter(|transfer| transfer.reference == reference)
            .count()
    }

    /// Books what is due, earliest first, and queues a webhook for each change.
    fn advance(&mut self, now_ms: u64) {
        while let Some((at_ms, changed)) = self.books.advance_one(now_ms) {
            self.webhooks.queue(at_ms, &changed, &mut self.faults);
        }
    }
}

#[cfg(test)]
mod tests;
