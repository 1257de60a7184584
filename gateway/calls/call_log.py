"""What the log tells of a call, and by which ids: see `sealgate.process_log`."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import security_events
from gateway.security_events import SecurityEvent, event_of_call
from inference.observability import tracing
from inference.observability.tracing import CallSpan
from sealgate.process_log import REQUESTS, RequestIds, current_request

_log = logging.getLogger(REQUESTS)

# Of this process, and in it.
_OURS, _NUMBERS = secrets.token_hex(4), itertools.count(1)
_LONGEST_ID = 128
_OK = "ok"
_UNCLEAN = re.compile(r"[^!-~]")


@dataclass(slots=True)
class CallLog(RequestIds):
    """A call so far. What it never came to is empty; `outcome` is a reason, empty for none;
    `injected`, whether the prompt was taken for an injection; `leaked`, whether the answer held
    what the policy looks for.
    """

    method: str = ""
    model: str = ""
    version: str = ""
    verdict: str = ""
    outcome: str = ""
    injected: bool = False
    leaked: bool = False

    def ran(self, model: str, version: int, verdict: str) -> None:
        """Which version the call came to, and what screening found."""
        self.model, self.version, self.verdict = model, str(version), verdict


class CallerIds(Protocol):
    @property
    def is_anonymous(self) -> bool: ...

    @property
    def principal(self) -> Any: ...

    def peer(self) -> str:
        """Where the caller is, as gRPC says it."""
        ...


def new_log(method: str) -> CallLog:
    """The log of a call that begins now."""
    return CallLog(f"{_OURS}-{next(_NUMBERS)}", method=method)


@contextmanager
def following(method: str, caller: CallerIds) -> Iterator[CallLog]:
    """The block's lines bear the call's ids; if the log is to tell of each call, it does when the
    block ends.
    """
    log = new_log(method)
    current_request.set(log)
    began = time.monotonic_ns()
    try:
        yield log
    finally:
        if tracing.is_on():
            tracing.say(**_attributes(log))
        _tell(log, caller, began)
        # Not reset: a stream may be closed by another thread than began it.
        current_request.set(None)


def end_log(log: CallLog, caller: CallerIds, began: int, span: CallSpan | None) -> None:
    """Trace and tell of a call that began at `began` (nanoseconds, monotonic) and ends now, in the
    middle of other work of its thread.
    """
    if span is not None:
        span.end(_attributes(log))
    _tell(log, caller, began)


def line_of_call() -> CallLog:
    """That of the call for which this thread works; one that nobody reads where there is none."""
    found = current_request.get()
    return found if isinstance(found, CallLog) else CallLog("")


def cleaned(caller_id: str) -> str:
    """A caller's own id, bounded, and of visible ASCII alone."""
    return _UNCLEAN.sub("?", caller_id[:_LONGEST_ID])


def _attributes(log: CallLog) -> dict[str, str]:
    return {
        "request": log.id,
        "model": log.model,
        "version": log.version,
        "verdict": log.verdict,
        "outcome": log.outcome or _OK,
    }


def _tell(log: CallLog, caller: CallerIds, began: int) -> None:
    if security_events.is_on():
        security_events.report(_event(log, caller))
    if not _log.isEnabledFor(logging.INFO):
        return
    told = {
        "principal": "" if caller.is_anonymous else caller.principal.name,
        "model": log.model,
        "version": log.version,
        "verdict": log.verdict,
        "outcome": log.outcome or _OK,
        "seconds": round((time.monotonic_ns() - began) / 1e9, 6),
    }
    fields = {name: value for name, value in told.items() if value != ""}
    _log.info("%s", log.method, extra={"fields": fields})


def _event(log: CallLog, caller: CallerIds) -> SecurityEvent | None:
    principal = "" if caller.is_anonymous else caller.principal.name
    ran = log.method, log.model, log.version
    found = log.injected, log.leaked
    return event_of_call(log.outcome, log.verdict, principal, *ran, caller.peer, *found)
