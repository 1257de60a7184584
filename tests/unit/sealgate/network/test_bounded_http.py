"""A small HTTP server beside connections that say nothing."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

import pytest

from sealgate.network.bounded_http import BoundedServer

pytestmark = pytest.mark.slow


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[BoundedServer]:
    server = BoundedServer("127.0.0.1", 0, Answering)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    serving.start()
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


def test_silent_connections_shut_nobody_out(server: BoundedServer) -> None:
    """Some hundreds, which come while others wait to be ended."""
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(server.server_address[:2], timeout=60))
        for _ in range(3):
            asking = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
            asking.request("GET", "/")
            assert asking.getresponse().status == 204
            asking.close()


def test_the_oldest_gives_way(server: BoundedServer) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(server.server_address[:2], timeout=60))
        others = [
            stack.enter_context(socket.create_connection(server.server_address[:2], timeout=60))
            for _ in range(40)
        ]
        # Sooner than its own time ends: the newest is still there.
        assert first.recv(1) == b""
        others[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            others[-1].recv(1)


def test_connections_that_fail_leave_their_places(
    server: BoundedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there are places, each for want of another thread."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", no_thread)
        for _ in range(80):
            with socket.create_connection(server.server_address[:2], timeout=60) as refused:
                assert refused.recv(1) == b""
    asking = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    asking.request("GET", "/")
    assert asking.getresponse().status == 204
    asking.close()


def no_thread(_: threading.Timer) -> None:
    raise RuntimeError("can't start new thread")
