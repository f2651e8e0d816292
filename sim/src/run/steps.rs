//! Owns what each step of a scenario does to the world. Does not own what it should lead to (`expectations`) nor
//! how outsiders pay (`pay`).

use super::invoices::Wanted;
use super::own_wallets::wallet_id;
use super::{Alarm, Runner, Stop, words};
use crate::faults::FaultId;
use crate::model::{charge_terms, payout_terms};
use crate::scenario::{
    Action, Asset as PaidIn, ChainFaultKind, Charge, Family, GatewayFault, GatewayFaultKind,
    OnchainAmount, Payee, Payout, Request, Step, Trouble,
};
use crate::trace::Subsystem;
use crate::worlds::{self, World, WorldError, WorldKind};
use bitcoin::Transaction;
use futures_util::{FutureExt, pin_mut, select_biased};
use lockstep_engine::api::{self, Command, Destination, Output, PayoutTerms};
use lockstep_engine::id::{CommandId, PartyId, PaymentId, ReconciliationId};
use lockstep_engine::money::{Asset, Minor, Msat, Quantity};
use lockstep_engine::rail::Rail;
use lockstep_engine::time::Span;
use lockstep_host::SubmitError;
use serde_json::json;

const SAT_PER_BTC: u64 = 100_000_000;

/// Who is blamed for an address that nobody can pay.
pub(super) const ENGINE: &str = "the engine";

impl<W: World> Runner<W> {
    /// Takes one step, waits for rest (in lock step), and observes.
    pub(super) async fn take(&mut self, step: &Step, heading: &str) -> Result<(), Stop> {
        if let Some(at) = step.at {
            let at = self.world.epoch().at(crate::vtime::Offset(at.get()));
            let late = self.world.now().since(at);
            if self.is_lock_step() && late.0 > 0 {
                let remedy = "give it a later `at`, or use `pace = \"free\"`";
                let what =
                    format!("the step is due {late} before the last one came to rest; {remedy}");
                return Err(Stop::Expectation(what));
            }
            self.pass_until(at).await?;
        }
        self.world.now();
        self.run.trace.lock().record(
            Subsystem::Stimulus,
            "scenario",
            json!({ "step": heading, "line": step.line }),
        );
        if let Action::Expect(expectation) = &step.action {
            self.expect(expectation).await?;
        } else if let Err(stop) = self.act(&step.action).await {
            self.forgive(&step.action, stop)?;
        }
        if self.is_lock_step() {
            self.world.settle().await?;
            self.await_new_channels().await?;
            // What one world alone does has no point of its own; its consequences belong to the next one.
            let point = step.only.is_none().then_some(heading);
            self.observe(point).await?;
        }
        self.check_recorder()
    }

    /// At a free pace an outsider who cannot do his part at that moment (his node is down, there is no invoice yet, no route,
    /// no money) leaves it undone: only the engine has promised anything.
    fn forgive(&mut self, action: &Action, stop: Stop) -> Result<(), Stop> {
        let outside = matches!(
            action,
            Action::Pay(_)
                | Action::Payout(_)
                | Action::CrashNode { .. }
                | Action::RestartNode { .. }
                | Action::Channel(_)
        );
        let reason = match &stop {
            Stop::World(WorldError::Refused { who, .. }) if who != ENGINE => stop_text(&stop),
            Stop::World(WorldError::Unsettled { .. }) | Stop::NoRequest(_) => stop_text(&stop),
            _ => return Err(stop),
        };
        if self.is_lock_step() || !outside {
            return Err(stop);
        }
        self.run.recorder.mark_rare("step-left-undone");
        let event = json!({ "left undone": reason });
        self.run
            .trace
            .lock()
            .record(Subsystem::Stimulus, "scenario", event);
        Ok(())
    }

