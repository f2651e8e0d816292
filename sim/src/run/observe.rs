//! Owns what is written down when the world has come to rest: what changed on the chain, and every balance that changed,
//! of every party, ledger account, wallet, node and channel; then the invariants that hold at rest.
//! Does not own when that is (`steps`).

use super::outcome::Phase;
use super::owners::{NAMELESS, name_of};
use super::{Runner, Stop};
use crate::invariants::Settled;
use crate::scenario::ChannelStage;
use crate::trace::Subsystem;
use crate::worlds::chain_book::{ChainBook, ChainChange};
use crate::worlds::gateway::Gateway;
use crate::worlds::{ChannelState, NodeTruth, Truth, World, WorldError};
use bitcoin::{Transaction, Txid};
use lockstep_host::Handle;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl<W: World> Runner<W> {
    /// Observes the world at rest and, with a heading, closes the interval of the canonical trace.
    pub(super) async fn observe(&mut self, heading: Option<&str>) -> Result<(), Stop> {
        self.book.refresh(&mut self.world).await?;
        let change = self.book.take_change();
        self.world.now();
        self.record_chain(&change);
        let channels = self.world.channels().await?;
        let mut truth = self.truth(&channels);
        if self.run.scenario.policy.channels {
            truth.node = self.node_truth().await?;
        }
        let mut balances = self.balances(&channels, &truth)?;
        for node in self.run.scenario.nodes.clone() {
            let wallet = match self.world.node_wallet_sat(node.name.as_str()).await {
                Ok(sat) => json!({ "sat": sat }),
                Err(WorldError::Refused { .. }) => json!("down"),
                Err(error) => return Err(error.into()),
            };
            balances.insert(format!("node/{}/wallet", node.name), wallet);
        }
        let known: Vec<String> = channels
            .iter()
            .map(|channel| channel.name.clone())
            .collect();
        balances.extend(self.stages_without_balances(&known).await?);
        self.record_balances(balances);
        if let Some(heading) = heading {
            self.run.trace.lock().canonical.settle(heading);
        }
        self.check_at_rest(&channels, truth)
    }

    /// What the operator's node has beside its open channels; `None` while it is down.
    async fn node_truth(&mut self) -> Result<Option<NodeTruth>, Stop> {
        let Some(operator) = self.run.scenario.operator.node.clone() else {
            return Ok(None);
        };
        let wallet_sat = match self.world.node_wallet_sat(operator.as_str()).await {
            Ok(sat) => sat,
            Err(WorldError::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut swept = true;
        for channel in self.run.scenario.channels.clone() {
            if channel.from == operator || channel.to == operator {
                let stage = self.channel_stage(channel.name.as_str()).await?;
                swept &= !matches!(stage, ChannelStage::Closing | ChannelStage::Closed);
            }
        }
        Ok(Some(NodeTruth {
            wallet_sat,
            listed: Vec::new(),
            swept,
        }))
    }

    fn record_chain(&mut self, change: &ChainChange) {
        let mut trace = self.run.trace.lock();
        for height in &change.disconnected {
            trace.record_canonical(Subsystem::Chain, "chain", json!({ "undone": height }));
        }
        let left = change.left.iter().map(|txid| name_of(txid, &trace.names));
        let left = left.filter(|name| name != NAMELESS);
        let mut left: Vec<String> = left.collect();
        // By name, as ids differ between the worlds.
        left.sort();
        for name in left {
            trace.record_canonical(Subsystem::Chain, "chain", json!({ "left_mempool": name }));
        }
        let mined: Vec<&Transaction> = change
            .connected
            .iter()
            .flat_map(|(_, block)| &block.txdata)
            .collect();
        let mut fresh: Vec<Transaction> = change
            .entered
            .iter()
            .chain(mined)
            .filter(|tx| {
                !tx.is_coinbase()
                    && !pays_nobody(tx)
                    && trace
                        .names
                        .of(&format!("described/{}", tx.compute_txid()))
                        .is_none()
            })
            .cloned()
            .collect();
        put_parents_first(&mut fresh, &self.book);
        let mut described: BTreeMap<String, Value> = BTreeMap::new();
        for transaction in &fresh {
            let description = self
                .owners
                .describe(transaction, &self.book, &mut trace.names);
            let txid = transaction.compute_txid();
            trace.names.give(format!("described/{txid}"), "described");
            let called = json!({ "txid": txid.to_string(), "called": description["tx"] });
            trace.record(Subsystem::Chain, "chain", called);
            described.insert(description["tx"].to_string(), description);
        }
        for description in described.into_values() {
            trace.record_canonical(Subsystem::Chain, "chain", description);
        }
        let of_somebody = |all: &[Transaction]| -> Vec<Transaction> {
            all.iter().filter(|tx| !pays_nobody(tx)).cloned().collect()
        };
        let entered = of_somebody(&change.entered);
        let entered = self.owners.names_of(&entered, &self.book, &mut trace.names);
        if !entered.is_empty() {
            trace.record_canonical(
                Subsystem::Chain,
                "chain",
                json!({ "entered_mempool": entered }),
            );
        }
        for (height, block) in &change.connected {
            let mined = of_somebody(&block.txdata);
            let names = self.owners.names_of(&mined, &self.book, &mut trace.names);
            trace.record_canonical(
                Subsystem::Chain,
                "chain",
                json!({ "block": height, "transactions": names }),
            );
        }
    }

    /// What the outside holds of the operator's money, read from the outside itself.
    fn truth(&self, channels: &[ChannelState]) -> Truth {
        let operator = self
            .run
            .scenario
            .operator
            .node
            .as_ref()
            .map(ToString::to_string);
        let gateway = self.world.gateway().lock();
        let (gateway_cents, came_in_cents) = gateway.account();
        let mut truth = Truth {
            wallets_sat: self.own_wallets_sat(),
            channels_msat: 0,
            outgoing_msat: 0,
            incoming_msat: 0,
            gateway_cents,
            came_in_cents,
            untold_cents: gateway.untold_cents(),
            node: None,
        };
        for channel in channels {
            let Some(end) = channel
                .ends
                .iter()
                .position(|end| Some(end) == operator.as_ref())
            else {
                continue;
            };
            truth.channels_msat += channel.balance_msat[end];
            truth.outgoing_msat += channel.in_flight_msat[end];
            truth.incoming_msat += channel.in_flight_msat[1 - end];
        }
        truth
    }

    /// What each transaction that spends the operator's coins pays to miners, read off the chain and the mempool.
    fn own_fees_sat(&self) -> BTreeMap<Txid, u64> {
        let is_own = |input: &bitcoin::TxIn| {
            let spent = self.book.output(&input.previous_output);
            spent.is_some_and(|output| {
                self.engine_scripts
                    .contains_key(output.script_pubkey.as_script())
            })
        };
        let all = self.book.transactions();
        all.filter(|transaction| transaction.input.iter().any(is_own))
            .filter_map(|transaction| {
                Some((transaction.compute_txid(), self.book.fee_sat(transaction)?))
            })
            .collect()
    }

    /// What lies in each of the operator's wallets, read off the chain.
    pub(super) fn own_wallets_sat(&self) -> BTreeMap<String, u64> {
        let wallets = &self.run.scenario.operator.wallets;
        let mut sums: BTreeMap<String, u64> = wallets
            .iter()
            .map(|wallet| (wallet.name.to_string(), 0))
            .collect();
        let ours = |script: &_| self.engine_scripts.contains_key(script);
        for (output, _) in self.book.unspent(ours).values() {
            let wallet = &self.engine_scripts[&output.script_pubkey];
            *sums.entry(wallet.clone()).or_default() += output.value.to_sat();
        }
        sums
    }

    /// From which of the operator's wallets each transaction spends.
    fn spent_from(&self) -> BTreeMap<Txid, BTreeSet<String>> {
        let mut spends = BTreeMap::new();
        for transaction in self.book.transactions() {
            let spent = transaction.input.iter().filter_map(|input| {
                let output = self.book.output(&input.previous_output)?;
                self.engine_scripts.get(&output.script_pubkey).cloned()
            });
            let wallets: BTreeSet<String> = spent.collect();
            if !wallets.is_empty() {
                spends.insert(transaction.compute_txid(), wallets);
            }
        }
        spends
    }

    fn balances(
        &self,
        channels: &[ChannelState],
        truth: &Truth,
    ) -> Result<BTreeMap<String, Value>, Stop> {
        let mut balances: BTreeMap<String, Value> = BTreeMap::new();
        self.world.service().with_engine(|engine| {
            for (account, balance) in engine.ledger().accounts() {
                balances.insert(format!("ledger/{account}"), json!({ "balance": balance }));
            }
        })?;
        for (name, purse) in &self.purses {
            balances.insert(
                format!("wallet/{name}"),
                json!({ "sat": purse.balance_sat(&self.book) }),
            );
        }
        for channel in channels {
            let ends: BTreeMap<&String, u64> =
                channel.ends.iter().zip(channel.balance_msat).collect();
            let in_flight: BTreeMap<&String, u64> =
                channel.ends.iter().zip(channel.in_flight_msat).collect();
            let value = json!({ "msat": ends, "in_flight_msat": in_flight });
            balances.insert(format!("channel/{}", channel.name), value);
        }
        for (name, sat) in &truth.wallets_sat {
            balances.insert(format!("operator/wallet/{name}"), json!({ "sat": sat }));
        }
        balances.insert(
            "operator/gateway".to_owned(),
            json!({ "cents": truth.gateway_cents }),
        );
        Ok(balances)
    }

    /// Writes down those that differ from the last time.
    fn record_balances(&mut self, balances: BTreeMap<String, Value>) {
        let mut trace = self.run.trace.lock();
        for (of, balance) in &balances {
            if self.last_balances.get(of) != Some(balance) {
                trace.record_canonical(Subsystem::Balances, of, balance.clone());
            }
        }
        drop(trace);
        self.last_balances.extend(balances);
    }

    fn check_at_rest(&mut self, channels: &[ChannelState], truth: Truth) -> Result<(), Stop> {
        let executed = executed_counts(&self.world.gateway().lock());
        let recorder = self.run.recorder.clone();
        let chain_is_hidden = !self.hiding.is_empty();
        let layer0 = self.world.layer0();
        let book = layer0.map(|layer0| layer0.lock().book().clone());
        let at_end = self.phase == Phase::Settle;
        let spent_from = self.spent_from();
        let fees_sat = self.own_fees_sat();
        let check = |engine: &_| {
            recorder.check_at_rest(&Settled {
                spent_from: &spent_from,
                engine,
                truth: truth.clone(),
                channels,
                executed: &executed,
                fees_sat: &fees_sat,
                chain_is_hidden,
                layer0: book.as_ref(),
                at_end,
            })
        };
        self.world
            .service()
            .handle()
            .map(|handle: Handle| handle.with_engine(check))?;
        self.check_recorder()
    }
}

/// A transaction whose outputs hold nothing. LDK makes one of an anchor alone when a commitment transaction that paid enough confirms
/// before its next bump was taken back; whether it does so is a race between its tasks, so it is in no canonical trace.
fn pays_nobody(transaction: &Transaction) -> bool {
    transaction
        .output
        .iter()
        .all(|output| output.value.to_sat() == 0)
}

/// Orders transactions by something that both worlds share: how many of these they follow from, then amounts and fee.
fn put_parents_first(transactions: &mut [Transaction], book: &ChainBook) {
    let among: BTreeMap<Txid, Transaction> = transactions
        .iter()
        .map(|transaction| (transaction.compute_txid(), transaction.clone()))
        .collect();
    let generation = |transaction: &Transaction| {
        let (mut depth, mut above) = (0, vec![transaction.clone()]);
        loop {
            let parents = above.iter().flat_map(|tx| &tx.input);
            above = parents
                .filter_map(|input| among.get(&input.previous_output.txid).cloned())
                .collect();
            if above.is_empty() {
                return depth;
            }
            depth += 1;
        }
    };
    transactions.sort_by_cached_key(|transaction| {
        let mut amounts: Vec<u64> = transaction
            .output
            .iter()
            .map(|output| output.value.to_sat())
            .collect();
        amounts.sort_unstable();
        (generation(transaction), amounts, book.fee_sat(transaction))
    });
}

/// How often the gateway took each reference.
pub(super) fn executed_counts(gateway: &Gateway) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for transfer in gateway.transfers() {
        *counts.entry(transfer.reference.clone()).or_insert(0) += 1;
    }
    counts
}
