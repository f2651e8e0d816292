//! Owns what each event of the engine means to the model's memory, and which of them must not be. Does not own the memory
//! (`books`) nor what commands must lead to.

use super::books::{Checked, Model, unless};
use super::orders::{self, Read};
use super::states::{Kind, State};
use super::strays::PAYERS;
use lockstep_engine::api::{Event, FailureReason, Input};
use lockstep_engine::id::PaymentId;
use lockstep_engine::money::Rail;
use lockstep_engine::rail::Fact;

impl Model {
    pub(super) fn on_event(&mut self, event: &Event, input: &Input) -> Checked {
        if let Some(checked) = self.on_move_event(event) {
            return checked;
        }
        match event {
            Event::ChargeIssued { payment, request } => self.on_issued(payment, request),
            Event::InvoiceAdded { payment, request } => self.on_invoice_added(payment, request),
            Event::PaymentSeen { payment, .. } => self.go(payment, State::Seen),
            Event::PaymentVanished { payment } => self.go(payment, State::Issued),
            Event::PaymentHeld {
                payment,
                amount_msat,
            } => self.on_held(payment, amount_msat.0),
            Event::RestOrdered { .. } => self.on_rest(event),
            Event::PayoutReserved { payment, rail, .. }
                if *rail == Rail::Lightning && self.payments.contains_key(payment) =>
            {
                Ok(())
            }
            Event::PayoutDispatched { payment } => {
                if self.payment(payment)?.state == State::Failed {
                    self.is_back(payment)?;
                }
                self.go(payment, State::Dispatched)
            }
            Event::TransactionBuilt {
                payment,
                txid,
                fee_sat,
            } => {
                let payout = self.payment(payment)?;
                let once = payout.versions.is_empty() && payout.state == State::Reserved;
                payout.versions.push((*txid, fee_sat.0 * 1_000));
                if payout.all {
                    payout.amount = payout.reserve.saturating_sub(fee_sat.0 * 1_000);
                }
                unless(once, || {
                    format!("another transaction was built for {payment}")
                })?;
                self.is_affordable(payment, fee_sat.0 * 1_000)
            }
            Event::BatchDissolved { payment, .. } => {
                self.payment(payment)?.versions.clear();
                match self.payment(payment)?.state {
                    State::Reserved => Ok(()),
                    _ => self.go(payment, State::Reserved),
                }
            }
            Event::TransactionReplaced {
                payment,
                replaces,
                txid,
                fee_sat,
            } => {
                let payout = self.payment(payment)?;
                let newest = payout.versions.last().map(|(txid, _)| *txid);
                payout.versions.push((*txid, fee_sat.0 * 1_000));
                self.may_bump(payment, newest == Some(*replaces))?;
                self.is_affordable(payment, fee_sat.0 * 1_000)
            }
            Event::ChildBuilt {
                payment,
                parent,
                txid,
                fee_sat,
            } => {
                let payout = self.payment(payment)?;
                let newest = payout.versions.last().map(|(txid, _)| *txid);
                let child = (*txid, *parent, fee_sat.0 * 1_000);
                payout.children.push(child);
                self.may_bump(payment, newest == Some(*parent))?;
                self.is_affordable(payment, fee_sat.0 * 1_000)
            }
            Event::PaymentSettled {
                payment,
                quantity,
                fee_msat,
            } => {
                self.go(payment, State::Settled)?;
                self.on_settled(payment, quantity.units, fee_msat.0, input)
            }
            Event::PaymentUndone { payment } => match self.payment(payment)?.kind {
                Kind::OnchainCharge => self
                    .go(payment, State::Seen)
                    .and_then(|()| self.book(payment, 0)),
                _ => self.go(payment, State::Dispatched),
            },
            Event::PaymentFailed { payment, reason } => {
                let failing = self.payment(payment)?;
                let was = failing.state;
                let refused = *reason == FailureReason::Refused;
                let by_tip = failing.kind == Kind::OnchainCharge && !refused;
                unless(!by_tip || !self.tip_is_stale, || {
                    format!("{payment} failed by a stale tip")
                })?;
                let back = was != State::Settled || matches!(reason, FailureReason::Returned(_));
                self.payment(payment)?.money.refused = refused;
                if refused {
                    self.is_refused_rightly(payment)?;
                }
                self.go(payment, State::Failed)?;
                self.book(payment, 0)?;
                if *reason == FailureReason::CoinsLost {
                    self.coins_are_lost(payment)?;
                }
                unless(back, || {
                    format!("settled payment {payment} failed: {reason:?}")
                })
            }
            Event::Converted {
                payment, sold_msat, ..
            } => {
                let reserve = self.payment(payment)?.reserve;
                unless(sold_msat.0 == reserve, || {
                    format!("{sold_msat} sold for {payment}, not {reserve}")
                })
            }
            Event::Reconciled { run, .. } => {
                let was_open = self.runs.insert(run.clone(), false) == Some(true);
                unless(was_open, || {
                    format!("reconciliation {run} ended and was not under way")
                })
            }
            Event::OutcomeStated {
                payment,
                number,
                outcome,
                corrects,
            } => self.on_stated(payment, (*number, *outcome, *corrects)),
            Event::StatementAccepted { payment, number } => {
                self.on_told(payment, *number, fact_of(input), &[200, 201])
            }
            Event::StatementRefused { payment, number } => {
                self.on_told(payment, *number, fact_of(input), &[422])
            }
            Event::PartyEnrolled { party, did } => self.on_enrolled(party, did, fact_of(input)),
            Event::EnrolmentRefused { party, did, state } => {
                self.on_enrolment_refused((party, did), *state, fact_of(input))
            }
            Event::ChargeFound {
                payment,
                finding,
                amount_sat,
            } => {
                let told = &mut self.payment(payment)?.money.told;
                told.insert(*finding, amount_sat.0);
                Ok(())
            }
            Event::RefundOrdered {
                payment,
                refund,
                amount_sat,
            } => {
                let told = (payment.clone(), amount_sat.0);
                self.refunds_told.insert(refund.clone(), told);
                Ok(())
            }
            Event::PayoutReserved { payment, party, .. } if party.as_str() == PAYERS => {
                self.on_refund(payment, event)
            }
            Event::PartyOpened { .. }
            | Event::WalletOpened { .. }
            | Event::WalletRegistered { .. }
            | Event::WalletBound { .. }
            | Event::WalletNotBound { .. }
            | Event::BindingEnded { .. }
            | Event::BindingEndedTooLate { .. }
            | Event::PayerNotBound { .. }
            | Event::AddressGiven { .. }
            | Event::MoveStarted { .. }
            | Event::LabelSet { .. }
            | Event::ChargeCreated { .. }
            | Event::PayoutReserved { .. }
            | Event::FeerateChosen { .. }
            | Event::PayoutsBatched { .. }
            | Event::CoinsConsolidated { .. }
            | Event::ShortfallCovered { .. }
            | Event::ShortfallReturned { .. }
            | Event::CosignerAsked { .. }
            | Event::ChannelOrdered { .. }
            | Event::ChannelRefused { .. }
            | Event::ChannelOpened { .. }
            | Event::ChannelUsable { .. }
            | Event::ChannelClosed { .. }
            | Event::ChannelSwept { .. }
            | Event::SweepBuilt { .. }
            | Event::SweepSent { .. }
            | Event::SweepSettled { .. }
            | Event::SweepUndone { .. }
            | Event::SweepFailed { .. }
            | Event::CosignerSigned { .. }
            | Event::CosignerFailed { .. }
            | Event::TransferAccepted { .. }
            | Event::Posted(_)
            | Event::Hold(_)
            | Event::EscrowDecided { .. }
            | Event::WebhookIgnored { .. }
            | Event::PaymentProven { .. }
            | Event::OutcomeUnknown { .. }
            | Event::BreakFound { .. } => Ok(()),
        }
    }