    async fn act(&mut self, action: &Action) -> Result<(), Stop> {
        match action {
            Action::Charge(charge) => self.charge(charge).await,
            Action::Pay(pay) => self.pay(pay).await,
            Action::Payout(payout) => self.payout(payout).await,
            Action::Enrol { party } => self.enrol(party).await,
            Action::Binding(step) => self.binding(step).await,
            Action::Own(step) => self.own_step(step).await,
            Action::Channel(step) => self.channel_step(step).await,
            Action::Sweep { wallet } => self.sweep(wallet).await,
            Action::Release { charge } => {
                self.command(Command::ReleaseHeld {
                    payment: payment(charge.as_str()),
                })
                .await
            }
            Action::Refuse { charge } => {
                self.command(Command::RefuseHeld {
                    payment: payment(charge.as_str()),
                })
                .await
            }
            Action::Decide(decision) => self.decide(decision).await,
            Action::Mine { blocks } => Ok(self
                .world
                .mine(blocks.get() as u32, self.miner.script())
                .await?),
            Action::Reorg(reorg) => self.reorg(reorg).await,
            Action::CrashNode { node, down_for } => {
                self.crash(node.as_str(), down_for.map(|span| span.get()))
                    .await
            }
            Action::RestartNode { node } => Ok(self.world.restart(node.as_str()).await?),
            Action::CrashEngine { point, on } => {
                let fault = self.plan_fault(Family::Process, "crash", "engine");
                self.world
                    .switch()
                    .arm(words::point(*point), payment(on.as_str()), fault);
                Ok(())
            }
            Action::Trouble(trouble) => self.trouble(trouble).await,
            Action::Gateway(fault) => self.trouble_gateway(fault),
            Action::Layer0(fault) => self.trouble_layer0(fault),
            Action::Fee { feerate } => {
                self.fee_floor_sat_per_kwu = feerate.get();
                Ok(self.world.set_fee_floor(feerate.get()).await?)
            }
            Action::Wait { span } => {
                let until = self.world.now().plus(Span(span.get()));
                self.pass_until(until).await
            }
            Action::Reconcile { run } => self.reconcile(run.as_str()).await,
            Action::Expect(_) => Ok(()),
        }
    }

    /// Under ids of its own; a payment of such a name makes the engine refuse the later of both.
    async fn sweep(&mut self, wallet: &crate::scenario::OwnWalletName) -> Result<(), Stop> {
        self.sweeps += 1;
        let sweep = payment(&format!("sweep.{}", self.sweeps));
        let wallet = wallet_id(wallet);
        self.command(Command::SweepByRecovery { sweep, wallet })
            .await
    }

    /// Gives the engine a command; a refusal is recorded and left to the expectations.
    pub(super) async fn command(&mut self, command: Command) -> Result<(), Stop> {
        self.commands += 1;
        let id = CommandId::new(format!("command-{}", self.commands))
            .expect("letters, a dash and digits");
        match self.answered(id, command).await? {
            Ok(_) | Err(SubmitError::Refused(_)) => Ok(()),
            Err(error) => Err(WorldError::harness("give the engine a command", error).into()),
        }
    }

    /// The answer, however long the engine's process is down or stands still; the run's own alarms are set off meanwhile.
    async fn answered(
        &mut self,
        id: CommandId,
        command: Command,
    ) -> Result<Result<Output, SubmitError>, Stop> {
        let service = self.world.service().clone();
        let answer = service.submit(id, command).fuse();
        pin_mut!(answer);
        loop {
            // Only there is time that passes by itself; and only there the process can be away for long.
            let due = match self.world.kind() {
                WorldKind::Simulated => self.alarms.keys().next().map(|(due, _)| *due),
                WorldKind::Regtest => None,
            };
            let Some(due) = due else {
                return Ok(answer.await);
            };
            {
                let passing = self.world.pass_until(due).fuse();
                pin_mut!(passing);
                select_biased! {
                    answered = answer => return Ok(answered),
                    passed = passing => passed?,
                }
            }
            self.set_off().await?;
        }
    }

    pub(super) async fn charge(&mut self, charge: &Charge) -> Result<(), Stop> {
        let (rail, amount_msat, hold, wallet) = match &charge.request {
            Request::Lightning { amount, hold, .. } => {
                let msat = amount.map_or(0, |amount| amount.get());
                (Rail::Lightning, Msat(msat), *hold, None)
            }
            Request::Onchain { amount, wallet, .. } => {
                let wallet = wallet.as_ref().map(wallet_id);
                (Rail::Onchain, Msat(amount.get() * 1_000), false, wallet)
            }
        };
        let id = payment(charge.id.as_str());
        let expires_in = Span(charge.expires.get());
        let party = party(charge.party.as_str());
        let refund_to = charge.refund_to.as_ref();
        let refund_to = refund_to.map(|wallet| self.purses[wallet.as_str()].address().to_string());
        let escrow = self.terms_of(charge);
        self.command(Command::CreateCharge(api::Charge {
            payment: id,
            party,
            amount_msat,
            rail,
            hold,
            expires_in,
            wallet,
            refund_to,
            terms: charge_terms(&charge.request),
            escrow,
        }))
        .await
    }

