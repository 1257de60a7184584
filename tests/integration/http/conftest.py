"""One running house for this folder's tests, which also listens for HTTP: digits 1 is live."""

from collections.abc import Iterator

import pytest

from tests.support.house import House
from tests.support.http_client import HttpClient, client_of, house_with_http


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    metrics = '\n[metrics]\nlisten = "127.0.0.1:0"\n'
    house = house_with_http(tmp_path_factory.mktemp("http") / "state", metrics)
    house.start()
    try:
        house.publish("digits-1", "digits")
        house.promote("digits", 1)
        yield house
    finally:
        house.stop()


@pytest.fixture
def client(house: House) -> Iterator[HttpClient]:
    client = client_of(house)
    yield client
    client.close()
