"""A running house in which the small text model is in production."""

import pytest

from tests.support.house import House, running
from tests.support.text_models import publish


@pytest.fixture(scope="session")
def house(tmp_path_factory) -> House:
    with running(tmp_path_factory.mktemp("house") / "state") as house:
        publish(house)
        yield house
