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

from inference.observability import tracing
from sealgate.process_log import REQUESTS, RequestIds, current_request

_log = logging.getLogger(REQUESTS)

# Of this process, and in it.
_OURS, _NUMBERS = secrets.token_hex(4), itertools.count(1)
_LONGEST_ID = 128
_OK = "ok"
_UNCLEAN = re.compile(r"[^!-~]")


@dataclass(slots=True)
class CallLog(RequestIds):
    """A call so far. What it never came to is empty; `outcome` is a reason, empty for none."""

    method: str = ""
    model: str = ""
    version: str = ""
    verdict: str = ""
    outcome: str = ""

    def ran(self, model: str, version: int, verdict: str) -> None:
        """Which version the call came to, and what screening found."""
        self.model, self.version, self.verdict = model, str(version), verdict


class CallerIds(Protocol):
    @property
    def is_anonymous(self) -> bool: ...

    @property
    def principal(self) -> Any: ...


@contextmanager
def following(method: str, caller: CallerIds) -> Iterator[CallLog]:
    """The block's lines bear the call's ids; if the log is to tell of each call, it does when the
    block ends.
    """
    line = CallLog(f"{_OURS}-{next(_NUMBERS)}", method=method)
    current_request.set(line)
    began = time.perf_counter()
    try:
        yield line
    finally:
        if tracing.is_on():
            tracing.say(
                request=line.id,
                model=line.model,
                version=line.version,
                verdict=line.verdict,
                outcome=line.outcome or _OK,
            )
        if _log.isEnabledFor(logging.INFO):
            _tell(line, caller, time.perf_counter() - began)
        # Not reset: a stream may be closed by another thread than began it.
        current_request.set(None)


def line_of_call() -> CallLog:
    """That of the call for which this thread works; one that nobody reads where there is none."""
    found = current_request.get()
    return found if isinstance(found, CallLog) else CallLog("")


def cleaned(caller_id: str) -> str:
    """A caller's own id, bounded, and of visible ASCII alone."""
    return _UNCLEAN.sub("?", caller_id[:_LONGEST_ID])


def _tell(line: CallLog, caller: CallerIds, seconds: float) -> None:
    told = {
        "principal": "" if caller.is_anonymous else caller.principal.name,
        "model": line.model,
        "version": line.version,
        "verdict": line.verdict,
        "outcome": line.outcome or _OK,
        "seconds": round(seconds, 6),
    }
    fields = {name: value for name, value in told.items() if value != ""}
    _log.info("%s", line.method, extra={"fields": fields})
