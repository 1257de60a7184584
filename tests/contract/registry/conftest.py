"""The registry on either database.

On PostgreSQL tests find its tables and an answer log's made and empty, unless they are marked
`no_tables`: those find an empty schema.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.state.records import VersionRecord
from sealgate.trust.times import format_time
from tests.support.builders.documents.excerpts import MINUTE
from tests.support.harness.registry import RegistryHarness


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without rows, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    bare = request.node.get_closest_marker("no_tables")
    return str(request.getfixturevalue("postgres_url" if bare else "tables_url"))


@pytest.fixture
def empty_harness(tmp_path: Path, database_url: str) -> Iterator[RegistryHarness]:
    """A registry that has accepted no policy yet."""
    harness = RegistryHarness(tmp_path, database_url)
    yield harness
    harness.registry.close()


@pytest.fixture
def harness(tmp_path: Path, database_url: str) -> Iterator[RegistryHarness]:
    """A registry with a policy and the model `digits`."""
    harness = RegistryHarness.founded(tmp_path, database_url)
    yield harness
    harness.registry.close()


@pytest.fixture
def history(harness: RegistryHarness) -> tuple[VersionRecord, VersionRecord]:
    """At NOW version 1; a minute later version 2; another later back; and 2 revoked at the end."""
    one, two = harness.publish("one"), harness.publish("two")
    first = harness.release(one)
    harness.now += MINUTE
    harness.release(two, predecessor=1)
    harness.now += MINUTE
    harness.roll_back(first, 3)
    harness.now += MINUTE
    harness.revoke(two, time=format_time(harness.now))
    return one, two
