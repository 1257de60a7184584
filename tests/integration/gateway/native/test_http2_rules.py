"""What RFC 9113 has a server do with frames that break its rules, section by section.

A rule of the connection ends it with GOAWAY and the error's code, or PROTOCOL_ERROR for any. One of
a stream resets that, or ends the connection as well (5.4.1). No other connection is concerned.
"""

import struct
from collections.abc import Callable, Iterator

import pytest

from tests.support.harness.clients.http2 import Http2, frame
from tests.support.harness.native_front import INFER, FrontHarness, echo, front_with

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED = 4, 8
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 1, 3, 5, 6, 9, 11
PATH = (":path", INFER)
HEAD = ((":method", "POST"), (":scheme", "http"), PATH, (":authority", "localhost"))
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


@pytest.fixture(scope="module")
def front() -> Iterator[FrontHarness]:
    with front_with(echo) as front:
        yield front


def block(*fields: tuple[str, str]) -> bytes:
    """Literal fields, not indexed (RFC 7541, 6.2.2)."""
    return b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields
    )


def headers(*fields: tuple[str, str], stream: int = 1, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block(*fields))


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", name, value))


OPEN = headers(*HEAD, *GRPC)
WHOLE = OPEN + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")

# Section and rule: the frames, and the codes with which the connection may end.
OF_CONNECTIONS: dict[str, tuple[bytes, set[int]]] = {
    "4.2 a frame beyond the largest": (OPEN + frame(DATA, 0, 1, bytes(70_000)), {SIZE}),
    "4.3 an index that is not there": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff"), {COMPRESSION}),
    "4.3 a block that is cut short": (frame(HEADERS, END_HEADERS, 1, b"\0\x0a"), {COMPRESSION}),
    "5.1 DATA on an idle stream": (frame(DATA, 0, 1, b"x"), {PROTOCOL, CLOSED}),
    "5.1 RST_STREAM on an idle stream": (frame(RESET, 0, 1, bytes(4)), {PROTOCOL}),
    "5.1 WINDOW_UPDATE on an idle stream": (frame(WINDOW, 0, 1, b"\0\0\0\1"), {PROTOCOL}),
    "5.1.1 an even stream": (headers(*HEAD, *GRPC, stream=2), {PROTOCOL}),
    "5.1.1 a stream below the last": (
        headers(*HEAD, *GRPC, stream=5) + headers(*HEAD, *GRPC, stream=3),
        {PROTOCOL, CLOSED},
    ),
    "6.1 DATA on the connection": (frame(DATA, 0, 0, b"x"), {PROTOCOL}),
    "6.1 more padding than payload": (OPEN + frame(DATA, PADDED, 1, b"\x09ab"), {PROTOCOL}),
    "6.2 HEADERS on the connection": (headers(*HEAD, *GRPC, stream=0), {PROTOCOL}),
    "6.3 PRIORITY on the connection": (frame(PRIORITY, 0, 0, bytes(5)), {PROTOCOL}),
    "6.4 RST_STREAM on the connection": (frame(RESET, 0, 0, bytes(4)), {PROTOCOL}),
    "6.4 RST_STREAM of another length": (OPEN + frame(RESET, 0, 1, bytes(3)), {SIZE}),
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 1), {PROTOCOL}),
    "6.5 an acknowledgement with settings": (frame(SETTINGS, ACK, 0, bytes(6)), {SIZE}),
    "6.5 SETTINGS of another length": (frame(SETTINGS, 0, 0, bytes(5)), {SIZE}),
    "6.5.2 ENABLE_PUSH that is no truth": (setting(2, 2), {PROTOCOL}),
    "6.5.2 a window beyond the largest": (setting(4, 1 << 31), {FLOW, PROTOCOL}),
    "6.5.2 a frame size below the least": (setting(5, 100), {PROTOCOL}),
    "6.6 PUSH_PROMISE of a client": (
        OPEN + frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(*HEAD)),
        {PROTOCOL},
    ),
    "6.7 PING on a stream": (frame(PING, 0, 1, bytes(8)), {PROTOCOL}),
    "6.7 PING of another length": (frame(PING, 0, 0, bytes(7)), {SIZE}),
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), {0}),
    "6.9 a window that grows by nothing": (frame(WINDOW, 0, 0, bytes(4)), {PROTOCOL}),
    "6.9 WINDOW_UPDATE of another length": (frame(WINDOW, 0, 0, bytes(3)), {SIZE}),
    "6.9.1 a window that overflows": (frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), {FLOW}),
    "6.10 CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1), {PROTOCOL}),
    "6.10 another frame within a block": (
        headers(*HEAD, *GRPC, flags=0) + frame(PING, 0, 0, bytes(8)),
        {PROTOCOL},
    ),
    "6.10 CONTINUATION of another stream": (
        headers(*HEAD, *GRPC, flags=0) + frame(CONTINUATION, END_HEADERS, 3),
        {PROTOCOL},
    ),
    "10.5 a flood of PING": (frame(PING, 0, 0, bytes(8)) * 600, {CALM}),
}
OF_STREAMS: dict[str, bytes] = {
    "6.9 a window that grows by nothing": OPEN + frame(WINDOW, 0, 1, bytes(4)),
    "6.9.1 a window that overflows": OPEN + frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff"),
    "8.1.1 more than was said": headers(*HEAD, *GRPC, ("content-length", "1"))
    + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"),
    "8.2.1 a name in capitals": headers(*HEAD, *GRPC, ("Name", "x")),
    "8.2.2 a field of a connection": headers(*HEAD, *GRPC, ("connection", "close")),
    "8.2.2 TE of anything else": headers(*HEAD, GRPC[0], ("te", "gzip")),
    "8.3 an unknown pseudo-field": headers(*HEAD, (":other", "x"), *GRPC),
    "8.3 a pseudo-field behind a field": headers(*HEAD[:2], *GRPC, *HEAD[2:]),
    "8.3 one of an answer": headers(*HEAD, (":status", "200"), *GRPC),
    "8.3.1 no method": headers(*HEAD[1:], *GRPC),
    "8.3.1 no scheme": headers(HEAD[0], *HEAD[2:], *GRPC),
    "8.3.1 no path": headers(*HEAD[:2], HEAD[3], *GRPC),
    "8.3.1 two paths": headers(*HEAD, PATH, *GRPC),
}


