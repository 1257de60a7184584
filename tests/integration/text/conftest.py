"""A running gateway in which the small text model is in production."""

import pytest

from tests.support.builders.models.text_models import publish
from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="session")
def harness(tmp_path_factory) -> GatewayHarness:
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        publish(harness)
        yield harness
