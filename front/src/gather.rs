//! Gathers the one message of a call that is to be handed over.
//!
//! A call is handed over if its message comes whole, alone and soon, and is no larger than it may
//! be. All else goes on to the server behind, with what has come so far: how that is refused, and
//! after which checks, is decided in one place.

use crate::limits::Limits;
use crate::places::{Piece, Place};
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::RecvStream;
use http::request::Parts;
use std::task::{Context, Poll};
use std::time::Instant;

const PREFIX: usize = 5;

/// A call whose message has not come whole.
pub(crate) struct Gather {
    pub(crate) call: Open,
    pub(crate) since: Instant,
    /// One of the places of calls that are handed over.
    pub(crate) handed: Place,
}

/// A call so far.
pub(crate) struct Open {
    pub(crate) head: Parts,
    pub(crate) body: RecvStream,
    pub(crate) to: SendResponse<Piece>,
    /// What has come of the body.
    pub(crate) came: Came,
    pub(crate) place: Place,
    pub(crate) bytes: Place,
    pub(crate) stream: std::sync::Arc<()>,
}

/// Bytes that came in pieces; the first is kept as it is, for most messages have no other.
#[derive(Default)]
pub(crate) struct Came {
    first: Bytes,
    rest: BytesMut,
}

impl Came {
    fn add(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.rest.extend_from_slice(&first);
        }
        self.rest.extend_from_slice(&piece);
    }

    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn prefix(&self) -> Option<[u8; PREFIX]> {
        let all = if self.rest.is_empty() { &self.first[..] } else { &self.rest[..] };
        all.get(..PREFIX)?.try_into().ok()
    }

    pub(crate) fn take(&mut self) -> Bytes {
        if self.rest.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.rest.split().freeze()
        }
    }
}

/// What became of a call.
pub(crate) enum Step {
    /// More is to come.
    More,
    /// The caller has gone.
    Gone,
    /// The server behind is to handle it.
    Forward,
    /// A whole message, and whether its caller compressed it.
    Whole(Bytes, bool),
}

impl Gather {
    pub(crate) fn step(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Step {
        let call = &mut self.call;
        loop {
            match call.body.poll_data(cx) {
                Poll::Pending => return Step::More,
                Poll::Ready(Some(Err(_))) => return Step::Gone,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(piece))) => {
                    let fits = call.bytes.grow(piece.len(), limits.received);
                    // What goes to the server behind is let through at the pace of both.
                    let _ = call.body.flow_control().release_capacity(piece.len());
                    call.came.add(piece);
                    if !fits || !may_be_whole(&call.came, limits.message) {
                        return Step::Forward;
                    }
                }
            }
        }
        let Some([flag, length @ ..]) = call.came.prefix() else {
            return Step::Forward;
        };
        if call.came.len() - PREFIX != u32::from_be_bytes(length) as usize || flag > 1 {
            return Step::Forward;
        }
        Step::Whole(call.came.take().slice(PREFIX..), flag == 1)
    }
}

fn may_be_whole(came: &Came, most: usize) -> bool {
    match came.prefix() {
        None => true,
        Some([flag, length @ ..]) => {
            let length = u32::from_be_bytes(length) as usize;
            flag <= 1 && length <= most && came.len() <= length + PREFIX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(pieces: &[&'static [u8]]) -> Came {
        let mut came = Came::default();
        for piece in pieces {
            came.add(Bytes::from_static(piece));
        }
        came
    }

    #[test]
    fn pieces_are_joined() {
        let mut joined = came(&[b"\0\0", b"\0\0\x02a", b"b"]);
        assert_eq!(joined.prefix(), Some([0, 0, 0, 0, 2]));
        assert_eq!(joined.take(), &b"\0\0\0\0\x02ab"[..]);
        assert_eq!(came(&[b"\0\0\0\0"]).prefix(), None);
    }

    #[test]
    fn what_cannot_become_one_message_is_passed_on() {
        assert!(may_be_whole(&came(&[b"\0\0"]), 3));
        assert!(may_be_whole(&came(&[b"\x01\0\0\0\x03abc"]), 3));
        assert!(!may_be_whole(&came(&[b"\0\0\0\0\x04"]), 3), "too large");
        assert!(!may_be_whole(&came(&[b"\0\0\0\0\x01ab"]), 3), "two messages");
        assert!(!may_be_whole(&came(&[b"\x02\0\0\0\x01a"]), 3), "an unknown flag");
    }
}
