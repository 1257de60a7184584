"""The health service by itself: `List` says what `Check` says, and names no model."""

from types import SimpleNamespace

import pytest
from grpc_health.v1 import health_pb2

from gateway.services.health import HealthService

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def unused(*_: object) -> None:
    raise AssertionError("nobody is looked at")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> HealthService:
    # Older releases of grpcio-health-checking have no such message.
    monkeypatch.setattr(health_pb2, "HealthListResponse", lambda statuses: statuses, raising=False)
    service = HealthService(SimpleNamespace(expired=True), unused, None)
    service.set("", SERVING)
    service.set("inference.GRPCInferenceService", SERVING)
    return service


def test_all_services_are_listed_as_they_are_checked(listed: HealthService) -> None:
    found = listed.List(None, None)
    assert {name: answer.status for name, answer in found.items()} == {
        "": SERVING,
        "inference.GRPCInferenceService": SERVING,
        # It has expired.
        "policy": NOT_SERVING,
    }


def test_a_gateway_that_drains_lists_nothing_as_serving(listed: HealthService) -> None:
    listed.enter_graceful_shutdown()
    found = listed.List(None, None)
    assert {answer.status for answer in found.values()} == {NOT_SERVING}
