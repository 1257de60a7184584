"""One running gateway for this folder's tests, which also listens for HTTP: digits 1 is live."""

from collections.abc import Iterator

import pytest

from tests.support.harness.clients.http_client import HttpClient, client_of, harness_with_http
from tests.support.harness.gateway import GatewayHarness


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    metrics = '\n[metrics]\nlisten = "127.0.0.1:0"\n'
    harness = harness_with_http(tmp_path_factory.mktemp("http") / "state", metrics)
    harness.start()
    try:
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


@pytest.fixture
def client(harness: GatewayHarness) -> Iterator[HttpClient]:
    client = client_of(harness)
    yield client
    client.close()
