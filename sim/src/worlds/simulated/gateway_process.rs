//! Owns the gateway's process in the simulated world: it serves HTTP bytes on links and delivers webhooks when they are
//! due. Does not own what it answers (`worlds::gateway`).

use super::clocks::Clocks;
use super::stream::LinkStream;
use crate::links::{End, Network};
use crate::trace::SharedTrace;
use crate::worlds::SharedGateway;
use crate::worlds::gateway::{Fate, Request, Response, WebhookDelivery};
use crate::worlds::gateway_traffic::{record_call, record_webhook};
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
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The name of the gateway's endpoint.
pub(crate) const ENDPOINT: &str = "gateway";

/// How long after the first half of a body the connection is lost.
const CUT_AFTER: Duration = Duration::from_millis(500);

/// What the process needs.
#[derive(Clone)]
pub(crate) struct GatewayProcess {
    /// The model.
    pub gateway: SharedGateway,
    /// Links.
    pub network: Network,
    /// Clocks.
    pub clocks: Clocks,
    /// How far its clock was off when it last looked, milliseconds.
    pub off_ms: Arc<Mutex<i64>>,
    /// Trace.
    pub trace: SharedTrace,
    /// Where its tasks run.
    pub host: NodeHandle,
    /// Wakes the delivery of webhooks after a call.
    pub called: (Sender<()>, Receiver<()>),
}

impl GatewayProcess {
    /// The time by its own clock, milliseconds since 1970. What it has planned keeps its distance when the clock is set:
    /// a process waits by a timer, and only stamps with the clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.note_setting(self.clocks.now(ENDPOINT))
    }

    /// The same for the harness, which is not fooled by it.
    pub(crate) fn peek_ms(&self) -> u64 {
        self.note_setting(self.clocks.peek(ENDPOINT))
    }

    fn note_setting(&self, now: Duration) -> u64 {
        let now_ms = now.as_millis() as u64;
        let true_ms = super::virtual_unix_time().as_millis() as u64;
        let off_ms = now_ms as i64 - true_ms as i64;
        let mut before = self.off_ms.lock().expect("no holder panics");
        let set_by = off_ms - *before;
        *before = off_ms;
        if set_by != 0 {
            self.gateway.lock().clock_was_set(set_by);
        }
        now_ms
    }

    /// Serves a connection that somebody made.
    pub(crate) fn accept(&self, end: End) {
        let process = self.clone();
        self.host.spawn(async move {
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
        let response = self.gateway.lock().handle(now_ms, &request);
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

    /// Delivers webhooks when they are due, for ever.
    pub(crate) async fn deliver_webhooks(
        self,
        service: Arc<dyn Fn() -> Option<Service> + Send + Sync>,
    ) {
        loop {
            let now = self.now_ms();
            let (due, next) = {
                let mut gateway = self.gateway.lock();
                (gateway.take_due(now), gateway.next_due_ms())
            };
            for delivery in due {
                self.host
                    .spawn(self.clone().deliver(delivery, service.clone()));
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

    async fn deliver(
        self,
        delivery: WebhookDelivery,
        service: Arc<dyn Fn() -> Option<Service> + Send + Sync>,
    ) {
        let status = self.post(&delivery, service).await;
        record_webhook(&self.trace, &delivery, status);
        let now_ms = self.now_ms();
        self.gateway
            .lock()
            .webhook_answered(&delivery.id, status, now_ms);
        // A full channel holds the message already.
        let _ = self.called.0.try_send(());
    }

    async fn post(
        &self,
        delivery: &WebhookDelivery,
        service: Arc<dyn Fn() -> Option<Service> + Send + Sync>,
    ) -> Option<u16> {
        let handle = service()?.handle().ok()?;
        let (mine, theirs) = self.network.connect(ENDPOINT, super::ENGINE).ok()?;
        self.host.spawn(async move {
            // An error is a connection that ended early: the gateway sees no answer.
            let _ = webhook_server::serve_connection(LinkStream::new(theirs), handle).await;
        });
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
