//! Owns what a scenario's commands must be answered, told before the scenario is run. It follows the steps with bounds on
//! what each party can spend: a payment moves between nothing and all of it, until a step expects to know more (a run
//! whose expectation fails ends there). Does not own the rules (`orders`, `terms`).

mod payouts;
mod terms;

pub use terms::{charge_terms, payout_terms};

use super::orders::{self, Prediction, Why};
use super::terms::{MOST_OPEN_RUNS, Terms};
use crate::scenario::{
    self, Action, BindingName, BindingStep, CrashPoint, DidMethod, Endpoint, Expectation, Family,
    GatewayFaultKind, OwnStep, OwnWalletName, OwnedWallet, Pace, PartyName, Pay, Payer,
    PaymentName, PaymentState, Request, Scenario, Shortfall, Trouble, WalletName,
};
use lockstep_engine::api;
use lockstep_engine::id::{PartyId, PaymentId};
use lockstep_engine::money::{Asset, Msat, Rail};
use lockstep_engine::onchain::Purpose;
use lockstep_engine::time::Span;
use std::collections::BTreeMap;

/// A challenge that was set so long ago, in ms, surely waits (ten minutes), whatever expectations have waited for.
const SOON_MS: u64 = 60_000;

/// What a kill before the journal can do.
const LOST: &str = "whether the engine dies before it takes the command";

/// What addresses that lie beyond the gap limit depend on.
const SCARCE: &str = "whether one of the wallet's last addresses is paid by then";

/// For each step of the scenario, in order, what its command must be answered in that world; `None` for a step that gives
/// the engine no command there. `Either` where money on its way, time or a fault decides.
pub fn foretell(scenario: &Scenario, world: scenario::World) -> Vec<Option<Prediction>> {
    let mut plan = Plan {
        scenario,
        terms: Terms::of(&scenario.policy),
        moves: BTreeMap::new(),
        runs: 0,
        ordered_cents: 0,
        registered: BTreeMap::new(),
        sure: BTreeMap::new(),
        now_ms: 0,
        given: BTreeMap::new(),
        chain_is_steady: true,
    };
    let mut told = Vec::new();
    for step in &scenario.steps {
        plan.now_ms = plan.now_ms.max(step.at.map_or(0, |at| at.get()));
        let here = step.only.is_none_or(|only| only == world);
        told.push(here.then(|| plan.take(&step.action)).flatten());
    }
    told
}

/// What a payment does to what its party can spend: at least and at most.
#[derive(Clone, Copy)]
struct Move<'a> {
    party: &'a str,
    asset: Asset,
    low: i128,
    high: i128,
    /// What the payee gets.
    amount: i128,
    rail: scenario::Rail,
    is_charge: bool,
    /// Paid on chain, and no block was mined since.
    coming: i128,
    /// Somebody has paid it.
    paid: bool,
    /// Certainly waiting for a decision.
    held: bool,
    /// Its agent decides, and may give the payee nothing of it.
    escrow: bool,
}

struct Plan<'a> {
    scenario: &'a Scenario,
    terms: Terms,
    moves: BTreeMap<&'a PaymentName, Move<'a>>,
    runs: usize,
    ordered_cents: u64,
    /// Bindings that steps have asked for: the wallet, and whose DID.
    registered: BTreeMap<&'a BindingName, (&'a WalletName, &'a PartyName)>,
    /// Those whose challenge certainly waits, and since when.
    sure: BTreeMap<&'a BindingName, u64>,
    /// Not before, in ms since the start.
    now_ms: u64,
    /// Addresses that each wallet has given out.
    given: BTreeMap<OwnWalletName, u32>,
    /// Until trouble begins with it, the chain does only what steps say.
    chain_is_steady: bool,
}

