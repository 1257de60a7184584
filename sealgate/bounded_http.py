"""A small HTTP server with short timeouts and few simultaneous connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS = 10.0
_CONNECTIONS = 32
# Connections that have been ended take a while to go.
_MOST = 2 * _CONNECTIONS
_ENDING_SECONDS = 1.0


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
        super().__init__((host, port), handler)

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


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
