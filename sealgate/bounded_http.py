"""An HTTP server for small things: short patience, few connections at once."""

import socket
import threading
from contextlib import suppress
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
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        connection = request.dup()
        self._enter(connection)
        # A socket's own timeout bounds each wait, this bounds them together.
        end = threading.Timer(SECONDS, _break_off, (connection,))
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._leave(connection)
            self._free.release()

    def _enter(self, connection: socket.socket) -> None:
        with self._mutex:
            self._open.append(connection)
            if len(self._open) > _CONNECTIONS:
                _break_off(self._open.pop(0))

    def _leave(self, connection: socket.socket) -> None:
        with self._mutex:
            if connection in self._open:
                self._open.remove(connection)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that break off are no news."""


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
