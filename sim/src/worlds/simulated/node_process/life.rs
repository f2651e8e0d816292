//! Owns one life of a node process, from its start to its end: the loop in which the node works, and its links. Does not own
//! starting and killing (`node_process`) nor following the chain (`blocks`).

use super::super::backend;
use super::caught::caught;
use super::{Incoming, MAX_INCOMING, NodeProcess, TICK};
use crate::links::{End, Outgoing};
use crate::vtime::simulated_instant;
use async_channel::{Receiver, Sender};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Transaction, Txid};
use futures_util::{FutureExt, select_biased};
use lockstep_lightning::{Effect, LinkId, Node};
use madsim::runtime::NodeHandle;
use madsim::time::{Instant, sleep, sleep_until};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longer than bytes are under way: a connection is closed by the system after what was sent on it.
const LINGERING: Duration = Duration::from_secs(1);

/// Waits until the disk has taken what it is storing; for ever if that is nothing.
async fn taken_by_disk(storing: Option<(Instant, u64)>) -> u64 {
    let Some((at, begun)) = storing else {
        return std::future::pending().await;
    };
    sleep_until(at).await;
    begun
}

/// Carries what arrives on one link into the process.
async fn read_link(link: LinkId, end: End, inbox: Sender<Incoming>) {
    while let Some(chunk) = end.receive().await {
        if inbox.len() >= MAX_INCOMING {
            break;
        }
        if inbox.send(Incoming::Bytes(link, chunk)).await.is_err() {
            return;
        }
    }
    // The process may be gone.
    let _ = inbox.send(Incoming::Closed(link)).await;
}

/// The same effects with all bytes for one link in one piece, where the first of them stood.
fn joined(effects: Vec<Effect>) -> Vec<Effect> {
    let mut kept: Vec<Effect> = Vec::with_capacity(effects.len());
    let mut pieces: BTreeMap<LinkId, usize> = BTreeMap::new();
    for effect in effects {
        if let Effect::CloseLink { link } = &effect {
            pieces.remove(link);
        }
        if let Effect::Send { link, bytes } = &effect {
            let first = pieces.get(link).and_then(|at| kept.get_mut(*at));
            if let Some(Effect::Send { bytes: first, .. }) = first {
                first.extend_from_slice(bytes);
                continue;
            }
            pieces.insert(*link, kept.len());
        }
        kept.push(effect);
    }
    kept
}

/// One life of a process, from start to kill.
pub(super) struct Life {
    pub(super) process: NodeProcess,
    pub(super) node: Node,
    pub(super) host: NodeHandle,
    pub(super) inbox: Sender<Incoming>,
    pub(super) links: BTreeMap<LinkId, Outgoing>,
    pub(super) peer_links: BTreeMap<PublicKey, LinkId>,
    pub(super) told_mempool: BTreeSet<Txid>,
    /// What a silent process would have sent.
    pub(super) unsaid: Vec<(LinkId, Vec<u8>)>,
    /// Monitors that the node has begun to store, as far as the disk has taken note of them.
    pub(super) stores_begun: u64,
    /// When the disk will have taken so many of them.
    pub(super) storing: VecDeque<(Instant, u64)>,
}

/// Why a process woke.
enum Woken {
    Message(Incoming),
    Wake,
    Tick,
    Stored(u64),
}

/// Why a process ended by itself.
pub(super) enum Ended {
    /// Its disk refused, and it stopped (fail-stop).
    Disk(String),
    /// LDK panicked.
    Panic(String),
}

