"""Whoever opened calls and then sent nothing held the gateway's threads, one for each call, without
a credential and for ever; and their messages were parsed before anybody knew whose they were.
"""

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
from tests.support.house import House, refusal

_THREADS = 4
_INFERENCE = "/inference.GRPCInferenceService"
_LIMITS = f"\n[limits]\nthreads = {_THREADS}\ndeadline = 5.0\nstream = 10.0\n"


@pytest.fixture(scope="module")
def small_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house") / "state")
    with (house.state / "gateway.toml").open("a") as file:
        file.write(_LIMITS)
    house.start()
    yield house
    house.stop()


@pytest.fixture
def anonymous(small_house: House) -> Iterator[grpc.Channel]:
    profile = small_house.profile("client")
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


def answers(house: House) -> bool:
    return bool(house.inference().ServerMetadata(oip.ServerMetadataRequest(), timeout=60).name)


@pytest.mark.parametrize("method", ["ModelInfer", "ServerLive"])
def test_unknown_callers_leave_room(
    small_house: House, anonymous: grpc.Channel, method: str
) -> None:
    released = threading.Event()
    calls = [silent(anonymous, f"{_INFERENCE}/{method}", released) for _ in range(3 * _THREADS)]
    try:
        time.sleep(0.2)
        assert answers(small_house)
    finally:
        released.set()
        for call in calls:
            call.cancel()


def test_what_is_open_to_anyone_does_not_go_on_for_ever(anonymous: grpc.Channel) -> None:
    watching = HealthStub(anonymous).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert refusal(next, watching) is Reason.CREDENTIAL_MISSING


def test_streams_leave_room_and_end(small_house: House) -> None:
    stub = HealthStub(small_house.channel("client"))
    calls = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(3 * _THREADS)]
    assert answers(small_house)
    refusals = []
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        refusals.append((caught.value.code(), reason_of(caught.value)))
    assert refusals.count((grpc.StatusCode.CANCELLED, None)) == _THREADS // 4
    assert refusals.count((grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL)) == len(calls) - 1


def test_a_known_callers_message_must_come_in_time(small_house: House) -> None:
    released = threading.Event()
    call = silent(small_house.channel("client"), f"{_INFERENCE}/ModelInfer", released)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    released.set()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < 50


def test_no_message_at_all(small_house: House) -> None:
    call = small_house.channel("client").stream_unary(f"{_INFERENCE}/ModelInfer")
    assert refusal(call, iter(()), timeout=60) is Reason.MESSAGE_MALFORMED


def test_what_is_no_message_is_refused_by_reason(
    small_house: House, anonymous: grpc.Channel
) -> None:
    garbage, path = b"\xff" * 10, f"{_INFERENCE}/ModelInfer"
    known = small_house.channel("client").unary_unary(path)
    assert refusal(known, garbage, timeout=60) is Reason.MESSAGE_MALFORMED
    assert refusal(anonymous.unary_unary(path), garbage, timeout=60) is Reason.CREDENTIAL_MISSING
