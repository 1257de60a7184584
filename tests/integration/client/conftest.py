"""One running house for this folder's tests, with digits 1 in production."""

import pytest

from tests.support.house import House, running


@pytest.fixture(scope="session")
def house(tmp_path_factory) -> House:
    with running(tmp_path_factory.mktemp("client") / "state", "digits-1") as house:
        house.promote("digits", 1)
        yield house
