"""A witness closes connections that send their request too slowly."""

import socket
import time
from collections.abc import Iterator

import pytest

from sealgate.network import bounded_http
from sealgate.trust.keys import PrivateKey
from sealgate.witness.commands import WitnessServer
from sealgate.witness.service import Witness, WitnessMemory


@pytest.fixture
def server(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WitnessServer]:
    monkeypatch.setattr(bounded_http, "SECONDS", 1.0)
    memory = WitnessMemory(tmp_path / "witness.db", create=True)
    witness = Witness("witness.example", PrivateKey.generate(), {}, memory, time.time)
    server = WitnessServer("127.0.0.1", 0, witness)
    server.start()
    yield server
    server.stop()
    memory.close()


def test_a_slow_request_is_cut_off(server: WitnessServer) -> None:
    with socket.create_connection(server.server_address[:2], timeout=60) as dripping:
        dripping.sendall(b"POST /add-checkpoint HTTP/1.1\r\nx: ")
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                dripping.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            return
    pytest.fail("it was let go on")
