"""A certificate that expires while its connection stays open: no further call is let in."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from sealgate import steady_clock
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Access, reason_of
from sealgate.setup.credentials import Certificate, CertificateAuthority
from tests.support.harness.clients.http_client import HttpClient, harness_with_http
from tests.support.harness.gateway import GatewayHarness

LIFETIME = timedelta(hours=1)


class MovedClock:
    """The time by the gateway's clock, `ahead` of the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return steady_clock.now() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    clock = MovedClock()
    monkeypatch.setattr("gateway.app.now", clock)
    return clock


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority("short-lived callers", datetime.now(UTC), LIFETIME)


@pytest.fixture
def harness(
    clock: MovedClock, authority: CertificateAuthority, tmp_path: Path
) -> Iterator[GatewayHarness]:
    harness = harness_with_http(tmp_path / "state")
    callers = harness.state / "tls" / "callers.pem"
    callers.write_bytes(callers.read_bytes() + authority.pem)
    harness.start()
    yield harness
    harness.stop()


def test_expired_certificates_are_refused_on_open_connections(
    harness: GatewayHarness, clock: MovedClock, authority: CertificateAuthority, tmp_path: Path
) -> None:
    shown = authority.caller("admin")
    with by_grpc(harness, shown) as channel:
        client = by_http(harness, shown, tmp_path)
        asks = grpc_call(channel), lambda: client.get("/v2").reason
        connection = None
        for ahead, reason in (
            (timedelta(), None),
            (LIFETIME + timedelta(seconds=1), Reason.CERTIFICATE_EXPIRED),
            (-LIFETIME, Reason.CERTIFICATE_EXPIRED),
            (timedelta(), None),
        ):
            clock.ahead = ahead
            assert [ask() for ask in asks] == [reason, reason], ahead
            # One connection carried them all.
            connection = connection or client.connection.sock
            assert client.connection.sock is connection is not None
        client.close()


def by_grpc(harness: GatewayHarness, shown: Certificate) -> grpc.Channel:
    profile = harness.profile("admin")
    access = Access(
        profile.endpoint,
        profile.server_authority.read_bytes(),
        certificate=shown.certificate,
        certificate_key=shown.key,
    )
    return grpc.secure_channel(access.endpoint, access.credentials())


def grpc_call(channel: grpc.Channel) -> Callable[[], Reason | None]:
    stub = GRPCInferenceServiceStub(channel)

    def ask() -> Reason | None:
        try:
            stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)
        except grpc.RpcError as error:
            return reason_of(error)
        return None

    return ask


def by_http(harness: GatewayHarness, shown: Certificate, folder: Path) -> HttpClient:
    pair = (folder / "caller.pem", folder / "caller.key")
    for path, content in zip(pair, (shown.certificate, shown.key), strict=True):
        path.write_bytes(content)
    return HttpClient(harness, pair=pair)
