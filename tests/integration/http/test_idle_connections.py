"""Connections on which nobody authenticates, on the listeners of gRPC and of HTTP: they are ended,
and shut nobody out.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import grpc
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from tests.support.fakes.blocking_worker import until
from tests.support.harness.clients.http_client import client_of, harness_with_http
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.processes.idle_connections import KINDS

pytestmark = pytest.mark.slow

WAYS = [
    *(("grpc", kind) for kind in ("tcp", "tls", "preface")),
    *(("http", kind) for kind in ("tcp", "http-tls", "half-request")),
]
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
# Longer than any test takes.
NEVER = 3_600.0


def harness_with(path, transport: str, **limits: float) -> Iterator[GatewayHarness]:
    lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
    harness = harness_with_http(path / "state", f"\n[limits]\n{lines}", transport)
    harness.start()
    yield harness
    harness.stop()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[GatewayHarness]:
    """Few at once of an address, with all the time that they want."""
    folder = tmp_path_factory.mktemp("strict")
    yield from harness_with(
        folder, transport, unauthenticated_per_address=3, authenticate_within=NEVER
    )


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[GatewayHarness]:
    """Many at once, with little time."""
    yield from harness_with(tmp_path_factory.mktemp("hasty"), transport, authenticate_within=3)


def opened(
    harness: GatewayHarness, listener: str, kind: str, count: int, stack: ExitStack
) -> list[socket.socket]:
    """So many; without those that were ended before they were ready."""
    port = harness.gateway.ports["tls" if listener == "grpc" else "http"]
    found = []
    for _ in range(count):
        with suppress(OSError):
            connection = stack.enter_context(KINDS[kind](port))
            connection.setblocking(False)
            found.append(connection)
    return found


def is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


def asker(harness: GatewayHarness, listener: str, stack: ExitStack) -> Callable[[], bool]:
    """Asks something that needs a credential, on one connection."""
    if listener == "http":
        client = client_of(harness)
        stack.callback(client.close)
        return lambda: client.get("/v2").status == 200
    stub = GRPCInferenceServiceStub(stack.enter_context(connect(harness.profile("client"))))
    request = oip.ServerMetadataRequest()
    return lambda: bool(stub.ServerMetadata(request, timeout=60).name)


@pytest.mark.parametrize(("listener", "kind"), WAYS)
def test_whoever_does_not_authenticate_in_time_is_ended(
    hasty: GatewayHarness, listener: str, kind: str
) -> None:
    with ExitStack() as stack:
        ask = asker(hasty, listener, stack)
        assert ask()
        idle = opened(hasty, listener, kind, 5, stack)
        until(lambda: all(map(is_closed, idle)))
        assert ask()


@pytest.mark.parametrize(("listener", "kind"), WAYS)
def test_the_oldest_of_an_address_give_way(
    strict: GatewayHarness, listener: str, kind: str
) -> None:
    with ExitStack() as stack:
        idle = opened(strict, listener, kind, 10, stack)
        until(lambda: sum(map(is_closed, idle)) >= len(idle) - 3)
        # Without a handshake, or a word after it, there is another reason to end them.
        if kind in ("preface", "http-tls"):
            assert not any(map(is_closed, idle[-3:]))
        assert asker(strict, listener, stack)()


def test_anonymous_calls_are_no_reason_to_stay(hasty: GatewayHarness) -> None:
    """On a connection that never rests."""
    port = hasty.gateway.ports["http-insecure"]

    def refuses(connection: socket.socket) -> bool:
        try:
            connection.sendall(LIVE)
            return connection.recv(1024) == b""
        except OSError:
            return True

    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        until(lambda: refuses(plain))


def test_grpc_calls_without_a_credential_are_no_reason_to_stay(hasty: GatewayHarness) -> None:
    profile = hasty.profile("client")
    credentials = grpc.ssl_channel_credentials(profile.server_authority.read_bytes())
    left = []
    with grpc.secure_channel(profile.endpoint, credentials) as channel:
        channel.subscribe(left.append)
        stub = GRPCInferenceServiceStub(channel)

        def ended() -> bool:
            try:
                stub.ServerLive(oip.ServerLiveRequest(), timeout=60)
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.UNAVAILABLE
            return grpc.ChannelConnectivity.IDLE in left[1:]

        until(ended)


@pytest.mark.parametrize("listener", ["grpc", "http"])
def test_known_callers_stay_among_others_who_come_again(
    strict: GatewayHarness, listener: str
) -> None:
    kind = "preface" if listener == "grpc" else "half-request"
    with ExitStack() as stack:
        ask = asker(strict, listener, stack)
        assert ask()
        for _ in range(2):
            idle = opened(strict, listener, kind, 8, stack)
            until(lambda found=idle: sum(map(is_closed, found)) >= len(found) - 3)
            assert ask()
