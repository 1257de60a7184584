"""Tables of a registry, made again from what was made once: a migration takes longer than most
tests.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url

from registry.storage import revisions
from registry.storage.database import Database

_FAMILY = "registry"
# The statements of a migration of PostgreSQL, with their parameters; the bytes of a migrated SQLite
# file.
_SAID: list[tuple[str, Any]] = []
_FILE: list[bytes] = []


def make_tables(url: str) -> None:
    """Bring an empty database's tables up to date; one that has any stays as it is."""
    place = make_url(url)
    if place.get_backend_name() != "sqlite":
        _make_postgres(url)
    elif not (path := Path(place.database or "")).exists():
        if not _FILE:
            Database.open(url, _FAMILY).close()
            _FILE.append(content(path))
        path.write_bytes(_FILE[0])


def content(path: Path) -> bytes:
    """A SQLite database's content, as one file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return connection.serialize()


def _make_postgres(url: str) -> None:
    database = Database.open_unchanged(url, _FAMILY)
    try:
        with database.writing() as connection:
            if revisions.current(connection):
                return
            if _SAID:
                for statement, parameters in _SAID:
                    connection.exec_driver_sql(statement, parameters)
            else:
                event.listen(connection, "before_cursor_execute", _note)
                revisions.upgrade(connection, _FAMILY)
                event.remove(connection, "before_cursor_execute", _note)
            connection.commit()
    finally:
        database.close()


def _note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
    if not statement.startswith("SELECT"):
        _SAID.append((statement, parameters))
