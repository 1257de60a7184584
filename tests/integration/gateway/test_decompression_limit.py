"""A compressed message is decompressed only up to the message limit."""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.stage import free_ports
from tests.support.harness.clients.http2 import Http2
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.gateway import GatewayHarness

pytestmark = pytest.mark.slow

_INFERENCE = "/inference.GRPCInferenceService"
_FORMS = {"gzip": 31, "deflate": 15}
_MEGABYTES = 256
_AT_ONCE = 32
_MOST = 64


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[GatewayDeployment]:
    deployment = GatewayDeployment(
        GatewayHarness(tmp_path_factory.mktemp("house") / "state", transport=transport)
    )
    deployment.listen_in_clear(free_ports())
    try:
        deployment.harness.start()
        yield deployment
    finally:
        deployment.close()


def zeros(form: int) -> bytes:
    """A quarter of a megabyte that unfolds to `_MEGABYTES`."""
    packer, piece = zlib.compressobj(wbits=form), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(_MEGABYTES)) + packer.flush()


def most_memory() -> float:
    """The most that this process had in memory since it last asked to forget, in MB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize("encoding", _FORMS)
@pytest.mark.parametrize("method", ["ModelInfer", "ServerLive"])
def test_a_decompression_bomb_uses_little_memory(
    deployment: GatewayDeployment, method: str, encoding: str
) -> None:
    """Of one who is known, and of one who is not, by a method for anyone."""
    packed = zeros(_FORMS[encoding])
    headers = [("grpc-encoding", encoding)]
    if method == "ModelInfer":
        headers.append(deployment.bearer)
    # See proc_pid_clear_refs(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = most_memory()
    with ExitStack() as held:
        connections = [Http2(deployment.ports["grpc"]) for _ in range(_AT_ONCE)]
        for connection in connections:
            held.callback(connection.close)
            call = connection.call(f"{_INFERENCE}/{method}", packed, *headers, packed=True)
            connection.socket.sendall(call)
        for connection in connections:
            connection.await_end()
    grown = most_memory() - before
    assert grown < _MOST, grown
