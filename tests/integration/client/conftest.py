"""One running gateway for this folder's tests, with digits 1 in production."""

import pytest

from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="session")
def harness(tmp_path_factory) -> GatewayHarness:
    with running(tmp_path_factory.mktemp("client") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness
