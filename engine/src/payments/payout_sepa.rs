//! Owns the states of a payout over SEPA: the order to the gateway, its repetition while the outcome is unknown, and
//! what webhooks and answers to questions tell. Does not own the gateway's formats (`fiat`).
//!
//! One order has one key and one body for ever, so repeating it after a stop, before or after it left, is safe. When the
//! attempts of the policy are used up the gateway is asked by reference before the order is sent again (failure F10).
//! What the gateway tells is ordered by the transfer's version, whichever way it comes (F1, F2, F3).

use super::desk::Desk;
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::fiat::{
    self, Iban, StatusAnswer, Transfer, TransferAnswer, TransferOrder, TransferStatus,
};
use crate::fx;
use crate::id::{PartyId, PaymentId};
use crate::ledger::{Account, Hold, HoldOrder};
use crate::money::{Asset, Eur, Minor, Msat, Quantity, Rail};
use crate::planted::Bug;
use crate::policy::Policy;
use crate::rail::{Effect, HttpFailure};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use serde::Serialize;

/// A payout over SEPA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SepaPayout {
    /// Its id, and the gateway's reference.
    pub id: PaymentId,
    /// Whose money.
    pub party: PartyId,
    /// The payee's account.
    pub iban: String,
    /// The payee's name.
    pub name: String,
    /// What the payee gets.
    pub amount: Minor<Eur>,
    /// Bitcoin sold for it; none if it is paid from the party's euro.
    pub sold: Option<Msat>,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// When the ledger booked it.
    pub settled_at: Option<Timestamp>,
    /// When the ledger booked its return.
    pub returned_at: Option<Timestamp>,
    overdue: bool,
    /// Orders sent.
    attempts: u32,
    /// Questions asked.
    polls: u32,
    /// A question is planned or on its way.
    polling: bool,
    /// A question is on its way.
    asking: bool,
    /// The order is on its way.
    in_flight: bool,
    /// Some attempt may have reached the gateway.
    maybe_seen: bool,
    /// How often in a row, overdue and with nothing on its way, the gateway said that it has no such transfer.
    not_there: u32,
    /// The newest that the gateway told.
    pub transfer: Option<Transfer>,
    /// Where it stands.
    pub state: SepaPayoutState,
}

/// Where a payout over SEPA stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SepaPayoutState {
    /// The gateway has not said that it took the order.
    Ordering,
    /// The gateway took it.
    Accepted,
    /// Paid. It can still be returned.
    Settled,
    /// Final: rejected, returned or never sent.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

use SepaPayoutState as State;

/// Answers "no such transfer", one question apart, after which an overdue order counts as never taken.
const ANSWERS_TO_GIVE_UP: u32 = 2;

/// How news of a transfer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Answer,
    Webhook,
}

/// The hold of a payout: its amount, or the bitcoin that is sold for it.
pub(super) fn hold(
    policy: &Policy,
    order: &Payout,
    amount: Minor<Eur>,
) -> Result<HoldOrder, fx::ConvertError> {
    let units = match order.funded_by {
        Asset::Eur => amount.units(),
        Asset::Btc => fx::convert(amount, policy.rate)?.0,
    };
    let hold = Hold {
        party: order.party.clone(),
        asset: order.funded_by,
        units,
        expires_at: None,
    };
    Ok(HoldOrder {
        payment: order.payment.clone(),
        hold,
    })
}

