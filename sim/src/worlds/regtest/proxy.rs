//! Owns the links between the Lightning nodes of the regtest world: a TCP proxy on loopback for each of the two ways to
//! dial between any two nodes, which can hold, delay and cut what passes. Does not own who dials when (`lightning`), nor
//! the gateway's link (`http_server`).
//!
//! A partition holds what is sent and refuses new connections; at its end all that was held is lost with its connection,
//! as after a partition that lasts longer than TCP's patience. A delay holds each chunk for real time, at most
//! `LONGEST_DELAY`: virtual time stands still while Lightning moves.

use super::nodes::{NodeProcess, listens_at};
use super::waits::POLL;
use crate::faults::{FaultId, Faults};
use crate::worlds::WorldError;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Longest real time for which a chunk is delayed.
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// Largest chunk that is carried at once.
const CHUNK_BYTES: usize = 16_384;

/// All links. They end when this is dropped.
#[derive(Default)]
pub(super) struct Links {
    all: BTreeMap<(String, String), Arc<Link>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What is wrong with a link.
#[derive(Clone, Debug, Default)]
struct Condition {
    held_by: BTreeSet<FaultId>,
    delayed_by: BTreeMap<FaultId, Duration>,
    /// How often everything open was cut.
    cuts: u64,
}

struct Link {
    /// Where to dial to reach each of its ends, in the order of their names.
    doors: [SocketAddr; 2],
    condition: watch::Sender<Condition>,
    open: AtomicU64,
    delayed_chunks: AtomicU64,
    faults: Arc<Mutex<Faults>>,
}

/// Counts while it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn in_(count: &'a AtomicU64) -> Counted<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        for link in self.all.values() {
            link.cut();
        }
    }
}

impl Links {
    /// Between any two of these nodes.
    pub(super) async fn between(
        nodes: &[Arc<NodeProcess>],
        faults: &Arc<Mutex<Faults>>,
    ) -> Result<Links, WorldError> {
        let (mut all, mut tasks) = (BTreeMap::new(), Vec::new());
        for (position, one) in nodes.iter().enumerate() {
            for other in &nodes[position + 1..] {
                let pair = key(&one.name, &other.name);
                let ends = if pair.0 == one.name {
                    [one, other]
                } else {
                    [other, one]
                };
                let failed =
                    |error: io::Error| WorldError::harness("start the proxy of a link", error);
                let mut listeners = Vec::new();
                let mut doors = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 2];
                for door in &mut doors {
                    let listener = TcpListener::bind(*door).await.map_err(failed)?;
                    *door = listener.local_addr().map_err(failed)?;
                    listeners.push(listener);
                }
                let link = Arc::new(Link {
                    doors,
                    condition: watch::Sender::new(Condition::default()),
                    open: AtomicU64::new(0),
                    delayed_chunks: AtomicU64::new(0),
                    faults: faults.clone(),
                });
                let ways = [[ends[1], ends[0]], [ends[0], ends[1]]];
                for (listener, way) in listeners.into_iter().zip(ways) {
                    tasks.push(tokio::spawn(
                        link.clone().serve(listener, way.map(Arc::clone)),
                    ));
                }
                all.insert(pair, link);
            }
        }
        Ok(Links { all, tasks })
    }

    fn link(&self, a: &str, b: &str) -> Result<&Arc<Link>, WorldError> {
        let found = self.all.get(&key(a, b));
        found.ok_or_else(|| {
            WorldError::harness("find a link", format!("there is none between {a} and {b}"))
        })
    }

    /// Where `from` dials to reach `to`.
    pub(super) fn door(&self, from: &str, to: &str) -> Result<SocketAddr, WorldError> {
        let link = self.link(from, to)?;
        Ok(link.doors[usize::from(key(from, to).0 == from)])
    }

    /// Nothing passes between two nodes until the fault ends.
    pub(super) fn hold(&self, a: &str, b: &str, fault: FaultId) -> Result<(), WorldError> {
        let link = self.link(a, b)?;
        link.condition.send_modify(|condition| {
            condition.held_by.insert(fault);
        });
        Ok(())
    }

    /// What passes between two nodes takes longer until the fault ends.
    pub(super) fn delay(
        &self,
        a: &str,
        b: &str,
        fault: FaultId,
        by: Duration,
    ) -> Result<(), WorldError> {
        let link = self.link(a, b)?;
        let by = by.min(LONGEST_DELAY);
        link.condition.send_modify(|condition| {
            condition.delayed_by.insert(fault, by);
        });
        Ok(())
    }

    /// Cuts what is open between two nodes; whether anything was.
    pub(super) fn cut(&self, a: &str, b: &str) -> Result<bool, WorldError> {
        Ok(self.link(a, b)?.cut())
    }

    /// Cuts everything that is open to a node, and waits until nothing is. One that is down finds no way in or out anew.
    pub(super) async fn cut_off(&self, node: &str) {
        for ((a, b), link) in &self.all {
            if a != node && b != node {
                continue;
            }
            link.cut();
            while link.open.load(Ordering::SeqCst) > 0 {
                sleep(POLL).await;
                // Again, for one that was about to open.
                link.cut();
            }
        }
    }

    /// Ends a fault. What a partition held is lost; another one goes on.
    pub(super) fn heal(&self, a: &str, b: &str, fault: FaultId) -> Result<(), WorldError> {
        let link = self.link(a, b)?;
        if link.condition.borrow().held_by.contains(&fault) && link.open.load(Ordering::SeqCst) > 0
        {
            link.had_effect([fault]);
        }
        link.condition.send_modify(|condition| {
            condition.delayed_by.remove(&fault);
            if condition.held_by.remove(&fault) {
                condition.cuts += 1;
            }
        });
        Ok(())
    }

    /// Whether a partition is between two nodes.
    pub(super) fn is_held(&self, a: &str, b: &str) -> bool {
        self.link(a, b).is_ok_and(|link| link.is_held())
    }

    /// Whether a partition is anywhere.
    pub(super) fn any_held(&self) -> bool {
        self.all.values().any(|link| link.is_held())
    }

    /// Whether some delayed chunk is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.all
            .values()
            .all(|link| link.delayed_chunks.load(Ordering::SeqCst) == 0)
    }
}

