//! Owns the target of the HTTP reader: a gateway's bytes as they come over a connection, in pieces.

use crate::attack::Verdict;
use hyper::rt::{Read, ReadBufCursor, Write};
use lockstep_engine::rail::{HttpFailure, Method};
use lockstep_host::adapters::http_client::{MAX_BODY_BYTES, OutgoingRequest, exchange_over};
use lockstep_host::ports::HttpResponse;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// A peer that takes everything and, once it has been asked, answers with these bytes, so many at a time, then hangs up.
struct Peer {
    asked: bool,
    answer: Vec<u8>,
    told: usize,
    at_once: usize,
}

impl Read for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let end = (self.told + self.at_once.min(into.remaining())).min(self.answer.len());
        into.put_slice(&self.answer[self.told..end]);
        self.told = end;
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls more often than any answer has bytes: the peer is always ready once it was asked, so the exchange must end.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the exchange waits for something that never comes")
}

fn exchange(bytes: &[u8], at_once: usize) -> Result<HttpResponse, HttpFailure> {
    let peer = Peer {
        asked: false,
        answer: bytes.to_vec(),
        told: 0,
        at_once,
    };
    let request = OutgoingRequest {
        method: Method::Get,
        path: "/v1/balance".to_owned(),
        headers: vec![("host", "gateway".to_owned())],
        body: String::new(),
    };
    run(exchange_over(peer, request, pending()))
}

/// A response, the same however the bytes are cut, or a failure. Rubbish may be `Malformed` in one piece and `ConnectionLost`
/// in several, which say the same about the outcome; no failure says that nothing was sent, as the request was.
pub(crate) fn response(bytes: &[u8]) -> Verdict {
    let whole = exchange(bytes, usize::MAX);
    for at_once in [1, 7] {
        let pieces = exchange(bytes, at_once);
        let open = [HttpFailure::ConnectionLost, HttpFailure::Malformed];
        match (&whole, &pieces) {
            (Ok(whole), Ok(pieces)) => assert_eq!(pieces, whole, "{at_once} bytes at a time"),
            (Err(whole), Err(pieces)) => assert!(open.contains(whole) && open.contains(pieces)),
            _ => panic!("{pieces:?} with {at_once} bytes at a time, else {whole:?}"),
        }
    }
    if let Ok(response) = &whole {
        assert!((100..1_000).contains(&response.status) && response.body.len() <= MAX_BODY_BYTES);
    }
    Verdict::from(&whole)
}
