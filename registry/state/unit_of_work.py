"""A change of state: one transaction with its rows and log entries, carried out once (AIP-155).

A unit of work rolls back unless it is committed. Its rows are added through `add`, which makes
the entry too, so that neither can be without the other. Before the commit all of it is read back:
a trigger in the database may have undone or altered what was written, and then the change fails.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from registry.log.rows import check_stored, inconsistent, newest_checkpoint, run_deferred_triggers
from registry.log.tile_log import TileLog
from registry.state.events import Event
from registry.state.logged_state import LoggedFacts, LoggedState
from registry.state.schema import LOG, REQUESTS
from registry.storage.database import Database
from registry.storage.driver import DriverTransaction
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.times import format_time

KEPT = timedelta(hours=24)
"""How long a request is known at least; the next change under an id after that forgets it."""

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request's id, a UUID4 in lower case, and the digest of all that it asks.

    Raises SealgateError(PARAMETER_MALFORMED) for an id of another form.
    """

    request_id: str
    digest: str

    def __post_init__(self) -> None:
        if not _UUID4.fullmatch(self.request_id):
            raise SealgateError(Reason.PARAMETER_MALFORMED, "a request_id is a UUID4 in lower case")


class RepeatedRequest(Exception):
    """The request has been carried out before; `entry` is the first entry that it made."""

    def __init__(self, entry: int) -> None:
        super().__init__(f"done in entry {entry}")
        self.entry = entry


def check_new(connection: Connection, principal: str, once: RequestKey) -> None:
    """Raises RepeatedRequest, or SealgateError(REQUEST_ID_REUSED) for the id of another request."""
    here = (REQUESTS.c.principal == principal, REQUESTS.c.request_id == once.request_id)
    row = connection.execute(select(REQUESTS).where(*here)).one_or_none()
    if row is None:
        return
    if row.digest != once.digest:
        raise SealgateError(Reason.REQUEST_ID_REUSED, once.request_id)
    raise RepeatedRequest(row.entry)


def remember(
    connection: Connection, principal: str, once: RequestKey, entry: int, now: datetime
) -> None:
    """Keep what was done, and forget what was done long ago."""
    connection.execute(delete(REQUESTS).where(REQUESTS.c.time < format_time(now - KEPT)))
    row = {"request_id": once.request_id, "digest": once.digest, "entry": entry}
    row |= {"principal": principal, "time": format_time(now)}
    connection.execute(insert(REQUESTS), row)


Clock = Callable[[], datetime]


