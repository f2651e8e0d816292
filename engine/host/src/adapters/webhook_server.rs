//! Owns the HTTP server that takes the gateway's webhooks in: `POST /webhooks/gateway`. Does not own their checking
//! (`fiat`) nor what they change.
//!
//! 200 only after the webhook was journaled, 400 if the engine refused it, 503 if it cannot be taken now (the gateway
//! delivers it again). Stopped before the journal: not acknowledged, delivered again. Stopped after, before the 200 is
//! out: delivered again, and the engine ignores the repetition.
//!
//! [`serve_connection`] is generic over the stream and names no runtime: the simulated world runs it over its links.

use crate::adapters::tcp_stream::TcpTransport;
use crate::driver::{Handle, SubmitError};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, select_biased};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where the gateway delivers.
pub const PATH: &str = "/webhooks/gateway";

/// Name of the header with the signature.
pub const SIGNATURE_HEADER: &str = "lockstep-signature";

/// Largest body. An event is under a kilobyte; 64 KiB leaves room for long names and notes.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Most connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 64;

/// Longest life of a connection, so that idle ones do not fill the places.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);

/// Serves requests on one connection until it ends.
pub async fn serve_connection<IO>(stream: IO, handle: Handle) -> Result<(), hyper::Error>
where
    IO: Read + Write + Unpin,
{
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer(request, handle).await) }
    });
    // No Date header: it would put the time of day into recorded bytes.
    http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(stream, service)
        .await
}

async fn answer(request: Request<Incoming>, handle: Handle) -> Response<Full<Bytes>> {
    let (status, text) = match take(request, handle).await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err((status, text)) => (status, text),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

async fn take(request: Request<Incoming>, handle: Handle) -> Result<(), (StatusCode, String)> {
    if request.uri().path() != PATH {
        return Err((StatusCode::NOT_FOUND, String::new()));
    }
    if request.method() != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, String::new()));
    }
    // A missing or unreadable signature is the engine's to refuse, as a wrong one is.
    let signature = request
        .headers()
        .get(SIGNATURE_HEADER)
        .and_then(|value| value.to_str().ok());
    let signature = signature.unwrap_or_default().to_owned();
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| {
            let too_large = error.is::<LengthLimitError>();
            let status = if too_large {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            (status, error.to_string())
        })?;
    let body = String::from_utf8(body.to_bytes().to_vec())
        .map_err(|_| (StatusCode::BAD_REQUEST, "the body is not UTF-8".to_owned()))?;
    match handle.webhook(signature, body).await {
        Ok(_) => Ok(()),
        Err(error @ SubmitError::Refused(_)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
        Err(error @ (SubmitError::Stopped | SubmitError::Busy)) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
    }
}

/// Accepts connections for ever, all in the task that calls it. Errors: the listener's.
pub async fn serve(listener: TcpListener, handle: Handle) -> io::Result<Infallible> {
    let mut connections = FuturesUnordered::new();
    loop {
        let may_accept = connections.len() < MAX_CONNECTIONS;
        let accept = async {
            if may_accept {
                listener.accept().await
            } else {
                std::future::pending().await
            }
        };
        let accept = accept.fuse();
        futures_util::pin_mut!(accept);
        select_biased! {
            () = connections.select_next_some() => {}
            accepted = accept => {
                let serving = serve_connection(TcpTransport::new(accepted?.0), handle.clone());
                connections.push(tokio::time::timeout(CONNECTION_LIMIT, serving).map(drop));
            }
        }
    }
}
