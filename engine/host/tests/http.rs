//! Owns the proof that an HTTP exchange names each way to fail as what it is, over real sockets.
//! Does not own what the gateway means by its answers.

use futures_util::future::BoxFuture;
use lockstep_engine::id::IdempotencyKey;
use lockstep_engine::rail::{HttpFailure, HttpRequest, Method};
use lockstep_host::adapters::http_client::{
    HttpClient, MAX_BODY_BYTES, OutgoingRequest, exchange_over,
};
use lockstep_host::adapters::tcp_stream::TcpTransport;
use lockstep_host::ports::{GatewayCall, HttpResponse, HttpTransport};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(test)
}

fn call() -> GatewayCall {
    let request = HttpRequest {
        method: Method::Post,
        path: "/v1/transfers".to_owned(),
        body: "{\"amount\":1}".to_owned(),
    };
    GatewayCall {
        key: IdempotencyKey("p1/transfer".to_owned()),
        request,
    }
}

/// Reads a request up to its body, which ends with `}`.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with('}') {
        let mut bytes = [0; 1_024];
        let read = stream.read(&mut bytes).await.expect("request");
        assert_ne!(read, 0, "request ended early: {text}");
        text.push_str(std::str::from_utf8(&bytes[..read]).expect("UTF-8"));
    }
    text
}

/// One exchange with a server that does `serve` after it has read the request.
fn exchange(
    serve: impl FnOnce(TcpStream) -> BoxFuture<'static, ()> + Send + 'static,
) -> (Result<HttpResponse, HttpFailure>, String) {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("address").to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let request = read_request(&mut stream).await;
            serve(stream).await;
            request
        });
        let answer = HttpClient::new(address, "secret").exchange(call()).await;
        (answer, server.await.expect("server"))
    })
}

fn answering(bytes: Vec<u8>) -> impl FnOnce(TcpStream) -> BoxFuture<'static, ()> + Send + 'static {
    move |mut stream| {
        Box::pin(async move {
            // The client may hang up on an answer that it does not like.
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
        })
    }
}

fn failure(bytes: &[u8]) -> HttpFailure {
    exchange(answering(bytes.to_vec()))
        .0
        .expect_err("must fail")
}

#[test]
fn a_response_comes_back_and_the_request_carries_key_and_token() {
    let response = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    let (answer, request) = exchange(answering(response));
    assert_eq!(
        answer,
        Ok(HttpResponse {
            status: 201,
            body: "{}".to_owned()
        })
    );
    assert!(
        request.starts_with("POST /v1/transfers HTTP/1.1\r\n"),
        "{request}"
    );
    for header in [
        "idempotency-key: p1/transfer\r\n",
        "authorization: Bearer secret\r\n",
        "connection: close\r\n",
    ] {
        assert!(request.contains(header), "{header} is not in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"amount\":1}"), "{request}");
}

#[test]
fn an_error_status_is_an_answer() {
    let (answer, _) = exchange(answering(
        b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec(),
    ));
    assert_eq!(
        answer,
        Ok(HttpResponse {
            status: 503,
            body: String::new()
        })
    );
}

#[test]
fn a_connection_that_ends_before_the_whole_response_is_lost() {
    assert_eq!(failure(b""), HttpFailure::ConnectionLost);
    assert_eq!(failure(b"HTTP/1.1 200 O"), HttpFailure::ConnectionLost);
    assert_eq!(
        failure(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}"),
        HttpFailure::ConnectionLost
    );
}

#[test]
fn what_is_not_http_is_malformed() {
    assert_eq!(
        failure(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        HttpFailure::Malformed
    );
    assert_eq!(
        failure(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe"),
        HttpFailure::Malformed
    );
    let header = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        MAX_BODY_BYTES + 1
    );
    let mut too_large = header.into_bytes();
    too_large.resize(too_large.len() + MAX_BODY_BYTES + 1, b' ');
    assert_eq!(failure(&too_large), HttpFailure::Malformed);
}

#[test]
fn nobody_there_means_not_connected() {
    let answer = run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("address").to_string();
        drop(listener);
        HttpClient::new(address, "secret").exchange(call()).await
    });
    assert_eq!(answer, Err(HttpFailure::NotConnected));
}

#[test]
fn silence_times_out() {
    let answer = run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let stream = TcpStream::connect(listener.local_addr().expect("address"))
            .await
            .expect("connects");
        let request = OutgoingRequest::gateway(call(), "gateway", "secret");
        exchange_over(
            TcpTransport::new(stream),
            request,
            tokio::time::sleep(Duration::from_millis(50)),
        )
        .await
    });
    assert_eq!(answer, Err(HttpFailure::TimedOut));
}

#[test]
fn a_request_that_cannot_be_written_is_never_sent() {
    let answer = run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let stream = TcpStream::connect(listener.local_addr().expect("address"))
            .await
            .expect("connects");
        let request = OutgoingRequest::gateway(call(), "gateway", "line\nbreak");
        exchange_over(TcpTransport::new(stream), request, std::future::pending()).await
    });
    assert_eq!(answer, Err(HttpFailure::NotConnected));
}
