//! Owns what must become of money on chain that is not as asked, of refunds, and of what a party has spent and a
//! reorganisation took back (docs/SPEC.md, "Money that is not as asked", "Shortfalls"). Does not own when a charge settles or
//! fails (`chain`).

use super::books::{Checked, Model, tracked, unless};
use super::states::{Kind, State};
use crate::scenario::{Disposal, Shortfall, Stray};
use bitcoin::OutPoint;
use lockstep_engine::api::{Event, Finding, Input};
use lockstep_engine::id::{PartyId, PaymentId};
use lockstep_engine::money::Asset;
use lockstep_engine::rail::Fact;
use lockstep_engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The party that all are together to whom money goes back.
pub(super) const PAYERS: &str = "payers";

/// An output that is left when the fee is paid must be worth sending: the dust limit of any script, in satoshi.
const DUST_SAT: u64 = 546;

/// What lies on an address: satoshi and depth.
pub(super) type Outputs = BTreeMap<OutPoint, (u64, u32)>;

/// The money on a charge's address.
#[derive(Clone, Debug, Default)]
pub(super) struct Money {
    /// A refund address was given with the charge.
    pub(super) can_go_back: bool,
    /// At the last look.
    outputs: Outputs,
    /// What was there when it failed.
    in_time: Option<BTreeSet<OutPoint>>,
    /// What has paid it.
    payers: BTreeSet<OutPoint>,
    /// What it settled with, in msat.
    pub(super) paid: u64,
    /// In escrow: what waited, in msat, of which `paid` is the payee's.
    pub(super) whole: u64,
    /// The agent of its escrow has sent it back.
    pub(super) refused: bool,
    /// What must have been refunded, in satoshi.
    pub(super) refunded: u64,
    /// Less of it is with the payers now.
    refundable: u64,
    /// The most that was credited at one time, in msat.
    most: u64,
    /// What was told last.
    pub(super) told: BTreeMap<Finding, u64>,
}

impl Money {
    /// What lies there at least so deep, in satoshi.
    pub(super) fn at_depth(&self, depth: u32) -> u64 {
        let deep = self.outputs.values().filter(|(_, at)| *at >= depth);
        deep.map(|(sat, _)| sat).sum()
    }

    /// Takes in what lies there now; what of the earlier is gone, in satoshi.
    pub(super) fn look_at(&mut self, outputs: Outputs) -> u64 {
        let before = std::mem::replace(&mut self.outputs, outputs);
        let gone = before
            .iter()
            .filter(|(outpoint, _)| !self.outputs.contains_key(outpoint));
        gone.map(|(_, (sat, _))| sat).sum()
    }

    /// What is so deep has paid the charge.
    pub(super) fn paid_at(&mut self, depth: u32) {
        let deep = self.outputs.iter().filter(|(_, (_, at))| *at >= depth);
        self.payers = deep.map(|(outpoint, _)| *outpoint).collect();
    }

    /// Nothing that lies there has paid the charge: its invoice was.
    pub(super) fn paid_otherwise(&mut self) {
        self.paid = 0;
        self.payers.clear();
    }

    /// What is deep and does not pay the charge, in satoshi by kind.
    fn strays(&self, state: State, depth: u32) -> BTreeMap<Finding, u64> {
        let mut strays = BTreeMap::new();
        let (mut from_payers, mut all_deep) = (0, true);
        for (outpoint, (sat, at)) in &self.outputs {
            let pays = state == State::Settled && self.payers.contains(outpoint);
            if pays {
                from_payers += sat;
                all_deep &= *at >= depth;
            }
            let in_time = self
                .in_time
                .as_ref()
                .is_some_and(|known| known.contains(outpoint));
            let finding = match state {
                State::Settled if !pays => Finding::Double,
                State::Failed if in_time => Finding::Partial,
                State::Failed => Finding::Late,
                _ => continue,
            };
            if *at >= depth {
                *strays.entry(finding).or_insert(0) += sat;
            }
        }
        if state == State::Settled && all_deep {
            strays.insert(
                Finding::Over,
                (from_payers).saturating_sub(self.paid.max(self.whole) / 1_000),
            );
        }
        strays
    }
}

/// What others bear for a party, in msat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Borne {
    /// The party owes it.
    pub receivable: i128,
    /// The operator has lost it.
    pub operator: i128,
    /// The party owes it and is frozen.
    pub frozen: i128,
}

impl Borne {
    fn all(self) -> i128 {
        self.receivable + self.operator + self.frozen
    }

    fn give_back(&mut self, needless: i128) {
        let mut left = needless;
        for bearer in [&mut self.operator, &mut self.receivable, &mut self.frozen] {
            let back = left.min(*bearer);
            *bearer -= back;
            left -= back;
        }
    }
}

