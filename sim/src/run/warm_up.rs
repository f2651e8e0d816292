//! Owns what happens before a scenario's time begins: blocks, funds, channels, gossip, the engine with its parties and
//! opening balances. The same in both worlds; nothing of it is in the canonical trace but where it ends.
//! Does not own the worlds.

use super::{Runner, Stop};
use crate::model::purpose;
use crate::scenario::OwnedWallet;
use crate::trace::Subsystem;
use crate::worlds::keys;
use crate::worlds::{ChannelPlan, ForwardingFees, World, WorldError};
use bitcoin::{Amount, ScriptBuf, TxOut};
use lockstep_engine::api::Command;
use lockstep_engine::id::{PartyId, WalletId};
use lockstep_engine::money::{Minor, Msat, Quantity};
use lockstep_engine::onchain::{Owner, WalletSpec};
use lockstep_engine::rail::Rail;
use serde_json::json;
use std::collections::BTreeSet;

/// A coinbase is spendable 100 blocks later; regtest halves its subsidy of 50 BTC every 150 blocks, so an early one buys all.
const BLOCKS_TO_MATURITY: u32 = 102;

/// Confirmations after which a channel is announced (BOLT 7).
pub(super) const ANNOUNCE_DEPTH: u32 = 6;

/// Channels that are announced together. LDK forwards 32 messages to a peer before it has heard of it again (`PeerManager`,
/// BUFFER_DRAIN_MSGS_PER_TICK), keeps some 64 more, and drops what comes beyond that for good; a channel has three.
const ANNOUNCED_TOGETHER: usize = 16;

/// What the miner's own payment costs, satoshi per 1,000 weight units (2 sat/vB).
const FUNDING_FEERATE: u64 = 500;

impl<W: World> Runner<W> {
    pub(super) async fn warm_up(&mut self) -> Result<(), Stop> {
        self.world
            .mine(1 + BLOCKS_TO_MATURITY, self.miner.script())
            .await?;
        self.world.settle().await?;
        self.book.refresh(&mut self.world).await?;
        // The blocks that bring the miner's coins to maturity are nobody's business.
        self.book.take_change();
        self.fund().await?;
        self.open_channels().await?;
        self.world.start_engine().await?;
        self.world.settle().await?;
        self.open_books().await?;
        self.world.settle().await?;
        self.world.begin();
        self.run
            .recorder
            .begin(self.world.epoch(), self.world.truth_source());
        self.run.trace.lock().canonical.discard_open();
        self.observe(Some("warm-up")).await
    }

    /// One transaction of the miner's gives everybody their opening funds.
    async fn fund(&mut self) -> Result<(), Stop> {
        let mut outputs: Vec<(ScriptBuf, u64)> = Vec::new();
        for node in self.run.scenario.nodes.clone() {
            let name = node.name.as_str();
            let script = self.world.node_address(name).await?.script_pubkey();
            self.owners.give(script.clone(), name);
            outputs.push((script, node.funds.get()));
        }
        for wallet in &self.run.scenario.wallets {
            outputs.push((
                self.purses[wallet.name.as_str()].script(),
                wallet.funds.get(),
            ));
        }
        let keys = super::own_wallets(&self.run.scenario, self.run.options.seed);
        for wallet in &self.run.scenario.operator.wallets {
            let public = &keys[wallet.name.as_str()].public;
            outputs.push((keys::opening_script(public), wallet.funds.get()));
        }
        let funded = outputs.into_iter().filter(|(_, sat)| *sat > 0);
        let outputs: Vec<TxOut> = funded
            .map(|(script_pubkey, sat)| TxOut {
                value: Amount::from_sat(sat),
                script_pubkey,
            })
            .collect();
        if !outputs.is_empty() {
            let refused = |error| WorldError::refused("the miner", "fund everybody", error);
            let transaction = self
                .miner
                .pay(&self.book, &outputs, FUNDING_FEERATE)
                .map_err(refused)?;
            let txid = self.world.broadcast(&transaction).await?;
            self.run
                .trace
                .lock()
                .names
                .give(txid.to_string(), "opening funds");
        }
        self.mine(ANNOUNCE_DEPTH).await
    }

