"""Silent connections take a server's places for a moment alone."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from demo.stage import free_ports
from sealgate.network.timed_connection import TimedConnection
from tests.support.fakes.blocking_worker import until

_MOST = 4
_PATIENCE = 60
# Together more than the buffers of both ends.
_PART, _PARTS = 1 << 20, 32
_GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
_POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf"
BEGUN = {"silent": b"", "half a head": _GET, "half a body": _POST}


class Served:
    """A server with few places, whose answers wait for `may_answer`."""

    def __init__(self) -> None:
        self.port = free_ports()
        self.may_answer = threading.Event()
        self.asked = threading.Event()
        answer = Route("/", self._answer, methods=["GET", "POST"])
        app = Starlette(routes=[answer, Route("/large", self._large)])
        self.server = uvicorn.Server(
            uvicorn.Config(
                app,
                port=self.port,
                http=TimedConnection,
                ws="none",
                log_config=None,
                lifespan="off",
                limit_concurrency=_MOST,
            )
        )

    def _answer(self, request: Request) -> PlainTextResponse:
        self.asked.set()
        assert self.may_answer.wait(_PATIENCE)
        return PlainTextResponse("here")

    def _large(self, request: Request) -> StreamingResponse:
        return StreamingResponse(bytes(_PART) for _ in range(_PARTS))

    def connected(self, sent: bytes, host: str = "127.0.0.1") -> socket.socket:
        """A connection from that address, by which these bytes are sent."""
        place, source = ("127.0.0.1", self.port), (host, 0)
        connection = socket.create_connection(place, _PATIENCE, source)
        connection.sendall(sent)
        return connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the other end ends the connection."""
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except ConnectionResetError:
        pass
    return found


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=served.server.run, daemon=True)
    thread.start()
    while not served.server.started:
        assert thread.is_alive()
        thread.join(0.01)
    yield served
    served.may_answer.set()
    served.server.should_exit = True
    thread.join()


@pytest.mark.parametrize("begun", BEGUN)
def test_a_request_that_does_not_come_ends_its_connection(
    served: Served, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimedConnection, "SECONDS", 0.05)
    # A request whose head has come is answered at once, though all places are taken.
    count = _MOST - (begun == "half a body")
    held = [served.connected(BEGUN[begun]) for _ in range(count)]
    assert [received(connection) for connection in held] == [b""] * count
    # An honest one may come late where the machine is busy.
    monkeypatch.setattr(TimedConnection, "SECONDS", _PATIENCE)
    served.may_answer.set()
    answer = received(served.connected(_GET + b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"here")


def test_who_comes_after_silent_ones_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon these connect again."""
    monkeypatch.setattr(TimedConnection, "SECONDS", _PATIENCE)
    served.may_answer.set()
    slow = served.connected(_GET, "127.0.0.2")
    silent = [served.connected(b"") for _ in range(3 * _MOST)]
    assert received(served.connected(_GET + b"connection: close\r\n\r\n")).endswith(b"here")
    # Nor does anybody lose a place to those of one address.
    slow.sendall(b"connection: close\r\n\r\n")
    assert received(slow).endswith(b"here")
    assert received(silent[0]) == b""


def test_an_answer_that_is_not_taken_ends_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimedConnection, "SECONDS", 0.5)
    silent = served.connected(_GET.replace(b"/ ", b"/large ") + b"\r\n")
    open_ones = served.server.server_state.connections
    until(lambda: bool(open_ones))
    until(lambda: not open_ones)
    silent.close()


def test_an_answer_is_taken_in_parts(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimedConnection, "SECONDS", _PATIENCE)
    asked = _GET.replace(b"/ ", b"/large ") + b"connection: close\r\n\r\n"
    with served.connected(asked) as connection, connection.makefile("rb") as answer:
        assert answer.read().count(b"\0") == _PART * _PARTS


def test_an_answer_may_take_its_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimedConnection, "SECONDS", 0.5)
    waiting = served.connected(_GET + b"\r\n")
    assert served.asked.wait(_PATIENCE)
    assert received(served.connected(b"")) == b""
    served.may_answer.set()
    assert received(waiting).endswith(b"here")
