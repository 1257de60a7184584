"""Times as text (RFC 3339, UTC): seconds in documents, microseconds in answers."""

import re
from datetime import UTC, datetime, timedelta

from sealgate.reasons import Reason, SealgateError

CLOCK_SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may be apart."""

RENEW_BEFORE = timedelta(days=60)
"""How long before its end a policy or a certificate is due, and an alarm is raised."""

REVIEW_BEFORE = timedelta(days=30)
"""How long before its approvals end a live version is due for review."""

_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MICROS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)


def format_time(moment: datetime) -> str:
    """Return `2026-11-25T10:00:00Z`; the fraction of a second is dropped.

    Raises ValueError for a naive datetime, which is a mistake of the program.
    """
    return _utc(moment).isoformat(timespec="seconds")[:-6] + "Z"


def format_micros(moment: datetime) -> str:
    """Return `2026-11-25T10:00:00.123456Z`. Raises ValueError for a naive datetime."""
    return _utc(moment).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes, and nothing else; the result is aware, in UTC.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """
    return _parse(text, _SECONDS)


def parse_micros(text: str) -> datetime:
    """Read what `format_micros` writes, and nothing else. Raises
    SealgateError(DOCUMENT_MALFORMED).
    """
    return _parse(text, _MICROS)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if moment.utcoffset() is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


def _parse(text: str, form: re.Pattern[str]) -> datetime:
    if not isinstance(text, str) or not form.fullmatch(text):
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "a time is not in its fixed form")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise SealgateError(Reason.DOCUMENT_MALFORMED, f"no such time: {text}") from error
