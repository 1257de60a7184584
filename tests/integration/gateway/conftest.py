"""One running gateway for this folder's tests: digits 1 is in production, 2 is registered."""

from collections.abc import Iterator

import pytest

from tests.support.harness.gateway import GatewayHarness, running


@pytest.fixture(scope="module")
def harness_by_transport(
    tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[GatewayHarness]:
    """The same with each transport in turn."""
    folder = tmp_path_factory.mktemp("house") / "state"
    with running(folder, "digits-standard", "digits-hardened", transport=transport) as harness:
        harness.promote("digits", 1)
        yield harness


@pytest.fixture(scope="session")
def harness(tmp_path_factory) -> GatewayHarness:
    with running(
        tmp_path_factory.mktemp("house") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        yield harness
