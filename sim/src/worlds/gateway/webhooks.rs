//! Owns the gateway's webhooks: bodies, signatures, attempts and pauses. Does not own their transport: a delivery that
//! was taken stays in flight until the transport tells its answer (or that there was none).

use super::GatewayConfig;
use super::books::{Transfer, TransferStatus};
use super::faults::Faults;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use serde::Serialize;
use std::collections::BTreeSet;

/// Name of the header that carries the signature.
pub const SIGNATURE_HEADER: &str = "Lockstep-Signature";

/// Longest pause between two attempts, in milliseconds: one hour.
const LONGEST_PAUSE_MS: u64 = 3_600_000;

/// How long after the event that overtook it an event comes, in milliseconds.
const OVERTAKEN_BY_MS: u64 = 1_000;

/// How long after an order a forged event about it comes, in milliseconds: before any booking.
const FORGED_AFTER_MS: u64 = 10_000;

/// A webhook to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// The event's id; the same in each attempt and in duplicates.
    pub id: String,
    /// 1 at first.
    pub attempt: u32,
    /// Value of [`SIGNATURE_HEADER`].
    pub signature_header: String,
    /// JSON.
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { due_ms: u64 },
    InFlight,
}

#[derive(Clone, Debug)]
struct Queued {
    id: String,
    body: String,
    attempt: u32,
    /// About which payout.
    reference: String,
    missign_next: bool,
    /// Nobody at the gateway has sent it: one attempt, with a secret of its own.
    forged: bool,
    /// What the next attempt says instead.
    misstate_next: Option<String>,
    state: State,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Webhooks {
    events: u32,
    forged: u32,
    given_up: u32,
    /// Neither acknowledged nor given up.
    queued: Vec<Queued>,
    /// References of payouts of whose latest change no webhook tells.
    silent: BTreeSet<String>,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created: u64,
    data: &'a Transfer,
}

impl Webhooks {
    pub(super) const fn given_up(&self) -> u32 {
        self.given_up
    }

    /// Whether nobody was told of the latest change of the payout's transfer.
    pub(super) fn is_silent(&self, reference: &str) -> bool {
        self.silent.contains(reference)
    }

    /// Asked about, the transfer is told otherwise.
    pub(super) fn was_told(&mut self, reference: &str) {
        self.silent.remove(reference);
    }

