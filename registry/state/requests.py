"""Idempotent changes: a repeated request (AIP-155) is carried out once.

The change stores its request's id, in its transaction, with the first log entry that it made. A
repetition is answered from that entry. The ids are no part of the record: someone who edits them
can only make a change fail or be refused, which full access to the database allows anyway.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from registry.state.schema import REQUESTS
from sealgate.reasons import Reason, Refusal
from sealgate.trust.times import format_time

KEPT = timedelta(hours=24)
"""How long a request is known at least; the next change under an id after that forgets it."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request's id, a UUID4 in lower case, and the digest of all that it asks.

    Raises Refusal(PARAMETER_MALFORMED) for an id of another form.
    """

    request_id: str
    digest: str

    def __post_init__(self) -> None:
        if not _UUID4.fullmatch(self.request_id):
            raise Refusal(Reason.PARAMETER_MALFORMED, "a request_id is a UUID4 in lower case")


class RepeatedRequest(Exception):
    """The request has been carried out before; `entry` is the first entry that it made."""

    def __init__(self, entry: int) -> None:
        super().__init__(f"done in entry {entry}")
        self.entry = entry


def check_new(connection: Connection, principal: str, once: RequestKey) -> None:
    """Raises RepeatedRequest, or Refusal(REQUEST_ID_REUSED) for the id of another request."""
    here = (REQUESTS.c.principal == principal, REQUESTS.c.request_id == once.request_id)
    row = connection.execute(select(REQUESTS).where(*here)).one_or_none()
    if row is None:
        return
    if row.digest != once.digest:
        raise Refusal(Reason.REQUEST_ID_REUSED, once.request_id)
    raise RepeatedRequest(row.entry)


def remember(
    connection: Connection, principal: str, once: RequestKey, entry: int, now: datetime
) -> None:
    """Keep what was done, and forget what was done long ago."""
    connection.execute(delete(REQUESTS).where(REQUESTS.c.time < format_time(now - KEPT)))
    row = {"request_id": once.request_id, "digest": once.digest, "entry": entry}
    row |= {"principal": principal, "time": format_time(now)}
    connection.execute(insert(REQUESTS), row)
