"""The health of a model, for those who are known and for strangers."""

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from inference.engine.engine import Engine
from sealgate.reasons import Reason, SealgateError
from tests.support.harness.gateway import refusal

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def raising(reason):
    def raises(*_):
        raise SealgateError(reason)

    return raises


def test_the_health_of_a_model_is_told_to_those_who_are_known(harness, monkeypatch):
    stub = HealthStub(harness.channel("client"))
    request = health_pb2.HealthCheckRequest(service="models/digits")
    assert stub.Check(request, timeout=60).status == SERVING
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "resolve", raising(Reason.POINTER_STALE))
        assert stub.Check(request, timeout=60).status == NOT_SERVING
    for name, reason in (
        ("models/unknown", Reason.MODEL_UNKNOWN),
        ("models/../x", Reason.NAME_MALFORMED),
        ("models/", Reason.NAME_MALFORMED),
    ):
        request = health_pb2.HealthCheckRequest(service=name)
        assert refusal(stub.Check, request, timeout=60) is reason


def test_strangers_cannot_tell_from_the_health_service_which_models_exist(harness):
    profile = harness.profile("client")
    credentials = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
    with grpc.secure_channel(profile.endpoint, credentials) as channel:
        stub = HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == SERVING
        for name in ("models/digits", "models/unknown", "models/../x"):
            request = health_pb2.HealthCheckRequest(service=name)
            assert refusal(stub.Check, request, timeout=60) is Reason.CREDENTIAL_MISSING
