//! Owns how a node cheats: it publishes a commitment transaction that it has revoked (BOLT 5). Does not own the punishment,
//! which is the business of the other end's LDK.
//!
//! The node itself would never do so. Its disk remembers what it held (`MemoryDisk::with_history`): a second node is started
//! from a copy of the disk as it was when the channel was settled at another balance, and closes the channel one-sidedly.
//! Real LDK signs and bumps; only the transactions leave, and the second node and its disk are thrown away.

use super::NodeProcess;
use super::blocks::bring_to_tip;
use super::caught::caught;
use crate::faults::FaultId;
use bitcoin::{OutPoint, Transaction};
use lockstep_lightning::{Effect, Node};
use serde_json::json;
use std::sync::Arc;

/// Far above what a run counts, so that the second node's randomness is its own.
const CHEATS_FROM: u32 = 1 << 31;

impl NodeProcess {
    /// Notes settled balances and where the disk stood at the end of each, so that the past can be found again.
    pub(super) fn note_balances(&self, node: &Node) {
        let mark = self.disk.changes();
        let mut state = self.state();
        for channel in node.channels() {
            let Some(funding) = channel.funding.filter(|_| channel.htlcs.is_empty()) else {
                continue;
            };
            let balances = state.troubled.balances.entry(funding).or_default();
            match balances.last_mut() {
                Some((balance_msat, latest)) if *balance_msat == channel.local_balance_msat => {
                    *latest = mark;
                }
                _ => balances.push((channel.local_balance_msat, mark)),
            }
        }
    }

    /// Publishes the latest commitment transaction of another balance than today's. It has an effect if the chain's backend
    /// takes it; without a past, or while the process is down, there is none.
    pub(in super::super) fn publish_revoked(&self, funding: OutPoint, fault: FaultId) {
        let made = caught(|| self.revoked_commitment(funding));
        let packages = match made.and_then(|made| made) {
            Ok(packages) => packages,
            Err(cause) => {
                self.record(json!({ "event": "could not cheat", "cause": cause }));
                return;
            }
        };
        let host = self.state().host.clone();
        let Some(host) = host else {
            return;
        };
        let process = self.clone();
        host.spawn(async move {
            let world = &process.world;
            world
                .network
                .travel_surely(&process.name, super::super::backend::ENDPOINT)
                .await;
            for package in &packages {
                world.backend.submit_package(package);
            }
            let taken = packages.iter().flatten().any(|transaction| {
                let txid = transaction.compute_txid();
                world.backend.read(|chain| chain.spender(&funding)) == Some(txid)
            });
            if taken {
                let mut faults = world.faults.lock().expect("no holder panics");
                faults.had_effect(fault);
            }
        });
    }

    /// What has to be broadcast for it, each as a package.
    fn revoked_commitment(&self, funding: OutPoint) -> Result<Vec<Vec<Transaction>>, String> {
        let channels = self.channels();
        let mut today = channels.iter().filter(|view| view.funding == Some(funding));
        let today = today.next().ok_or("the channel is closed")?;
        let mark = self
            .mark_of_another_balance(funding, today.local_balance_msat)
            .ok_or("the channel never stood differently")?;
        let disk = self.disk.snapshot_at(mark).ok_or("the disk has no past")?;
        let in_words = |error: &dyn ToString| error.to_string();
        let node = Node::start(self.config(CHEATS_FROM), Arc::new(disk))
            .map_err(|error| in_words(&error))?;
        bring_to_tip(&node, &self.world.backend);
        node.force_close_channel(today.user_channel_id)
            .map_err(|error| in_words(&error))?;
        let effects = node
            .process(self.time())
            .map_err(|error| in_words(&error))?;
        let packages = effects.into_iter().filter_map(|effect| match effect {
            Effect::Broadcast(transactions) => Some(transactions),
            _ => None,
        });
        let closes = |package: &Vec<Transaction>| {
            let mut inputs = package.iter().flat_map(|transaction| &transaction.input);
            inputs.any(|input| input.previous_output == funding)
        };
        let packages: Vec<_> = packages.filter(closes).collect();
        if packages.is_empty() {
            return Err("LDK broadcast nothing".to_owned());
        }
        Ok(packages)
    }

    fn mark_of_another_balance(&self, funding: OutPoint, today_msat: u64) -> Option<usize> {
        let state = self.state();
        let past = state.troubled.balances.get(&funding)?;
        let mut past = past.iter().rev();
        past.find(|(balance_msat, _)| *balance_msat != today_msat)
            .map(|(_, mark)| *mark)
    }
}
