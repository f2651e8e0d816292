//! Owns the steps about the operator's own wallets: moves, addresses, labels, recovery from descriptors alone, and the
//! engine's database lost and restored. The same in both worlds. Does not own what the engine makes of them.

use super::{Runner, Stop};
use crate::scenario::{OwnStep, OwnWalletName};
use crate::trace::Subsystem;
use crate::worlds::service::error_chain;
use crate::worlds::{World, WorldError, keys};
use lockstep_engine::api::{Command, MoveOrder};
use lockstep_engine::id::{PaymentId, WalletId};
use lockstep_engine::money::Sat;
use lockstep_engine::onchain::{Label, LabelKind, Wallets};
use lockstep_host::export;
use lockstep_host::wallet_recovery::recover_wallets;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn wallet_id(name: &OwnWalletName) -> WalletId {
    WalletId::new(name.as_str()).expect("checked with the scenario")
}

impl<W: World> Runner<W> {
    pub(super) async fn own_step(&mut self, step: &OwnStep) -> Result<(), Stop> {
        match step {
            OwnStep::Move {
                id,
                from,
                to,
                amount,
            } => {
                let payment = PaymentId::new(id.as_str()).expect("checked with the scenario");
                let order = MoveOrder {
                    payment,
                    from: wallet_id(from),
                    to: wallet_id(to),
                    amount_sat: Sat(amount.get()),
                };
                self.command(Command::MoveFunds(order)).await
            }
            OwnStep::Address { wallet } => {
                let wallet = wallet_id(wallet);
                self.command(Command::NewAddress { wallet }).await
            }
            OwnStep::Label {
                charge,
                text,
                spendable,
            } => self.label(charge.as_str(), text.as_ref(), *spendable).await,
            OwnStep::Recover { wallet } => self.recover(wallet).await,
            OwnStep::Restore => self.restore(),
        }
    }

    /// The address is labelled, and each coin on it that is said something about.
    async fn label(
        &mut self,
        charge: &str,
        text: Option<&String>,
        spendable: Option<bool>,
    ) -> Result<(), Stop> {
        let told = self.run.recorder.told(charge);
        let Some(address) = told.and_then(|told| told.request) else {
            return Err(Stop::NoRequest(charge.to_owned()));
        };
        let label = |kind, reference: String, spendable| Label {
            kind,
            reference,
            label: text.cloned(),
            origin: None,
            spendable,
        };
        if text.is_some() {
            let named = label(LabelKind::Addr, address.clone(), None);
            self.command(Command::SetLabel(named)).await?;
        }
        if spendable.is_none() {
            return Ok(());
        }
        self.book.refresh(&mut self.world).await?;
        let script = keys::script_of(&address);
        let coins: Vec<_> = self
            .book
            .unspent(|found| *found == script)
            .into_keys()
            .collect();
        for (number, coin) in (1..).zip(coins) {
            let name = format!("coin:{charge}#{number}");
            self.run.trace.lock().names.give(coin.to_string(), name);
            let said = label(LabelKind::Output, coin.to_string(), spendable);
            self.command(Command::SetLabel(said)).await?;
        }
        Ok(())
    }

    /// A wallet that has nothing but its descriptors finds what the engine's has, and the journal says what it was for.
    async fn recover(&mut self, name: &OwnWalletName) -> Result<(), Stop> {
        let id = wallet_id(name);
        let service = self.world.service().clone();
        let spec = service.with_engine(|engine| engine.payments().onchain().spec(&id).cloned())?;
        let Some(spec) = spec else {
            return Err(Stop::Expectation(format!(
                "the engine has no wallet `{name}`"
            )));
        };
        let chain = self.world.chain_source();
        let recovered = recover_wallets(chain.as_ref(), &[spec], keys::NETWORK).await;
        let recovered = recovered
            .map_err(|error| WorldError::harness("recover a wallet", error_chain(&error)))?;
        let (total, labels) = service.with_engine(|engine| {
            let total = engine.payments().onchain().total(&id);
            (total, engine.label_book().all(&recovered))
        })?;
        let found = recovered.total(&id);
        if found != total {
            let what =
                format!("wallet `{name}` was recovered with {found}, the engine has {total}");
            return Err(Stop::Expectation(what));
        }
        let labels = words_by_count(&labels, &recovered);
        let event = json!({ "recovered": name.as_str(), "sat": found.0, "labels": labels });
        self.run
            .trace
            .lock()
            .record_canonical(Subsystem::Engine, "recovery", event);
        Ok(())
    }

    /// All that is left of the engine is an export of its journal.
    fn restore(&mut self) -> Result<(), Stop> {
        let fault = self.plan_fault(crate::scenario::Family::Disk, "lost-database", "engine");
        let failed = |error: &dyn std::error::Error| {
            WorldError::harness("restore the engine's journal", error_chain(error))
        };
        let service = self.world.service().clone();
        let store = (self.world.audit_store())().map_err(|error| failed(&error))?;
        let exported = export::export(store.as_ref()).map_err(|error| failed(&error))?;
        drop(store);
        service.keep_down(fault);
        service.kill();
        let imported = self.world.lose_journal();
        let imported = imported.and_then(|mut empty| {
            export::import(&exported, empty.as_mut()).map_err(|error| failed(&error))
        });
        service.release(fault);
        imported?;
        self.faults().had_effect(fault);
        Ok(())
    }
}

/// How many outputs each label has, by its words: ids of transactions differ between worlds.
fn words_by_count(labels: &[Label], wallets: &Wallets) -> BTreeMap<String, u32> {
    let ours: Vec<String> = wallets
        .iter()
        .flat_map(|(_, wallet)| wallet.history())
        .map(|output| output.outpoint.to_string())
        .collect();
    let mut counts = BTreeMap::new();
    for label in labels {
        if label.kind == LabelKind::Output && ours.contains(&label.reference) {
            let words = label.label.clone().unwrap_or_default();
            *counts.entry(words).or_insert(0) += 1;
        }
    }
    counts
}
