"""HTTP/2 rapid reset (CVE-2023-44487): the server keeps answering while calls are cancelled at
once.
"""

import time
from collections.abc import Iterator

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, question, rows, running


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("house") / "state", transport=transport) as harness:
        yield harness


def test_rapid_resets_leave_the_server_answering(harness: GatewayHarness) -> None:
    stub, registry = harness.inference(), harness.registry("auditor")
    request = question("digits", rows())
    for _ in range(400):
        stub.ModelInfer.future(request, timeout=60).cancel()
        registry.WatchChanges(messages.WatchChangesRequest(), timeout=60).cancel()
    assert answers(stub)
    # No place is left taken.
    stream = registry.WatchChanges(messages.WatchChangesRequest(), timeout=60, wait_for_ready=True)
    assert next(stream).next > 0
    stream.cancel()


def answers(stub: GRPCInferenceServiceStub) -> bool:
    """Whether the server answers, once it has let go of what was cancelled."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            return bool(stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60).name)
        except grpc.RpcError as error:
            # A stream beyond the connection's share is refused, and may be asked again.
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(0.1)
    return False
