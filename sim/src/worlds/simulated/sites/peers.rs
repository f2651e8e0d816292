//! Owns bringing about Lightning nodes that do not keep to the protocol. Does not own what they do instead
//! (`node_process::trouble`, `node_process::revoked`). The end of such a fault is the end of any fault of a node (`nodes`).

use super::super::node_process::Directory;
use crate::faults::FaultId;
use crate::scenario::{PeerFaultKind, Trouble};
use crate::worlds::{FaultSite, WorldError};
use bitcoin::OutPoint;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The Lightning nodes of a world, and its channels by name.
pub(in super::super) struct Peers {
    nodes: Directory,
    channels: Mutex<BTreeMap<String, OutPoint>>,
}

impl Peers {
    /// Peers without channels yet.
    pub(in super::super) fn new(nodes: Directory) -> Peers {
        Peers {
            nodes,
            channels: Mutex::new(BTreeMap::new()),
        }
    }

    /// A channel was opened.
    pub(in super::super) fn learn(&self, channel: &str, funding: OutPoint) {
        let mut channels = self.channels.lock().expect("no holder panics");
        channels.insert(channel.to_owned(), funding);
    }
}

impl FaultSite for Peers {
    fn begin(&self, trouble: &Trouble, fault: FaultId) -> Result<bool, WorldError> {
        let Trouble::Peer { of, kind } = trouble else {
            return Ok(false);
        };
        let Some(node) = self.nodes.get(of.as_str()) else {
            return Ok(false);
        };
        if let PeerFaultKind::Revoked { channel } = kind {
            let channels = self.channels.lock().expect("no holder panics");
            let funding = channels.get(channel.as_str()).copied();
            drop(channels);
            if let Some(funding) = funding {
                node.publish_revoked(funding, fault);
            }
        } else {
            node.begin_peer(kind, fault);
        }
        Ok(true)
    }

    fn end(&self, _fault: FaultId) -> Result<(), WorldError> {
        Ok(())
    }
}
