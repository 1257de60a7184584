"""Views: a page handler's request, and its answers by forms, templates and refusals."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import grpc
import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from console.display.formats import FILTERS, visible
from console.reading.gateway import GatewayChannel, PersonCalls
from console.reading.jobs import PackExports, Verifications
from console.sessions import BrowserSession, PendingSignatures, SessionStore, passkeys_of
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import refusal_of
from sealgate.setup.people import sweep

SESSION_COOKIE = "__Host-sealgate"
_LARGEST_FORM = 1 << 18
_STATUS = {
    Kind.UNAUTHENTICATED: 401,
    Kind.DENIED: 403,
    Kind.NOT_FOUND: 404,
    Kind.INVALID: 400,
    Kind.EXISTS: 409,
    Kind.STALE: 409,
    Kind.PRECONDITION: 409,
    Kind.EXHAUSTED: 429,
    Kind.TOO_LATE: 504,
}


class Templates:
    """The pages' templates. Every value is escaped, and what cannot be seen is written out."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=visible,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(FILTERS)

    def render(self, name: str, **values: Any) -> str:
        return self._environment.get_template(name).render(**values)


@dataclass(frozen=True, slots=True)
class Console:
    """The objects that every page needs."""

    gateway: GatewayChannel
    sessions: SessionStore
    templates: Templates
    clock: Callable[[], datetime]
    pending: PendingSignatures
    packs: PackExports
    origin: str
    links: Path | None = None
    verifications: Verifications = field(default_factory=Verifications)

    def tidy(self) -> None:
        """Forget sessions whose time is over, with their packs, and links that are too old. Raises
        OSError.
        """
        self.sessions.drop_ended()
        if self.links is not None:
            sweep(self.links, self.clock())

    @property
    def host(self) -> str:
        """The console's host, for which passkeys are made."""
        return urlsplit(self.origin).hostname or ""


@dataclass(slots=True)
class View:
    """One request of a person who is signed in."""

    console: Console
    request: Request
    session: BrowserSession
    form: dict[str, str] = field(default_factory=dict)
    calls: PersonCalls = field(init=False)
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.calls = self.console.gateway.person(self.session.identity, self.session.token)
        self.now = self.console.clock()

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        return self.request.query_params.get(name, "").strip()

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page within the frame that all pages share."""
        page = self.console.templates.render(
            template,
            me=self.calls.person,
            csrf=self.session.csrf,
            here=self.request.url.path,
            now=self.now,
            signs=self._signs,
            **values,
        )
        return HTMLResponse(page, status)

    def _signs(self) -> bool:
        """Whether the person can sign here: the policy lists a passkey of theirs."""
        return bool(passkeys_of(self.calls.policy, self.calls.person, self.console.origin))


Handler = Callable[[View], Response]


def endpoint(console: Console, handler: Handler) -> Callable[[Request], Any]:
    """An endpoint for people who are signed in; others are asked to sign in.

    1. The cookie names a session that holds.
    2. A form carries the session's CSRF token.
    3. A refusal of the gateway becomes a page with its reason.
    """

    async def answer(request: Request) -> Response:
        # 1.
        session = console.sessions.find(request.cookies.get(SESSION_COOKIE, ""))
        if session is None:
            return _unknown(console, request)
        # 2.
        form = await read_form(request) if request.method == "POST" else {}
        if request.method == "POST" and not secrets.compare_digest(
            form.get("csrf", "").encode(), session.csrf.encode()
        ):
            return plain(console, 403, "This form is too old", "Go back, reload, and try again.")
        # 3.
        return await run_in_threadpool(partial(_answer, console, handler, request, session, form))

    return answer


def _answer(
    console: Console,
    handler: Handler,
    request: Request,
    session: BrowserSession,
    form: dict[str, str],
) -> Response:
    try:
        return handler(View(console, request, session, form))
    except (SealgateError, grpc.RpcError) as error:
        refusal = error if isinstance(error, SealgateError) else refusal_of(error)
        ended = refusal.reason.kind is Kind.UNAUTHENTICATED
        if ended:
            console.sessions.close(session)
        return refused(console, refusal, signed_in=not ended)


def refused(console: Console, refusal: SealgateError, *, signed_in: bool = False) -> HTMLResponse:
    """The page for a refusal."""
    reason, detail = refusal.reason, refusal.detail
    if "roles" in refusal.facts:
        detail = f"It takes the role {refusal.facts['roles'].replace(', ', ' or ')}."
    status = _STATUS.get(reason.kind, 503 if reason is Reason.CALL_FAILED else 500)
    if reason.kind is Kind.UNAVAILABLE:
        status = 503
    told = reason.sentence, detail, reason.name
    return plain(console, status, *told, signed_in=signed_in)


def plain(
    console: Console,
    status: int,
    title: str,
    detail: str = "",
    reason: str = "",
    *,
    signed_in: bool = False,
) -> HTMLResponse:
    """A page that tells nothing of the gateway."""
    told = {"title": title, "detail": detail, "reason": reason, "signed_in": signed_in}
    return HTMLResponse(console.templates.render("refused.html", **told), status)


def _unknown(console: Console, request: Request) -> Response:
    """Browsers leave the cookie out where another site leads here: the page then asks again."""
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # A path of this console, whatever was asked for: `//host` would lead to another.
        target = "/" + quote(request.url.path.lstrip("/\\"))
        target += f"?{request.url.query}" if request.url.query else ""
        return HTMLResponse(console.templates.render("again.html", target=target))
    return RedirectResponse("/sign-in", 303)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; none of one that is too large or of another kind."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        return {}
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        return {}
    return {name: value.strip() for name, value in pairs}
