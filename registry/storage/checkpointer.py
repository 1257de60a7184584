"""Copies a SQLite write-ahead log into its file beside the commits, on a thread of its own.

SQLite copies on the thread whose commit makes the log too long, and that thread's callers wait for
as long as the disk takes. Here a thread copies earlier, while commits go on (a checkpoint of the
kind PASSIVE waits for nobody). Once all is copied, the next writer begins the log anew. SQLite's
own copying stays, at a greater length, for when this thread does not keep up.
"""

import logging
import sqlite3
import threading
from contextlib import closing

_log = logging.getLogger(__name__)

_EVERY = 2048
_TRIES = 8


class Checkpointer:
    """Copies after every `every` rows that `written` is told of, until `close`."""

    def __init__(self, database: str, every: int = _EVERY) -> None:
        """`database` is the path of the file."""
        self._database = database
        self._every = every
        self._changed = threading.Condition()
        self._rows = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self.copied = 0

    def written(self, rows: int) -> None:
        """Say that so many rows were committed. Returns at once."""
        with self._changed:
            self._rows += rows
            if self._rows < self._every or self._closing:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End; what is not copied yet SQLite copies, now or when the file is opened again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
                connection.execute("PRAGMA busy_timeout=50")
                while self._is_due():
                    self._copy(connection)
        except sqlite3.Error as error:
            # SQLite's own copying goes on, within commits.
            _log.error("the write-ahead log is not copied beside commits: %s", error)

    def _is_due(self) -> bool:
        """Wait until it is to be copied again; false at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._rows >= self._every)
            self._rows = 0
            return not self._closing

    def _copy(self, connection: sqlite3.Connection) -> None:
        """Copy until nothing is left that was not written meanwhile."""
        for _ in range(_TRIES):
            query = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            busy, length, copied = query.fetchone()
            if busy or length == copied:
                break
        self.copied += 1
