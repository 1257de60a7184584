//! Counts the frames of a connection, both ways, and says when there are too many of a kind.
//!
//! Each rule holds whatever version of h2 is linked. Frames that cost the sender little and us more
//! have a budget that time refills: a flood of them ends the connection (RFC 9113, 10.5).
//!
//! 1. `RST_STREAM` from the caller (rapid reset, CVE-2023-44487).
//! 2. `RST_STREAM` that we send because of the caller (`MadeYouReset`, CVE-2025-8671).
//! 3. `CONTINUATION` frames of one header block (CVE-2024-27316).
//! 4. `PING`, `SETTINGS`, `PRIORITY` and unknown frames. Each `HEADERS` and `DATA` that we send allows
//!    one more, as in gRPC's own servers: clients measure the way by a `PING` for each answer.
//! 5. `WINDOW_UPDATE`, and `DATA` that carries next to nothing.

use std::time::Instant;

const HEAD: usize = 9;
const PREFACE: usize = 24;
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
/// `DATA` shorter than this is counted, unless it ends its stream.
const SMALL_DATA: usize = 64;
const MOST_CONTINUATIONS: u32 = 32;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// Bytes of its payload.
    pub length: usize,
}

/// Finds the frames in a stream of bytes that comes in pieces.
#[derive(Debug, Default)]
pub struct Splitter {
    head: [u8; HEAD],
    have: usize,
    skip: usize,
}

impl Splitter {
    /// For what a client sends, which begins with the preface.
    #[must_use]
    pub fn of_client() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// Whether the next byte begins a frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// Calls `found` for each frame whose header ends in `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
            self.have += wanted;
            bytes = &bytes[wanted..];
            if self.have == HEAD {
                let [a, b, c, kind, flags, s0, s1, s2, s3] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
                (self.have, self.skip) = (0, length);
                found(Frame { kind, flags, stream, length });
            }
        }
    }
}

/// A budget that time refills.
#[derive(Debug)]
struct Budget {
    left: f64,
    since: Instant,
}

/// How many at once, and how many a second.
#[derive(Clone, Copy, Debug)]
struct Rate(f64, f64);

impl Budget {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { left: rate.0, since: now }
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let refill = now.saturating_duration_since(self.since).as_secs_f64() * rate.1;
        self.left = (self.left + refill).min(rate.0) - 1.0;
        self.since = now;
        self.left >= 0.0
    }

    fn give(&mut self, rate: Rate) {
        self.left = (self.left + 1.0).min(rate.0);
    }
}

const RESETS: Rate = Rate(200.0, 50.0);
/// Of callers who have authenticated on the connection: many calls may be given up under load.
const RESETS_OF_KNOWN: Rate = Rate(2_000.0, 1_000.0);
const OWN_RESETS: Rate = Rate(500.0, 100.0);
const CONTROL: Rate = Rate(500.0, 100.0);
const SMALL: Rate = Rate(20_000.0, 20_000.0);

/// What a connection may still send.
#[derive(Debug)]
pub struct Meter {
    incoming: Splitter,
    outgoing: Splitter,
    continuations: u32,
    opened: u32,
    resets: Budget,
    own_resets: Budget,
    control: Budget,
    small: Budget,
}

