//! Owns the process of an outside HTTP system (the gateway, Layer 0) in the simulated world: it serves HTTP bytes on links
//! and delivers webhooks when they are due. Does not own what it answers (`worlds::{gateway, layer0}`) nor when it dies
//! (`sites::processes`).
//!
//! Fault model: a kill drops all its tasks and resets its connections; nobody can connect while it is down. Its books and the
//! queue of its webhooks persist: what it had begun to deliver counts as unanswered and is delivered again. A process that stands
//! still keeps its connections. One that starts slowly takes connections, answers none of them, and sends nothing.

use super::clocks::Clocks;
use super::engine_process::EngineProcess;
use super::stream::LinkStream;
use crate::faults::FaultId;
use crate::links::{End, Network};
use crate::trace::SharedTrace;
use crate::worlds::gateway::{Fate, Request, Response, WebhookDelivery};
use crate::worlds::http_system::HttpSystem;
use crate::worlds::http_traffic::{record_call, record_webhook};
use crate::worlds::service::Service;
use async_channel::{Receiver, Sender};
use futures_util::{FutureExt, StreamExt, select_biased, stream};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use lockstep_engine::rail::Method;
use lockstep_host::adapters::http_client::{self, OutgoingRequest};
use lockstep_host::adapters::webhook_server;
use madsim::runtime::NodeHandle;
use madsim::time::sleep;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long after the first half of a body the connection is lost.
const CUT_AFTER: Duration = Duration::from_millis(500);

/// How often a process that starts slowly looks whether it is ready.
const READY_POLL: Duration = Duration::from_millis(50);

/// The life that there is, and what keeps it from serving.
#[derive(Default)]
pub(crate) struct HttpLife {
    host: Option<NodeHandle>,
    /// What keeps it from being started.
    down: BTreeSet<FaultId>,
    /// What makes it stand still.
    paused: BTreeSet<FaultId>,
    /// What makes it start slowly.
    slow: BTreeSet<FaultId>,
    /// Webhooks sent and not answered, by id.
    delivering: Vec<String>,
}

/// What the process needs.
#[derive(Clone)]
pub(crate) struct HttpProcess {
    /// The model.
    pub system: Arc<dyn HttpSystem>,
    /// Links.
    pub network: Network,
    clocks: Clocks,
    /// How far its clock was off when it last looked, milliseconds.
    off_ms: Arc<Mutex<i64>>,
    trace: SharedTrace,
    life: Arc<Mutex<HttpLife>>,
    /// Wakes the delivery of webhooks after a call.
    called: (Sender<()>, Receiver<()>),
    /// Where webhooks go.
    engine: EngineProcess,
    /// Who runs there, once somebody does.
    service: Arc<Mutex<Option<Service>>>,
}

/// What the process of a system is started with.
pub(crate) struct Parts {
    /// The model.
    pub system: Arc<dyn HttpSystem>,
    /// Links.
    pub network: Network,
    /// Clocks.
    pub clocks: Clocks,
    /// Trace.
    pub trace: SharedTrace,
    /// Where webhooks go.
    pub engine: EngineProcess,
    /// Who runs there, once somebody does.
    pub service: Arc<Mutex<Option<Service>>>,
}

impl HttpProcess {
    /// One that does not run yet.
    pub(crate) fn new(parts: Parts) -> HttpProcess {
        HttpProcess {
            system: parts.system,
            network: parts.network,
            clocks: parts.clocks,
            off_ms: Arc::default(),
            trace: parts.trace,
            life: Arc::default(),
            called: async_channel::bounded(1),
            engine: parts.engine,
            service: parts.service,
        }
    }

