"""Fixtures of the training tests."""

import pytest

from tests.support.builders.training.runs import without_graphs


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of weights in the place of graphs."""
    without_graphs(monkeypatch)