impl<'a> Plan<'a> {
    fn take(&mut self, action: &'a Action) -> Option<Prediction> {
        match action {
            Action::Charge(charge) => Some(self.charge(charge)),
            Action::Pay(pay) => {
                let opened = pay.opens.as_ref().map(|charge| self.charge(charge));
                self.pay(pay);
                opened
            }
            Action::Payout(payout) => Some(self.payout(payout)),
            // A party may be enrolled twice, and Layer 0 may not have answered the first time.
            Action::Enrol { .. } => Some(Prediction::Either("what Layer 0 has said by then")),
            // What of it is right is judged when it is given (I9).
            Action::Binding(step) => self.binding(step),
            Action::Sweep { .. } => Some(Prediction::Either("whether the engine lives")),
            Action::Release { charge } | Action::Refuse { charge } => Some(self.decision(charge)),
            Action::Reconcile { .. } => {
                self.runs += 1;
                Some(if self.runs <= MOST_OPEN_RUNS {
                    Prediction::Accepted
                } else {
                    Prediction::Either("how many reconciliations are under way")
                })
            }
            Action::Expect(Expectation::Payment { payment, state, .. }) => {
                self.learn(payment, *state);
                None
            }
            Action::Mine { .. } => {
                self.on_blocks();
                None
            }
            Action::Reorg(_) => {
                self.on_reorg();
                None
            }
            Action::Trouble(trouble) => {
                self.chain_is_steady &= trouble.family() != Family::Chain;
                None
            }
            Action::Own(OwnStep::Address { wallet }) => Some(if self.gives_address(wallet) {
                Prediction::Either(SCARCE)
            } else if self.engine_may_die() {
                Prediction::Either(LOST)
            } else {
                Prediction::Accepted
            }),
            Action::Own(OwnStep::Move { id, from, to, .. }) => Some(self.move_funds(id, from, to)),
            Action::Own(_)
            | Action::Channel(_)
            | Action::CrashNode { .. }
            | Action::RestartNode { .. }
            | Action::CrashEngine { .. }
            | Action::Decide(_)
            | Action::Gateway(_)
            | Action::Layer0(_)
            | Action::Fee { .. }
            | Action::Wait { .. }
            | Action::Expect(_) => None,
        }
    }

    /// The first registration of a wallet is taken; a proof by another wallet or by another `did:key` is not.
    fn binding(&mut self, step: &'a BindingStep) -> Option<Prediction> {
        match step {
            BindingStep::Decide { .. } | BindingStep::Replace { .. } => return None,
            BindingStep::Register {
                id, wallet, did, ..
            } => {
                let seen = self.registered.values().any(|(known, _)| *known == wallet);
                self.registered.insert(id, (wallet, did));
                if !seen && !self.engine_may_die() {
                    self.sure.insert(id, self.now_ms);
                    return Some(Prediction::Accepted);
                }
            }
            BindingStep::Prove {
                binding,
                wallet,
                did,
                challenge,
            } => {
                if let Some((own, holder)) = self.registered.get(binding) {
                    let other_wallet = wallet.as_ref().is_some_and(|wallet| wallet != *own);
                    let method = self.scenario.dids.get(*holder);
                    let is_key = method.is_some_and(|method| *method != DidMethod::Web);
                    let other_did = did.as_ref().is_some_and(|did| did != *holder);
                    if other_wallet || (other_did && is_key) {
                        return Some(Prediction::Refused(Why::Proof));
                    }
                }
                let is_right = (wallet, did, challenge) == (&None, &None, &None);
                let since = is_right.then(|| self.sure.remove(binding)).flatten();
                let soon = since.is_some_and(|since| self.now_ms - since < SOON_MS);
                if soon && self.scenario.pace == Pace::LockStep {
                    return Some(Prediction::Accepted);
                }
            }
            BindingStep::Rotate { .. } | BindingStep::Revoke { .. } => {}
        }
        Some(Prediction::Either("how the binding stands by then"))
    }

    fn engine_may_die(&self) -> bool {
        self.scenario.steps.iter().any(|step| {
            matches!(
                &step.action,
                Action::CrashEngine { .. }
                    | Action::Trouble(
                        Trouble::Process { .. } | Trouble::Disk { .. } | Trouble::Clock { .. }
                    )
            )
        })
    }

    /// Whether the engine may die, or fail to keep its journal, before it has taken the first input about this payment,
    /// which then never was.
    fn may_get_lost(&self, payment: &PaymentName) -> bool {
        let at_risk = |step: &scenario::Step| match &step.action {
            Action::CrashEngine { point, on } => {
                *point == CrashPoint::BeforeJournal && on == payment
            }
            Action::Trouble(
                Trouble::Process { of, .. } | Trouble::Disk { of, .. } | Trouble::Clock { of, .. },
            ) => *of == Endpoint::Engine,
            _ => false,
        };
        self.scenario.steps.iter().any(at_risk)
    }