fn disposal(stray: Option<Stray>, finding: Finding, can_go_back: bool) -> Disposal {
    let Some(stray) = stray else {
        return Disposal::Suspense;
    };
    let disposal = match finding {
        Finding::Partial => stray.partial,
        Finding::Over => stray.over,
        Finding::Late => stray.late,
        Finding::Double => stray.double,
        Finding::Replaced => Disposal::Suspense,
    };
    match disposal {
        Disposal::Refund if !can_go_back => Disposal::Suspense,
        other => other,
    }
}

impl Model {
    /// Whether what the latest look shows decides anything: its tip may be too old.
    pub(super) fn weigh_tip(&mut self, now: Timestamp, input: &Input) {
        if let Input::Fact {
            fact: Fact::Chain(view),
            ..
        } = input
        {
            self.tip_secs = view.tip_time_secs;
        }
        let age = self
            .tip_secs
            .map(|tip| now.0.saturating_sub(u64::from(tip) * 1_000));
        let most = self.terms.max_tip_age_ms;
        self.tip_is_stale = matches!((age, most), (Some(age), Some(most)) if age > most);
    }

    /// Works out where the money on the charge's address belongs, and what the party is credited with.
    pub(super) fn dispose(&mut self, id: &PaymentId) -> Checked {
        let (stray, terms) = (self.terms.stray, self.terms.clone());
        let payers = self.goes_back(id) / 1_000;
        let charge = self.payment(id)?;
        let (state, money) = (charge.state, &mut charge.money);
        match state {
            State::Failed if money.in_time.is_none() => {
                money.in_time = Some(money.outputs.keys().copied().collect());
            }
            State::Failed => {}
            _ => money.in_time = None,
        }
        let depth = terms.depth(charge.amount / 1_000);
        let stray_depth = match stray {
            None => depth,
            Some(_) => depth.max(terms.depth(money.at_depth(0))),
        };
        let strays = money.strays(state, stray_depth);
        let refused = money.refused;
        let (mut credited, mut apart, mut back) = (0, 0, 0);
        for (finding, sat) in &strays {
            match disposal(stray, *finding, money.can_go_back) {
                _ if refused => back += sat,
                Disposal::Suspense => apart += sat,
                Disposal::Credit => credited += sat,
                Disposal::Refund => back += sat,
            }
        }
        if state == State::Settled {
            credited += money.paid / 1_000;
            back += payers;
        }
        let waits = money.at_depth(0).saturating_sub(credited + apart + back);
        // What was given to refunds is not there any more for anything else.
        let kept = money
            .refunded
            .min(money.at_depth(depth))
            .saturating_sub(back);
        let of_others = apart + waits;
        back += kept.min(of_others + credited);
        credited -= kept.saturating_sub(of_others).min(credited);
        money.refundable = back;
        money.most = money.most.max(credited * 1_000);
        let strays = if refused { BTreeMap::new() } else { strays };
        self.findings_are_told(id, strays, depth)?;
        let by_invoice = self.payment(id)?.by_invoice.unwrap_or(0);
        self.book(id, credited * 1_000 + by_invoice)
    }

    /// Each kind is told whenever its amount changes, so what was told last must be what is.
    fn findings_are_told(
        &self,
        id: &PaymentId,
        mut strays: BTreeMap<Finding, u64>,
        depth: u32,
    ) -> Checked {
        if self.terms.stray.is_none() {
            return unless(self.payments[id].money.told.is_empty(), || {
                format!("something was told of the money for {id}")
            });
        }
        let charge = &self.payments[id];
        if matches!(charge.state, State::Issued | State::Seen) {
            strays.insert(Finding::Partial, charge.money.at_depth(depth));
        }
        for finding in [
            Finding::Partial,
            Finding::Over,
            Finding::Late,
            Finding::Double,
        ] {
            let of = |amounts: &BTreeMap<Finding, u64>| amounts.get(&finding).copied().unwrap_or(0);
            let (told, is) = (of(&charge.money.told), of(&strays));
            unless(told == is, || {
                format!("{told} sat for {id} were told to be {finding:?}, there are {is}")
            })?;
        }
        Ok(())
    }

    pub(super) fn gone_is_told(&mut self, id: &PaymentId, gone: u64) -> Checked {
        let wanted = if self.terms.stray.is_some() { gone } else { 0 };
        let told = self.payment(id)?.money.told.remove(&Finding::Replaced);
        unless(told.unwrap_or(0) == wanted, || {
            format!("{told:?} sat for {id} were told to be gone, {wanted} are")
        })
    }

