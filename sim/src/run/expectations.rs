//! Owns the checks that a scenario asks for. Each says what it found when it fails. Does not own invariants.

use super::observe::executed_counts;
use super::{Runner, Stop, words};
use crate::scenario::{AccountName, Action, Balance, Cents, Expectation, Msat, Payee, Payout};
use crate::worlds::gateway::TransferStatus;
use crate::worlds::{World, WorldError};
use lockstep_engine::id::PartyId;
use lockstep_engine::ledger::Account;
use lockstep_engine::money::Asset;
use lockstep_engine::time::Span;

/// Longer than any scenario takes the engine away for: an hour is a fault that nobody repairs.
const BACK_LIMIT: Span = Span::secs(3_600);

impl<W: World> Runner<W> {
    /// Checks an expectation; one with a time limit waits for it.
    pub(super) async fn expect(&mut self, expectation: &Expectation) -> Result<(), Stop> {
        let limit = match expectation {
            Expectation::Payment {
                within: Some(within),
                ..
            }
            | Expectation::Enrolment {
                within: Some(within),
                ..
            }
            | Expectation::Stated {
                within: Some(within),
                ..
            }
            | Expectation::Binding {
                within: Some(within),
                ..
            }
            | Expectation::ChannelStage {
                within: Some(within),
                ..
            } => Some(self.world.now().plus(Span(within.get()))),
            _ => None,
        };
        self.book.refresh(&mut self.world).await?;
        if matches!(expectation, Expectation::Party { .. }) {
            self.engine_is_back().await?;
        }
        loop {
            let Err(found) = self.meets(expectation).await? else {
                return Ok(());
            };
            match limit {
                None => return Err(Stop::Expectation(found)),
                Some(limit) if self.world.now() >= limit => {
                    return Err(Stop::TooLate(format!("{found}, and the time is over")));
                }
                Some(limit) => {
                    self.check_recorder()?;
                    self.pass_a_little(limit).await?;
                }
            }
        }
    }

    /// Waits while the engine's process is down: nobody else knows its books.
    async fn engine_is_back(&mut self) -> Result<(), Stop> {
        let limit = self.world.now().plus(BACK_LIMIT);
        while self.world.service().handle().is_err() && self.world.now() < limit {
            self.pass_a_little(limit).await?;
        }
        Ok(())
    }

    /// Whether it holds now; the inner error says what was found instead.
    async fn meets(&mut self, expectation: &Expectation) -> Result<Result<(), String>, Stop> {
        match expectation {
            Expectation::Payment {
                payment,
                state,
                reason,
                ..
            } => {
                let expected = (words::state(*state), reason.map(words::expected_failure));
                Ok(self.payment_is(payment.as_str(), expected))
            }
            Expectation::Enrolment { party, state, .. } => {
                Ok(self.enrolment_is(party.as_str(), state.as_str()))
            }
            Expectation::Stated {
                payment,
                outcome,
                times,
                ..
            } => Ok(self.was_stated(payment.as_str(), *outcome, *times)),
            Expectation::Reputation { party, score } => self.score_is(party, *score),
            Expectation::Binding { binding, state, .. } => Ok(self.binding_is(binding, *state)),
            Expectation::Party { party, btc, eur } => self.party_holds(party.as_str(), *btc, *eur),
            Expectation::Channel {
                channel,
                end,
                balance,
            } => {
                self.channel_holds(channel.as_str(), end.as_str(), balance.get())
                    .await
            }
            Expectation::ChannelStage { channel, stage, .. } => {
                self.book.refresh(&mut self.world).await?;
                let found = self.channel_stage(channel.as_str()).await?;
                Ok(if found == *stage {
                    Ok(())
                } else {
                    Err(format!("channel {channel} is {found}, not {stage}"))
                })
            }
            Expectation::Node { node, balance } => {
                let held = self.world.node_wallet_sat(node.as_str()).await?;
                Ok(same("sat in the node's wallet", held, balance.get()))
            }
            Expectation::Forwarded { node, fee } => {
                let earned = self.world.forwarded_msat(node.as_str()).await?;
                Ok(same("msat earned by forwarding", earned, fee.get()))
            }
            Expectation::Htlc {
                channel,
                amount,
                cltv_delta,
            } => {
                self.htlc_was_offered(channel.as_str(), amount.get(), cltv_delta.get())
                    .await
            }
            Expectation::Wallet { wallet, balance } => Ok(same(
                "sat in the wallet",
                self.purses[wallet.as_str()].balance_sat(&self.book),
                balance.get(),
            )),
            Expectation::OwnWallet { wallet, balance } => {
                let wallets = self.own_wallets_sat();
                let sat = wallets.get(wallet.as_str()).copied().unwrap_or(0);
                Ok(same("sat in the operator's wallet", sat, balance.get()))
            }
            Expectation::Account {
                account: Some(account),
                balance,
            } => Ok(same(
                "cents received by the account",
                self.received_cents(account),
                balance.get(),
            )),
            Expectation::Account {
                account: None,
                balance,
            } => {
                let cents = self.world.gateway().lock().balance_cents();
                let wanted = i64::try_from(balance.get()).unwrap_or(i64::MAX);
                Ok(if cents == wanted {
                    Ok(())
                } else {
                    Err(format!(
                        "found {cents} cents at the gateway, expected {wanted}"
                    ))
                })
            }
            Expectation::Run { run, breaks } => Ok(match self.run.recorder.breaks(run.as_str()) {
                Some(found) if found == *breaks => Ok(()),
                Some(found) => Err(format!(
                    "reconciliation {run} found {found} breaks, not {breaks}"
                )),
                None => Err(format!("reconciliation {run} is not done")),
            }),
            Expectation::Executed { payout, times } => {
                let counts = executed_counts(&self.world.gateway().lock());
                let found = counts.get(payout.as_str()).copied().unwrap_or(0);
                Ok(same("times carried out", found, u64::from(*times)))
            }
            Expectation::Confirmations { payment, at_least } => {
                Ok(self.is_deep(payment.as_str(), *at_least))
            }
        }
    }

