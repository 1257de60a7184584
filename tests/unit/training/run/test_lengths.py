"""Thresholds of texts that are read in windows, by how many windows a text has."""

import numpy as np
import pytest

from inference.screening.calibration import conformal_rank
from inference.text.text_windows import added
from sealgate.reasons import Reason, SealgateError
from training.recipe.recipe import AlarmsSection
from training.run.lengths import LONG, ByText, of_long_texts, settled_threshold


def exponential(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=count).astype(np.float32)


def test_texts_of_few_windows_are_none_of_the_long_ones() -> None:
    texts = np.array([7, 9, *[8] * LONG, 9])
    assert of_long_texts(texts).tolist() == [False, False, *[True] * LONG, False]
    assert of_long_texts(np.arange(5)).all()


def test_texts_count_with_all_of_their_windows() -> None:
    found = ByText.of(np.array([1.0, 3.0, 2.0, 5.0], np.float32), np.array([7, 7, 9, 7]))
    assert found.highest.tolist() == [5.0, 2.0]
    assert found.windows.tolist() == [3, 1]
    assert found.threshold(1, {}) == 5.0
    assert found.threshold(1, {2: 350}) == 2.0


BY_CLASS = AlarmsSection("injection", 0.02, lengths=(2, 4, 16), long_bound=0.05)


def of_length(texts: int, windows: int, seed: int) -> np.ndarray:
    return exponential(texts * windows, seed).reshape(texts, windows)


def by_length() -> ByText:
    """A thousand texts of each of four lengths."""
    every = [of_length(1000, windows, windows) for windows in (1, 2, 8, 32)]
    highest = np.concatenate([each.max(1) for each in every])
    return ByText(highest, np.repeat([1, 2, 8, 32], 1000))


@pytest.mark.parametrize(("windows", "bound"), [(1, 0.02), (3, 0.02), (8, 0.05), (32, 0.05)])
def test_each_class_of_length_keeps_its_bound(windows: int, bound: float) -> None:
    found = settled_threshold(by_length(), exponential(20_000, 1), BY_CLASS)
    assert (found.texts, found.rank) == (1000, conformal_rank(1000, 0.02, 0.9))
    threshold = found.threshold + added(found.by_windows, windows) / 100
    assert bound / 4 < (of_length(4000, windows, 5).max(1) > threshold).mean() < bound


def test_no_class_of_length_pays_for_a_longer_one() -> None:
    clean, row = by_length(), exponential(20_000, 1)
    is_long = clean.windows == 32
    worse = ByText(clean.highest + 5 * is_long, clean.windows)
    one, other = (settled_threshold(each, row, BY_CLASS) for each in (clean, worse))
    assert one.threshold == other.threshold
    assert [added(one.by_windows, n) for n in (2, 8)] == [
        added(other.by_windows, n) for n in (2, 8)
    ]
    assert added(other.by_windows, 16) > added(one.by_windows, 16) + 400


def test_no_class_has_a_lower_threshold_than_a_shorter_one() -> None:
    clean = by_length()
    lower = ByText(clean.highest - 20 * (clean.windows > 1), clean.windows)
    found = settled_threshold(lower, exponential(20_000, 1) - 20, BY_CLASS)
    assert [added(found.by_windows, n) for n in (1, 2, 4, 16)] == [0, 0, 0, 0]


def test_a_class_of_which_there_are_no_texts_follows_from_the_row() -> None:
    clean = by_length().between(1, 16)
    found = settled_threshold(clean, exponential(20_000, 1), BY_CLASS)
    assert added(found.by_windows, 16) > added(found.by_windows, 4) > 0


def test_a_class_of_too_few_texts_is_refused() -> None:
    with pytest.raises(SealgateError) as found:
        settled_threshold(by_length().between(1, 16), exponential(320, 1), BY_CLASS)
    assert found.value.reason is Reason.CALIBRATION_TOO_SMALL


def test_without_classes_all_lengths_have_one_threshold() -> None:
    found = settled_threshold(by_length(), np.zeros(0, np.float32), AlarmsSection("b", 0.02))
    assert found.texts == 4000
    assert not found.by_windows
