"""Bringing a database's tables to their newest revision, with Alembic, inside one transaction.

There are three families of tables: `registry`; `answers` for an answer log's own file; `subjects`.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

_SCRIPTS = Path(__file__).parent / "migrations"
# Alembic keeps what it is working on in a module, so one thread at a time.
_ONE_AT_A_TIME = threading.Lock()


class RevisionUnknown(Exception):
    """The database was written by a release that knows a later revision."""


def upgrade(connection: Connection, family: str) -> None:
    """Upgrade the tables of `family` in the transaction that `connection` has begun.

    Raises RevisionUnknown.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS / family).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise RevisionUnknown(str(error)) from error
