"""An engine in front of a registry on paper, whose versions run in a server that is not ours."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference.backends.oip.foreign_server import OipLoader, OipSettings
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.runtime.settings import CpuSettings
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.servers.foreign_servers import (
    ForeignServer,
    SmallServer,
    ml_server,
    small_server,
)

Start = Callable[..., Engine]


@pytest.fixture
def registry() -> UncheckedRegistry:
    return UncheckedRegistry()


@pytest.fixture
def small() -> Iterator[SmallServer]:
    with small_server() as server:
        yield server


@pytest.fixture(params=["small", pytest.param("mlserver", marks=pytest.mark.slow)])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ForeignServer]:
    """Each test runs on both servers. In CI only a gateway is tested in front of MLServer."""
    if request.param == "small":
        with small_server() as small:
            yield small
    else:
        (tmp_path / "mlserver").mkdir()
        with ml_server(tmp_path / "mlserver") as real:
            yield real


@pytest.fixture
def start(registry: UncheckedRegistry, tmp_path: Path) -> Iterator[Start]:
    """Starts an engine that asks the server at an address."""
    loaders = []

    def start(address: str, **settings: object) -> Engine:
        described = OipSettings(address=address, name="theirs", **settings)
        loaders.append(OipLoader(described, CpuSettings(cores=2)))
        seen = RollbackGuardFile.open(tmp_path / "seen.json")
        return Engine(registry.anchor, seen, registry.clock, loaders[-1])

    yield start
    for loader in loaders:
        loader.close()
