//! The other end of a connection.

use crate::shared::lock;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::task::Waker;
use std::time::Instant;
use tokio::sync::Notify;

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
