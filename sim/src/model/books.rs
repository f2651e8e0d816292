//! Owns the model's memory: every payment, where it stands, and what each party is owed and has set aside because of it
//! (docs/SPEC.md, "Holds", "What is posted", "Payments", "Idempotency"). It is told each accepted input with what came of
//! it, and says what of that must not be. What a look at the chain means is in `chain`.

use super::layer0::Enrolment;
use super::orders::{self, Prediction, Read};
use super::states::{Kind, State, may_follow};
use super::terms::Terms;
use bitcoin::{Network, ScriptBuf, Txid};
use lockstep_engine::api::{
    Charge, Command, Destination, Event, FailureReason, Input, Output, Payout,
};
use lockstep_engine::id::{CommandId, PartyId, PaymentId, ReconciliationId, WalletId};
use lockstep_engine::money::{Asset, Quantity, Rail};
use lockstep_engine::onchain::WalletSpec;
use lockstep_engine::rail::Fact;
use lockstep_engine::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What a party has of one asset, in its smallest unit (msat or cent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// What is owed to it; below zero only after a reorganisation took back what was spent.
    pub total: i128,
    /// Set aside of it.
    pub held: u64,
}

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) party: PartyId,
    /// What the payee gets or the party is to be credited, in msat or cents.
    pub(super) amount: u64,
    /// In what the party pays or is paid.
    pub(super) asset: Asset,
    /// Set aside for it when it was ordered; nothing for a charge.
    pub(super) reserve: u64,
    pub(super) held: u64,
    /// What the party has more (charges) or less (payouts) because of it.
    pub(super) moved: u64,
    /// A charge's address.
    pub(super) script: Option<ScriptBuf>,
    /// The versions of a payout's transaction, each with what the payout bears of its fee in msat.
    pub(super) versions: Vec<(Txid, u64)>,
    /// Children that pay for a version: itself, the version, and what the payout bears of both fees in msat.
    pub(super) children: Vec<(Txid, Txid, u64)>,
    /// How deep the last look showed it.
    pub(super) depth: Option<u32>,
    pub(super) was_settled: bool,
    /// Settled by the very look that is being taken in.
    pub(super) fresh: bool,
    /// Its late or short receipt, or late success, lies in suspense.
    pub(super) suspended: bool,
}

/// What must be true of the engine.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) terms: Terms,
    pub(super) network: Network,
    pub(super) commands: BTreeMap<CommandId, Command>,
    pub(super) parties: BTreeMap<(PartyId, Asset), Owned>,
    pub(super) payments: BTreeMap<PaymentId, Tracked>,
    pub(super) open: BTreeSet<PaymentId>,
    /// By the last input.
    changed: BTreeSet<PaymentId>,
    /// Whose a Lightning payment hash is.
    pub(super) hashes: BTreeMap<(Kind, [u8; 32]), PaymentId>,
    pub(super) strays: BTreeSet<[u8; 32]>,
    pub(super) runs: BTreeMap<ReconciliationId, bool>,
    pub(super) lightning_suspense: i128,
    pub(super) enrolments: BTreeMap<PartyId, Enrolment>,
    /// Our wallets, but for `hot`.
    pub(super) wallets: BTreeMap<WalletId, WalletSpec>,
}

pub(super) type Checked = Result<(), String>;

impl Model {
    /// Of an engine to which nothing has happened.
    pub fn new(terms: Terms, network: Network) -> Model {
        Model {
            terms,
            network,
            commands: BTreeMap::new(),
            parties: BTreeMap::new(),
            payments: BTreeMap::new(),
            open: BTreeSet::new(),
            changed: BTreeSet::new(),
            hashes: BTreeMap::new(),
            strays: BTreeSet::new(),
            runs: BTreeMap::new(),
            lightning_suspense: 0,
            enrolments: BTreeMap::new(),
            wallets: BTreeMap::new(),
        }
    }

    /// Each party's balances.
    pub fn parties(&self) -> impl Iterator<Item = (&PartyId, Asset, Owned)> {
        let each = self.parties.iter();
        each.map(|((party, asset), owned)| (party, *asset, *owned))
    }

    /// Where each payment stands.
    pub fn payments(&self) -> impl Iterator<Item = (&PaymentId, State)> {
        self.payments
            .iter()
            .map(|(id, payment)| (id, payment.state))
    }

