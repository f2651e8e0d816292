//! Owns the states of a payout over Lightning. It is on its way from the moment it exists, and only the node's word
//! ends it: an unknown fate is waited for, never compensated (failure F55). Does not own routes and retries (the node).
//!
//! If the process stops before the instruction leaves, it is issued again under its key; if after, the node, which pays
//! one hash once, tells the fate of the first attempt.

use super::desk::{Desk, msat, party_btc};
use super::order::Payout;
use super::record::Status;
use crate::event::{Event, FailureReason};
use crate::id::{PartyId, PaymentId};
use crate::ledger::{Account, Hold, HoldOrder};
use crate::lightning::{self, CheckedInvoice};
use crate::money::{Asset, Msat, Quantity, Rail};
use crate::planted::Bug;
use crate::policy::Policy;
use crate::rail::{Effect, LightningFailure};
use crate::rare::{Rare, sometimes};
use crate::time::{Span, Timestamp};
use serde::Serialize;

/// A payout over Lightning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LightningPayout {
    /// Its id.
    pub id: PaymentId,
    /// Whose money.
    pub party: PartyId,
    /// BOLT 11.
    pub invoice: String,
    /// Of the invoice.
    pub payment_hash: [u8; 32],
    /// What the payee gets.
    pub amount: Msat,
    /// The most for routing fees; reserved with the amount.
    pub max_fee: Msat,
    /// It should be final by then.
    pub due_at: Timestamp,
    /// That time came without a word: the fate is unknown.
    overdue: bool,
    /// Sent after it was told to have failed; booked in suspense.
    sent_after_failure: bool,
    /// Where it stands.
    pub state: LightningPayoutState,
}

/// Where a payout over Lightning stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LightningPayoutState {
    /// On its way.
    Dispatched,
    /// Final: delivered.
    Settled {
        /// Proof of payment.
        preimage: [u8; 32],
        /// Routing fees.
        fee: Msat,
    },
    /// Final: not delivered.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

use LightningPayoutState as State;

/// The hold of a payout: its amount and the most that its fees may be.
pub(super) fn hold(policy: &Policy, order: &Payout) -> HoldOrder {
    let amount = Msat(order.quantity.units);
    let units = amount.0.saturating_add(max_fee(policy, order).0);
    let hold = Hold {
        party: order.party.clone(),
        asset: Asset::Btc,
        units,
        expires_at: None,
    };
    HoldOrder {
        payment: order.payment.clone(),
        hold,
    }
}

fn in_secs(span: Span) -> u32 {
    u32::try_from(span.0.div_ceil(1_000)).unwrap_or(u32::MAX)
}

fn max_fee(policy: &Policy, order: &Payout) -> Msat {
    let limit = policy.lightning_fee;
    let usual = || {
        let amount = Msat(order.quantity.units);
        lightning::max_fee(amount, limit.floor_msat, limit.parts_per_million)
    };
    order.terms.max_fee_msat.unwrap_or_else(usual)
}

impl LightningPayout {
    pub(super) fn create(
        desk: &mut Desk<'_>,
        order: &Payout,
        text: &str,
        invoice: &CheckedInvoice,
    ) -> LightningPayout {
        let hold = hold(desk.policy, order);
        let borne = max_fee(desk.policy, order);
        LightningPayout::dispatch(desk, order, (text, invoice), (hold, borne))
    }

    /// As `create`, but the operator bears the routing fee.
    pub(super) fn create_free(
        desk: &mut Desk<'_>,
        order: &Payout,
        text: &str,
        invoice: &CheckedInvoice,
    ) -> LightningPayout {
        let mut hold = hold(desk.policy, order);
        hold.hold.units = order.quantity.units;
        LightningPayout::dispatch(desk, order, (text, invoice), (hold, Msat(0)))
    }

    /// `borne`: the most that the party bears of the routing fee.
    fn dispatch(
        desk: &mut Desk<'_>,
        order: &Payout,
        (text, invoice): (&str, &CheckedInvoice),
        (hold, borne): (HoldOrder, Msat),
    ) -> LightningPayout {
        let reserved = Quantity {
            asset: Asset::Btc,
            units: hold.hold.units,
        };
        desk.place_hold(hold);
        let payment = order.payment.clone();
        desk.emit(Event::PayoutReserved {
            payment: payment.clone(),
            party: order.party.clone(),
            rail: Rail::Lightning,
            quantity: order.quantity,
            reserved,
        });
        let amount = Msat(order.quantity.units);
        let (max_fee, due_at) = (max_fee(desk.policy, order), desk.now.plus(order.deadline));
        desk.instruct(
            &payment,
            "pay",
            Effect::PayInvoice {
                invoice: text.to_owned(),
                amount_msat: invoice.asks.is_none().then_some(amount),
                max_fee_msat: max_fee,
                retry_secs: order.terms.retry_for.map(in_secs),
            },
        );
        desk.wake(&payment, "deadline", due_at);
        desk.emit(Event::PayoutDispatched {
            payment: payment.clone(),
        });
        LightningPayout {
            id: payment,
            party: order.party.clone(),
            invoice: text.to_owned(),
            payment_hash: invoice.payment_hash,
            amount,
            max_fee: borne,
            due_at,
            overdue: false,
            sent_after_failure: false,
            state: State::Dispatched,
        }
    }