    pub(super) fn clock_was_set(&mut self, by_ms: i64) {
        for queued in &mut self.queued {
            if let State::Waiting { due_ms } = &mut queued.state {
                *due_ms = due_ms.saturating_add_signed(by_ms);
            }
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let due = self.queued.iter().filter_map(|queued| match queued.state {
            State::Waiting { due_ms } => Some(due_ms),
            State::InFlight => None,
        });
        due.min()
    }

    /// Queues the event that `transfer` has changed at `at_ms`.
    pub(super) fn queue(&mut self, at_ms: u64, transfer: &Transfer, faults: &mut Faults) {
        let kind = match transfer.status {
            TransferStatus::Accepted => return,
            TransferStatus::Settled => "transfer.settled",
            TransferStatus::Returned => "transfer.returned",
        };
        self.events += 1;
        let reference = &transfer.reference;
        self.silent.remove(reference);
        if faults.drops_webhook(reference) {
            self.silent.insert(reference.clone());
            return;
        }
        let id = format!("evt_{}", self.events);
        let body = super::calls::to_json(&Event {
            id: &id,
            kind,
            created: at_ms / 1_000,
            data: transfer,
        });
        let delay_ms = faults
            .delays_webhook_secs(reference)
            .unwrap_or(0)
            .saturating_mul(1_000);
        let state = match self.order(at_ms, reference, faults) {
            Some(due_ms) => State::Waiting { due_ms },
            None => State::Waiting {
                due_ms: at_ms.saturating_add(delay_ms),
            },
        };
        let missign_next = faults.missigns_webhook(reference);
        let misstate_next = faults.misstates_webhook(reference).then(|| {
            let mut other = transfer.clone();
            other.amount += 1;
            super::calls::to_json(&Event {
                id: &id,
                kind,
                created: at_ms / 1_000,
                data: &other,
            })
        });
        let queued = Queued {
            id,
            body,
            attempt: 0,
            reference: reference.clone(),
            missign_next,
            forged: false,
            misstate_next,
            state,
        };
        if faults.duplicates_webhook(reference) {
            self.queued.push(queued.clone());
        }
        self.queued.push(queued);
    }

    /// Queues the news of a forger that a transfer, taken at `at_ms`, is booked: what would come after the booking comes before.
    pub(super) fn forge(&mut self, at_ms: u64, transfer: &Transfer) {
        self.forged += 1;
        let id = format!("evt_forged_{}", self.forged);
        let told = Transfer {
            status: TransferStatus::Settled,
            version: transfer.version + 1,
            ..transfer.clone()
        };
        let due_ms = at_ms.saturating_add(FORGED_AFTER_MS);
        let body = super::calls::to_json(&Event {
            id: &id,
            kind: "transfer.settled",
            created: due_ms / 1_000,
            data: &told,
        });
        self.queued.push(Queued {
            id,
            body,
            attempt: 0,
            reference: told.reference,
            missign_next: true,
            forged: true,
            misstate_next: None,
            state: State::Waiting { due_ms },
        });
    }

    /// When an event is due whose order with others about the same payout is disturbed: the first one waits for the
    /// second, which sends it on its way right after itself.
    fn order(&mut self, at_ms: u64, reference: &str, faults: &mut Faults) -> Option<u64> {
        if !faults.holds_webhook(reference) {
            return None;
        }
        let held = self
            .queued
            .iter_mut()
            .find(|queued| queued.reference == reference && queued.attempt == 0 && !queued.forged);
        let Some(held) = held else {
            return Some(at_ms.saturating_add(LONGEST_PAUSE_MS));
        };
        held.state = State::Waiting {
            due_ms: at_ms.saturating_add(OVERTAKEN_BY_MS),
        };
        faults.reorders_webhooks(reference);
        None
    }

    /// Everything due, earliest first.
    pub(super) fn take_due(&mut self, now_ms: u64, secret: &str) -> Vec<WebhookDelivery> {
        let mut due: Vec<(u64, &mut Queued)> = Vec::new();
        for queued in &mut self.queued {
            match queued.state {
                State::Waiting { due_ms } if due_ms <= now_ms => due.push((due_ms, queued)),
                State::Waiting { .. } | State::InFlight => {}
            }
        }
        due.sort_by_key(|(due_ms, _)| *due_ms);
        due.into_iter()
            .map(|(_, queued)| queued.send(now_ms, secret))
            .collect()
    }

    pub(super) fn answered(
        &mut self,
        id: &str,
        status: Option<u16>,
        now_ms: u64,
        config: &GatewayConfig,
    ) {
        let in_flight = |queued: &Queued| queued.id == id && queued.state == State::InFlight;
        let Some(position) = self.queued.iter().position(in_flight) else {
            return;
        };
        if status.is_some_and(|status| (200..300).contains(&status)) {
            self.queued.remove(position);
            return;
        }
        if self.queued[position].forged {
            self.queued.remove(position);
            return;
        }
        let attempt = self.queued[position].attempt;
        if attempt >= config.webhook_attempts {
            let given_up = self.queued.remove(position);
            self.silent.insert(given_up.reference);
            self.given_up += 1;
            return;
        }
        let doublings = attempt.saturating_sub(1).min(31);
        let pause_ms = config
            .webhook_backoff_secs
            .saturating_mul(1_000)
            .saturating_mul(1 << doublings);
        let due_ms = now_ms.saturating_add(pause_ms.min(LONGEST_PAUSE_MS));
        self.queued[position].state = State::Waiting { due_ms };
    }
}

impl Queued {
    fn send(&mut self, now_ms: u64, secret: &str) -> WebhookDelivery {
        self.attempt += 1;
        self.state = State::InFlight;
        let wrong = format!("{secret}, but another one");
        let secret = if std::mem::take(&mut self.missign_next) {
            &wrong
        } else {
            secret
        };
        let body = self
            .misstate_next
            .take()
            .unwrap_or_else(|| self.body.clone());
        WebhookDelivery {
            id: self.id.clone(),
            attempt: self.attempt,
            signature_header: sign(secret, now_ms / 1_000, &body),
            body,
        }
    }
}

/// The value of [`SIGNATURE_HEADER`].
pub(in crate::worlds) fn sign(secret: &str, now_secs: u64, body: &str) -> String {
    let mut engine = HmacEngine::<sha256::Hash>::new(secret.as_bytes());
    engine.input(format!("{now_secs}.{body}").as_bytes());
    let mac: Hmac<sha256::Hash> = Hmac::from_engine(engine);
    format!("t={now_secs},v1={mac:x}")
}
