"""Quotas over the wire: what is refused, when it says to try again, and that it then goes."""

import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_status import rpc_status

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from tests.support.harness.gateway import GatewayHarness, refusal

QUOTAS = """
[[quotas]]
role = "client"
rate = "3/second"

[[quotas]]
principal = "auditor"
daily = 2

[[quotas]]
role = "admin"
concurrent = 1
"""


@pytest.fixture(scope="module")
def metered(tmp_path_factory):
    harness = GatewayHarness(tmp_path_factory.mktemp("quotas") / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(QUOTAS)
    harness.start()
    try:
        yield harness
    finally:
        harness.stop()


def ask(harness, person):
    stub = harness.inference(person)
    return lambda: stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)


def retry_after(error):
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta().total_seconds()
    return None


def until_refused(call):
    for _ in range(1000):
        try:
            call()
        except grpc.RpcError as error:
            return error
    raise AssertionError("never refused")


def test_beyond_the_rate_it_says_when_and_then_goes(metered):
    call = ask(metered, "client")
    size = metered.gateway.recorder.size
    error = until_refused(call)
    assert reason_of(error) is Reason.RATE_EXCEEDED
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    delay = retry_after(error)
    assert 0 < delay <= 1
    time.sleep(delay)
    call()
    assert metered.gateway.recorder.size == size


def test_beyond_the_daily_quota(metered):
    call = ask(metered, "auditor")
    call()
    call()
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert reason_of(caught.value) is Reason.QUOTA_SPENT
    assert 86000 < retry_after(caught.value) <= 86400


def test_one_call_at_a_time(metered):
    call = ask(metered, "admin")
    watch = HealthStub(metered.channel("admin")).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    next(watch)
    assert refusal(call) is Reason.CONCURRENCY_EXCEEDED
    watch.cancel()
    deadline = time.monotonic() + 60
    while True:
        try:
            call()
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_whoever_no_quota_names_is_free(metered):
    call = ask(metered, "publisher")
    for _ in range(20):
        call()