    /// Where those stand that are not final, or that the last input has changed.
    pub fn unsettled(&self) -> impl Iterator<Item = (&PaymentId, State)> {
        let all = self.open.union(&self.changed);
        all.filter_map(|id| Some((id, self.state(id)?)))
    }

    /// Where one payment stands.
    pub fn state(&self, payment: &PaymentId) -> Option<State> {
        Some(self.payments.get(payment)?.state)
    }

    /// What is owed to nobody in particular over Lightning, in msat.
    pub fn lightning_suspense(&self) -> i128 {
        self.lightning_suspense
    }

    /// Whether an input may change what lies in suspense of this rail (SPEC, "What is posted").
    pub fn may_touch_suspense(input: &Input, rail: Rail) -> bool {
        match input {
            Input::Command { command, .. } => {
                rail == Rail::Onchain
                    && matches!(
                        command,
                        Command::RecordOpening {
                            rail: Rail::Onchain,
                            ..
                        }
                    )
            }
            Input::Fact { fact, .. } => match fact {
                Fact::Chain(_) | Fact::TimerFired { .. } => rail == Rail::Onchain,
                Fact::LightningReceived { .. } | Fact::LightningSent { .. } => {
                    rail == Rail::Lightning
                }
                Fact::Webhook { .. } | Fact::HttpResponded { .. } => rail == Rail::Sepa,
                _ => false,
            },
        }
    }

    /// Takes a refused command in: it must not have been one that must be accepted.
    pub fn on_refused(&self, now: Timestamp, input: &Input) -> Checked {
        let Input::Command { id, command, .. } = input else {
            return Ok(());
        };
        match self.predict(now, id, command) {
            Prediction::Accepted => Err(format!(
                "{command:?} was refused and {}",
                Prediction::Accepted
            )),
            Prediction::Refused(_) | Prediction::Either(_) => Ok(()),
        }
    }

    /// Takes an accepted input in with what came of it.
    pub fn on_accepted(&mut self, now: Timestamp, input: &Input, output: &Output) -> Checked {
        self.changed.clear();
        if let Input::Command { id, command, .. } = input {
            let told = self.commands.contains_key(id);
            if let prediction @ Prediction::Refused(_) = self.predict(now, id, command) {
                return Err(format!("{command:?} was accepted and {prediction}"));
            }
            if told {
                let again = output.instructions.is_empty();
                return unless(again, || {
                    format!("command {id} was told again and has effects again")
                });
            }
            self.on_command(id, command, output)?;
        }
        let before = self.before(input);
        for event in &output.events {
            self.on_event(event, input)?;
        }
        for instruction in &output.instructions {
            self.on_instruction(instruction);
        }
        match input {
            Input::Fact {
                fact: Fact::Chain(view),
                ..
            } => self.on_view(view),
            Input::Fact { fact, .. } => self.on_lightning(fact, before),
            Input::Command { .. } => Ok(()),
        }
    }

    fn on_command(&mut self, id: &CommandId, command: &Command, output: &Output) -> Checked {
        self.commands.insert(id.clone(), command.clone());
        match command {
            Command::OpenWallet(spec) => {
                self.wallets.insert(spec.name.clone(), spec.clone());
            }
            Command::OpenParty { party } => {
                for asset in [Asset::Btc, Asset::Eur] {
                    self.parties
                        .insert((party.clone(), asset), Owned::default());
                }
            }
            Command::CreateCharge(order) => {
                self.insert(&order.payment, tracked_charge(order));
                let created = Event::ChargeCreated {
                    payment: order.payment.clone(),
                    party: order.party.clone(),
                    rail: order.rail,
                    amount_msat: order.amount_msat,
                };
                return unless(output.events.contains(&created), || {
                    format!("{created:?} was not told")
                });
            }
            Command::CreatePayout(order) => return self.on_payout(order, output),
            Command::ReleaseHeld { payment } => self.go(payment, State::Releasing)?,
            Command::RefuseHeld { payment } => self.go(payment, State::Refusing)?,
            Command::Reconcile { run, .. } => {
                self.runs.insert(run.clone(), true);
            }
            Command::EnrolParty { party, did } => {
                let asked = Enrolment::Asked(did.clone());
                self.enrolments.insert(party.clone(), asked);
            }
            Command::RecordOpening { .. } => {}
        }
        Ok(())
    }

