"""The auth interceptor by itself: what no rule allows is refused, whoever asks."""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1.health_pb2_grpc import HealthServicer

from gateway.admission.quotas import QuotaLimiter
from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.interceptor import AuthInterceptor
from gateway.calls.call import Call
from gateway.config.optional_sections import QuotaStore
from gateway.config.sections import GatewayLimits
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of


class Everyone:
    """An authenticator that takes anybody for an admin."""

    def principal(self, context, policy):
        return SimpleNamespace(name="admin", roles=("admin", "client"))


@pytest.fixture
def interceptor():
    limits = GatewayLimits()
    return AuthInterceptor(
        Everyone(),
        lambda: None,
        SimpleNamespace(refusal=lambda call, refusal: None),
        StreamLimiter(limits),
        QuotaLimiter.of((), QuotaStore()),
        Counter(),
    )


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ModelInfer/",
        "/inference.GRPCInferenceService/modelinfer",
        "//inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/Unheard",
        "",
    ],
)
def test_a_method_without_a_rule_is_refused(interceptor, method):
    with pytest.raises(SealgateError) as caught:
        interceptor.admit(Call(SimpleNamespace(), method, StreamLimiter(GatewayLimits())), method)
    assert caught.value.reason is Reason.RULE_MISSING


INHERITED = "/grpc.health.v1.Health/Check"


@pytest.fixture
def inheriting(interceptor: AuthInterceptor) -> Iterator[grpc.Channel]:
    """To a server with a method that its servicer only inherits from the generated one."""
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[interceptor])
    unary = grpc.unary_unary_rpc_method_handler(HealthServicer().Check, bytes)
    stream = grpc.unary_stream_rpc_method_handler(HealthServicer().Watch, bytes)
    service, _, name = INHERITED[1:].partition("/")
    handlers = {name: unary, "List": stream}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def test_a_method_that_is_only_inherited_is_not_offered_and_leaves_no_traceback(
    inheriting: grpc.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stream = inheriting.unary_stream("/grpc.health.v1.Health/List")
    calls = (inheriting.unary_unary(INHERITED), lambda *a, **k: next(stream(*a, **k)))
    for call in calls:
        with caplog.at_level(logging.WARNING), pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=60)
        assert reason_of(caught.value) is Reason.RULE_MISSING
    assert not [record for record in caplog.records if record.exc_info]
