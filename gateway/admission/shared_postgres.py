"""PostgreSQL as a place that gateways share beside the registry's, for the extra `postgres`."""

import re
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from registry.storage.postgres import BoundedConnection

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# Seconds; libpq takes no shorter time to connect.
_CONNECT_SECONDS = 2
_STATEMENT_MS = 1000
_CONNECTIONS = 16


class _SharedConnection(BoundedConnection):
    """Gives up a server that hangs: its own `statement_timeout` needs one that runs."""

    patience = 2.0


def open_shared(url: str, schema: str, settings: str = "", **more: Any) -> tuple[Engine, str]:
    """Return an engine that connects when first asked, and the schema that the URL names, or else
    `schema`, which its connections use. `settings` are further ones of a connection, `more` is for
    `create_engine`.

    Raises ValueError for a URL of another form; its text may hold the password.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        raise ValueError("it is not of the form postgresql://user@host/database") from None
    schema = str(parsed.query.get("schema", schema))
    if not _SCHEMA.fullmatch(schema):
        raise ValueError("its schema is not a plain name")
    options = f"-csearch_path={schema} -cstatement_timeout={_STATEMENT_MS} {settings}".rstrip()
    engine = create_engine(
        parsed.difference_update_query(["schema"]).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            # Where a network is cut without a word, nobody else gives up for a quarter of an hour.
            "tcp_user_timeout": 1000 * _CONNECT_SECONDS,
            "options": options,
        },
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_STATEMENT_MS / 1000,
        **more,
    )
    event.listen(engine, "do_connect", _connected)
    return engine, schema


def _connected(_dialect: Any, _record: Any, given: Any, named: Any) -> BoundedConnection:
    return _SharedConnection.connect(*given, **named)