    fn charge(&mut self, charge: &'a scenario::Charge) -> Prediction {
        let (rail, msat, hold) = match &charge.request {
            Request::Lightning { amount, hold, .. } => {
                (Rail::Lightning, amount.map_or(0, |msat| msat.get()), *hold)
            }
            Request::Onchain { amount, .. } => {
                (Rail::Onchain, amount.get().saturating_mul(1_000), false)
            }
        };
        let order = api::Charge {
            payment: id(&charge.id),
            party: PartyId::new(charge.party.as_str()).expect("checked with the scenario"),
            amount_msat: Msat(msat),
            rail,
            hold,
            expires_in: Span(charge.expires.get()),
            wallet: None,
            refund_to: None,
            terms: charge_terms(&charge.request),
            escrow: None,
        };
        if let Err(why) = orders::charge(&order) {
            return Prediction::Refused(why);
        }
        let scarce = match self.address(charge) {
            Ok(scarce) => scarce,
            Err(why) => return Prediction::Refused(why),
        };
        let made = Move {
            party: charge.party.as_str(),
            asset: Asset::Btc,
            low: 0,
            high: 0,
            amount: i128::from(msat),
            rail: charge.request.rail(),
            is_charge: true,
            coming: 0,
            paid: false,
            held: false,
            escrow: charge.escrow.is_some(),
        };
        self.moves.insert(&charge.id, made);
        if self.may_get_lost(&charge.id) {
            Prediction::Either(LOST)
        } else if scarce {
            Prediction::Either(SCARCE)
        } else {
            Prediction::Accepted
        }
    }

    /// Whether a charge's wallet may be at its gap limit, if the charge asks for an address at all.
    fn address(&mut self, charge: &scenario::Charge) -> Result<bool, Why> {
        let Request::Onchain { wallet, .. } = &charge.request else {
            return Ok(false);
        };
        let serving = self.serving(&charge.party, wallet.as_ref(), self.terms.charges_into)?;
        Ok(self.gives_address(&serving.name))
    }

    /// An address is given out; whether that may be beyond the gap limit.
    fn gives_address(&mut self, wallet: &OwnWalletName) -> bool {
        let wallets = &self.scenario.operator.wallets;
        let limit = wallets.iter().find(|known| known.name == *wallet);
        let given = self.given.entry(wallet.clone()).or_insert(0_u32);
        *given = given.saturating_add(1);
        limit.is_some_and(|wallet| *given > wallet.gap_limit)
    }

    /// Coins stay with their owner; whether there are enough of them shows after the command.
    fn move_funds(
        &mut self,
        id: &PaymentName,
        from: &OwnWalletName,
        to: &OwnWalletName,
    ) -> Prediction {
        let owner = |wallet: &OwnWalletName| {
            let mut known = self.scenario.operator.wallets.iter();
            known
                .find(|known| known.name == *wallet)
                .and_then(|known| known.owner.as_ref())
        };
        if from == to || owner(from) != owner(to) {
            return Prediction::Refused(Why::WalletNotTheirs);
        }
        if self.gives_address(to) {
            Prediction::Either(SCARCE)
        } else if self.may_get_lost(id) {
            Prediction::Either(LOST)
        } else {
            Prediction::Accepted
        }
    }

