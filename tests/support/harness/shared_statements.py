"""Compiled SQL that all engines of a test process share.

An engine compiles each statement when it first runs it. Tests of the registry open an engine each,
and spent a fifth of their time on that.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event

# Statements of tables that one test reflects would stay for good.
_MOST = 4000


class _Statements(dict[Any, Any]):
    """SQLAlchemy's cache of an engine, whose keys begin with the engine's dialect: here with what
    distinguishes dialects.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(self) >= _MOST:
            self.clear()
        super().__setitem__(_shared(key), compiled)


def share() -> None:
    """From here on, in this process."""
    statements = _Statements()

    @event.listens_for(Engine, "engine_connect")
    def on_connect(connection: Connection) -> None:
        connection.execution_options(compiled_cache=statements)


def _shared(key: Any) -> Any:
    dialect, *others = key
    return (type(dialect), dialect.server_version_info, dialect.paramstyle, *others)