def ends(connection: Http2) -> Iterator[tuple[str, int]]:
    """How the connection or a stream ends, and by which code, as it is told."""
    while True:
        try:
            kind, flags, _, payload = connection.next_frame()
        except OSError:
            yield "closed", 0
            return
        if kind == GOAWAY:
            yield "connection", int.from_bytes(payload[4:8])
        elif kind == RESET:
            yield "stream", int.from_bytes(payload)
        elif kind in (DATA, HEADERS) and flags & END_STREAM:
            yield "answered", 0


def is_fine(front: FrontHarness) -> bool:
    """Whether others are answered."""
    with front.raw() as other:
        other.socket.sendall(other.call(INFER, b"others"))
        return b"others" in other.body()


@pytest.mark.parametrize("rule", OF_CONNECTIONS)
def test_a_rule_of_the_connection(front: FrontHarness, rule: str) -> None:
    frames, codes = OF_CONNECTIONS[rule]
    with front.raw() as connection:
        connection.socket.sendall(frames)
        found = list(ends(connection))
    assert found[-1][0] == "closed"
    told = {code for what, code in found if what == "connection"}
    assert told, found
    assert told <= codes | {PROTOCOL}
    assert is_fine(front)


@pytest.mark.parametrize("rule", OF_STREAMS)
def test_a_rule_of_a_stream(front: FrontHarness, rule: str) -> None:
    with front.raw() as connection:
        connection.socket.sendall(OF_STREAMS[rule])
        what, code = next(ends(connection))
        assert is_fine(front)
        if what == "connection":
            assert code == PROTOCOL
            return
        # Malformed requests may also be answered with an error of HTTP (8.1.1).
        assert what in ("stream", "answered")
        connection.socket.sendall(frame(PING, 0, 0, b"go on   "))
        await_pong(connection, b"go on   ")


def await_pong(connection: Http2, data: bytes) -> None:
    while True:
        kind, flags, _, payload = connection.next_frame()
        if (kind, flags, payload) == (PING, ACK, data):
            return


ALLOWED: dict[str, Callable[[], bytes]] = {
    "4.1 an unknown frame": lambda: frame(0x42, 0, 0, b"x") + WHOLE,
    "4.1 unknown flags": lambda: frame(PING, 0xFE, 0, bytes(8)) + WHOLE,
    "5.3 PRIORITY": lambda: frame(PRIORITY, 0, 1, b"\0\0\0\0\x0f") + WHOLE,
    "6.1 padding": lambda: OPEN + frame(DATA, PADDED | END_STREAM, 1, b"\x02\0\0\0\0\0ab"),
    "6.5 unknown settings": lambda: setting(0x4242, 1) + WHOLE,
    "6.10 a block in pieces": lambda: (
        frame(HEADERS, 0, 1, block(*HEAD))
        + frame(CONTINUATION, END_HEADERS, 1, block(*GRPC))
        + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")
    ),
    "8.1 trailers": lambda: (
        OPEN
        + frame(DATA, 0, 1, b"\0\0\0\0\0")
        + headers(("a", "trailer"), flags=END_HEADERS | END_STREAM)
    ),
}


@pytest.mark.parametrize("rule", ALLOWED)
def test_what_is_allowed_is_answered(front: FrontHarness, rule: str) -> None:
    with front.raw() as connection:
        connection.socket.sendall(ALLOWED[rule]())
        assert connection.body() == b"\0\0\0\0\0"
