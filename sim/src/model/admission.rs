//! Owns what must be answered to a command, given all that happened before (docs/SPEC.md, "Payments", "Holds",
//! "Idempotency", "Limits"). Does not own what an order is by itself (`orders`).

use super::books::{Model, Owned};
use super::orders::{self, Invoice, Prediction, Read, Why};
use super::states::{Kind, State};
use super::strays::PAYERS;
use super::terms::{MOST_CENTS, MOST_FINAL_DELTA, MOST_MSAT, MOST_OPEN_PAYMENTS, MOST_OPEN_RUNS};
use lockstep_engine::api::{Charge, Command, Destination, Payout};
use lockstep_engine::id::{CommandId, PartyId, PaymentId, WalletId};
use lockstep_engine::identity::Purpose;
use lockstep_engine::money::Asset;
use lockstep_engine::onchain::LabelKind;
use lockstep_engine::rail::Rail;
use lockstep_engine::time::Timestamp;

impl Model {
    /// What must be answered to a command at `now`.
    pub fn predict(&self, now: Timestamp, id: &CommandId, command: &Command) -> Prediction {
        if let Some(first) = self.commands.get(id) {
            return if first == command {
                Prediction::Accepted
            } else {
                Prediction::Refused(Why::CommandIdUsed)
            };
        }
        let about_a_binding = self
            .bindings
            .predict(now, command, |party| self.has_party(party));
        if let Some(prediction) = about_a_binding {
            return prediction;
        }
        let refused = match command {
            Command::OpenWallet(spec) => return self.predict_wallet(spec),
            Command::OpenParty { party } => no(
                self.has_party(party) || party.as_str() == PAYERS,
                Why::PartyExists,
            ),
            Command::NewAddress { wallet } => self.fresh_address(wallet),
            Command::MoveFunds(order) => self.check_move(order),
            Command::SetLabel(label) => {
                let fits = label.spendable.is_none() || label.kind == LabelKind::Output;
                match no(!fits, Why::Label) {
                    Ok(()) => return Prediction::Either("the model does not read labels"),
                    refused => refused,
                }
            }
            Command::RecordOpening { rail, quantity } => {
                no(rail.asset() != quantity.asset, Why::WrongAsset)
                    .and(no(quantity.units == 0, Why::Amount))
            }
            Command::SweepByRecovery { sweep, wallet } => self.forbids_sweep(sweep, wallet),
            Command::OpenChannel(order) => {
                match no(self.is_id_used(&order.order), Why::PaymentIdUsed) {
                    Ok(()) => {
                        return Prediction::Either("the model does not know the node's channels");
                    }
                    refused => refused,
                }
            }
            Command::CloseChannel { .. } => {
                return Prediction::Either("the model does not know the node's channels");
            }
            Command::CreateCharge(order) => self
                .new_payment(&order.party, &order.payment)
                .and(orders::charge(order))
                .and(self.forbids_escrow(order))
                .and(self.charge_wallet(order)),
            Command::CreatePayout(order) => return self.predict_payout(now, order),
            // Told above.
            Command::RegisterWallet(_)
            | Command::ProveWallet(_)
            | Command::RotateDid(_)
            | Command::RevokeWallet { .. } => Ok(()),
            Command::EnrolParty { party, .. } => self.forbids_enrolment(party),
            Command::ReleaseHeld { payment } | Command::RefuseHeld { payment } => {
                match self.state(payment) {
                    None => Err(Why::PaymentUnknown),
                    Some(_) if self.is_in_escrow(payment) => Err(Why::Escrow),
                    Some(state) => no(state != State::Held, Why::NotHeld),
                }
            }
            Command::Reconcile { run, report_day } => {
                let open = self.runs.values().filter(|open| **open).count();
                match no(self.runs.contains_key(run), Why::RunIdUsed)
                    .and(no(open >= MOST_OPEN_RUNS, Why::TooManyOpen))
                {
                    Ok(()) => return orders::day(report_day),
                    refused => refused,
                }
            }
        };
        refused.map_or_else(Prediction::Refused, |()| Prediction::Accepted)
    }

    fn charge_wallet(&self, order: &Charge) -> Result<(), Why> {
        let purpose = self.terms.charges_into;
        let wallet = self.serving_wallet(&order.party, &order.wallet, purpose)?;
        match order.rail {
            Rail::Onchain => self.fresh_address(&wallet),
            Rail::Lightning | Rail::Sepa => Ok(()),
        }
    }

    /// The wallet that pays for an order.
    pub(super) fn paying_wallet(&self, order: &Payout) -> Result<WalletId, Why> {
        let named = self.terms.wallet_by_value(order);
        self.serving_wallet(&order.party, &named, self.terms.payouts_from)
    }

    /// Only a wallet with a recovery key, and under an id that nothing has.
    fn forbids_sweep(&self, sweep: &PaymentId, wallet: &WalletId) -> Result<(), Why> {
        let people = self
            .wallets
            .opened
            .get(wallet)
            .and_then(|spec| spec.cosigners());
        let has_recovery = people.is_some_and(|people| people.recovery.is_some());
        no(self.is_id_used(sweep), Why::PaymentIdUsed).and(no(!has_recovery, Why::NoRecovery))
    }

