"""The rate of false alarms that a recipe bounds, by where a class's bias lies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from training.data import RunData, SourceRows
from training.models.students import Perceptron, logits_of
from training.recipe.recipe import AlarmsSection
from training.run.alarms import settle


def material(clean: int = 400) -> RunData:
    rng = np.random.default_rng(3)
    y = np.concatenate([np.zeros(clean, np.int64), np.ones(100, np.int64)])
    x = (rng.normal(size=(len(y), 4)) + 1.5 * y[:, None]).astype(np.float32)
    read = SourceRows(x, y, ("clean", "injection"), "made up", "CC0-1.0", {})
    return RunData(read, {"calibration": (x, y)})


@pytest.fixture
def student() -> Perceptron:
    torch.manual_seed(1)
    return Perceptron(4, 8, 2, 2)


@pytest.mark.parametrize("bound", [0.02, 0.1])
def test_as_many_alarms_as_back_the_bound(student: Perceptron, bound: float) -> None:
    given = material()
    found = settle(student, given, AlarmsSection("injection", bound))
    assert found is not None
    assert (found.texts, found.rank) == (400, conformal_rank(400, bound, 0.9))
    x, y = given.slices["calibration"]
    called = logits_of(student, torch.from_numpy(x[y == 0])).argmax(1)
    assert int(called.sum()) == conformal_rank(400, bound, 0.9) - 1


def test_a_text_is_called_what_one_of_its_windows_is(student: Perceptron) -> None:
    given = material()
    texts = np.arange(500) // 4
    found = settle(
        student, replace(given, texts={"calibration": texts}), AlarmsSection("injection", 0.1)
    )
    assert found is not None
    assert found.texts == 100
    x, y = given.slices["calibration"]
    called = logits_of(student, torch.from_numpy(x[y == 0])).argmax(1).numpy().astype(bool)
    assert len(set(texts[:400][called])) == found.rank - 1 == conformal_rank(100, 0.1, 0.9) - 1


def test_nothing_moves_without_a_label(student: Perceptron) -> None:
    before = student.head.bias.detach().clone()
    assert settle(student, material(), AlarmsSection()) is None
    assert torch.equal(student.head.bias, before)


@pytest.mark.parametrize(
    ("asked", "clean", "reason"),
    [
        (AlarmsSection("nonsense"), 400, Reason.RECIPE_INVALID),
        (AlarmsSection("injection", 0.01), 100, Reason.CALIBRATION_TOO_SMALL),
        (AlarmsSection("injection", 0.01), 0, Reason.CALIBRATION_TOO_SMALL),
    ],
)
def test_what_cannot_be_bounded_is_refused(
    student: Perceptron, asked: AlarmsSection, clean: int, reason: Reason
) -> None:
    with pytest.raises(SealgateError) as found:
        settle(student, material(clean), asked)
    assert found.value.reason is reason


@pytest.mark.parametrize(
    "change",
    [
        {"bound": 1.0},
        {"confidence": 1.0},
        {"long_bound": 0.1},
        {"lengths": (1, 4)},
        {"lengths": (4, 2)},
        {"lengths": (4, 4)},
    ],
)
def test_bounds_of_long_texts_that_contradict_each_other_are_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError):
        AlarmsSection("injection", **change)
