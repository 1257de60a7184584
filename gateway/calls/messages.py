"""Requests' bytes: unpacked within bounds, and parsed once their caller is known."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from gateway.calls.call import Call
from sealgate.reasons import Reason, SealgateError

# What zlib calls the two forms: with gzip's header, and with its own, which HTTP calls deflate.
_FORMS = {"gzip": 31, "deflate": 15}
# What gzip's form begins with (RFC 1952), and zlib's at each of its levels (RFC 1950).
_GZIP = b"\x1f\x8b"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_PIECE = 256 * 1024

Body: TypeAlias = bytes | bytearray
# Generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
T = TypeVar("T")


def encoding_of(message: bytes) -> str | None:
    """How the caller's gRPC compressed a message; None where it did not.

    gRPC tells no handler, but the first bytes do: as protobuf, gzip's would be of a wire type that
    does not exist, and zlib's a number in field 15, which no request has.
    """
    if message.startswith(_GZIP):
        return "gzip"
    return "deflate" if message.startswith(_ZLIB) else None


def unpacked(body: Body, encoding: str | None, largest: int) -> Body:
    """The body as it was before it was compressed, `largest` bytes at most.

    Raises: MESSAGE_TOO_LARGE, as soon as it has grown beyond; MESSAGE_MALFORMED for another
    encoding, or what is cut short or goes on behind its end.
    """
    if encoding is None or encoding.lower() == "identity":
        return body
    form = _FORMS.get(encoding.lower())
    if form is None:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "content-encoding")
    try:
        if _grows_beyond(largest, body, form):
            raise SealgateError(
                Reason.MESSAGE_TOO_LARGE, f"{encoding} of {len(body)} bytes unfolds"
            )
        unpacker = zlib.decompressobj(form)
        plain = unpacker.decompress(body, largest + 1)
    except zlib.error as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, f"{encoding}: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise SealgateError(Reason.MESSAGE_MALFORMED, f"{encoding} is cut short or goes on")
    return plain


def _grows_beyond(largest: int, body: Body, form: int) -> bool:
    """Whether it unpacks to more, found out piece by piece, none of which is kept: where many come
    at once, what is refused would else fill memory as what is answered does. Raises: zlib.error.
    """
    unpacker, size, rest = zlib.decompressobj(form), 0, body
    while size <= largest:
        piece = unpacker.decompress(rest, _PIECE)
        rest = unpacker.unconsumed_tail
        if not piece:
            return False
        size += len(piece)
    return True


ENCODING_METADATA = "sealgate-answer-encoding"

_ENCODINGS = {
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
    "identity": grpc.Compression.NoCompression,
}


def choose_encoding(call: Call) -> None:
    """Sets how the call's answer travels. Raises: PARAMETER_MALFORMED."""
    wished = [value for key, value in call.invocation_metadata() if key == ENCODING_METADATA]
    if not wished:
        return
    if len(wished) > 1 or wished[0] not in _ENCODINGS:
        raise SealgateError(Reason.PARAMETER_MALFORMED, ENCODING_METADATA)
    call.set_compression(_ENCODINGS[wished[0]])


def parsed(messages: Iterator[bytes], handler: Handler, largest: int) -> Iterator[Any]:
    """The handler's messages, of `largest` bytes at most each, also where they were compressed.

    Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED; DEADLINE_TOO_SHORT where the caller has gone.
    """
    parse: Any = handler.request_deserializer
    try:
        for message in messages:
            yield parse_message(message, parse, largest)
    except grpc.RpcError as error:
        raise SealgateError(
            Reason.DEADLINE_TOO_SHORT, "the call ended before its request"
        ) from error


def parse_message(message: bytes, parse: Callable[[Any], T], largest: int) -> T:
    """A message of `largest` bytes at most, before and after it is decompressed.

    Raises: MESSAGE_TOO_LARGE, MESSAGE_MALFORMED.
    """
    if len(message) > largest:
        raise SealgateError(Reason.MESSAGE_TOO_LARGE, f"{len(message)} bytes")
    try:
        return parse(unpacked(message, encoding_of(message), largest))
    except DecodeError as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not a message of the method's") from error


def only(parsed: Iterator[Any]) -> Any:
    """The one message of a call that is no stream. Raises: MESSAGE_MALFORMED."""
    try:
        return next(parsed)
    except StopIteration:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "no message was received") from None
