//! A connection after its handshakes: its calls until each is handed over or passed on, and what time
//! does to it.

use crate::answers::{
    granted, send_http_status, send_plain_status, send_status, DEADLINE_EXCEEDED, UNAVAILABLE,
};
use crate::gather::{Came, Gather, Open, Step};
use crate::peer::Peer;
use crate::places::{Piece, Place};
use crate::proxy::{forward, Upstream};
use crate::shared::{lock, Handed, Reply, Shared, Status};
use crate::strangers::Strange;
use crate::turned_away::Asked;
use crate::wire::Wire;
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::{Method, Request, StatusCode};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, Sleep};

/// How often a connection with calls is looked at for what time ends.
const BUSY: Duration = Duration::from_millis(100);

/// What time does to a connection.
struct Clock {
    timer: Pin<Box<Sleep>>,
    pings: Option<PingPong>,
    is_pinged: bool,
    /// When it last had a call.
    used: Instant,
    /// How many answers had been sent when one last was.
    sent: (u64, Instant),
    is_leaving: bool,
}

/// A call that asks again too soon, and what it will be refused with. A caller that waits for each
/// answer before it asks again would otherwise take the processor from those who are answered.
struct Held {
    to: SendResponse<Piece>,
    status: Status,
    _stream: Arc<()>,
}

