//! Owns I9: the engine is where the model says that it must be: each command accepted or refused as foretold, each payment
//! in its state, each party's balance and holds to the msat and the cent, suspense untouched unless something was told
//! that belongs there. Does not own the model (`model`).

use super::{Invariant, Looks, Settled, Stepped};
use crate::model::{Model, State, Terms};
use lockstep_engine::api::{Engine, Input, Output, Status};
use lockstep_engine::id::{PartyId, PaymentId};
use lockstep_engine::ledger::Account;
use lockstep_engine::money::Asset;
use lockstep_engine::payments::{OnchainCharge, OnchainPayout, Payment};
use lockstep_engine::rail::Rail;
use lockstep_engine::time::Timestamp;

/// I9: a model that is told everything the engine is told, and compared with it.
pub struct ModelAgrees {
    model: Model,
    /// What lay in suspense on chain and over SEPA.
    suspense: [i128; 2],
}

/// Rails whose suspense the model does not foretell to the unit, only when it may change.
const LOOSE: [Rail; 2] = [Rail::Onchain, Rail::Sepa];

impl ModelAgrees {
    /// With these terms, on regtest.
    pub fn new(terms: Terms) -> ModelAgrees {
        ModelAgrees {
            model: Model::new(terms, bitcoin::Network::Regtest),
            suspense: [0; 2],
        }
    }

    /// Takes an accepted input in and compares; the error says what differs.
    pub fn on_accepted(
        &mut self,
        at: Timestamp,
        input: &Input,
        output: &Output,
        engine: &Engine,
    ) -> Result<(), String> {
        self.model.on_accepted(at, input, output)?;
        self.model
            .unsettled()
            .try_for_each(|(id, state)| state_agrees(engine, id, state))?;
        self.parties_agree(engine)?;
        self.suspense_agrees(engine, input)
    }

    /// Takes a refused input in; the error says why it should have been accepted.
    pub fn on_refused(&self, at: Timestamp, input: &Input) -> Result<(), String> {
        self.model.on_refused(at, input)
    }

    /// Compares every payment, the final ones too.
    pub fn all_agree(&self, engine: &Engine) -> Result<(), String> {
        self.model
            .payments()
            .try_for_each(|(id, state)| state_agrees(engine, id, state))?;
        let known = engine.payments().iter().count();
        let ordered = self.model.payments().count();
        if known != ordered {
            return Err(format!(
                "the engine has {known} payments, {ordered} were ordered"
            ));
        }
        self.wallets_agree(engine)
    }

    fn parties_agree(&self, engine: &Engine) -> Result<(), String> {
        for (party, asset, owned) in self.model.parties() {
            let account = Account::Party {
                party: party.clone(),
                asset,
            };
            let (total, held) = (
                -engine.ledger().balance(&account),
                engine.ledger().held(party, asset),
            );
            if (total, held) != (owned.total, owned.held) {
                return Err(format!(
                    "party {party} has {total} of {asset}, {held} of it held; the model says {} and {}",
                    owned.total, owned.held
                ));
            }
        }
        self.bearers_agree(engine)
    }

    fn bearers_agree(&self, engine: &Engine) -> Result<(), String> {
        for (party, asset, _) in self.model.parties() {
            let (of, borne) = (|party: &PartyId| party.clone(), self.model.borne(party));
            let accounts = [
                (Account::Receivable { party: of(party) }, borne.receivable),
                (Account::Loss { party: of(party) }, borne.operator),
                (Account::Frozen { party: of(party) }, borne.frozen),
            ];
            let accounts = accounts.into_iter().filter(|_| asset == Asset::Btc);
            for (account, foretold) in accounts {
                let found = engine.ledger().balance(&account);
                if found != foretold {
                    return Err(format!(
                        "{account} is {found} msat; the model says {foretold}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Which wallet serves each payment, and where the moves between wallets stand.
    fn wallets_agree(&self, engine: &Engine) -> Result<(), String> {
        for (id, payment) in engine.payments().iter() {
            let (Payment::OnchainCharge(OnchainCharge { wallet, .. })
            | Payment::OnchainPayout(OnchainPayout { wallet, .. })) = payment
            else {
                continue;
            };
            let meant = self.model.wallet_of(id);
            if meant != Some(wallet) {
                return Err(format!(
                    "payment {id} is with wallet `{wallet}`; the model says {meant:?}"
                ));
            }
        }
        let stands = |state: State| match state {
            State::Reserved => Status::Reserved,
            State::Settled => Status::Settled,
            State::Failed => Status::Failed,
            _ => Status::Dispatched,
        };
        let foretold = self.model.moves().map(|(id, state)| (id, stands(state)));
        let found = engine.payments().moves();
        let found = found.map(|(id, moved)| (id, moved.status()));
        if found.eq(foretold) {
            Ok(())
        } else {
            Err("the moves of funds are not where the model says".to_owned())
        }
    }

    fn suspense_agrees(&mut self, engine: &Engine, input: &Input) -> Result<(), String> {
        let lies_in = |rail| -engine.ledger().balance(&Account::Suspense { rail });
        let (lightning, foretold) = (lies_in(Rail::Lightning), self.model.lightning_suspense());
        if lightning != foretold {
            return Err(format!(
                "{lightning} msat lie in suspense over Lightning; the model says {foretold}"
            ));
        }
        for (rail, before) in LOOSE.into_iter().zip(&mut self.suspense) {
            let now = lies_in(rail);
            if now != *before && !Model::may_touch_suspense(input, rail) {
                return Err(format!(
                    "suspense over {rail} went from {before} to {now} by {input:?}"
                ));
            }
            *before = now;
        }
        Ok(())
    }
}

/// The model has one word for a payout under way, whether its fate is unknown or not, and three for a held charge.
fn state_agrees(engine: &Engine, id: &PaymentId, state: State) -> Result<(), String> {
    let expected = match state {
        State::Created => Status::Created,
        State::Issued => Status::Issued,
        State::Seen => Status::Seen,
        State::Held | State::Releasing | State::Refusing => Status::Held,
        State::Reserved => Status::Reserved,
        State::Dispatched => Status::Dispatched,
        State::Settled => Status::Settled,
        State::Failed => Status::Failed,
    };
    let found = engine.payments().get(id).map(|payment| payment.status());
    let same =
        found == Some(expected) || (found, expected) == (Some(Status::Unknown), Status::Dispatched);
    if same {
        Ok(())
    } else {
        Err(format!(
            "payment {id} is {found:?}; the model says {expected:?}"
        ))
    }
}

impl Invariant for ModelAgrees {
    fn name(&self) -> &'static str {
        "model-agrees"
    }

    fn looks(&self) -> Looks {
        Looks {
            after_step: true,
            after_refusal: true,
            at_rest: true,
        }
    }

    fn after_step(&mut self, stepped: &Stepped<'_>) -> Result<(), String> {
        self.on_accepted(stepped.at, stepped.input, stepped.output, stepped.engine)
    }

    fn after_refusal(&mut self, at: Timestamp, input: &Input) -> Result<(), String> {
        self.on_refused(at, input)
    }

    fn at_rest(&mut self, settled: &Settled<'_>) -> Result<(), String> {
        self.all_agree(settled.engine)
    }
}
