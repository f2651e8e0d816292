//! Owns what a look at the chain means to a payout: its transaction is there, deep enough, gone, or cannot be any more. Does not
//! own how it came to be (`payout_onchain`).

use super::{Booking, OnchainPayout, State};
use crate::event::{Event, FailureReason};
use crate::id::PaymentId;
use crate::ledger::Account;
use crate::money::{Quantity, Rail, Sat};
use crate::payments::desk::{Desk, in_msat, party_btc, wallet_account};
use crate::planted::Bug;
use crate::rare::{Rare, sometimes};

impl OnchainPayout {
    /// The chain was looked at.
    pub(in crate::payments) fn on_view(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &self.state else {
            return;
        };
        match desk.onchain.confirmations(sent.txid) {
            Some(confirmations) => self.on_seen(desk, confirmations),
            None => self.on_absent(desk),
        }
    }

    fn on_seen(&mut self, desk: &mut Desk<'_>, confirmations: u32) {
        self.take_up(desk);
        let keeper = self.while_away(desk);
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        let before = std::mem::replace(&mut sent.booking, Booking::Posted);
        sent.accepted = true;
        let all = in_msat(self.amount).0.saturating_add(in_msat(sent.fee).0);
        let wallet = wallet_account(&self.wallet);
        let lines = |debtor| {
            vec![
                (wallet.clone(), i128::from(all).saturating_neg()),
                (debtor, i128::from(all)),
            ]
        };
        let mut first = lines(party_btc(&self.party));
        if desk.has_bug(Bug::FeeToOperator) {
            let fee = i128::from(in_msat(sent.fee).0);
            let rail = Rail::Onchain;
            first.push((Account::Fees { rail }, fee));
            first.push((party_btc(&self.party), fee.saturating_neg()));
        }
        match before {
            Booking::Held => desk.post_hold(&self.id, all, "payout on chain", first),
            Booking::Returned => {
                sometimes(Rare::PayoutCameBack);
                let lines = lines(keeper);
                desk.post(&self.id, "payout on chain again", lines);
            }
            Booking::Posted => {}
        }
        let deep = confirmations >= desk.policy.payout_depth
            && !desk.has_bug(Bug::NeverSettle)
            && !desk.tip_is_stale();
        let (payment, quantity) = (self.id.clone(), Quantity::btc(in_msat(self.amount)));
        if deep && !sent.settled {
            sent.settled = true;
            desk.emit(Event::PaymentSettled {
                payment,
                quantity,
                fee_msat: in_msat(sent.fee),
            });
        } else if sent.settled && confirmations == 0 {
            sometimes(Rare::PayoutUndone);
            sent.settled = false;
            desk.emit(Event::PaymentUndone { payment });
        }
    }

    /// The transaction is not (or no longer) known. It is handed out again, once per new tip and without end: it can
    /// still confirm, so its money is not given back.
    fn on_absent(&mut self, desk: &mut Desk<'_>) {
        let keeper = self.while_away(desk);
        let State::Sent(sent) = &mut self.state else {
            return;
        };
        if sent.booking == Booking::Posted {
            sometimes(Rare::PayoutLeftChain);
            sent.booking = Booking::Returned;
            let all = i128::from(in_msat(self.amount).0.saturating_add(in_msat(sent.fee).0));
            let wallet = wallet_account(&self.wallet);
            let lines = vec![(wallet, all), (keeper, all.saturating_neg())];
            let settled = std::mem::replace(&mut sent.settled, false);
            if settled {
                desk.emit(Event::PaymentUndone {
                    payment: self.id.clone(),
                });
            }
            desk.post(&self.id, "payout left the chain", lines);
        }
        self.weigh_refund(desk);
        let State::Sent(sent) = &self.state else {
            return;
        };
        let new_tip = desk.onchain.tip().height != sent.broadcast_at_height;
        let may = !desk.has_bug(Bug::NeverRebroadcast);
        if sent.accepted && new_tip && !sent.in_flight && may && !self.moot {
            sometimes(Rare::Rebroadcast);
            self.broadcast(desk);
        }
    }

    /// A refund that has left the chain together with the coins that it spends has nothing to send: it has failed, until
    /// they come again. Its transaction spends them and nothing else can, so it cannot be paid twice.
    fn weigh_refund(&mut self, desk: &mut Desk<'_>) {
        let State::Sent(sent) = &self.state else {
            return;
        };
        let mut coins = sent
            .transaction
            .input
            .iter()
            .map(|input| input.previous_output.txid);
        let gone = coins.any(|parent| desk.onchain.confirmations(parent).is_none());
        if !gone {
            self.take_up(desk);
        } else if self.refund_of.is_some() && !self.moot && sent.booking == Booking::Returned {
            sometimes(Rare::RefundWithoutCoins);
            self.moot = true;
            self.move_returned(desk, "refund without its coins", 1);
            desk.emit(Event::PaymentFailed {
                payment: self.id.clone(),
                reason: FailureReason::CoinsLost,
            });
        }
    }

    /// What it spends is there again.
    fn take_up(&mut self, desk: &mut Desk<'_>) {
        if !std::mem::take(&mut self.moot) {
            return;
        }
        self.move_returned(desk, "refund with its coins again", -1);
        desk.emit(Event::PayoutDispatched {
            payment: self.id.clone(),
        });
    }

    /// Moves what has come back from the payout to its party, or (-1) from there.
    fn move_returned(&self, desk: &mut Desk<'_>, memo: &'static str, sign: i128) {
        let State::Sent(sent) = &self.state else {
            return;
        };
        let all = in_msat(self.amount).0.saturating_add(in_msat(sent.fee).0);
        let moved = i128::from(all).saturating_mul(sign);
        let lines = vec![
            (self.while_away(desk), moved),
            (party_btc(&self.party), moved.saturating_neg()),
        ];
        desk.post(&self.id, memo, lines);
    }

    /// What of its charge's money a refund does not send any more.
    pub(in crate::payments) fn moot(&self) -> Option<(&PaymentId, Sat)> {
        let whole = Sat(self.amount.0.saturating_add(self.max_fee.0));
        self.refund_of
            .as_ref()
            .filter(|_| self.moot)
            .map(|charge| (charge, whole))
    }

    /// Where its money is booked while its transaction is neither in the chain nor in the mempool.
    fn while_away(&self, desk: &Desk<'_>) -> Account {
        if desk.has_bug(Bug::ForgetHoldOnReorg) {
            return party_btc(&self.party);
        }
        Account::Outgoing {
            payment: self.id.clone(),
        }
    }
}
