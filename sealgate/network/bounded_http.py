"""HTTP with bounds: a small server with few connections, and one request to another server.

The other side may be hostile: it may send a byte at a time, heads without end, or more than was
asked for. Redirects are not followed, nothing is decompressed, and the environment's proxies are
not used.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult

from sealgate.network.bounded_connect import open_http

SECONDS = 10.0
_CONNECTIONS = 32
# Connections that have been ended take a while to go.
_MOST = 2 * _CONNECTIONS
_ENDING_SECONDS = 1.0
_AGAIN_SECONDS = 0.1
_LOOK_SECONDS = 0.1


class BoundedServer(ThreadingHTTPServer):
    """Each connection has ten seconds in all. Beyond 32 at once the oldest gives way to the newest,
    which has something to ask, as far as anybody can tell.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Raises OSError where the address cannot be listened on."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self._mutex = threading.Lock()
        # Second descriptors, the oldest first: TLS takes the sockets over, but not these.
        self._open: list[socket.socket] = []
        self._free = threading.BoundedSemaphore(_MOST)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_LOOK_SECONDS,), name="http", daemon=True
        )
        super().__init__((host, port), handler)

    def start(self) -> None:
        """Begin to answer, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(timeout=_ENDING_SECONDS):
            self.shutdown_request(request)
            return
        request.settimeout(SECONDS)
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # There are too many threads; who listens ends the connection.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            with request.dup() as connection, self._timed(connection):
                super().process_request_thread(request, client_address)
        except (OSError, RuntimeError):
            # There are too many open files, or threads.
            self.shutdown_request(request)
        finally:
            self._free.release()

    @contextmanager
    def _timed(self, connection: socket.socket) -> Iterator[None]:
        # A socket's own timeout bounds each wait, this bounds them together.
        end = threading.Timer(SECONDS, _break_off, (connection,))
        end.start()
        self._enter(connection)
        try:
            yield
        finally:
            end.cancel()
            self._leave(connection)

    def _enter(self, connection: socket.socket) -> None:
        with self._mutex:
            self._open.append(connection)
            if len(self._open) > _CONNECTIONS:
                _break_off(self._open.pop(0))

    def _leave(self, connection: socket.socket) -> None:
        with self._mutex:
            if connection in self._open:
                self._open.remove(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that break off are no news."""


class BoundedHandler(BaseHTTPRequestHandler):
    """Answers one request a connection. It logs no requests."""

    timeout = SECONDS
    server_version = "sealgate"
    sys_version = ""

    def send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        """Answer with a body of that media type; of HEAD, with its length alone."""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class HttpExchange:
    """A request to a server: `target` is the path with its query; http or https, as `parts` say.

    `context` says whose certificate is believed; all must be over after `seconds`, and of the body
    no more than `largest` bytes and one are read. With `addresses`, it connects to the first of
    them that answers, whatever the host's name means; the certificate must still be the host's.
    """

    parts: SplitResult
    context: ssl.SSLContext | None
    method: str
    target: str
    largest: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    addresses: Sequence[str] = ()

    def run(self) -> tuple[int, bytes]:
        """The status and the body. Raises OSError, http.client.HTTPException, ValueError."""
        end = time.monotonic() + self.seconds
        host, port = self.parts.hostname or "", self.parts.port
        # Plain HTTP must be asked for: https without a context has the system's authorities.
        context = None
        connection = http.client.HTTPConnection(host, port)
        if self.parts.scheme != "http":
            context = self.context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
        try:
            with _ended_after(self.seconds, connection) as sockets:
                # A connection lets go of its socket once it has the head of a last answer.
                sockets.append(open_http(connection, context, end, self.addresses))
                connection.request(self.method, self.target, self.body, dict(self.headers))
                response = connection.getresponse()
                data = response.read(self.largest + 1)
                if len(data) <= self.largest and response.length:
                    raise http.client.IncompleteRead(data, response.length)
                return response.status, data
        finally:
            connection.close()


@contextmanager
def _ended_after(
    seconds: float, connection: http.client.HTTPConnection
) -> Iterator[list[socket.socket]]:
    """End the connection, wherever its thread waits; the socket's own timeout bounds each wait
    alone. Raises TimeoutError instead of whatever that led to. Yields a list to put the socket in.
    """
    done, late, sockets = threading.Event(), threading.Event(), list[socket.socket]()

    def watch() -> None:
        pause = seconds
        while not done.wait(pause):
            late.set()
            # There may be no socket yet, or one without TLS.
            pause = _AGAIN_SECONDS
            for sock in sockets or filter(None, [connection.sock]):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield sockets
    finally:
        done.set()
        if late.is_set():
            raise TimeoutError("the exchange takes too long")
