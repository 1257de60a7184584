"""A remote engine's retry time reaches the caller."""

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
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.errors import grpc_status


class Full(GRPCInferenceServiceServicer):
    """An engine whose queue has remote in seven seconds."""

    def ModelInfer(self, request, context):  # noqa: N802
        context.abort_with_status(grpc_status(SealgateError(Reason.QUEUE_FULL, "", 7.0)))


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[RemoteEngine]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(Full(), server)
    with unix_sockets.private_files():
        server.add_insecure_port(f"unix:{tmp_path / 'engine.sock'}")
    server.start()
    remote = RemoteEngine(SocketEndpoint(tmp_path / "engine.sock"))
    yield remote
    remote.close()
    server.stop(None).wait()


def test_callers_hear_when_to_retry(remote: RemoteEngine) -> None:
    with pytest.raises(SealgateError) as refused:
        remote.infer(oip.ModelInferRequest(), None)
    assert refused.value.reason is Reason.QUEUE_FULL
    assert refused.value.retry == 7.0
