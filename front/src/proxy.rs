//! Passes streams unchanged to the server behind, on a private unix socket.
//!
//! Each connection of a caller's has a connection of its own to that server, so one caller's stalled
//! streams hold up nobody else's. Both ways parts go on as the receiver's window lets them.

use crate::answers::{send_plain_status, UNAVAILABLE};
use crate::gather::Open;
use crate::peer::Peer;
use crate::places::{Piece, Place};
use crate::shared::Shared;
use crate::stalled::until_it_gives_way;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version};
use std::future::poll_fn;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// Metadata whose names begin so comes from us alone.
const OURS: &str = "x-sealgate-front-";
const SECRET: &str = "x-sealgate-front-secret";
const CONNECTION: &str = "x-sealgate-front-connection";
/// Of a stream; a connection has one for each, so that a stalled stream holds up no other.
const WINDOW: u32 = 64 << 10;

/// The connection to the server behind that belongs to one caller's; opened when it is needed.
#[derive(Default)]
pub(crate) struct Upstream(Mutex<Option<SendRequest<Bytes>>>);

impl Upstream {
    /// Lets go of the connection, for its caller has no call; one that waits for it keeps it.
    pub(crate) fn rest(&self) {
        if let Ok(mut kept) = self.0.try_lock() {
            *kept = None;
        }
    }

    async fn ready(&self, shared: &Shared) -> std::io::Result<SendRequest<Bytes>> {
        let mut kept = self.0.lock().await;
        if let Some(sender) = kept.take() {
            // It ends when it is idle for long, or the server restarts.
            if let Ok(sender) = sender.ready().await {
                *kept = Some(sender.clone());
                return Ok(sender);
            }
        }
        let socket = UnixStream::connect(&shared.upstream).await?;
        let (sender, connection) = client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(
                shared.limits.streams.saturating_mul(WINDOW).min(1 << 30),
            )
            .enable_push(false)
            .handshake::<_, Bytes>(socket)
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let sender = sender.ready().await.map_err(std::io::Error::other)?;
        *kept = Some(sender.clone());
        Ok(sender)
    }
}

/// Passes one call on, until either end is done with it.
pub(crate) async fn forward(
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    peer: Arc<Peer>,
    call: Open,
) {
    let Open { head, body, mut to, mut came, place, bytes, stream } = call;
    let _held = (place, stream);
    let sender = tokio::select! {
        sender = upstream.ready(&shared) => sender,
        _ = poll_fn(|cx| to.poll_reset(cx)) => return,
    };
    let sent = sender.map_err(|_| ()).and_then(|mut sender| {
        let request = passed_on(&shared, &peer, head);
        sender.send_request(request, false).map_err(|_| ())
    });
    let Ok((answer, mut up)) = sent else {
        send_plain_status(&mut to, UNAVAILABLE, "the server is not ready");
        return;
    };
    let upload = async {
        let first = came.take();
        let sent = send_up(&mut up, first, bytes, body).await;
        (sent, up)
    };
    // Whichever part does not end by itself is dropped here, which resets its stream.
    let outcome = {
        let mut upload = std::pin::pin!(upload);
        let mut uploaded = None;
        let mut download = std::pin::pin!(send_down(&shared, answer, &mut to));
        loop {
            tokio::select! {
                biased;
                (sent, up) = &mut upload, if uploaded.is_none() => {
                    if matches!(sent, Sent::CallerLeft) {
                        break Err(Reason::CANCEL);
                    }
                    uploaded = Some(up);
                }
                // The answer may end before the request has.
                outcome = &mut download => break outcome,
            }
        }
    };
    if let Err(reason) = outcome {
        to.send_reset(reason);
    }
}

fn passed_on(shared: &Shared, peer: &Peer, head: http::request::Parts) -> Request<()> {
    let path = head.uri.path_and_query().cloned();
    let mut uri = Uri::builder().scheme("http").authority("localhost");
    uri = uri.path_and_query(path.map_or_else(|| "/".to_owned(), |path| path.to_string()));
    let mut headers: HeaderMap = head.headers;
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    if let Ok(secret) = HeaderValue::from_str(&shared.secret) {
        headers.insert(SECRET, secret);
    }
    headers.insert(CONNECTION, HeaderValue::from(peer.id));
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.uri_mut() = uri.build().unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// How the passing on of a request ended.
enum Sent {
    Whole,
    CallerLeft,
    /// The server behind takes no more; its answer says why.
    NotWanted,
}

/// The request: what has come already, what comes, its trailers.
async fn send_up(
    up: &mut SendStream<Bytes>,
    first: Bytes,
    held: Place,
    mut body: RecvStream,
) -> Sent {
    if send_whole(up, first, |part| part).await.is_err() {
        return Sent::NotWanted;
    }
    drop(held);
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return Sent::CallerLeft };
        let size = part.len();
        if send_whole(up, part, |part| part).await.is_err() {
            return Sent::NotWanted;
        }
        let _ = body.flow_control().release_capacity(size);
    }
    let ended = match body.trailers().await {
        Ok(Some(trailers)) => up.send_trailers(trailers),
        Ok(None) => up.send_data(Bytes::new(), true),
        Err(_) => return Sent::CallerLeft,
    };
    ended.map_or(Sent::NotWanted, |()| Sent::Whole)
}

/// The answer: its head, what comes, its trailers. Ends with the caller's reset, if one comes.
async fn send_down(
    shared: &Shared,
    answer: client::ResponseFuture,
    to: &mut SendResponse<Piece>,
) -> Result<(), Reason> {
    let answer = tokio::select! {
        answer = answer => answer.map_err(|error| reason_of(&error))?,
        _ = poll_fn(|cx| to.poll_reset(cx)) => return Err(Reason::CANCEL),
    };
    let (head, mut body) = answer.into_parts();
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    let ends = body.is_end_stream();
    let mut down = to.send_response(response, ends).map_err(|error| reason_of(&error))?;
    if ends {
        return Ok(());
    }
    loop {
        let part = tokio::select! {
            part = body.data() => part,
            _ = poll_fn(|cx| down.poll_reset(cx)) => return Err(Reason::CANCEL),
        };
        let Some(part) = part else { break };
        let part = part.map_err(|error| reason_of(&error))?;
        let size = part.len();
        tokio::select! {
            biased;
            sent = send_whole(&mut down, part, Piece::plain) => {
                sent.map_err(|error| reason_of(&error))?;
            }
            () = until_it_gives_way(shared) => return Err(Reason::ENHANCE_YOUR_CALM),
        }
        let _ = body.flow_control().release_capacity(size);
    }
    let trailers = body.trailers().await.map_err(|error| reason_of(&error))?;
    let sent = match trailers {
        Some(trailers) => down.send_trailers(trailers),
        None => down.send_data(Piece::plain(Bytes::new()), true),
    };
    sent.map_err(|error| reason_of(&error))
}

/// Sends a part as the receiver's window lets it.
async fn send_whole<B: bytes::Buf>(
    stream: &mut SendStream<B>,
    mut part: Bytes,
    wrap: fn(Bytes) -> B,
) -> Result<(), h2::Error> {
    while !part.is_empty() {
        stream.reserve_capacity(part.len());
        let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => room?.min(part.len()),
            None => return Err(Reason::CANCEL.into()),
        };
        if room > 0 {
            stream.send_data(wrap(part.split_to(room)), false)?;
        }
    }
    Ok(())
}

fn reason_of(error: &h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::CANCEL)
}