pub(crate) struct Served<'a, IO> {
    shared: &'a Arc<Shared>,
    peer: &'a Arc<Peer>,
    http2: Connection<Wire<IO>, Piece>,
    wire: Wire<IO>,
    upstream: Arc<Upstream>,
    gathers: Vec<Gather>,
    /// Calls that were handed over, by stream.
    handed: HashMap<u32, Weak<Handed>>,
    /// Calls that are to be refused when the connection is looked at next.
    held: Vec<Held>,
    /// One clone for each call in progress.
    streams: Arc<()>,
    /// One clone for each call that was passed on.
    forwarded: Arc<()>,
    strange: Strange<'a>,
    clock: Clock,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Served<'a, IO> {
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        mut http2: Connection<Wire<IO>, Piece>,
        wire: Wire<IO>,
        peer: &'a Arc<Peer>,
    ) -> Self {
        let now = Instant::now();
        let clock = Clock {
            timer: Box::pin(sleep_until((now + BUSY).into())),
            pings: http2.ping_pong(),
            is_pinged: false,
            used: now,
            sent: (0, now),
            is_leaving: false,
        };
        Self {
            shared,
            peer,
            http2,
            wire,
            upstream: Arc::default(),
            gathers: Vec::new(),
            handed: HashMap::new(),
            held: Vec::new(),
            streams: Arc::new(()),
            forwarded: Arc::new(()),
            strange: Strange::new(shared, peer.address.ip()),
            clock,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        *lock(&self.peer.waker) = Some(cx.waker().clone());
        if self.shared.draining.load(Relaxed) {
            self.say_goodbye();
        }
        loop {
            let was_idle = !self.is_busy();
            match self.http2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, to)))) => self.begin(request, to),
                Poll::Ready(_) => {
                    let _ = self.wire.poll_drain(cx);
                    return Poll::Ready(());
                }
                Poll::Pending => break,
            }
            if was_idle {
                self.clock.used = Instant::now();
                let soon = (self.clock.used + BUSY).into();
                // Never later: who calls again and again would put off what is due by now.
                if self.clock.timer.deadline() > soon {
                    self.clock.timer.as_mut().reset(soon);
                }
            }
        }
        self.gather(cx);
        for stream in self.wire.take_reset() {
            if let Some(call) = self.handed.remove(&stream).and_then(|call| call.upgrade()) {
                self.shared.leave(&call);
            }
        }
        if let Poll::Ready(Err(_)) = self.wire.poll_drain(cx) {
            return Poll::Ready(());
        }
        while self.clock.timer.as_mut().poll(cx).is_ready() {
            if self.look(Instant::now(), cx) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.streams) > 1
    }

    /// Counts the calls whose messages are to come, and so many more, while none has authenticated
    /// here; false where those would be too many.
    fn count_strange(&mut self, more: usize) -> bool {
        let waiting = self.gathers.len() + Arc::strong_count(&self.forwarded) - 1;
        self.strange.set(if self.peer.is_known() { 0 } else { waiting + more })
    }

    /// Tells the caller to open no more calls here (GOAWAY).
    fn say_goodbye(&mut self) {
        if !self.clock.is_leaving {
            self.clock.is_leaving = true;
            self.http2.graceful_shutdown();
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, mut to: SendResponse<Piece>) {
        let (head, body) = request.into_parts();
        let kind = head.headers.get("content-type").map(http::HeaderValue::as_bytes);
        if head.method != Method::POST || !kind.is_some_and(is_grpc) {
            send_http_status(&mut to, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return;
        }
        let is_handed = self.shared.handed_paths.contains(head.uri.path());
        if !is_handed && !self.count_strange(1) {
            return refuse_full(self.shared, &mut to);
        }
        let limits = &self.shared.limits;
        let Some(place) = Place::take(self.shared, |shared| &shared.calls, limits.calls) else {
            self.shared.stalled.give_way(Instant::now());
            return refuse_full(self.shared, &mut to);
        };
        let bytes = Place::none(self.shared, |shared| &shared.received);
        let stream = self.streams.clone();
        let call = Open { head, body, to, came: Came::default(), place, bytes, stream };
        if is_handed {
            // The places that are left are for others, such as an admin who revokes.
            let Some(handed) = Place::take(self.shared, |shared| &shared.handed, limits.handed)
            else {
                let mut to = call.to;
                return refuse_full(self.shared, &mut to);
            };
            self.gathers.push(Gather { call, since: Instant::now(), handed });
        } else {
            self.forward(call);
        }
    }

    fn forward(&self, call: Open) {
        let (shared, upstream, peer) =
            (self.shared.clone(), self.upstream.clone(), self.peer.clone());
        let counted = self.forwarded.clone();
        tokio::spawn(async move {
            forward(shared, upstream, peer, call).await;
            drop(counted);
        });
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.gathers.len() {
            match self.gathers[at].step(cx, &self.shared.limits) {
                Step::More => at += 1,
                Step::Gone => drop(self.gathers.swap_remove(at)),
                Step::Forward => {
                    let gather = self.gathers.swap_remove(at);
                    self.forward(gather.call);
                }
                Step::Whole(message, compressed) => {
                    let gather = self.gathers.swap_remove(at);
                    self.hand_over(gather, message, compressed);
                }
            }
        }
        // Those that came whole keep nobody waiting.
        while !self.count_strange(0) {
            let Some(mut gather) = self.gathers.pop() else { break };
            refuse_full(self.shared, &mut gather.call.to);
        }
    }

    fn hand_over(&mut self, gather: Gather, message: Bytes, compressed: bool) {
        let Gather { call: mut open, since, handed } = gather;
        let limits = &self.shared.limits;
        let certificate = self.peer.certificate.get();
        let asked = Asked { certificate, headers: &open.head.headers, message: &message };
        let now = Instant::now();
        let deadline = granted(&open.head.headers).and_then(|granted| since.checked_add(granted));
        if let Some(status) = self.shared.turned_away.status(asked, now) {
            // Else the caller would hear of its deadline, and not of the reason.
            let waits = deadline.is_none_or(|deadline| deadline > now + BUSY);
            if waits && self.held.len() < limits.streams as usize {
                return self.held.push(Held { to: open.to, status, _stream: open.stream });
            }
            return turn_away(self.shared, &mut open.to, &status);
        }
        let stream = open.to.stream_id().as_u32();
        let call = Arc::new(Handed {
            id: self.shared.next_id(),
            path: Bytes::copy_from_slice(open.head.uri.path().as_bytes()),
            headers: open.head.headers,
            message,
            compressed,
            deadline,
            peer: self.peer.clone(),
            reply: Mutex::new(Some(Reply { to: open.to, _places: [open.place, handed] })),
            gone: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            _bytes: open.bytes,
            _stream: open.stream,
        });
        if self.handed.len() >= 2 * limits.streams as usize {
            self.handed.retain(|_, call| call.upgrade().is_some_and(|call| !call.is_answered()));
        }
        self.handed.insert(stream, Arc::downgrade(&call));
        if !self.shared.push(call.clone()) {
            if let Some(mut reply) = call.take_reply() {
                send_plain_status(&mut reply.to, UNAVAILABLE, "the server is stopping");
            }
        }
    }

    /// Does what is due by now; true where the connection is to be ended.
    fn look(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let limits = &self.shared.limits;
        if self.is_stuck(now) {
            return true;
        }
        let mut at = 0;
        while at < self.gathers.len() {
            if now.saturating_duration_since(self.gathers[at].since) >= limits.whole {
                let gather = self.gathers.swap_remove(at);
                self.forward(gather.call);
            } else {
                at += 1;
            }
        }
        self.end_late_calls(now);
        for mut held in self.held.drain(..) {
            turn_away(self.shared, &mut held.to, &held.status);
        }
        let busy = self.is_busy();
        if busy {
            self.clock.used = now;
        } else {
            self.upstream.rest();
            self.wire.rest();
            self.gathers = Vec::new();
            self.handed = HashMap::new();
            self.held = Vec::new();
        }
        let idle = now.saturating_duration_since(self.clock.used) >= limits.idle;
        if idle || now.saturating_duration_since(self.peer.since) >= limits.age {
            self.say_goodbye();
        }
        if self.is_silent(now, cx) {
            return true;
        }
        let unsent = self.peer.unsent.load(Relaxed) > 0 || self.wire.stuck_since().is_some();
        let next =
            if busy || unsent { BUSY } else { limits.idle.min(limits.keepalive).min(limits.age) };
        self.clock.timer.as_mut().reset((now + next.max(BUSY)).into());
        // What was set going above is to be seen by h2.
        cx.waker().wake_by_ref();
        false
    }

    /// Whether the caller takes nothing of what waits for it.
    fn is_stuck(&mut self, now: Instant) -> bool {
        let most = self.shared.limits.write;
        let sent = self.peer.sent.load(Relaxed);
        if sent != self.clock.sent.0 || self.peer.unsent.load(Relaxed) == 0 {
            self.clock.sent = (sent, now);
        }
        now.saturating_duration_since(self.clock.sent.1) >= most
            || self
                .wire
                .stuck_since()
                .is_some_and(|since| now.saturating_duration_since(since) >= most)
    }

    /// Whether the caller has not said in time that it is there.
    fn is_silent(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Some(pings) = &mut self.clock.pings else { return false };
        let quiet = now.saturating_duration_since(self.wire.last_read());
        if self.clock.is_pinged && !matches!(pings.poll_pong(cx), Poll::Pending) {
            self.clock.is_pinged = false;
        }
        let limit = self.shared.limits.keepalive;
        if self.clock.is_pinged {
            return quiet >= 2 * limit;
        }
        if quiet >= limit {
            self.clock.is_pinged = pings.send_ping(Ping::opaque()).is_ok();
        }
        false
    }

    fn end_late_calls(&mut self, now: Instant) {
        let shared = self.shared;
        self.handed.retain(|_, call| {
            let Some(call) = call.upgrade().filter(|call| !call.is_answered()) else {
                return false;
            };
            if call.deadline.is_none_or(|deadline| now < deadline) {
                return true;
            }
            shared.leave(&call);
            if let Some(mut reply) = call.take_reply() {
                send_plain_status(&mut reply.to, DEADLINE_EXCEEDED, "Deadline Exceeded");
            }
            false
        });
    }
}

/// At the connection's end the callers of all its calls have left.
impl<IO> Drop for Served<'_, IO> {
    fn drop(&mut self) {
        for call in self.handed.drain().filter_map(|(_, call)| call.upgrade()) {
            if !call.is_answered() {
                self.shared.leave(&call);
            }
        }
    }
}

fn is_grpc(kind: &[u8]) -> bool {
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

fn refuse_full(shared: &Shared, to: &mut SendResponse<Piece>) {
    let status = lock(&shared.full).clone();
    turn_away(shared, to, &status);
}

fn turn_away(shared: &Shared, to: &mut SendResponse<Piece>, status: &Status) {
    shared.refused.fetch_add(1, Relaxed);
    send_status(to, status);
}