impl SepaPayout {
    pub(super) fn create(
        desk: &mut Desk<'_>,
        order: &Payout,
        iban: &Iban,
        name: &str,
        amount: Minor<Eur>,
    ) -> SepaPayout {
        let mut hold =
            hold(desk.policy, order, amount).expect("the conversion was checked on admission");
        if desk.has_bug(Bug::HoldWrongUnit) {
            hold.hold.units = amount.units();
        }
        let reserved = Quantity {
            asset: order.funded_by,
            units: hold.hold.units,
        };
        desk.place_hold(hold);
        desk.emit(Event::PayoutReserved {
            payment: order.payment.clone(),
            party: order.party.clone(),
            rail: Rail::Sepa,
            quantity: order.quantity,
            reserved,
        });
        let due_at = desk.now.plus(order.deadline);
        let mut payout = SepaPayout {
            id: order.payment.clone(),
            party: order.party.clone(),
            iban: iban.as_str().to_owned(),
            name: name.to_owned(),
            amount,
            sold: reserved.as_msat(),
            created_at: desk.now,
            due_at,
            settled_at: None,
            returned_at: None,
            overdue: false,
            attempts: 0,
            polls: 0,
            polling: false,
            asking: false,
            in_flight: false,
            maybe_seen: false,
            not_there: 0,
            transfer: None,
            state: State::Ordering,
        };
        payout.send(desk);
        desk.wake(&payout.id, "deadline", due_at);
        desk.emit(Event::PayoutDispatched {
            payment: payout.id.clone(),
        });
        payout
    }

    fn send(&mut self, desk: &mut Desk<'_>) {
        self.attempts = self.attempts.saturating_add(1);
        self.in_flight = true;
        let iban = Iban::parse(&self.iban).expect("the IBAN was checked on admission");
        let (mut reference, mut what) = (self.id.clone(), "transfer".to_owned());
        let renames = desk.has_bug(Bug::PayTwiceOnRetry) || desk.has_bug(Bug::ReissueUnderFreshKey);
        if renames && self.attempts > 1 {
            what = format!("transfer-{}", self.attempts);
            reference =
                PaymentId::new(format!("{}.{}", self.id, self.attempts)).unwrap_or(reference);
        }
        let order = TransferOrder {
            reference: &reference,
            amount: self.amount,
            iban: &iban,
            name: &self.name,
        };
        let request = fiat::transfer_request(&order);
        desk.instruct(&self.id, &what, Effect::CallGateway { request });
    }

    /// The gateway answered an order (`transfer`) or a question (`status-n`).
    pub(super) fn on_response(&mut self, desk: &mut Desk<'_>, what: &str, status: u16, body: &str) {
        if what.starts_with("transfer") {
            self.in_flight = false;
            match fiat::parse_transfer_response(status, body) {
                TransferAnswer::Accepted(transfer) => {
                    if self.transfer.is_some() {
                        sometimes(Rare::AnswerAfterWebhook);
                    }
                    self.on_news(desk, Via::Answer, transfer);
                }
                TransferAnswer::Rejected { code } => self.on_rejected(desk, code),
                TransferAnswer::Unclear { .. } => self.on_unclear(desk, true),
            }
        } else {
            (self.polling, self.asking) = (false, false);
            match fiat::parse_status_response(&self.id, status, body) {
                StatusAnswer::Known(transfer) => {
                    if self.state == State::Ordering {
                        sometimes(Rare::UnknownResolvedByAsking);
                    }
                    self.on_news(desk, Via::Answer, transfer);
                }
                StatusAnswer::Unknown => self.on_not_there(desk),
                StatusAnswer::Several { .. } => {
                    sometimes(Rare::SeveralTransfers);
                    self.not_there = 0;
                    self.plan_poll(desk);
                }
                StatusAnswer::Unclear { .. } => self.plan_poll(desk),
            }
        }
    }

    /// The gateway did not answer.
    pub(super) fn on_no_response(&mut self, desk: &mut Desk<'_>, what: &str, failure: HttpFailure) {
        if what.starts_with("transfer") {
            self.in_flight = false;
            let maybe_seen = match failure {
                HttpFailure::NotConnected => false,
                HttpFailure::ConnectionLost | HttpFailure::TimedOut | HttpFailure::Malformed => {
                    true
                }
            };
            self.on_unclear(desk, maybe_seen);
        } else {
            (self.polling, self.asking) = (false, false);
            self.plan_poll(desk);
        }
    }