    fn on_payout(&mut self, order: &Payout, output: &Output) -> Checked {
        let (asset, units) = self
            .terms
            .hold(order)
            .ok_or("a payout without a price was accepted")?;
        let kind = match &order.destination {
            Destination::Invoice(text) => {
                if let Ok(Read::Invoice { hash, .. }) = orders::invoice(text, self.network) {
                    self.hashes
                        .insert((Kind::LightningPayout, hash), order.payment.clone());
                }
                Kind::LightningPayout
            }
            Destination::Address(_) => Kind::OnchainPayout,
            Destination::Iban { .. } => Kind::SepaPayout,
        };
        let reserved = Event::PayoutReserved {
            payment: order.payment.clone(),
            party: order.party.clone(),
            rail: rail_of(kind),
            quantity: order.quantity,
            reserved: Quantity { asset, units },
        };
        let mut payout = tracked(kind, State::Reserved, &order.party, order.quantity.units);
        (payout.asset, payout.reserve, payout.held) = (asset, units, units);
        self.insert(&order.payment, payout);
        let told = output.events.contains(&reserved);
        unless(told, || format!("{reserved:?} was not told"))
    }

    fn insert(&mut self, id: &PaymentId, payment: Tracked) {
        self.open.insert(id.clone());
        self.change(
            payment.party.clone(),
            payment.asset,
            0,
            i128::from(payment.held),
        );
        self.payments.insert(id.clone(), payment);
    }

    fn change(&mut self, party: PartyId, asset: Asset, total: i128, held: i128) {
        let owned = self.parties.entry((party, asset)).or_default();
        owned.total += total;
        owned.held = (i128::from(owned.held) + held) as u64;
    }

    pub(super) fn payment(&mut self, id: &PaymentId) -> Result<&mut Tracked, String> {
        self.payments
            .get_mut(id)
            .ok_or_else(|| format!("payment {id} was never ordered"))
    }

    /// A payment changes its state, if the table lets it.
    pub(super) fn go(&mut self, id: &PaymentId, to: State) -> Checked {
        let payment = self.payment(id)?;
        let (kind, from) = (payment.kind, payment.state);
        let again = (from, to) != (State::Failed, State::Settled) || payment.was_settled;
        if !may_follow(kind, from, to) || !again {
            return Err(format!(
                "payment {id} ({kind:?}) went from {from:?} to {to:?}"
            ));
        }
        payment.state = to;
        payment.was_settled |= to == State::Settled;
        self.changed.insert(id.clone());
        if to.is_final() {
            self.open.remove(id);
        } else {
            self.open.insert(id.clone());
        }
        Ok(())
    }

    /// From now on the payment has moved so much of its party's money, and nothing is held for it.
    pub(super) fn book(&mut self, id: &PaymentId, moved: u64) -> Checked {
        let payment = self.payment(id)?;
        let held = std::mem::take(&mut payment.held);
        let before = std::mem::replace(&mut payment.moved, moved);
        let more = i128::from(moved) - i128::from(before);
        let total = match payment.kind {
            Kind::LightningCharge | Kind::OnchainCharge => more,
            Kind::LightningPayout | Kind::OnchainPayout | Kind::SepaPayout => -more,
        };
        let (party, asset) = (payment.party.clone(), payment.asset);
        self.change(party, asset, total, -i128::from(held));
        Ok(())
    }

    /// A payout's part of the fee is within what was set aside.
    fn is_affordable(&mut self, id: &PaymentId, fee: u64) -> Checked {
        let payout = self.payment(id)?;
        let (reserve, amount) = (payout.reserve, payout.amount);
        unless(amount.saturating_add(fee) <= reserve, || {
            format!("{id} would bear a fee of {fee} msat beyond the {reserve} set aside")
        })
    }

    /// Only the newest version has a successor, before a block holds any, and before what was set aside is given back.
    fn may_bump(&mut self, id: &PaymentId, of_newest: bool) -> Checked {
        let payout = self.payment(id)?;
        let confirmed = payout.depth.is_some_and(|depth| depth > 0);
        let right =
            of_newest && !confirmed && !payout.was_settled && payout.state == State::Dispatched;
        unless(right, || {
            format!(
                "the transaction of {id} was bumped although it was confirmed, or not the newest"
            )
        })
    }

