"""The rate of false alarms that a recipe bounds, by where a class's bias lies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from training.data import RunData, SourceRows
from training.models.students import Perceptron, logits_of
from training.recipe.recipe import AlarmsSection
from training.run.alarms import LONG, ByText, least_growth, of_long_texts, settle


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


def exponential(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=count).astype(np.float32)


def test_a_threshold_that_grows_holds_the_bound_at_every_length() -> None:
    asked = AlarmsSection("injection", 0.02, growth=True)
    leads = exponential(20_000, 1)
    clean = ByText.of(leads[:4000], np.arange(4000))
    growth = least_growth(clean, leads, asked)
    # Of an exponential tail, the highest of twice as many is higher by its mean times ln 2.
    assert 55 <= growth <= 110
    base = clean.threshold(conformal_rank(4000, 0.02, 0.9), growth)
    for doubled in range(8):
        longer = exponential(1000 << doubled, 2).reshape(1000, -1).max(1)
        assert (longer > base + growth / 100 * doubled).mean() <= 0.03


def test_a_threshold_does_not_grow_where_longer_texts_alarm_no_more() -> None:
    asked = AlarmsSection("injection", 0.1, growth=True)
    clean = ByText.of(exponential(400, 1), np.arange(400))
    low = np.zeros(4000, np.float32)
    assert least_growth(clean, low, asked) == 0


def test_long_texts_have_a_bound_of_their_own() -> None:
    leads = exponential(20_000, 1)
    clean = ByText.of(leads[:4000], np.arange(4000))
    asked = AlarmsSection("injection", 0.02, growth=True)
    grown = least_growth(clean, leads, asked)
    assert least_growth(clean, leads, replace(asked, long_bound=0.02)) == grown
    assert least_growth(clean, leads, replace(asked, long_bound=0.1)) < grown


def test_a_growth_follows_from_no_single_text() -> None:
    """Of 32 windows there are too few texts for more than one alarm at this bound."""
    asked = AlarmsSection("injection", 0.02, growth=True)
    leads = exponential(5000, 1)
    clean = ByText.of(leads[:4000], np.arange(4000))
    outlier = np.where(np.arange(5000) == 17, np.float32(50), leads)
    assert least_growth(clean, outlier, asked) - least_growth(clean, leads, asked) in (0, 1, 2, 3)


def test_texts_of_few_windows_are_none_of_the_long_ones() -> None:
    texts = np.array([7, 9, *[8] * LONG, 9])
    assert of_long_texts(texts).tolist() == [False, False, *[True] * LONG, False]
    assert of_long_texts(np.arange(5)).all()


def test_texts_count_with_all_of_their_windows() -> None:
    found = ByText.of(np.array([1.0, 3.0, 2.0, 5.0], np.float32), np.array([7, 7, 9, 7]))
    assert found.highest.tolist() == [5.0, 2.0]
    assert found.doubled == pytest.approx([np.log2(3), 0])
    assert found.threshold(1, 0) == 5.0
    assert found.threshold(1, 400) == 2.0


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


@pytest.mark.parametrize("change", [{"bound": 1.0}, {"confidence": 1.0}, {"long_bound": 0.1}])
def test_shares_are_below_one_and_long_texts_need_growth(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        AlarmsSection("injection", **change)
