"""An engine in front of a registry on paper."""

from collections.abc import Callable
from pathlib import Path

import pytest

from inference.backends.local import LocalLoader
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.runtime.settings import CpuSettings
from tests.support.fakes.registry import UncheckedRegistry

Start = Callable[[], Engine]


@pytest.fixture
def registry() -> UncheckedRegistry:
    return UncheckedRegistry()


@pytest.fixture
def start(registry: UncheckedRegistry, tmp_path: Path) -> Start:
    """Starts an engine, or starts it again: the memory on the disk is the same."""

    def start() -> Engine:
        seen = RollbackGuardFile.open(tmp_path / "seen.json")
        return Engine(registry.anchor, seen, registry.clock, LocalLoader(CpuSettings(cores=2)))

    return start


@pytest.fixture
def engine(start: Start) -> Engine:
    return start()