    /// An effect was not performed to its end as far as the host knows: an order may have left all the same.
    pub(super) fn on_unavailable(&mut self, desk: &mut Desk<'_>, what: &str) {
        if what.starts_with("transfer") {
            self.maybe_seen = true;
            if desk.has_bug(Bug::ReissueUnderFreshKey) {
                self.send(desk);
            }
        }
    }

    /// A timer of this payout: `retry-n` or `poll-n`. When it is overdue the gateway is only asked any more.
    pub(super) fn on_timer(&mut self, desk: &mut Desk<'_>, what: &str) {
        if what.starts_with("retry") && self.state == State::Ordering && !self.in_flight {
            if self.overdue {
                self.plan_poll(desk);
            } else {
                self.send(desk);
            }
        } else if what.starts_with("poll")
            && matches!(self.state, State::Ordering | State::Accepted)
        {
            self.question(desk);
        }
    }

    /// The gateway's report has a movement of this payout that the ledger lacks: asks at once, also when it was final.
    pub(super) fn ask(&mut self, desk: &mut Desk<'_>) {
        if !self.asking && !desk.has_bug(Bug::NeverAsk) {
            sometimes(Rare::AskedAboutMovement);
            self.question(desk);
        }
    }

    fn question(&mut self, desk: &mut Desk<'_>) {
        self.asking = true;
        self.polls = self.polls.saturating_add(1);
        let request = fiat::status_request(&self.id);
        desk.instruct(
            &self.id,
            &format!("status-{}", self.polls),
            Effect::CallGateway { request },
        );
    }

    /// The order was not answered well. `maybe_seen`: the gateway may have taken it.
    fn on_unclear(&mut self, desk: &mut Desk<'_>, maybe_seen: bool) {
        if self.state != State::Ordering {
            return;
        }
        self.maybe_seen |= maybe_seen;
        if self.maybe_seen {
            sometimes(Rare::OutcomeUnknown);
            desk.emit(Event::OutcomeUnknown {
                payment: self.id.clone(),
            });
            if desk.has_bug(Bug::CompensateUnknown) {
                self.give_up(desk, FailureReason::Expired);
                return;
            }
        } else if self.overdue {
            self.give_up(desk, FailureReason::Expired);
            return;
        }
        match desk.policy.retry.after(self.attempts) {
            Some(span) => desk.wake(
                &self.id,
                &format!("retry-{}", self.attempts),
                desk.now.plus(span),
            ),
            None => {
                sometimes(Rare::AttemptsUsedUp);
                self.plan_poll(desk);
            }
        }
    }

    /// Asked, the gateway does not know the transfer: the order is sent again under its key while there is time. Later,
    /// told so twice with the time between two questions, it is given up: nothing is on its way any more.
    fn on_not_there(&mut self, desk: &mut Desk<'_>) {
        match self.state {
            State::Ordering if !self.overdue && !self.in_flight => {
                sometimes(Rare::OrderedAfterAsking);
                self.send(desk);
            }
            State::Ordering if !self.in_flight => {
                self.not_there = self.not_there.saturating_add(1);
                if self.not_there >= ANSWERS_TO_GIVE_UP {
                    sometimes(Rare::NotThereTwice);
                    self.give_up(desk, FailureReason::Expired);
                } else {
                    sometimes(Rare::NotThereOnce);
                    self.plan_poll(desk);
                }
            }
            State::Ordering | State::Accepted => self.plan_poll(desk),
            State::Settled | State::Failed { .. } => {}
        }
    }

    fn on_rejected(&mut self, desk: &mut Desk<'_>, code: String) {
        if self.state == State::Ordering {
            if self.maybe_seen {
                sometimes(Rare::RejectedAfterUnclear);
            }
            self.give_up(desk, FailureReason::GatewayRejected(code));
        }
    }

    fn plan_poll(&mut self, desk: &mut Desk<'_>) {
        let open =
            matches!(self.state, State::Ordering | State::Accepted) && !desk.has_bug(Bug::NeverAsk);
        if open && !self.polling && self.polls < desk.policy.max_polls {
            self.polling = true;
            let at = desk.now.plus(desk.policy.poll_interval);
            desk.wake(
                &self.id,
                &format!("poll-{}", self.polls.saturating_add(1)),
                at,
            );
        }
    }

