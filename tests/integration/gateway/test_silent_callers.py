"""Callers that open calls and send nothing can't hold the gateway's threads."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.v1 import log_pb2
from tests.support.harness.gateway import GatewayHarness, refusal

pytestmark = pytest.mark.slow

_THREADS = 4
_INFERENCE = "/inference.GRPCInferenceService"
_LIMITS = f"\n[limits]\nthreads = {_THREADS}\ndeadline = 5.0\nstream = 10.0\n"


@pytest.fixture(scope="module")
def small_harness(
    tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state", transport=transport)
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(_LIMITS)
    harness.start()
    yield harness
    harness.stop()


@pytest.fixture
def anonymous(small_harness: GatewayHarness) -> Iterator[grpc.Channel]:
    profile = small_harness.profile("client")
    authority = Path(profile.server_authority).read_bytes()
    credentials = grpc.ssl_channel_credentials(authority)
    with grpc.secure_channel(profile.endpoint, credentials) as channel:
        yield channel


def silent(channel: grpc.Channel, path: str, released: threading.Event) -> grpc.Future:
    """A call whose message never comes."""

    def nothing() -> Iterator[bytes]:
        released.wait(60)
        yield from ()

    return channel.stream_unary(path).future(nothing(), timeout=60)


def answers(harness: GatewayHarness) -> bool:
    return bool(harness.inference().ServerMetadata(oip.ServerMetadataRequest(), timeout=60).name)


@pytest.mark.parametrize("method", ["ModelInfer", "ServerLive"])
def test_unknown_callers_leave_room_for_others(
    small_harness: GatewayHarness, anonymous: grpc.Channel, method: str
) -> None:
    released = threading.Event()
    calls = [silent(anonymous, f"{_INFERENCE}/{method}", released) for _ in range(3 * _THREADS)]
    try:
        time.sleep(0.2)
        assert answers(small_harness)
    finally:
        released.set()
        for call in calls:
            call.cancel()


def test_a_public_method_has_a_deadline(anonymous: grpc.Channel) -> None:
    watching = HealthStub(anonymous).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert refusal(next, watching) is Reason.CREDENTIAL_MISSING


def test_silent_streams_leave_room_and_end(small_harness: GatewayHarness) -> None:
    stub = HealthStub(small_harness.channel("client"))
    calls = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(3 * _THREADS)]
    assert answers(small_harness)
    refusals = []
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        refusals.append((caught.value.code(), reason_of(caught.value)))
    assert refusals.count((grpc.StatusCode.CANCELLED, None)) == _THREADS // 4
    assert refusals.count((grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL)) == len(calls) - 1


def test_a_known_callers_message_has_a_deadline(small_harness: GatewayHarness) -> None:
    released = threading.Event()
    call = silent(small_harness.channel("client"), f"{_INFERENCE}/ModelInfer", released)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    released.set()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < 50


def test_a_call_without_a_message_is_refused(small_harness: GatewayHarness) -> None:
    call = small_harness.channel("client").stream_unary(f"{_INFERENCE}/ModelInfer")
    assert refusal(call, iter(()), timeout=60) is Reason.MESSAGE_MALFORMED


def test_a_malformed_message_is_refused_by_reason(
    small_harness: GatewayHarness, anonymous: grpc.Channel
) -> None:
    garbage, path = b"\xff" * 10, f"{_INFERENCE}/ModelInfer"
    known = small_harness.channel("client").unary_unary(path)
    assert refusal(known, garbage, timeout=60) is Reason.MESSAGE_MALFORMED
    assert refusal(anonymous.unary_unary(path), garbage, timeout=60) is Reason.CREDENTIAL_MISSING


@pytest.fixture
def harness(tmp_path, transport) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path / "state", transport=transport)
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(f"\n[limits]\nthreads = {_THREADS}\ndeadline = 60.0\n")
    harness.start()
    yield harness
    harness.stop()


def test_one_callers_silent_calls_leave_room_for_others(harness: GatewayHarness) -> None:
    released = threading.Event()

    def nothing() -> Iterator[bytes]:
        released.wait(120)
        yield from ()

    logs = harness.logs("auditor")
    logs.ListLogs(log_pb2.ListLogsRequest(), timeout=60)
    channel = harness.channel("client")
    infer = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    calls = [infer.future(nothing(), timeout=120) for _ in range(3 * _THREADS)]
    ended = threading.Semaphore(0)
    for call in calls:
        call.add_done_callback(lambda _: ended.release())
    try:
        # Three of them wait on, the others are sent away.
        for _ in range(len(calls) - 3):
            assert ended.acquire(timeout=60)
        reasons = {reason_of(call.exception()) for call in calls if call.done()}
        assert reasons == {Reason.QUEUE_FULL}
        assert logs.ListLogs(log_pb2.ListLogsRequest(), timeout=60).origins
    finally:
        released.set()
        for call in calls:
            call.cancel()
