//! What the I/O thread and Python's threads share: calls that wait, answers, connections.

use crate::limits::Limits;
use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use http::HeaderMap;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Locks; a thread that panicked meanwhile has left nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    pub(crate) id: u64,
    pub(crate) listener: usize,
    pub(crate) address: SocketAddr,
    pub(crate) since: Instant,
    /// DER, verified by the handshake.
    pub(crate) certificate: OnceLock<Vec<u8>>,
    pub(crate) known: AtomicBool,
    /// Notified to end the connection at once.
    pub(crate) ended: Notify,
    pub(crate) waker: Mutex<Option<Waker>>,
    /// Bytes of answers that the other end has not taken, and how many answers it has.
    pub(crate) unsent: AtomicUsize,
    pub(crate) sent: AtomicU64,
}

impl Peer {
    /// Of a connection that begins now.
    #[must_use]
    pub fn new(id: u64, listener: usize, address: SocketAddr) -> Self {
        Self {
            id,
            listener,
            address,
            since: Instant::now(),
            certificate: OnceLock::new(),
            known: AtomicBool::new(false),
            ended: Notify::new(),
            waker: Mutex::default(),
            unsent: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }

    /// As gRPC's C core spells it: `ipv4:127.0.0.1:1234`, `ipv6:%5B::1%5D:1234`.
    pub(crate) fn name(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        match ip {
            IpAddr::V4(ip) => format!("ipv4:{ip}:{port}"),
            IpAddr::V6(ip) => format!("ipv6:%5B{ip}%5D:{port}"),
        }
    }
}

/// A part of an answer on its way to its caller.
pub struct Piece {
    data: Bytes,
    owed: Option<Owed>,
}

struct Owed {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    bytes: usize,
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.shared.unsent.fetch_sub(self.bytes, Relaxed);
        self.peer.unsent.fetch_sub(self.bytes, Relaxed);
        self.peer.sent.fetch_add(1, Relaxed);
    }
}

impl Piece {
    /// A part whose sending is bounded elsewhere.
    pub(crate) fn plain(data: Bytes) -> Self {
        Self { data, owed: None }
    }

    /// A whole answer, which counts as unsent until h2 has written it. None where its caller leaves
    /// earlier answers and all callers together leave too much.
    pub(crate) fn answer(shared: &Arc<Shared>, peer: &Arc<Peer>, data: Bytes) -> Option<Self> {
        let bytes = data.len();
        let own = peer.unsent.load(Relaxed);
        if own > 0 && shared.unsent.load(Relaxed) + bytes > shared.limits.unsent {
            return None;
        }
        shared.unsent.fetch_add(bytes, Relaxed);
        peer.unsent.fetch_add(bytes, Relaxed);
        let owed = Owed { shared: shared.clone(), peer: peer.clone(), bytes };
        Some(Self { data, owed: Some(owed) })
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        if self.data.is_empty() {
            self.owed = None;
        }
    }
}

/// One of the places for calls in progress, or so many bytes; free again when it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    of: fn(&Shared) -> &AtomicUsize,
    count: usize,
}

impl Place {
    /// None where that would be more than `most`.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        of: fn(&Shared) -> &AtomicUsize,
        most: usize,
    ) -> Option<Self> {
        let mut place = Self { shared: shared.clone(), of, count: 0 };
        place.grow(1, most).then_some(place)
    }

    pub(crate) fn none(shared: &Arc<Shared>, of: fn(&Shared) -> &AtomicUsize) -> Self {
        Self { shared: shared.clone(), of, count: 0 }
    }

    /// False, and nothing taken, where that would be more than `most`.
    pub(crate) fn grow(&mut self, count: usize, most: usize) -> bool {
        let counter = (self.of)(&self.shared);
        if counter.fetch_add(count, Relaxed) + count > most {
            counter.fetch_sub(count, Relaxed);
            return false;
        }
        self.count += count;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.shared).fetch_sub(self.count, Relaxed);
    }
}

/// Where the answer of a call goes, and the places that it holds until then.
pub(crate) struct Reply {
    pub(crate) to: SendResponse<Piece>,
    pub(crate) _places: [Place; 2],
}

/// A whole call, handed over or about to be. Dropped unanswered, its stream is reset.
pub(crate) struct Handed {
    pub(crate) id: u64,
    pub(crate) path: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
    pub(crate) compressed: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) reply: Mutex<Option<Reply>>,
    /// Whether its caller has left, or its deadline has passed.
    pub(crate) gone: AtomicBool,
    /// Whether Python is to be told of that.
    pub(crate) watched: AtomicBool,
    pub(crate) _bytes: Place,
    /// Keeps its connection from being idle.
    pub(crate) _stream: Arc<()>,
}

impl Handed {
    pub(crate) fn take_reply(&self) -> Option<Reply> {
        lock(&self.reply).take()
    }

    pub(crate) fn is_answered(&self) -> bool {
        lock(&self.reply).is_none()
    }
}

/// Calls that wait for Python.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) calls: VecDeque<Arc<Handed>>,
    pub(crate) first: Option<Instant>,
    pub(crate) waiting: usize,
    pub(crate) closed: bool,
}

