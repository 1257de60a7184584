"""The console's composition root: configuration in, an ASGI application and its server out."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from console.config import ConsoleConfig
from console.pages import ROUTES
from console.reading.gateway import GatewayChannel
from console.reading.packs import PackExports
from console.security import HEADERS, Guard
from console.sessions import SessionStore
from console.sign_in.oidc import OidcSignIn, thumbprint
from console.sign_in.routes import SignIn
from console.signing import PendingSignatures
from console.views import Console, Templates, endpoint, plain
from sealgate.timed_connection import TimedConnection

_STATIC = Path(__file__).parent / "static"
_CONNECTIONS = 256
_STATIC_CACHE = "public, max-age=3600"


class _StaticFiles(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = _STATIC_CACHE
        return response


def build(
    config: ConsoleConfig,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The application. Raises: ConfigError for files that cannot be used."""

    def moment() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    gateway = GatewayChannel(config.gateway, config.trust, moment)
    packs = PackExports()
    sessions = SessionStore(
        config.sessions.idle,
        config.sessions.absolute,
        clock,
        lambda session: packs.drop(session.handle),
    )
    console = Console(
        gateway,
        sessions,
        Templates(),
        moment,
        PendingSignatures(clock),
        packs,
        config.listen.origin,
        config.links.folder,
    )
    sign_in = SignIn(console, config.links.folder, _oidc(config, gateway.certificate, clock))
    pages = [
        Route(path, endpoint(console, handler), methods=list(methods))
        for path, handler, methods in ROUTES
    ]
    guard = Middleware(Guard, origin=config.listen.origin, authority=config.listen.authority)
    static = Mount("/static", _StaticFiles(directory=_STATIC))
    app = Starlette(
        routes=[*sign_in.routes(), *pages, static],
        middleware=[guard],
        exception_handlers={
            404: partial(_said, console, 404, "There is no such page"),
            405: partial(_said, console, 405, "This page takes no such request"),
            500: partial(_said, console, 500, "The console made a mistake"),
        },
    )
    app.state.console = console
    return app


async def _said(
    console: Console, status: int, title: str, request: Request, error: Exception
) -> Response:
    response = plain(console, status, title)
    # The page for 500 is made outside the middleware.
    response.headers.update(HEADERS)
    response.headers["cache-control"] = "no-store"
    return response


def _oidc(
    config: ConsoleConfig, certificate: bytes, clock: Callable[[], float]
) -> OidcSignIn | None:
    if not config.oidc.issuer:
        return None
    return OidcSignIn(
        config.oidc,
        f"{config.listen.origin}/oidc/callback",
        (str(config.gateway.certificate), str(config.gateway.key)),
        thumbprint(certificate),
        clock,
    )


def server(config: ConsoleConfig, app: Starlette) -> uvicorn.Server:
    """The server, which ends at SIGTERM and SIGINT."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=config.listen.host,
            port=config.listen.port,
            ssl_certfile=config.listen.certificate,
            ssl_keyfile=config.listen.key,
            http=TimedConnection,
            # There is none, and the middleware looks at requests alone.
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
    )
