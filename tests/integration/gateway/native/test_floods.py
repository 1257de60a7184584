"""Floods of frames: each ends its own connection, and no other."""

from collections.abc import Iterator

import pytest

from gateway.transport.native import FrontContext
from tests.support.harness.clients.http2 import (
    CONTINUATION,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    Http2,
    frame,
    frames,
    goaway,
)
from tests.support.harness.native_front import (
    ECHO,
    INFER,
    PATIENCE,
    echo,
    front_with,
    until,
)

DATA, PRIORITY, UNKNOWN = 0, 2, 0x50


def sent(connection: Http2, pieces: Iterator[bytes], most: int) -> int:
    """How many pieces the server took before it closed."""
    count = 0
    for piece in pieces:
        try:
            connection.socket.sendall(piece)
        except OSError:
            break
        count += 1
        if count >= most:
            break
    return count


def pings() -> Iterator[bytes]:
    while True:
        yield frame(PING, 0, 0, bytes(8)) * 100


def settings() -> Iterator[bytes]:
    while True:
        yield frame(SETTINGS, 0, 0) * 100


def rapid_resets(connection: Http2) -> Iterator[bytes]:
    while True:
        calls = b""
        for _ in range(50):
            stream, head = connection.opened(ECHO)
            calls += head + connection.reset(stream)
        yield calls


def made_resets(connection: Http2) -> Iterator[bytes]:
    """Each call makes the server reset it: a window may not grow by nothing (RFC 9113, 6.9)."""
    while True:
        calls = b""
        for _ in range(50):
            stream, head = connection.opened(ECHO)
            calls += head + frame(WINDOW_UPDATE, 0, stream, bytes(4))
        yield calls


def continuations(connection: Http2) -> Iterator[bytes]:
    stream, head = connection.opened(ECHO)
    # The head without the flag that ends it.
    yield head[:4] + bytes([0]) + head[5:]
    while True:
        yield frame(CONTINUATION, 0, stream) * 10


def priorities(connection: Http2) -> Iterator[bytes]:
    while True:
        yield frame(PRIORITY, 0, 1, bytes([0, 0, 0, 3, 16])) * 100


def unknown_frames() -> Iterator[bytes]:
    while True:
        yield frame(UNKNOWN, 0, 0) * 100


def small_windows(connection: Http2) -> Iterator[bytes]:
    """Each lets one byte more be sent, of which there is none."""
    stream, head = connection.opened(INFER)
    yield head
    while True:
        yield frame(WINDOW_UPDATE, 0, stream, (1).to_bytes(4)) * 100


def empty_data(connection: Http2) -> Iterator[bytes]:
    stream, head = connection.opened(INFER)
    yield head
    while True:
        yield frame(DATA, 0, stream) * 100


FLOODS = {
    "pings": lambda connection: pings(),
    "settings": lambda connection: settings(),
    "rapid resets": rapid_resets,
    "made resets": made_resets,
    "continuations": continuations,
    "priorities": priorities,
    "unknown frames": lambda connection: unknown_frames(),
    "small windows": small_windows,
    "empty data": empty_data,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_connection_and_no_other(name: str) -> None:
    with front_with(echo) as front, front.raw() as connection, front.channel() as other:
        infer = other.unary_unary(INFER)
        assert infer(b"x", timeout=PATIENCE) == b"x"
        count = sent(connection, FLOODS[name](connection), 10_000)
        assert count < 10_000
        assert infer(b"x", timeout=PATIENCE) == b"x"
        until(lambda: front.front.counts()["connections"] == 1)
        until(lambda: front.front.counts()["calls"] == 0)


def test_a_flood_is_told_why() -> None:
    with front_with(echo) as front, front.raw() as connection:
        connection.socket.sendall(frame(PING, 0, 0, bytes(8)) * 600)
        assert goaway(connection) == ENHANCE_YOUR_CALM


def test_a_flood_leaves_its_calls_to_no_second_run() -> None:
    """A client retries a call that the server says it did not process."""
    held: list[FrontContext] = []
    with front_with(held.append) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b"") + connection.call(INFER, b""))
        until(lambda: len(held) == 2)
        connection.socket.sendall(frame(PING, 0, 0, bytes(8)) * 600)
        last = [payload[:4] for kind, _, _, payload in frames(connection) if kind == GOAWAY]
        assert [int.from_bytes(each) for each in last] == [3]


def test_a_busy_client_may_measure_its_way() -> None:
    """Go's client sends a PING for each answer, unless one is out."""
    with front_with(echo) as front, front.raw() as connection:
        for _ in range(60):
            connection.socket.sendall(b"".join(connection.call(INFER, b"x") for _ in range(20)))
            ends = 0
            for kind, flags, _, _ in frames(connection):
                ends += kind == HEADERS and bool(flags & END_STREAM)
                if ends == 20:
                    break
            connection.socket.sendall(frame(PING, 0, 0, bytes(8)) * 20)
        connection.socket.sendall(connection.call(INFER, b"last"))
        assert b"last" in connection.body()
