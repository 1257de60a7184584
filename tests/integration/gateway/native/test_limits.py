"""The limits of the native transport: floods, silence, slow peers, ended connections."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gateway.config.sections import Listeners
from gateway.transport.native import FrontContext
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status
from sealgate.settings import ConfigError
from tests.support.harness.clients.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PING,
    RESET,
    WINDOW_UPDATE,
    Http2,
    frame,
    frames,
    goaway,
)
from tests.support.harness.native_front import (
    INFER,
    PATIENCE,
    STREAM,
    FrontHarness,
    answers,
    echo,
    front_with,
    until,
)


def test_pings_are_answered() -> None:
    with front_with(echo) as front, front.raw() as connection:
        connection.socket.sendall(frame(PING, 0, 0, b"12345678"))
        found = next(each for each in frames(connection) if each[0] == PING)
        assert (found[1], found[3]) == (ACK, b"12345678")


def test_headers_are_bounded() -> None:
    with front_with(echo, headers=4096) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b"x", ("large", "x" * 8000)))
        connection.await_end()
        assert not front.bursts
        connection.socket.sendall(connection.call(INFER, b"x", ("small", "x" * 1000)))
        assert b"x" in connection.body()
        assert len(front.bursts) == 1


def test_streams_of_a_connection_are_bounded() -> None:
    held: list[FrontContext] = []
    with front_with(held.append, streams=4) as front, front.raw() as connection:
        # Its settings say so, and whoever opens more is refused those.
        connection.socket.sendall(b"".join(connection.call(INFER, b"") for _ in range(6)))
        refused = {stream for kind, _, stream, _ in take(connection, RESET, 2) if kind == RESET}
        assert refused == {9, 11}
        until(lambda: len(held) == 4)
        for context in held:
            context.answer(b"")


def take(connection: Http2, kind: int, count: int) -> Iterator[tuple[int, int, int, bytes]]:
    """The next so many frames of a kind."""
    for found in frames(connection):
        if found[0] == kind:
            yield found
            count -= 1
            if not count:
                return


def test_answers_that_are_not_taken_end_the_connection() -> None:
    with front_with(echo, write=0.3) as front, front.raw(window=0) as connection:
        connection.socket.sendall(connection.call(INFER, bytes(100)))
        until(lambda: len(front.bursts) == 1)
        assert goaway(connection) is None
        until(lambda: front.front.counts()["unsent"] == 0)
        until(lambda: front.front.counts()["connections"] == 0)


def test_answers_that_are_not_taken_fill_no_memory() -> None:
    with front_with(echo, unsent=1000, write=30.0) as front, front.raw(window=0) as connection:
        connection.socket.sendall(connection.call(INFER, bytes(800)))
        until(lambda: front.front.counts()["unsent"] >= 800)
        connection.socket.sendall(connection.call(INFER, bytes(800)))
        found = next(each for each in frames(connection) if each[0] == RESET)
        assert (found[2], int.from_bytes(found[3])) == (3, ENHANCE_YOUR_CALM)
        assert front.front.counts()["unsent"] < 1000
        # A client that reads its answers is not affected.
        assert answers(front)


def test_a_silent_peer_is_asked_and_then_left() -> None:
    with front_with(echo, keepalive=0.2) as front, front.raw() as connection:
        kinds = [kind for kind, *_ in frames(connection)]
        assert PING in kinds
        until(lambda: front.front.counts()["connections"] == 0)


def test_a_peer_that_answers_is_not_left() -> None:
    with front_with(echo, keepalive=0.2) as front, front.raw() as connection:
        for _ in range(5):
            found = next(each for each in frames(connection) if each[0] == PING)
            connection.socket.sendall(frame(PING, ACK, 0, found[3]))
        connection.socket.sendall(connection.call(INFER, b"still"))
        assert b"still" in connection.body()


@pytest.mark.parametrize("bound", ["idle", "age"])
def test_a_connection_is_told_to_go(bound: str) -> None:
    with front_with(echo, **{bound: 0.2}) as front, front.raw() as connection:
        assert goaway_soon(connection) == 0
        assert answers(front)


def goaway_soon(connection: Http2) -> int:
    """The reason of the first GOAWAY."""
    for kind, _, _, payload in frames(connection):
        if kind == PING:
            connection.socket.sendall(frame(PING, ACK, 0, payload))
        if kind == GOAWAY:
            return int.from_bytes(payload[4:8])
    raise AssertionError("closed without a word")


def test_a_connection_with_a_call_is_not_idle() -> None:
    held: list[FrontContext] = []
    with front_with(held.append, idle=0.2) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b""))
        until(lambda: len(held) == 1)
        time.sleep(0.6)
        held[0].answer(b"late")
        assert b"late" in connection.body()


def calling(front: FrontHarness, connection: Http2, seconds: float, gap: float) -> bool:
    """Calls again and again, each time after its answer; whether we are told to go meanwhile."""
    coming, began = frames(connection), time.monotonic()
    while time.monotonic() - began < seconds:
        connection.socket.sendall(connection.call(INFER, b"again"))
        for kind, flags, _, _ in coming:
            if kind == GOAWAY:
                return True
            if kind == HEADERS and flags & END_STREAM:
                break
        # A stored context holds its call.
        front.bursts.clear()
        time.sleep(gap)
    return False


@pytest.mark.parametrize("gap", [0.02, 0.15])
def test_a_connection_with_short_calls_is_not_idle(gap: float) -> None:
    with front_with(echo, idle=0.4) as front, front.raw() as connection:
        assert not calling(front, connection, 1, gap)


def test_a_connection_whose_calls_are_refused_is_not_idle() -> None:
    full = grpc_status(SealgateError(Reason.QUEUE_FULL))

    def refusing(context: FrontContext) -> None:
        context.refuse_alike(full, 1, PATIENCE)
        context.refuse(full)

    with front_with(refusing, idle=0.4) as front, front.raw() as connection:
        assert not calling(front, connection, 1, 0)


def test_who_calls_again_and_again_does_not_put_off_the_end_of_a_connection() -> None:
    with front_with(echo, age=0.4) as front, front.raw() as connection:
        assert calling(front, connection, PATIENCE, 0.02)


def test_draining_finishes_calls_and_takes_no_connection() -> None:
    held: list[FrontContext] = []
    with front_with(held.append) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b""))
        until(lambda: len(held) == 1)
        front.front.drain()
        assert goaway_soon(connection) == 0
        until(lambda: refuses(front.port))
        held[0].answer(b"done")
        assert b"done" in connection.body()


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_who_says_nothing_of_http2_is_closed() -> None:
    with front_with(echo, handshake=0.2) as front:
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as silent:
            # Its settings come all the same.
            while silent.recv(4096):
                pass
        until(lambda: front.front.counts()["connections"] == 0)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05", bytes(100)])
def test_another_protocol_is_closed(said: bytes) -> None:
    with front_with(echo) as front:
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as other:
            other.sendall(said)
            # It may have been closed by now.
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while other.recv(4096):
                    pass
        until(lambda: front.front.counts()["connections"] == 0)
        assert answers(front)


def test_a_half_closed_peer_is_let_go() -> None:
    with front_with(echo) as front, front.raw() as connection:
        stream, head = connection.opened(STREAM)
        connection.socket.sendall(head + connection.data(stream, b"\0\0\0\0\x01a"))
        until(lambda: bool(front.behind.contexts))
        connection.socket.shutdown(socket.SHUT_WR)
        assert front.behind.ended.acquire(timeout=PATIENCE)
        until(lambda: front.front.counts()["connections"] == 0)


def test_what_is_no_grpc_is_refused() -> None:
    with front_with(echo) as front, front.raw() as connection:
        stream, _ = connection.opened(INFER)
        # :method GET, :scheme http, :path / of HPACK's static table.
        connection.socket.sendall(frame(HEADERS, END_STREAM | END_HEADERS, stream, b"\x82\x86\x84"))
        connection.await_end()
        assert not front.bursts
        assert not front.behind.contexts


def test_connections_of_a_listener_are_bounded() -> None:
    with front_with(echo, connections=3) as front:
        connections = [front.raw() for _ in range(3)]
        with pytest.raises((ConnectionError, OSError)):
            front.raw().next_frame()
        connections.pop().close()
        until(lambda: front.front.counts()["connections"] == 2)
        assert answers(front)
        for connection in connections:
            connection.close()


def test_a_setting_of_a_window_is_kept() -> None:
    """A caller's small window is filled and no more, and grows by what it says."""
    with front_with(echo) as front, front.raw(window=10) as connection:
        connection.socket.sendall(connection.call(INFER, bytes(20)))
        kind, _, stream, payload = next(each for each in frames(connection) if each[0] == 0)
        assert (kind, len(payload)) == (0, 10)
        connection.socket.sendall(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 100)))
        assert len(connection.body()) == 15


def test_a_port_is_shared_by_those_who_all_say_so() -> None:
    with front_with(echo, listen=Listeners(insecure="127.0.0.1:0", share_ports=True)) as one:
        address = f"127.0.0.1:{one.port}"
        both = Listeners(insecure=address, share_ports=True)
        with front_with(echo, listen=both) as other:
            assert other.port == one.port
            # Each connection is one of theirs, by the kernel's hash of its address.
            until(lambda: answers(one) and bool(one.bursts) and bool(other.bursts))
        alone = Listeners(insecure=address)
        with pytest.raises(ConfigError, match="is another gateway using it"):
            FrontHarness(echo, listen=alone)