impl Meter {
    /// A connection that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            incoming: Splitter::of_client(),
            outgoing: Splitter::default(),
            continuations: 0,
            opened: 0,
            resets: Budget::new(RESETS_OF_KNOWN, now),
            own_resets: Budget::new(OWN_RESETS, now),
            control: Budget::new(CONTROL, now),
            small: Budget::new(SMALL, now),
        }
    }

    /// Counts what came in; adds the streams that were reset to `reset`. False where it is too much.
    #[must_use]
    pub fn came(&mut self, bytes: &[u8], known: bool, now: Instant, reset: &mut Vec<u32>) -> bool {
        let Self { incoming, continuations, resets, control, small, .. } = self;
        let (mut fine, mut last) = (true, self.opened);
        incoming.feed(bytes, |frame| {
            fine &= match frame.kind {
                0 if frame.flags & END_STREAM == 0 && frame.length < SMALL_DATA => {
                    small.take(SMALL, now)
                }
                0 => true,
                1 => {
                    *continuations = 0;
                    last = last.max(frame.stream);
                    true
                }
                3 => {
                    reset.push(frame.stream);
                    resets.take(if known { RESETS_OF_KNOWN } else { RESETS }, now)
                }
                8 => small.take(SMALL, now),
                9 => {
                    *continuations += 1;
                    *continuations <= MOST_CONTINUATIONS
                }
                4 | 6 if frame.flags & ACK != 0 => true,
                _ => control.take(CONTROL, now),
            };
        });
        if fine {
            self.opened = last;
        }
        fine
    }

    /// Counts what goes out. False where it is too much.
    #[must_use]
    pub fn goes(&mut self, bytes: &[u8], now: Instant) -> bool {
        let Self { outgoing, own_resets, control, .. } = self;
        let mut fine = true;
        outgoing.feed(bytes, |frame| match frame.kind {
            0 | 1 => control.give(CONTROL),
            3 => fine &= own_resets.take(OWN_RESETS, now),
            _ => {}
        });
        fine
    }

    /// The last stream that was passed on: it may have been worked on, and no later one has.
    #[must_use]
    pub fn last_opened(&self) -> u32 {
        self.opened
    }

    /// Whether a frame may be added to what goes out.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.outgoing.is_between_frames()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn begun() -> (Meter, Instant) {
        let now = Instant::now();
        let mut meter = Meter::new(now);
        assert!(meter.came(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, now, &mut Vec::new()));
        (meter, now)
    }

    fn until_refused(kind: u8, flags: u8, known: bool, payload: &[u8]) -> usize {
        let (mut meter, now) = begun();
        let bytes = frame(kind, flags, 1, payload);
        (0..50_000).take_while(|_| meter.came(&bytes, known, now, &mut Vec::new())).count()
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let bytes = [frame(0, 1, 5, &[7; 300]), frame(6, 0, 0, &[0; 8])].concat();
        let wanted = [
            Frame { kind: 0, flags: 1, stream: 5, length: 300 },
            Frame { kind: 6, flags: 0, stream: 0, length: 8 },
        ];
        for size in 1..bytes.len() {
            let (mut splitter, mut found) = (Splitter::default(), Vec::new());
            for piece in bytes.chunks(size) {
                splitter.feed(piece, |frame| found.push(frame));
            }
            assert_eq!(found, wanted);
            assert!(splitter.is_between_frames());
        }
    }

    #[test]
    fn each_cheap_frame_has_a_budget() {
        assert_eq!(until_refused(3, 0, false, &[0; 4]), 200);
        assert_eq!(until_refused(3, 0, true, &[0; 4]), 2_000);
        assert_eq!(until_refused(9, 0, true, &[0; 4]), 32);
        assert_eq!(until_refused(6, 0, true, &[0; 8]), 500);
        assert_eq!(until_refused(4, 0, true, &[]), 500);
        assert_eq!(until_refused(2, 0, true, &[0; 5]), 500);
        assert_eq!(until_refused(0x42, 0, true, &[]), 500);
        assert_eq!(until_refused(8, 0, true, &[0; 4]), 20_000);
        assert_eq!(until_refused(0, 0, true, &[]), 20_000);
    }

    #[test]
    fn what_calls_need_is_not_counted() {
        assert_eq!(until_refused(1, 4, false, &[0; 40]), 50_000);
        assert_eq!(until_refused(0, 1, false, &[]), 50_000);
        assert_eq!(until_refused(0, 0, false, &[0; 1_000]), 50_000);
        assert_eq!(until_refused(6, ACK, false, &[0; 8]), 50_000);
    }

    #[test]
    fn each_answer_allows_a_ping() {
        let (mut meter, now) = begun();
        let ping = frame(6, 0, 0, &[0; 8]);
        for _ in 0..5_000 {
            assert!(meter.goes(&frame(0, 0, 1, &[0; 100]), now));
            assert!(meter.came(&ping, true, now, &mut Vec::new()));
        }
        let more = (0..5_000).take_while(|_| meter.came(&ping, true, now, &mut Vec::new()));
        assert_eq!(more.count(), 499);
    }

    #[test]
    fn the_last_stream_is_one_that_was_passed_on() {
        let (mut meter, now) = begun();
        let call = |stream| frame(1, 4, stream, &[0; 40]);
        assert!(meter.came(&call(5), true, now, &mut Vec::new()));
        let flood = [call(7), frame(6, 0, 0, &[0; 8]).repeat(600)].concat();
        assert!(!meter.came(&flood, true, now, &mut Vec::new()));
        assert_eq!(meter.last_opened(), 5);
    }

    #[test]
    fn own_resets_have_a_budget_that_time_refills() {
        let (mut meter, now) = begun();
        let reset = frame(3, 0, 1, &[0; 4]);
        assert!((0..500).all(|_| meter.goes(&reset, now)));
        assert!(!meter.goes(&reset, now));
        assert!(meter.goes(&reset, now + Duration::from_secs(1)));
    }

    #[test]
    fn streams_that_are_reset_are_told() {
        let (mut meter, now) = begun();
        let mut reset = Vec::new();
        let bytes = [frame(3, 0, 7, &[0; 4]), frame(3, 0, 9, &[0; 4])].concat();
        assert!(meter.came(&bytes, false, now, &mut reset));
        assert_eq!(reset, [7, 9]);
    }
}
