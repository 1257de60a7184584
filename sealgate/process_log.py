"""The log lines that a process writes: text for people, or one JSON object a line.

It tells what the program did and what went wrong with it. No input, no answer and no credential
gets there; whatever a caller has written comes bounded, and as characters that can be printed.
"""

import json
import logging
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sealgate.printable import printable
from sealgate.settings import ConfigError
from sealgate.trust.times import format_micros

REQUESTS = "sealgate.requests"
"""The logger with a line for each call, where `[log] requests` says so."""
_FORMATS = ("text", "json")
_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The section `[log]`: what the process writes to stderr."""

    format: str = "text"
    """`text`, or `json`: one object a line."""
    level: str = "info"
    """The lowest level that is logged: `debug`, `info`, `warning` or `error`."""
    requests: bool = False
    """Whether each call is logged when it ends: its id, who called, how it ended and how long it
    took.
    """

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format", self.format, _FORMATS),
            ("level", self.level, _LEVELS),
        ):
            if value not in known:
                raise ConfigError(f"[log] {name} = {value!r} is none of {', '.join(known)}")


@dataclass(slots=True)
class RequestIds:
    """The ids of a request: our own, and the caller's, which may be empty."""

    id: str
    caller_id: str = ""

    def fields(self) -> dict[str, str]:
        """Return the fields that each log line of the request has."""
        found = {"request": self.id}
        return found | {"caller_id": self.caller_id} if self.caller_id else found


current_request: ContextVar[RequestIds | None] = ContextVar("current_request", default=None)
"""The request that this thread works for, if any."""


def configure(settings: LogSettings) -> None:
    """Have the process log as the settings say, to stderr; for its main program."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger(REQUESTS).setLevel("INFO" if settings.requests else "WARNING")
    # It would tell of every start that no table had to be changed.
    logging.getLogger("alembic").setLevel(logging.WARNING)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        value: dict[str, Any] = {
            "time": format_micros(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        value |= _fields(record)
        if record.exc_info:
            value["exception"] = self.formatException(record.exc_info)
        # ASCII alone, so that nothing in it ends a line.
        return json.dumps(value, default=str)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the library's name)
        """One line, which nobody's text can end."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = f"{record.message}{fields}"
        record.message = printable(text)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the library's name)
        """Lines that are set in: an exception may quote a caller, and none may pass for ours."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {printable(line)}" for line in lines)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    request = current_request.get()
    of_request = request.fields() if request is not None else {}
    return of_request | getattr(record, "fields", {})
