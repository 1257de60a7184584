"""A witness's HTTP server: one path, small bodies, short patience, few connections at once."""

import logging
import ssl
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from sealgate.bounded_http import SECONDS, BoundedServer
from sealgate.witnessing.request import LARGEST_BYTES, PATH
from sealgate.witnessing.service import Reply, Witness

_log = logging.getLogger(__name__)


class WitnessServer(BoundedServer):
    """Serves a witness at a host and a port, over TLS where it has a certificate.

    A connection answers one request within ten seconds and is closed; beyond 32 at once the
    oldest gives way.
    """

    def __init__(
        self, host: str, port: int, witness: Witness, certificate: tuple[Path, Path] | None = None
    ) -> None:
        """`certificate` is a chain and its key, both PEM. Raises OSError."""
        self.witness = witness
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        super().__init__(host, port, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake holds up nobody."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    timeout = SECONDS
    server_version = "sealgate-witness"
    sys_version = ""

    def do_POST(self) -> None:
        self._send(self._reply())

    def _reply(self) -> Reply:
        if self.path != f"/{PATH}":
            return Reply(HTTPStatus.NOT_FOUND, "only /add-checkpoint is here\n")
        length = self.headers.get_all("content-length") or []
        if len(length) != 1 or not (length[0].isascii() and length[0].isdecimal()):
            return Reply(HTTPStatus.LENGTH_REQUIRED, "a body needs its length\n")
        if self.headers.get("transfer-encoding"):
            return Reply(HTTPStatus.BAD_REQUEST, "a body has one length\n")
        if len(length[0]) > 9 or int(length[0]) > LARGEST_BYTES:
            return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a body that is too large\n")
        body = self.rfile.read(int(length[0]))
        if len(body) != int(length[0]):
            return Reply(HTTPStatus.BAD_REQUEST, "a body that stops in the middle\n")
        try:
            return self.server.witness.add_checkpoint(body)
        except Exception:
            # Its disk is full, its database locked, or its key away: its operator must hear of it.
            _log.exception("nothing is cosigned")
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL\n")

    def _send(self, reply: Reply) -> None:
        data = reply.text.encode("utf-8")
        self.send_response(reply.status)
        self.send_header("content-type", reply.kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """What it cosigned last, its memory says."""
