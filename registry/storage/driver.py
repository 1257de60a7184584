"""Runs prepared statements on the driver's own connection, for what every request writes.

A statement is defined by the same tables as elsewhere, and compiled once for each database. Running
it through SQLAlchemy takes 20 to 60 microseconds more, each time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, PoolProxiedConnection, Select, Update

# Parameters by position, as the drivers of SQLite and PostgreSQL have them.
_STYLES = {"sqlite": "qmark", "postgresql": "format"}


class Prepared:
    """A statement whose parameters are given in the order of `names`.

    Every parameter has a name, and stands in the statement where `names` says: a mistake of the
    program is a ValueError when it is first compiled.
    """

    def __init__(self, statement: Select[Any] | Insert | Update, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._texts: dict[str, str] = {}

    def text(self, dialect: Dialect) -> str:
        """The statement in the language of a database."""
        found = self._texts.get(dialect.name)
        if found is None:
            found = self._texts[dialect.name] = self._compile(dialect)
        return found

    def _compile(self, dialect: Dialect) -> str:
        kind: Any = type(dialect)
        positional = kind(paramstyle=_STYLES[dialect.name])
        columns = list(self._names) if isinstance(self._statement, Insert) else None
        compiled = self._statement.compile(dialect=positional, column_keys=columns)
        places = tuple(getattr(compiled, "positiontup", None) or ())
        if places != self._names:
            raise ValueError(f"the parameters are {places}, not {self._names}")
        return str(compiled)


class DriverTransaction:
    """A transaction that prepared statements run in, and its commit.

    Errors are the driver's own; `Database.appending` and `Database.writing` convert them.
    `connection` is SQLAlchemy's own, where it began the transaction.
    """

    def __init__(
        self,
        pooled: PoolProxiedConnection,
        dialect: Dialect,
        connection: Connection | None = None,
    ) -> None:
        self.dialect = dialect
        self.connection = connection
        self._pooled = pooled
        self._cursor: Any = pooled.cursor()
        self.is_committed = False

    @classmethod
    def of(cls, connection: Connection) -> "DriverTransaction":
        """The transaction that `connection` has begun, which also commits it."""
        return cls(connection.connection, connection.dialect, connection)

    def one(self, statement: Prepared, row: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row that a statement finds."""
        self._cursor.execute(statement.text(self.dialect), row)
        found: tuple[Any, ...] | None = self._cursor.fetchone()
        return found

    def all(self, statement: Prepared, row: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows that a statement finds."""
        self._cursor.execute(statement.text(self.dialect), row)
        return list(self._cursor.fetchall())

    def run(self, statement: Prepared, row: Sequence[Any]) -> None:
        """Run a statement that changes something."""
        self._cursor.execute(statement.text(self.dialect), row)

    def run_many(self, statement: Prepared, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement that changes something, once for each row."""
        self._cursor.executemany(statement.text(self.dialect), rows)

    def run_text(self, text: str) -> None:
        """Run a statement that has no parameters."""
        self._cursor.execute(text)

    def commit(self) -> None:
        """The last of a transaction."""
        self._pooled.commit()
        self.is_committed = True

    def close(self) -> None:
        """Let go of what was read last."""
        self._cursor.close()
