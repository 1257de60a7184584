"""Requests that differ a little from valid ones, on every listener.

Each is answered or refused with a reason from the list, never with INTERNAL; others are answered
meanwhile; no mutation brings another version into production. 100 on each listener run in CI,
10,000 by `make test-extra NAME=faults`.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Kind
from sealgate.remote import connect, reason_of
from tests.support.builders.mutations import mutated
from tests.support.builders.valid_requests import Asked, governance, inference, shown
from tests.support.harness.clients.callers import Callers
from tests.support.harness.clients.http_client import tensor
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.deployment_with_engine import deployment_with_engine
from tests.support.harness.gateway import rows
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.oracles.fault_report import hold, watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_MANY = [
    pytest.param(100, id="short"),
    pytest.param(10_000, id="long", marks=pytest.mark.long),
]
_TARGET = 1.0


def tried(count: int, requests: list, check: Callable[..., None]) -> None:
    """Checks so many mutations of the requests, each a path and its bytes."""

    # Where few are tried, always the same; what was found once is not kept, but tested for.
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count < 1000,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data(), st.sampled_from(requests))
    def one(data: st.DataObject, request: Asked) -> None:
        path, genuine = request
        check(path, data.draw(mutated(genuine)))

    one()


def asked(channel: grpc.Channel, path: str, message: bytes) -> str:
    """The outcome's name. Raises: AssertionError for one that no request should come to."""
    raw = {"request_serializer": bytes, "response_deserializer": bytes}
    error: Any = channel.unary_unary(path, **raw).future(message, timeout=300).exception()
    if error is None:
        return "answered"
    reason = reason_of(error)
    assert reason is not None, (path, error.code(), error.details())
    assert reason.kind not in (Kind.INTERNAL, Kind.DATA_LOSS), (path, reason)
    return reason.name


@contextmanager
def others_ask(deployment: GatewayDeployment, fault: str, outcomes: Counter[str]) -> Iterator[None]:
    """Somebody asks meanwhile, and is answered by digits 1."""
    with (
        watched(fault, deployment.gateway, _TARGET) as finding,
        Callers(deployment.harness, 1, 300.0) as callers,
    ):
        callers.await_answers()
        yield
        callers.await_answers()
        finding.note = ", ".join(f"{name} {n}" for name, n in outcomes.most_common(6))
    hold(finding, deployment.harness, callers, {"1"})
    assert not callers.failures


@pytest.mark.parametrize("count", _MANY)
def test_by_grpc_with_a_token(open_deployment: GatewayDeployment, count: int) -> None:
    outcomes: Counter[str] = Counter()
    with (
        connect(open_deployment.harness.profile("client")) as channel,
        others_ask(open_deployment, f"{count} mutations, gateway", outcomes),
    ):
        tried(
            count,
            inference(open_deployment.harness),
            lambda path, data: outcomes.update([asked(channel, path, data)]),
        )
    assert outcomes["answered"]
    assert len(outcomes) >= 4


@pytest.mark.parametrize("count", _MANY)
def test_by_grpc_with_certificates(open_deployment: GatewayDeployment, count: int) -> None:
    harness, outcomes = open_deployment.harness, Counter()
    by_person = governance(harness)
    requests = [((who, path), data) for who, them in by_person.items() for path, data in them]
    with ExitStack() as stack:
        channels = {who: stack.enter_context(connect(harness.profile(who))) for who in by_person}
        stack.enter_context(others_ask(open_deployment, f"{count} mutations, registry", outcomes))

        def check(place: tuple[str, str], data: bytes) -> None:
            who, path = place
            outcomes.update([asked(channels[who], path, data)])

        tried(count, requests, check)
    assert outcomes["answered"]
    assert len(outcomes) >= 4


@pytest.mark.parametrize("count", _MANY)
def test_by_http(open_deployment: GatewayDeployment, count: int) -> None:
    """The whole request is changed, its head too.

    The client closes its half of the connection, which the gateway takes for its absence: a valid
    request ends with 504, and nothing is run for it.
    """
    body = json.dumps({"id": "case-7", "inputs": [tensor(rows())]}).encode()
    name, value = open_deployment.bearer
    lines = [
        "POST /v2/models/digits/versions/1/infer HTTP/1.1",
        "host: localhost",
        f"{name}: {value}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    get = f"GET /v2/models/digits HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\n\r\n"
    requests = [
        ("infer", "\r\n".join([*lines, "", ""]).encode() + body),
        ("metadata", get.encode()),
    ]
    outcomes: Counter[str] = Counter()

    def check(_name: str, data: bytes) -> None:
        found = spoken(open_deployment.ports["http"], data)
        status = found.split(b" ", 2)[1].decode() if found else "closed"
        assert status != "500", data
        assert not found or found.startswith(b"HTTP/1.1 "), found
        outcomes.update([status])

    with others_ask(open_deployment, f"{count} mutations, HTTP", outcomes):
        tried(count, requests, check)
    assert outcomes["200"]
    assert outcomes["400"]


def spoken(port: int, data: bytes) -> bytes:
    """Return the bytes that come back until the connection ends."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            pass
    return found


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayDeployment, EngineProcess]]:
    with deployment_with_engine(tmp_path_factory.mktemp("pair") / "state") as found:
        yield found


@pytest.mark.parametrize("count", _MANY)
def test_at_the_engine(pair: tuple[GatewayDeployment, EngineProcess], count: int) -> None:
    deployment, _engine = pair
    requests, outcomes = shown(deployment.harness), Counter()
    socket_path = deployment.harness.state / "engine" / "engine.sock"
    with grpc.insecure_channel(f"unix:{socket_path}") as channel:
        with others_ask(deployment, f"{count} mutations, engine", outcomes):
            tried(
                count,
                requests,
                lambda path, data: outcomes.update([asked(channel, path, data)]),
            )
        index = GRPCInferenceServiceStub(channel).RepositoryIndex(oip.RepositoryIndexRequest())
        ready = [(item.name, item.version) for item in index.models if item.state == "READY"]
        assert ready == [("digits", "1")]
    assert outcomes["answered"]
    assert len(outcomes) >= 4
