"""Calls that the native transport hands over: what a handler sees of them, and how they end."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from gateway.transport.native import FrontContext
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of
from sealgate.remote.connection import retry_after_of
from sealgate.remote.errors import grpc_status
from tests.support.harness.clients.http2 import HEADERS, frames
from tests.support.harness.native_front import INFER, echo, front_with

PATIENCE = 60


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def failed(call: grpc.Future) -> grpc.RpcError:
    error = call.exception(timeout=PATIENCE)
    assert isinstance(error, grpc.RpcError)
    return error


@contextmanager
def held_front() -> Iterator[tuple[Any, Any, threading.Event]]:
    """A front whose handler is busy with a first call until the event is set; and what calls it."""
    taken, go = threading.Event(), threading.Event()

    def waiting(context: FrontContext) -> None:
        taken.set()
        go.wait(PATIENCE)
        echo(context)

    with front_with(waiting) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        first = infer.future(b"first", timeout=PATIENCE)
        assert taken.wait(PATIENCE)
        yield front, infer, go
        assert first.result() == b"first"


def test_every_call_of_many_gets_its_own_answer() -> None:
    with front_with(echo) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        calls = {
            message: infer.future(message, timeout=PATIENCE)
            for message in (str(number).encode() for number in range(300))
        }
        assert all(call.result() == message for message, call in calls.items())
        assert sum(map(len, front.bursts)) == 300
        until(lambda: front.front.counts()["calls"] == 0)


def test_calls_that_came_meanwhile_are_one_burst() -> None:
    with held_front() as (front, infer, go):
        calls = [infer.future(b"x", timeout=PATIENCE) for _ in range(50)]
        until(lambda: front.front.counts()["handed"] == 51)
        go.set()
        assert all(call.result() == b"x" for call in calls)
        assert [len(burst) for burst in front.bursts] == [1, 50]


def test_callers_of_a_burst_are_seen_with_their_own_metadata() -> None:
    with held_front() as (front, infer, go):
        callers = [f"Bearer {number % 12}" for number in range(48)]
        calls = [
            infer.future(caller.encode(), timeout=PATIENCE, metadata=[("authorization", caller)])
            for caller in callers
        ]
        until(lambda: front.front.counts()["handed"] == 49)
        go.set()
        assert [call.result().decode() for call in calls] == callers
        _, burst = front.bursts
        for context in burst:
            found = dict(context.invocation_metadata())
            assert found["authorization"] == context.message.decode()
            assert "grpc-timeout" not in found


def test_what_calls_of_a_burst_have_in_common_is_read_once() -> None:
    with held_front() as (front, infer, go):
        # Each with another deadline, which is no metadata.
        calls = [
            infer.future(b"x", timeout=PATIENCE + number, metadata=[("authorization", "Bearer x")])
            for number in range(20)
        ]
        until(lambda: front.front.counts()["handed"] == 21)
        go.set()
        assert all(call.result() == b"x" for call in calls)
        _, burst = front.bursts
        assert len({id(context.invocation_metadata()) for context in burst}) == 1
        assert all(0 < context.time_remaining() <= PATIENCE + 20 for context in burst)


def test_a_handler_sees_what_the_caller_sent() -> None:
    with front_with(echo) as front, front.channel() as channel:
        metadata = (("a-name", "a value"), ("some-bin", b"\0\xff"), ("twice", "1"), ("twice", "2"))
        channel.unary_unary(INFER)(b"message", metadata=metadata, timeout=PATIENCE)
        ((context,),) = front.bursts
        assert context.path == INFER
        assert context.message == b"message"
        found = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
        assert found == list(metadata)
        assert context.peer().startswith("ipv4:127.0.0.1:")
        assert context.auth_context() == {}
        assert context.call.connection > 0
        assert not context.is_active()


def test_a_message_is_handed_over_as_it_was_compressed() -> None:
    with front_with(echo) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        packed = infer(bytes(1000), compression=grpc.Compression.Gzip, timeout=PATIENCE)
        ((context,),) = front.bursts
        assert context.call.is_compressed
        assert context.message == packed
        assert gzip.decompress(packed) == bytes(1000)


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_an_answer_is_compressed_for_who_takes_that(kind: grpc.Compression) -> None:
    def packing(context: FrontContext) -> None:
        context.set_compression(kind)
        echo(context)

    with front_with(packing) as front, front.channel() as channel:
        assert channel.unary_unary(INFER)(bytes(5000), timeout=PATIENCE) == bytes(5000)
        with front.raw() as plain:
            # This one says of no encoding that it takes it.
            plain.socket.sendall(plain.call(INFER, bytes(5000)))
            assert bytes(5000) in plain.body()


def test_a_refusal_comes_with_its_details() -> None:
    def refusing(context: FrontContext) -> None:
        context.refuse_internal()

    with front_with(refusing) as front, front.channel() as channel:
        error = failed(channel.unary_unary(INFER).future(b"", timeout=PATIENCE))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert reason_of(error) is Reason.INTERNAL


def test_a_handler_that_fails_refuses_its_burst() -> None:
    def failing(context: FrontContext) -> None:
        raise RuntimeError("by test")

    with front_with(failing) as front, front.channel() as channel:
        error = failed(channel.unary_unary(INFER).future(b"", timeout=PATIENCE))
        assert reason_of(error) is Reason.INTERNAL


def test_a_malformed_answer_loses_no_other() -> None:
    held: list[FrontContext] = []
    with front_with(held.append) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        calls = [infer.future(b"x", timeout=PATIENCE) for _ in range(3)]
        until(lambda: len(held) == 3)
        first, second, third = (context.call for context in held)
        malformed = [(first, b"1"), (second, "text"), "nothing", (), (third, b"3")]
        with pytest.raises(ValueError, match="3 answers are malformed"):
            front.respond(malformed)
        codes = sorted(str(call.exception(PATIENCE) and failed(call).code()) for call in calls)
        assert codes == ["None", "None", "StatusCode.INTERNAL"]


def test_a_call_is_answered_once() -> None:
    def twice(context: FrontContext) -> None:
        context.answer(b"first")
        context.answer(b"second")
        context.refuse_internal()

    with front_with(twice) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        assert [infer(b"", timeout=PATIENCE) for _ in range(3)] == [b"first"] * 3


def test_who_cancels_is_noticed() -> None:
    held: SimpleQueue[FrontContext] = SimpleQueue()
    with front_with(held.put) as front, front.channel() as channel:
        call = channel.unary_unary(INFER).future(b"", timeout=PATIENCE)
        context, over = held.get(timeout=PATIENCE), threading.Event()
        assert context.is_active()
        assert context.add_callback(over.set)
        call.cancel()
        assert over.wait(PATIENCE)
        assert not context.is_active()
        assert context.code() is None
        assert not context.add_callback(over.set)
        context.answer(b"too late")
        # Its place is free when nobody works on it any more.
        del context
        front.bursts.clear()
        until(lambda: front.front.counts()["calls"] == 0)


def test_who_disconnects_is_noticed() -> None:
    held: SimpleQueue[FrontContext] = SimpleQueue()
    with front_with(held.put) as front:
        connection = front.raw()
        connection.socket.sendall(connection.call(INFER, b""))
        context, over = held.get(timeout=PATIENCE), threading.Event()
        assert context.add_callback(over.set)
        connection.close()
        assert over.wait(PATIENCE)
        assert not context.is_active()


def test_a_deadline_ends_a_call() -> None:
    held: SimpleQueue[FrontContext] = SimpleQueue()
    with front_with(held.put) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b"", ("grpc-timeout", "200m")))
        context, over = held.get(timeout=PATIENCE), threading.Event()
        left = context.time_remaining()
        assert left is not None
        assert left <= 0.2
        assert context.add_callback(over.set)
        assert over.wait(PATIENCE)
        assert context.time_remaining() == 0
        assert not context.is_active()
        # DEADLINE_EXCEEDED in the answer's head, which ends the stream.
        connection.await_end()


def test_calls_without_a_deadline_have_none() -> None:
    with front_with(echo) as front, front.raw() as connection:
        connection.socket.sendall(connection.call(INFER, b""))
        connection.await_end()
        assert front.bursts[0][0].time_remaining() is None


def test_calls_beyond_the_bound_are_refused_with_when_to_retry() -> None:
    held: list[FrontContext] = []
    with front_with(held.append, handed=3) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        calls = [infer.future(b"", timeout=PATIENCE) for _ in range(3)]
        until(lambda: len(held) == 3)
        error = failed(infer.future(b"", timeout=PATIENCE))
        assert reason_of(error) is Reason.QUEUE_FULL
        assert retry_after_of(error) == 0.1
        until(lambda: front.refused == 1)
        for context in held:
            context.answer(b"")
        assert all(call.result() == b"" for call in calls)
        # Their places are free again.
        again = infer.future(b"", timeout=PATIENCE)
        until(lambda: len(held) == 4)
        held[3].answer(b"")
        assert again.result() == b""


def test_a_cancelled_call_says_so() -> None:
    def cancelling(context: FrontContext) -> None:
        context.cancel()

    with front_with(cancelling) as front, front.channel() as channel:
        error = failed(channel.unary_unary(INFER).future(b"", timeout=PATIENCE))
        assert error.code() is grpc.StatusCode.CANCELLED


def test_a_caller_who_is_to_be_refused_for_a_while_is_not_asked_for() -> None:
    """By the same metadata and the same beginning of the message; others are handed over."""
    full = grpc_status(SealgateError(Reason.QUEUE_FULL, "3 rows wait", 2.0))

    def refusing(context: FrontContext) -> None:
        if context.message == b"digits, first":
            context.refuse_alike(full, len(b"digits"), PATIENCE)
            context.refuse(full)
        else:
            echo(context)

    own, other = (("authorization", "Bearer own"),), (("authorization", "Bearer other"),)
    with front_with(refusing) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        for message in (b"digits, first", b"digits, second"):
            error = failed(infer.future(message, timeout=PATIENCE, metadata=own))
            assert (reason_of(error), retry_after_of(error)) == (Reason.QUEUE_FULL, 2.0)
        assert len(front.bursts) == 1
        for message, metadata in ((b"digits, third", other), (b"texts", own)):
            assert infer(message, timeout=PATIENCE, metadata=metadata) == message
        until(lambda: front.refused == 1)


def test_a_caller_who_asks_again_at_once_is_not_refused_at_once() -> None:
    """But when its connection is looked at next, each tenth of a second."""
    full = grpc_status(SealgateError(Reason.QUEUE_FULL, "3 rows wait", 2.0))

    def refusing(context: FrontContext) -> None:
        context.refuse_alike(full, 1, PATIENCE)
        context.refuse(full)

    with front_with(refusing) as front, front.channel() as channel:
        infer = channel.unary_unary(INFER)
        failed(infer.future(b"digits", timeout=PATIENCE))
        asked = time.monotonic()
        for _ in range(4):
            error = failed(infer.future(b"digits", timeout=PATIENCE))
            assert reason_of(error) is Reason.QUEUE_FULL
        # The first may come just before a look; of the others each takes the whole time.
        assert time.monotonic() - asked > 0.25
        assert len(front.bursts) == 1


def test_a_caller_whose_deadline_is_near_is_refused_at_once() -> None:
    """Before the one that asked before it, and does not say how long it waits."""

    def refusing(context: FrontContext) -> None:
        full = grpc_status(SealgateError(Reason.QUEUE_FULL))
        context.refuse_alike(full, 1, PATIENCE)
        context.refuse(full)

    with front_with(refusing) as front, front.raw() as raw:
        raw.socket.sendall(raw.call(INFER, b"digits"))
        raw.await_end()
        patient, hurried = (), (("grpc-timeout", "50m"),)
        raw.socket.sendall(
            b"".join(raw.call(INFER, b"digits", *more) for more in (patient, hurried))
        )
        ended = (stream for kind, _, stream, _ in frames(raw) if kind == HEADERS)
        assert list(islice(ended, 2)) == [5, 3]
        assert len(front.bursts) == 1


def test_a_compressed_call_stands_for_no_other() -> None:
    """Nor does one that says it is compressed and is not."""

    def refusing(context: FrontContext) -> None:
        context.refuse_alike(grpc_status(SealgateError(Reason.QUEUE_FULL)), 1, PATIENCE)
        context.answer(context.message)

    with front_with(refusing) as front, front.raw() as raw:
        for _ in range(2):
            raw.socket.sendall(raw.call(INFER, b"plain", packed=True))
            assert raw.body().endswith(b"plain")
        assert len(front.bursts) == 2
