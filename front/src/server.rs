//! The I/O thread: accepts connections on every listener and sends answers.

use crate::answers;
use crate::connection::connection;
use crate::peer::Peer;
use crate::shared::{lock, Shared};
use rustls::ServerConfig;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

const BACKLOG: u32 = 1_024;
/// After an error of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(20);

/// One address of the front's; its TLS may change while it listens.
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) tls: Mutex<Option<Arc<ServerConfig>>>,
}

/// Addresses that are bound, until the I/O thread takes them over.
pub(crate) struct Sockets {
    runtime: Runtime,
    sockets: Vec<(usize, TcpListener)>,
}

impl Sockets {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self> {
        let telling = shared.clone();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || telling.tell())
            .build()?;
        Ok(Self { runtime, sockets: Vec::new() })
    }

    /// Binds an address for a listener; returns its port. Nobody else may listen there, unless all
    /// who do share it.
    pub(crate) fn bind(
        &mut self,
        listener: usize,
        address: SocketAddr,
        shared: bool,
    ) -> Result<u16> {
        let _guard = self.runtime.enter();
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(shared)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        let port = socket.local_addr()?.port();
        self.sockets.push((listener, socket));
        Ok(port)
    }

    /// Serves what is bound, on a thread of its own, until `Shared::ending`.
    pub(crate) fn serve(
        self,
        shared: Arc<Shared>,
        listeners: Vec<Arc<Listener>>,
    ) -> Result<JoinHandle<()>> {
        let Self { runtime, sockets } = self;
        std::thread::Builder::new().name("front".to_owned()).spawn(move || {
            runtime.block_on(async {
                let rooms: Vec<_> = listeners
                    .iter()
                    .map(|_| Arc::new(Semaphore::new(shared.limits.connections)))
                    .collect();
                for (at, socket) in sockets {
                    let listener = listeners[at].clone();
                    tokio::spawn(accept(shared.clone(), at, listener, rooms[at].clone(), socket));
                }
                while !shared.ending.load(Relaxed) {
                    shared.answered.notified().await;
                    let waiting = std::mem::take(&mut *lock(&shared.outbox));
                    for answer in waiting {
                        answers::send(&shared, answer);
                    }
                }
            });
            runtime.shutdown_background();
        })
    }
}

/// Accepts connections. Those beyond the listener's bound are closed at once.
async fn accept(
    shared: Arc<Shared>,
    at: usize,
    listener: Arc<Listener>,
    room: Arc<Semaphore>,
    socket: TcpListener,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = shared.drained.notified() => return,
        };
        if shared.draining.load(Relaxed) {
            return;
        }
        let Ok((tcp, address)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let _ = tcp.set_nodelay(true);
        let tls = lock(&listener.tls).clone();
        let peer = Arc::new(Peer::new(shared.next_id(), at, address));
        let shared = shared.clone();
        tokio::spawn(async move {
            connection(shared, tcp, tls, peer).await;
            drop(place);
        });
    }
}