    /// The gateway told where the transfer stands. Only what fits and is newer than what is known counts.
    pub(super) fn on_news(&mut self, desk: &mut Desk<'_>, via: Via, transfer: Transfer) {
        self.not_there = 0;
        if desk.has_bug(Bug::AcceptWrongAmount) {
            self.amount = transfer.amount;
        }
        let ignored = match (
            transfer.check_matches(&self.id, self.amount),
            &self.transfer,
        ) {
            (Err(mismatch), _) => {
                sometimes(Rare::NewsDoesNotFit);
                Some(mismatch.to_string())
            }
            (Ok(()), Some(_)) if desk.has_bug(Bug::RepeatDuplicates) => None,
            (Ok(()), Some(_)) if desk.has_bug(Bug::ApplyOlderVersion) => None,
            (Ok(()), Some(known)) if !transfer.is_newer_than(known) => {
                sometimes(Rare::OldNews);
                Some(format!(
                    "version {} of {} is not newer than {} of {}",
                    transfer.version, transfer.id, known.version, known.id
                ))
            }
            (Ok(()), _) => None,
        };
        if ignored.is_none() && via == Via::Webhook && self.in_flight {
            sometimes(Rare::WebhookBeforeAnswer);
        }
        match (ignored, via) {
            (Some(reason), Via::Webhook) => desk.emit(Event::WebhookIgnored { reason }),
            (Some(_), Via::Answer) => {}
            (None, Via::Webhook | Via::Answer) => self.apply(desk, transfer),
        }
        self.plan_poll(desk);
    }

    fn apply(&mut self, desk: &mut Desk<'_>, transfer: Transfer) {
        if self.transfer.is_none() {
            let gateway_reference = transfer.id.clone();
            desk.emit(Event::TransferAccepted {
                payment: self.id.clone(),
                gateway_reference,
            });
        }
        if self.state == State::Ordering {
            self.state = State::Accepted;
        }
        let (status, reason) = (transfer.status, transfer.return_reason.clone());
        self.transfer = Some(transfer);
        match status {
            TransferStatus::Accepted if desk.has_bug(Bug::SettleAtAcceptance) => {
                self.on_settled(desk)
            }
            TransferStatus::Accepted => {}
            TransferStatus::Settled => self.on_settled(desk),
            TransferStatus::Returned => self.on_returned(desk, reason.unwrap_or_default()),
        }
    }

    fn on_settled(&mut self, desk: &mut Desk<'_>) {
        if desk.has_bug(Bug::NeverSettle) {
            return;
        }
        match self.state {
            State::Ordering | State::Accepted => {
                let units = self.units();
                let mut lines = self.lines(1);
                if desk.has_bug(Bug::LoseCent) {
                    halve_twice(&mut lines);
                }
                desk.post_hold(&self.id, units, "payout over SEPA", lines);
                self.state = State::Settled;
                self.settled_at = Some(desk.now);
                let payment = self.id.clone();
                if let Some(sold_msat) = self.sold {
                    desk.emit(Event::Converted {
                        payment: payment.clone(),
                        sold_msat,
                        bought: self.amount,
                    });
                }
                let quantity = Quantity::eur(self.amount);
                desk.emit(Event::PaymentSettled {
                    payment,
                    quantity,
                    fee_msat: Msat(0),
                });
            }
            State::Failed { .. } if self.settled_at.is_none() => {
                sometimes(Rare::BookedAfterFailure);
                self.settled_at = Some(desk.now);
                desk.post(&self.id, "settled after failure", self.suspense_lines(1));
            }
            State::Settled if desk.has_bug(Bug::RepeatDuplicates) => {
                desk.post(&self.id, "payout over SEPA", self.lines(1));
            }
            State::Settled | State::Failed { .. } => {}
        }
    }

