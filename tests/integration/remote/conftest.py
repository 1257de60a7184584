"""An engine room alone, in front of a registry on paper."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paper_registry import PaperRegistry
from tests.support.paper_room import PaperRoom, paper_room


@pytest.fixture
def registry() -> PaperRegistry:
    return PaperRegistry()


@pytest.fixture
def room(registry: PaperRegistry, tmp_path: Path) -> Iterator[PaperRoom]:
    with paper_room(registry, tmp_path) as room:
        yield room
