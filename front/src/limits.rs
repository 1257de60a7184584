//! The bounds that hold for every listener, connection and call.

use std::time::Duration;

/// Bounds of a front. Python sets them once, from `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest message that is handed over; a larger one goes to the server behind.
    pub message: usize,
    /// Bytes of a request's header list.
    pub headers: u32,
    /// Calls at once on one connection.
    pub streams: u32,
    /// Connections of one listener.
    pub connections: usize,
    /// Calls at once in all.
    pub calls: usize,
    /// Calls at once that are handed over, or wait for that.
    pub handed: usize,
    /// Bytes of messages that come in or are handed over.
    pub received: usize,
    /// Bytes of answers that callers have not taken.
    pub unsent: usize,
    /// How long a TLS handshake, and the HTTP/2 preface after it, may take.
    pub handshake: Duration,
    /// A message that is not whole after so long goes to the server behind.
    pub whole: Duration,
    /// A connection without calls is told to go after so long.
    pub idle: Duration,
    /// A connection from which nothing came for so long is asked whether it is there.
    pub keepalive: Duration,
    /// A connection is told to go after so long; its calls go on.
    pub age: Duration,
    /// A connection that takes nothing of what waits for it is ended after so long.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 4 << 20,
            headers: 16 << 10,
            streams: 128,
            connections: 256,
            calls: 512,
            handed: 128,
            received: 256 << 20,
            unsent: 64 << 20,
            handshake: Duration::from_secs(5),
            whole: Duration::from_millis(500),
            idle: Duration::from_secs(300),
            keepalive: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            write: Duration::from_secs(30),
        }
    }
}
