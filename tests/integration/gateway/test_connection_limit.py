"""Connections that never send a call are closed, so they can't use up the file descriptors."""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.transport import grpc_listeners
from sealgate.oip import grpc_service_pb2 as oip
from tests.support.harness.gateway import GatewayHarness

_MOST = 8


def closed(connections: Sequence[socket.socket], expected: int, seconds: float) -> int:
    """How many the gateway has closed, once those expected have been or the time has gone."""
    end = time.monotonic() + seconds
    while True:
        count = sum(map(is_closed, connections))
        if count >= expected or time.monotonic() > end:
            return count
        time.sleep(0.05)


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_silent_connections_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setattr(grpc_listeners, "HANDSHAKE_MS", 10_000)
    harness = GatewayHarness(tmp_path / "state", transport=transport)
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(f"\n[limits]\nconnections = {_MOST}\n")
    harness.start()
    stub = harness.inference()
    # Its caller is known, unlike that of ServerLive, so its connection stays.
    stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60)
    host, _, port = harness.profile("client").endpoint.rpartition(":")
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection((host, int(port))))
            for _ in range(3 * _MOST)
        ]
        for connection in idle:
            connection.setblocking(False)
        # Those beyond the limit at once, the others when they have said nothing for long.
        assert closed(idle, 2 * _MOST, 9) >= 2 * _MOST
        assert stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=60).name
        assert closed(idle, len(idle), 60) == len(idle)
    harness.stop()