    /// The operator's wallet that serves an order of this party's.
    fn serving(
        &self,
        party: &PartyName,
        named: Option<&OwnWalletName>,
        purpose: Purpose,
    ) -> Result<&'a OwnedWallet, Why> {
        let operator = &self.scenario.operator;
        if let Some(named) = named {
            let mut wallets = operator.wallets.iter();
            let wallet = wallets.find(|wallet| wallet.name == *named);
            let wallet = wallet.ok_or(Why::WalletUnknown)?;
            return match &wallet.owner {
                Some(owner) if owner != party => Err(Why::WalletNotTheirs),
                Some(_) | None => Ok(wallet),
            };
        }
        let of = |owner: Option<&PartyName>| {
            let wallets = operator.wallets.iter();
            let fit = wallets.filter(|wallet| {
                super::purpose(wallet.purpose) == purpose && wallet.owner.as_ref() == owner
            });
            fit.min_by_key(|wallet| &wallet.name)
        };
        let operators = of(None).filter(|_| purpose != Purpose::Hot);
        Ok(of(Some(party)).or(operators).unwrap_or(operator.hot()))
    }

    /// Money may come from now on: over Lightning the charge's amount once, on chain each payment more with the next block.
    fn pay(&mut self, pay: &'a Pay) {
        let Some(charge) = self.moves.get_mut(&pay.charge) else {
            return;
        };
        charge.paid = true;
        match &pay.payer {
            Payer::Node { amount, .. } => {
                let paid = amount.map_or(charge.amount, |msat| i128::from(msat.get()));
                charge.high = charge.high.max(paid);
            }
            Payer::Wallet { amount, .. } => {
                let other = amount.map(|sat| i128::from(sat.get()) * 1_000);
                charge.coming += other.unwrap_or(charge.amount);
            }
        }
    }

    /// Whether a party may owe what a reorganisation took back.
    fn may_be_frozen(&self) -> bool {
        let reorganises = |step: &scenario::Step| match &step.action {
            Action::Reorg(_) => true,
            Action::Trouble(trouble) => trouble.family() == Family::Chain,
            _ => false,
        };
        self.scenario.policy.shortfall == Some(Shortfall::Freeze)
            && self.scenario.steps.iter().any(reorganises)
    }

    /// What a party can spend, at least and at most.
    fn spendable(&self, party: &str, asset: Asset) -> (i128, i128) {
        let moves = self.moves.values();
        let its = moves.filter(|payment| payment.party == party && payment.asset == asset);
        its.fold((0, 0), |(low, high), payment| {
            let on_chain = payment.is_charge && payment.rail == scenario::Rail::Onchain;
            match on_chain && !self.chain_is_steady {
                true => (low, high + payment.high + payment.coming),
                false => (low + payment.low, high + payment.high),
            }
        })
    }

    fn decision(&mut self, charge: &'a PaymentName) -> Prediction {
        let lost = self.may_get_lost(charge);
        let Some(charge) = self.moves.get_mut(charge) else {
            return Prediction::Refused(Why::PaymentUnknown);
        };
        if charge.escrow {
            return Prediction::Refused(Why::Escrow);
        }
        let held = std::mem::take(&mut charge.held) && self.chain_is_steady;
        match (charge.paid, held) {
            (false, _) => Prediction::Refused(Why::NotHeld),
            (true, _) if lost => Prediction::Either(LOST),
            (true, true) => Prediction::Accepted,
            (true, false) => Prediction::Either("whether the money has come and still waits"),
        }
    }

    /// A step after this one is only taken if the payment was in that state.
    fn learn(&mut self, name: &'a PaymentName, state: PaymentState) {
        let returns = self.scenario.steps.iter().any(|step| match &step.action {
            Action::Gateway(fault) => {
                fault.on == *name && matches!(fault.kind, GatewayFaultKind::Return { .. })
            }
            _ => false,
        });
        let Some(payment) = self.moves.get_mut(name) else {
            return;
        };
        match (state, payment.is_charge) {
            (PaymentState::Settled, true) if payment.escrow => {}
            (PaymentState::Settled, true) => {
                let short = self
                    .scenario
                    .policy
                    .tolerance
                    .map_or(0, |sat| sat.get() * 1_000);
                let least = payment.amount.saturating_sub(i128::from(short));
                (payment.low, payment.high) = (least, payment.high.max(payment.amount));
            }
            (PaymentState::Settled, false) if payment.rail == scenario::Rail::Sepa => {
                payment.high = if returns { 0 } else { payment.low };
            }
            (PaymentState::Settled, false) => payment.high = -payment.amount,
            (PaymentState::Failed, _) if payment.rail != scenario::Rail::Onchain => {
                (payment.low, payment.high) = (0, 0);
            }
            (PaymentState::Failed, false) => (payment.low, payment.high) = (0, 0),
            (PaymentState::Undone, true) => payment.low = 0,
            (PaymentState::Held, true) => payment.held = true,
            _ => {}
        }
    }

    /// Blocks confirm, and bring a held payment nearer to its deadline.
    fn on_blocks(&mut self) {
        for payment in self.moves.values_mut() {
            payment.held = false;
            payment.high += std::mem::take(&mut payment.coming);
        }
    }

    /// A reorganisation may take every on-chain credit back.
    fn on_reorg(&mut self) {
        self.on_blocks();
        let charges = self.moves.values_mut().filter(|payment| payment.is_charge);
        for charge in charges.filter(|charge| charge.rail == scenario::Rail::Onchain) {
            charge.low = 0;
        }
    }
}

fn id(name: &PaymentName) -> PaymentId {
    PaymentId::new(name.as_str()).expect("checked with the scenario")
}
