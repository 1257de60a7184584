//! One connection of a caller's: its handshakes and its end; `served` is what lies between.

use crate::peer::Peer;
use crate::places::Piece;
use crate::served::Served;
use crate::shared::{lock, Shared};
use crate::wire::Wire;
use rustls::ServerConfig;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const FRAME: u32 = 64 << 10;
/// h2's own bounds, of resets beside those of `meter`.
const RESETS: usize = 1_024;

/// Serves a socket until its end; ends it at once where `Peer::ended` says so.
pub async fn connection<IO>(
    shared: Arc<Shared>,
    socket: IO,
    tls: Option<Arc<ServerConfig>>,
    peer: Arc<Peer>,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    lock(&shared.peers).insert(peer.id, peer.clone());
    let _listed = Listed { shared: &shared, id: peer.id };
    tokio::select! {
        () = peer.ended.notified() => (),
        () = secured(&shared, socket, tls, &peer) => (),
    }
}

/// Takes a connection off the list at its end.
struct Listed<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        lock(&self.shared.peers).remove(&self.id);
    }
}

async fn secured<IO>(
    shared: &Arc<Shared>,
    socket: IO,
    tls: Option<Arc<ServerConfig>>,
    peer: &Arc<Peer>,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Some(config) = tls else { return http2(shared, socket, peer).await };
    let accepted = timeout(shared.limits.handshake, TlsAcceptor::from(config).accept(socket)).await;
    let Ok(Ok(stream)) = accepted else { return };
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        return;
    }
    if let Some(own) = session.peer_certificates().and_then(<[_]>::first) {
        let _ = peer.certificate.set(own.to_vec());
    }
    http2(shared, stream, peer).await;
}

async fn http2<IO>(shared: &Arc<Shared>, io: IO, peer: &Arc<Peer>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &shared.limits;
    let wire = Wire::new(io, peer.clone());
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(limits.headers)
        .max_concurrent_streams(limits.streams)
        .max_send_buffer_size(FRAME as usize)
        .max_concurrent_reset_streams(64)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(RESETS))
        .handshake::<_, Piece>(wire.clone());
    let mut handshake = pin!(handshake);
    let settled = poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        let _ = wire.poll_drain(cx);
        polled
    });
    let Ok(Ok(http2)) = timeout(limits.handshake, settled).await else { return };
    let mut served = Served::new(shared, http2, wire, peer);
    poll_fn(|cx| served.poll(cx)).await;
}
