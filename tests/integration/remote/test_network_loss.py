"""A gateway notices by pings that packets to its engine are lost, before the deadline of a call."""

import time
from collections.abc import Iterator
from concurrent import futures
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from inference.backends.remote import endpoint
from inference.backends.remote.endpoint import TlsEndpoint
from inference.backends.remote.remote_engine import RemoteEngine
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from sealgate.reasons import Reason
from sealgate.setup.credentials import Certificate, CertificateAuthority
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import now
from tests.support.harness.network.relay import Relay, relay_to


class Answering(GRPCInferenceServiceServicer):
    def ModelInfer(self, request, context):  # noqa: N802
        return oip.ModelInferResponse(model_version="1")


def save(folder: Path, name: str, made: Certificate) -> None:
    (folder / f"{name}.pem").write_bytes(made.certificate)
    (folder / f"{name}.key").write_bytes(made.key)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """The network to an engine."""
    authority = CertificateAuthority("engines", now(), timedelta(days=1))
    engine, gateway = authority.server("engine", ("engine",)), authority.caller("gateway")
    save(tmp_path, "engine", engine)
    save(tmp_path, "gateway", gateway)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(Answering(), server)
    credentials = grpc.ssl_server_credentials(
        [(engine.key, engine.certificate)], gateway.certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    with relay_to(f"127.0.0.1:{port}") as relay:
        yield relay
    server.stop(None).wait()


def test_lost_packets_are_noticed_before_the_deadline(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = [(name, min(value, 3_000)) for name, value in endpoint.PINGS]
    monkeypatch.setattr(endpoint, "PINGS", quick)
    files = (tmp_path / name for name in ("engine.pem", "gateway.pem", "gateway.key"))
    remote = RemoteEngine(TlsEndpoint(f"127.0.0.1:{relay.port}", *files))
    try:
        assert remote.infer(oip.ModelInferRequest(), time.monotonic() + 60).model_version == "1"
        relay.silent = True
        with refused(Reason.ENGINE_UNAVAILABLE):
            remote.infer(oip.ModelInferRequest(), time.monotonic() + 60)
    finally:
        remote.close()
