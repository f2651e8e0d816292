//! Owns what must hold of the operator's wallets: which one an order means, which command is refused for a wallet's sake, that
//! no address is given out twice nor beyond the gap limit, and the states of moves of funds (docs/SPEC.md, "Wallets").
//! Does not own what lies in a wallet: I2 does these sums.

use super::books::{Checked, Model, unless};
use super::orders::{Prediction, Why};
use super::states::{Kind, State, may_follow};
use bitcoin::{ScriptBuf, Txid};
use lockstep_engine::api::{Event, MoveOrder};
use lockstep_engine::id::{PartyId, PaymentId, WalletId};
use lockstep_engine::money::Asset;
use lockstep_engine::onchain::{Owner, Purpose, WalletSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Of the wallet that is there from the beginning (BIP 44).
const USUAL_GAP: usize = 20;

/// Below it nodes do not relay a taproot output.
const LEAST_MOVE_SAT: u64 = 330;

/// Ten bitcoin.
const MOST_MOVE_SAT: u64 = 1_000_000_000;

/// All that is known of our wallets.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnWallets {
    /// But for `hot`.
    pub(super) opened: BTreeMap<WalletId, WalletSpec>,
    /// Addresses given out of each, in order.
    given: BTreeMap<WalletId, Vec<ScriptBuf>>,
    /// Scripts that were ever paid.
    paid: BTreeSet<ScriptBuf>,
    moves: BTreeMap<PaymentId, Moved>,
}

/// A move of funds.
#[derive(Clone, Debug)]
struct Moved {
    state: State,
    amount_sat: u64,
    transaction: Option<(Txid, u64)>,
}

impl Model {
    /// What must be answered to the order to open a wallet.
    pub(super) fn predict_wallet(&self, spec: &WalletSpec) -> Prediction {
        if self.has_wallet(&spec.name) {
            return Prediction::Refused(Why::WalletExists);
        }
        match &spec.owner {
            Owner::Party(party) if !self.has_party(party) => Prediction::Refused(Why::PartyUnknown),
            Owner::Party(_) | Owner::Operator => {
                Prediction::Either("the model does not read descriptors")
            }
        }
    }

    pub(super) fn on_wallet(&mut self, spec: &WalletSpec) {
        let opened = &mut self.wallets.opened;
        opened.insert(spec.name.clone(), spec.clone());
    }

    fn has_wallet(&self, wallet: &WalletId) -> bool {
        *wallet == WalletId::hot() || self.wallets.opened.contains_key(wallet)
    }

    fn owner_of(&self, wallet: &WalletId) -> Result<&Owner, Why> {
        if *wallet == WalletId::hot() {
            return Ok(&Owner::Operator);
        }
        let spec = self.wallets.opened.get(wallet);
        spec.map(|spec| &spec.owner).ok_or(Why::WalletUnknown)
    }

    /// The wallet that serves an order.
    pub(super) fn serving_wallet(
        &self,
        party: &PartyId,
        named: &Option<WalletId>,
        purpose: Purpose,
    ) -> Result<WalletId, Why> {
        if let Some(named) = named {
            return match self.owner_of(named)? {
                Owner::Party(owner) if owner != party => Err(Why::WalletNotTheirs),
                Owner::Party(_) | Owner::Operator => Ok(named.clone()),
            };
        }
        let of = |owner: Owner| {
            let opened = self.wallets.opened.values();
            let mut fit = opened.filter(move |spec| spec.purpose == purpose && spec.owner == owner);
            fit.next().map(|spec| spec.name.clone())
        };
        let operators = of(Owner::Operator).filter(|_| purpose != Purpose::Hot);
        let own = of(Owner::Party(party.clone()));
        Ok(own.or(operators).unwrap_or_else(WalletId::hot))
    }

    /// Whether a fresh address is refused.
    pub(super) fn fresh_address(&self, wallet: &WalletId) -> Result<(), Why> {
        if !self.has_wallet(wallet) {
            return Err(Why::WalletUnknown);
        }
        let spec = self.wallets.opened.get(wallet);
        let limit = spec.map_or(USUAL_GAP, |spec| spec.gap_limit as usize);
        let given = self
            .wallets
            .given
            .get(wallet)
            .map_or(&[][..], Vec::as_slice);
        let unused = given
            .iter()
            .rev()
            .take_while(|script| !self.wallets.paid.contains(*script))
            .count();
        if unused >= limit {
            Err(Why::GapLimit)
        } else {
            Ok(())
        }
    }