fn key(a: &str, b: &str) -> (String, String) {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    (first.to_owned(), second.to_owned())
}

impl Link {
    fn is_held(&self) -> bool {
        !self.condition.borrow().held_by.is_empty()
    }

    fn cut(&self) -> bool {
        let open = self.open.load(Ordering::SeqCst) > 0;
        self.condition.send_modify(|condition| condition.cuts += 1);
        open
    }

    fn had_effect(&self, of: impl IntoIterator<Item = FaultId>) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        of.into_iter().for_each(|fault| faults.had_effect(fault));
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, [from, to]: [Arc<NodeProcess>; 2]) {
        while let Ok((client, _)) = listener.accept().await {
            let held_by = self.condition.borrow().held_by.clone();
            // If either end is down, or across a partition, the connection is closed at once.
            let may_pass = held_by.is_empty() && from.running().is_some();
            match listens_at(&to).filter(|_| may_pass) {
                Some(at) => {
                    let link = self.clone();
                    tokio::spawn(async move { link.carry(client, at).await });
                }
                None => self.had_effect(held_by),
            }
        }
    }

    /// Carries one connection until either side closes it, or it is cut.
    async fn carry(&self, client: TcpStream, at: SocketAddr) {
        let mut conditions = self.condition.subscribe();
        let cuts = conditions.borrow_and_update().cuts;
        let Ok(server) = TcpStream::connect(at).await else {
            return;
        };
        // A chunk is a message or more of them already: waiting for more only costs time.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _open = Counted::in_(&self.open);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            // A cut comes before whatever it sets free.
            biased;
            _ = conditions.wait_for(|now| now.cuts != cuts) => {}
            _ = self.pass(from_client, to_server) => {}
            _ = self.pass(from_server, to_client) => {}
        }
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut conditions = self.condition.subscribe();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            let condition = conditions.borrow_and_update().clone();
            if let Some(delay) = condition.delayed_by.values().max() {
                let _under_way = Counted::in_(&self.delayed_chunks);
                self.had_effect(condition.delayed_by.keys().copied());
                sleep(*delay).await;
            }
            let held_by = conditions.borrow_and_update().held_by.clone();
            if !held_by.is_empty() {
                self.had_effect(held_by);
                // It ends with a cut: what is held never arrives.
                std::future::pending::<()>().await;
            }
            to.write_all(&chunk[..read]).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(faults: Arc<Mutex<Faults>>) -> Arc<Link> {
        Arc::new(Link {
            doors: [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 2],
            condition: watch::Sender::new(Condition::default()),
            open: AtomicU64::new(0),
            delayed_chunks: AtomicU64::new(0),
            faults,
        })
    }

    /// A connection over a link: what the dialling side holds, and what the other side holds.
    async fn connected(link: &Arc<Link>) -> (TcpStream, TcpStream) {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (outer, inner) = (
            TcpListener::bind(any).await.expect("a port"),
            TcpListener::bind(any).await.expect("a port"),
        );
        let (door, at) = (
            outer.local_addr().expect("bound"),
            inner.local_addr().expect("bound"),
        );
        let dialling = TcpStream::connect(door).await.expect("connected");
        let (client, _) = outer.accept().await.expect("dialled");
        let carrying = link.clone();
        tokio::spawn(async move { carrying.carry(client, at).await });
        let (listening, _) = inner.accept().await.expect("carried");
        (dialling, listening)
    }

    #[tokio::test]
    async fn a_partition_holds_and_loses_and_a_cut_ends_the_connection() {
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let fault = faults
            .lock()
            .expect("free")
            .plan("link", "partition", "a-b");
        let link = link(faults.clone());
        let (mut here, mut there) = connected(&link).await;
        here.write_all(b"one").await.expect("written");
        let mut got = [0; 3];
        there.read_exact(&mut got).await.expect("it passes");
        assert_eq!(&got, b"one");
        link.condition.send_modify(|condition| {
            condition.held_by.insert(fault);
        });
        here.write_all(b"two").await.expect("written");
        while faults
            .lock()
            .expect("free")
            .get(fault)
            .expect("planned")
            .effects
            == 0
        {
            sleep(Duration::from_millis(1)).await;
        }
        link.condition.send_modify(|condition| {
            condition.held_by.remove(&fault);
            condition.cuts += 1;
        });
        let mut rest = Vec::new();
        // An end or a reset, and nothing of what was held.
        let _ = there.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }

    #[tokio::test]
    async fn a_delayed_chunk_is_counted_while_it_is_on_its_way_and_arrives() {
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let fault = faults.lock().expect("free").plan("link", "delay", "a-b");
        let link = link(faults.clone());
        let (mut here, mut there) = connected(&link).await;
        link.condition.send_modify(|condition| {
            condition
                .delayed_by
                .insert(fault, Duration::from_millis(50));
        });
        here.write_all(b"one").await.expect("written");
        while link.delayed_chunks.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let mut got = [0; 3];
        there.read_exact(&mut got).await.expect("it arrives");
        assert_eq!(&got, b"one");
        assert_eq!(link.delayed_chunks.load(Ordering::SeqCst), 0);
        assert_eq!(
            faults
                .lock()
                .expect("free")
                .get(fault)
                .expect("planned")
                .effects,
            1
        );
    }
}
