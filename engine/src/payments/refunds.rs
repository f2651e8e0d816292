//! Owns the refunds of money on chain that did not pay its charge: each is a payout of its own, paid by what lies with the
//! party of the payers. Does not own what is to be refunded (`charge_onchain`) nor how a payout goes (`payout_onchain`).
//!
//! The charge books the money as the payers'; the refund holds it like any payout and pays it less the miner's fee. What
//! a refund leaves, because it failed or was too small, stays the payers' and is nobody else's.

use super::Payments;
use super::desk::{Desk, in_msat, party_btc};
use super::order::{Destination, Payout, PayoutTerms};
use super::payout_onchain::{OnchainPayout, Payee, Refund};
use super::record::Payment;
use crate::event::{Consequences, Event};
use crate::id::{MAX_CHARS, PartyId, PaymentId, WalletId};
use crate::ledger::Account;
use crate::money::{Asset, Quantity, Sat};
use crate::onchain::feerate::{FeeSource, Feerate};
use crate::onchain::{self, BuildOrder, Recipient};
use crate::policy::Disposal;
use crate::rail::Entropy;
use crate::rare::{Rare, sometimes};
use crate::time::{Span, Timestamp};
use bitcoin::ScriptBuf;
use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::hex::DisplayHex as _;
use std::collections::BTreeMap;

/// The party that all payers are together to whom money goes back. No caller can open it, charge for it or pay from it.
const PAYERS: &str = "payers";

/// Nobody waits for a refund as for a payment: a day lets every backend come back and every fee market calm down.
const DEADLINE: Span = Span::secs(86_400);

/// How often the fee of a refund is halved in search of the least: some 5,000 sat to about one.
const ROUNDS: u32 = 12;

/// Whose money is to be sent back.
pub(super) fn payers() -> PartyId {
    PartyId::new(PAYERS).expect("a legal name")
}

/// A refund that a charge asks for.
struct Due {
    charge: PaymentId,
    /// Where it came in, and goes out from again.
    wallet: WalletId,
    script: ScriptBuf,
    address: String,
    amount: Sat,
}

impl Payments {
    /// Makes a payout of whatever charges have to send back.
    pub(super) fn make_refunds(&mut self, now: Timestamp, entropy: Entropy) -> Consequences {
        let mut out = Consequences::default();
        if !self.refunds_are_made() {
            return out;
        }
        self.give_moot_back();
        if self.desk(now, entropy).tip_is_stale() {
            return out;
        }
        for due in self.refunds_due() {
            let refund = self.make_refund(now, entropy, &due);
            out.events.extend(refund.events);
            out.instructions.extend(refund.instructions);
            out.answered.extend(refund.answered);
        }
        out
    }

    pub(super) fn refunds_are_made(&self) -> bool {
        if !self.escrows.is_empty() {
            return true;
        }
        let Some(stray) = self.policy.stray else {
            return false;
        };
        [stray.partial, stray.over, stray.late, stray.double].contains(&Disposal::Refund)
    }

    /// What moot refunds do not send is the charges' to dispose of again.
    fn give_moot_back(&mut self) {
        let mut moot: BTreeMap<PaymentId, u64> = BTreeMap::new();
        for payment in self.records.values() {
            if let Payment::OnchainPayout(payout) = payment
                && let Some((charge, amount)) = payout.moot()
            {
                let all = moot.entry(charge.clone()).or_default();
                *all = all.saturating_add(amount.0);
            }
        }
        for (id, payment) in &mut self.records {
            if let Payment::OnchainCharge(charge) = payment {
                charge.take_back(Sat(moot.get(id).copied().unwrap_or(0)));
            }
        }
    }

    fn refunds_due(&self) -> Vec<Due> {
        let due = |(id, payment): (&PaymentId, &Payment)| {
            let Payment::OnchainCharge(charge) = payment else {
                return None;
            };
            let (amount, address) = (charge.refund_due(), charge.refund_to.clone()?);
            let script = onchain::check_address(&address, self.network).ok()?;
            (amount > Sat(0)).then(|| Due {
                charge: id.clone(),
                wallet: charge.wallet.clone(),
                script,
                address,
                amount,
            })
        };
        self.records.iter().filter_map(due).collect()
    }

