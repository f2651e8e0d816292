//! Owns the door between the engine and an outside HTTP system in the regtest world: while a fault keeps it shut, nobody
//! listens at the system's address, and webhooks do not get through; while a fault holds it, whoever comes in waits. Does not
//! own what goes through an open door (`http_server`).
//!
//! Somebody who waits gives up after a span of virtual time, which stands still while he waits: so the door, and not his
//! client's own timer, ends a call that is held.

use super::clock::LockStepClock;
use crate::faults::{FaultId, Faults};
use crate::worlds::WorldError;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, select_biased};
use lockstep_engine::rail::HttpFailure;
use lockstep_engine::time::{Span, Timestamp};
use lockstep_host::adapters::http_client::{self, HttpClient};
use lockstep_host::ports::{Clock, GatewayCall, HttpResponse, HttpTransport};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// The door; clones are the same one.
#[derive(Clone)]
pub(super) struct Door {
    /// Which faults keep it shut.
    shut_by: Arc<Mutex<BTreeSet<FaultId>>>,
    /// Which faults hold whoever comes in.
    held_by: Arc<watch::Sender<BTreeSet<FaultId>>>,
    /// Which faults keep the gateway from sending anything.
    left_by: Arc<Mutex<BTreeSet<FaultId>>>,
    /// When callers who are held will give up.
    waiting: Arc<Mutex<Vec<Timestamp>>>,
    faults: Arc<Mutex<Faults>>,
    wanted_open: Arc<watch::Sender<bool>>,
    is_open: watch::Receiver<bool>,
}

/// Who lets people in.
pub(super) struct Doorkeeper {
    at: SocketAddr,
    listener: TcpListener,
    wanted_open: watch::Receiver<bool>,
    is_open: watch::Sender<bool>,
}

/// An open door where `listener` listens.
pub(super) fn open(
    listener: TcpListener,
    faults: Arc<Mutex<Faults>>,
) -> io::Result<(Door, Doorkeeper)> {
    let (wanted_open, wanted) = watch::channel(true);
    let (opened, is_open) = watch::channel(true);
    let door = Door {
        shut_by: Arc::default(),
        held_by: Arc::default(),
        left_by: Arc::default(),
        waiting: Arc::default(),
        faults,
        wanted_open: Arc::new(wanted_open),
        is_open,
    };
    let keeper = Doorkeeper {
        at: listener.local_addr()?,
        listener,
        wanted_open: wanted,
        is_open: opened,
    };
    Ok((door, keeper))
}

impl Door {
    fn shut_by(&self) -> MutexGuard<'_, BTreeSet<FaultId>> {
        self.shut_by.lock().expect("no holder panics")
    }

    /// Shuts it until the fault ends.
    pub(super) async fn shut(&self, fault: FaultId) -> Result<(), WorldError> {
        self.shut_by().insert(fault);
        self.turn().await
    }

    /// Opens it, unless another fault keeps it shut.
    pub(super) async fn open(&self, fault: FaultId) -> Result<(), WorldError> {
        self.shut_by().remove(&fault);
        self.turn().await
    }

    /// Holds whoever comes in until the fault ends.
    pub(super) fn hold(&self, fault: FaultId) {
        self.held_by.send_modify(|held_by| {
            held_by.insert(fault);
        });
    }

    /// The gateway sends nothing until the fault ends.
    pub(super) fn leave(&self, fault: FaultId) {
        self.left_by.lock().expect("no holder panics").insert(fault);
    }

    /// Whether the gateway's process is dead or held.
    pub(super) fn nobody_is_there(&self) -> bool {
        !self.left_by.lock().expect("no holder panics").is_empty()
    }

    /// Ends a fault; another one goes on.
    pub(super) async fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.left_by
            .lock()
            .expect("no holder panics")
            .remove(&fault);
        self.held_by.send_modify(|held_by| {
            held_by.remove(&fault);
        });
        self.open(fault).await
    }

    /// Waits as long as a fault holds whoever comes in.
    pub(super) async fn come_in(&self) {
        let mut held_by = self.held_by.subscribe();
        // The sender lives as long as this door.
        let _ = held_by.wait_for(BTreeSet::is_empty).await;
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Timestamp>> {
        self.waiting.lock().expect("no holder panics")
    }

    /// When the next caller who is held gives up.
    pub(super) fn next_gives_up(&self) -> Option<Timestamp> {
        self.waiting().iter().min().copied()
    }

    async fn turn(&self) -> Result<(), WorldError> {
        let open = self.shut_by().is_empty();
        self.wanted_open.send_replace(open);
        let mut is_open = self.is_open.clone();
        let turned = is_open.wait_for(|is| *is == open).await;
        turned.map(drop).map_err(|_| {
            WorldError::harness("open or shut a system's door", "its keeper has ended")
        })
    }

    /// Whether nothing gets through now, which is then an effect.
    pub(super) fn stops(&self) -> bool {
        let shut_by = self.shut_by().clone();
        let mut faults = self.faults.lock().expect("no holder panics");
        shut_by.iter().for_each(|fault| faults.had_effect(*fault));
        !shut_by.is_empty()
    }
}

