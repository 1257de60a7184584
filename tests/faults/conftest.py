"""Gateways that are processes of their own, for faults that cannot be made in a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import free_ports
from tests.support.harness.deployment import GatewayDeployment
from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.oracles import fault_report


def pytest_terminal_summary(exitstatus: int, config: pytest.Config) -> None:
    chosen = config.getoption("keyword") or [item for item in config.args if "test_" in item]
    fault_report.show(whole=not exitstatus and not chosen)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[GatewayDeployment]:
    """Not started yet: on SQLite, its engine in the same process, with a version of digits."""
    deployment = GatewayDeployment(GatewayHarness(tmp_path / "state", "digits-standard"))
    deployment.configure(f"\n[limits]\ndeadline = {PATIENCE}\n")
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="module")
def open_deployment(
    tmp_path_factory: pytest.TempPathFactory, transport: str
) -> Iterator[GatewayDeployment]:
    """Running, with digits 1 in production, and listening for gRPC and HTTP in clear as well."""
    deployment = GatewayDeployment(
        GatewayHarness(
            tmp_path_factory.mktemp("open") / "state", "digits-standard", transport=transport
        )
    )
    try:
        deployment.listen_in_clear(free_ports())
        deployment.gateway.start()
        deployment.promote(1)
        yield deployment
    finally:
        deployment.close()
