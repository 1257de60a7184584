//! Frames that differ a little from valid ones, and bytes that are none: the connection ends, nothing
//! is held, nothing panics. `SEALGATE_FUZZ_SECONDS` says for how long, `SEALGATE_FUZZ_SEED` from where.

use sealgate_front::trial::{run, Outcome, HANDED, MESSAGE};
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// xorshift64*: the same numbers from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % most.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn head(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        for text in [name, value] {
            if name == text {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    framed.extend(body);
    framed
}

/// The frames of a conversation with everything that a caller may send.
fn valid() -> Vec<Vec<u8>> {
    let whole = message(b"hello");
    vec![
        PREFACE.to_vec(),
        frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]),
        frame(4, 1, 0, &[]),
        frame(1, 4, 1, &head(HANDED)),
        frame(0, 1, 1, &whole),
        frame(1, 4, 3, &head(HANDED)),
        frame(0, 0, 3, &whole[..7]),
        frame(0, 1, 3, &whole[7..]),
        frame(1, 0, 5, &head(HANDED)[..20]),
        frame(9, 4, 5, &head(HANDED)[20..]),
        frame(0, 9, 5, &[&[2][..], &whole, &[0, 0]].concat()),
        frame(6, 0, 0, &[7; 8]),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(2, 0, 7, &[0, 0, 0, 0, 9]),
        frame(1, 4, 7, &head("/test.Trial/Behind")),
        frame(0, 1, 7, &whole),
        frame(1, 4, 9, &head(HANDED)),
        frame(3, 0, 9, &[0, 0, 0, 8]),
        frame(1, 4, 11, &head(HANDED)),
        frame(0, 1, 11, &message(&[1; MESSAGE + 1])),
        frame(0x42, 0, 0, b"unknown"),
        frame(7, 0, 0, &[0; 8]),
    ]
}

fn mutate(frames: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(frames.len());
        let other = random.below(frames.len());
        match random.below(9) {
            0 => drop(frames.remove(at)),
            1 => frames.swap(at, other),
            2 => {
                let copy = frames[at].clone();
                frames.insert(other, copy);
            }
            3 => {
                let length = random.below(frames[at].len());
                frames[at].truncate(length);
            }
            4 => {
                let noise = (0..random.below(300)).map(|_| random.byte()).collect();
                frames.insert(at, noise);
            }
            5 => {
                let copy = frames[at].clone();
                let times = random.below(300);
                frames.splice(at..at, std::iter::repeat_n(copy, times));
            }
            // Kind, flags, stream, length; or any byte.
            6 => flip(&mut frames[at], 9, random),
            _ => flip(&mut frames[at], usize::MAX, random),
        }
        if frames.is_empty() {
            frames.push(PREFACE.to_vec());
        }
    }
}

fn flip(frame: &mut [u8], within: usize, random: &mut Random) {
    let most = frame.len().min(within);
    if most > 0 {
        frame[random.below(most)] = random.byte();
    }
}

fn told(frames: &[Vec<u8>], pieces: usize) -> Result<Outcome, String> {
    let bytes = frames.concat();
    let size = bytes.len().div_ceil(pieces.max(1)).max(1);
    run(&bytes.chunks(size).collect::<Vec<_>>())
}

#[test]
fn a_valid_conversation_is_answered() {
    let mut frames = valid();
    frames.pop();
    for pieces in [1, 2, 7, 100] {
        let outcome = told(&frames, pieces).unwrap();
        assert_eq!(outcome.messages, vec![b"hello".to_vec(); 3], "{pieces}");
        assert!(outcome.answers.windows(5).filter(|part| part == b"hello").count() >= 3);
    }
}

#[test]
fn mutated_conversations_end_and_leave_nothing() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let seconds = env::var("SEALGATE_FUZZ_SECONDS").map_or(2, |text| text.parse().unwrap());
    let seed = env::var("SEALGATE_FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, SeqCst);
        shown(info);
    }));
    let (mut count, mut handed) = (0_u64, 0);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let mut random = Random((seed + count) | (1 << 40));
        let mut frames = valid();
        mutate(&mut frames, &mut random);
        let outcome = told(&frames, 1 + random.below(9));
        let outcome = outcome.unwrap_or_else(|error| panic!("seed {}: {error}", seed + count));
        assert_eq!(PANICS.load(SeqCst), 0, "seed {}", seed + count);
        assert!(outcome.messages.iter().all(|message| message.len() <= MESSAGE));
        handed += outcome.messages.len();
        count += 1;
    }
    println!("{count} conversations from seed {seed}, {handed} calls handed over");
    assert!(handed > 0);
}