impl Life {
    pub(super) async fn run(mut self, incoming: Receiver<Incoming>) {
        let mut next_tick = simulated_instant();
        loop {
            self.process.stand_still(&incoming).await;
            let worked = caught(|| self.work()).map_err(Ended::Panic);
            if let Err(ended) = worked.and_then(|worked| worked) {
                return self.end(ended);
            }
            let wake = self.node.wake();
            let stored = self.storing.front().copied();
            let woken = select_biased! {
                message = incoming.recv().fuse() => match message {
                    Ok(message) => Woken::Message(message),
                    Err(_) => return,
                },
                () = wake.fuse() => Woken::Wake,
                begun = taken_by_disk(stored).fuse() => Woken::Stored(begun),
                () = sleep_until(next_tick).fuse() => Woken::Tick,
            };
            if matches!(woken, Woken::Tick) {
                next_tick += TICK;
            }
            if self.process.stands_still() {
                self.process.miss(matches!(woken, Woken::Message(_)));
                self.process.stand_still(&incoming).await;
            }
            let acted = caught(|| self.act(woken)).map_err(Ended::Panic);
            if let Err(ended) = acted.and_then(|acted| acted) {
                return self.end(ended);
            }
            if let Some(reaction) = self.process.world.reaction {
                sleep(reaction).await;
                self.process.stand_still(&incoming).await;
                if let Err(ended) = self.take_all(&incoming) {
                    return self.end(ended);
                }
            }
        }
    }

    /// Takes everything that has come in.
    fn take_all(&mut self, incoming: &Receiver<Incoming>) -> Result<(), Ended> {
        while let Ok(message) = incoming.try_recv() {
            caught(|| self.take(message)).map_err(Ended::Panic)?;
        }
        Ok(())
    }

    /// The process ends by itself: what it has sent still arrives, then its connections are closed.
    fn end(&mut self, ended: Ended) {
        self.process.ended(ended);
        self.links.values().for_each(Outgoing::close);
        let process = self.process.clone();
        self.host.spawn(async move {
            sleep(LINGERING).await;
            if process.running().is_none() {
                process.world.network.take_down(&process.name);
            }
        });
    }

    fn act(&mut self, woken: Woken) -> Result<(), Ended> {
        match woken {
            Woken::Message(message) => self.take(message),
            Woken::Wake => {}
            Woken::Tick => {
                self.node.tick(self.process.time());
                self.reconnect();
            }
            Woken::Stored(begun) => {
                self.storing.pop_front();
                self.finish_stores(begun)?;
            }
        }
        Ok(())
    }

    fn finish_stores(&self, begun: u64) -> Result<(), Ended> {
        let stored = self.node.finish_stores(begun);
        stored.map_err(|error| Ended::Disk(error.to_string()))
    }

    /// Does all that the node has to do now, and carries it out.
    fn work(&mut self) -> Result<(), Ended> {
        self.say_the_unsaid();
        loop {
            let effects = self
                .node
                .process(self.process.time())
                .map_err(|error| Ended::Disk(error.to_string()))?;
            let quiet = effects.is_empty();
            let effects = match self.process.world.reaction {
                Some(_) => joined(effects),
                None => effects,
            };
            for effect in effects {
                match effect {
                    Effect::Send { link, bytes } => self.say(link, bytes),
                    Effect::CloseLink { link } => self.drop_link(link),
                    Effect::Broadcast(transactions) => self.broadcast(transactions),
                    Effect::Event(notice) => self.process.tell(notice),
                }
            }
            if !quiet {
                self.process.record_htlcs(&self.node);
            }
            if !self.store_monitors()? {
                break;
            }
        }
        self.process.watch_htlcs(&self.node);
        self.process.watch_trouble(&self.node);
        self.process.tell_changes(&self.node);
        Ok(())
    }

    /// Gives the disk what the node has begun to store; whether the node is to go on because the disk took it at once.
    fn store_monitors(&mut self) -> Result<bool, Ended> {
        let begun = self.node.stores_begun();
        if begun == self.stores_begun {
            return Ok(false);
        }
        let by = self.process.store_delay(begun - self.stores_begun);
        self.stores_begun = begun;
        if by.is_zero() && self.storing.is_empty() {
            self.finish_stores(begun)?;
            return Ok(true);
        }
        let earliest = self.storing.back().map(|(at, _)| *at);
        let at = simulated_instant() + by;
        self.storing
            .push_back((earliest.map_or(at, |earliest| earliest.max(at)), begun));
        Ok(false)
    }

