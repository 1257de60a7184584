"""Gateways that are processes of their own, for faults that cannot be made in a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.stage import free_ports
from tests.support import fault_report
from tests.support.house import House
from tests.support.site import Site


def pytest_terminal_summary() -> None:
    fault_report.show()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Not started yet: on SQLite, its engine in the same process, with a version of digits."""
    site = Site(House(tmp_path / "state", "digits-1"))
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Running, with digits 1 in production, and listening for gRPC and HTTP in clear as well."""
    site = Site(House(tmp_path_factory.mktemp("open") / "state", "digits-1"))
    try:
        site.listen_in_clear(free_ports())
        site.gateway.start()
        site.promote(1)
        yield site
    finally:
        site.close()
