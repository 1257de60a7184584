"""Calls that the native transport passes on: they reach the server behind unchanged, with their
caller's identity, which no caller can claim.
"""

import stat
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.support.harness.native_front import (
    ECHO,
    INFER,
    STREAM,
    FrontHarness,
    echo,
    front_with,
)

PATIENCE = 60
SECRET, CONNECTION = "x-sealgate-front-secret", "x-sealgate-front-connection"


def test_streams_go_both_ways_as_they_come() -> None:
    with front_with(echo) as front, front.channel() as channel:
        answered = threading.Semaphore(1)

        def one_by_one() -> Iterator[bytes]:
            for number in range(20):
                # The next only when the one before has been answered.
                assert answered.acquire(timeout=PATIENCE)
                yield bytes([number]) * 1000

        found = []
        for answer in channel.stream_stream(STREAM)(one_by_one(), timeout=PATIENCE):
            found.append(answer)
            answered.release()
        assert found == [bytes([number]) * 1000 for number in range(20)]
        assert not front.bursts


def test_large_streams_pass_with_flow_control() -> None:
    with front_with(echo) as front, front.channel() as channel:
        parts = [bytes([number]) * 500_000 for number in range(20)]
        assert list(channel.stream_stream(STREAM)(iter(parts), timeout=PATIENCE)) == parts


def test_a_stream_that_is_not_taken_holds_up_no_other() -> None:
    with front_with(echo) as front, front.channel() as channel:
        stalled = channel.stream_stream(STREAM)(iter([bytes(3_000_000)] * 30), timeout=PATIENCE)
        assert len(next(stalled)) == 3_000_000
        assert channel.unary_unary(ECHO)(b"x", timeout=PATIENCE) == b"x"
        stalled.cancel()


def test_cancellation_reaches_the_handler() -> None:
    with front_with(echo) as front, front.channel() as channel:
        released = threading.Event()

        def silent() -> Iterator[bytes]:
            yield b"x"
            released.wait(PATIENCE)

        call = channel.stream_stream(STREAM)(silent(), timeout=PATIENCE)
        assert next(call) == b"x"
        call.cancel()
        assert front.behind.ended.acquire(timeout=PATIENCE)
        released.set()


def test_who_disconnects_leaves_the_handler() -> None:
    with front_with(echo) as front:
        connection = front.raw()
        _, head = connection.opened(STREAM)
        connection.socket.sendall(head)
        until_called(front)
        connection.close()
        assert front.behind.ended.acquire(timeout=PATIENCE)


def until_called(front: FrontHarness) -> None:
    end = time.monotonic() + PATIENCE
    while not front.behind.contexts:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_deadlines_and_metadata_pass() -> None:
    with front_with(echo) as front, front.channel() as channel:
        metadata = (("a-name", "a value"), ("some-bin", b"\0\xff"))
        channel.unary_unary(ECHO)(b"", metadata=metadata, timeout=PATIENCE)
        (context,) = front.behind.contexts
        assert [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"] == list(
            metadata
        )
        assert context.peer().startswith("ipv4:127.0.0.1:")


def test_a_caller_cannot_claim_another_connection() -> None:
    with front_with(echo) as front, front.channel() as one, front.channel() as other:
        one.unary_unary(ECHO)(b"", timeout=PATIENCE)
        forged = [(SECRET, front.upstream.secret), (CONNECTION, "1"), ("x-sealgate-front-more", "")]
        other.unary_unary(ECHO)(b"", metadata=forged, timeout=PATIENCE)
        first, second = front.behind.contexts
        assert second.peer() != first.peer()
        assert not [name for name, _ in second.invocation_metadata() if name.startswith("x-seal")]


def test_the_socket_is_this_users_alone_and_asks_for_the_secret() -> None:
    with front_with(echo) as front:
        path = front.upstream.path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with grpc.insecure_channel(f"unix:{path}") as channel:
            for forged in ([], [(SECRET, "0" * 64), (CONNECTION, "1")]):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(ECHO)(b"", metadata=forged, timeout=PATIENCE)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            ended = [(SECRET, front.upstream.secret), (CONNECTION, "999")]
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(ECHO)(b"", metadata=ended, timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert not path.parent.exists()


@pytest.mark.parametrize("case", ["too large", "no message", "two messages", "unknown flag"])
def test_what_is_not_one_message_is_passed_on(case: str) -> None:
    bodies = {
        "too large": b"\0\0\0\x03\xe9" + bytes(1001),
        "no message": b"",
        "two messages": b"\0\0\0\0\x01a\0\0\0\0\x01b",
        "unknown flag": b"\x02\0\0\0\x01a",
    }
    with front_with(echo, message=1000) as front, front.raw() as connection:
        connection.socket.sendall(connection.call_with(INFER, bodies[case]))
        connection.await_end()
        assert not front.bursts
        until_called(front)


def test_a_message_that_comes_slowly_is_passed_on() -> None:
    with front_with(echo, whole=0.2) as front, front.raw() as connection:
        stream, head = connection.opened(INFER)
        connection.socket.sendall(head + connection.data(stream, b"\0\0\0\0\x02a"))
        until_called(front)
        connection.socket.sendall(connection.data(stream, b"b", ends=True))
        connection.await_end()
        assert not front.bursts


def test_a_server_that_has_gone_is_said() -> None:
    with front_with(echo) as front, front.channel() as channel:
        front.server.stop(None).wait()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(ECHO)(b"", timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
