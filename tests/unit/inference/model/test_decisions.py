"""Decisions that are no class: when two answers are the same, and their reduced form."""

from typing import Any

import numpy as np
import pytest

from inference.model.decisions import Classes, Labels, Numbers, decode_decision
from publishing.ready.description import decided
from sealgate.reasons import Reason, SealgateError

PRICES = Numbers((10.0, 0.5), (100.0, 2.0), ((100.0, 1.0), (200.0, 1.0), (200.0, 5.0)))
TAGS = Labels(0.5, ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)))


def floats(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_a_prediction_is_another_one_beyond_its_tolerance() -> None:
    before = floats([100, 1], [100, 1], [100, 1])
    after = floats([109, 1.4], [111, 1], [100, 1.6])
    assert PRICES.changed(before, after).tolist() == [False, True, True]
    assert PRICES.changed(before[:1], floats([np.nan, 1])).all()


def test_the_largest_score_is_that_of_the_nearest_level() -> None:
    assert PRICES.index(floats([90, 0], [190, 1.5], [190, 4])).tolist() == [0, 1, 2]
    weight, shift = PRICES.affine()
    assert (weight.shape, shift.shape) == ((2, 3), (3,))


def test_levels_far_from_zero_are_told_apart_in_float32() -> None:
    """Times in seconds since 1970: a graph holds weights and shifts in float32."""
    now, day = 1.7e9, 86_400.0
    times = Numbers((1e4,), (day,), ((now - 2 * day,), (now,), (now + 2 * day,)))
    answers = floats([now - 1.2 * day], [now - 0.8 * day], [now + 0.8 * day], [now + 1.2 * day])
    scores = answers @ times.affine()[0].astype(np.float32)
    scores += times.affine()[1].astype(np.float32)
    assert scores.argmax(axis=1).tolist() == times.index(answers).tolist() == [0, 1, 1, 2]


def test_predictions_leave_rounded_where_labels_alone_may() -> None:
    tensor = PRICES.reduced(floats([104, 1.3], [97, 1.2]))
    assert tensor.name == "rounded"
    assert tensor.data.tolist() == [[100, 1.5], [100, 1]]


def test_the_quality_of_numbers_is_the_variance_that_is_predicted() -> None:
    y = floats([1, 10], [2, 20], [3, 30])
    assert PRICES.quality(y, y) == 1
    assert PRICES.quality(np.full_like(y, 20), y) == 0
    assert PRICES.quality(floats([2, 10], [2, 20], [2, 30]), y) == pytest.approx(0.5)


def test_each_label_counts_by_itself() -> None:
    before, after = floats([0.9, 0.2, 0.1]), floats([0.9, 0.2, 0.6])
    assert TAGS.changed(before, after).tolist() == [True]
    assert TAGS.changed(before, floats([0.9, 0.2, np.nan])).all()
    assert TAGS.index(before).tolist() == [0]
    assert TAGS.groups(np.array([[1, 1, 0]])).tolist() == [1]
    tensor = TAGS.reduced(after)
    assert (tensor.name, tensor.data.tolist()) == ("label", [[1, 0, 1]])
    assert TAGS.quality(after, np.array([[1, 0, 0]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("decision", [PRICES, TAGS])
def test_a_section_is_read_as_it_was_written(decision: Numbers | Labels) -> None:
    assert decode_decision(decision.encode()) == decision


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "text"},
        {"tolerance": [10.0, 0.0]},
        {"tolerance": [10.0]},
        {"levels": [[1.0, 1.0]]},
        {"levels": [[1.0, 1.0], [1.0, 1.0]]},
        {"levels": [[1.0, 1.0], [2.0]]},
    ],
)
def test_a_section_that_says_no_answer_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        decode_decision(PRICES.encode() | change)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


@pytest.mark.parametrize("change", [{"threshold": 0.3}, {"levels": [[0.5, 0, 0], [1, 0, 0]]}])
def test_labels_that_neither_hold_nor_do_not_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        decode_decision(TAGS.encode() | change)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_levels_come_from_a_models_own_answers() -> None:
    draw = np.random.default_rng(0)
    answers = draw.normal(size=(200, 2)).astype(np.float32) * [3, 100]
    found = decided("numbers", answers.astype(np.float32))
    assert isinstance(found, Numbers)
    assert found.tolerance == pytest.approx(0.25 * answers.std(axis=0))
    assert len(set(found.index(answers).tolist())) == len(found.levels) == 4
    held = decided("labels", (draw.random((50, 3)) * [1, 0.4, 0.4]).astype(np.float32))
    assert isinstance(held, Labels)
    assert {(0.0, 1.0, 0.0), (1.0, 1.0, 0.0)} & set(held.levels)
    assert decided("classes", answers) == Classes()


@pytest.mark.parametrize(
    ("answers", "tolerance", "detail"),
    [
        (np.ones((9, 1), np.float32), (), "a prediction is always the same"),
        (np.eye(2, dtype=np.float32), (1.0,), "there are 2 numbers, and 1 tolerances"),
    ],
)
def test_predictions_without_levels_are_refused(
    answers: np.ndarray, tolerance: tuple[float, ...], detail: str
) -> None:
    with pytest.raises(SealgateError) as refused:
        decided("numbers", answers, tolerance)
    assert (refused.value.reason, refused.value.detail) == (Reason.PARAMETER_MALFORMED, detail)
