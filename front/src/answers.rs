//! Answers and refusals as gRPC writes them over HTTP/2.

use crate::peer::Peer;
use crate::places::Piece;
use crate::shared::{Answer, Reply, Shared, Status};
use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const UNAVAILABLE: u16 = 14;
pub(crate) const DEADLINE_EXCEEDED: u16 = 4;
pub(crate) const INTERNAL: u16 = 13;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity, deflate, gzip");
const OK: HeaderValue = HeaderValue::from_static("0");

fn head() -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("content-type", GRPC);
    headers.insert("grpc-accept-encoding", ENCODINGS);
    response
}

/// A message in gRPC's framing: a flag, four bytes of length, the message.
pub(crate) fn framed(message: &[u8], compressed: bool) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(u8::from(compressed));
    framed.put_u32(length);
    framed.put_slice(message);
    Some(framed.freeze())
}

/// Sends what Python has answered. What a caller who has left would get is dropped.
pub(crate) fn send(shared: &Arc<Shared>, answer: Answer) {
    match answer {
        Answer::Message { reply, peer, framed, encoding } => {
            let _ = send_message(shared, reply, &peer, framed, encoding);
        }
        Answer::Status { mut reply, status } => send_status(&mut reply.to, &status),
    }
}

fn send_message(
    shared: &Arc<Shared>,
    mut reply: Reply,
    peer: &Arc<Peer>,
    framed: Bytes,
    encoding: Option<&'static str>,
) -> Result<(), h2::Error> {
    let Some(piece) = Piece::answer(shared, peer, framed) else {
        reply.to.send_reset(Reason::ENHANCE_YOUR_CALM);
        return Ok(());
    };
    let mut response = head();
    if let Some(encoding) = encoding {
        response.headers_mut().insert("grpc-encoding", HeaderValue::from_static(encoding));
    }
    let mut stream = reply.to.send_response(response, false)?;
    stream.send_data(piece, false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", OK);
    stream.send_trailers(trailers)
}

/// Ends a call with a status.
pub(crate) fn send_status(to: &mut SendResponse<Piece>, status: &Status) {
    let mut response = head();
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(status.code));
    if let Ok(details) = HeaderValue::from_str(&escaped(&status.details)) {
        headers.insert("grpc-message", details);
    }
    for (name, value) in &status.trailing {
        if let (Ok(name), Ok(value)) =
            (name.parse::<HeaderName>(), HeaderValue::from_maybe_shared(Bytes::from(value.clone())))
        {
            headers.append(name, value);
        }
    }
    let _ = to.send_response(response, true);
}

/// Ends a call with one of our own texts.
pub(crate) fn send_plain_status(to: &mut SendResponse<Piece>, code: u16, details: &str) {
    send_status(to, &Status { code, details: details.to_owned(), trailing: Vec::new() });
}

/// Ends what is no gRPC call.
pub(crate) fn send_http_status(to: &mut SendResponse<Piece>, code: StatusCode) {
    let mut response = Response::new(());
    *response.status_mut() = code;
    let _ = to.send_response(response, true);
}

/// `grpc-message` is percent-encoded.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// What `grpc-timeout` grants: at most eight digits and a unit. None for anything else.
pub(crate) fn granted(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
        granted(&headers)
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout("8n"), Some(Duration::from_nanos(8)));
        for other in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "100000000S", "1\u{b5}"] {
            assert_eq!(timeout(other), None, "{other}");
        }
    }

    #[test]
    fn details_are_percent_encoded() {
        assert_eq!(escaped("100 % sure\n\u{fc}"), "100 %25 sure%0A%C3%BC");
    }

    #[test]
    fn a_message_is_framed_with_its_length() {
        assert_eq!(framed(b"ab", false).unwrap(), &b"\0\0\0\0\x02ab"[..]);
        assert_eq!(framed(b"", true).unwrap(), &b"\x01\0\0\0\0"[..]);
    }
}
