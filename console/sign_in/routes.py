"""Signing in and out: one-time links, the OpenID provider, and the list of one's own sessions."""

from pathlib import Path

import jwt
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from console.display.formats import from_base64url
from console.reading.gateway import PRINCIPAL
from console.sessions import enrolled, user_handle
from console.sign_in.oidc import OidcSignIn, SignedIn, SignInFailed
from console.views import SESSION_COOKIE, Console, View, endpoint, plain, read_form, refused
from sealgate.reasons import SealgateError
from sealgate.setup.people import ENROL, SIGN_IN, find_link, keep_passkey, take_link
from sealgate.trust.fields import base64url
from sealgate.trust.times import parse_time
from sealgate.v1.credential_pb2 import PasskeyAssertion

_LOGIN_COOKIE = "__Host-sealgate-sign-in"
_SIGN_INS = 4
"""How many ask the provider or the gateway at a time."""
_OLD = "The link was used already, or is too old. Ask for a new one."


class SignIn:
    """The pages before a session; `links` and `oidc` are None where there is no such sign-in."""

    def __init__(self, console: Console, links: Path | None, oidc: OidcSignIn | None) -> None:
        self._console = console
        self._links = links
        self._oidc = oidc
        # Anybody may begin, and the provider may be slow: the other threads are for people who are
        # signed in.
        self._limiter = CapacityLimiter(_SIGN_INS)

    def routes(self) -> list[Route]:
        """The routes of this module."""
        console = self._console
        found = [
            Route("/sign-in", self._choose),
            Route("/sessions", endpoint(console, _sessions)),
            Route("/sign-out", endpoint(console, _sign_out), methods=["POST"]),
            Route("/sign-out-everywhere", endpoint(console, _sign_out_all), methods=["POST"]),
        ]
        found.append(Route("/sign-in/passkey", self._passkey, methods=["POST"]))
        if self._links is not None:
            found.append(Route("/links/{code}", self._link, methods=["GET", "POST"]))
        if self._oidc is not None:
            found.append(Route("/oidc/begin", self._begin, methods=["POST"]))
            found.append(Route("/oidc/callback", self._callback))
        return found

    async def _choose(self, request: Request) -> Response:
        page = self._console.templates.render(
            "sign_in.html", oidc=self._oidc is not None, links=self._links is not None, code=""
        )
        return HTMLResponse(page)

    async def _link(self, request: Request) -> Response:
        """Looking at a link does not use it up, for programs look at links too; the button does."""
        assert self._links is not None  # noqa: S101 (else there is no such route)
        code = str(request.path_params["code"])
        now = self._console.clock()
        found = find_link(self._links, code, now)
        if found is not None and found.kind == ENROL:
            return await self._enrol(request, self._links, code, found.value)
        if request.method == "GET":
            if found is None:
                return plain(self._console, 404, "This link does not work", _OLD)
            page = self._console.templates.render("sign_in.html", oidc=False, links=True, code=code)
            return HTMLResponse(page)
        taken = take_link(self._links, code, now)
        if taken is None or taken.kind != SIGN_IN:
            return plain(self._console, 404, "This link does not work", _OLD)
        token = taken.value
        # The gateway verifies it on the first call, as on each.
        claims = jwt.decode(token, options={"verify_signature": False})
        person = SignedIn(f"jwt:{claims['iss']} {claims['sub']}", token, float(claims["exp"]))
        return await run_in_threadpool(self._open, request, person)

    async def _enrol(self, request: Request, links: Path, code: str, name: str) -> Response:
        """The page where a person makes their passkey, before any policy names them.

        The link is used up once the passkey is made.
        """
        console = self._console
        made = None
        if request.method == "POST":
            form = await read_form(request)
            try:
                made = enrolled(from_base64url(form, "authenticator_data"), console.origin)
            except SealgateError as refusal:
                return refused(console, refusal)
            if take_link(links, code, console.clock()) is None:
                return plain(console, 404, "This link does not work", _OLD)
            keep_passkey(links, name, made)
        page = console.templates.render(
            "enrol.html",
            person=name,
            code=code,
            made=made,
            host=console.host,
            user=user_handle(name),
            challenge=base64url(code.encode()),
        )
        return HTMLResponse(page)

    async def _passkey(self, request: Request) -> Response:
        """First the page that asks the passkey, with the gateway's challenge; then its answer."""
        form = await read_form(request)
        try:
            if "signature" not in form:
                challenge = await run_sync(
                    self._console.gateway.login_challenge, limiter=self._limiter
                )
                page = self._console.templates.render(
                    "sign_in_passkey.html",
                    challenge=base64url(challenge),
                    host=self._console.host,
                )
                return HTMLResponse(page)
            found = await run_sync(
                self._console.gateway.passkey_token,
                PasskeyAssertion(
                    key_id=form.get("key_id", ""),
                    challenge=from_base64url(form, "challenge"),
                    authenticator_data=from_base64url(form, "authenticator_data"),
                    client_data_json=from_base64url(form, "client_data"),
                    signature=from_base64url(form, "signature"),
                ),
                limiter=self._limiter,
            )
        except SealgateError as refusal:
            return refused(self._console, refusal)
        expires = parse_time(found.expire_time).timestamp()
        person = SignedIn(PRINCIPAL + found.principal, found.token, expires)
        return await run_in_threadpool(self._open, request, person)

    async def _begin(self, request: Request) -> Response:
        assert self._oidc is not None  # noqa: S101 (else there is no such route)
        await read_form(request)
        try:
            url, number = await run_sync(self._oidc.begin, limiter=self._limiter)
        except SignInFailed as error:
            return plain(self._console, 502, "Signing in did not work", str(error))
        # A form may not lead elsewhere (form-action), so a page does.
        page = self._console.templates.render("leave.html", url=url)
        response = HTMLResponse(page)
        # The provider's answer comes from another site, to which a strict cookie is not sent.
        _set(response, _LOGIN_COOKIE, number, "lax")
        return response

    async def _callback(self, request: Request) -> Response:
        assert self._oidc is not None  # noqa: S101 (else there is no such route)
        number = request.cookies.get(_LOGIN_COOKIE, "")
        try:
            person = await run_sync(
                self._oidc.finish, number, dict(request.query_params), limiter=self._limiter
            )
        except SignInFailed as error:
            return plain(self._console, 403, "Signing in did not work", str(error))
        response = await run_in_threadpool(self._open, request, person)
        response.delete_cookie(_LOGIN_COOKIE, path="/", secure=True, httponly=True)
        return response

    def _open(self, request: Request, person: SignedIn) -> Response:
        """A new session, if the gateway knows the person."""
        console = self._console
        try:
            calls = console.gateway.person(person.identity, person.token)
            _ = calls.person
        except SealgateError as refusal:
            return refused(console, refusal)
        agent = request.headers.get("user-agent", "")
        number = console.sessions.open(person.identity, person.token, person.expires, agent)
        # Not a redirect: after one from another site, the browser would leave the cookie out.
        response = HTMLResponse(console.templates.render("again.html", target="/"))
        _set(response, SESSION_COOKIE, number, "strict")
        return response


def _set(response: Response, name: str, value: str, same_site: str) -> None:
    response.set_cookie(
        name,
        value,
        path="/",
        secure=True,
        httponly=True,
        samesite="strict" if same_site == "strict" else "lax",
    )


def _sessions(view: View) -> Response:
    found = view.console.sessions.of(view.session.identity)
    return view.render("sessions.html", sessions=found, own=view.session.handle)


def _sign_out(view: View) -> Response:
    view.console.sessions.close(view.session)
    return _signed_out()


def _sign_out_all(view: View) -> Response:
    view.console.sessions.close_all(view.session.identity)
    return _signed_out()


def _signed_out() -> Response:
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True)
    # Not the storage: it says which passkeys this browser has met, so that one signs in again.
    response.headers["clear-site-data"] = '"cache"'
    return response
