"""Queue of events: one SQLite file with the place in the log, deliveries and dead letters.

An event, its deliveries and the place behind it are written in one transaction, and a delivery is
deleted only after its receiver took it. So whenever the process dies, nothing is lost, and at most
what was under way is delivered again.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealgate.events.cloud_events import CloudEvent

WAITING, DEAD = "waiting", "dead"

_SCHEMA = """
PRAGMA busy_timeout = 10000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, time TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER NOT NULL REFERENCES events, destination TEXT NOT NULL, model TEXT NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL, since REAL NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (number, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lanes ON deliveries (state, destination, model, number);
"""
_REMEMBER = "INSERT INTO memory VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_ADD = "INSERT INTO events (id, kind, model, time, body) VALUES (?, ?, ?, ?, ?)"
_SEND = "INSERT INTO deliveries VALUES (?, ?, ?, 'waiting', 0, ?, '')"
_LANES = "SELECT DISTINCT destination, model FROM deliveries WHERE state = 'waiting'"
_COLUMNS = """
SELECT number, destination, d.model, id, kind, time, body, attempts, since, error
FROM deliveries d JOIN events USING (number)
"""
_FIRST = (
    _COLUMNS
    + """
WHERE state = 'waiting' AND destination = ? AND d.model = ? ORDER BY number LIMIT 1
"""
)
_LETTERS = _COLUMNS + "WHERE state = 'dead' ORDER BY number, destination"
_FAILED = """
UPDATE deliveries SET state = ?, attempts = attempts + 1, error = ?
WHERE number = ? AND destination = ?
"""
_RETRY = """
UPDATE deliveries SET state = 'waiting', attempts = 0, since = ?
WHERE number = ? AND destination = ?
"""
_REMOVE = "DELETE FROM deliveries WHERE number = ? AND destination = ?"
_FORGET = """
DELETE FROM events WHERE number = ? AND number NOT IN (SELECT number FROM deliveries)
"""
_STRAYS = """
UPDATE deliveries SET state = 'dead', error = 'the destination is no longer configured'
WHERE state = 'waiting' AND destination = ?
"""
_COUNTS = "SELECT destination, state, count(*) FROM deliveries GROUP BY destination, state"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a destination, since when; `body` is the event's own JSON."""

    number: int
    destination: str
    model: str
    id: str
    kind: str
    time: str
    body: bytes
    attempts: int
    since: float
    error: str


class EventStore:
    """The file. Safe for many threads, and for commands beside a running process."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """`clock` is in seconds of the epoch. Raises sqlite3.Error, OSError for a file that cannot
        be used.
        """
        self._clock = clock
        # Events tell who did what: they are the owner's alone.
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # A power cut may take back the last commits, all of them in order: what they took from
        # the log is read again, and what they delivered is delivered again.
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def recall(self, name: str) -> str | None:
        """The text that was remembered under a name."""
        with self._lock:
            query = "SELECT value FROM memory WHERE name = ?"
            row = self._database.execute(query, (name,)).fetchone()
        return str(row[0]) if row else None

    def add(
        self,
        events: Sequence[tuple[CloudEvent, Sequence[str]]],
        remember: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Keep events, each with the destinations that it goes to, and what is to be remembered
        with them: all or nothing.
        """
        with self._transaction() as database:
            for event, destinations in events:
                if destinations:
                    told = (event.id, event.kind, event.model, event.time, event.encode())
                    number = database.execute(_ADD, told).lastrowid
                    for destination in destinations:
                        database.execute(_SEND, (number, destination, event.model, self._clock()))
            database.executemany(_REMEMBER, remember)

    def lanes(self) -> list[tuple[str, str]]:
        """Each destination and model for which something waits."""
        with self._lock:
            return self._database.execute(_LANES).fetchall()

    def first(self, destination: str, model: str) -> Delivery | None:
        """The first that waits in a lane."""
        with self._lock:
            row = self._database.execute(_FIRST, (destination, model)).fetchone()
        return Delivery(*row) if row else None

    def delivered(self, delivery: Delivery) -> None:
        """Forget a delivery that its receiver took."""
        with self._transaction() as database:
            _remove(database, delivery)

    def failed(self, delivery: Delivery, error: str, *, dead: bool) -> None:
        """Note a failed attempt; a dead letter is not tried again by itself."""
        values = (DEAD if dead else WAITING, error, delivery.number, delivery.destination)
        with self._transaction() as database:
            database.execute(_FAILED, values)

    def bury_strays(self, destinations: Sequence[str]) -> None:
        """Make dead letters of what waits for other destinations than these."""
        with self._transaction() as database:
            for name in {name for name, _ in database.execute(_LANES)} - set(destinations):
                database.execute(_STRAYS, (name,))

    def dead_letters(self) -> list[Delivery]:
        """The oldest first."""
        with self._lock:
            return [Delivery(*row) for row in self._database.execute(_LETTERS)]

    def retry(self, letters: Sequence[Delivery]) -> None:
        """Let dead letters wait again, as new."""
        with self._transaction() as database:
            for letter in letters:
                database.execute(_RETRY, (self._clock(), letter.number, letter.destination))

    def drop(self, letters: Sequence[Delivery]) -> None:
        """Delete dead letters for good."""
        with self._transaction() as database:
            for letter in letters:
                _remove(database, letter)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many deliveries there are, by destination and state."""
        with self._lock:
            return {(name, state): n for name, state, n in self._database.execute(_COUNTS)}

    def waiting(self) -> int:
        """How many deliveries wait, to all destinations together."""
        return sum(n for (_, state), n in self.counts().items() if state == WAITING)

    def version(self) -> int:
        """Another number after another process has written."""
        with self._lock:
            return int(self._database.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _remove(database: sqlite3.Connection, delivery: Delivery) -> None:
    database.execute(_REMOVE, (delivery.number, delivery.destination))
    database.execute(_FORGET, (delivery.number,))
