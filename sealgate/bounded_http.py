"""An HTTP server for small things: short patience, few connections at once."""

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS = 10.0
_CONNECTIONS = 32


class BoundedServer(ThreadingHTTPServer):
    """Each connection has ten seconds in all; beyond 32 at once they are dropped."""

    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Raises OSError where the address cannot be listened on."""
        if ":" in host:
            self.address_family = socket.AF_INET6
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((host, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        request.settimeout(SECONDS)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A socket's own timeout bounds each wait, this bounds them together. TLS takes the socket
        # over, but not a second descriptor of it.
        connection = request.dup()
        end = threading.Timer(SECONDS, _break_off, (connection,))
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            connection.close()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that break off are no news."""


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
