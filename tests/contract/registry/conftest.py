"""The registry on either database; see `database_url`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.state.records import VersionRecord
from sealgate.trust.times import format_time
from tests.support.bureau import Bureau
from tests.support.excerpts import MINUTE


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


@pytest.fixture
def history(bureau: Bureau) -> tuple[VersionRecord, VersionRecord]:
    """At NOW version 1; a minute later version 2; another later back; and 2 revoked at the end."""
    one, two = bureau.publish("one"), bureau.publish("two")
    first = bureau.release(one)
    bureau.now += MINUTE
    bureau.release(two, predecessor=1)
    bureau.now += MINUTE
    bureau.roll_back(first, 3)
    bureau.now += MINUTE
    bureau.revoke(two, time=format_time(bureau.now))
    return one, two
