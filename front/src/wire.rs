//! What lies between HTTP/2 and the socket: counts frames, and joins what goes out.
//!
//! h2 flushes after each large DATA frame, which would be a TLS record and a system call each for an
//! answer and its trailers. Here a flush of h2's does nothing: the connection's task calls
//! `poll_drain` when it has nothing else to do.

use crate::meter::Meter;
use crate::peer::Peer;
use crate::shared::lock;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{ready, Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What may wait for the socket before h2 has to wait.
const MOST: usize = 64 * 1024;
/// GOAWAY, before its last stream and its reason (RFC 9113, 6.8).
const GOAWAY: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];
const ENHANCE_YOUR_CALM: u32 = 0x0b;

struct Inner<IO> {
    io: IO,
    peer: Arc<Peer>,
    meter: Meter,
    out: Vec<u8>,
    at: usize,
    unflushed: bool,
    reset: Vec<u32>,
    /// When bytes last came in, and when some last went out or none waited to.
    read: Instant,
    written: Instant,
}

impl<IO: AsyncWrite + Unpin> Inner<IO> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.at < self.out.len() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out[self.at..]))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.at += count;
            self.written = Instant::now();
        }
        self.out.clear();
        self.at = 0;
        if self.out.capacity() > MOST {
            self.out = Vec::new();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
            self.written = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the connection, saying why if a frame may be added. A caller may ask again for streams
    /// after the last.
    fn too_much(&mut self, cx: &mut Context<'_>) -> Error {
        if self.meter.is_between_frames() {
            self.out.extend_from_slice(&GOAWAY);
            self.out.extend_from_slice(&self.meter.last_opened().to_be_bytes());
            self.out.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
            self.unflushed = true;
            let _ = self.poll_drain(cx);
        }
        Error::new(ErrorKind::ConnectionAborted, "too many frames of a kind")
    }
}

/// A socket as h2 sees it. Its clones share it; all are used by one task.
pub(crate) struct Wire<IO>(Arc<Mutex<Inner<IO>>>);

impl<IO> Clone for Wire<IO> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<IO: AsyncWrite + Unpin> Wire<IO> {
    pub(crate) fn new(io: IO, peer: Arc<Peer>) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Inner {
            io,
            peer,
            meter: Meter::new(now),
            out: Vec::new(),
            at: 0,
            unflushed: false,
            reset: Vec::new(),
            read: now,
            written: now,
        })))
    }

    /// Writes what waits.
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        lock(&self.0).poll_drain(cx)
    }

    /// The streams that the caller has reset since the last time.
    pub(crate) fn take_reset(&self) -> Vec<u32> {
        std::mem::take(&mut lock(&self.0).reset)
    }

    /// Keeps no memory for what may go out again.
    pub(crate) fn rest(&self) {
        let inner = &mut *lock(&self.0);
        if inner.out.is_empty() {
            inner.out = Vec::new();
        }
    }

    pub(crate) fn last_read(&self) -> Instant {
        lock(&self.0).read
    }

    /// Since when the socket has taken nothing of what waits; None where nothing waits.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        let inner = lock(&self.0);
        (inner.unflushed || !inner.out.is_empty()).then_some(inner.written)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let inner = &mut *lock(&self.0);
        let before = buf.filled().len();
        ready!(Pin::new(&mut inner.io).poll_read(cx, buf))?;
        let now = Instant::now();
        inner.read = now;
        let known = inner.peer.is_known();
        if inner.meter.came(&buf.filled()[before..], known, now, &mut inner.reset) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(inner.too_much(cx)))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wire<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let inner = &mut *lock(&self.0);
        if inner.out.len() >= MOST {
            ready!(inner.poll_drain(cx))?;
        }
        let now = Instant::now();
        if inner.out.is_empty() {
            inner.written = now;
        }
        inner.unflushed = true;
        let mut count = 0;
        for part in parts {
            if !inner.meter.goes(part, now) {
                return Poll::Ready(Err(inner.too_much(cx)));
            }
            inner.out.extend_from_slice(part);
            count += part.len();
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let inner = &mut *lock(&self.0);
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
