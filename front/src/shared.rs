//! What the I/O thread and Python's threads share: calls that wait, answers, connections.

use crate::limits::Limits;
use crate::peer::Peer;
use crate::places::{Piece, Place};
use crate::stalled::Stalled;
use crate::strangers::Strangers;
use crate::turned_away::{Asked, TurnedAway};
use bytes::Bytes;
use h2::server::SendResponse;
use http::HeaderMap;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Locks; a thread that panicked meanwhile has left nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// What it says of itself.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let certificate = self.peer.certificate.get();
        Asked { certificate, headers: &self.headers, message: &self.message }
    }

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
    pub(crate) turned_away: TurnedAway,
    pub(crate) strangers: Strangers,
    pub(crate) stalled: Stalled,
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
            turned_away: TurnedAway::default(),
            strangers: Strangers::default(),
            stalled: Stalled::default(),
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