    /// A payout's part of the fee is within what was set aside.
    fn is_affordable(&mut self, id: &PaymentId, fee: u64) -> Checked {
        let payout = self.payment(id)?;
        let (reserve, amount) = (payout.reserve, payout.amount);
        let most = match payout.all {
            true => self.terms.miner_fee_sat * 1_000,
            false => reserve,
        };
        unless(amount.saturating_add(fee) <= reserve && fee <= most, || {
            format!("{id} would bear a fee of {fee} msat beyond the {reserve} set aside")
        })
    }

    /// Only the newest version has a successor, before a block holds any, and before what was set aside is given back.
    fn may_bump(&mut self, id: &PaymentId, of_newest: bool) -> Checked {
        let payout = self.payment(id)?;
        let confirmed = payout.depth.is_some_and(|depth| depth > 0);
        let waits = !confirmed && !payout.was_settled && payout.state == State::Dispatched;
        unless(of_newest && waits && payout.bumps, || {
            format!("the transaction of {id} was bumped: confirmed, not the newest, or never to be")
        })
    }

    /// What is paid to the request is this charge's.
    fn on_issued(&mut self, id: &PaymentId, request: &str) -> Checked {
        self.go(id, State::Issued)?;
        let network = self.network;
        let charge = self.payment(id)?;
        if charge.kind == Kind::OnchainCharge {
            let address = request
                .parse::<bitcoin::Address<_>>()
                .map_err(|error| error.to_string())?;
            charge.script = Some(address.assume_checked().script_pubkey());
            let wallet = charge.wallet.clone();
            return match wallet {
                Some(wallet) => self.give(&wallet, request),
                None => Ok(()),
            };
        }
        let asked = (!charge.any).then_some(charge.amount);
        match orders::invoice(request, network) {
            Ok(Read::Invoice(invoice)) if invoice.msat == asked => {
                let hash = (Kind::LightningCharge, invoice.hash);
                self.hashes.entry(hash).or_insert_with(|| id.clone());
                self.own_node = Some(invoice.payee);
                Ok(())
            }
            _ => Err(format!("the invoice of {id} is not over {asked:?} msat")),
        }
    }