    fn say(&mut self, link: LinkId, bytes: Vec<u8>) {
        if self.process.is_silent() {
            self.process.count_silence();
            self.unsaid.push((link, bytes));
        } else if let Some(outgoing) = self.links.get(&link) {
            outgoing.send(bytes);
        }
    }

    fn say_the_unsaid(&mut self) {
        if self.unsaid.is_empty() || self.process.is_silent() {
            return;
        }
        for (link, bytes) in std::mem::take(&mut self.unsaid) {
            self.say(link, bytes);
        }
    }

    fn broadcast(&self, transactions: Vec<Transaction>) {
        let (world, name) = (self.process.world.clone(), self.process.name.clone());
        self.host.spawn(async move {
            let copies = world.network.travel_surely(&name, backend::ENDPOINT).await;
            world.backend.wait_while_stopped().await;
            for _ in 0..copies {
                world.backend.submit_package(&transactions);
            }
        });
    }

    fn take(&mut self, message: Incoming) {
        match message {
            Incoming::Connected(end) => self.accept(end),
            Incoming::Bytes(link, bytes) => {
                if self.links.contains_key(&link) && self.node.bytes_in(link, &bytes).is_err() {
                    self.drop_link(link);
                }
            }
            Incoming::Closed(link) => {
                if self.links.contains_key(&link) {
                    self.drop_link(link);
                    self.node.link_closed(link);
                }
            }
            Incoming::ChainChanged => self.follow(),
            Incoming::Poke => self.reconnect(),
        }
    }

    fn drop_link(&mut self, link: LinkId) {
        if let Some(outgoing) = self.links.remove(&link) {
            outgoing.close();
        }
        self.peer_links.retain(|_, of_peer| *of_peer != link);
    }

    fn adopt(&mut self, end: End) -> LinkId {
        let link = LinkId(self.process.world.next_link.fetch_add(1, Ordering::Relaxed));
        self.links.insert(link, end.outgoing());
        self.host.spawn(read_link(link, end, self.inbox.clone()));
        link
    }

    fn accept(&mut self, end: End) {
        let link = self.adopt(end);
        if self.node.connect_inbound(link).is_err() {
            self.drop_link(link);
        }
    }

    /// Connects to every wanted peer without a link.
    fn reconnect(&mut self) {
        let wanted: Vec<(PublicKey, String)> = self
            .process
            .state()
            .peers
            .iter()
            .map(|(peer, name)| (*peer, name.clone()))
            .collect();
        for (peer, name) in wanted {
            if !self.peer_links.contains_key(&peer) {
                self.connect(peer, &name);
            }
        }
    }

    fn connect(&mut self, peer: PublicKey, name: &str) {
        let Some(other) = self.process.world.directory.get(name) else {
            return;
        };
        let Ok((mine, theirs)) = self.process.world.network.connect(&self.process.name, name)
        else {
            return;
        };
        let link = self.adopt(mine);
        match self.node.connect_outbound(link, peer) {
            Ok(first) => {
                self.peer_links.insert(peer, link);
                self.say(link, first);
                other.deliver(Incoming::Connected(theirs));
            }
            Err(_) => self.drop_link(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_for_one_link_are_joined_up_to_its_end() {
        let send = |link, bytes: &[u8]| Effect::Send {
            link: LinkId(link),
            bytes: bytes.to_vec(),
        };
        let close = Effect::CloseLink { link: LinkId(1) };
        let effects = vec![
            send(1, b"a"),
            send(2, b"x"),
            send(1, b"b"),
            close.clone(),
            send(2, b"y"),
        ];
        assert_eq!(joined(effects), [send(1, b"ab"), send(2, b"xy"), close]);
    }
}