    /// The name of its endpoint.
    pub(crate) fn endpoint(&self) -> &'static str {
        self.system.endpoint()
    }

    /// The time by its own clock, milliseconds since 1970. What it has planned keeps its distance when the clock is set:
    /// a process waits by a timer, and only stamps with the clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.note_setting(self.clocks.now(self.endpoint()))
    }

    /// Whether something is due that it has not done yet.
    pub(crate) fn has_work(&self) -> bool {
        let now_ms = self.peek_ms();
        self.system.next_due_ms().is_some_and(|due| due <= now_ms)
    }

    /// The same for the harness, which is not fooled by it.
    fn peek_ms(&self) -> u64 {
        self.note_setting(self.clocks.peek(self.endpoint()))
    }

    fn note_setting(&self, now: Duration) -> u64 {
        let now_ms = now.as_millis() as u64;
        let true_ms = super::virtual_unix_time().as_millis() as u64;
        let off_ms = now_ms as i64 - true_ms as i64;
        let mut before = self.off_ms.lock().expect("no holder panics");
        let set_by = off_ms - *before;
        *before = off_ms;
        if set_by != 0 {
            self.system.clock_was_set(set_by);
        }
        now_ms
    }

    fn life(&self) -> MutexGuard<'_, HttpLife> {
        self.life.lock().expect("no holder of a life panics")
    }

    /// Starts it, unless it runs or a fault keeps it down.
    pub(crate) fn start(&self) {
        let host = {
            let mut life = self.life();
            if life.host.is_some() || !life.down.is_empty() {
                return;
            }
            let host = super::host(self.endpoint());
            life.host = Some(host.clone());
            host
        };
        self.network.bring_up(self.endpoint());
        host.spawn(self.clone().deliver_webhooks(host.clone()));
    }

    /// Kills it; it can be started again when `release` was called for every fault that keeps it down. False if it did not run.
    pub(crate) fn kill(&self, fault: FaultId) -> bool {
        self.life().down.insert(fault);
        self.end_life()
    }

    /// Starts it anew; it serves nobody until `release`. False if it did not run.
    pub(crate) fn restart_slowly(&self, fault: FaultId) -> bool {
        self.life().slow.insert(fault);
        let ran = self.end_life();
        self.start();
        ran
    }

    /// Holds it until `release`. False if it did not run.
    pub(crate) fn pause(&self, fault: FaultId) -> bool {
        let mut life = self.life();
        let Some(host) = life.host.clone() else {
            return false;
        };
        life.paused.insert(fault);
        madsim::runtime::Handle::current().pause(host.id());
        true
    }

    /// This fault is over.
    pub(crate) fn release(&self, fault: FaultId) {
        {
            let mut life = self.life();
            life.down.remove(&fault);
            life.slow.remove(&fault);
            if life.paused.remove(&fault)
                && life.paused.is_empty()
                && let Some(host) = &life.host
            {
                madsim::runtime::Handle::current().resume(host.id());
            }
        }
        self.start();
    }

    fn end_life(&self) -> bool {
        let (host, delivering) = {
            let mut life = self.life();
            life.paused.clear();
            (life.host.take(), std::mem::take(&mut life.delivering))
        };
        let Some(host) = host else {
            return false;
        };
        self.network.take_down(self.endpoint());
        let runtime = madsim::runtime::Handle::current();
        // A task that is held is dropped where it waits, under a lock that its end may need.
        runtime.resume(host.id());
        runtime.kill(host.id());
        let now_ms = self.now_ms();
        for id in delivering {
            self.system.webhook_answered(&id, None, now_ms);
        }
        true
    }

    /// Waits while it starts slowly.
    async fn ready(&self) {
        while !self.life().slow.is_empty() {
            sleep(READY_POLL).await;
        }
    }

    /// Serves a connection that somebody made.
    pub(crate) fn accept(&self, end: End) {
        let Some(host) = self.life().host.clone() else {
            return;
        };
        let process = self.clone();
        host.spawn(async move {
            process.ready().await;
            let answering = process.clone();
            let service = service_fn(move |request| answering.clone().answer(request));
            let connection = http1::Builder::new()
                .auto_date_header(false)
                .header_read_timeout(None)
                .serve_connection(LinkStream::new(end), service);
            // An error is a connection that ended early: the client learns it, and the model has recorded why.
            let _ = connection.await;
        });
    }

    async fn answer(self, request: hyper::Request<Incoming>) -> io::Result<hyper::Response<Body>> {
        let request = read_request(request).await?;
        let now_ms = self.now_ms();
        let response = self.system.handle(now_ms, &request);
        record_call(&self.trace, &request, &response);
        // A full channel holds the message already.
        let _ = self.called.0.try_send(());
        match response.fate {
            Fate::Deliver => Ok(into_hyper(response, BodyEnd::Whole)),
            Fate::DeliverAfter { delay_ms } => {
                sleep(Duration::from_millis(delay_ms)).await;
                Ok(into_hyper(response, BodyEnd::Whole))
            }
            Fate::SlowBody { delay_ms } => {
                let after = Duration::from_millis(delay_ms);
                Ok(into_hyper(response, BodyEnd::After(after)))
            }
            Fate::CutBody => Ok(into_hyper(response, BodyEnd::Cut)),
            Fate::LoseResponse | Fate::RefuseConnection => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    /// Has it look at once whether a webhook is due.
    pub(crate) fn wake(&self) {
        // A full channel holds the message already.
        let _ = self.called.0.try_send(());
    }

    /// Delivers webhooks when they are due, for ever.
    async fn deliver_webhooks(self, host: NodeHandle) {
        self.ready().await;
        loop {
            let now = self.now_ms();
            let (due, next) = (self.system.take_due(now), self.system.next_due_ms());
            for delivery in due {
                self.life().delivering.push(delivery.id.clone());
                host.spawn(self.clone().deliver(delivery));
            }
            let wait = next.map_or(Duration::from_secs(3_600), |at| {
                Duration::from_millis(at.saturating_sub(now).max(1))
            });
            select_biased! {
                _ = self.called.1.recv().fuse() => {}
                () = sleep(wait).fuse() => {}
            }
        }
    }

    async fn deliver(self, delivery: WebhookDelivery) {
        let status = self.post(&delivery).await;
        record_webhook(&self.trace, &delivery, status);
        {
            let mut life = self.life();
            let this = life.delivering.iter().position(|id| *id == delivery.id);
            this.map(|this| life.delivering.remove(this));
        }
        let now_ms = self.now_ms();
        self.system.webhook_answered(&delivery.id, status, now_ms);
        // A full channel holds the message already.
        let _ = self.called.0.try_send(());
    }

    async fn post(&self, delivery: &WebhookDelivery) -> Option<u16> {
        let service = self.service.lock().expect("no holder panics").clone();
        let handle = service?.handle().ok()?;
        let (mine, theirs) = self.network.connect(self.endpoint(), super::ENGINE).ok()?;
        self.engine.accept(theirs, handle);
        let request = webhook_request(delivery);
        let answer = http_client::exchange_over(
            LinkStream::new(mine),
            request,
            sleep(http_client::EXCHANGE_LIMIT),
        )
        .await;
        answer.ok().map(|response| response.status)
    }
}

/// A webhook as an HTTP request, the same in both worlds.
pub(crate) fn webhook_request(delivery: &WebhookDelivery) -> OutgoingRequest {
    OutgoingRequest {
        method: Method::Post,
        path: webhook_server::PATH.to_owned(),
        headers: vec![
            ("host", super::ENGINE.to_owned()),
            ("content-type", "application/json".to_owned()),
            (
                webhook_server::SIGNATURE_HEADER,
                delivery.signature_header.clone(),
            ),
        ],
        body: delivery.body.clone(),
    }
}

async fn read_request(request: hyper::Request<Incoming>) -> io::Result<Request> {
    let method = request.method().to_string();
    let path = request
        .uri()
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    let headers = request.headers().iter().map(header).collect();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes()
        .to_vec();
    Ok(Request {
        method,
        path,
        headers,
        body,
    })
}

/// The body of an answer, whose second half may be late or never come.
type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

/// What becomes of the second half of a body.
enum BodyEnd {
    /// It comes with the first.
    Whole,
    /// It comes so much later.
    After(Duration),
    /// The connection is lost before it.
    Cut,
}

fn into_hyper(response: Response, end: BodyEnd) -> hyper::Response<Body> {
    let mut answer = hyper::Response::builder()
        .status(response.status)
        .header(hyper::header::CONTENT_LENGTH, response.body.len());
    for (name, value) in &response.headers {
        answer = answer.header(name, value);
    }
    let whole = Bytes::from(response.body);
    let body = match end {
        BodyEnd::Whole => Full::new(whole)
            .map_err(|never| match never {})
            .boxed_unsync(),
        BodyEnd::After(_) | BodyEnd::Cut => {
            let (first, second) = (
                whole.slice(..whole.len() / 2),
                whole.slice(whole.len() / 2..),
            );
            StreamBody::new(halves(first, second, end)).boxed_unsync()
        }
    };
    answer
        .body(body)
        .expect("the model gives legal status codes and headers")
}

fn halves(
    first: Bytes,
    second: Bytes,
    end: BodyEnd,
) -> impl futures_util::Stream<Item = io::Result<Frame<Bytes>>> {
    let rest = async move {
        match end {
            BodyEnd::Whole => Ok(Frame::data(second)),
            BodyEnd::After(delay) => {
                sleep(delay).await;
                Ok(Frame::data(second))
            }
            BodyEnd::Cut => {
                // What was sent travels before the connection ends.
                sleep(CUT_AFTER).await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    };
    stream::iter([Ok(Frame::data(first))]).chain(stream::once(rest))
}
