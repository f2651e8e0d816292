//! Owns the transports of an outside HTTP system (the gateway, Layer 0) in the regtest world: the model behind a real HTTP
//! server (wiremock), a TCP proxy in front of it that can lose a response, and the engine's webhook server with the
//! deliveries to it, all on loopback. Does not own what the system answers (`worlds::{gateway, layer0}`), the proxy's door
//! (`door`) nor when webhooks are due (it says so; the world moves time).

use super::clock::LockStepClock;
use super::door::{self, Door, Doorkeeper};
use crate::faults::Faults;
use crate::trace::SharedTrace;
use crate::worlds::WorldError;
use crate::worlds::gateway::{Fate, Request, WebhookDelivery};
use crate::worlds::http_system::HttpSystem;
use crate::worlds::http_traffic::{record_call, record_webhook};
use crate::worlds::service::Service;
use crate::worlds::simulated::webhook_request;
use lockstep_engine::time::{Span, Timestamp};
use lockstep_host::adapters::http_client;
use lockstep_host::adapters::tcp_stream::TcpTransport;
use lockstep_host::adapters::webhook_server;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Respond, ResponseTemplate};

/// Marks a response that the proxy is to lose.
const LOSE_HEADER: &str = "x-lockstep-lose-this";

/// Marks a response of which the proxy is to pass a part only.
const CUT_HEADER: &str = "x-lockstep-cut-this";

/// How long a webhook waits for an engine that is between two lives.
const RESTART_LIMIT: Duration = Duration::from_secs(5);

/// The engine at work, once there is one.
pub(super) type CurrentService = Arc<Mutex<Option<Service>>>;

/// The model as wiremock calls it.
struct Responder {
    system: Arc<dyn HttpSystem>,
    clock: LockStepClock,
    trace: SharedTrace,
}

impl Respond for Responder {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let request = read(request);
        let response = self.system.handle(self.clock.time().0, &request);
        record_call(&self.trace, &request, &response);
        if !matches!(response.fate, Fate::Deliver | Fate::CutBody) {
            return ResponseTemplate::new(500).insert_header(LOSE_HEADER, "yes");
        }
        let mut template =
            ResponseTemplate::new(response.status).set_body_raw(response.body, "application/json");
        for (name, value) in response.headers {
            template = template.insert_header(name.as_str(), value.as_str());
        }
        if response.fate == Fate::CutBody {
            template = template.insert_header(CUT_HEADER, "yes");
        }
        template
    }
}

fn read(request: &wiremock::Request) -> Request {
    let query = request
        .url
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    Request {
        method: request.method.to_string(),
        path: format!("{}{query}", request.url.path()),
        headers: request.headers.iter().map(header).collect(),
        body: request.body.clone(),
    }
}

/// What every system has around it.
pub(super) struct Outside {
    /// Virtual time.
    pub(super) clock: LockStepClock,
    /// Trace.
    pub(super) trace: SharedTrace,
    /// Where webhooks go.
    pub(super) service: CurrentService,
    /// Counts what a shut door stops.
    pub(super) faults: Arc<Mutex<Faults>>,
}