    fn is_id_used(&self, id: &PaymentId) -> bool {
        let swept = |command: &Command| match command {
            Command::SweepByRecovery { sweep, .. } => sweep == id,
            Command::OpenChannel(order) => order.order == *id,
            _ => false,
        };
        self.payments.contains_key(id) || self.is_move(id) || self.commands.values().any(swept)
    }

    fn predict_payout(&self, now: Timestamp, order: &Payout) -> Prediction {
        let by_itself = orders::payout(order);
        let order = &self.filled(order);
        let known = self
            .new_payment(&order.party, &order.payment)
            .and(by_itself)
            .and(no(order.quantity.units > most_of(order), Why::Amount))
            .and(self.paying_wallet(order).map(|_| ()))
            .and(no(!self.terms.wallet_is_fit(order), Why::WalletUnfit));
        let read = match known.and_then(|()| orders::destination(order, self.network)) {
            Ok(read) => read,
            Err(why) => return Prediction::Refused(why),
        };
        if self.borne(&order.party).frozen > 0 {
            return Prediction::Refused(Why::Frozen);
        }
        if let Read::Invoice(invoice) = &read
            && !self.may_pay(invoice, now, order.quantity.units)
        {
            return Prediction::Refused(Why::InvoiceUnusable);
        }
        let Some((asset, units)) = self.terms.hold(order) else {
            return Prediction::Refused(Why::Amount);
        };
        let owned = self.owned(&order.party, asset);
        let bound = self.pays_bound(order);
        if bound == Some(false) {
            return Prediction::Refused(Why::Unbound);
        }
        let least = match order.all {
            true => self.least_of_all(order),
            false => units,
        };
        if owned.total - i128::from(owned.held) < i128::from(least) {
            Prediction::Refused(Why::Funds)
        } else if matches!(read, Read::Doubtful) || bound.is_none() {
            Prediction::Either("a form that the model does not know")
        } else {
            Prediction::Accepted
        }
    }

    /// The order with the amount that it is of: all that the party can spend, in whole satoshi, if it is of all.
    pub(super) fn filled(&self, order: &Payout) -> Payout {
        let mut filled = order.clone();
        if order.all {
            let owned = self.owned(&order.party, Asset::Btc);
            let free = (owned.total - i128::from(owned.held)).max(0) as u64;
            filled.quantity.units = free - free % 1_000;
        }
        filled
    }

    fn least_of_all(&self, order: &Payout) -> u64 {
        let script = orders::paid_script(order);
        let dust = script.map_or(0, |script| script.minimal_non_dust().to_sat());
        self.terms.least_of_all(dust)
    }

    /// Whether a payout goes where the policy lets it; `None`: the model cannot tell.
    fn pays_bound(&self, order: &Payout) -> Option<bool> {
        let is_onchain = matches!(order.destination, Destination::Address(_));
        if !is_onchain || !self.terms.asks_bound_payouts() {
            return Some(true);
        }
        let script = orders::paid_script(order)?;
        let payee = order.payee.as_ref().unwrap_or(&order.party);
        self.bindings.is_bound(payee, &script, Purpose::Payouts)
    }

    fn new_payment(&self, party: &PartyId, payment: &PaymentId) -> Result<(), Why> {
        no(!self.has_party(party), Why::PartyUnknown)
            .and(no(self.is_id_used(payment), Why::PaymentIdUsed))
            .and(no(self.open.len() >= MOST_OPEN_PAYMENTS, Why::TooManyOpen))
    }

    pub(super) fn has_party(&self, party: &PartyId) -> bool {
        self.parties.contains_key(&(party.clone(), Asset::Btc))
    }

    fn owned(&self, party: &PartyId, asset: Asset) -> Owned {
        self.parties
            .get(&(party.clone(), asset))
            .copied()
            .unwrap_or_default()
    }

    /// In time, over the amount or any, for a payee outside who does not want too long, and for the first time.
    pub(super) fn may_pay(&self, invoice: &Invoice, now: Timestamp, msat: u64) -> bool {
        let charged = (Kind::LightningCharge, invoice.hash);
        invoice.msat.is_none_or(|asked| asked == msat)
            && now < invoice.expires
            && invoice.final_delta <= MOST_FINAL_DELTA
            && self.own_node != Some(invoice.payee)
            && !self.hashes.contains_key(&charged)
            && !self.is_paid(&invoice.hash)
    }

    fn is_paid(&self, hash: &[u8; 32]) -> bool {
        self.hashes.contains_key(&(Kind::LightningPayout, *hash))
    }
}

/// The largest payout of that asset.
fn most_of(order: &Payout) -> u64 {
    match order.quantity.asset {
        Asset::Btc => MOST_MSAT,
        Asset::Eur => MOST_CENTS,
    }
}

fn no(wrong: bool, why: Why) -> Result<(), Why> {
    if wrong { Err(why) } else { Ok(()) }
}
