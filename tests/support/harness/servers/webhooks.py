"""A receiver of webhooks, as somebody else would write one: it keeps what came, and answers."""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.harness.deployment import until


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class WebhookReceiver:
    """Listens on loopback. `answer` says the status of what came, 204 by default; it may wait."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], int] = lambda _: 204
        self.headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.received]

    def wait(self, count: int, seconds: float = 60.0) -> list[Received]:
        until(lambda: len(self.received) >= count, seconds)
        return self.received

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = self.rfile.read(length)
            if len(body) < length:
                # The sender was killed in the midst of it.
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            came = Received(self.path, headers, body, time.time())
            status = receiver.answer(came)
            receiver.received.append(came)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
