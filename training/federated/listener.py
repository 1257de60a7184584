"""Listener for a federation's clients: TLS 1.3, bounded requests, and few connections.

Without these bounds, silent connections from anybody would take the server's file descriptors, and
no client could send its update any more.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from starlette.responses import PlainTextResponse

from sealgate.network.timed_connection import LOOP, TimedConnection

_CONNECTIONS, _OF_A_CLIENT = 256, 2


class UpdateConnection(TimedConnection):
    """A connection that ends where a request, or taking its answer, needs more than a minute:
    weights may come over slow lines.
    """

    SECONDS: ClassVar[float] = 60.0


class BodyLimit:
    """An ASGI app whose requests have a stated size of at most `largest` bytes."""

    def __init__(self, app: Any, largest: int) -> None:
        self._app, self._largest = app, largest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        heads = dict(scope.get("headers", ()))
        size = heads.get(b"content-length", b"0")
        if b"transfer-encoding" in heads or not size.isdigit() or int(size) > self._largest:
            await PlainTextResponse("", 413)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def listener_config(
    app: Any, certificate: Path, key: Path, *, largest: int, clients: int
) -> uvicorn.Config:
    """How to serve an ASGI app to so many clients; no request has more than `largest` bytes.

    Beyond 256 connections, and two for each client, silent ones give way to new ones; if there are
    none, requests are answered 503.
    """
    return uvicorn.Config(
        BodyLimit(app, largest),
        http=UpdateConnection,
        loop=LOOP,
        ws="none",
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        ssl_context_factory=_tls,
        limit_concurrency=_CONNECTIONS + _OF_A_CLIENT * clients,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        lifespan="off",
    )


def _tls(_: uvicorn.Config, usual: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = usual()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