    /// Booked transfers of the payouts to an account, less those that came back.
    fn received_cents(&self, account: &AccountName) -> u64 {
        let to_account = |action: &Action| match action {
            Action::Payout(Payout {
                id,
                payee: Payee::Account { account: to, .. },
                ..
            }) if to == account => Some(id.to_string()),
            _ => None,
        };
        let references: Vec<String> = self
            .run
            .scenario
            .steps
            .iter()
            .filter_map(|step| to_account(&step.action))
            .collect();
        let gateway = self.world.gateway().lock();
        let settled = gateway
            .transfers()
            .iter()
            .filter(|transfer| transfer.status == TransferStatus::Settled);
        settled
            .filter(|transfer| references.contains(&transfer.reference))
            .map(|transfer| transfer.amount)
            .sum()
    }

    fn payment_is(
        &self,
        payment: &str,
        (state, reason): (&'static str, Option<&'static str>),
    ) -> Result<(), String> {
        let Some(told) = self.run.recorder.told(payment) else {
            return Err(format!("nothing is known of payment {payment}"));
        };
        if told.state != state && !told.findings.contains(state) {
            let why = told
                .reason
                .map_or_else(String::new, |reason| format!(" ({reason})"));
            return Err(format!(
                "payment {payment} is {}{why}, not {state}",
                told.state
            ));
        }
        match (reason, told.reason) {
            (Some(expected), Some(found)) if expected != found => Err(format!(
                "payment {payment} failed for {found}, not for {expected}"
            )),
            _ => Ok(()),
        }
    }

    fn party_holds(
        &self,
        party: &str,
        btc: Option<Balance<Msat>>,
        eur: Option<Balance<Cents>>,
    ) -> Result<Result<(), String>, Stop> {
        let id = PartyId::new(party).expect("checked with the scenario");
        let owed = |asset: Asset| {
            let account = Account::Party {
                party: id.clone(),
                asset,
            };
            // A party's account is a liability: what it has is minus its balance.
            self.world
                .service()
                .with_engine(|engine| -engine.ledger().balance(&account))
        };
        let signed = |negative: bool, units: u64| {
            if negative {
                -i128::from(units)
            } else {
                i128::from(units)
            }
        };
        if let Some(expected) = btc {
            let (found, wanted) = (
                owed(Asset::Btc)?,
                signed(expected.negative, expected.magnitude.get()),
            );
            if found != wanted {
                return Ok(Err(format!("{party} has {found} msat, not {wanted} msat")));
            }
        }
        if let Some(expected) = eur {
            let (found, wanted) = (
                owed(Asset::Eur)?,
                signed(expected.negative, expected.magnitude.get()),
            );
            if found != wanted {
                return Ok(Err(format!(
                    "{party} has {found} cents, not {wanted} cents"
                )));
            }
        }
        Ok(Ok(()))
    }

    async fn channel_holds(
        &mut self,
        channel: &str,
        end: &str,
        msat: u64,
    ) -> Result<Result<(), String>, Stop> {
        let states = self.world.channels().await?;
        let state = states.iter().find(|state| state.name == channel);
        let held = state.and_then(|state| {
            let index = state.ends.iter().position(|name| name == end)?;
            Some(state.balance_msat[index])
        });
        let held = held.ok_or_else(|| {
            WorldError::harness("read a channel", format!("{channel} is not open at {end}"))
        })?;
        Ok(same(&format!("msat of {end} in {channel}"), held, msat))
    }

    async fn htlc_was_offered(
        &mut self,
        channel: &str,
        msat: u64,
        delta: u64,
    ) -> Result<Result<(), String>, Stop> {
        let offered = self.world.offered_htlcs(channel).await?;
        let hit = offered
            .iter()
            .any(|htlc| htlc.amount_msat == msat && u64::from(htlc.cltv_delta) == delta);
        Ok(if hit {
            Ok(())
        } else {
            Err(format!(
                "no such HTLC was offered over {channel}; there were: {offered:?}"
            ))
        })
    }

    fn is_deep(&self, payment: &str, at_least: u32) -> Result<(), String> {
        let trace = self.run.trace.lock();
        let wanted = [format!("pay:{payment}"), format!("tx:{payment}")];
        let told = self.run.recorder.told(payment);
        let versions = told.map(|told| told.txids).unwrap_or_default();
        let pays = |txid: &bitcoin::Txid| {
            let name = trace.names.of(&txid.to_string());
            versions.contains(txid) || name.is_some_and(|name| wanted.iter().any(|w| w == name))
        };
        match self.book.confirmations(pays) {
            Some(found) if found >= at_least => Ok(()),
            Some(found) => Err(format!("{payment} is {found} blocks deep, not {at_least}")),
            None => Err(format!(
                "{payment} is neither on the chain nor in the mempool"
            )),
        }
    }
}

fn same(what: &str, found: u64, expected: u64) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found} {what}, expected {expected}"))
}
