"""Labels of a few rows, spread among the nearest: what such a teacher says."""

import numpy as np
import torch

from training.data import NO_LABEL, TRAIN, RunData, SourceRows
from training.recipe.recipe import BOOSTING, NEIGHBOURS, TeacherSection
from training.steps.teachers import teach

CENTERS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def material(*far: list[float]) -> RunData:
    """Three clouds of 40 rows with one label each, and rows `far` from all of them."""
    draws = np.random.default_rng(1)
    x = np.concatenate([center + draws.normal(0, 0.5, (40, 2)) for center in CENTERS])
    x = np.concatenate([x, *[[row] for row in far]]).astype(np.float32)
    y = np.full(len(x), NO_LABEL)
    y[[0, 40, 80]] = 0, 1, 2
    read = SourceRows(x, y, ("a", "b", "c"), title="", license="", files={})
    return RunData(read, {TRAIN: (x, y)})


def test_each_row_is_told_the_label_of_its_cloud() -> None:
    told = teach(TeacherSection(NEIGHBOURS), material(), 1).logits
    assert told.dtype is torch.float32
    assert torch.equal(told.argmax(1), torch.arange(3).repeat_interleave(40))
    # Trees find no split in three rows.
    trees = teach(TeacherSection(BOOSTING), material(), 1).logits
    assert (trees == trees[0]).all()


def test_a_row_that_no_label_reaches_is_told_nothing() -> None:
    far = [[90 + 0.1 * step, 90.0] for step in range(9)]
    told = teach(TeacherSection(NEIGHBOURS), material(*far), 1).logits[-9:]
    torch.testing.assert_close(told, told[:, :1].expand(-1, 3))