    async fn payout(&mut self, payout: &Payout) -> Result<(), Stop> {
        let id = payout.id.as_str();
        let (destination, quantity, funded_by) = match &payout.payee {
            Payee::Node {
                node,
                amount,
                invoice,
                ..
            } => {
                let wanted = Wanted {
                    node: node.as_str(),
                    msat: amount.get(),
                    invoice,
                };
                let invoice = self.invoice_for(id, wanted).await?;
                (
                    Destination::Invoice(invoice),
                    Quantity::btc(Msat(amount.get())),
                    Asset::Btc,
                )
            }
            Payee::Wallet { wallet, amount, .. } => {
                let address = self.purses[wallet.as_str()].address();
                let (asked, sat) = match amount {
                    OnchainAmount::All => (String::new(), 0),
                    OnchainAmount::Exactly(amount) => {
                        let (whole, rest) =
                            (amount.get() / SAT_PER_BTC, amount.get() % SAT_PER_BTC);
                        (format!("amount={whole}.{rest:08}&"), amount.get())
                    }
                };
                // As wallets show it (BIP 21).
                let uri = format!("bitcoin:{address}?{asked}label={wallet}");
                let quantity = Quantity::btc(Msat(sat * 1_000));
                (Destination::Address(uri), quantity, Asset::Btc)
            }
            Payee::Account {
                account,
                amount,
                funded_by,
            } => {
                let account = self
                    .run
                    .scenario
                    .accounts
                    .iter()
                    .find(|known| known.name == *account);
                let account = account
                    .expect("names are checked with the scenario")
                    .clone();
                let funded_by = match funded_by {
                    PaidIn::Btc => Asset::Btc,
                    PaidIn::Eur => Asset::Eur,
                };
                let destination = Destination::Iban {
                    iban: account.iban,
                    name: account.holder,
                };
                (
                    destination,
                    Quantity::eur(Minor::new(amount.get())),
                    funded_by,
                )
            }
        };
        let (wallet, all) = match &payout.payee {
            Payee::Wallet { out_of, amount, .. } => (
                out_of.as_ref().map(wallet_id),
                *amount == OnchainAmount::All,
            ),
            Payee::Node { .. } | Payee::Account { .. } => (None, false),
        };
        let order = api::Payout {
            payment: payment(id),
            party: party(payout.from.as_str()),
            destination,
            quantity,
            all,
            funded_by,
            payee: payout.bound_to.as_ref().map(|name| party(name.as_str())),
            deadline: Span(payout.deadline.get()),
            terms: match &payout.payee {
                Payee::Node { routing, .. } => payout_terms(routing),
                Payee::Wallet { .. } | Payee::Account { .. } => PayoutTerms::default(),
            },
            wallet,
        };
        self.command(Command::CreatePayout(order)).await
    }

    /// Compares the ledger with the outside, the gateway by its report of this day.
    pub(super) async fn reconcile(&mut self, run: &str) -> Result<(), Stop> {
        let report_day = worlds::gateway::utc_day(self.world.now().0);
        self.run
            .trace
            .lock()
            .names
            .give(format!("/v1/reports/{report_day}"), "/v1/reports/DAY");
        let run = ReconciliationId::new(run).expect("checked with the scenario");
        self.command(Command::Reconcile { run, report_day }).await
    }

    async fn crash(&mut self, node: &str, down_for: Option<u64>) -> Result<(), Stop> {
        let fault = self.plan_fault(Family::Process, "crash", node);
        self.world.crash(node).await?;
        self.faults().had_effect(fault);
        if let Some(span) = down_for {
            self.set_alarm(Span(span), Alarm::Restart(node.to_owned()));
        }
        Ok(())
    }

    pub(super) fn plan_fault(&self, family: Family, name: &str, scope: &str) -> FaultId {
        let fault = self.faults().plan(family.as_str(), name, scope);
        self.record_fault(fault, name, scope, "begin");
        fault
    }

    fn record_fault(&self, fault: FaultId, name: &str, scope: &str, phase: &str) {
        let event = json!({ "fault": name, "id": fault.number(), "phase": phase });
        self.run
            .trace
            .lock()
            .record(Subsystem::Faults, scope, event);
    }