    /// An address goes out: never a second time, from whichever wallet.
    pub(super) fn give(&mut self, wallet: &WalletId, address: &str) -> Checked {
        let parsed = address.parse::<bitcoin::Address<_>>();
        let script = parsed
            .map_err(|error| error.to_string())?
            .assume_checked()
            .script_pubkey();
        let mut all = self.wallets.given.values().flatten();
        if all.any(|given| *given == script) {
            return Err(format!(
                "address {address} of {wallet} was given out before"
            ));
        }
        self.wallets
            .given
            .entry(wallet.clone())
            .or_default()
            .push(script);
        Ok(())
    }

    /// A look at the chain shows what was paid.
    pub(super) fn note_paid<'a>(&mut self, scripts: impl Iterator<Item = &'a ScriptBuf>) {
        self.wallets.paid.extend(scripts.cloned());
    }

    pub(super) fn check_move(&self, order: &MoveOrder) -> Result<(), Why> {
        if self.payments.contains_key(&order.payment) || self.is_move(&order.payment) {
            return Err(Why::PaymentIdUsed);
        }
        let (from, to) = (self.owner_of(&order.from)?, self.owner_of(&order.to)?);
        if order.from == order.to || from != to {
            return Err(Why::WalletNotTheirs);
        }
        if !(LEAST_MOVE_SAT..=MOST_MOVE_SAT).contains(&order.amount_sat.0) {
            return Err(Why::Amount);
        }
        self.fresh_address(&order.to)
    }

    pub(super) fn is_move(&self, payment: &PaymentId) -> bool {
        self.wallets.moves.contains_key(payment)
    }

    pub(super) fn on_move(&mut self, order: &MoveOrder) {
        let moved = Moved {
            state: State::Reserved,
            amount_sat: order.amount_sat.0,
            transaction: None,
        };
        self.wallets.moves.insert(order.payment.clone(), moved);
    }

    /// `None`: the event is about no move.
    pub(super) fn on_move_event(&mut self, event: &Event) -> Option<Checked> {
        match event {
            Event::AddressGiven { wallet, address } => Some(self.give(wallet, address)),
            Event::MoveStarted { to, address, .. } => Some(self.give(to, address)),
            Event::TransactionBuilt {
                payment,
                txid,
                fee_sat,
            } => {
                let moved = self.wallets.moves.get_mut(payment)?;
                let once = moved.transaction.replace((*txid, fee_sat.0)).is_none();
                Some(unless(once, || {
                    format!("another transaction was built for {payment}")
                }))
            }
            Event::PayoutDispatched { payment } => self.move_goes(payment, State::Dispatched),
            Event::PaymentUndone { payment } => self.move_goes(payment, State::Dispatched),
            Event::PaymentFailed { payment, .. } => self.move_goes(payment, State::Failed),
            Event::PaymentSettled {
                payment,
                quantity,
                fee_msat,
            } => {
                let moved = self.wallets.moves.get(payment)?;
                let fee = moved.transaction.map(|(_, fee)| fee * 1_000);
                let right = quantity.asset == Asset::Btc
                    && quantity.units == moved.amount_sat * 1_000
                    && fee == Some(fee_msat.0);
                if right {
                    self.move_goes(payment, State::Settled)
                } else {
                    Some(Err(format!(
                        "move {payment} settled with {quantity} and {fee_msat}"
                    )))
                }
            }
            _ => None,
        }
    }

    fn move_goes(&mut self, payment: &PaymentId, to: State) -> Option<Checked> {
        let moved = self.wallets.moves.get_mut(payment)?;
        let from = std::mem::replace(&mut moved.state, to);
        Some(unless(may_follow(Kind::OnchainPayout, from, to), || {
            format!("move {payment} went from {from:?} to {to:?}")
        }))
    }

    /// A move is settled while its transaction has the depth of a payout.
    pub(super) fn moves_fit(&self, depths: &BTreeMap<Txid, u32>) -> Checked {
        for (id, moved) in &self.wallets.moves {
            let depth = moved
                .transaction
                .and_then(|(txid, _)| depths.get(&txid).copied());
            let right = match moved.state {
                State::Settled => depth.is_some_and(|depth| depth > 0),
                State::Dispatched => depth.is_none_or(|depth| depth < self.terms.payout_depth),
                State::Failed => depth.is_none(),
                _ => true,
            };
            unless(right, || {
                format!(
                    "move {id} is {:?} and its transaction {depth:?} deep",
                    moved.state
                )
            })?;
        }
        Ok(())
    }

    /// Which of our wallets a payment on chain is paid into or from.
    pub fn wallet_of(&self, payment: &PaymentId) -> Option<&WalletId> {
        self.payments.get(payment)?.wallet.as_ref()
    }

    /// Where each move stands.
    pub fn moves(&self) -> impl Iterator<Item = (&PaymentId, State)> {
        self.wallets
            .moves
            .iter()
            .map(|(id, moved)| (id, moved.state))
    }
}