    /// So much stays set aside for a payment beside what is booked.
    pub(super) fn keep(&mut self, id: &PaymentId, units: u64) -> Checked {
        let payment = self.payment(id)?;
        let before = std::mem::replace(&mut payment.held, units);
        let (party, asset) = (payment.party.clone(), payment.asset);
        self.change(party, asset, 0, i128::from(units) - i128::from(before));
        Ok(())
    }

    fn on_event(&mut self, event: &Event, input: &Input) -> Checked {
        match event {
            Event::ChargeIssued { payment, request } => self.on_issued(payment, request),
            Event::PaymentSeen { payment, .. } => self.go(payment, State::Seen),
            Event::PaymentVanished { payment } => self.go(payment, State::Issued),
            Event::PaymentHeld { payment, .. } => self.go(payment, State::Held),
            Event::PayoutDispatched { payment } => self.go(payment, State::Dispatched),
            Event::TransactionBuilt {
                payment,
                txid,
                fee_sat,
            } => {
                let payout = self.payment(payment)?;
                let once = payout.versions.is_empty() && payout.state == State::Reserved;
                payout.versions.push((*txid, fee_sat.0 * 1_000));
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
                let was = self.payment(payment)?.state;
                let back = was != State::Settled || matches!(reason, FailureReason::Returned(_));
                self.go(payment, State::Failed)?;
                self.book(payment, 0)?;
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
            Event::PartyEnrolled { party, did } => self.on_enrolled(party, did, fact_of(input)),
            Event::EnrolmentRefused { party, did, state } => {
                self.on_enrolment_refused((party, did), *state, fact_of(input))
            }
            Event::PartyOpened { .. }
            | Event::WalletOpened { .. }
            | Event::ChargeCreated { .. }
            | Event::PayoutReserved { .. }
            | Event::FeerateChosen { .. }
            | Event::PayoutsBatched { .. }
            | Event::CoinsConsolidated { .. }
            | Event::TransferAccepted { .. }
            | Event::Posted(_)
            | Event::Hold(_)
            | Event::WebhookIgnored { .. }
            | Event::OutcomeUnknown { .. }
            | Event::BreakFound { .. } => Ok(()),
        }
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
            return Ok(());
        }
        let asked = charge.amount;
        match orders::invoice(request, network) {
            Ok(Read::Invoice { hash, msat, .. }) if msat == asked => {
                let hash = (Kind::LightningCharge, hash);
                self.hashes.entry(hash).or_insert_with(|| id.clone());
                Ok(())
            }
            _ => Err(format!("the invoice of {id} is not over {asked} msat")),
        }
    }

    /// A settled payment has moved what the fact says that settled it.
    fn on_settled(&mut self, id: &PaymentId, units: u64, fee: u64, input: &Input) -> Checked {
        let payment = self.payment(id)?.clone();
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
                is_its(payment_hash) && amount_msat.0 == units && units >= asked,
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
            (Kind::OnchainCharge, Fact::Chain(_)) => {
                self.payment(id)?.fresh = true;
                (units >= asked, units)
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

fn tracked_charge(order: &Charge) -> Tracked {
    let kind = if order.rail == Rail::Onchain {
        Kind::OnchainCharge
    } else {
        Kind::LightningCharge
    };
    tracked(kind, State::Created, &order.party, order.amount_msat.0)
}

fn tracked(kind: Kind, state: State, party: &PartyId, amount: u64) -> Tracked {
    Tracked {
        kind,
        state,
        party: party.clone(),
        amount,
        asset: Asset::Btc,
        reserve: 0,
        held: 0,
        moved: 0,
        script: None,
        versions: Vec::new(),
        children: Vec::new(),
        depth: None,
        was_settled: false,
        fresh: false,
        suspended: false,
    }
}

fn rail_of(kind: Kind) -> Rail {
    match kind {
        Kind::LightningCharge | Kind::LightningPayout => Rail::Lightning,
        Kind::OnchainCharge | Kind::OnchainPayout => Rail::Onchain,
        Kind::SepaPayout => Rail::Sepa,
    }
}

pub(super) fn unless(right: bool, what: impl FnOnce() -> String) -> Checked {
    if right { Ok(()) } else { Err(what()) }
}

fn fact_of(input: &Input) -> Option<&Fact> {
    match input {
        Input::Fact { fact, .. } => Some(fact),
        Input::Command { .. } => None,
    }
}
