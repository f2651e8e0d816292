//! Owns what a payment's state machine has at hand while it handles one input: the time, the parameters, the books, the
//! wallet, and the lists of what comes of it. Does not own any payment.

use super::fee_desk::FeeDesk;
use crate::event::{Consequences, Event};
use crate::id::{IdempotencyKey, PartyId, PaymentId, WalletId};
use crate::identity::Bindings;
use crate::ledger::{Account, HoldOrder, Ledger, Posting};
use crate::money::{Asset, Msat, Sat};
use crate::onchain::Wallets;
use crate::planted::Bug;
use crate::policy::Policy;
use crate::rail::{Effect, Entropy, Instruction};
use crate::rare::{Rare, sometimes};
use crate::time::Timestamp;
use bitcoin::Network;
use bitcoin::hashes::{Hash as _, HashEngine as _, sha256};

/// Everything at hand for one input.
pub(super) struct Desk<'a> {
    pub(super) now: Timestamp,
    pub(super) entropy: Entropy,
    pub(super) network: Network,
    pub(super) policy: &'a Policy,
    pub(super) bindings: &'a Bindings,
    pub(super) ledger: &'a mut Ledger,
    pub(super) onchain: &'a mut Wallets,
    pub(super) fees: &'a mut FeeDesk,
    pub(super) planted: Option<Bug>,
    pub(super) out: Consequences,
}

/// The key of one effect of one payment.
pub(super) fn key(payment: &PaymentId, what: &str) -> IdempotencyKey {
    IdempotencyKey(format!("{payment}/{what}"))
}

/// Signed, for posting lines.
pub(super) fn msat(amount: Msat) -> i128 {
    i128::from(amount.0)
}

/// Satoshi as msat. Consensus bounds every amount on chain to 21 million bitcoin, which fits.
pub(super) fn in_msat(amount: Sat) -> Msat {
    amount
        .to_msat()
        .expect("amounts on chain are below 21 million bitcoin")
}

impl Desk<'_> {
    pub(super) fn emit(&mut self, event: Event) {
        self.out.events.push(event);
    }

    pub(super) fn instruct(&mut self, payment: &PaymentId, what: &str, effect: Effect) {
        self.out.instructions.push(Instruction {
            key: key(payment, what),
            effect,
        });
    }

    pub(super) fn wake(&mut self, payment: &PaymentId, what: &str, at: Timestamp) {
        self.instruct(payment, what, Effect::WakeAt { at });
    }

    /// Withdraws an instruction, or notes that it was answered by a fact without its key.
    pub(super) fn answered(&mut self, payment: &PaymentId, what: &str) {
        self.out.answered.push(key(payment, what));
    }

    /// Books lines for a payment; nothing if they are all zero.
    pub(super) fn post(
        &mut self,
        payment: &PaymentId,
        memo: &'static str,
        lines: Vec<(Account, i128)>,
    ) {
        if lines.iter().all(|(_, amount)| *amount == 0) {
            return;
        }
        let posting = Posting {
            at: self.now,
            payment: Some(payment.clone()),
            memo,
            lines,
        };
        let transaction = self.ledger.post(posting);
        self.emit(Event::Posted(transaction));
    }

    /// Places a hold that was checked when its command was admitted.
    pub(super) fn place_hold(&mut self, order: HoldOrder) {
        let event = self
            .ledger
            .place_hold(order)
            .expect("the hold was checked on admission");
        self.emit(Event::Hold(event));
    }

    /// Books lines from the payment's hold; what exceeds the hold is the caller's error.
    pub(super) fn post_hold(
        &mut self,
        payment: &PaymentId,
        units: u64,
        memo: &'static str,
        lines: Vec<(Account, i128)>,
    ) {
        let posting = Posting {
            at: self.now,
            payment: Some(payment.clone()),
            memo,
            lines,
        };
        let (event, transaction) = self
            .ledger
            .post_hold(payment, units, posting)
            .expect("the state has this hold");
        self.emit(Event::Posted(transaction));
        self.emit(Event::Hold(event));
    }

    /// Lets a hold, if there is one, be of this size from now on.
    pub(super) fn fit_hold(&mut self, payment: &PaymentId, units: u64) {
        if let Some(event) = self.ledger.resize_hold(payment, units) {
            self.emit(Event::Hold(event));
        }
    }

    /// What is owed to those whose money goes back; their accounts are opened with the first of it.
    pub(super) fn payers(&mut self) -> Account {
        let payers = super::refunds::payers();
        if !self.ledger.has_party(&payers) {
            self.ledger.open_party(&payers).expect("it is not open");
        }
        party_btc(&payers)
    }

    pub(super) fn void_hold(&mut self, payment: &PaymentId) {
        let event = self
            .ledger
            .void_hold(payment)
            .expect("the state has this hold");
        self.emit(Event::Hold(event));
    }

    /// Entropy of its own for one payment, so that two payments served by one input draw apart.
    pub(super) fn entropy_for(&self, payment: &PaymentId) -> Entropy {
        self.entropy_of(payment.as_str())
    }

    /// The same for anything that has a name.
    pub(super) fn entropy_of(&self, name: &str) -> Entropy {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.entropy.0);
        engine.input(name.as_bytes());
        Entropy(sha256::Hash::from_engine(engine).to_byte_array())
    }

    /// Whether the backend may be far behind: then nothing is decided by what it shows.
    pub(super) fn tip_is_stale(&self) -> bool {
        let (Some(most), Some(tip)) = (self.policy.max_tip_age, self.onchain.tip_time_secs())
        else {
            return false;
        };
        let tip = Timestamp(u64::from(tip).saturating_mul(1_000));
        let stale = self.now.since(tip) > most && !self.has_bug(Bug::DecideOnStaleTip);
        if stale {
            sometimes(Rare::StaleTip);
        }
        stale
    }

    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.planted == Some(bug)
    }
}

/// Where a wallet's coins are booked.
pub(super) fn wallet_account(wallet: &WalletId) -> Account {
    Account::ChainWallet {
        wallet: wallet.clone(),
    }
}

/// What a party is owed in bitcoin.
pub(super) fn party_btc(party: &PartyId) -> Account {
    Account::Party {
        party: party.clone(),
        asset: Asset::Btc,
    }
}
