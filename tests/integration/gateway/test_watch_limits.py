"""Streams that follow events hold no threads, are bounded, and end when their reader does not
read.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from registry.answers.answer_log import LoggedAnswer
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import connect
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.v1 import log_pb2
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.fakes import records
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running

_WATCHERS = 50


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[GatewayHarness]:
    """With the limits that a gateway has by default."""
    with running(
        tmp_path_factory.mktemp("house") / "state", "digits-standard", transport=transport
    ) as harness:
        yield harness


def begun(channel: grpc.Channel) -> grpc.Call:
    stream = RegistryServiceStub(channel).WatchChanges(messages.WatchChangesRequest(), timeout=60)
    next(stream)
    return stream


def test_fifty_watchers_hear_a_promotion_while_requests_are_answered(
    harness: GatewayHarness,
) -> None:
    proposal = harness.approved("digits", 1)
    heard: list[float] = []

    def listen(stream: grpc.Call) -> None:
        for message in stream:  # type: ignore[attr-defined]
            if message.change.kind == messages.CHANGE_KIND_POINTER_MOVED:
                heard.append(time.monotonic())
                return

    with ExitStack() as stack:
        channels = [
            stack.enter_context(connect(harness.profile("auditor"))) for _ in range(_WATCHERS)
        ]
        streams = [begun(channel) for channel in channels]
        threads = [threading.Thread(target=listen, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        harness.governance("admin").promote(proposal, "first")
        moved = time.monotonic()
        for thread in threads:
            thread.join(60)
        assert len(heard) == _WATCHERS
        assert max(heard) - moved < 50
        harness.await_version("digits", 1)
        stub = harness.inference()
        for _ in range(5):
            answer = stub.ModelInfer(question("digits", rows()), timeout=60)
            assert answer.model_version == "1"
        for stream in streams:
            stream.cancel()


def test_watchers_are_bounded_and_leaving_frees_a_place(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nwatchers = 2\nthreads = 4\n")
    harness.start()
    try:
        channel = harness.channel("auditor")
        streams = [begun(channel), begun(channel)]
        third = RegistryServiceStub(channel).WatchChanges(messages.WatchChangesRequest())
        assert refusal(next, third) is Reason.QUEUE_FULL
        assert harness.inference().ServerMetadata(oip.ServerMetadataRequest(), timeout=60).name
        streams.pop().cancel()
        deadline = time.monotonic() + 60
        while True:
            try:
                streams.append(begun(channel))
                break
            except grpc.RpcError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        harness.stop()


def test_a_reader_that_reads_nothing_is_ended(tmp_path: Path) -> None:
    harness = GatewayHarness(tmp_path / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write("\n[limits]\nstream = 1.0\n")
    harness.start()
    try:
        answers = harness.gateway.store.answers
        opened = records.opening(("",) * len(FIELDS), subject="client")
        for _ in range(4):
            answers.append([LoggedAnswer(bytes(8192), opened)] * 256)
        pages = harness.gateway.event_streams.logs[answers.origin].pages
        read, sent = pages.read, []
        pages.read = lambda start, end: sent.append(start) or read(start, end)
        request = log_pb2.WatchLogRequest(origin=answers.origin, start=0)
        stream = LogServiceStub(harness.channel("auditor")).WatchLog(request)
        taken = len(next(stream).leaves)
        while harness.gateway.stream_limiter.ends:
            time.sleep(0.05)
        # Only messages under way were taken: 8 MiB were there to be sent.
        assert 0 < taken < answers.size
        assert len(sent) < answers.size // taken
        stream.cancel()
    finally:
        harness.stop()
