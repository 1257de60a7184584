"""The gateway's end of an engine that misbehaves: what its refusals mean for callers and loads."""

import contextlib
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from inference.backends.remote.endpoint import SocketEndpoint
from inference.backends.remote.messages import RemoteRequest, VersionMessages
from inference.backends.remote.remote_engine import RemoteEngine
from inference.batching.job import RequestOptions
from inference.server import unix_sockets
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceServicer, add_EngineServiceServicer_to_server
from tests.support.builders.documents.people import refused
from tests.support.builders.models.version_files import VersionFiles, clean_rows
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import FILES, MODEL, PLACE


class Refusing(GRPCInferenceServiceServicer, EngineServiceServicer):
    """An engine that refuses everything with `reason`, or ends calls with a bare `status`."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.status = grpc.StatusCode.INTERNAL
        self.loads = 0
        # Whether the reason is one that nobody here knows.
        self.newer = False
        # The status details of its refusals, instead of the usual ones.
        self.details: list[any_pb2.Any] = []
        self.costs = engine_pb2.GetCostsResponse()

    def ModelInfer(self, request, context):  # noqa: N802
        self._end(context)

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        self.loads += 1
        if self.reason is None and self.status is grpc.StatusCode.OK:
            return oip.RepositoryModelLoadResponse()
        return self._end(context)

    def GetCosts(self, request, context):  # noqa: N802
        return self.costs

    def ServerLive(self, request, context):  # noqa: N802
        return oip.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):  # noqa: N802
        return self._end(context) if self.details else oip.ServerReadyResponse(ready=True)

    def _end(self, context):
        if self.details:
            status = status_pb2.Status(code=self.status.value[0], details=self.details)
            context.abort_with_status(rpc_status.to_status(status))
        if self.newer:
            code = self.status.value[0]
            status = status_pb2.Status(code=code, message="x")
            info = error_details_pb2.ErrorInfo(reason="MOON_TOO_FULL", domain="sealgate")
            status.details.add().Pack(info)
            context.abort_with_status(rpc_status.to_status(status))
        if self.reason is not None:
            context.abort_with_status(grpc_status(SealgateError(self.reason)))
        context.abort(self.status, "a foreign text")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Refusing]:
    engine = Refusing()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(engine, server)
    add_EngineServiceServicer_to_server(engine, server)
    with unix_sockets.private_files():
        server.add_insecure_port(f"unix:{tmp_path / 'engine.sock'}")
    server.start()
    yield engine
    server.stop(None).wait()


@pytest.fixture
def remote(engine: Refusing, tmp_path: Path) -> Iterator[RemoteEngine]:
    remote = RemoteEngine(SocketEndpoint(tmp_path / "engine.sock"))
    yield remote
    remote.close()


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (Reason.QUEUE_FULL, Reason.QUEUE_FULL),
        (Reason.VERSION_REVOKED, Reason.VERSION_REVOKED),
        (Reason.POINTER_STALE, Reason.POINTER_STALE),
        (Reason.RUN_HUNG, Reason.RUN_HUNG),
        # It has not what it was shown, or says what no engine should.
        (Reason.MODEL_UNKNOWN, Reason.ENGINE_UNAVAILABLE),
        (Reason.VERSION_NOT_LIVE, Reason.ENGINE_UNAVAILABLE),
        (Reason.DRAINING, Reason.ENGINE_UNAVAILABLE),
        (Reason.TOKEN_EXPIRED, Reason.ENGINE_UNAVAILABLE),
        (grpc.StatusCode.UNAVAILABLE, Reason.ENGINE_UNAVAILABLE),
        (grpc.StatusCode.UNKNOWN, Reason.ENGINE_UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_TOO_SHORT),
    ],
)
def test_what_callers_hear(
    engine: Refusing, remote: RemoteEngine, said: Reason | grpc.StatusCode, heard: Reason
) -> None:
    if isinstance(said, Reason):
        engine.reason = said
    else:
        engine.status = said
    with refused(heard) as caught:
        remote.infer(oip.ModelInferRequest(), None)
    assert caught.value.__cause__ is not caught.value, "who follows its causes never ends"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (grpc.StatusCode.INTERNAL, Reason.ENGINE_UNAVAILABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL),
    ],
)
def test_an_engine_of_a_newer_release_is_heard_by_its_status(
    engine: Refusing, remote: RemoteEngine, status: grpc.StatusCode, reason: Reason
) -> None:
    engine.newer, engine.status = True, status
    with refused(reason):
        remote.infer(oip.ModelInferRequest(), None)


@pytest.mark.parametrize("kind", ["ErrorInfo", "RetryInfo"])
def test_an_engine_whose_details_are_garbled_is_heard_by_its_status(
    engine: Refusing, remote: RemoteEngine, registry: UncheckedRegistry, kind: str
) -> None:
    engine.details = [any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{kind}", value=b"\xff")]
    with refused(Reason.ENGINE_UNAVAILABLE):
        remote.infer(oip.ModelInferRequest(), None)
    # Following the registry must go on after it.
    remote.show(registry, registry)
    remote.probe()
    assert remote.behind


@pytest.mark.parametrize(
    ("seconds", "heard"), [(1 << 62, 60.0), (-(1 << 62), 0.0), (61, 60.0), (2, 2.0)]
)
def test_an_engine_bids_callers_wait_a_while_only(
    engine: Refusing, remote: RemoteEngine, seconds: int, heard: float
) -> None:
    delay = duration_pb2.Duration(seconds=seconds)
    told = any_pb2.Any()
    told.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    engine.details, engine.status = [told], grpc.StatusCode.RESOURCE_EXHAUSTED
    with refused(Reason.QUEUE_FULL) as caught:
        remote.infer(oip.ModelInferRequest(), None)
    assert caught.value.retry == heard
    # It can be said to the caller.
    assert grpc_status(caught.value).code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_engine_that_knows_no_bursts(engine: Refusing, remote: RemoteEngine) -> None:
    source = VersionFiles.of(MODEL)
    messages = VersionMessages("digits", 1, "sha256:1", source.config, source.detector)
    requests = [RemoteRequest(clean_rows(MODEL, 1), RequestOptions())] * 2

    def asked(burst: list[RemoteRequest]) -> None:
        call = remote.begin(messages, burst)
        with contextlib.suppress(grpc.RpcError):
            call.result()
        remote.end(call, together=len(burst) > 1)

    with refused(Reason.METHOD_UNSUITED):
        asked(requests)
    assert not remote.takes_bursts
    engine.status = grpc.StatusCode.UNIMPLEMENTED
    with refused(Reason.ENGINE_UNAVAILABLE):
        asked(requests[:1])


def test_an_engine_of_a_newer_release_is_asked_for_bursts_again(
    engine: Refusing, remote: RemoteEngine, registry: UncheckedRegistry
) -> None:
    remote.takes_bursts = False
    remote.show(registry, registry)
    assert remote.takes_bursts


def test_a_deadline_that_has_passed(remote: RemoteEngine) -> None:
    with refused(Reason.DEADLINE_TOO_SHORT):
        remote.infer(oip.ModelInferRequest(), 0.0)


@pytest.fixture
def registry() -> UncheckedRegistry:
    registry = UncheckedRegistry()
    registry.promote(registry.publish(FILES))
    return registry


def test_what_was_taken_is_not_shown_again(
    engine: Refusing, remote: RemoteEngine, registry: UncheckedRegistry
) -> None:
    engine.status = grpc.StatusCode.OK
    remote.show(registry, registry)
    assert (engine.loads, remote.behind) == (1, False)
    remote.show(registry, registry)
    assert engine.loads == 1
    registry.refresh()
    remote.show(registry, registry)
    assert engine.loads == 2


@pytest.mark.parametrize(
    ("rows", "seconds", "lanes", "place", "believed"),
    [
        (1, 0.5, 1, "cpu", True),
        (1, 0.5, 1, "cpu\n; 9 asked: other", False),
        (1, 0.5, 1, "\x1b[2Jcpu", False),
        (1, float("nan"), 1, "cpu", False),
        (1, float("inf"), 1, "cpu", False),
        (1, -1.0, 1, "cpu", False),
        (0, 0.5, 1, "cpu", False),
        (1, 0.5, 0, "cpu", False),
    ],
)
def test_what_an_engine_says_of_its_costs(
    engine: Refusing,
    remote: RemoteEngine,
    registry: UncheckedRegistry,
    rows: int,
    seconds: float,
    lanes: int,
    place: str,
    believed: bool,
) -> None:
    batches = [engine_pb2.BatchCost(rows=rows, seconds=seconds)]
    engine.status = grpc.StatusCode.OK
    engine.costs = engine_pb2.GetCostsResponse(batches=batches, lanes=lanes, place=place)
    remote.show(registry, registry)
    assert [each.place for each in remote.measured.values()] == ([place] if believed else [])
    assert not remote.behind


@pytest.mark.parametrize(
    ("said", "behind"),
    [
        (Reason.VERSION_ALTERED, False),
        (Reason.APPROVALS_MISSING, False),
        (Reason.REGISTRY_UNAVAILABLE, True),
        (Reason.QUEUE_FULL, True),
        (Reason.DRAINING, True),
    ],
)
def test_a_refused_load_is_shown_again_where_that_may_help(
    engine: Refusing, remote: RemoteEngine, registry: UncheckedRegistry, said: Reason, behind: bool
) -> None:
    engine.reason = said
    remote.show(registry, registry)
    assert remote.behind is behind


def test_an_engine_that_went_is_noticed(
    engine: Refusing, remote: RemoteEngine, registry: UncheckedRegistry, tmp_path: Path
) -> None:
    engine.status = grpc.StatusCode.OK
    remote.show(registry, registry)
    remote.probe()
    assert not remote.behind
    (tmp_path / "engine.sock").chmod(0o666)
    remote.probe()
    assert remote.behind
    assert PLACE in registry.bundles
