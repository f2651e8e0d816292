//! Owns reading the output of LND's `describegraph` (`lnrpc.ChannelGraph` as JSON): nodes with an alias, edges with capacity
//! and both policies. Does not own what becomes of it (`expand`).
//!
//! Taken: `nodes[].pub_key` and `alias`; of `edges[]` `channel_id`, `node1_pub`, `node2_pub`, `capacity`, and of both policies
//! `time_lock_delta`, `fee_base_msat`, `fee_rate_milli_msat` (millionths, whatever the name says). Everything else is passed
//! over, `disabled` and the limits of HTLCs with it: LDK tells its own.

use super::located::{Document, Wrong, joined, name_of_channel, names_of_nodes};
use super::{Asked, Edge, Network};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Graph<'a> {
    #[serde(borrow)]
    nodes: Vec<&'a RawValue>,
    #[serde(borrow)]
    edges: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct NodeText<'a> {
    #[serde(borrow)]
    pub_key: &'a RawValue,
    #[serde(default)]
    alias: String,
}

#[derive(Deserialize)]
struct EdgeText<'a> {
    #[serde(borrow)]
    channel_id: &'a RawValue,
    #[serde(borrow)]
    node1_pub: &'a RawValue,
    #[serde(borrow)]
    node2_pub: &'a RawValue,
    #[serde(borrow)]
    capacity: &'a RawValue,
    #[serde(borrow, default)]
    node1_policy: Option<Policy<'a>>,
    #[serde(borrow, default)]
    node2_policy: Option<Policy<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Policy<'a> {
    #[serde(borrow)]
    time_lock_delta: &'a RawValue,
    #[serde(borrow)]
    fee_base_msat: &'a RawValue,
    #[serde(borrow)]
    fee_rate_milli_msat: &'a RawValue,
}

const WHOLE: &str = "write the output of `lncli describegraph`: { \"nodes\": […], \"edges\": […] }";
const NODE: &str = "a node has at least \"pub_key\", and \"alias\" if it has one";
const EDGE: &str = "an edge has at least \"channel_id\", \"node1_pub\", \"node2_pub\" and \"capacity\", and each of its policies \"time_lock_delta\", \"fee_base_msat\" and \"fee_rate_milli_msat\"";

/// The network that the file describes; nodes without a channel are left out.
pub(super) fn read(text: &str) -> Result<Network, Wrong> {
    let file = Document(text);
    let graph: Graph<'_> = file.whole(WHOLE)?;
    let (mut order, mut aliases) = (Vec::new(), BTreeMap::new());
    for node in &graph.nodes {
        let typed: NodeText<'_> = file.part(node, NODE)?;
        let key = file.key(typed.pub_key)?;
        if aliases.insert(key.clone(), typed.alias).is_some() {
            let title = "this node is listed twice";
            return Err(file.wrong(typed.pub_key, title, "again", "remove one of the two"));
        }
        order.push(key);
    }
    let names = names_of_nodes(&aliases);
    let mut channels: Vec<Edge> = Vec::new();
    for edge in &graph.edges {
        let typed: EdgeText<'_> = file.part(edge, EDGE)?;
        channels.push(channel(file, edge, &typed, &names)?);
    }
    let listed = order.iter().map(|key| names[key].clone()).collect();
    Ok(Network {
        nodes: joined(listed, &channels),
        channels,
    })
}

fn channel(
    file: Document<'_>,
    whole: &RawValue,
    typed: &EdgeText<'_>,
    names: &BTreeMap<String, String>,
) -> Result<Edge, Wrong> {
    let end = |part| {
        let key = file.key(part)?;
        names.get(&key).cloned().ok_or_else(|| {
            let help = "add the node to \"nodes\", or remove the edge";
            file.wrong(
                part,
                "no node has this public key",
                "not among \"nodes\"",
                help,
            )
        })
    };
    let asked = |policy: Option<Policy<'_>>| policy.map(|policy| asked(file, policy)).transpose();
    Ok(Edge {
        name: name_of_channel(file.at_most(typed.channel_id, u64::MAX, "a short channel id")?),
        from: end(typed.node1_pub)?,
        to: end(typed.node2_pub)?,
        capacity_sat: Some(file.at_most(typed.capacity, u64::MAX, "a capacity")?),
        fees: [asked(typed.node1_policy)?, asked(typed.node2_policy)?],
        place: Some(file.place(whole)),
    })
}

fn asked(file: Document<'_>, policy: Policy<'_>) -> Result<Asked, Wrong> {
    let fee = u64::from(u32::MAX);
    Ok(Asked {
        base_msat: file.at_most(policy.fee_base_msat, fee, "a base fee (BOLT 7: 32 bits)")?,
        ppm: file.at_most(
            policy.fee_rate_milli_msat,
            fee,
            "a feerate (BOLT 7: 32 bits)",
        )?,
        cltv_delta: file.at_most(
            policy.time_lock_delta,
            u64::from(u16::MAX),
            "a CLTV delta (BOLT 7: 16 bits)",
        )?,
    })
}
