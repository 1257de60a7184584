"""The console's composition root: configuration in, an ASGI application and its server out."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.config import ConsoleConfig
from console.pages import ROUTES
from console.reading.gateway import GatewayChannel
from console.reading.jobs import PackExports
from console.sessions import PendingSignatures, SessionStore
from console.sign_in.oidc import OidcSignIn
from console.sign_in.routes import SignIn
from console.views import Console, Templates, endpoint, plain
from sealgate.network.timed_connection import LOOP, TimedConnection
from sealgate.trust.keys.certificate_identity import thumbprint

_STATIC = Path(__file__).parent / "static"
_CONNECTIONS = 256
_STATIC_CACHE = "public, max-age=3600"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_SAFE = ("GET", "HEAD")
_ERRORS = {
    404: "There is no such page",
    405: "This page takes no such request",
    500: "The console made a mistake",
}


class _StaticFiles(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = _STATIC_CACHE
        return response


def build(config: ConsoleConfig, clock: Callable[[], float] = time.time) -> Starlette:
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
    guard = Middleware(OriginGuard, origin=config.listen.origin, authority=config.listen.authority)
    static = Mount("/static", _StaticFiles(directory=_STATIC))
    app = Starlette(
        routes=[*sign_in.routes(), *pages, static],
        middleware=[guard],
        exception_handlers={
            code: partial(_said, console, code, text) for code, text in _ERRORS.items()
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
        thumbprint(certificate.decode("ascii")),
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
            loop=LOOP,
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


class OriginGuard:
    """Middleware that refuses requests for another host (421), and forms of other origins (403).

    Pages are not stored by browsers or proxies: they show what only one person may see.
    """

    def __init__(self, app: ASGIApp, *, origin: str, authority: str) -> None:
        self._app = app
        self._origin = origin
        self._authority = authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        # A name that an attacker points at this machine is not ours.
        if headers.getlist("host") != [self._authority]:
            return PlainTextResponse("The console is not served under this name.", 421)
        if scope["method"] not in _SAFE and not self._is_ours(headers):
            return PlainTextResponse("This form comes from another site.", 403)
        return None

    def _is_ours(self, headers: Headers) -> bool:
        """Whether a form was sent from a page of ours. The browser says so, and no page can lie in
        its name: in `origin`, or, where the policy of referrers makes that `null`, beside it.
        """
        origin = headers.getlist("origin")
        if origin == [self._origin]:
            return True
        return origin in ([], ["null"]) and headers.getlist("sec-fetch-site") == ["same-origin"]
