"""A call that has ended no longer counts among its connection's streams, however it ended."""

import gc
from collections.abc import Iterator

import grpc
import pytest

from gateway.config.sections import GatewayLimits
from sealgate.remote import reason_of
from tests.support.harness.gateway import GatewayHarness, question, rows

pytestmark = pytest.mark.slow

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_REGISTRY = "/sealgate.v1.RegistryService"
_MORE_THAN_FIT = GatewayLimits().streams_per_connection + 20


@pytest.fixture
def no_collection() -> Iterator[None]:
    """A gateway collects garbage seldom: what waits for that is kept long enough to be counted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _infer(**changed: str) -> bytes:
    request = question("digits", rows())
    for name, value in changed.items():
        setattr(request, name, value)
    return request.SerializeToString()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    ("method", "message", "outcome"),
    [
        pytest.param(_INFER, _infer(), "answered", id="answered"),
        pytest.param(_INFER, _infer(model_name="unknown"), "MODEL_UNKNOWN", id="unknown"),
        pytest.param(_INFER, _infer(model_version="one"), "VERSION_MALFORMED", id="version"),
        pytest.param(_INFER, b"\n\x06", "MESSAGE_MALFORMED", id="message"),
        pytest.param(f"{_REGISTRY}/ListVersions", b"", "ROLE_TOO_LOW", id="role"),
    ],
)
def test_many_calls_one_after_another(
    harness_by_transport: GatewayHarness, method: str, message: bytes, outcome: str
) -> None:
    call = harness_by_transport.channel("client").unary_unary(
        method, request_serializer=bytes, response_deserializer=bytes
    )
    for _ in range(_MORE_THAN_FIT):
        error = call.future(message, timeout=60).exception()
        reason = reason_of(error) if isinstance(error, grpc.RpcError) else None
        assert (reason.name if reason else "answered") == outcome, error
