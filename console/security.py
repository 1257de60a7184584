"""What holds for every request and answer: the host, where a form comes from, security headers."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class Guard:
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
