//! Owns reading sim-ln's simulation files as far as they describe a network (`sim_network`, its "network simulation").
//! Does not own what becomes of it (`expand`).
//!
//! Taken of each channel: `scid`, `capacity_msat`, and of `node_1` and `node_2` `pubkey`, `alias` if there is one,
//! `cltv_expiry_delta`, `base_fee` (msat) and `fee_rate_prop` (millionths). Limits of HTLCs are LDK's own. `activity` is passed
//! over: what is paid, the steps say.

use super::located::{Document, Whole, Wrong, name_of_channel, names_of_nodes};
use super::{Asked, Edge, Network};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    sim_network: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChannelText<'a> {
    #[serde(borrow)]
    scid: &'a RawValue,
    #[serde(borrow)]
    capacity_msat: &'a RawValue,
    #[serde(borrow)]
    node_1: NodeText<'a>,
    #[serde(borrow)]
    node_2: NodeText<'a>,
}

#[derive(Deserialize)]
struct NodeText<'a> {
    #[serde(borrow)]
    pubkey: &'a RawValue,
    #[serde(borrow, default)]
    alias: Option<&'a RawValue>,
    #[serde(borrow)]
    cltv_expiry_delta: &'a RawValue,
    #[serde(borrow)]
    base_fee: &'a RawValue,
    #[serde(borrow)]
    fee_rate_prop: &'a RawValue,
}

const WHOLE: &str = "write a simulation file with \"sim_network\": […]; one with \"nodes\" gives access to real nodes and describes no network";
const CHANNEL: &str = "a channel has at least \"scid\", \"capacity_msat\", \"node_1\" and \"node_2\", and each of these \"pubkey\", \"cltv_expiry_delta\", \"base_fee\" and \"fee_rate_prop\"";

/// The network that the file describes, its nodes in the order in which they come.
pub(super) fn read(text: &str) -> Result<Network, Wrong> {
    let file = Document(text);
    let typed: File<'_> = file.whole(WHOLE)?;
    let mut channels: Vec<(&RawValue, ChannelText<'_>)> = Vec::new();
    for part in typed.sim_network {
        channels.push((part, file.part(part, CHANNEL)?));
    }
    let (mut order, mut aliases) = (Vec::new(), BTreeMap::new());
    for (_, channel) in &channels {
        for node in [&channel.node_1, &channel.node_2] {
            take_node(file, node, &mut order, &mut aliases)?;
        }
    }
    let names = names_of_nodes(&aliases);
    let edges = channels.iter().map(|(whole, channel)| {
        let end = |node: &NodeText<'_>| file.key(node.pubkey).map(|key| names[&key].clone());
        Ok(Edge {
            name: name_of_channel(file.at_most(channel.scid, u64::MAX, "a short channel id")?),
            from: end(&channel.node_1)?,
            to: end(&channel.node_2)?,
            capacity_sat: Some(capacity(file, channel.capacity_msat)?),
            fees: [
                Some(asked(file, &channel.node_1)?),
                Some(asked(file, &channel.node_2)?),
            ],
            place: Some(file.place(whole)),
        })
    });
    let channels = edges.collect::<Result<Vec<_>, Wrong>>()?;
    Ok(Network {
        nodes: order.iter().map(|key| names[key].clone()).collect(),
        channels,
    })
}

fn take_node(
    file: Document<'_>,
    node: &NodeText<'_>,
    order: &mut Vec<String>,
    aliases: &mut BTreeMap<String, String>,
) -> Result<(), Wrong> {
    let key = file.key(node.pubkey)?;
    let help = "write text";
    let alias: Option<String> = node
        .alias
        .map_or(Ok(None), |alias| file.part(alias, help))?;
    match (aliases.get(&key), alias) {
        (None, alias) => {
            aliases.insert(key.clone(), alias.unwrap_or_default());
            order.push(key);
        }
        (Some(known), Some(alias)) if *known != alias => {
            let title = format!("one public key is called \"{known}\" and \"{alias}\"");
            let part = node.alias.unwrap_or(node.pubkey);
            let help = "give a node one alias, at every channel";
            return Err(file.wrong(part, title, "another alias before", help));
        }
        (Some(_), _) => {}
    }
    Ok(())
}

fn capacity(file: Document<'_>, part: &RawValue) -> Result<u64, Wrong> {
    let help = "write millisatoshi, a multiple of 1000";
    let Whole(msat) = file.part(part, help)?;
    if msat.is_multiple_of(1_000) {
        return Ok(msat / 1_000);
    }
    let title = "a channel holds whole satoshi";
    Err(file.wrong(part, title, format!("{msat} msat"), help))
}

fn asked(file: Document<'_>, node: &NodeText<'_>) -> Result<Asked, Wrong> {
    let fee = u64::from(u32::MAX);
    Ok(Asked {
        base_msat: file.at_most(node.base_fee, fee, "a base fee (BOLT 7: 32 bits)")?,
        ppm: file.at_most(node.fee_rate_prop, fee, "a feerate (BOLT 7: 32 bits)")?,
        cltv_delta: file.at_most(
            node.cltv_expiry_delta,
            u64::from(u16::MAX),
            "a CLTV delta (BOLT 7: 16 bits)",
        )?,
    })
}