/// The system's servers, and the engine's for webhooks. All end when this is dropped.
pub(super) struct HttpServer {
    system: Arc<dyn HttpSystem>,
    clock: LockStepClock,
    trace: SharedTrace,
    postman: Postman,
    /// Webhooks for an engine that takes connections and answers nobody.
    under_way: Mutex<Vec<UnderWay>>,
    /// Where the engine reaches the system.
    pub(super) address: SocketAddr,
    /// Between the engine and the system.
    pub(super) door: Door,
    /// Between the system's webhooks and the engine's server for them.
    pub(super) engine_door: Door,
    tasks: Vec<JoinHandle<()>>,
    _server: MockServer,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl HttpServer {
    /// Starts everything on free ports.
    pub(super) async fn start(
        system: Arc<dyn HttpSystem>,
        outside: &Outside,
    ) -> Result<HttpServer, WorldError> {
        let doing = format!("start the server of the {}", system.endpoint());
        let failed = |error: io::Error| WorldError::harness(doing.as_str(), error);
        let server = MockServer::builder()
            .disable_request_recording()
            .start()
            .await;
        let responder = Responder {
            system: system.clone(),
            clock: outside.clock.clone(),
            trace: outside.trace.clone(),
        };
        Mock::given(any())
            .respond_with(responder)
            .mount(&server)
            .await;
        let bind = || async {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            bound.map_err(failed)
        };
        let proxy = bind().await?;
        let (address, webhooks) = (proxy.local_addr().map_err(failed)?, bind().await?);
        let receiver = bind().await?;
        let receives_at = receiver.local_addr().map_err(failed)?;
        let to_engine = webhooks.local_addr().map_err(failed)?;
        let (door, keeper) = door::open(proxy, outside.faults.clone()).map_err(failed)?;
        let (engine_door, usher) = door::open(webhooks, outside.faults.clone()).map_err(failed)?;
        let tasks = vec![
            tokio::spawn(run_proxy(keeper, door.clone(), *server.address())),
            tokio::spawn(run_proxy(usher, engine_door.clone(), receives_at)),
            tokio::spawn(receive_webhooks(receiver, outside.service.clone())),
        ];
        Ok(HttpServer {
            system,
            clock: outside.clock.clone(),
            trace: outside.trace.clone(),
            postman: Postman {
                service: outside.service.clone(),
                door: door.clone(),
                webhooks: to_engine,
            },
            under_way: Mutex::default(),
            address,
            door,
            engine_door,
            tasks,
            _server: server,
        })
    }

    /// When the system, or somebody who waits for it, next acts by himself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.door.nobody_is_there() {
            return self.door.next_gives_up();
        }
        let webhook = self.system.next_due_ms().map(Timestamp);
        let given_up = self.under_way().iter().map(|one| one.give_up_at).min();
        webhook.into_iter().chain(given_up).min()
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<UnderWay>> {
        self.under_way.lock().expect("no holder panics")
    }

    /// Whether a webhook has been sent to an engine that answers now.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.postman.engine_is_mute() && !self.under_way().is_empty()
    }

    /// Delivers every webhook that is due now, and what becomes due by that. A system that is dead or held sends nothing.
    pub(super) async fn deliver_due(&self) {
        while !self.door.nobody_is_there() {
            self.take_answers().await;
            let due = self.system.take_due(self.clock.time().0);
            if due.is_empty() {
                return;
            }
            for delivery in due {
                let answer = tokio::spawn(self.postman.clone().post(delivery.clone()));
                if self.postman.engine_is_mute() {
                    let limit = Span(http_client::EXCHANGE_LIMIT.as_millis() as u64);
                    let give_up_at = self.clock.time().plus(limit);
                    self.under_way().push(UnderWay {
                        delivery,
                        give_up_at,
                        answer,
                    });
                } else {
                    self.answered(&delivery, answer.await.ok().flatten());
                }
            }
        }
    }

    fn answered(&self, delivery: &WebhookDelivery, status: Option<u16>) {
        record_webhook(&self.trace, delivery, status);
        self.system
            .webhook_answered(&delivery.id, status, self.clock.time().0);
    }

    /// Takes the answers to webhooks that are under way, and gives up those that have waited long enough.
    async fn take_answers(&self) {
        let sent = std::mem::take(&mut *self.under_way());
        for one in sent {
            if one.answer.is_finished() {
                self.answered(&one.delivery, one.answer.await.ok().flatten());
            } else if one.give_up_at <= self.clock.time() {
                one.answer.abort();
                self.answered(&one.delivery, None);
            } else {
                self.under_way().push(one);
            }
        }
    }
}

/// A webhook that was sent and not answered.
struct UnderWay {
    delivery: WebhookDelivery,
    /// In virtual time: the connection's own limit is one of real time, which hardly passes.
    give_up_at: Timestamp,
    answer: JoinHandle<Option<u16>>,
}

/// Carries webhooks to the engine.
#[derive(Clone)]
struct Postman {
    service: CurrentService,
    door: Door,
    webhooks: SocketAddr,
}

impl Postman {
    fn service(&self) -> Option<Service> {
        self.service.lock().expect("no holder panics").clone()
    }

    /// Whether there is an engine that is held, or starts slowly.
    fn engine_is_mute(&self) -> bool {
        self.service()
            .is_some_and(|service| service.is_kept() && service.handle().is_ok())
    }

    async fn post(self, delivery: WebhookDelivery) -> Option<u16> {
        self.await_engine().await;
        if self.door.stops() {
            return None;
        }
        let stream = TcpStream::connect(self.webhooks).await.ok()?;
        let request = webhook_request(&delivery);
        let answer = http_client::exchange_over(
            TcpTransport::new(stream),
            request,
            sleep(http_client::EXCHANGE_LIMIT),
        )
        .await;
        answer.ok().map(|response| response.status)
    }