    fn make_refund(&mut self, now: Timestamp, entropy: Entropy, due: &Due) -> Consequences {
        let payers = payers();
        let whole = i128::from(in_msat(due.amount).0);
        if self.ledger.available(&payers, Asset::Btc) < whole {
            // A reorganisation took back what an earlier refund paid out: the operator is made whole first.
            return Consequences::default();
        }
        if !self.ledger.has_party(&payers) {
            self.ledger.open_party(&payers).expect("it is not open");
        }
        let mut desk = self.desk(now, entropy);
        let Some(feerate) = desk.feerate(now.plus(DEADLINE)) else {
            // What it costs is asked for; then the refund is made.
            return desk.out;
        };
        let asked = desk.out;
        let Some(Payment::OnchainCharge(charge)) = self.records.get_mut(&due.charge) else {
            return asked;
        };
        let number = charge.take_refund();
        let payment = self.free_id(&due.charge, number);
        let mut desk = self.desk(now, entropy);
        desk.out = asked;
        let Some(fee) = refund_fee(&mut desk, due, (&payment, feerate)) else {
            sometimes(Rare::TooSmallToRefund);
            return desk.out;
        };
        let amount = in_msat(Sat(due.amount.0.saturating_sub(fee.0)));
        let order = Payout {
            payment: payment.clone(),
            party: payers,
            destination: Destination::Address(due.address.clone()),
            quantity: Quantity::btc(amount),
            all: false,
            funded_by: Asset::Btc,
            deadline: DEADLINE,
            terms: PayoutTerms::default(),
            payee: None,
            wallet: Some(due.wallet.clone()),
        };
        let payee = Payee {
            wallet: due.wallet.clone(),
            script: due.script.clone(),
            binding: None,
        };
        let refund_of = Refund {
            charge: due.charge.clone(),
            feerate,
        };
        desk.emit(Event::RefundOrdered {
            payment: due.charge.clone(),
            refund: payment.clone(),
            amount_sat: due.amount,
        });
        let refund = OnchainPayout::create_refund(&mut desk, &order, payee, (refund_of, fee));
        let out = desk.out;
        self.records.insert(payment, Payment::OnchainPayout(refund));
        self.then_build(now, entropy, out)
    }

    /// `<charge>.refund-<number>`, or a name made of the charge's hash if that is too long; the next number if a caller
    /// has used the name.
    pub(super) fn free_id(&self, charge: &PaymentId, number: u32) -> PaymentId {
        let mut number = number;
        loop {
            let long = format!("{charge}.refund-{number}");
            let text = if long.len() <= MAX_CHARS {
                long
            } else {
                let hash = sha256::Hash::hash(charge.as_str().as_bytes()).to_byte_array();
                let (head, _) = hash.split_at(8);
                format!("{}.refund-{number}", head.to_lower_hex_string())
            };
            let id = PaymentId::new(text).expect("a legal name");
            if !self.records.contains_key(&id) {
                return id;
            }
            number = number.saturating_add(1);
        }
    }

    /// What refunds paid out and reorganisations took back from under them, the operator bears; what comes in again goes to
    /// him first.
    pub(super) fn bear_lost_refunds(&mut self, now: Timestamp) -> Consequences {
        let mut out = Consequences::default();
        if !self.refunds_are_made() {
            return out;
        }
        let payers = payers();
        let theirs = self.ledger.balance(&party_btc(&payers)).saturating_neg();
        let free = self.ledger.available(&payers, Asset::Btc);
        let borne = self.ledger.balance(&Account::Loss {
            party: payers.clone(),
        });
        let change = if theirs < 0 {
            sometimes(Rare::RefundLostItsMoney);
            theirs.saturating_neg()
        } else {
            borne.min(free).max(0).saturating_neg()
        };
        self.bear(
            now,
            &payers,
            crate::event::Bearer::Operator,
            change,
            &mut out,
        );
        out
    }
}

/// What the miner gets of a refund, if enough is left of it. Coins that fit an amount exactly cost whatever they leave, so
/// a fee that pays for itself may still be too much: the least is looked for below the first that does.
fn refund_fee(desk: &mut Desk<'_>, due: &Due, priced: (&PaymentId, Feerate)) -> Option<Sat> {
    let dust = Sat(due.script.minimal_non_dust().to_sat());
    let left = |fee: Sat| Some(Sat(due.amount.0.checked_sub(fee.0)?)).filter(|left| *left >= dust);
    let mut enough = fee_at(desk, due, priced, left(Sat(0))?);
    let mut too_little = Sat(0);
    for _ in 0..ROUNDS {
        let between = Sat(too_little.0.midpoint(enough.0));
        if fee_at(desk, due, priced, left(between)?) <= between {
            enough = between;
        } else {
            too_little = between;
        }
    }
    left(enough).map(|_| enough)
}

fn fee_at(
    desk: &mut Desk<'_>,
    due: &Due,
    (payment, feerate): (&PaymentId, Feerate),
    amount_sat: Sat,
) -> Sat {
    let most = desk.policy.onchain_fee_bound();
    let order = BuildOrder {
        recipients: vec![Recipient {
            script: due.script.clone(),
            amount_sat,
        }],
        feerate_sat_per_kwu: feerate.sat_per_kwu,
        max_fee_sat: most,
        confirmed_first: feerate.source != FeeSource::Fixed,
        fee_included: false,
        entropy: desk.entropy_for(payment),
    };
    // If the coins do not suffice now, nobody knows which will pay: as much as for any payout is set aside.
    desk.onchain.fee_of(&due.wallet, &order).unwrap_or(most)
}
