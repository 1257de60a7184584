"""Warnings to a publisher whose data do not fit the model."""

import numpy as np
import pytest

from publishing.source.dataset import DataSlice, doubt_of

ROWS = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(("accuracy", "doubted"), [(0.5, True), (0.75, False), (1.0, False)])
def test_classes_are_compared_with_the_commonest(accuracy: float, doubted: bool) -> None:
    told = doubt_of(DataSlice(ROWS, np.array([1, 1, 0, 1])), accuracy)
    assert bool(told) is doubted
    assert not doubted or "x and y" in told


def test_numbers_have_no_commonest() -> None:
    assert doubt_of(DataSlice(ROWS, np.zeros((4, 1), np.float32)), 0.0) == ""
