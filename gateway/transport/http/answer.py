"""What the HTTP gateway answers: a status, a body, and few headers; refusals in the protocol's form
or in OpenAI's.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Protocol

from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import retry_after

JSON = "application/json"
BINARY = "application/octet-stream"
EVENTS = "text/event-stream"

STATUS: dict[Kind, int] = {
    Kind.UNAUTHENTICATED: 401,
    Kind.DENIED: 403,
    Kind.INVALID: 400,
    Kind.NOT_FOUND: 404,
    Kind.EXISTS: 409,
    Kind.PRECONDITION: 400,
    Kind.STALE: 409,
    Kind.EXHAUSTED: 429,
    Kind.UNAVAILABLE: 503,
    Kind.TOO_LATE: 504,
    Kind.DATA_LOSS: 500,
    Kind.INTERNAL: 500,
}
"""As google/rpc/code.proto maps the codes of `sealgate.remote.errors`."""
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`kind` is the body's media type, `headers` what goes beside it and its length. `is_sent` says
    that it has left already, in parts.
    """

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    is_sent: bool = False


class HttpStream(Protocol):
    """Takes an answer in parts. Each raises OSError where the caller takes them no more."""

    def begin(self, kind: str) -> None:
        """Say that an answer of this media type comes, with status 200."""

    def send(self, data: bytes) -> None: ...

    def end(self) -> None: ...


def said(document: Any, status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(document, separators=(",", ":")).encode())


def refused(
    refusal: SealgateError, receipt: bytes | None = None, openai: bool = False
) -> HttpAnswer:
    """The reason's sentence and name, its facts and the receipt where there are such."""
    reason = refusal.reason
    document = openai_error(refusal, receipt) if openai else _error(refusal, receipt)
    headers: list[tuple[str, str]] = []
    if reason.kind is Kind.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    seconds = retry_after(refusal)
    if seconds is not None:
        # HTTP knows whole seconds only.
        headers.append(("retry-after", str(max(1, math.ceil(seconds)))))
    body = json.dumps(document, separators=(",", ":")).encode()
    return HttpAnswer(STATUS[reason.kind], body, JSON, tuple(headers))


def openai_error(refusal: SealgateError, receipt: bytes | None) -> dict[str, Any]:
    """A refusal as OpenAI's clients read one; the reason's name is the `code`."""
    reason = refusal.reason
    error: dict[str, Any] = {
        "message": reason.sentence,
        "type": _OPENAI_TYPES.get(STATUS[reason.kind], "invalid_request_error"),
        "param": refusal.facts.get("param"),
        "code": reason.name,
    }
    if receipt is not None:
        error["receipt"] = receipt.decode()
    return {"error": error}


def _error(refusal: SealgateError, receipt: bytes | None) -> dict[str, Any]:
    reason = refusal.reason
    document: dict[str, Any] = {"error": reason.sentence, "reason": reason.name}
    if refusal.facts:
        document["metadata"] = refusal.facts
    if receipt is not None:
        document["receipt"] = receipt.decode()
    return document


MALFORMED = refused(SealgateError(Reason.MESSAGE_MALFORMED))
"""What is said of a request that is not HTTP."""
