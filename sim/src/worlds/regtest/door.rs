//! Owns the door between the engine and an outside HTTP system in the regtest world: while a fault keeps it shut, nobody
//! listens at the system's address, and webhooks do not get through. Does not own what goes through an open door (`http_server`).

use crate::faults::{FaultId, Faults};
use crate::worlds::WorldError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lockstep_engine::rail::HttpFailure;
use lockstep_host::adapters::http_client::HttpClient;
use lockstep_host::ports::{GatewayCall, HttpResponse, HttpTransport};
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

    /// Ends a fault; another one keeps it shut.
    pub(super) async fn end(&self, fault: FaultId) -> Result<(), WorldError> {
        self.shut_by().remove(&fault);
        self.turn().await
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
}

impl WatchedWay {
    /// Through this door.
    pub(super) fn new(way: HttpClient, door: Door) -> WatchedWay {
        WatchedWay { way, door }
    }
}

impl HttpTransport for WatchedWay {
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let (exchange, door) = (self.way.exchange(call), self.door.clone());
        async move {
            let answer = exchange.await;
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
