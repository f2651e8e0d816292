//! Owns one HTTP/1.1 exchange: one connection, one request, one response, limits of size and time, and a precise word
//! for every way to fail. Does not own what is asked (`fiat`) nor retries (the engine).
//!
//! [`exchange_over`] is generic over the stream and names no runtime: the simulated world runs it over its own links.

use crate::adapters::tcp_stream::TcpTransport;
use crate::ports::{GatewayCall, HttpResponse, HttpTransport};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, select_biased};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::CONNECTION;
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use lockstep_engine::rail::{HttpFailure, Method};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Largest response body. A day's settlement report of ten thousand entries is about 2 MB.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Longest wait for a whole response, as payment gateways advise their clients (60 to 80 s), on the short side.
pub const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for a connection. After this nothing has been sent.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A message as it is put on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Header names (lower case) and values, in order; `connection: close` is added.
    pub headers: Vec<(&'static str, String)>,
    /// Body; empty for GET.
    pub body: String,
}

impl OutgoingRequest {
    /// A gateway call: with host, bearer token, and, for a POST, the idempotency key.
    pub fn gateway(call: GatewayCall, host: &str, token: &str) -> Self {
        let mut headers = vec![
            ("host", host.to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        if call.request.method == Method::Post {
            headers.push(("content-type", "application/json".to_owned()));
            headers.push(("idempotency-key", call.key.0));
        }
        Self {
            method: call.request.method,
            path: call.request.path,
            headers,
            body: call.request.body,
        }
    }

    /// `Err` if a header value or the path cannot be put into HTTP: nothing has been sent then.
    fn into_hyper(self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let method = match self.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(self.path)
            .header(CONNECTION, "close");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(self.body)))
    }
}

/// Sends `request` over a fresh connection and reads the response, unless `limit` completes first.
///
/// Errors: `ConnectionLost` when the stream ends or fails, `TimedOut` when `limit` completes, `Malformed` when the
/// answer is not HTTP, is too large or is not UTF-8. In all of them the request may have been acted upon. A request
/// that cannot be written as HTTP is `NotConnected`: it was certainly not seen.
pub async fn exchange_over<IO>(
    stream: IO,
    request: OutgoingRequest,
    limit: impl Future<Output = ()>,
) -> Result<HttpResponse, HttpFailure>
where
    IO: Read + Write + Unpin,
{
    let request = request
        .into_hyper()
        .map_err(|_| HttpFailure::NotConnected)?;
    let exchange = converse(stream, request).fuse();
    let limit = limit.fuse();
    futures_util::pin_mut!(exchange, limit);
    select_biased! {
        answer = exchange => answer,
        () = limit => Err(HttpFailure::TimedOut),
    }
}

async fn converse<IO>(
    stream: IO,
    request: Request<Full<Bytes>>,
) -> Result<HttpResponse, HttpFailure>
where
    IO: Read + Write + Unpin,
{
    let (mut sender, connection) = http1::handshake(stream)
        .await
        .map_err(|error| failure(&error))?;
    let exchange = async move {
        read(
            sender
                .send_request(request)
                .await
                .map_err(|error| failure(&error))?,
        )
        .await
    };
    let (exchange, connection) = (exchange.fuse(), connection.fuse());
    futures_util::pin_mut!(exchange, connection);
    loop {
        select_biased! {
            answer = exchange => return answer,
            // The exchange learns by itself that the connection is gone, and may have a whole response already.
            ended = connection => drop(ended),
        }
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<HttpResponse, HttpFailure> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                return HttpFailure::Malformed;
            }
            error
                .downcast_ref::<hyper::Error>()
                .map_or(HttpFailure::ConnectionLost, failure)
        })?;
    let body = String::from_utf8(body.to_bytes().to_vec()).map_err(|_| HttpFailure::Malformed)?;
    Ok(HttpResponse { status, body })
}

fn failure(error: &hyper::Error) -> HttpFailure {
    // An incomplete message is a connection that ended too soon; every other parse error is not HTTP.
    if error.is_parse() {
        HttpFailure::Malformed
    } else {
        HttpFailure::ConnectionLost
    }
}

/// The gateway over TCP.
#[derive(Clone, Debug)]
pub struct HttpClient {
    gateway: Arc<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    address: String,
    token: String,
}

impl HttpClient {
    /// For the gateway at `address` (host and port) with this bearer token.
    pub fn new(address: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            gateway: Arc::new(Gateway {
                address: address.into(),
                token: token.into(),
            }),
        }
    }
}

impl HttpTransport for HttpClient {
    fn exchange(&self, call: GatewayCall) -> BoxFuture<'static, Result<HttpResponse, HttpFailure>> {
        let gateway = self.gateway.clone();
        async move {
            let stream = connect(&gateway.address).await?;
            let request = OutgoingRequest::gateway(call, &gateway.address, &gateway.token);
            exchange_over(stream, request, tokio::time::sleep(EXCHANGE_LIMIT)).await
        }
        .boxed()
    }
}

/// Connects; whatever goes wrong here, nothing was sent.
pub(crate) async fn connect(address: &str) -> Result<TcpTransport, HttpFailure> {
    let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address));
    match connecting.await {
        Ok(Ok(stream)) => Ok(TcpTransport::new(stream)),
        Ok(Err(_)) | Err(_) => Err(HttpFailure::NotConnected),
    }
}
