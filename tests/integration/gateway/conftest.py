"""One running house for this folder's tests: digits 1 is in production, 2 is registered."""

import pytest

from tests.support.house import House, running


@pytest.fixture(scope="session")
def house(tmp_path_factory) -> House:
    with running(tmp_path_factory.mktemp("house") / "state", "digits-1", "digits-2") as house:
        house.promote("digits", 1)
        yield house
