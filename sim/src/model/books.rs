//! Owns the model's memory: every payment, where it stands, and what each party is owed and has set aside because of it
//! (docs/SPEC.md, "Holds", "What is posted", "Payments", "Idempotency"). It is told each accepted input with what came of
//! it, and says what of that must not be. What an event means is in `events`, a look at the chain in `chain`.

use super::bindings::BindingBook;
use super::coins::Coins;
use super::cosigners::Questions;
use super::escrow::Escrows;
use super::layer0::Layer0;
use super::orders::{self, Prediction, Read};
use super::states::{Kind, State, may_follow};
use super::strays::{Borne, Money, PAYERS};
use super::terms::{LEAST_CHARGE_MSAT, Terms};
use super::wallets::OwnWallets;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint, ScriptBuf, Txid};
use lockstep_engine::api::{Charge, Command, Destination, Event, Input, Output, Payout};
use lockstep_engine::id::{CommandId, PartyId, PaymentId, ReconciliationId, WalletId};
use lockstep_engine::money::{Asset, Quantity, Rail};
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
    /// All that the party could spend goes: its transaction says how much of it the payee gets.
    pub(super) all: bool,
    /// The payer of a charge says how much; `amount` is the least.
    pub(super) any: bool,
    /// In what the party pays or is paid.
    pub(super) asset: Asset,
    /// Set aside for it when it was ordered; nothing for a charge.
    pub(super) reserve: u64,
    pub(super) held: u64,
    /// What the party has more (charges) or less (payouts) because of it.
    pub(super) moved: u64,
    /// A charge on chain has an invoice as well, which brought so much and settled it.
    pub(super) by_invoice: Option<u64>,
    /// A charge's address.
    pub(super) script: Option<ScriptBuf>,
    /// What is known of the money on it.
    pub(super) money: Money,
    /// On chain: which of our wallets is paid or pays.
    pub(super) wallet: Option<WalletId>,
    /// The versions of a payout's transaction, each with what the payout bears of its fee in msat.
    pub(super) versions: Vec<(Txid, u64)>,
    /// Children that pay for a version: itself, the version, and what the payout bears of both fees in msat.
    pub(super) children: Vec<(Txid, Txid, u64)>,
    /// How deep the last look showed it.
    pub(super) depth: Option<u32>,
    /// Whether its transaction may have successors.
    pub(super) bumps: bool,
    pub(super) was_settled: bool,
    /// Settled by the very look that is being taken in.
    pub(super) fresh: bool,
    /// Its late or short receipt, or late success, lies in suspense.
    pub(super) suspended: bool,
    /// The charge, if it is a refund.
    pub(super) refund_of: Option<PaymentId>,
    /// What it spends is gone.
    pub(super) moot: bool,
    /// The escrow that a charge is in.
    pub(super) escrow: Option<String>,
    /// The payer's part of a split is on its way back.
    pub(super) rest_ordered: bool,
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
    pub(super) changed: BTreeSet<PaymentId>,
    /// Whose a Lightning payment hash is.
    pub(super) hashes: BTreeMap<(Kind, [u8; 32]), PaymentId>,
    /// The operator's node, once an invoice of it was seen.
    pub(super) own_node: Option<PublicKey>,
    pub(super) strays: BTreeSet<[u8; 32]>,
    pub(super) runs: BTreeMap<ReconciliationId, bool>,
    pub(super) lightning_suspense: i128,
    pub(super) bindings: BindingBook,
    /// Whether an output on a charge's address came from bound wallets, where that is asked.
    pub(super) payers: BTreeMap<OutPoint, bool>,
    pub(super) wallets: OwnWallets,
    pub(super) coins: Coins,
    pub(super) layer0: Layer0,
    /// Time of the tip of the latest look, and whether that decides anything now.
    pub(super) tip_secs: Option<u32>,
    pub(super) tip_is_stale: bool,
    /// What others bear for a party.
    pub(super) borne: BTreeMap<PartyId, Borne>,
    /// By the last input: refunds that were told of, with their charge and amount in satoshi.
    pub(super) refunds_told: BTreeMap<PaymentId, (PaymentId, u64)>,
    /// By the last input: what refunds of a charge send less, or again, in satoshi.
    pub(super) moot: Vec<(PaymentId, i64)>,
    pub(super) questions: Questions,
    /// The backend was asked for feerates and has not answered.
    pub(super) fees_asked: bool,
    pub(super) escrows: Escrows,
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
            own_node: None,
            strays: BTreeSet::new(),
            runs: BTreeMap::new(),
            lightning_suspense: 0,
            bindings: BindingBook::default(),
            payers: BTreeMap::new(),
            wallets: OwnWallets::default(),
            coins: Coins::default(),
            layer0: Layer0::default(),
            tip_secs: None,
            tip_is_stale: false,
            borne: BTreeMap::new(),
            refunds_told: BTreeMap::new(),
            moot: Vec::new(),
            questions: Questions::default(),
            fees_asked: false,
            escrows: Escrows::new(),
        }
    }

    /// Each party's balances.
    pub fn parties(&self) -> impl Iterator<Item = (&PartyId, Asset, Owned)> {
        let callers = |party: &PartyId| party.as_str() != PAYERS;
        let each = self
            .parties
            .iter()
            .filter(move |((party, _), _)| callers(party));
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
                // What a peer gives us in a channel that it opens, and what comes to the node's wallet from nowhere.
                Fact::Node(_) => rail == Rail::Lightning,
                Fact::Webhook { .. } | Fact::HttpResponded { .. } => rail == Rail::Sepa,
                _ => false,
            },
        }
    }

    /// Takes a refused command in: it must not have been one that must be accepted.
    pub fn on_refused(&self, now: Timestamp, input: &Input) -> Checked {
        let Input::Command { id, command, .. } = input else {
            return self.decision_is_rightly_refused(input);
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
        self.refunds_told.clear();
        self.weigh_tip(now, input);
        self.look_at_coins(input);
        self.hear_of_fees(input);
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
            self.note_deadline(now, command);
        }
        self.bindings.on_accepted(now, input, &output.events)?;
        self.take_decision(input)?;
        let before = self.before(input);
        for event in &output.events {
            self.on_event(event, input)?;
            self.on_end(now, event);
        }
        self.check_all_stated()?;
        self.on_cosigners(input, output)?;
        self.on_coins(output)?;
        for instruction in &output.instructions {
            self.on_claim(instruction)?;
            self.on_instruction(instruction);
        }
        match input {
            Input::Fact {
                fact: Fact::Chain(view),
                ..
            } => self.on_view(view)?,
            Input::Fact { fact, .. } => {
                self.on_lightning(fact, before)?;
                self.dispose_of_failed()?;
            }
            Input::Command { .. } => return Ok(()),
        }
        self.decisions_are_carried_out()?;
        self.refunds_are_right()?;
        self.bear();
        Ok(())
    }

    /// The backend has told what it knows of fees, or cannot be asked: nothing waits for it any more.
    fn hear_of_fees(&mut self, input: &Input) {
        if let Input::Fact { fact, .. } = input {
            let is_told = match fact {
                Fact::Fees { .. } => true,
                Fact::Unavailable { key, .. } => key.0.starts_with("fees:"),
                _ => false,
            };
            self.fees_asked &= !is_told;
        }
    }

    /// A charge on chain that has failed by its timer: what had come in time is disposed of.
    fn dispose_of_failed(&mut self) -> Checked {
        let changed = std::mem::take(&mut self.changed);
        let charges = changed.iter().filter(|id| {
            let charge = &self.payments[*id];
            let decided = charge.escrow.is_some() && charge.state == State::Settled;
            charge.kind == Kind::OnchainCharge && (charge.state == State::Failed || decided)
        });
        let charges: Vec<PaymentId> = charges.cloned().collect();
        self.changed = changed;
        charges.iter().try_for_each(|id| self.dispose(id))
    }

    fn on_command(&mut self, id: &CommandId, command: &Command, output: &Output) -> Checked {
        self.commands.insert(id.clone(), command.clone());
        match command {
            Command::OpenWallet(spec) => self.on_wallet(spec),
            Command::MoveFunds(order) => self.on_move(order),
            Command::NewAddress { .. } | Command::SetLabel(_) => {}
            Command::OpenParty { party } => {
                for asset in [Asset::Btc, Asset::Eur] {
                    self.parties
                        .insert((party.clone(), asset), Owned::default());
                }
            }
            Command::CreateCharge(order) => {
                let mut charge = tracked_charge(&self.terms, order);
                let purpose = self.terms.charges_into;
                charge.wallet = self
                    .serving_wallet(&order.party, &order.wallet, purpose)
                    .ok();
                self.insert(&order.payment, charge);
                self.enter_escrow(order);
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
                self.on_enrolling(party, did);
            }
            Command::RegisterWallet(_)
            | Command::ProveWallet(_)
            | Command::RotateDid(_)
            | Command::RevokeWallet { .. }
            | Command::SweepByRecovery { .. }
            | Command::OpenChannel(_)
            | Command::CloseChannel { .. }
            | Command::RecordOpening { .. } => {}
        }
        Ok(())
    }

    fn on_payout(&mut self, order: &Payout, output: &Output) -> Checked {
        let order = &self.filled(order);
        let (asset, units) = self
            .terms
            .hold(order)
            .ok_or("a payout without a price was accepted")?;
        let kind = match &order.destination {
            Destination::Invoice(text) => {
                if let Ok(Read::Invoice(invoice)) = orders::invoice(text, self.network) {
                    self.hashes
                        .insert((Kind::LightningPayout, invoice.hash), order.payment.clone());
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
        payout.all = order.all;
        payout.wallet = self.paying_wallet(order).ok();
        let wallet = payout.wallet.as_ref();
        let is_cosigned = wallet.is_some_and(|wallet| self.cosigners_of(wallet).is_some());
        payout.bumps = self.terms.bumps && !is_cosigned && !order.all;
        self.insert(&order.payment, payout);
        let told = output.events.contains(&reserved);
        unless(told, || format!("{reserved:?} was not told"))
    }

    pub(super) fn insert(&mut self, id: &PaymentId, payment: Tracked) {
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
        let again = !matches!((from, to), (State::Failed, State::Settled | State::Held))
            || payment.was_settled;
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

    /// So much stays set aside for a payment beside what is booked.
    pub(super) fn keep(&mut self, id: &PaymentId, units: u64) -> Checked {
        let payment = self.payment(id)?;
        let before = std::mem::replace(&mut payment.held, units);
        let (party, asset) = (payment.party.clone(), payment.asset);
        self.change(party, asset, 0, i128::from(units) - i128::from(before));
        Ok(())
    }
}

fn tracked_charge(terms: &Terms, order: &Charge) -> Tracked {
    let kind = if order.rail == Rail::Onchain {
        Kind::OnchainCharge
    } else {
        Kind::LightningCharge
    };
    let amount = match order.terms.any_amount {
        true => LEAST_CHARGE_MSAT,
        false => order.amount_msat.0,
    };
    let mut charge = tracked(kind, State::Created, &order.party, amount);
    charge.any = order.terms.any_amount;
    // Nothing leaves for a wallet that nobody has bound, where that is asked.
    charge.escrow = order.escrow.as_ref().map(|terms| terms.id.to_string());
    charge.money.can_go_back = order.refund_to.is_some() && !terms.asks_bound_payouts();
    charge
}

pub(super) fn tracked(kind: Kind, state: State, party: &PartyId, amount: u64) -> Tracked {
    Tracked {
        kind,
        state,
        party: party.clone(),
        amount,
        all: false,
        any: false,
        by_invoice: None,
        asset: Asset::Btc,
        reserve: 0,
        held: 0,
        moved: 0,
        script: None,
        money: Money::default(),
        wallet: None,
        versions: Vec::new(),
        children: Vec::new(),
        depth: None,
        bumps: false,
        was_settled: false,
        fresh: false,
        suspended: false,
        refund_of: None,
        moot: false,
        escrow: None,
        rest_ordered: false,
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
