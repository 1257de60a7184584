"""The limits of the federated server on anybody who connects."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sealgate.network.timed_connection import TimedConnection, TimedLoop
from sealgate.setup.credentials import CertificateAuthority
from training.federated.listener import UpdateConnection, listener_config

HOST, LARGEST, _PATIENCE = "127.0.0.1", 64, 60
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
POST = b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
HALF = POST + b"content-length: 9\r\n\r\nhalf"


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes")


class UpdateListener:
    """The listener, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        authority = CertificateAuthority("federation", datetime.now(UTC), timedelta(days=1))
        own = authority.server("server", (HOST,))
        certificate, key = folder / "server.pem", folder / "key.pem"
        certificate.write_bytes(own.certificate)
        key.write_bytes(own.key)
        app = Starlette(routes=[Route("/", _answer, methods=["GET", "POST"])])
        self.config = listener_config(app, certificate, key, largest=LARGEST, clients=9)
        self.server = uvicorn.Server(self.config)
        self.listening = socket.create_server((HOST, 0))
        self.trust = ssl.create_default_context(cadata=authority.pem.decode())

    def run(self) -> None:
        self.server.run(sockets=[self.listening])

    def connected(self, sent: bytes, trust: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(self.listening.getsockname(), _PATIENCE)
        connection = (trust or self.trust).wrap_socket(plain, server_hostname=HOST)
        connection.sendall(sent)
        return connection


def received(connection: ssl.SSLSocket) -> bytes:
    """All that comes until the other end ends the connection."""
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return found


@contextmanager
def running(folder: Path) -> Iterator[UpdateListener]:
    listener = UpdateListener(folder)
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    while not listener.server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield listener
    finally:
        listener.server.should_exit = True
        thread.join()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[UpdateListener]:
    with running(tmp_path) as listener:
        yield listener


def test_connections_are_bounded_in_number_and_time(listener: UpdateListener) -> None:
    assert listener.config.http is UpdateConnection
    assert issubclass(UpdateConnection, TimedConnection)
    assert UpdateConnection.SECONDS == 60
    assert listener.config.limit_concurrency == 256 + 2 * 9
    assert listener.config.ws == "none"


@pytest.mark.parametrize("begun", [b"", GET, HALF])
def test_a_silent_connection_is_ended(
    listener: UpdateListener, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UpdateConnection, "SECONDS", 0.05)
    held = [listener.connected(begun) for _ in range(3)]
    assert [received(connection) for connection in held] == [b""] * 3
    # An honest one may come late where the machine is busy.
    monkeypatch.setattr(UpdateConnection, "SECONDS", _PATIENCE)
    answer = received(listener.connected(GET + b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"0 bytes")


def test_a_handshake_that_does_not_come_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TimedLoop.HANDSHAKE_SECONDS == 5
    monkeypatch.setattr(TimedLoop, "HANDSHAKE_SECONDS", 0.1)
    with running(tmp_path) as listener:
        place = listener.listening.getsockname()
        # The usual time is a minute.
        with socket.create_connection(place, _PATIENCE / 2) as silent:
            assert silent.recv(1) == b""


def test_silent_connections_give_way_to_a_new_one(listener: UpdateListener) -> None:
    most = listener.config.limit_concurrency or 0
    held = [listener.connected(b"") for _ in range(most)]
    answer = received(listener.connected(GET + b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 200")
    for connection in held:
        connection.close()


@pytest.mark.parametrize("head", [f"content-length: {LARGEST + 1}", "transfer-encoding: chunked"])
def test_a_body_that_is_too_large_or_of_unknown_size_is_refused(
    listener: UpdateListener, head: str
) -> None:
    answer = received(listener.connected(POST + head.encode() + b"\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 413")


def test_earlier_versions_of_tls_are_refused(listener: UpdateListener) -> None:
    listener.trust.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        listener.connected(b"")
    listener.trust.maximum_version = ssl.TLSVersion.TLSv1_3
    assert listener.connected(b"").version() == "TLSv1.3"
