"""Calls that wait for a thread: bounded; who is turned away hears why, and when to come again."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gateway.admission.overload import LoadShedder, Threads
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.fakes.blocking_worker import until

INFER = "/inference.GRPCInferenceService/ModelInfer"
REVOKE = "/sealgate.v1.RegistryService/RevokeVersion"


class Slow(grpc.GenericRpcHandler):
    """Answers each call, whatever it is, once the test lets it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def answer(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            self.begun.release()
            self.open.wait(60)
            return b"done"

        return grpc.stream_unary_rpc_method_handler(answer)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def counted() -> Counter[str]:
    return Counter()


@pytest.fixture
def threads() -> Threads:
    return Threads(1)


@pytest.fixture
def channel(slow: Slow, threads: Threads, counted: Counter[str]) -> Iterator[grpc.Channel]:
    """To a server of one thread, for which two calls may wait."""
    server = grpc.server(threads, handlers=[slow], interceptors=[LoadShedder(threads, 2, counted)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    slow.open.set()
    server.stop(None).wait()


def ask(channel: grpc.Channel, method: str = INFER) -> "futures.Future[bytes]":
    return channel.unary_unary(method).future(b"", timeout=60)


def turned_away(channel: grpc.Channel, slow: Slow, threads: Threads) -> list[Any]:
    """Three calls, of which one has the thread and two wait; the next was refused."""
    calls: list[Any] = [ask(channel)]
    assert slow.begun.acquire(timeout=60)
    for count in (1, 2):
        calls.append(ask(channel))
        until(lambda count=count: threads.waiting == count)
    refused: Any = ask(channel)
    refused.exception(timeout=60)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not any(call.done() for call in calls)
    return calls


def test_beyond_those_who_wait_inference_is_refused_at_once(
    channel: grpc.Channel, slow: Slow, threads: Threads, counted: Counter[str]
) -> None:
    waiting = turned_away(channel, slow, threads)
    refused = ask(channel)
    error = refused.exception(timeout=60)
    assert reason_of(error) is Reason.QUEUE_FULL
    (status,) = [v for k, v in error.trailing_metadata() if k == "grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    assert any(each.Unpack(retry) for each in status_pb2.Status.FromString(status).details)
    assert retry.retry_delay.ToTimedelta().total_seconds() >= 0.1
    assert counted == {"QUEUE_FULL": 2}
    # Nobody who waits is forgotten, and afterwards there is room again.
    slow.open.set()
    assert [call.result(timeout=60) for call in waiting] == [b"done"] * 3
    assert ask(channel).result(timeout=60) == b"done"


def test_what_administrators_do_gets_through_a_crowd(
    channel: grpc.Channel, slow: Slow, threads: Threads
) -> None:
    waiting = turned_away(channel, slow, threads)
    revoked = ask(channel, REVOKE)
    slow.open.set()
    assert revoked.result(timeout=60) == b"done"
    assert all(call.result(timeout=60) == b"done" for call in waiting)