    /// Writes down that a fault is over.
    pub(super) fn record_end_of(&self, fault: FaultId) {
        let ended = self.faults().get(fault).cloned();
        if let Some(ended) = ended {
            self.record_fault(fault, &ended.name, &ended.scope, "end");
        }
    }

    pub(super) fn faults(&self) -> std::sync::MutexGuard<'_, crate::faults::Faults> {
        self.run.faults.lock().expect("no holder panics")
    }

    async fn trouble(&mut self, trouble: &Trouble) -> Result<(), Stop> {
        let fault = self.plan_fault(trouble.family(), trouble.name(), &trouble.scope());
        match trouble {
            Trouble::Chain(ChainFaultKind::Evict { on }) => {
                return self.evict(on.as_str(), fault).await;
            }
            Trouble::Chain(ChainFaultKind::Replace { on }) => {
                return self.replace(on.as_str(), fault).await;
            }
            _ => {}
        }
        self.world.begin_trouble(trouble, fault).await?;
        if hides_the_chain(trouble) {
            self.hiding.insert(fault);
        }
        match trouble.lasts() {
            Some(lasts) => self.set_alarm(Span(lasts.get()), Alarm::End(fault)),
            None => self.until_healed.push(fault),
        }
        Ok(())
    }

    /// The unconfirmed transactions that pay for a charge or a payout, in the order of their ids.
    pub(super) async fn unconfirmed_of(&mut self, payment: &str) -> Result<Vec<Transaction>, Stop> {
        self.book.refresh(&mut self.world).await?;
        let names = [format!("pay:{payment}"), format!("tx:{payment}")];
        let again: Vec<String> = names.iter().map(|name| format!("{name}#")).collect();
        let told = self.run.recorder.told(payment);
        let versions = told.map(|told| told.txids).unwrap_or_default();
        let mut found = Vec::new();
        for transaction in self.world.mempool().await? {
            let name = self
                .owners
                .name(&transaction, &self.book, &mut self.run.trace.lock().names);
            let is_version = versions.contains(&transaction.compute_txid());
            if is_version
                || names.contains(&name)
                || again.iter().any(|start| name.starts_with(start))
            {
                found.push(transaction);
            }
        }
        found.sort_by_key(Transaction::compute_txid);
        Ok(found)
    }

    async fn evict(&mut self, payment: &str, fault: FaultId) -> Result<(), Stop> {
        for transaction in self.unconfirmed_of(payment).await? {
            if self.world.evict(transaction.compute_txid()).await? {
                self.faults().had_effect(fault);
            }
        }
        Ok(())
    }

    /// The payer spends the same coins back to itself at ten times the fee, which replaces its payment (BIP 125).
    async fn replace(&mut self, payment: &str, fault: FaultId) -> Result<(), Stop> {
        for transaction in self.unconfirmed_of(payment).await? {
            let rival = self
                .purses
                .values()
                .find_map(|purse| purse.conflict(&self.book, &transaction));
            let Some(rival) = rival else { continue };
            match self.world.broadcast(&rival).await {
                Ok(_) => self.faults().had_effect(fault),
                // What spends the payment's change pays more by now than the rival does: the network keeps the payment.
                Err(WorldError::Refused { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    fn trouble_gateway(&mut self, fault: &GatewayFault) -> Result<(), Stop> {
        let (order, name) = words::gateway_fault(&fault.kind, fault.on.as_str());
        let times = match fault.kind {
            // The gateway takes this fault once for each time that it is armed.
            GatewayFaultKind::LoseResponse { times } => times,
            _ => 1,
        };
        for _ in 0..times {
            let id = self.plan_fault(Family::Http, name, fault.on.as_str());
            self.world.gateway().lock().arm_counted(order.clone(), id);
        }
        Ok(())
    }
}

/// Whether the engine may see another chain than there is as long as this lasts.
fn hides_the_chain(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::Chain(
            ChainFaultKind::Lag { .. } | ChainFaultKind::Stop { .. } | ChainFaultKind::Lie { .. }
        )
    )
}

fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::World(error) => error.to_string(),
        Stop::Expectation(what) | Stop::TooLate(what) | Stop::NoRequest(what) => what.clone(),
        Stop::Violation(violation) => violation.to_string(),
    }
}

fn payment(name: &str) -> PaymentId {
    PaymentId::new(name).expect("checked with the scenario")
}

fn party(name: &str) -> PartyId {
    PartyId::new(name).expect("checked with the scenario")
}
