//! What is counted against a bound for as long as it is held: calls, bytes that came, answers that
//! their callers have not taken.

use crate::peer::Peer;
use crate::shared::Shared;
use bytes::{Buf, Bytes};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

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
