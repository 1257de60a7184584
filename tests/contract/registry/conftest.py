"""The databases on which the registry's contract is checked.

SQLite always; and the server of SEALGATE_TEST_DATABASE (an SQLAlchemy URL of PostgreSQL), where
each test has a schema of its own.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.schema import CreateSchema, DropSchema

from tests.support.bureau import Bureau

_SERVER = os.environ.get("SEALGATE_TEST_DATABASE", "")


@pytest.fixture(params=["sqlite", "server"] if _SERVER else ["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/registry.db"
        return
    schema = f"test_{secrets.token_hex(6)}"
    server = create_engine(_SERVER)
    with server.begin() as connection:
        connection.execute(CreateSchema(schema))
    url = make_url(_SERVER).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with server.begin() as connection:
        connection.execute(DropSchema(schema, cascade=True))
    server.dispose()


@pytest.fixture
def empty_bureau(tmp_path: Path, database_url: str) -> Iterator[Bureau]:
    """A registry that has accepted no policy yet."""
    bureau = Bureau(tmp_path, database_url)
    yield bureau
    bureau.registry.close()


@pytest.fixture
def bureau(empty_bureau: Bureau) -> Bureau:
    """A registry with a policy and the model `digits`."""
    return empty_bureau.found()
