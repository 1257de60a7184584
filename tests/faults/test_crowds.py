"""Callers who mean harm, while others go on asking: floods, resets, bombs, answers left unread.

The short ones run in CI; `long` means more of the same.
"""

import itertools
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection

import pytest

from tests.support.harness.clients.callers import Callers, newcomer
from tests.support.harness.clients.http2 import Http2
from tests.support.harness.deployment import GatewayDeployment, until
from tests.support.harness.gateway import question, rows
from tests.support.oracles.fault_report import Finding, hold, watched

pytestmark = pytest.mark.slow

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_TARGET = 6.0
_MANY = [pytest.param(1, id="short"), pytest.param(10, id="long", marks=pytest.mark.long)]


@contextmanager
def attacked(deployment: GatewayDeployment, fault: str) -> Iterator[Finding]:
    """Others ask meanwhile; when the block ends, somebody new must be let in too."""
    with watched(fault, deployment.gateway, _TARGET) as finding:
        with Callers(deployment.harness, 2) as callers:
            callers.await_answers()
            yield finding
            over = time.monotonic()
            finding.recovery = until(lambda: newcomer(deployment.harness) == "1")
            callers.recovery(over)
        hold(finding, deployment.harness, callers, {"1"})
        finding.note = f"{finding.note}; others waited {longest(callers):.2f} s at most"


def longest(callers: Callers) -> float:
    """The longest time without an answer."""
    return max(after - before for before, after in itertools.pairwise(callers.times))


@pytest.mark.parametrize("times", _MANY)
def test_streams_are_reset_at_once(open_deployment: GatewayDeployment, times: int) -> None:
    """CVE-2023-44487, by frames of HTTP/2."""
    with attacked(open_deployment, "HTTP/2 rapid reset") as finding:
        count, begun = 0, time.monotonic()
        end = begun + times
        # Longer where the machine is so slow that hardly any were sent.
        while time.monotonic() < end or (count <= 1000 and time.monotonic() < begun + 300):
            with suppress(OSError):
                count += reset_many(open_deployment, max(end, time.monotonic() + 1))
        finding.note = f"{count} resets in {time.monotonic() - begun:.0f} s"
    assert count > 1000


def reset_many(deployment: GatewayDeployment, end: float) -> int:
    """How many streams were opened and reset until the server had enough, or the time was up."""
    connection, count = Http2(deployment.ports["grpc"]), 0
    try:
        while time.monotonic() < end:
            frames = b""
            for _ in range(100):
                stream, head = connection.opened(_INFER, deployment.bearer)
                frames += head + connection.reset(stream)
            connection.socket.sendall(frames)
            count += 100
    except OSError:
        pass
    finally:
        connection.close()
    return count


@pytest.mark.parametrize("times", _MANY)
def test_answers_are_left_unread(open_deployment: GatewayDeployment, times: int) -> None:
    """Callers who ask for receipts and take nothing of what comes."""
    request = question("digits", rows(), receipt=True).SerializeToString()
    with attacked(open_deployment, "answers left unread") as finding, ExitStack() as held:
        for _ in range(8 * times):
            connection = Http2(open_deployment.ports["grpc"], window=0)
            held.callback(connection.close)
            for _ in range(100):
                connection.socket.sendall(connection.call(_INFER, request, open_deployment.bearer))
        time.sleep(2)
        finding.note = (
            f"{800 * times} answers, {open_deployment.gateway.memory():.0f} MB while unread"
        )


@pytest.mark.parametrize("times", _MANY)
def test_connections_that_say_nothing(open_deployment: GatewayDeployment, times: int) -> None:
    """More than are let in, on each listener, again as soon as they are closed."""
    harness = open_deployment.harness
    ports = [int(harness.profile(who).endpoint.rpartition(":")[2]) for who in ("client", "admin")]
    ports += open_deployment.ports.values()
    counts = []
    with attacked(open_deployment, "connection flood") as finding:
        begun = time.monotonic()
        flooding = [
            threading.Thread(target=lambda port=port: counts.append(flood(port, 2 * times)))
            for port in ports
        ]
        for thread in flooding:
            thread.start()
        for thread in flooding:
            thread.join()
        finding.note = f"{sum(counts)} connections in {time.monotonic() - begun:.0f} s"
    assert sum(counts) > 1000


def flood(port: int, seconds: float) -> int:
    """How many connections were opened to a port, 200 of them at a time: for so many seconds, and
    longer where the machine is so slow that hardly any were opened.
    """
    held: list[socket.socket] = []
    count, begun = 0, time.monotonic()
    while (took := time.monotonic() - begun) < seconds or (count <= 300 and took < 300):
        with suppress(OSError):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            count += 1
        if len(held) >= 200:
            held.pop(0).close()
    for connection in held:
        connection.close()
    return count


@pytest.mark.parametrize("times", _MANY)
def test_messages_that_unfold(open_deployment: GatewayDeployment, times: int) -> None:
    """gzip makes a thousandth of zeros: 56 MB of a message by gRPC, a gigabyte by HTTP."""
    small, large = packed(56), packed(1024)
    with attacked(open_deployment, "gzip bombs") as finding, ExitStack() as held:
        for _ in range(16 * times):
            connection = Http2(open_deployment.ports["grpc"])
            held.callback(connection.close)
            headers = (open_deployment.bearer, ("grpc-encoding", "gzip"))
            connection.socket.sendall(connection.call(_INFER, small, *headers, packed=True))
        statuses = [bomb(open_deployment, large) for _ in range(4)]
        finding.note = f"{16 * times} by gRPC, 4 by HTTP"
    assert set(statuses) == {400}


def packed(megabytes: int) -> bytes:
    """So many megabytes of zeros, compressed with gzip piece by piece."""
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(megabytes)) + packer.flush()


def bomb(deployment: GatewayDeployment, body: bytes) -> int:
    """The status with which an HTTP request is answered whose body unfolds."""
    connection = HTTPConnection("127.0.0.1", deployment.ports["http"], timeout=300)
    headers = dict([deployment.bearer, ("content-encoding", "gzip")])
    connection.request("POST", "/v2/models/digits/infer", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status
