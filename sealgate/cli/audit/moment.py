"""The type of command-line options that name a time."""

from datetime import UTC, datetime, timedelta

import click

_DATE_LENGTH = len("2026-11-25")
_LAST = timedelta(days=1) - timedelta(microseconds=1)


class Moment(click.ParamType):
    """A time of RFC 3339, or a date for its first moment; without a zone it is UTC. With `end`, a
    date stands for its last moment.
    """

    name = "time"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        text = str(value)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is not a time like 2026-11-25T10:00:00Z", param, ctx)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + _LAST if self._end and len(text) == _DATE_LENGTH else moment