    /// Sent back. What was booked is reversed line by line: sold bitcoin goes back at the rate at which it was sold.
    fn on_returned(&mut self, desk: &mut Desk<'_>, reason: String) {
        match self.state {
            State::Ordering | State::Accepted => {
                sometimes(Rare::ReturnedBeforeBooking);
                self.give_up(desk, FailureReason::Returned(reason));
            }
            State::Settled if desk.has_bug(Bug::IgnoreReturn) => {}
            State::Settled => {
                sometimes(Rare::ReturnedAfterBooking);
                self.returned_at = Some(desk.now);
                desk.post(&self.id, "payout over SEPA returned", self.lines(-1));
                self.fail(desk, FailureReason::Returned(reason));
            }
            State::Failed { .. } if self.settled_at.is_some() && self.returned_at.is_none() => {
                self.returned_at = Some(desk.now);
                desk.post(
                    &self.id,
                    "settled after failure, returned",
                    self.suspense_lines(-1),
                );
            }
            State::Failed { .. } => {}
        }
    }

    pub(super) fn on_deadline(&mut self, desk: &mut Desk<'_>) {
        self.overdue = true;
        match self.state {
            State::Ordering if !self.maybe_seen && !self.in_flight => {
                sometimes(Rare::DeadlineUnseen);
                self.give_up(desk, FailureReason::Expired);
            }
            State::Ordering | State::Accepted => {
                sometimes(Rare::DeadlineWhileUnknown);
                desk.emit(Event::OutcomeUnknown {
                    payment: self.id.clone(),
                });
            }
            State::Settled | State::Failed { .. } => {}
        }
    }

    /// Nothing moved: the hold goes back to its party.
    fn give_up(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        desk.void_hold(&self.id);
        self.fail(desk, reason);
    }

    fn fail(&mut self, desk: &mut Desk<'_>, reason: FailureReason) {
        self.state = State::Failed {
            reason: reason.clone(),
        };
        desk.emit(Event::PaymentFailed {
            payment: self.id.clone(),
            reason,
        });
    }

    fn units(&self) -> u64 {
        self.sold.map_or(self.amount.units(), |sold| sold.0)
    }

    /// `sign` 1 books the payout, -1 takes it back.
    fn lines(&self, sign: i128) -> Vec<(Account, i128)> {
        let cents = i128::from(self.amount.units()).saturating_mul(sign);
        let party = |asset| Account::Party {
            party: self.party.clone(),
            asset,
        };
        match self.sold {
            None => vec![
                (party(Asset::Eur), cents),
                (Account::Gateway, cents.saturating_neg()),
            ],
            Some(sold) => {
                let msat = i128::from(sold.0).saturating_mul(sign);
                vec![
                    (party(Asset::Btc), msat),
                    (Account::Fx { asset: Asset::Btc }, msat.saturating_neg()),
                    (Account::Fx { asset: Asset::Eur }, cents),
                    (Account::Gateway, cents.saturating_neg()),
                ]
            }
        }
    }

    fn suspense_lines(&self, sign: i128) -> Vec<(Account, i128)> {
        let cents = i128::from(self.amount.units()).saturating_mul(sign);
        vec![
            (Account::Suspense { rail: Rail::Sepa }, cents),
            (Account::Gateway, cents.saturating_neg()),
        ]
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            State::Ordering if self.overdue || self.maybe_seen => Status::Unknown,
            State::Accepted if self.overdue => Status::Unknown,
            State::Ordering | State::Accepted => Status::Dispatched,
            State::Settled => Status::Settled,
            State::Failed { .. } => Status::Failed,
        }
    }
}

/// What [`Bug::LoseCent`] does to the cents of a transaction.
fn halve_twice(lines: &mut [(Account, i128)]) {
    for (account, amount) in lines {
        if account.asset() == Asset::Eur {
            *amount = amount
                .checked_div(2)
                .and_then(|half| half.checked_mul(2))
                .unwrap_or(*amount);
        }
    }
}
