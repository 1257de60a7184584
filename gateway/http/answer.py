"""What the HTTP door answers: a status, a body, and few headers."""

import json
import math
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Kind, Reason, Refusal
from sealgate.statuses import retry_after

JSON = "application/json"
BINARY = "application/octet-stream"

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
"""As google/rpc/code.proto maps the codes of `sealgate.statuses`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`kind` is the body's media type, `headers` what goes beside it and its length."""

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def said(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document, separators=(",", ":")).encode())


def refused(refusal: Refusal, receipt: bytes | None = None) -> Answer:
    """The reason's sentence and name, its facts and the receipt where there are such."""
    reason = refusal.reason
    document: dict[str, Any] = {"error": reason.sentence, "reason": reason.name}
    if refusal.facts:
        document["metadata"] = refusal.facts
    if receipt is not None:
        document["receipt"] = receipt.decode()
    headers: list[tuple[str, str]] = []
    if reason.kind is Kind.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    seconds = retry_after(refusal)
    if seconds is not None:
        # HTTP knows whole seconds only.
        headers.append(("retry-after", str(max(1, math.ceil(seconds)))))
    body = json.dumps(document, separators=(",", ":")).encode()
    return Answer(STATUS[reason.kind], body, JSON, tuple(headers))


MALFORMED = refused(Refusal(Reason.MESSAGE_MALFORMED))
"""What is said of a request that is not HTTP."""
