"""The registry on either database; see `database_url`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bureau import Bureau


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