    /// Opens channels in the order of the file; those of different openers share blocks, but not too many.
    async fn open_channels(&mut self) -> Result<(), Stop> {
        let mut channels = self.run.scenario.channels.clone();
        channels.retain(|channel| !channel.later);
        let mut openers = BTreeSet::new();
        for channel in &channels {
            let is_first = openers.insert(channel.from.clone());
            if !is_first || openers.len() > ANNOUNCED_TOGETHER {
                self.mine(ANNOUNCE_DEPTH).await?;
                openers = BTreeSet::from([channel.from.clone()]);
            }
            let plan = plan(channel);
            let funding = self.world.open_channel(&plan).await?;
            self.run
                .trace
                .lock()
                .names
                .give(funding.txid.to_string(), format!("funding:{}", plan.name));
            let called = format!("channel:{}", plan.name);
            let mut trace = self.run.trace.lock();
            trace.names.give(funding.to_string(), called);
        }
        if channels.is_empty() {
            return Ok(());
        }
        self.mine(ANNOUNCE_DEPTH).await?;
        let announced = channels.iter().filter(|channel| channel.announced).count();
        self.world.await_gossip(announced).await?;
        self.world.settle().await?;
        self.name_channel_scripts().await
    }

    async fn name_channel_scripts(&mut self) -> Result<(), Stop> {
        self.book.refresh(&mut self.world).await?;
        for channel in self.world.channels().await? {
            if let Some(output) = self.book.output(&channel.funding) {
                self.owners.give(
                    output.script_pubkey.clone(),
                    format!("channel:{}", channel.name),
                );
            }
        }
        Ok(())
    }

    /// Parties, and what the outside holds for the operator.
    async fn open_books(&mut self) -> Result<(), Stop> {
        let scenario = self.run.scenario.clone();
        self.open_wallets(|wallet| wallet.owner.is_none()).await?;
        self.world.settle().await?;
        let wallets = scenario.operator.wallets.iter();
        let coins: u64 = wallets.map(|wallet| wallet.funds.get()).sum();
        self.record_opening(Rail::Onchain, Quantity::btc(Msat(coins * 1_000)))
            .await?;
        let operator = scenario.operator.node.as_ref().map(ToString::to_string);
        let mut channels = 0;
        for channel in self.world.channels().await? {
            let end = channel
                .ends
                .iter()
                .position(|end| Some(end) == operator.as_ref());
            channels += end.map_or(0, |end| channel.balance_msat[end]);
        }
        self.record_opening(Rail::Lightning, Quantity::btc(Msat(channels)))
            .await?;
        self.record_opening(
            Rail::Sepa,
            Quantity::eur(Minor::new(scenario.operator.gateway.get())),
        )
        .await?;
        for party in &scenario.parties {
            let party = PartyId::new(party.as_str()).expect("checked with the scenario");
            self.command(Command::OpenParty { party }).await?;
        }
        self.open_wallets(|wallet| wallet.owner.is_some()).await?;
        self.run.trace.lock().record(
            Subsystem::Stimulus,
            "scenario",
            json!({ "event": "warmed up" }),
        );
        Ok(())
    }

    /// All of a kind but `hot`, which the engine begins with.
    async fn open_wallets(&mut self, kind: fn(&OwnedWallet) -> bool) -> Result<(), Stop> {
        let keys = super::own_wallets(&self.run.scenario, self.run.options.seed);
        let wallets = self.run.scenario.operator.wallets.clone();
        for wallet in wallets.iter().skip(1).filter(|wallet| kind(wallet)) {
            let owner = wallet.owner.as_ref().map_or(Owner::Operator, |party| {
                Owner::Party(PartyId::new(party.as_str()).expect("checked with the scenario"))
            });
            let spec = WalletSpec {
                name: WalletId::new(wallet.name.as_str()).expect("checked with the scenario"),
                purpose: purpose(wallet.purpose),
                owner,
                descriptors: keys[wallet.name.as_str()].public.clone(),
                custody: keys[wallet.name.as_str()].custody.clone(),
                gap_limit: wallet.gap_limit,
            };
            self.command(Command::OpenWallet(spec)).await?;
        }
        Ok(())
    }

    async fn record_opening(&mut self, rail: Rail, quantity: Quantity) -> Result<(), Stop> {
        if quantity.units > 0 {
            self.command(Command::RecordOpening { rail, quantity })
                .await?;
        }
        Ok(())
    }
}

fn fees(forwarding: crate::scenario::Forwarding) -> ForwardingFees {
    ForwardingFees {
        base_msat: u32::try_from(forwarding.base.get()).unwrap_or(u32::MAX),
        proportional_millionths: forwarding.proportional_millionths,
        cltv_expiry_delta: u16::try_from(forwarding.cltv_delta.get()).unwrap_or(u16::MAX),
    }
}

pub(super) fn plan(channel: &crate::scenario::Channel) -> ChannelPlan {
    ChannelPlan {
        name: channel.name.to_string(),
        from: channel.from.to_string(),
        to: channel.to.to_string(),
        capacity_sat: channel.capacity.get(),
        push_msat: channel.push.get(),
        announced: channel.announced,
        fees_from: fees(channel.from_forwarding),
        fees_to: fees(channel.to_forwarding),
    }
}