class UnitOfWork:
    """The change that `principal` makes at `now`, which is fixed once."""

    def __init__(
        self,
        connection: Connection,
        log: TileLog,
        logged: LoggedState,
        principal: str,
        now: datetime,
        once: RequestKey | None = None,
    ) -> None:
        self.connection = connection
        self.principal = principal
        self.now = now
        self._log = log
        self._logged = logged
        self._once = once
        self._time = format_time(now)
        self._entries: list[bytes] = []
        self._added: list[tuple[Event, int]] = []
        self._checks: list[Callable[[], bool]] = []
        self._afterwards: list[Callable[[], None]] = []

    def logged(self) -> LoggedFacts:
        """The log's records up to the beginning of this change. Raises LOG_INCONSISTENT."""
        with self._logged.lock:
            return self._logged.advance(self.connection, self._log.seen)

    def told(self) -> LoggedFacts:
        """The facts that this change adds."""
        facts = LoggedFacts()
        for index, entry in enumerate(self._entries, self._log.size):
            facts.tell(index, entry)
        return facts

    def add(self, event: Event, **values: Any) -> int:
        """Add a row and its entry; return the index that the entry will have in the log."""
        index = self._log.size + len(self._entries)
        row = {**values, "entry": index, "time": self._time, "principal": self.principal}
        self._entries.append(event.entry(row))
        self._added.append((event, index))
        self.connection.execute(insert(event.table), row)
        return index

    def check_logged(self, event: Event, row: Mapping[str, Any]) -> None:
        """Check that a stored row has its entry, in the log or in this very change.

        Raises SealgateError(LOG_INCONSISTENT): somebody wrote the row who has not the log's key.
        """
        entry, pending = event.entry(row), row["entry"] - self._log.size
        if 0 <= pending < len(self._entries) and self._entries[pending] == entry:
            return
        self._log.check_holds(self.connection, row["entry"], entry)

    def check_before_commit(self, check: Callable[[], bool]) -> None:
        """Have the commit fail unless `check` finds what this change wrote beside its rows."""
        self._checks.append(check)

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have `action` called once the change is on the disk, and not otherwise."""
        self._afterwards.append(action)

    def commit(self) -> None:
        """Make the change durable, all of it.

        Raises SealgateError: RECORD_FAILED; LOG_INCONSISTENT where the database holds something
        else than what was written.
        """
        if self._entries:
            if self._once is not None:
                remember(self.connection, self.principal, self._once, self._log.size, self.now)
            transaction = DriverTransaction.of(self.connection)
            appended = self._log.append(transaction, self._entries)
            self._log.check_written(transaction, appended, self._entries)
            check_stored(self.connection, LOG, appended)
            self._read_back()
            self.connection.commit()
            self._log.settle(appended)
        else:
            self._read_back()
            self.connection.commit()
        for action in self._afterwards:
            action()

    def _read_back(self) -> None:
        run_deferred_triggers(self.connection)
        for (event, index), entry in zip(self._added, self._entries, strict=True):
            query = select(event.table).where(event.table.c.entry == index)
            rows = self.connection.execute(query).mappings().all()
            if [event.entry(dict(row)) for row in rows] != [entry]:
                raise inconsistent(f"a trigger changed the row of a {event.name}")
        if not all(check() for check in self._checks):
            raise inconsistent("a trigger changed the statement of freshness")


class Ledger:
    """The registry's database together with its log: where changes begin."""

    def __init__(self, database: Database, log: TileLog, clock: Clock) -> None:
        self.database = database
        self.log = log
        self.clock = clock
        self._logged = LoggedState(lambda: log.vkey)

    @classmethod
    def join(cls, database: Database, origin: str, signer: Signer, clock: Clock) -> "Ledger":
        """Share the log of a registry that there is; see `TileLog.open`.

        Raises SealgateError: REGISTRY_UNAVAILABLE, also for a database in which no registry ever
        began.
        """
        with database.reading() as connection:
            if newest_checkpoint(connection, LOG) is None:
                raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "the database holds no registry")
        return cls(database, TileLog.open(database, LOG, origin, signer, shared=True), clock)

    @contextmanager
    def change(self, principal: str, once: RequestKey | None = None) -> Iterator[UnitOfWork]:
        """Begin a change; other writers, here and elsewhere, wait until it ends.

        Raises Repeated where the request `once` was carried out before; SealgateError:
        REQUEST_ID_REUSED, REGISTRY_UNAVAILABLE, RECORD_FAILED or LOG_INCONSISTENT.
        """
        with self.log.lock, self.database.writing() as connection:
            self.log.check_turn(DriverTransaction.of(connection))
            if once is not None:
                check_new(connection, principal, once)
            yield UnitOfWork(connection, self.log, self._logged, principal, self.clock(), once)

    def logged(self) -> LoggedFacts:
        """The log's records now. Raises SealgateError: LOG_INCONSISTENT, REGISTRY_UNAVAILABLE."""
        with self._logged.lock:
            seen = self.log.seen
            with self.view() as connection:
                return self._logged.advance(connection, seen)

    def look(self) -> None:
        """Remember how far the log has come, by whomever. While a change is being made here,
        that remembers it, and here it is only checked.

        Raises SealgateError: LOG_INCONSISTENT where the log does not extend what was seen before,
        REGISTRY_UNAVAILABLE.
        """
        seen = self.log.seen
        if not self.log.lock.acquire(blocking=False):
            with self.view() as connection:
                self.log.check_newest(connection, seen)
            return
        try:
            with self.view() as connection:
                self.log.catch_up(connection)
        finally:
            self.log.lock.release()

    @contextmanager
    def view(self) -> Iterator[Connection]:
        """One consistent view of the state. Raises SealgateError(REGISTRY_UNAVAILABLE)."""
        with self.database.reading() as connection:
            yield connection
