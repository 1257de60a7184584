"""An inference engine alone, in front of a registry on paper."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine import EngineHarness, engine_harness


@pytest.fixture
def registry() -> UncheckedRegistry:
    return UncheckedRegistry()


@pytest.fixture
def harness(registry: UncheckedRegistry, tmp_path: Path) -> Iterator[EngineHarness]:
    with engine_harness(registry, tmp_path) as harness:
        yield harness