    /// Delivered; the proof was checked on admission. A fee above the limit is borne by the operator.
    pub(super) fn on_sent(&mut self, desk: &mut Desk<'_>, preimage: [u8; 32], fee: Msat) {
        desk.answered(&self.id, "pay");
        if desk.has_bug(Bug::NeverSettle) {
            return;
        }
        let charged = Msat(fee.0.min(self.max_fee.0));
        let borne = Msat(fee.0.saturating_sub(charged.0));
        let from_party = self.amount.0.saturating_add(charged.0);
        let all = i128::from(from_party).saturating_add(msat(borne));
        if borne > Msat(0) {
            sometimes(Rare::FeeAboveLimit);
        }
        let lines = |debtor: Account| {
            vec![
                (Account::LightningChannels, all.saturating_neg()),
                (debtor, i128::from(from_party)),
                (
                    Account::Fees {
                        rail: Rail::Lightning,
                    },
                    msat(borne),
                ),
            ]
        };
        match self.state {
            State::Dispatched => {
                desk.post_hold(
                    &self.id,
                    from_party,
                    "payout over Lightning",
                    lines(party_btc(&self.party)),
                );
                if desk.has_bug(Bug::RefundUnusedReserve) {
                    let unused = i128::from(self.max_fee.0.saturating_sub(charged.0));
                    let refund = vec![
                        (Account::LightningChannels, unused),
                        (party_btc(&self.party), unused.saturating_neg()),
                    ];
                    desk.post(&self.id, "unused reserve", refund);
                }
                let preimage = match desk.planted {
                    Some(Bug::KeepHashAsProof) => self.payment_hash,
                    Some(_) | None => preimage,
                };
                self.state = State::Settled { preimage, fee };
                desk.emit(Event::PaymentProven {
                    payment: self.id.clone(),
                    payment_hash: super::hex(&self.payment_hash),
                    preimage: super::hex(&preimage),
                });
                let quantity = Quantity::btc(self.amount);
                desk.emit(Event::PaymentSettled {
                    payment: self.id.clone(),
                    quantity,
                    fee_msat: fee,
                });
            }
            State::Failed { .. } if !self.sent_after_failure => {
                sometimes(Rare::SentAfterFailure);
                self.sent_after_failure = true;
                desk.post(
                    &self.id,
                    "sent after failure",
                    lines(Account::Suspense {
                        rail: Rail::Lightning,
                    }),
                );
            }
            State::Settled { .. } if desk.has_bug(Bug::RepeatDuplicates) => {
                desk.post(
                    &self.id,
                    "payout over Lightning",
                    lines(party_btc(&self.party)),
                );
            }
            State::Settled { .. } | State::Failed { .. } => {}
        }
    }

    pub(super) fn on_failed(&mut self, desk: &mut Desk<'_>, reason: LightningFailure) {
        desk.answered(&self.id, "pay");
        match self.state {
            State::Dispatched => {
                desk.void_hold(&self.id);
                let reason = FailureReason::Lightning(reason);
                self.state = State::Failed {
                    reason: reason.clone(),
                };
                desk.emit(Event::PaymentFailed {
                    payment: self.id.clone(),
                    reason,
                });
            }
            State::Settled { .. } | State::Failed { .. } => {}
        }
    }

    pub(super) fn on_deadline(&mut self, desk: &mut Desk<'_>) {
        if self.state == State::Dispatched {
            sometimes(Rare::LightningOverdue);
            if desk.has_bug(Bug::FailOverdueLightning) {
                self.on_failed(desk, LightningFailure::RetriesExhausted);
                return;
            }
            self.overdue = true;
            desk.emit(Event::OutcomeUnknown {
                payment: self.id.clone(),
            });
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.state {
            State::Dispatched if self.overdue => Status::Unknown,
            State::Dispatched => Status::Dispatched,
            State::Settled { .. } => Status::Settled,
            State::Failed { .. } => Status::Failed,
        }
    }
}
