"""Streams end when a new policy no longer allows their caller."""

import json
from collections import Counter
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from gateway.admission.quotas import QuotaLimiter
from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.interceptor import AuthInterceptor
from gateway.auth.method_rules import RULES
from gateway.config.optional_sections import QuotaStore
from gateway.config.sections import GatewayLimits
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.uploads import Uploader
from sealgate.v1 import registry_pb2 as messages
from tests.integration.gateway.test_watch_rights import RIGHTS, ending, first_policy, sign
from tests.support.builders.packages import package
from tests.support.harness.gateway import GatewayHarness

# More than the buffers of a connection hold.
SIZE = 24 << 20


@pytest.fixture
def harness(tmp_path):
    harness = GatewayHarness(tmp_path / "state")
    document = json.loads(first_policy(harness).payload) | {"rights": [RIGHTS[0]]}
    document["rights"] += [{**RIGHTS[1], "models": ["resumed"]}]
    (harness.state / "trust" / "policy.json").write_bytes(sign(harness, document))
    harness.start()
    yield harness
    harness.stop()


def test_a_new_policy_ends_streams_it_no_longer_allows(harness, tmp_path):
    sent = package(harness, tmp_path / "files", SIZE)
    version = Uploader(harness.channel("publisher")).publish(sent)
    request = messages.DownloadFileRequest(name=version.name, path="part-0.safetensors")
    downloads = [
        harness.registry(person).DownloadFile(request, timeout=60)
        for person in ("publisher", "auditor", "admin")
    ]
    health = HealthStub(harness.channel("auditor")).Watch(
        health_pb2.HealthCheckRequest(), timeout=60
    )
    for stream in (*downloads, health):
        next(stream)
    before = json.loads(first_policy(harness).payload)
    people = [person for person in before["principals"] if person["name"] != "auditor"]
    rights = [{**before["rights"][0], "roles": ["publisher", "auditor"]}]
    document = before | {"principals": people, "rights": rights, "version": before["version"] + 1}
    harness.gateway.store.registry.policies.accept("root", sign(harness, document))
    harness.gateway.registry_sync.follow()
    assert ending(health) is Reason.PRINCIPAL_UNKNOWN
    allowed, unknown, without_right = downloads
    assert ending(unknown) is Reason.PRINCIPAL_UNKNOWN
    assert ending(without_right) is Reason.RIGHT_MISSING
    assert sum(len(message.chunk) for message in allowed) > SIZE - (1 << 20)


class Forgetful:
    """An authenticator that knows the caller a few times."""

    def __init__(self, times):
        self._times = times

    def principal(self, context, policy):
        self._times -= 1
        if self._times < 0:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN)
        return SimpleNamespace(name="otto", roles=("admin", "auditor", "client"))


class Ended(Exception):
    pass


class Context(SimpleNamespace):
    def code(self):
        return None

    def invocation_metadata(self):
        return ()

    def abort_with_status(self, status):
        raise Ended


STREAMS = [
    "/sealgate.v1.RegistryService/DownloadFile",
    "/sealgate.v1.LogService/StreamEntries",
    "/sealgate.v1.LogService/StreamHashes",
    "/sealgate.v1.AuditService/StreamRecords",
    "/sealgate.v1.AuditService/StreamOpenings",
    "/grpc.health.v1.Health/Watch",
]


@pytest.mark.parametrize("method", STREAMS)
def test_the_caller_is_checked_before_each_message(method):
    assert method in RULES
    limits = GatewayLimits()
    refused = []
    interceptor = AuthInterceptor(
        Forgetful(4),
        lambda: None,
        SimpleNamespace(
            refusal=lambda call, refusal: refused.append(refusal.reason),
            read=lambda call, request: None,
        ),
        StreamLimiter(limits),
        QuotaLimiter.of((), QuotaStore()),
        Counter(),
    )
    handler = grpc.unary_stream_rpc_method_handler(lambda request, call: iter(range(100)), bytes)
    details = SimpleNamespace(method=method)
    guarded = interceptor.intercept_service(lambda _: handler, details).stream_stream
    left = []
    with pytest.raises(Ended):
        left.extend(guarded(iter([b""]), Context()))
    # Once to be let in, and once for each message.
    assert left == [0, 1, 2]
    assert refused == [Reason.PRINCIPAL_UNKNOWN]