/// The engine's way to the system, with an eye on what fails because the door is shut.
pub(super) struct WatchedWay {
    way: HttpClient,
    door: Door,
    clock: LockStepClock,
}

/// A caller who is held, for as long as he waits.
struct Held {
    door: Door,
    until: Timestamp,
}

impl Held {
    /// `None` if nobody is held.
    fn at(door: &Door, clock: &LockStepClock) -> Option<Held> {
        if door.held_by.borrow().is_empty() {
            return None;
        }
        let limit = Span(http_client::EXCHANGE_LIMIT.as_millis() as u64);
        let until = clock.time().plus(limit);
        door.waiting().push(until);
        let door = door.clone();
        Some(Held { door, until })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut waiting = self.door.waiting();
        let this = waiting.iter().position(|until| *until == self.until);
        this.map(|this| waiting.remove(this));
    }
}

impl WatchedWay {
    /// Through this door.
    pub(super) fn new(way: HttpClient, door: Door, clock: LockStepClock) -> WatchedWay {
        WatchedWay { way, door, clock }
    }
}

impl HttpTransport for WatchedWay {
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let (exchange, door) = (self.way.exchange(call), self.door.clone());
        let clock = self.clock.clone();
        async move {
            let answer = match Held::at(&door, &clock) {
                None => exchange.await,
                Some(held) => select_biased! {
                    answer = exchange.fuse() => answer,
                    () = clock.sleep_until(held.until).fuse() => Err(HttpFailure::TimedOut),
                },
            };
            if answer.is_err() {
                // Only counts: the exchange has failed by itself.
                door.stops();
            }
            answer
        }
        .boxed()
    }
}

impl Doorkeeper {
    /// The next connection. While the door is shut the port stays bound, so that nobody else gets it, and refuses.
    pub(super) async fn next(&mut self) -> io::Result<TcpStream> {
        loop {
            if !*self.wanted_open.borrow_and_update() {
                self.wait_shut().await?;
            }
            tokio::select! {
                biased;
                changed = self.wanted_open.changed() => changed.map_err(io::Error::other)?,
                accepted = self.listener.accept() => return Ok(accepted?.0),
            }
        }
    }

    async fn wait_shut(&mut self) -> io::Result<()> {
        // A listener of no concern takes the place of the one that must go before the port can be bound again.
        let nowhere = TcpListener::bind((self.at.ip(), 0)).await?;
        drop(std::mem::replace(&mut self.listener, nowhere));
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.at)?;
        self.is_open.send_replace(false);
        let opened = self.wanted_open.wait_for(|open| *open).await;
        opened.map(drop).map_err(io::Error::other)?;
        self.listener = socket.listen(BACKLOG)?;
        self.is_open.send_replace(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_shut_door_refuses_and_opens_again_at_the_same_address() {
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let fault = faults
            .lock()
            .expect("free")
            .plan("link", "partition", "e-g");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let at = listener.local_addr().expect("bound");
        let (door, mut keeper) = open(listener, faults.clone()).expect("opened");
        tokio::spawn(async move { while keeper.next().await.is_ok() {} });
        TcpStream::connect(at).await.expect("open");
        door.shut(fault).await.expect("shut");
        let error = TcpStream::connect(at).await.expect_err("shut");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(door.stops());
        assert!(door.stops());
        door.end(fault).await.expect("opened");
        TcpStream::connect(at).await.expect("open again");
        assert!(!door.stops());
        let effects = faults
            .lock()
            .expect("free")
            .get(fault)
            .expect("planned")
            .effects;
        assert_eq!(effects, 2);
    }
}
