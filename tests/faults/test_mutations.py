"""Requests that differ a little from valid ones, on every listener.

Each is answered or refused with a reason from the list, never with INTERNAL; others are answered
meanwhile; no mutation brings another version into production. 100 on each listener run in CI,
10,000 by `make test-faults`.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from inference.remote.load import Load
from inference.remote.service import write_load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Kind
from sealgate.remote import connect, reason_of
from sealgate.trust.dsse import Envelope
from sealgate.trust.manifest import Manifest
from sealgate.trust.statements import PointerBundle
from sealgate.v1 import audit_pb2, credential_pb2, engine_pb2, log_pb2, registry_pb2
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.callers import Callers
from tests.support.engine_process import EngineProcess
from tests.support.fault_report import hold, watched
from tests.support.house import House, question, rows
from tests.support.http_client import tensor
from tests.support.mutations import mutated
from tests.support.site import Site
from tests.support.site_with_engine import site_with_engine

pytestmark = pytest.mark.timeout(600)

_MANY = [
    pytest.param(100, id="short"),
    pytest.param(10_000, id="long", marks=pytest.mark.long),
]
_INFERENCE = "/inference.GRPCInferenceService"
_REGISTRY, _LOGS = "/sealgate.v1.RegistryService", "/sealgate.v1.LogService"
_TARGET = 1.0
Asked = tuple[str, bytes]


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
    error = channel.unary_unary(path, **raw).future(message, timeout=20).exception()
    if error is None:
        return "answered"
    reason = reason_of(error)
    assert reason is not None, (path, error.code())
    assert reason.kind not in (Kind.INTERNAL, Kind.DATA_LOSS), (path, reason)
    return reason.name


@contextmanager
def others_ask(site: Site, fault: str, outcomes: Counter[str]) -> Iterator[None]:
    """Somebody asks meanwhile, and is answered by digits 1."""
    with watched(fault, site.gateway, _TARGET) as finding, Callers(site.house, 1) as callers:
        callers.await_answers()
        yield
        callers.await_answers()
        finding.note = ", ".join(f"{name} {n}" for name, n in outcomes.most_common(6))
    hold(finding, site.house, callers, {"1"})
    assert not callers.failures


def inference(house: House) -> list[Asked]:
    whole = question("digits", rows(count=2), receipt=True)
    whole.id, whole.model_version = "case-7", "1"
    whole.parameters["sealgate_subject"].string_param = "patient-7"
    typed = oip.ModelInferRequest(model_name="digits")
    values = typed.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    values.contents.fp32_contents.extend(map(float, rows()[0]))
    typed.outputs.add(name="logits")
    return [
        (f"{_INFERENCE}/ModelInfer", whole.SerializeToString()),
        (f"{_INFERENCE}/ModelInfer", typed.SerializeToString()),
        (f"{_INFERENCE}/ModelMetadata", _bytes(oip.ModelMetadataRequest(name="digits"))),
        (f"{_INFERENCE}/ModelReady", _bytes(oip.ModelReadyRequest(name="digits", version="1"))),
    ]


@pytest.mark.parametrize("count", _MANY)
def test_by_grpc_with_a_token(open_site: Site, count: int) -> None:
    outcomes: Counter[str] = Counter()
    with (
        connect(open_site.house.profile("client")) as channel,
        others_ask(open_site, f"{count} mutations, front door", outcomes),
    ):
        tried(
            count,
            inference(open_site.house),
            lambda path, data: outcomes.update([asked(channel, path, data)]),
        )
    assert outcomes["answered"]
    assert len(outcomes) >= 4


def governance(house: House) -> dict[str, list[Asked]]:
    """By person: what people of the registry and of audits ask."""
    version = "models/digits/versions/1"
    alias = "models/digits/aliases/production"
    answers, request_id = "house.localhost/answers", "8a4b3c5d-1c1e-4f6e-9c0b-6f1f4f0a2b11"
    proposal = house.propose("digits", 1)
    signed = registry_pb2.CreateApprovalRequest(envelope=proposal.envelope, request_id=request_id)
    messages = registry_pb2
    return {
        "auditor": [
            (f"{_REGISTRY}/GetVersion", _bytes(messages.GetVersionRequest(name=version))),
            (
                f"{_REGISTRY}/ListVersions",
                _bytes(messages.ListVersionsRequest(model="digits", filter="publisher = p OR a:*")),
            ),
            (
                f"{_REGISTRY}/ListPointers",
                _bytes(messages.ListPointersRequest(name=alias, page_size=3, filter="action = x")),
            ),
            (f"{_LOGS}/GetEntry", _bytes(log_pb2.GetEntryRequest(origin=answers, index=3))),
            (
                f"{_LOGS}/GetInclusionProof",
                _bytes(log_pb2.GetInclusionProofRequest(origin=answers, index=2, size=5)),
            ),
            (
                f"{_LOGS}/GetConsistencyProof",
                _bytes(log_pb2.GetConsistencyProofRequest(origin=answers, old_size=2, new_size=5)),
            ),
            (f"{_LOGS}/OpenEntry", _bytes(log_pb2.OpenEntryRequest(origin=answers, index=1))),
            (
                "/sealgate.v1.AuditService/GetLiveAt",
                _bytes(audit_pb2.GetLiveAtRequest(time="2026-11-25T10:00:00Z", model="digits")),
            ),
        ],
        "publisher": [
            (
                f"{_REGISTRY}/CreateModel",
                _bytes(messages.CreateModelRequest(model="letters", request_id=request_id)),
            ),
            (
                f"{_REGISTRY}/CreateProposal",
                _bytes(messages.CreateProposalRequest(envelope=proposal.envelope)),
            ),
        ],
        "approver-1": [(f"{_REGISTRY}/CreateApproval", _bytes(signed))],
        "admin": [
            (f"{_REGISTRY}/Promote", _bytes(messages.PromoteRequest(envelope=proposal.envelope))),
            (
                "/sealgate.v1.CredentialService/CreateApiKey",
                _bytes(
                    credential_pb2.CreateApiKeyRequest(
                        holder="client", label="x", expire_time="2027-01-01T00:00:00Z"
                    )
                ),
            ),
        ],
    }


@pytest.mark.parametrize("count", _MANY)
def test_by_grpc_with_certificates(open_site: Site, count: int) -> None:
    house, outcomes = open_site.house, Counter()
    by_person = governance(house)
    requests = [((who, path), data) for who, them in by_person.items() for path, data in them]
    with ExitStack() as stack:
        channels = {who: stack.enter_context(connect(house.profile(who))) for who in by_person}
        stack.enter_context(others_ask(open_site, f"{count} mutations, registry", outcomes))

        def check(place: tuple[str, str], data: bytes) -> None:
            who, path = place
            outcomes.update([asked(channels[who], path, data)])

        tried(count, requests, check)
    assert outcomes["answered"]
    assert len(outcomes) >= 4


@pytest.mark.parametrize("count", _MANY)
def test_by_http(open_site: Site, count: int) -> None:
    """The whole request, its head too. Who closes their half of the connection has gone for the
    gateway, so what is sound enough to be inferred ends with 504: nothing is run for it.
    """
    body = json.dumps({"id": "case-7", "inputs": [tensor(rows())]}).encode()
    name, value = open_site.bearer
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
        found = spoken(open_site.ports["http"], data)
        status = found.split(b" ", 2)[1].decode() if found else "closed"
        assert status != "500", data
        assert not found or found.startswith(b"HTTP/1.1 "), found
        outcomes.update([status])

    with others_ask(open_site, f"{count} mutations, HTTP", outcomes):
        tried(count, requests, check)
    assert outcomes["200"]
    assert outcomes["400"]


def spoken(port: int, data: bytes) -> bytes:
    """What comes back, until the connection ends."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                found += piece
        except ConnectionError:
            pass
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, EngineProcess]]:
    with site_with_engine(tmp_path_factory.mktemp("pair") / "state") as found:
        yield found


