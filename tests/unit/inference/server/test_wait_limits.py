"""Calls that say nothing: how many of one gateway wait, and for how long."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from inference.server.wait_limits import WaitLimiter
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused


class Silent:
    """A call on which nothing comes, until it is cancelled."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def cancel(self) -> None:
        self.ended.set()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        assert self.ended.wait(60)
        raise grpc.RpcError


@pytest.fixture
def patience() -> Iterator[WaitLimiter]:
    patience = WaitLimiter(4, 0.2)
    yield patience
    patience.stop()


def wait_for(patience: WaitLimiter, gateway: bytes, call: Silent) -> threading.Thread:
    """A thread that takes what comes of a call, which is nothing."""
    began = threading.Event()

    class Noting(Silent):
        def __next__(self) -> bytes:
            began.set()
            return next(call)

    def take() -> None:
        assert list(patience.messages(Noting(), gateway, call)) == []

    thread = threading.Thread(target=take)
    thread.start()
    assert began.wait(60)
    return thread


def test_one_gateway_does_not_have_all_threads_wait(patience: WaitLimiter) -> None:
    calls = [Silent() for _ in range(3)]
    threads = [wait_for(patience, b"one", call) for call in calls]
    with refused(Reason.QUEUE_FULL):
        next(patience.messages(iter([b"x"]), b"one", Silent()))
    # Another has its share all the same.
    assert next(patience.messages(iter([b"x"]), b"other", Silent())) == b"x"
    calls[0].cancel()
    threads[0].join(60)
    assert next(patience.messages(iter([b"x"]), b"one", Silent())) == b"x"
    for call, thread in zip(calls, threads, strict=True):
        call.cancel()
        thread.join(60)


def test_what_does_not_come_in_time_is_ended(patience: WaitLimiter) -> None:
    patience.start()
    call = Silent()
    wait_for(patience, b"one", call).join(60)
    assert call.ended.is_set()


def test_messages_that_come_are_handed_on(patience: WaitLimiter) -> None:
    assert list(patience.messages(iter([b"a", b"b"]), b"one", Silent())) == [b"a", b"b"]
