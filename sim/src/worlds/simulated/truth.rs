//! Owns the truth of the simulated world at any moment: what the chain, the operator's node and the gateway really hold.
//! Does not own what the ledger says (the engine) nor their comparison (`invariants`).

use super::backend::Backend;
use super::chain::Chain;
use super::node_process::NodeProcess;
use crate::worlds::{HashTruth, NodeTruth, SharedGateway, Truth, TruthSource};
use bitcoin::{OutPoint, ScriptBuf};
use lockstep_lightning::{
    DiskError, HtlcDirection, IncomingStatus, NodeEvent, OutgoingStatus, PaymentHash, PaymentId,
};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Reads the truth off the parts themselves.
pub(crate) struct SimulatedTruth {
    backend: Backend,
    operator: Option<NodeProcess>,
    gateway: SharedGateway,
    /// The scripts of each wallet.
    wallets: BTreeMap<String, Vec<ScriptBuf>>,
    /// The chain's version and each wallet's total at it.
    totals: Mutex<(u64, BTreeMap<String, u64>)>,
    /// Whether the engine keeps the books of its node's channels.
    own_channels: bool,
}

impl SimulatedTruth {
    /// Of the operator's node (if there is one), its wallets' scripts and its account.
    pub(crate) fn new(
        backend: Backend,
        operator: Option<NodeProcess>,
        gateway: SharedGateway,
        wallets: BTreeMap<String, Vec<ScriptBuf>>,
    ) -> SimulatedTruth {
        let totals = Mutex::new((u64::MAX, BTreeMap::new()));
        SimulatedTruth {
            backend,
            operator,
            gateway,
            wallets,
            totals,
            own_channels: false,
        }
    }

    /// With what the node has beside its open channels.
    pub(crate) fn with_own_channels(self, own_channels: bool) -> SimulatedTruth {
        SimulatedTruth {
            own_channels,
            ..self
        }
    }

    fn wallets_sat(&self) -> BTreeMap<String, u64> {
        let version = self.backend.version();
        let mut cached = self.totals.lock().expect("no holder panics");
        if cached.0 != version {
            let total = |(name, scripts): (&String, &Vec<ScriptBuf>)| {
                let sat = self.backend.read(|chain| unspent_sat(chain, scripts));
                (name.clone(), sat)
            };
            *cached = (version, self.wallets.iter().map(total).collect());
        }
        cached.1.clone()
    }
}

/// Everything unspent on these scripts, mempool included.
fn unspent_sat(chain: &Chain, scripts: &[ScriptBuf]) -> u64 {
    let mut coins: BTreeMap<OutPoint, u64> = BTreeMap::new();
    for script in scripts {
        coins.extend(
            chain
                .unspent(script)
                .into_iter()
                .map(|(outpoint, coin)| (outpoint, coin.out.value.to_sat())),
        );
    }
    for entry in chain.mempool() {
        for (vout, output) in entry
            .tx
            .output
            .iter()
            .enumerate()
            .filter(|(_, o)| scripts.contains(&o.script_pubkey))
        {
            coins.insert(
                OutPoint::new(entry.txid, vout as u32),
                output.value.to_sat(),
            );
        }
    }
    for entry in chain.mempool() {
        for input in &entry.tx.input {
            coins.remove(&input.previous_output);
        }
    }
    coins.values().sum()
}

fn node_truth(operator: &NodeProcess) -> NodeTruth {
    let views = operator.channels();
    let mut listed: Vec<OutPoint> = views.iter().filter_map(|view| view.funding).collect();
    listed.sort();
    let node = operator.running();
    NodeTruth {
        wallet_sat: node
            .as_ref()
            .map_or(0, |node| node.wallet_balance().total_sat),
        listed,
        swept: node.is_none_or(|node| node.unswept().is_empty()),
    }
}

/// More than all bitcoin in msat, and far from an overflow.
const ANY_AMOUNT: u64 = 1 << 62;

/// What payments have moved that the node has told of and the engine has not taken note of yet: sent, and received (msat).
fn untold(operator: &NodeProcess) -> (u64, u64) {
    let (mut sent, mut received) = (0, 0);
    for notice in operator.unacknowledged() {
        match notice.event {
            NodeEvent::PaymentSent {
                payment_id,
                fee_paid_msat,
                ..
            } => {
                let node = operator.running();
                let view = node.and_then(|node| node.payment(payment_id).ok().flatten());
                // A node that is down cannot be asked how much it was.
                sent += view.map_or(ANY_AMOUNT, |view| view.amount_msat + fee_paid_msat);
            }
            NodeEvent::PaymentReceived { amount_msat, .. } => received += amount_msat,
            _ => {}
        }
    }
    (sent, received)
}

impl TruthSource for SimulatedTruth {
    /// An engine that was down, or waits for its disk, learns late of payments that are over: until it does, they count as in
    /// flight.
    fn truth(&self) -> Truth {
        let operator = self.operator.as_ref();
        let mut views = operator.map(NodeProcess::channels).unwrap_or_default();
        // One that is not funded holds nothing.
        views.retain(|view| view.funding.is_some());
        let (sent, received) = operator.map(untold).unwrap_or_default();
        let held: u64 = views.iter().map(|view| view.local_balance_msat).sum();
        let in_htlcs = |direction: HtlcDirection| -> u64 {
            let htlcs = views.iter().flat_map(|view| &view.htlcs);
            htlcs
                .filter(|htlc| htlc.direction == direction)
                .map(|htlc| htlc.amount_msat)
                .sum()
        };
        let gateway = self.gateway.lock();
        let (gateway_cents, came_in_cents) = gateway.account();
        Truth {
            wallets_sat: self.wallets_sat(),
            channels_msat: held.saturating_sub(received),
            outgoing_msat: in_htlcs(HtlcDirection::Outgoing).saturating_add(sent),
            incoming_msat: in_htlcs(HtlcDirection::Incoming) + received,
            gateway_cents,
            came_in_cents,
            untold_cents: gateway.untold_cents(),
            node: self
                .own_channels
                .then_some(())
                .and_then(|()| operator.map(node_truth)),
        }
    }
}

/// What every node has on its disk about a payment hash; a node that is down may know more than it can tell.
pub(crate) fn of_hash(nodes: &[NodeProcess], hash: [u8; 32]) -> Result<HashTruth, DiskError> {
    let mut truth = HashTruth::default();
    for process in nodes {
        let htlcs = process.channels().into_iter().flat_map(|view| view.htlcs);
        truth.pending |= htlcs.into_iter().any(|htlc| htlc.payment_hash.0 == hash);
        let Some(node) = process.running() else {
            truth.hidden = true;
            continue;
        };
        let receipt = node
            .receipt(PaymentHash(hash))?
            .map(|receipt| receipt.status);
        truth.claimed |= matches!(receipt, Some(IncomingStatus::Received { .. }));
        // Outsiders pay under the hash as their id.
        let payment = node.payment(PaymentId(hash))?.map(|payment| payment.status);
        truth.proven |= matches!(payment, Some(OutgoingStatus::Sent { .. }));
        truth.pending |= matches!(payment, Some(OutgoingStatus::Pending));
    }
    Ok(truth)
}
