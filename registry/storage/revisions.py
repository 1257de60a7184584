"""Migrates a database to the newest Alembic revision in one transaction.

There are three families of tables: `registry`; `answers` for an answer log's own; `subjects`.
"""

import functools
import threading
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, literal, select, table

_SCRIPTS = Path(__file__).parents[1] / "migrations"
# Of each family a table of its own, which every revision of it has had.
_OWN = {"registry": "policies", "answers": "log_writer", "subjects": "subject_keys"}
# Alembic keeps what it is working on in a module, so one thread at a time.
_ONE_AT_A_TIME = threading.Lock()


class RevisionUnknown(Exception):
    """The database was written by a release that knows a later revision."""


class TablesOfAnother(Exception):
    """The database holds the tables of another family."""


class RowsInTheWay(Exception):
    """An earlier revision has no place for rows whose entries stay in the log."""


def refuse_to_drop(connection: Connection, *tables: str) -> None:
    """Let a revision go back only while `tables` are empty.

    Without its row, an entry of the log is one that no release opens (LOG_INCONSISTENT): neither
    the earlier one nor, the rows being gone, the later one again. Raises RowsInTheWay.
    """
    for name in tables:
        if connection.scalar(select(literal(1)).select_from(table(name)).limit(1)):
            raise RowsInTheWay(
                f"{name} has rows, which the log tells of for good: this registry cannot go back "
                "to a release that does not know them; restore a copy from before, with its log"
            )


def upgrade(connection: Connection, family: str, revision: str = "head") -> None:
    """Upgrade the tables of `family` in the transaction that `connection` has begun.

    Raises RevisionUnknown; TablesOfAnother for a database of another family, whose revisions bear
    the same numbers: its tables would be brought to where nobody reads them any more.
    """
    check_family(connection, family)
    # Alembic would load all revisions to find that there is nothing to do.
    if revision == "head" and current(connection) == newest(family):
        return
    _run(command.upgrade, connection, family, revision)


def downgrade(connection: Connection, family: str, revision: str) -> None:
    """Go back to an earlier revision, for an earlier release; "base" drops the tables.

    Raises RevisionUnknown, and RowsInTheWay where a table that is to go holds what the log records
    of.
    """
    _run(command.downgrade, connection, family, revision)


def current(connection: Connection) -> str:
    """The revision of the tables; empty where there are none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


@functools.cache
def newest(family: str) -> str:
    """The revision to which this release brings the tables of `family`."""
    return ScriptDirectory.from_config(_config(family)).get_current_head() or ""


def check_family(connection: Connection, family: str) -> None:
    """Raises TablesOfAnother."""
    if not current(connection):
        return
    there = set(inspect(connection).get_table_names())
    # The registry's log has a writer too.
    found = next((name for name, own in _OWN.items() if own in there), "nobody")
    if found != family:
        raise TablesOfAnother(f"this is the database of {found}, not of {family}")


def _config(family: str) -> Config:
    config = Config()
    scripts = str(_SCRIPTS).replace("%", "%%")
    config.set_main_option("script_location", scripts)
    config.set_main_option("version_locations", f"{scripts}/{family}/versions")
    config.set_main_option("path_separator", "newline")
    return config


def _run(
    step: Callable[[Config, str], None], connection: Connection, family: str, revision: str
) -> None:
    config = _config(family)
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        try:
            step(config, revision)
        except CommandError as error:
            raise RevisionUnknown(str(error)) from error
