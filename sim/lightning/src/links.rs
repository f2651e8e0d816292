//! Links to peers: bytes in, bytes out, no socket.
//!
//! Owns the mapping between a caller's link number and LDK's peer manager. Does not own delivery, latency or loss.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::SocketDescriptor;

use crate::background::{Effect, Outbox};
use crate::node::Node;

/// The caller's number of one connection; never used twice in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The link is not, or no longer, open: the caller should drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("link {} is closed", link.0)]
pub struct LinkError {
    /// The link.
    pub link: LinkId,
}

/// One end of a link, as LDK's peer manager sees it. It never pushes back: what is sent waits in the outbox.
#[derive(Clone)]
pub(crate) struct LinkEnd {
    link: LinkId,
    outbox: Arc<Outbox>,
}

impl PartialEq for LinkEnd {
    fn eq(&self, other: &Self) -> bool {
        self.link == other.link
    }
}

impl Eq for LinkEnd {}

impl Hash for LinkEnd {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.link.hash(state);
    }
}

impl SocketDescriptor for LinkEnd {
    fn send_data(&mut self, data: &[u8], _continue_read: bool) -> usize {
        if !data.is_empty() {
            self.outbox.push(Effect::Send {
                link: self.link,
                bytes: data.to_vec(),
            });
        }
        data.len()
    }

    fn disconnect_socket(&mut self) {
        self.outbox.push(Effect::CloseLink { link: self.link });
    }
}

impl Node {
    /// Begins a connection to `peer`; the returned bytes are the first to send over `link` (BOLT 8, act one).
    pub fn connect_outbound(&self, link: LinkId, peer: PublicKey) -> Result<Vec<u8>, LinkError> {
        self.inner
            .peers
            .new_outbound_connection(peer, self.end(link), None)
            .map_err(|_| LinkError { link })
    }

    /// Accepts a connection that another node began.
    pub fn connect_inbound(&self, link: LinkId) -> Result<(), LinkError> {
        self.inner
            .peers
            .new_inbound_connection(self.end(link), None)
            .map_err(|_| LinkError { link })
    }

    /// Takes bytes that arrived. They may change channels at once: call [`Node::process`] before anything else may stop
    /// the node, else its channel manager on disk is older than its monitors and LDK closes the channel at the restart.
    pub fn bytes_in(&self, link: LinkId, bytes: &[u8]) -> Result<(), LinkError> {
        self.inner
            .peers
            .read_event(&mut self.end(link), bytes)
            .map_err(|_| LinkError { link })
    }

    /// The other side, or the network, closed the link. Not to be called for a link of an [`Effect::CloseLink`].
    pub fn link_closed(&self, link: LinkId) {
        self.inner.peers.socket_disconnected(&self.end(link));
    }

    /// The peers with which the handshake is complete, sorted.
    pub fn connected_peers(&self) -> Vec<PublicKey> {
        let mut peers: Vec<_> = self
            .inner
            .peers
            .list_peers()
            .iter()
            .map(|peer| peer.counterparty_node_id)
            .collect();
        peers.sort();
        peers
    }

    fn end(&self, link: LinkId) -> LinkEnd {
        LinkEnd {
            link,
            outbox: self.inner.outbox.clone(),
        }
    }
}
