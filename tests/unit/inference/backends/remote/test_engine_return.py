"""A returning engine gets requests only after the gateway has shown it everything that is live."""

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from inference.backends.remote.endpoint import SocketEndpoint
from inference.backends.remote.remote_engine import RemoteEngine
from inference.server import unix_sockets
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from sealgate.reasons import Reason
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceServicer, add_EngineServiceServicer_to_server
from tests.support.builders.documents.people import refused
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import promoted


class Loading(GRPCInferenceServiceServicer, EngineServiceServicer):
    """An engine that answers nothing, and whose loads end when the test says so."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def ServerLive(self, request, context):  # noqa: N802
        return oip.ServerLiveResponse(live=True)

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        self.begun.set()
        assert self.may_end.wait(60)
        return oip.RepositoryModelLoadResponse()

    def GetCosts(self, request, context):  # noqa: N802
        return engine_pb2.GetCostsResponse(
            place="cpu", lanes=1, batches=[engine_pb2.BatchCost(rows=1, seconds=0.001)]
        )

    def ModelInfer(self, request, context):  # noqa: N802
        context.abort(grpc.StatusCode.UNAVAILABLE, "it begins anew")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Loading]:
    engine = Loading()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_GRPCInferenceServiceServicer_to_server(engine, server)
    add_EngineServiceServicer_to_server(engine, server)
    with unix_sockets.private_files():
        server.add_insecure_port(f"unix:{tmp_path / 'engine.sock'}")
    server.start()
    yield engine
    engine.may_end.set()
    server.stop(None).wait()


def test_a_returning_engine_waits_until_it_has_everything(engine: Loading, tmp_path: Path) -> None:
    registry = UncheckedRegistry()
    digest = promoted(registry).digest
    remote = RemoteEngine(SocketEndpoint(tmp_path / "engine.sock"))
    engine.may_end.set()
    remote.show(registry, registry)
    assert list(remote.measured) == [digest]
    with refused(Reason.ENGINE_UNAVAILABLE):
        remote.infer(oip.ModelInferRequest(), None)

    engine.begun.clear()
    engine.may_end.clear()
    showing = threading.Thread(target=remote.show, args=(registry, registry))
    showing.start()
    assert engine.begun.wait(60)
    # `EnginePool` asks those first that have measured the version.
    assert list(remote.measured) == []
    engine.may_end.set()
    showing.join()
    assert list(remote.measured) == [digest]
    remote.close()