    /// A refund is ordered: it must have been told of, and reserve what it was told to be.
    pub(super) fn on_refund(&mut self, id: &PaymentId, event: &Event) -> Checked {
        let Event::PayoutReserved {
            party,
            quantity,
            reserved,
            ..
        } = event
        else {
            return Ok(());
        };
        let charge = self.refunds_told.get(id).map(|(charge, _)| charge.clone());
        let told = self.refunds_told.get(id).map(|(_, sat)| sat * 1_000);
        let fits = told == Some(reserved.units) && quantity.units < reserved.units;
        let fee = reserved.units.saturating_sub(quantity.units);
        let mut refund = tracked(Kind::OnchainPayout, State::Reserved, party, quantity.units);
        (refund.reserve, refund.held) = (reserved.units, reserved.units);
        let asked = charge.as_ref().and_then(|charge| self.payments.get(charge));
        refund.wallet = asked.and_then(|charge| charge.wallet.clone());
        refund.refund_of = charge;
        let new = !self.payments.contains_key(id);
        self.insert(id, refund);
        unless(
            fits && new && fee <= self.terms.miner_fee_sat * 1_000,
            || {
                format!(
                    "refund {id} reserves {reserved:?} for {quantity:?}, told were {told:?} msat"
                )
            },
        )
    }

    /// The coins of a payout are gone, and its transaction: nothing was sent. Of a refund the charge has its money again.
    pub(super) fn is_moot(&mut self, id: &PaymentId) -> Checked {
        let payout = self.payment(id)?;
        payout.moot = true;
        let sat = payout.reserve / 1_000;
        if let Some(charge) = payout.refund_of.clone() {
            self.moot.push((charge, -(sat as i64)));
        }
        Ok(())
    }

    /// A payout may be under way again, if it had lost its coins.
    pub(super) fn is_back(&mut self, id: &PaymentId) -> Checked {
        let payout = self.payment(id)?;
        let was_moot = std::mem::take(&mut payout.moot);
        let sat = payout.reserve / 1_000;
        if let Some(charge) = payout.refund_of.clone() {
            self.moot.push((charge, sat as i64));
        }
        unless(was_moot, || {
            format!("{id} is under way again after it failed")
        })
    }

    /// Each charge has refunded what is with the payers, and nothing else; too little is not refunded.
    pub(super) fn refunds_are_right(&mut self) -> Checked {
        let told = std::mem::take(&mut self.refunds_told);
        for (charge, sat) in std::mem::take(&mut self.moot) {
            let refunded = &mut self.payment(&charge)?.money.refunded;
            *refunded = refunded.saturating_add_signed(sat);
        }
        let mut by_charge: BTreeMap<&PaymentId, u64> = BTreeMap::new();
        for (charge, sat) in told.values() {
            if by_charge.insert(charge, *sat).is_some() {
                return Err(format!("two refunds of {charge} at once"));
            }
        }
        let small = self.terms.miner_fee_sat + DUST_SAT;
        let lost = self.payers_lost();
        for (id, payment) in &mut self.payments {
            let money = &mut payment.money;
            let due = money.refundable.saturating_sub(money.refunded);
            match by_charge.remove(id) {
                Some(sat) if sat != due || due == 0 => {
                    return Err(format!("{sat} sat for {id} are refunded, {due} are due"));
                }
                None if due == 0 || lost || self.tip_is_stale || self.fees_asked => continue,
                None if due > small => {
                    return Err(format!("{due} sat for {id} are due and not refunded"));
                }
                Some(_) | None => money.refunded += due,
            }
        }
        by_charge.keys().next().map_or(Ok(()), |id| {
            Err(format!("a refund of {id}, of which nobody knows"))
        })
    }

    /// Whether a reorganisation took back money that was refunded already: then what comes in goes to the operator first.
    fn payers_lost(&self) -> bool {
        let lacks = |money: &Money| money.refundable < money.refunded;
        self.payments.values().any(|payment| lacks(&payment.money))
    }

    /// What others bear for a party.
    pub fn borne(&self, party: &PartyId) -> Borne {
        self.borne.get(party).copied().unwrap_or_default()
    }

    /// After each fact: no party is below zero for what was taken back, and nothing is borne without need.
    pub(super) fn bear(&mut self) {
        let Some(shortfall) = self.terms.shortfall else {
            return;
        };
        let mut lacking: BTreeMap<PartyId, i128> = BTreeMap::new();
        for payment in self.payments.values() {
            if payment.kind == Kind::OnchainCharge {
                let on_chain = payment.moved - payment.by_invoice.unwrap_or(0);
                let less = payment.money.most.saturating_sub(on_chain);
                *lacking.entry(payment.party.clone()).or_default() += i128::from(less);
            }
        }
        for (party, lacking) in lacking {
            let borne = self.borne.entry(party.clone()).or_default();
            let Some(owned) = self.parties.get_mut(&(party, Asset::Btc)) else {
                continue;
            };
            let before = borne.all();
            borne.give_back((before - lacking).max(0));
            owned.total -= before - borne.all();
            let needed = (-owned.total).clamp(0, (lacking - borne.all()).max(0));
            owned.total += needed;
            match shortfall {
                Shortfall::Operator => borne.operator += needed,
                Shortfall::Freeze => borne.frozen += needed,
                Shortfall::Receivable { limit } => {
                    let room = (i128::from(limit.get()) * 1_000 - borne.receivable).max(0);
                    borne.receivable += needed.min(room);
                    borne.operator += (needed - room).max(0);
                }
            }
        }
    }
}