/// Calls whose callers have left, for which Python watches.
#[derive(Default)]
pub(crate) struct Gone {
    pub(crate) calls: Vec<u64>,
    pub(crate) closed: bool,
}

/// What a call is refused with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) details: String,
    pub(crate) trailing: Vec<(String, Vec<u8>)>,
}

pub(crate) enum Answer {
    Message { reply: Reply, peer: Arc<Peer>, framed: Bytes, encoding: Option<&'static str> },
    Status { reply: Reply, status: Status },
}

/// Calls enough to hand over before the I/O thread sleeps, and the longest that the first waits.
const BURST: usize = 64;
const BURST_WAIT: Duration = Duration::from_micros(300);

/// The state of a front.
pub struct Shared {
    pub(crate) limits: Limits,
    pub(crate) handed_paths: HashSet<String>,
    pub(crate) secret: String,
    pub(crate) upstream: PathBuf,
    pub(crate) full: Mutex<Status>,
    pub(crate) inbox: Mutex<Inbox>,
    pub(crate) arrived: Condvar,
    pub(crate) gone: Mutex<Gone>,
    pub(crate) left: Condvar,
    pub(crate) outbox: Mutex<Vec<Answer>>,
    pub(crate) answered: Notify,
    pub(crate) ending: AtomicBool,
    pub(crate) draining: AtomicBool,
    pub(crate) drained: Notify,
    pub(crate) peers: Mutex<HashMap<u64, Arc<Peer>>>,
    pub(crate) next: AtomicU64,
    pub(crate) calls: AtomicUsize,
    pub(crate) handed: AtomicUsize,
    pub(crate) received: AtomicUsize,
    pub(crate) unsent: AtomicUsize,
    pub(crate) refused: AtomicU64,
}

impl Shared {
    /// The state of a front that hands over calls of `handed_paths` and passes all others to the
    /// server that listens on the socket `upstream`.
    #[must_use]
    pub fn new(
        limits: Limits,
        handed_paths: HashSet<String>,
        upstream: PathBuf,
        secret: String,
    ) -> Self {
        Self {
            limits,
            handed_paths,
            secret,
            upstream,
            full: Mutex::default(),
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            gone: Mutex::default(),
            left: Condvar::new(),
            outbox: Mutex::default(),
            answered: Notify::new(),
            ending: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
            peers: Mutex::default(),
            next: AtomicU64::new(1),
            calls: AtomicUsize::new(0),
            handed: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Takes a call in; false where nobody takes calls any more. Python is told of a burst, not of
    /// each call: when the I/O thread is about to sleep (`tell`), or when enough have come.
    pub(crate) fn push(&self, call: Arc<Handed>) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.closed {
            return false;
        }
        inbox.calls.push_back(call);
        if inbox.calls.len() == 1 {
            inbox.first = Some(Instant::now());
        } else if inbox.waiting > 0
            && (inbox.calls.len() == BURST
                || inbox.first.is_some_and(|first| first.elapsed() > BURST_WAIT))
        {
            inbox.first = None;
            self.arrived.notify_one();
        }
        true
    }

    /// Tells Python of the calls that wait.
    pub(crate) fn tell(&self) {
        let inbox = lock(&self.inbox);
        if !inbox.calls.is_empty() && inbox.waiting > 0 {
            self.arrived.notify_one();
        }
    }

    /// Calls that wait, `most` of them; waits up to `wait` for the first.
    pub(crate) fn take_calls(&self, most: usize, wait: Duration) -> Vec<Arc<Handed>> {
        let mut inbox = lock(&self.inbox);
        if inbox.calls.is_empty() && !inbox.closed {
            inbox.waiting += 1;
            let (after, _) = self
                .arrived
                .wait_timeout_while(inbox, wait, |inbox| inbox.calls.is_empty() && !inbox.closed)
                .unwrap_or_else(PoisonError::into_inner);
            inbox = after;
            inbox.waiting -= 1;
        }
        let count = inbox.calls.len().min(most);
        inbox.calls.drain(..count).collect()
    }

    /// Notes that the caller of a call has left.
    pub(crate) fn leave(&self, call: &Handed) {
        call.gone.store(true, SeqCst);
        if call.watched.load(SeqCst) {
            lock(&self.gone).calls.push(call.id);
            self.left.notify_all();
        }
    }

    /// Calls that are watched and whose callers have left; waits up to `wait` for the first.
    pub(crate) fn take_gone(&self, wait: Duration) -> Vec<u64> {
        let (mut gone, _) = self
            .left
            .wait_timeout_while(lock(&self.gone), wait, |gone| {
                gone.calls.is_empty() && !gone.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut gone.calls)
    }

    /// Ends all waiting of Python's threads.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut inbox = lock(&self.inbox);
            inbox.closed = true;
            std::mem::take(&mut inbox.calls)
        };
        drop(waiting);
        lock(&self.gone).closed = true;
        self.arrived.notify_all();
        self.left.notify_all();
        self.ending.store(true, Relaxed);
        self.answered.notify_one();
    }
}