    /// A kill at a point of an input takes the engine no virtual time, so it takes no webhook either.
    async fn await_engine(&self) {
        let restarting = || {
            self.service()
                .is_some_and(|service| !service.is_kept() && matches!(service.status(), Ok(None)))
        };
        let back = async {
            while restarting() {
                sleep(super::waits::POLL).await;
            }
        };
        // An engine that does not come back leaves the webhook without an answer.
        let _ = tokio::time::timeout(RESTART_LIMIT, back).await;
    }
}

async fn receive_webhooks(listener: TcpListener, service: CurrentService) {
    while let Ok((stream, _)) = listener.accept().await {
        let handle = service
            .lock()
            .expect("no holder panics")
            .as_ref()
            .and_then(|service| service.handle().ok());
        // Without an engine the connection is closed, as by a machine whose process is gone.
        if let Some(handle) = handle {
            tokio::spawn(async move {
                // An error is a connection that ended early: the gateway sees no answer.
                let _ = webhook_server::serve_connection(TcpTransport::new(stream), handle).await;
            });
        }
    }
}

async fn run_proxy(mut keeper: Doorkeeper, door: Door, server: SocketAddr) {
    while let Ok(client) = keeper.next().await {
        let door = door.clone();
        tokio::spawn(async move {
            // An error closes the connection, which is all that a proxy can do about it.
            let _ = pass_on(client, &door, server).await;
        });
    }
}

/// Carries one exchange; the engine's client asks for `connection: close`, so the response ends with the connection.
async fn pass_on(mut client: TcpStream, door: &Door, server: SocketAddr) -> io::Result<()> {
    let mut said = Vec::new();
    tokio::select! {
        biased;
        () = door.come_in() => {}
        gone = listen(&mut client, &mut said) => return gone,
    }
    let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    to_server.write_all(&said).await?;
    let (mut from_client, mut to_client) = client.split();
    let mut response = Vec::new();
    tokio::select! {
        biased;
        read = from_server.read_to_end(&mut response) => drop(read?),
        // The client has said all, or is gone; the response is still to come.
        _ = copy(&mut from_client, &mut to_server) => drop(from_server.read_to_end(&mut response).await?),
    }
    if is_marked(&response, LOSE_HEADER) {
        return Ok(());
    }
    if is_marked(&response, CUT_HEADER) {
        response.truncate(response.len() - BODY_BYTES_CUT.min(response.len()));
    }
    to_client.write_all(&response).await?;
    to_client.shutdown().await
}

/// Keeps what a client who is held says, until he is gone: what he has said is lost with his connection then.
async fn listen(client: &mut TcpStream, said: &mut Vec<u8>) -> io::Result<()> {
    while client.read_buf(said).await? > 0 {}
    Ok(())
}

/// Fewer than the body of any answer to an order has, so that its head is whole.
const BODY_BYTES_CUT: usize = 20;

fn is_marked(response: &[u8], mark: &str) -> bool {
    let head = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(response, |end| &response[..end]);
    String::from_utf8_lossy(head)
        .to_ascii_lowercase()
        .contains(&format!("\r\n{mark}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_head_is_lost() {
        assert!(is_marked(
            b"HTTP/1.1 500 X\r\nX-Lockstep-Lose-This: yes\r\n\r\nbody",
            LOSE_HEADER
        ));
        assert!(!is_marked(
            b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\na\r\nx-lockstep-lose-this: yes\r\n",
            LOSE_HEADER
        ));
    }

    #[tokio::test]
    async fn the_proxy_loses_what_is_marked_and_passes_the_rest() {
        for (head, expected) in [("", true), ("x-lockstep-lose-this: yes\r\n", false)] {
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a port");
            let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a port");
            let (at, through) = (
                server.local_addr().expect("bound"),
                proxy.local_addr().expect("bound"),
            );
            let response = format!("HTTP/1.1 200 OK\r\n{head}content-length: 2\r\n\r\nok");
            let sent = response.clone();
            let (door, keeper) = door::open(proxy, Arc::default()).expect("bound");
            tokio::spawn(run_proxy(keeper, door, at));
            tokio::spawn(async move {
                let (mut stream, _) = server.accept().await.expect("a connection");
                let mut request = [0; 8];
                stream.read_exact(&mut request).await.expect("the request");
                stream.write_all(sent.as_bytes()).await.expect("written");
            });
            let mut client = TcpStream::connect(through).await.expect("connected");
            client.write_all(b"GET / ..").await.expect("written");
            let mut got = String::new();
            client.read_to_string(&mut got).await.expect("read");
            assert_eq!(got, if expected { response } else { String::new() });
        }
    }
}
