"""API keys: who holds which, until when, and which were revoked. What they are, nobody keeps.

The registry has a keyed digest of each key, made by the gateway that issued it. A key's roles are
those that the policy gives to its holder.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from registry.events import API_KEY_CREATED, API_KEY_REVOKED
from registry.policies import PolicyBook
from registry.schema import API_KEY_REVOCATIONS, API_KEYS
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.times import format_time, parse_time

LONGEST_LIFE = timedelta(days=366)

_KEY_ID = re.compile(r"[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """One key. `revoked` is the time of its revocation, and empty while there is none."""

    key_id: str
    holder: str
    label: str
    expires: str
    digest: str
    creator: str
    time: str
    revoked: str
    revoker: str
    reason: str


class ApiKeys:
    """The use cases around API keys."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def create(
        self, principal: str, key_id: str, holder: str, label: str, expires: datetime, digest: str
    ) -> ApiKeyRecord:
        """Record a key of `holder`.

        1. Id, digest and label are of their form (DOCUMENT_MALFORMED), and the id is new.
        2. It expires, in the future and within 366 days (PARAMETER_MALFORMED).
        3. The policy names the holder (PRINCIPAL_UNKNOWN).
        """
        # 1.
        if not _KEY_ID.fullmatch(key_id) or not _DIGEST.fullmatch(digest):
            raise Refusal(Reason.DOCUMENT_MALFORMED, "a key's id or digest")
        _check_text(label)
        with self._ledger.change(principal) as unit:
            if _records(unit.connection, key_id):
                raise Refusal(Reason.DOCUMENT_MALFORMED, "a key of that id exists")
            # 2.
            if not unit.now < expires <= unit.now + LONGEST_LIFE:
                raise Refusal(Reason.PARAMETER_MALFORMED, "the key's life")
            # 3.
            self._book.read(unit.connection).current(unit.now).principal(holder)
            unit.add(
                API_KEY_CREATED,
                key_id=key_id,
                holder=holder,
                label=label,
                expires=format_time(expires),
                digest=digest,
            )
            unit.commit()
        return self.get(key_id)

    def revoke(self, principal: str, key_id: str, reason: str) -> ApiKeyRecord:
        """Revoke a key for good.

        Raises Refusal: API_KEY_UNKNOWN, API_KEY_ENDED where somebody was faster,
        DOCUMENT_MALFORMED for a reason that is no line of text.
        """
        _check_text(reason)
        with self._ledger.change(principal) as unit:
            found = _records(unit.connection, key_id)
            if not found:
                raise Refusal(Reason.API_KEY_UNKNOWN)
            if found[0].revoked:
                raise Refusal(Reason.API_KEY_ENDED, f"by {found[0].revoker}")
            unit.add(API_KEY_REVOKED, key_id=key_id, reason=reason)
            unit.commit()
        return self.get(key_id)

    def get(self, key_id: str) -> ApiKeyRecord:
        """Return one key. Raises Refusal(API_KEY_UNKNOWN)."""
        with self._ledger.view() as connection:
            found = _records(connection, key_id)
        if not found:
            raise Refusal(Reason.API_KEY_UNKNOWN)
        return found[0]

    def list(self) -> tuple[ApiKeyRecord, ...]:
        """Return all keys, oldest first. Raises Refusal(REGISTRY_UNAVAILABLE)."""
        with self._ledger.view() as connection:
            return _records(connection)


def is_expired(record: ApiKeyRecord, now: datetime) -> bool:
    return now >= parse_time(record.expires)


def _check_text(text: str) -> None:
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise Refusal(Reason.DOCUMENT_MALFORMED, "not a short line of text")


def _records(connection: Connection, key_id: str | None = None) -> tuple[ApiKeyRecord, ...]:
    ended = API_KEY_REVOCATIONS
    query = (
        select(
            API_KEYS,
            ended.c.time.label("revoked"),
            ended.c.principal.label("revoker"),
            ended.c.reason.label("reason"),
        )
        .outerjoin(ended, ended.c.key_id == API_KEYS.c.key_id)
        .order_by(API_KEYS.c.entry)
    )
    if key_id is not None:
        query = query.where(API_KEYS.c.key_id == key_id)
    return tuple(
        ApiKeyRecord(
            key_id=row.key_id,
            holder=row.holder,
            label=row.label,
            expires=row.expires,
            digest=row.digest,
            creator=row.principal,
            time=row.time,
            revoked=row.revoked or "",
            revoker=row.revoker or "",
            reason=row.reason or "",
        )
        for row in connection.execute(query)
    )