    /// A settled payment has moved what the fact says that settled it.
    fn on_settled(&mut self, id: &PaymentId, units: u64, fee: u64, input: &Input) -> Checked {
        let payment = self.payment(id)?.clone();
        let rest = self.goes_back(id);
        if payment.kind == Kind::OnchainCharge && payment.escrow.is_some() {
            self.settles_by_decision(id, units)?;
            return self.book(id, units);
        }
        let Input::Fact { fact, .. } = input else {
            return Err(format!("a command settled payment {id}"));
        };
        let (asked, same) = (payment.amount, units == payment.amount);
        let is_its = |hash: &[u8; 32]| self.hashes.get(&(payment.kind, *hash)) == Some(id);
        let (right, moved) = match (payment.kind, fact) {
            (
                Kind::LightningCharge,
                Fact::LightningReceived {
                    payment_hash,
                    amount_msat,
                },
            ) => (
                is_its(payment_hash) && amount_msat.0 == units + rest && amount_msat.0 >= asked,
                units,
            ),
            (
                Kind::LightningPayout,
                Fact::LightningSent {
                    payment_hash,
                    fee_msat,
                    ..
                },
            ) => {
                let borne = payment.reserve.min(asked + fee);
                (is_its(payment_hash) && same && fee_msat.0 == fee, borne)
            }
            (
                Kind::OnchainCharge,
                Fact::LightningReceived {
                    payment_hash,
                    amount_msat,
                },
            ) => {
                let invoiced = (Kind::LightningCharge, *payment_hash);
                let is_its = self.hashes.get(&invoiced) == Some(id);
                let charge = self.payment(id)?;
                charge.by_invoice = Some(units);
                charge.money.paid_otherwise();
                (is_its && amount_msat.0 == units && units >= asked, units)
            }
            (Kind::OnchainCharge | Kind::OnchainPayout, Fact::Chain(_)) if self.tip_is_stale => {
                return Err(format!("{id} settled by a stale tip"));
            }
            (Kind::OnchainCharge, Fact::Chain(_)) => {
                let enough = self.terms.enough(asked);
                let charge = self.payment(id)?;
                charge.fresh = true;
                charge.money.paid = units;
                (units >= enough, units)
            }
            (Kind::OnchainPayout, Fact::Chain(_)) => {
                let of_versions = payment.versions.iter().map(|(_, fee)| *fee);
                let of_children = payment.children.iter().map(|(_, _, fee)| *fee);
                let built = of_versions.chain(of_children).any(|borne| borne == fee);
                return unless(same && built, || {
                    format!("{id} settled with {units} and {fee}")
                });
            }
            (Kind::SepaPayout, Fact::Webhook { .. } | Fact::HttpResponded { .. }) => {
                (same && fee == 0, payment.reserve)
            }
            _ => (false, 0),
        };
        if !right {
            return Err(format!(
                "payment {id} settled with {units} and fee {fee} by {fact:?}"
            ));
        }
        self.book(id, moved)
    }
}

fn fact_of(input: &Input) -> Option<&Fact> {
    match input {
        Input::Fact { fact, .. } => Some(fact),
        Input::Command { .. } => None,
    }
}
