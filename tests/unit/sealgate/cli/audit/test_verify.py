"""`sealgate audit`: an auditor who waits for an anchor looks ever more seldom."""

from types import SimpleNamespace

import pytest

from sealgate.cli.audit import verify
from sealgate.cli.audit.verify import looks


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each pause of these looks alone, which takes no time: other threads may sleep meanwhile."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(verify, "time", clock)
    return slept


def test_without_patience_there_is_one_look(pauses: list[float]) -> None:
    assert len(list(looks(0.0))) == 1
    assert not pauses


def test_pauses_grow_and_end_with_the_time_given(pauses: list[float]) -> None:
    assert len(list(looks(30.0))) == 7
    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 5.0]
