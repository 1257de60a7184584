"""One running gateway for this folder's tests: digits 1 is in production, 2 is registered."""

import pytest

from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="session")
def harness(tmp_path_factory) -> GatewayHarness:
    with running(tmp_path_factory.mktemp("house") / "state", "digits-1", "digits-2") as harness:
        harness.promote("digits", 1)
        yield harness
