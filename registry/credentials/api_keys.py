"""API keys: their holders, expiry and revocation; only a digest of a key is stored.

The registry has a keyed digest of each key, made by the gateway that issued it. A key's roles are
those that the policy gives to its holder. Which keys are valid is for the log to say
(`Ledger.logged`); rows that differ from it are refused.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from registry.listing import FIRST_PAGE, ListQuery, Page, read_page, text, time
from registry.policy import PolicyBook
from registry.state.events import API_KEY_CREATED, API_KEY_REVOKED
from registry.state.logged_state import LoggedApiKey, LoggedFacts
from registry.state.schema import API_KEY_REVOCATIONS, API_KEYS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey, UnitOfWork
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.times import format_time

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
        self,
        principal: str,
        key_id: str,
        holder: str,
        label: str,
        expires: datetime,
        digest: str,
        once: RequestKey | None = None,
    ) -> ApiKeyRecord:
        """Record a key of `holder`; where the request is repeated, the key is the first one's.

        1. Id, digest and label are of their form (DOCUMENT_MALFORMED), and the id is new.
        2. It expires, in the future and within 366 days (PARAMETER_MALFORMED).
        3. The policy names the holder (PRINCIPAL_UNKNOWN).
        """
        # 1.
        if not _KEY_ID.fullmatch(key_id) or not _DIGEST.fullmatch(digest):
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "a key's id or digest")
        _check_text(label)
        try:
            with self._ledger.change(principal, once) as unit:
                self._add(unit, key_id, holder, label, expires, digest)
        except RepeatedRequest as done:
            with self._ledger.view() as connection:
                made = _KEYS.where(API_KEYS.c.entry == done.entry)
                key_id = _read(connection.execute(made).mappings().one()).key_id
        return self.get(key_id)

    def revoke(
        self, principal: str, key_id: str, reason: str, once: RequestKey | None = None
    ) -> ApiKeyRecord:
        """Revoke a key permanently.

        Raises SealgateError: API_KEY_UNKNOWN, API_KEY_ENDED where somebody was faster,
        DOCUMENT_MALFORMED for a reason that is no line of text; RECORD_FAILED or LOG_INCONSISTENT
        where the log does not say afterwards that it is revoked.
        """
        _check_text(reason)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            logged = unit.logged()
            if key_id not in logged.api_keys:
                raise SealgateError(Reason.API_KEY_UNKNOWN)
            if key_id in logged.key_revocations:
                raise SealgateError(
                    Reason.API_KEY_ENDED, f"by {logged.key_revocations[key_id].principal}"
                )
            unit.add(API_KEY_REVOKED, key_id=key_id, reason=reason)
            unit.commit()
        if key_id not in self._ledger.logged().key_revocations:
            # A request that was never carried out, remembered as one that was.
            raise SealgateError(Reason.LOG_INCONSISTENT, f"no entry revokes the key {key_id}")
        return self.get(key_id)

    def get(self, key_id: str) -> ApiKeyRecord:
        """Return one key. Raises SealgateError: API_KEY_UNKNOWN, LOG_INCONSISTENT."""
        with self._ledger.view() as connection:
            found = _record(connection, key_id)
        if found is None:
            raise SealgateError(Reason.API_KEY_UNKNOWN)
        return _as_logged(found, self._ledger.logged())

    def list(self, asked: ListQuery = FIRST_PAGE) -> Page[ApiKeyRecord]:
        """Return a page of keys, oldest first. Raises SealgateError: as `read_page`,
        LOG_INCONSISTENT.
        """
        known = set(self._ledger.logged().api_keys)
        with self._ledger.view() as connection:
            if not known <= set(connection.scalars(select(API_KEYS.c.key_id))):
                # It is valid all the same, so nobody may overlook it.
                raise SealgateError(Reason.LOG_INCONSISTENT, "the row of an API key is missing")
            page = read_page(connection, _KEYS, API_KEYS.c.entry, asked, ["api-keys"], _FIELDS)
        # Read after the rows, so that it tells of all of them.
        logged = self._ledger.logged()
        return page.map(lambda row: _as_logged(_read(row), logged))

    def _add(
        self,
        unit: UnitOfWork,
        key_id: str,
        holder: str,
        label: str,
        expires: datetime,
        digest: str,
    ) -> None:
        if key_id in unit.logged().api_keys or _record(unit.connection, key_id):
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "a key of that id exists")
        # 2.
        if not unit.now < expires <= unit.now + LONGEST_LIFE:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "the key's life")
        # 3.
        self._book.read_for(unit).current(unit.now).principal(holder)
        unit.add(
            API_KEY_CREATED,
            key_id=key_id,
            holder=holder,
            label=label,
            expires=format_time(expires),
            digest=digest,
        )
        unit.commit()


def _as_logged(record: ApiKeyRecord, logged: LoggedFacts) -> ApiKeyRecord:
    """The key as the log records it. Raises SealgateError(LOG_INCONSISTENT) where its row was
    edited.
    """
    told = LoggedApiKey(
        record.key_id, record.holder, record.label, record.expires, sha256(record.digest.encode())
    )
    ended = logged.key_revocations.get(record.key_id)
    if logged.api_keys.get(record.key_id) != told or (record.revoked and ended is None):
        raise SealgateError(Reason.LOG_INCONSISTENT, f"the key {record.key_id} was edited")
    if ended is None:
        return record
    return replace(record, revoked=ended.time, revoker=ended.principal, reason=ended.reason)


def _check_text(text: str) -> None:
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not a short line of text")


_REVOKED = func.coalesce(API_KEY_REVOCATIONS.c.time, "")
_REVOKER = func.coalesce(API_KEY_REVOCATIONS.c.principal, "")
_KEYS: Select[Any] = select(
    API_KEYS,
    _REVOKED.label("revoked"),
    _REVOKER.label("revoker"),
    func.coalesce(API_KEY_REVOCATIONS.c.reason, "").label("reason"),
).outerjoin(API_KEY_REVOCATIONS, API_KEY_REVOCATIONS.c.key_id == API_KEYS.c.key_id)
_FIELDS = {
    "name": text("api-keys/" + API_KEYS.c.key_id),
    "holder": text(API_KEYS.c.holder),
    "label": text(API_KEYS.c.label),
    "creator": text(API_KEYS.c.principal),
    "create_time": time(API_KEYS.c.time),
    "expire_time": time(API_KEYS.c.expires),
    "revoke_time": time(_REVOKED),
    "revoker": text(_REVOKER),
}


def _record(connection: Connection, key_id: str) -> ApiKeyRecord | None:
    query = _KEYS.where(API_KEYS.c.key_id == key_id)
    row = connection.execute(query).mappings().one_or_none()
    return _read(row) if row else None


def _read(row: RowMapping) -> ApiKeyRecord:
    return ApiKeyRecord(
        key_id=row["key_id"],
        holder=row["holder"],
        label=row["label"],
        expires=row["expires"],
        digest=row["digest"],
        creator=row["principal"],
        time=row["time"],
        revoked=row["revoked"],
        revoker=row["revoker"],
        reason=row["reason"],
    )