def shown(house: House) -> list[Asked]:
    """What a gateway asks an engine: to follow a pointer, and to answer."""
    registry, audits = house.registry("auditor"), AuditServiceStub(house.channel("auditor"))
    alias = registry_pb2.GetPointerRequest(name="models/digits/aliases/production")
    pointer = registry.GetPointer(alias).pointer
    version = registry.GetVersion(
        registry_pb2.GetVersionRequest(name="models/digits/versions/1")
    ).version
    decision = audits.GetDecision(
        audit_pb2.GetDecisionRequest(
            model="digits", version_digest=version.digest, pointer_sequence=pointer.sequence
        )
    )
    load = Load(
        place=("digits", "production"),
        policies=tuple(
            map(Envelope.decode, registry.GetPolicy(registry_pb2.GetPolicyRequest()).envelopes)
        ),
        freshness=Envelope.decode(decision.freshness),
        pointer=PointerBundle.decode(pointer.bundle),
        manifest=Manifest.decode(version.manifest),
        signature=version.signature,
    )
    infer = question("digits", rows(count=2))
    infer.model_version = "1"
    infer.parameters["digest"].string_param = version.digest
    costs = engine_pb2.GetCostsRequest(model="digits", version="1", digest=version.digest)
    return [
        (f"{_INFERENCE}/RepositoryModelLoad", write_load(load).SerializeToString()),
        (f"{_INFERENCE}/ModelInfer", infer.SerializeToString()),
        ("/sealgate.v1.EngineService/GetCosts", _bytes(costs)),
    ]


@pytest.mark.parametrize("count", _MANY)
def test_at_the_engine(pair: tuple[Site, EngineProcess], count: int) -> None:
    site, _engine = pair
    requests, outcomes = shown(site.house), Counter()
    socket_path = site.house.state / "engine" / "engine.sock"
    with grpc.insecure_channel(f"unix:{socket_path}") as channel:
        with others_ask(site, f"{count} mutations, engine", outcomes):
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


def _bytes(message) -> bytes:
    return message.SerializeToString()
