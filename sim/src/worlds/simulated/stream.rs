//! Owns the byte stream that hyper sees on a simulated link. Does not own the link (`links`).
//!
//! Empty flushes send nothing: hyper flushes on every poll, and a packet for each would grow latency for ever.

use crate::links::{End, Outgoing};
use async_channel::Receiver;
use futures_util::Stream;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection as hyper's `Read` and `Write`.
pub(crate) struct LinkStream {
    incoming: Pin<Box<Receiver<Vec<u8>>>>,
    outgoing: Outgoing,
    unread: Vec<u8>,
    _end: Box<End>,
}

impl LinkStream {
    /// Wraps one end; dropping the stream closes the connection.
    pub(crate) fn new(end: End) -> LinkStream {
        LinkStream {
            incoming: Box::pin(end.incoming()),
            outgoing: end.outgoing(),
            unread: Vec::new(),
            _end: Box::new(end),
        }
    }
}

impl Read for LinkStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            match self.incoming.as_mut().poll_next(context) {
                Poll::Ready(Some(chunk)) => self.unread = chunk,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        let taken = buffer.remaining().min(self.unread.len());
        let rest = self.unread.split_off(taken);
        buffer.put_slice(&self.unread);
        self.unread = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !bytes.is_empty() {
            self.outgoing.send(bytes.to_vec());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
